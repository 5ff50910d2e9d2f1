from odoo.exceptions import AccessError, UserError
from odoo.tests import new_test_user, tagged

from .common import MailchimpCase


@tagged("post_install", "-at_install")
class TestBringBack(MailchimpCase):
    """Archived in Mailchimp by somebody else: asked again, or brought back."""

    def prepare(self):
        super().prepare()
        self.link()
        self.ann, self.bob = self.contact("Ann"), self.contact("Bob")
        self.push()
        self.simulator.advance(60)

    def archive(self, *emails):
        for email in emails:
            self.audience.archive(email)
        self.push()
        self.push()

    def listed(self):
        return self.env["crm.mailchimp.member"].search(
            self.account.action_open_archived()["domain"]
        )

    def test_they_stay_out_and_the_account_tells(self):
        self.archive("ann@firma.be")
        self.assertEqual(self.status("ann@firma.be"), "archived")
        self.assertEqual(self.ann.mailchimp_reason, "archived")
        self.assertEqual(self.account.archived_count, 1)
        self.assertEqual(self.listed().partner_id, self.ann)

    def test_a_manager_brings_them_back(self):
        self.archive("ann@firma.be", "bob@firma.be")
        self.listed().action_bring_back()
        self.assertEqual(self.ann.mailchimp_status, "waiting")
        self.tick()
        self.assertEqual(self.status("ann@firma.be"), "subscribed")
        self.assertEqual(self.status("bob@firma.be"), "subscribed")
        self.assertEqual(self.account.last_run_id.summary, "Subscribed again: 2")
        messages = self.account.message_ids.filtered(
            lambda message: "in Mailchimp: 2." in message.body
        )
        self.assertTrue(messages)
        self.push()
        self.assertFalse(self.account.archived_count)
        self.assertEqual(self.ann.mailchimp_status, "in")

    def test_archived_before_the_audience_was_linked(self):
        self.contact("Eve")
        self.audience.add_member("eve@firma.be")
        self.archive("eve@firma.be")
        self.listed().action_bring_back()
        self.tick()
        self.assertEqual(self.status("eve@firma.be"), "subscribed")

    def test_only_a_manager_and_only_after_the_first_push(self):
        self.archive("ann@firma.be")
        user = new_test_user(
            self.env, "sam", groups="crm_mailchimp.group_mailchimp_user"
        )
        with self.assertRaises(AccessError):
            self.listed().with_user(user).action_bring_back()
        self.account.push_enabled = False
        with self.assertRaisesRegex(UserError, "not been started"):
            self.listed().action_bring_back()

    def test_nobody_who_said_no_comes_back(self):
        self.archive("ann@firma.be", "bob@firma.be")
        members = self.listed()
        # The one in Odoo; the other bounced, which its activity tells by now.
        self.ann.mailchimp_opt_in = False
        self.audience._feed(self.member("bob@firma.be"), "bounce", bounce_type="hard")
        members.action_bring_back()
        self.assertFalse(self.ledger("ann@firma.be").operation == "readmit")
        self.tick()
        self.assertEqual(self.status("ann@firma.be"), "archived")
        self.assertEqual(self.status("bob@firma.be"), "archived")
        self.assertEqual(self.bob.mailchimp_reason, "archived")
        with self.assertRaisesRegex(UserError, "nobody to bring back"):
            self.ledger("ann@firma.be").action_bring_back()

    def test_an_opt_out_after_it_was_planned(self):
        self.archive("ann@firma.be")
        self.listed().action_bring_back()
        self.ann.mailchimp_opt_in = False
        self.tick()
        self.assertEqual(self.status("ann@firma.be"), "archived")

    def test_an_unsubscribed_member_is_not_brought_back(self):
        self.audience.unsubscribe("ann@firma.be")
        self.push()
        self.ann.mailchimp_opt_in = True
        self.push()
        with self.assertRaisesRegex(UserError, "nobody to bring back"):
            self.ledger("ann@firma.be").action_bring_back()

    # === ASK AGAIN === #

    def test_asked_again_from_the_list_of_members(self):
        self.archive("ann@firma.be", "bob@firma.be")
        self.listed().action_ask_again()
        self.tick()
        self.assertEqual(self.status("ann@firma.be"), "pending")
        self.assertEqual(self.status("bob@firma.be"), "pending")
        self.push()
        self.send_opt_outs()
        self.assertEqual(self.status("ann@firma.be"), "pending")
        self.audience.confirm("ann@firma.be")
        self.push()
        self.assertEqual(self.ann.mailchimp_status, "in")

    def test_asked_again_and_brought_back_from_the_list_of_contacts(self):
        self.archive("ann@firma.be", "bob@firma.be")
        lines = self.env["crm.mailchimp.contact.status"].search(
            [("reason", "=", "archived")]
        )
        lines.filtered(lambda line: line.partner_id == self.ann).action_ask_again()
        lines.filtered(lambda line: line.partner_id == self.bob).action_bring_back()
        self.tick()
        self.assertEqual(self.status("ann@firma.be"), "pending")
        self.assertEqual(self.status("bob@firma.be"), "subscribed")

    def test_asked_while_the_push_is_off(self):
        self.archive("ann@firma.be")
        self.account.push_enabled = False
        with self.assertRaisesRegex(UserError, "not been started"):
            self.as_user(self.ann).action_mailchimp_ask_again()


