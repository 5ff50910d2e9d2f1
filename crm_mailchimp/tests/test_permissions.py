from odoo.exceptions import AccessError, UserError
from odoo.tests import tagged

from .common import MailchimpCase

TEXTS = {"aaaa1111": "Email", "bbbb2222": "Direct Mail"}


@tagged("post_install", "-at_install")
class TestPermissions(MailchimpCase):
    """Marketing permissions that go with the opt-in, for new members only."""

    def prepare(self):
        super().prepare()
        self.link()

    def gdpr(self):
        audience = self.simulator.account.audiences[self.audience.id]
        audience.marketing_permissions = True
        audience.permission_texts.update(TEXTS)

    def switch_on(self, name="Email"):
        self.gdpr()
        self.audience.add_member("first@firma.be")
        self.account.action_read_permissions()
        self.account.permission_ids.filtered(lambda one: one.name == name).write(
            {"on_opt_in": True}
        )

    def permissions(self, email):
        return sorted(TEXTS[ref] for ref in self.member(email).permissions)

    def test_reading(self):
        with self.assertRaisesRegex(UserError, "does not use marketing permissions"):
            self.account.action_read_permissions()
        self.gdpr()
        with self.assertRaisesRegex(UserError, "has no members yet"):
            self.account.action_read_permissions()
        self.audience.add_member("first@firma.be")
        for _time in range(2):
            self.account.action_read_permissions()
            self.assertEqual(
                self.account.permission_ids.mapped("name"), ["Email", "Direct Mail"]
            )
        self.assertFalse(self.account.gives_permissions)

    def test_new_members_get_it_once(self):
        self.contact("Old")
        self.push()
        self.switch_on()
        self.contact("New")
        self.contact("First")
        run = self.push()
        self.assertEqual(run.counters["permitted"], 1)
        self.assertEqual(self.permissions("new@firma.be"), ["Email"])
        self.assertEqual(self.permissions("old@firma.be"), [], "was there before")
        self.assertEqual(self.permissions("first@firma.be"), [], "not added by Odoo")
        self.simulator.clear_calls()
        run = self.push()
        self.assertFalse(self.simulator.count("PATCH"))
        self.assertFalse(run.counters.get("permitted"))
        # What the person takes back stays taken back.
        self.member("new@firma.be").permissions = frozenset()
        self.account.permission_ids.on_opt_in = True
        self.push("full")
        self.assertEqual(self.permissions("new@firma.be"), [])
        self.contact("Newer")
        self.push()
        self.assertEqual(self.permissions("newer@firma.be"), ["Direct Mail", "Email"])

    def test_without_a_permission_there_is_no_call(self):
        self.gdpr()
        self.contact("New")
        self.simulator.clear_calls()
        self.push()
        self.assertFalse(self.simulator.count("PATCH"))

    def test_the_preview_names_them(self):
        self.switch_on()
        self.push()
        self.contact("New")
        preview = self.push("preview")
        (line,) = self.env["crm.mailchimp.preview.line"].search(
            [("run_id", "=", preview.id)]
        )
        self.assertEqual((line.action, line.detail), ("create", "Email"))

    def test_a_lost_answer(self):
        self.switch_on()
        self.contact("New")
        self.simulator.fault("PATCH /lists/*/members/*", "drop_applied", times=3)
        run = self.push(state="waiting")
        self.simulator.faults.clear()
        run.resume_at = False
        self.push()
        self.assertEqual(self.permissions("new@firma.be"), ["Email"])
        self.assertEqual(self.status("new@firma.be"), "subscribed")

    def test_a_permission_that_is_gone(self):
        self.switch_on()
        self.simulator.account.audiences[self.audience.id].permission_texts.pop(
            "aaaa1111"
        )
        self.contact("New")
        self.push()
        self.assertEqual(self.status("new@firma.be"), "subscribed")
        self.assertIn("refused", self.account.permission_ids[0].error_message)
        self.simulator.clear_calls()
        self.push()
        self.assertFalse(self.simulator.count("PATCH"))
        self.account.action_read_permissions()
        self.assertEqual(self.account.permission_ids.mapped("name"), ["Direct Mail"])

    def test_rights(self):
        self.switch_on()
        user = self.env["res.users"].create(
            {
                "name": "No manager",
                "login": "permission-no-manager",
                "group_ids": [
                    (4, self.env.ref("crm_mailchimp.group_mailchimp_user").id)
                ],
            }
        )
        with self.assertRaises(AccessError):
            self.account.with_user(user).action_read_permissions()
        with self.assertRaises(AccessError):
            self.account.permission_ids.with_user(user).on_opt_in = True
        with self.assertRaises(AccessError):
            self.account.permission_ids.with_user(user).create(
                {
                    "account_id": self.account.id,
                    "permission_ref": "x",
                    "name": "X",
                }
            )
