"""An app at the simulated Mailchimp, and people who log in there."""

import requests

from odoo.tests import HttpCase
from odoo.tools import SQL

from ..models.crm_mailchimp_login import CALLBACK
from .common import MailchimpCase

SECRET = "hush-hush-0123456789"


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
            query = SQL("SELECT * FROM %s ORDER BY id", SQL.identifier(table))
            found.append(self.env.execute_query(query))
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
