from datetime import timedelta
from unittest.mock import patch

import requests

from odoo.exceptions import AccessError, UserError
from odoo.tests import HttpCase, new_test_user, tagged
from odoo.tests.common import ChromeBrowser

from ..models import crm_mailchimp_login
from ..models.crm_mailchimp_login import CALLBACK
from .common import MailchimpCase

SECRET = "hush-hush-0123456789"
# What the person does on the login page of the simulated Mailchimp.
PERSON = """
if (location.pathname === "/oauth2/authorize") {
    addEventListener("DOMContentLoaded", () => {
        for (const [name, value] of Object.entries(%s)) {
            document.querySelector(`[name=${name}]`).value = value;
        }
        document.querySelector("button[value=%s]").click();
    });
}
"""


class LoginCase(MailchimpCase, HttpCase):
    def prepare(self):
        super().prepare()
        self.admin = self.env.ref("base.user_admin")
        self.admin.company_id = self.company
        self.register()

    def register(self, **values):
        values = {"client_id": "app", "client_secret": SECRET, **values}
        self.simulator.add_app(
            "app", SECRET, f"{self.base_url()}{CALLBACK}", name="Odoo"
        )
        for name, value in values.items():
            self.env["crm.mailchimp.app"]._set(**{name: value})

    def press(self, button="action_login", account=None):
        """Press a button in the browser, and return where it leads."""
        action = self.make_jsonrpc_request(
            f"/web/dataset/call_button/crm.mailchimp.account/{button}",
            {
                "model": "crm.mailchimp.account",
                "method": button,
                "args": [(account or self.account).ids],
                "kwargs": {},
            },
        )
        self.assertEqual(
            (action["type"], action["target"]), ("ir.actions.act_url", "self")
        )
        return action["url"]

    def answer(self, url, do="allow", **form):
        """Do something on Mailchimp's page, and return where it sends the browser."""
        form = {"do": do, "account": self.simulator.account.id, **form}
        reply = requests.post(url, form, allow_redirects=False, timeout=30)
        self.assertEqual(reply.status_code, 302, reply.text)
        location = reply.headers["Location"]
        self.assertTrue(location.startswith(f"{self.base_url()}{CALLBACK}?"))
        return location

    def come_back(self, url):
        """Follow Mailchimp's answer, and return where Odoo sends the browser then."""
        reply = self.url_open(url, allow_redirects=False)
        self.env.invalidate_all()
        self.assertEqual(reply.status_code, 303, reply.text)
        location = reply.headers["Location"].removeprefix(self.base_url())
        self.assertTrue(location.startswith("/odoo/action-crm_mailchimp."), location)
        return location

    def log_in(self, button="action_login", user="admin", **form):
        self.authenticate(user, user)
        return self.come_back(self.answer(self.press(button), **form))

    def told(self, user=None):
        """Return what the form says about the last login."""
        return self.account.with_user(user or self.admin).login_message

    def remembered(self):
        """Return all that the database holds of accounts, runs and settings."""
        self.env.flush_all()
        found = []
        for table in (
            "crm_mailchimp_account",
            "crm_mailchimp_run",
            "crm_mailchimp_app",
        ):
            self.env.cr.execute(f"SELECT * FROM {table} ORDER BY id")
            found.append(self.env.cr.fetchall())
        return found

    def token(self):
        (token,) = self.simulator.account.tokens
        return token

    def check_refused(self, url, words, calls=0, user=None):
        """Come back, be told why on the account's form, and see nothing changed."""
        before, count = self.remembered(), len(self.simulator.calls)
        location = self.come_back(url)
        self.assertRegex(self.told(user), words)
        self.assertIn("Nothing was changed", self.told(user))
        self.assertTrue(location.endswith(f"_account/{self.account.id}"), location)
        self.assertEqual(self.remembered(), before)
        self.assertEqual(len(self.simulator.calls) - count, calls)


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


