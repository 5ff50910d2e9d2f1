from datetime import timedelta
from unittest.mock import patch

from odoo import fields
from odoo.exceptions import AccessError
from odoo.tests import new_test_user, tagged

from ..models import opted_out_before
from .common import MailchimpCase


@tagged("post_install", "-at_install")
class TestOptedOutBefore(MailchimpCase):
    """Opted out in Odoo before linking, and subscribed there: somebody decides."""

    def prepare(self):
        super().prepare()
        self.ann = self.contact("Ann")
        self.ann.mailchimp_opt_in = False
        self.env["mail.blacklist"].create({"email": "bob@firma.be"})
        # Minutes ago, and not in the very second in which the audience is linked.
        self.env["crm.mailchimp.suppression"].search([]).date = (
            fields.Datetime.now() - timedelta(minutes=10)
        )
        self.old = self.simulator.clock.now() - 1000
        for name in ("ann", "bob", "eve"):
            member = self.audience.add_member(f"{name}@firma.be")
            member.timestamp_opt = member.timestamp_signup = self.old

    def ask(self):
        wizard = self.env["crm.mailchimp.choose.audience"].create(
            {"account_id": self.account.id}
        )
        wizard.line_id = wizard.line_ids
        wizard.action_link()
        self.assertTrue(wizard.is_confirming)
        return wizard

    def test_they_are_listed_before_linking_and_stay_by_default(self):
        wizard = self.ask()
        self.assertEqual(
            [(line.email, line.kind) for line in wizard.opted_out_ids],
            [("ann@firma.be", "opt_out"), ("bob@firma.be", "blacklist")],
        )
        self.assertIn("subscribed in Mailchimp: 2.", wizard.opted_out_explanation)
        self.assertFalse(wizard.archive_opted_out)
        wizard.action_link()
        self.account.push_enabled = True
        self.push()
        self.send_opt_outs()
        self.assertEqual(self.status("ann@firma.be"), "subscribed")
        self.assertEqual(self.status("bob@firma.be"), "subscribed")

    def test_archived_when_the_question_is_answered_so(self):
        wizard = self.ask()
        wizard.archive_opted_out = True
        wizard.action_link()
        # With the push off, and before the first reading.
        self.send_opt_outs()
        self.assertEqual(self.status("ann@firma.be"), "archived")
        self.assertEqual(self.status("bob@firma.be"), "archived")
        self.assertEqual(self.status("eve@firma.be"), "subscribed")
        # Since somebody decided so, not since they opted out.
        self.assertEqual(
            self.account.opt_out_summary,
            "In the last 30 days: 2; confirmed by Mailchimp: 2; slowest: 1 min",
        )
        self.push("full")
        self.assertFalse(self.account.opted_out_count)
        self.assertEqual(self.status("ann@firma.be"), "archived")
        self.assertEqual(self.ledger("eve@firma.be").status, "subscribed")

    def test_who_is_found_after_linking_is_archived_on_one_click(self):
        self.link(push=False)
        self.push()
        self.assertEqual(self.account.opted_out_count, 2)
        action = self.account.action_open_opted_out()
        members = self.env["crm.mailchimp.member"].search(action["domain"])
        self.assertEqual(
            members.mapped("email_normalized"), ["ann@firma.be", "bob@firma.be"]
        )
        user = new_test_user(
            self.env, "sam", groups="crm_mailchimp.group_mailchimp_user"
        )
        with self.assertRaises(AccessError):
            members.with_user(user).action_archive_foreign()
        members.action_archive_foreign()
        self.send_opt_outs()
        self.assertEqual(self.status("ann@firma.be"), "archived")
        self.assertEqual(self.status("bob@firma.be"), "archived")
        self.assertFalse(self.account.opted_out_count)
        self.assertIn("Mailchimp: 2.", self.account.message_ids[0].body)

    def test_an_unsubscribe_in_between_is_not_hidden_by_archiving(self):
        self.link(push=False)
        self.push()
        members = self.env["crm.mailchimp.member"].search(
            self.account.action_open_opted_out()["domain"]
        )
        members.action_archive_foreign()
        self.audience.unsubscribe("ann@firma.be")
        self.send_opt_outs()
        self.assertEqual(self.status("ann@firma.be"), "unsubscribed")
        self.assertEqual(self.status("bob@firma.be"), "archived")

    def test_a_sign_up_in_mailchimp_after_the_opt_out_is_left_out(self):
        self.simulator.advance(60)
        self.audience.sign_up("ann@firma.be")
        wizard = self.ask()
        self.assertEqual(wizard.opted_out_ids.mapped("email"), ["bob@firma.be"])
        wizard.action_link()
        self.push()
        self.assertEqual(self.account.opted_out_count, 1)

    def test_a_member_without_sign_up_times_counts(self):
        member = self.member("ann@firma.be")
        member.timestamp_opt = member.timestamp_signup = None
        self.simulator.advance(60)
        self.audience.touch(["ann@firma.be"])
        wizard = self.ask()
        self.assertEqual(len(wizard.opted_out_ids), 2)
        wizard.action_link()
        self.push()
        self.assertEqual(self.account.opted_out_count, 2)

    def test_an_address_that_was_erased_is_known_by_its_hash(self):
        no = self.env["crm.mailchimp.suppression"].search(
            [("email_normalized", "in", ("ann@firma.be", "bob@firma.be"))]
        )
        self.ann.unlink()
        no.unlink()
        wizard = self.ask()
        self.assertEqual(len(wizard.opted_out_ids), 2)
        wizard.action_link()
        self.push()
        self.assertEqual(self.account.opted_out_count, 2)
        self.env["crm.mailchimp.member"].search(
            self.account.action_open_opted_out()["domain"]
        ).action_archive_foreign()
        self.send_opt_outs()
        self.assertEqual(self.status("ann@firma.be"), "archived")

    def test_a_long_list_of_no_is_compared_with_pages_of_members(self):
        self.simulator.clear_calls()
        with (
            patch.object(opted_out_before, "LOOKED_UP", 1),
            patch.object(opted_out_before, "PAGE", 2),
        ):
            wizard = self.ask()
        self.assertEqual(
            wizard.opted_out_ids.mapped("email"), ["ann@firma.be", "bob@firma.be"]
        )
        self.assertNotIn("too many", wizard.opted_out_explanation)

    def test_what_was_not_looked_at_is_said(self):
        with (
            patch.object(opted_out_before, "LOOKED_UP", 1),
            patch.object(opted_out_before, "PAGE", 1),
            patch.object(opted_out_before, "PAGES", 1),
        ):
            wizard = self.ask()
        self.assertIn("too many", wizard.opted_out_explanation)
        wizard.action_link()
        self.push()
        self.assertEqual(self.account.opted_out_count, 2)

    def test_nothing_is_looked_up_when_nobody_said_no(self):
        self.env["crm.mailchimp.suppression"].search([]).lifted_at = "2020-01-01"
        self.simulator.clear_calls()
        wizard = self.ask()
        self.assertFalse(wizard.opted_out_explanation)
        self.assertFalse([c for c in self.simulator.calls if c.path.count("/") == 4])

    def test_who_opts_out_after_linking_is_no_question(self):
        self.link()
        self.contact("Eve")
        self.push()
        self.env["res.partner"].search(
            [("email_normalized", "=", "eve@firma.be")]
        ).mailchimp_opt_in = False
        self.assertEqual(self.account.opted_out_count, 2)
        self.send_opt_outs()
        self.assertEqual(self.status("eve@firma.be"), "archived")

    def test_it_is_linked_by_mailchimps_clock(self):
        self.simulator.advance(3600)
        self.ask().action_link()
        ahead = self.account.linked_at - fields.Datetime.now()
        self.assertAlmostEqual(ahead.total_seconds(), 3600, delta=30)
