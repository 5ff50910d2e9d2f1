from odoo.exceptions import UserError
from odoo.tests import tagged

from .common import MailchimpCase

KEY = f"{7:032}-us21"


@tagged("post_install", "-at_install")
class TestOtherAccount(MailchimpCase):
    """A key that opens another Mailchimp account touches nothing there."""

    def prepare(self):
        super().prepare()
        self.link()
        self.ann = self.contact("Ann")
        self.push()
        self.other = self.simulator.add_account("Other company", KEY)
        self.theirs = self.simulator.handle(self.other.add_audience("Theirs"))
        self.theirs.add_member("ann@firma.be")
        self.simulator.clear_calls()

    def paths(self):
        return [call.path for call in self.simulator.calls]

    def test_saving_it_asks_nobody_and_the_next_contact_finds_out(self):
        self.account.api_key = KEY
        self.assertFalse(self.simulator.calls, "saving never touches the network")
        self.assertEqual(self.account.state, "linked")
        self.contact("Bob")
        run = self.push(state="failed")
        # The run, and the look that confirms it.
        self.assertEqual(self.paths(), ["/", "/"])
        self.assertEqual(self.account.state, "error")
        sentence = self.account.error_message
        self.assertEqual(run.error_message, sentence)
        for words in (
            "Test audience is in the Mailchimp account Simulated account",
            "of the account Other company",
            "Nothing was read or sent",
            "“Change audience”",
        ):
            self.assertIn(words, sentence)
        self.assertEqual(len(self.account.activity_ids), 1)
        # Nor later, by itself or asked to.
        self.account.next_look = False
        for cron in ("ir_cron_push", "ir_cron_opt_out", "ir_cron_stats"):
            self.tick(cron)
        self.assertEqual(set(self.paths()), {"/"})
        self.assertEqual(self.account.state, "error")
        for action in ("action_connect", "action_reauthorize"):
            with self.assertRaisesRegex(UserError, "of the account Other company"):
                getattr(self.account, action)()
        self.assertEqual(set(self.paths()), {"/"})
        # The right one goes on.
        self.account.api_key = self.simulator.api_key
        self.account.action_reauthorize()
        self.tick()
        self.assertEqual(self.status("bob@firma.be"), "subscribed")
        self.assertEqual(self.theirs.members["ann@firma.be"].status, "subscribed")

    def test_an_opt_out_is_not_sent_there(self):
        self.account.api_key = KEY
        self.opt_out(self.ann)
        self.assertEqual(set(self.paths()), {"/"})
        self.assertEqual(self.account.state, "error")
        self.assertIn("Other company", self.account.opt_out_error)
        self.account.api_key = self.simulator.api_key
        self.account.action_connect()
        self.send_opt_outs()
        self.assertEqual(self.status("ann@firma.be"), "archived")
        self.assertEqual(self.theirs.members["ann@firma.be"].status, "subscribed")

    def test_nobody_is_erased_there(self):
        self.env["crm.mailchimp.erasure"]._request(self.account, ["ann@firma.be"], True)
        self.account.api_key = KEY
        for cron in ("ir_cron_push", "ir_cron_opt_out"):
            self.tick(cron)
        self.assertEqual(set(self.paths()), {"/"})
        self.assertEqual(self.theirs.members["ann@firma.be"].status, "subscribed")

    def test_no_results_are_read_there(self):
        self.account.api_key = KEY
        self.push("stats", state="failed")
        self.assertEqual(set(self.paths()), {"/"})

    def test_the_right_key_is_looked_at_once(self):
        self.simulator.add_key(f"{8:032}-us21")
        self.account.api_key = f"{8:032}-us21"
        self.push()
        self.assertEqual(self.paths().count("/"), 1)
        self.push()
        self.assertEqual(self.paths().count("/"), 1)

    def test_a_key_that_is_replaced_during_the_run_is_not_verified_by_it(self):
        self.simulator.add_key(f"{8:032}-us21")
        self.account.api_key = f"{8:032}-us21"
        self.contact("Bob")
        with self.before_subscribing(lambda: self.account.write({"api_key": KEY})):
            self.push()
        self.assertFalse(self.account.key_verified)
        self.simulator.clear_calls()
        self.push(state="failed")
        self.assertEqual(set(self.paths()), {"/"})

    def test_choosing_the_audience_anew(self):
        self.account.action_disconnect()
        self.account.api_key = KEY
        with self.assertRaisesRegex(UserError, "“Change audience”"):
            self.account.action_connect()
        wizard = self.env["crm.mailchimp.choose.audience"].browse(
            self.account.action_choose_audience()["res_id"]
        )
        wizard.line_id = wizard.line_ids
        wizard.action_link()
        wizard.action_link()
        account = self.env["crm.mailchimp.account"]._overview_account()
        self.assertEqual(account.account_ref, self.other.id)
        self.assertEqual(account.remote_name, "Other company")
        self.assertEqual(self.account.account_ref, self.simulator.account.id)
        self.assertFalse(self.account.active)

    def test_another_account_without_an_audience(self):
        """One is created there; the former one stays."""
        self.other.audiences.clear()
        self.account.api_key = KEY
        self.company.partner_id.write(
            {
                "street": "Korenmarkt 1",
                "city": "Ghent",
                "zip": "9000",
                "country_id": self.env.ref("base.be").id,
                "email": "news@firma.be",
            }
        )
        action = self.account.action_choose_audience()
        self.env[action["res_model"]].browse(action["res_id"]).action_create()
        self.tick()
        account = self.env["crm.mailchimp.account"]._overview_account()
        self.assertEqual(account.account_ref, self.other.id)
        self.assertEqual(len(self.other.audiences), 1)

    def test_an_upgraded_account_learns_which_it_is(self):
        """Only from the right key: its audience has to be there."""
        self.account.write({"account_ref": False, "key_verified": False})
        self.account.api_key = KEY
        self.push("stats")
        self.push(state="failed")
        self.assertFalse(self.account.account_ref)
        self.assertIn("no longer in this Mailchimp account", self.account.error_message)
        self.account.api_key = self.simulator.api_key
        self.account.next_look = False
        self.tick()
        self.assertEqual(self.account.state, "linked")
        self.assertEqual(self.account.account_ref, self.simulator.account.id)
        self.assertTrue(self.account.key_verified)
