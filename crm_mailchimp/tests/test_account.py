import logging

import psycopg2

from odoo import Command
from odoo.exceptions import AccessError, UserError
from odoo.tests import tagged
from odoo.tools import mute_logger

from .common import MailchimpCase


@tagged("post_install", "-at_install")
class TestAccount(MailchimpCase):
    """Connecting, choosing, disconnecting; and what goes wrong there."""

    def test_the_key_can_be_set_and_never_read(self):
        manager = self.env.ref("base.user_admin")
        account = self.account.with_user(manager)
        self.assertFalse(account.api_key)
        self.assertFalse(account.read(["api_key"])[0]["api_key"])
        with self.assertRaises(AccessError):
            account.read(["api_key_secret"])
        exported = account.export_data(["api_key", "api_key_hint"])["datas"]
        self.assertNotIn(self.simulator.api_key, str(exported))
        self.assertTrue(account.api_key_hint.endswith("-us21"))

    def test_the_key_is_in_no_log(self):
        with self.assertLogs(level=logging.DEBUG) as logs:
            logging.getLogger("test").info("start")
            self.account.action_connect()
        self.assertNotIn(self.simulator.api_key[:20], "\n".join(logs.output))

    def test_a_key_without_a_data_centre(self):
        with self.assertRaisesRegex(UserError, "data center"):
            self.account.api_key = "0123456789abcdef0123456789abcdef"
        self.assertEqual(self.account.state, "connected")

    def test_a_wrong_key(self):
        self.account.api_key = "ffffffffffffffffffffffffffffffff-us21"
        with self.assertRaisesRegex(UserError, "Create a new key"):
            self.account.action_connect()

    def test_an_empty_audience_is_linked_without_questions(self):
        self.link()
        self.assertEqual(self.account.state, "linked")
        self.assertEqual(self.account.audience_ref, self.audience.id)
        self.assertEqual(self.account.audience_name, "Test audience")

    def test_archived_members_alone_make_it_empty(self):
        self.audience.add_member("me@firma.be")
        self.audience.archive("me@firma.be")
        wizard = self.env["crm.mailchimp.choose.audience"].create(
            {"account_id": self.account.id}
        )
        wizard.line_id = wizard.line_ids[:1]
        wizard.action_link()
        self.assertEqual(self.account.state, "linked")

    def test_the_audience_that_is_linked_says_so(self):
        other = self.simulator.add_audience("Other audience")
        self.link()
        wizard = self.env["crm.mailchimp.choose.audience"].create(
            {"account_id": self.account.id}
        )
        names = {line.audience_ref: line.display_name for line in wizard.line_ids}
        self.assertEqual(
            names,
            {
                self.audience.id: "Test audience (linked; members: 0)",
                other.id: "Other audience (members: 0)",
            },
        )

    def test_an_audience_with_members_says_what_would_happen(self):
        self.audience.add_member("a@firma.be")
        self.audience.add_member("b@firma.be", status="unsubscribed")
        wizard = self.env["crm.mailchimp.choose.audience"].create(
            {"account_id": self.account.id}
        )
        wizard.line_id = wizard.line_ids[:1]
        wizard.action_link()
        self.assertTrue(wizard.is_confirming)
        self.assertIn("subscribed: 1,", wizard.explanation)
        self.assertIn("unsubscribed: 1,", wizard.explanation)
        self.assertEqual(self.account.state, "connected")
        wizard.action_link()
        self.assertEqual(self.account.state, "linked")

    def test_two_accounts_for_one_company(self):
        with (
            mute_logger("odoo.sql_db"),
            self.assertRaisesRegex(psycopg2.IntegrityError, "company_uniq") as caught,
            self.env.cr.savepoint(),
        ):
            self.env["crm.mailchimp.account"].create({"name": "Second"})
        # What the web client makes of it.
        message = self.account._sql_error_to_message(caught.exception)
        self.assertIn("already has a Mailchimp account", message)

    def test_nothing_is_pushed_before_somebody_starts_it(self):
        self.link(push=False)
        self.contact("Ann")
        self.push()
        self.assertFalse(self.audience.members)
        self.account.action_sync_now()
        self.tick()
        self.assertIn("ann@firma.be", self.audience.members)

    def test_linking_another_audience_starts_anew_and_leaves_the_old_alone(self):
        self.link()
        self.contact("Ann")
        self.push()
        old = self.audience
        self.audience = self.simulator.add_audience("Second audience")
        self.link()
        account = self.env["crm.mailchimp.account"].search(
            [("company_id", "=", self.company.id)]
        )
        self.assertNotEqual(account, self.account)
        self.assertFalse(self.account.active)
        self.account = account
        account.push_enabled = True
        self.push()
        self.assertEqual(self.status("ann@firma.be"), "subscribed")
        self.assertEqual(old.members["ann@firma.be"].status, "subscribed")

    def test_disconnecting_keeps_everything(self):
        self.link()
        partner = self.contact("Ann")
        self.push()
        self.account.action_disconnect()
        self.assertEqual(self.account.state, "draft")
        self.assertFalse(self.account.api_key_secret)
        self.assertTrue(partner.exists())
        self.assertEqual(self.ledger("ann@firma.be").status, "subscribed")
        self.simulator.clear_calls()
        self.tick()
        self.assertFalse(self.simulator.calls)

    def test_pressing_twice_is_one_run(self):
        self.link()
        self.account.action_sync_now()
        self.account.action_sync_now()
        self.assertEqual(len(self.account.run_ids), 1)

    def test_rights(self):
        self.link()
        groups = {
            "sales": "sales_team.group_sale_salesman",
            "user": "crm_mailchimp.group_mailchimp_user",
        }
        users = {
            name: self.env["res.users"].create(
                {
                    "name": name,
                    "login": f"rights-{name}",
                    "group_ids": [Command.link(self.env.ref(group).id)],
                }
            )
            for name, group in groups.items()
        }
        with self.assertRaises(AccessError):
            self.account.with_user(users["sales"]).action_sync_now()
        self.account.with_user(users["user"]).action_sync_now()
        for action in ("action_disconnect", "action_choose_audience", "action_connect"):
            with self.assertRaises(AccessError):
                getattr(self.account.with_user(users["user"]), action)()
        with self.assertRaises(AccessError):
            self.account.with_user(users["user"]).push_enabled = False

    def test_an_audience_that_another_company_has(self):
        """Two companies may share an audience, but not by mistake."""
        self.link()
        other = self.env["res.company"].create({"name": "Other"})
        account = self.env["crm.mailchimp.account"].create(
            {"name": "Second", "company_id": other.id}
        )
        account.api_key = self.simulator.api_key
        account.action_connect()
        wizard = self.env["crm.mailchimp.choose.audience"].create(
            {"account_id": account.id}
        )
        wizard.line_id = wizard.line_ids
        # The audience is empty: nothing else is to be asked.
        wizard.action_link()
        self.assertTrue(wizard.is_confirming)
        self.assertIn(f"{self.company.name} already syncs", wizard.explanation)
        self.assertFalse(account.audience_ref)
        wizard.action_link()
        self.assertEqual(account.audience_ref, self.audience.id)
        # One's own audience, linked again, is nobody else's.
        self.account.active = False
        wizard.action_back()
        wizard.action_link()
        self.assertFalse(wizard.is_confirming)
