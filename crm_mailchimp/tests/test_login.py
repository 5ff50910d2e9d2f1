from odoo.exceptions import AccessError, UserError
from odoo.tests import tagged

from .common_login import SECRET, LoginCase


@tagged("post_install", "-at_install")
class TestLogin(LoginCase):
    """Connecting by a login at Mailchimp."""

    def test_a_login_connects(self):
        self.account.action_disconnect()
        location = self.log_in()
        self.assertTrue(location.endswith(f"_account/{self.account.id}"))
        account = self.account
        self.assertEqual((account.state, account.auth_method), ("connected", "oauth2"))
        self.assertEqual(account.data_center, "us21")
        self.assertEqual(account.remote_name, self.simulator.account.name)
        self.assertEqual(account.account_ref, self.simulator.account.id)
        self.assertEqual(account.api_key_hint, f"…{self.token()[-4:]}-us21")
        self.assertFalse(self.told())
        self.simulator.revoke_key()
        self.link()
        self.contact("Ann")
        self.push()
        self.assertEqual(self.status("ann@firma.be"), "subscribed")
        self.opt_out(self.env["res.partner"].search([("name", "=", "Ann")]))
        self.assertEqual(self.status("ann@firma.be"), "archived")

    def test_from_the_checklist_one_comes_back_to_it(self):
        self.assertTrue(self.log_in("action_setup_login").endswith("_overview"))
        self.authenticate("admin", "admin")
        url = self.answer(self.press("action_setup_login"), "cancel")
        self.check_refused(url, "cancelled")

    def test_the_token_is_as_secret_as_a_key(self):
        with self.assertLogs(level="DEBUG") as logs:
            self.log_in()
        account = self.account.with_user(self.admin)
        token = self.token()
        with self.assertRaises(AccessError):
            account.read(["api_key_secret"])
        names = [
            name
            for name, field in account._fields.items()
            if account._has_field_access(field, "read")
        ]
        self.assertNotIn("api_key_secret", names)
        self.assertNotIn(token, str(account.read(names)))
        self.assertNotIn(token, str(account.export_data(names)["datas"]))
        told = "\n".join(logs.output)
        for secret in (token, SECRET):
            self.assertNotIn(secret, told)
        messages = self.env["mail.message"].search([("model", "=", account._name)])
        self.assertNotIn(token, str(messages.mapped("body")))

    def test_the_same_account_goes_on_by_login_and_by_key(self):
        self.link()
        self.push()
        self.simulator.revoke_key()
        self.audience.add_member("late@firma.be")
        late = self.contact("Late")
        self.tick()
        self.push(state="failed")
        self.assertEqual(self.account.state, "error")
        self.log_in()
        self.assertEqual(self.account.state, "linked")
        self.assertFalse(self.account.activity_ids)
        self.tick()
        self.assertEqual(late.mailchimp_status, "in", "what was missed is caught up")
        # And back to a key.
        self.simulator.revoke_app()
        self.simulator.restore_key()
        self.push(state="failed")
        self.account.api_key = self.simulator.api_key
        self.assertEqual(self.account.auth_method, "api_key")
        self.account.action_reauthorize()
        self.push()
        self.assertEqual(self.account.state, "linked")

    def test_a_revoked_login_says_which_button_helps(self):
        self.log_in()
        self.link()
        self.push()
        self.simulator.revoke_app()
        run = self.push(state="failed")
        self.assertEqual(self.account.state, "error")
        for sentence in (self.account.error_message, run.error_message):
            self.assertIn("login", sentence)
            self.assertIn("“Log in again”", sentence)
            self.assertNotIn("key", sentence)
        self.assertTrue(self.account.needs_new_key, "it does not go on by itself")
        with self.assertRaisesRegex(UserError, "“Log in again”"):
            self.account.action_reauthorize()
        self.log_in()
        self.assertEqual(self.account.state, "linked")
        self.push()
        # Nobody can log in without an app.
        self.simulator.revoke_app()
        self.env["crm.mailchimp.app"]._get().unlink()
        self.push(state="failed")
        self.assertIn("an administrator can register one", self.account.error_message)

    def test_another_account_is_refused(self):
        self.link()
        self.contact("Ann")
        self.push()
        other = self.simulator.add_account("Other company")
        other.add_audience("Theirs")
        self.authenticate("admin", "admin")
        url = self.answer(self.press(), account=other.id)
        self.simulator.clear_calls()
        self.check_refused(url, "logged in to the Mailchimp account Other company", 3)
        self.assertEqual(
            [call.path for call in self.simulator.calls],
            ["/oauth2/token", "/oauth2/metadata", "/"],
        )
        self.push()

    def test_nor_when_nobody_knows_which_account_it_was(self):
        """As after an upgrade: the audience has to be there."""
        self.link()
        self.account.write({"account_ref": False, "key_verified": False})
        other = self.simulator.add_account("Other company")
        self.authenticate("admin", "admin")
        url = self.answer(self.press(), account=other.id)
        self.check_refused(url, "logged in to the Mailchimp account Other company", 4)
        self.log_in()
        self.assertEqual(self.account.account_ref, self.simulator.account.id)

    def test_another_account_with_its_audience_chosen_anew(self):
        self.link()
        self.contact("Ann")
        self.push()
        first, former = self.account, self.audience
        other = self.simulator.add_account("Other company")
        theirs = self.simulator.handle(other.add_audience("Theirs"))
        self.log_in("action_login_anew", account=other.id)
        self.assertEqual(first.state, "error")
        self.assertIn("“Change audience”", first.error_message)
        self.contact("Bob")
        self.simulator.clear_calls()
        first._request_run("push")
        first.next_look = False
        for cron in ("ir_cron_push", "ir_cron_opt_out", "ir_cron_stats"):
            self.tick(cron)
        self.assertEqual({call.path for call in self.simulator.calls}, {"/"})
        self.assertEqual(first.state, "error")
        self.assertIn("Other company", first.error_message)

        wizard = self.env["crm.mailchimp.choose.audience"].browse(
            first.action_choose_audience()["res_id"]
        )
        self.assertEqual(wizard.line_ids.mapped("name"), ["Theirs"])
        wizard.line_id = wizard.line_ids
        wizard.action_link()
        account = self.env["crm.mailchimp.account"]._overview_account()
        self.assertNotEqual(account, first)
        self.assertEqual(account.account_ref, other.id)
        self.assertEqual(account.remote_name, "Other company")
        self.account, self.audience = account, theirs
        account.push_enabled = True
        self.push()
        self.assertTrue(account.key_verified)
        self.assertEqual(self.status("bob@firma.be"), "subscribed")
        self.assertEqual(set(former.members), {"ann@firma.be"})

    def test_a_copy_of_the_database(self):
        """Logging in says that this is the database to use, as a key does."""
        self.link()
        self.env["ir.config_parameter"].set_param("database.uuid", "moved")
        self.tick()
        self.log_in()
        self.assertFalse(self.account.database_message)
        self.push()

    def test_a_neutralized_copy_logs_in_nowhere(self):
        self.authenticate("admin", "admin")
        url = self.answer(self.press())
        self.env["ir.config_parameter"].set_param("database.is_neutralized", True)
        before = self.remembered()
        self.simulator.clear_calls()
        self.come_back(url)
        self.assertIn("neutralized", self.told())
        self.assertEqual(self.remembered(), before)
        self.assertFalse(self.simulator.calls)
        with self.assertRaisesRegex(UserError, "neutralized"):
            self.account.action_login()

    def test_without_an_app_one_is_told_what_to_do(self):
        self.assertTrue(self.account.can_log_in)
        self.env["crm.mailchimp.app"]._get().client_secret = False
        self.env.invalidate_all()
        self.assertFalse(self.account.can_log_in)
        with self.assertRaisesRegex(UserError, "Settings > CRM > Mailchimp"):
            self.account.action_login()

    def test_a_browser_at_another_address(self):
        self.env["ir.config_parameter"].set_param(
            "web.base.url", "https://crm.firma.be"
        )
        self.authenticate("admin", "admin")
        reply = self.url_open(
            "/web/dataset/call_button/crm.mailchimp.account/action_login",
            json={
                "params": {
                    "model": "crm.mailchimp.account",
                    "method": "action_login",
                    "args": [self.account.ids],
                    "kwargs": {},
                }
            },
        )
        message = reply.json()["error"]["data"]["message"]
        self.assertIn("https://crm.firma.be", message)
        with self.assertRaisesRegex(UserError, "https://crm.firma.be"):
            self.account.action_login()  # no browser at all

    def test_the_settings(self):
        """The secret can be set and replaced, and never read."""
        Settings = self.env["res.config.settings"].with_user(self.admin)
        self.env["crm.mailchimp.app"]._get().unlink()
        settings = Settings.create(
            {"mailchimp_client_id": " id ", "mailchimp_client_secret": f" {SECRET} "}
        )
        settings.execute()
        self.env.flush_all()
        app = self.env["crm.mailchimp.app"]._get()
        self.assertEqual((app.client_id, app.client_secret), ("id", SECRET))
        shown = Settings.create({})
        self.assertEqual(shown.mailchimp_client_id, "id")
        self.assertTrue(shown.mailchimp_has_secret)
        self.assertEqual(
            shown.mailchimp_redirect_uri, f"{self.base_url()}/crm_mailchimp/login"
        )
        for record in (settings, shown):
            self.assertFalse(record.mailchimp_client_secret)
            self.assertNotIn(SECRET, str(record.read()))
        self.env.cr.execute("SELECT * FROM res_config_settings")
        self.assertNotIn(SECRET, str(self.env.cr.fetchall()))
        # Saving again keeps it; without a client ID there is no app.
        Settings.create({"mailchimp_client_id": "id2"}).execute()
        self.assertEqual(app.client_secret, SECRET)
        Settings.create({"mailchimp_client_id": False}).execute()
        self.assertFalse(self.env["crm.mailchimp.app"]._get())