@tagged("post_install", "-at_install")
class TestAskAgainElsewhere(MailchimpCase):
    """Who said no in another audience and is unknown in this one is asked by mail."""

    def prepare(self):
        super().prepare()
        self.link()
        self.ann = self.contact("Ann", city="Ghent")
        self.push()
        self.simulator.advance(60)
        self.audience.unsubscribe("ann@firma.be")
        self.push()
        self.audience = self.simulator.add_audience("Second audience")
        self.link()
        self.account = self.env["crm.mailchimp.account"].search(
            [("company_id", "=", self.company.id)]
        )
        self.account.push_enabled = True
        self.push()
        self.simulator.advance(60)
        self.ann.mailchimp_opt_in = True
        self.push()
        self.assertEqual(self.ann.mailchimp_reason, "unsubscribed")
        self.assertIsNone(self.status("ann@firma.be"))

    def test_asked_and_confirmed(self):
        self.ann.action_mailchimp_ask_again()
        self.tick()
        self.assertEqual(self.status("ann@firma.be"), "pending")
        self.assertEqual(self.member("ann@firma.be").merge_fields["CITY"], "Ghent")
        self.assertEqual(self.ann.mailchimp_reason, "pending")
        self.push()
        self.send_opt_outs()
        self.assertEqual(self.status("ann@firma.be"), "pending")
        self.simulator.advance(60)
        self.audience.confirm("ann@firma.be")
        self.push()
        self.assertEqual(self.ann.mailchimp_status, "in")
        no = self.env["crm.mailchimp.suppression"].search(
            [("email_normalized", "=", "ann@firma.be")]
        )
        self.assertEqual(set(no.mapped("lifted_by")), {"mailchimp"})

    def test_an_opt_out_after_it_was_planned(self):
        self.ann.action_mailchimp_ask_again()
        self.ann.mailchimp_opt_in = False
        self.tick()
        self.assertIsNone(self.status("ann@firma.be"))

    def test_an_opt_out_while_nobody_answered(self):
        self.ann.action_mailchimp_ask_again()
        self.tick()
        self.ann.mailchimp_opt_in = False
        self.send_opt_outs()
        self.assertEqual(self.status("ann@firma.be"), "unsubscribed")

    def test_a_lost_answer_asks_nobody_twice(self):
        self.ann.action_mailchimp_ask_again()
        self.simulator.fault("POST /lists/*", "drop_applied", times=1)
        self.tick()
        self.assertEqual(self.status("ann@firma.be"), "pending")
        self.account.open_run_id.resume_at = False
        self.push()
        self.send_opt_outs()
        self.push()
        self.assertEqual(self.status("ann@firma.be"), "pending")
        self.assertEqual(self.simulator.count("POST", f"/lists/{self.audience.id}"), 1)
        self.assertEqual(self.ann.mailchimp_reason, "pending")

    def test_asked_twice_is_one_row(self):
        self.ann.action_mailchimp_ask_again()
        self.ann.action_mailchimp_ask_again()
        self.tick()
        self.assertEqual(self.status("ann@firma.be"), "pending")

    def test_who_may_simply_be_subscribed_is_not_asked(self):
        bob = self.contact("Bob")
        with self.assertRaisesRegex(UserError, "nobody to ask"):
            self.as_user(bob).action_mailchimp_ask_again()
