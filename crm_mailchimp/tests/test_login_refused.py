from datetime import timedelta
from unittest.mock import patch

from odoo.tests import new_test_user, tagged

from ..models import crm_mailchimp_login
from ..models.crm_mailchimp_login import CALLBACK
from .common import long
from .common_login import LoginCase


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

    @long
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