@tagged("post_install", "-at_install")
class TestLoginRefused(LoginCase):
    """Each ends on the account's form with one sentence, and changes nothing."""

    def setUp(self):
        super().setUp()
        self.authenticate("admin", "admin")

    def test_cancelled(self):
        self.check_refused(self.answer(self.press(), "cancel"), "was cancelled")

    def test_refused_by_mailchimp(self):
        url = self.answer(self.press(), "cancel")
        url = url.replace("access_denied", "server_error")
        self.check_refused(url, "Mailchimp refused the login")

    def test_no_code(self):
        url = self.answer(self.press(), "cancel").replace("error=access_denied&", "")
        self.check_refused(url.replace("error=access_denied", ""), "refused the login")

    def test_a_code_that_is_not_known(self):
        url = self.answer(self.press())
        self.simulator.account.codes.clear()
        self.check_refused(url, "did not accept the login", calls=1)

    def test_a_code_that_is_too_old(self):
        url = self.answer(self.press())
        self.simulator.advance(31)
        self.check_refused(url, "took too long", calls=1)

    def test_a_token_that_is_dead_while_metadata_are_told(self):
        url = self.answer(self.press())
        with self.before("GET", self.simulator.revoke_app, depth=2):
            self.check_refused(url, "revoked", calls=3)

    def test_the_app_is_not_known(self):
        url = self.answer(self.press())
        self.env["crm.mailchimp.app"]._set(client_secret="wrong")
        self.check_refused(url, "An administrator should enter both", calls=1)

    def test_a_user_who_may_not_manage_contacts(self):
        url = self.answer(self.press(), role="viewer")
        before = self.remembered()
        self.come_back(url)
        self.assertIn("role viewer", self.told())
        self.assertEqual(self.remembered(), before)

    def test_mailchimp_is_down_or_slow(self):
        self.patch(crm_mailchimp_login, "TIMEOUT", (1, 1))
        for route in ("POST /oauth2/token", "GET /oauth2/metadata"):
            for kind in ("drop", "hang", "garbage", "status"):
                with self.subTest(route=route, kind=kind):
                    url = self.answer(self.press())
                    self.simulator.fault(route, kind)
                    calls = 1 if "token" in route else 2
                    self.check_refused(url, "did not answer the login", calls)
        url = self.answer(self.press())
        self.simulator.fault("GET /", "status", status=503, times=None)
        self.patch(crm_mailchimp_login, "SECONDS", 0.5)
        self.check_refused(url, "did not answer the login", calls=3)

    # === ATTACKS === #

    def test_a_state_is_good_once(self):
        url = self.answer(self.press())
        self.come_back(url)
        self.assertEqual(self.account.auth_method, "oauth2")
        self.check_refused(url, "used already")
        # Nor with a code of somebody else's login.
        code = self.answer(self.press()).partition("code=")[2].partition("&")[0]
        state = url.partition("state=")[2].partition("&")[0]
        self.check_refused(f"{CALLBACK}?code={code}&state={state}", "used already")
        self.assertIn(code, self.simulator.account.codes)

    def test_a_state_that_was_cancelled_is_used_up(self):
        url = self.answer(self.press(), "cancel")
        self.come_back(url)
        code = self.answer(self.press()).partition("code=")[2].partition("&")[0]
        state = url.partition("state=")[2].partition("&")[0]
        self.check_refused(f"{CALLBACK}?code={code}&state={state}", "used already")

    def test_a_state_that_is_too_old(self):
        url = self.answer(self.press())
        with patch.object(crm_mailchimp_login, "LIFETIME", timedelta(seconds=-1)):
            self.come_back(url)
        self.assertIn("10 minutes", self.told())
        self.assertFalse(self.simulator.count("POST", "/oauth2/token"))

    def test_a_forged_state(self):
        url = self.answer(self.press())
        head, _mark, state = url.partition("state=")
        state, _and, tail = state.partition("&")
        forged = (
            "",
            "x",
            "AAAA",
            "%00",
            "é",
            state[:-2],
            state[:20] + ("A" if state[20] != "A" else "B") + state[21:],
        )
        for value in forged:
            with self.subTest(state=value):
                self.check_refused(f"{head}state={value}&{tail}", "another session")
        self.check_refused(f"{CALLBACK}?code=c0de", "another session")
        # The real one still works.
        self.come_back(url)
        self.assertEqual(self.account.auth_method, "oauth2")

    def test_another_session_of_the_same_user(self):
        """Somebody sends a victim the address that ends a login of their own."""
        url = self.answer(self.press())
        self.authenticate("admin", "admin")
        self.check_refused(url, "another session")

    def test_another_user(self):
        user = new_test_user(
            self.env, "second", groups="crm_mailchimp.group_mailchimp_manager"
        )
        url = self.answer(self.press())
        self.authenticate("second", "second")
        self.check_refused(url, "another session", user=user)

    def test_without_a_session(self):
        url = self.answer(self.press())
        self.authenticate(None, None)
        before = self.remembered()
        reply = self.url_open(url, allow_redirects=False)
        self.assertIn(reply.status_code, (302, 303))
        self.assertIn("/web/login", reply.headers["Location"])
        self.assertTrue(
            reply.headers["Location"].startswith((self.base_url(), "/web/login"))
        )
        self.assertEqual(self.remembered(), before)
        self.assertFalse(self.simulator.count("POST", "/oauth2/token"))

    def test_who_is_no_manager(self):
        for groups in ("base.group_portal", "crm_mailchimp.group_mailchimp_user"):
            login = groups.split("_")[-1]
            new_test_user(self.env, login, groups=groups)
            self.authenticate(login, login)
            before = self.remembered()
            reply = self.url_open(f"{CALLBACK}?code=x&state=y", allow_redirects=False)
            self.assertEqual(reply.status_code, 403)
            self.assertIn("Only a Mailchimp manager", reply.text)
            self.assertEqual(self.remembered(), before)

    def test_who_was_a_manager(self):
        """Rights are looked at again when the browser is back."""
        user = new_test_user(
            self.env, "former", groups="crm_mailchimp.group_mailchimp_manager"
        )
        self.authenticate("former", "former")
        url = self.answer(self.press())
        user.group_ids = self.env.ref("crm_mailchimp.group_mailchimp_user")
        before = self.remembered()
        reply = self.url_open(url, allow_redirects=False)
        self.assertEqual(reply.status_code, 403)
        self.assertEqual(self.remembered(), before)
        self.assertFalse(self.simulator.count("POST", "/oauth2/token"))

    def test_who_left_the_company(self):
        other = self.env["res.company"].create({"name": "Other"})
        user = new_test_user(
            self.env,
            "leaver",
            groups="crm_mailchimp.group_mailchimp_manager",
            company_ids=[(6, 0, (self.company | other).ids)],
            company_id=self.company.id,
        )
        self.authenticate("leaver", "leaver")
        url = self.answer(self.press())
        user.write({"company_id": other.id, "company_ids": [(6, 0, other.ids)]})
        before = self.remembered()
        self.come_back(url)
        self.assertEqual(self.remembered(), before)
        self.assertFalse(self.simulator.count("POST", "/oauth2/token"))

    def test_the_browser_is_sent_nowhere_else(self):
        url = self.answer(self.press())
        for name in ("redirect", "next", "redirect_uri", "url", "guided"):
            url += f"&{name}=https://evil.example"
        self.assertTrue(self.come_back(url).endswith(f"_account/{self.account.id}"))

    def test_only_by_following_a_link(self):
        url = self.answer(self.press())
        reply = self.url_open(url, data={"a": "b"}, allow_redirects=False)
        self.assertEqual(reply.status_code, 405)
        self.come_back(url)
        self.assertEqual(self.account.auth_method, "oauth2")

    def test_another_audience_is_chosen_meanwhile(self):
        self.link()
        url = self.answer(self.press())

        def act():
            self.account.active = False
            self.env.flush_all()

        self.env.flush_all()
        with self.before("GET", act, depth=2):
            self.come_back(url)
        self.assertIn("another audience meanwhile", self.told())
        self.assertEqual(self.account.auth_method, "api_key")


