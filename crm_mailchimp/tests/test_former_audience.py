from unittest.mock import patch

from odoo.tests import tagged

from ..models import slices
from ..sync.members import MemberPhase
from .common import MailchimpCase


@tagged("post_install", "-at_install")
class TestFormerAudience(MailchimpCase):
    """Another audience is linked: what was said in the former one still counts."""

    def prepare(self):
        super().prepare()
        self.link()
        self.ann = self.contact("Ann")
        self.bob = self.contact("Bob")
        self.push()
        self.simulator.advance(60)
        self.former, self.former_account = self.audience, self.account

    def link_another(self):
        self.audience = self.simulator.add_audience("Second audience")
        self.link()
        self.account = self.env["crm.mailchimp.account"].search(
            [("company_id", "=", self.company.id)]
        )
        self.account.push_enabled = True
        self.assertNotEqual(self.account, self.former_account)
        self.simulator.clear_calls()

    def test_who_unsubscribed_since_the_last_run_is_not_subscribed_to_the_next(self):
        self.former.unsubscribe("ann@firma.be", reason="Too many mails")
        self.link_another()
        self.push()
        self.assertIsNone(self.status("ann@firma.be"))
        self.assertEqual(self.status("bob@firma.be"), "subscribed")
        self.assertFalse(self.ann.mailchimp_opt_in)
        line = self.ann.mailchimp_consent_ids[0]
        self.assertEqual((line.source, line.note), ("mailchimp", "Too many mails"))
        no = self.env["crm.mailchimp.suppression"].search(
            [("email_normalized", "=", "ann@firma.be")]
        )
        self.assertEqual(no.audience_ref, self.former.id)
        # Read once, and nothing was written there.
        self.assertFalse(self.former_account.is_last_reading_due)
        self.assertEqual(self.former.members["bob@firma.be"].status, "subscribed")
        self.assertFalse(
            [
                call
                for call in self.simulator.calls
                if call.method != "GET" and self.former.id in call.path
            ]
        )
        self.simulator.clear_calls()
        self.push()
        self.assertFalse([c for c in self.simulator.calls if self.former.id in c.path])

    def choose(self):
        """Return the wizard that links a second audience, after the first click."""
        second = self.simulator.add_audience("Second audience")
        wizard = self.env["crm.mailchimp.choose.audience"].create(
            {"account_id": self.account.id}
        )
        wizard.line_id = wizard.line_ids.filtered(
            lambda line: line.audience_ref == second.id
        )
        wizard.action_link()
        return wizard

    def test_opt_outs_that_are_under_way_are_asked_about(self):
        self.ann.mailchimp_opt_in = False
        trigger = self.env["ir.cron.trigger"]
        trigger.search([]).unlink()
        wizard = self.choose()
        self.assertTrue(wizard.is_confirming)
        self.assertIn("not delivered to Test audience yet: 1", wizard.explanation)
        # They are delivered at once, and then there is nothing to ask.
        cron = self.env.ref("crm_mailchimp.ir_cron_opt_out")
        self.assertTrue(trigger.search([("cron_id", "=", cron.id)]))
        self.send_opt_outs()
        self.assertEqual(self.status("ann@firma.be"), "archived")
        self.assertFalse(self.choose().is_confirming)

    def test_opt_outs_that_were_not_delivered_are_told(self):
        self.ann.mailchimp_opt_in = False
        self.choose().action_link()
        self.account = self.former_account.search(
            [("company_id", "=", self.company.id)]
        )
        self.assertEqual(self.account.former_id, self.former_account)
        self.assertIn(
            "not delivered to the previous audience Test audience: 1",
            str(self.account.message_ids.mapped("body")),
        )

    def test_who_bounced_there_is_not_subscribed_to_the_next(self):
        self.former.bounce("ann@firma.be")
        self.link_another()
        self.push()
        self.assertIsNone(self.status("ann@firma.be"))
        self.assertTrue(self.ann.mailchimp_opt_in)
        self.assertEqual(self.ann.mailchimp_reason, "cleaned")

    def test_a_known_no_counts_when_the_opt_in_was_ticked_again(self):
        self.former.unsubscribe("ann@firma.be")
        self.push()
        self.simulator.advance(60)
        self.ann.mailchimp_opt_in = True
        self.link_another()
        self.push()
        self.assertTrue(self.ann.mailchimp_opt_in)
        self.assertIsNone(self.status("ann@firma.be"))
        self.assertEqual(self.ann.mailchimp_reason, "unsubscribed")

    def test_opt_outs_and_the_blacklist_bar_the_address_in_the_next(self):
        self.ann.mailchimp_opt_in = False
        self.env["mail.blacklist"].create({"email": "bob@firma.be"})
        self.send_opt_outs()
        other = self.contact("Ann again", "ann@firma.be", mailchimp_opt_in=False)
        self.link_another()
        self.push()
        self.assertIsNone(self.status("ann@firma.be"))
        self.assertIsNone(self.status("bob@firma.be"))
        # Taking it off the blacklist is no new opt-in.
        self.env["mail.blacklist"]._remove("bob@firma.be")
        self.push()
        self.assertIsNone(self.status("bob@firma.be"))
        self.assertEqual(self.bob.mailchimp_reason, "was_blacklisted")
        self.simulator.advance(60)
        other.mailchimp_opt_in = True
        self.bob.mailchimp_opt_in = False
        self.bob.mailchimp_opt_in = True
        self.push()
        self.assertEqual(self.status("ann@firma.be"), "subscribed")
        self.assertEqual(self.status("bob@firma.be"), "subscribed")

    def test_it_is_the_contacts_no_when_its_address_changed_just_before(self):
        self.former.unsubscribe("ann@firma.be")
        self.ann.email = "ann@elsewhere.be"
        self.link_another()
        self.push()
        self.assertFalse(self.ann.mailchimp_opt_in)
        self.assertIsNone(self.status("ann@elsewhere.be"))

    def test_a_stranger_who_has_the_address_later_says_no_for_itself(self):
        self.link_another()
        self.push()
        self.ann.email = "ann@elsewhere.be"
        self.push()
        self.simulator.advance(40 * 24 * 3600)
        self.audience.add_member("ann@firma.be")
        self.push()
        self.audience.unsubscribe("ann@firma.be")
        self.push()
        self.assertTrue(self.ann.mailchimp_opt_in)
        self.assertEqual(self.status("ann@elsewhere.be"), "subscribed")

    def test_a_former_audience_that_was_deleted_ends_it(self):
        self.simulator.fault(f"/lists/{self.former.id}/**", "status", status=404)
        self.simulator.fault(f"/lists/{self.former.id}", "status", status=404)
        self.link_another()
        self.push()
        self.assertFalse(self.former_account.is_last_reading_due)
        self.assertEqual(self.account.state, "linked")
        self.assertEqual(self.status("ann@firma.be"), "subscribed")
        self.assertIn(
            "does not know who unsubscribed", self.account.message_ids[0].body
        )

    def test_a_listing_alone_that_is_not_found_is_tried_again(self):
        self.former.unsubscribe("ann@firma.be")
        fault = self.simulator.fault(
            f"/lists/{self.former.id}/members", "status", status=404
        )
        self.link_another()
        run = self.push(state="waiting")
        self.assertFalse(self.audience.members)
        self.simulator.faults.clear()
        run.resume_at = False
        self.push()
        self.assertIsNone(self.status("ann@firma.be"))
        self.assertEqual(self.status("bob@firma.be"), "subscribed")
        self.assertTrue(fault)

    def test_nobody_is_subscribed_while_it_cannot_be_read(self):
        self.former.unsubscribe("ann@firma.be")
        self.simulator.fault(
            f"/lists/{self.former.id}/**", "status", status=503, times=99
        )
        self.link_another()
        run = self.push(state="waiting")
        self.assertFalse(self.audience.members)
        self.simulator.faults.clear()
        run.resume_at = False
        self.push()
        self.assertFalse(self.ann.mailchimp_opt_in)
        self.assertEqual(set(self.audience.members), {"bob@firma.be"})

    def test_it_goes_on_in_another_slice_and_after_a_cancelled_run(self):
        for number in range(5):
            self.former.add_member(f"u{number}@firma.be", status="unsubscribed")
        self.former.unsubscribe("ann@firma.be")
        self.link_another()
        listing = f"/lists/{self.former.id}/members"
        self.simulator.fault(listing, "status", status=503, times=None, after=2)
        with (
            patch.object(MemberPhase, "PAGE", 2),
            patch.object(MemberPhase, "AT_ONCE", 1),
            # Each slice is over before it began.
            patch.object(slices, "SLICE_SECONDS", -1),
        ):
            for _slice in range(4):
                self.tick()
            run = self.account.open_run_id
            self.assertEqual(run.state, "waiting")
            self.assertEqual(run.cursor["former"]["offset"], 4)
            self.assertFalse(self.audience.members)
            run.action_cancel()
            self.simulator.faults.clear()
        self.push()
        self.assertFalse(self.ann.mailchimp_opt_in)
        self.assertEqual(set(self.audience.members), {"bob@firma.be"})

    def test_an_audience_that_was_never_read_before_the_next_was_linked(self):
        self.former.unsubscribe("ann@firma.be")
        self.link_another()
        second = self.audience
        # Linked by mistake: yet another one, before any run.
        self.link_another()
        self.push()
        self.assertFalse(self.ann.mailchimp_opt_in)
        self.assertFalse(second.members)
        self.assertEqual(set(self.audience.members), {"bob@firma.be"})