@tagged("post_install", "-at_install")
class TestLoginTours(LoginCase):
    """In a browser, through the page of the simulated Mailchimp."""

    def person(self, do="allow", **form):
        """Let somebody answer whenever the browser shows Mailchimp's page."""
        script = PERSON % (form, do)
        navigate_to = ChromeBrowser.navigate_to

        def prepared(browser, *args, **kwargs):
            browser._websocket_request(
                "Page.addScriptToEvaluateOnNewDocument", params={"source": script}
            )
            return navigate_to(browser, *args, **kwargs)

        self.patch(ChromeBrowser, "navigate_to", prepared)

    def form(self):
        return (
            f"/odoo/action-crm_mailchimp.action_crm_mailchimp_account/{self.account.id}"
        )

    def test_the_guided_start(self):
        self.account.active = False
        self.env.flush_all()
        self.person()
        self.start_tour("/odoo/crm", "crm_mailchimp_guided_login", login="admin")
        self.env.invalidate_all()
        account = self.env["crm.mailchimp.account"]._overview_account()
        self.assertEqual((account.state, account.auth_method), ("linked", "oauth2"))

    def test_cancelled(self):
        self.account.action_disconnect()
        self.env.flush_all()
        self.person("cancel")
        self.start_tour(self.form(), "crm_mailchimp_login_cancelled", login="admin")
        self.env.invalidate_all()
        self.assertEqual(self.account.state, "draft")

    def test_refused(self):
        self.account.action_disconnect()
        self.env.flush_all()
        self.person(role="viewer")
        self.start_tour(self.form(), "crm_mailchimp_login_refused", login="admin")
        self.env.invalidate_all()
        self.assertEqual(self.account.state, "draft")

    def test_again_after_it_was_revoked(self):
        self.log_in()
        self.link()
        self.push()
        self.simulator.revoke_app()
        self.push(state="failed")
        self.env.flush_all()
        self.person()
        self.start_tour(self.form(), "crm_mailchimp_login_again", login="admin")
        self.env.invalidate_all()
        self.assertEqual(self.account.state, "linked")
        self.push()

    def test_a_key_of_another_account(self):
        self.link()
        self.contact("Ann")
        self.push()
        other = self.simulator.add_account("Other company", f"{7:032}-us21")
        other.add_audience("Theirs")
        self.env.flush_all()
        self.start_tour(self.form(), "crm_mailchimp_key_of_another", login="admin")
        self.env.invalidate_all()
        self.assertEqual(set(self.audience.members), {"ann@firma.be"})
        self.assertEqual(self.account.audience_ref, self.audience.id)

    def test_the_settings(self):
        self.env["crm.mailchimp.app"]._get().unlink()
        self.env.flush_all()
        self.start_tour("/odoo/settings", "crm_mailchimp_app", login="admin")
        self.env.invalidate_all()
        app = self.env["crm.mailchimp.app"]._get()
        self.assertEqual((app.client_id, app.client_secret), ("tour", "tour-secret"))
