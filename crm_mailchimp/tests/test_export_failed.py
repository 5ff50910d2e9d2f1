import csv
import io
from datetime import timedelta

from odoo import Command, fields
from odoo.exceptions import AccessError
from odoo.tests import HttpCase, tagged
from odoo.tools import mute_logger

from .common import MailchimpCase


@tagged("post_install", "-at_install")
class TestExportFailed(MailchimpCase, HttpCase):
    """The file of refused records, as somebody downloads it."""

    switches = {"fake_addresses": ("fake@firma.be",)}

    def prepare(self):
        super().prepare()
        self.link()

    def download(self, action):
        self.assertEqual(action["target"], "download")
        self.env.flush_all()
        self.authenticate("admin", "admin")
        response = self.url_open(action["url"])
        self.assertEqual(response.status_code, 200)
        self.assertIn("attachment", response.headers["Content-Disposition"])
        return list(csv.DictReader(io.StringIO(response.text)))

    def test_who_was_refused_and_why(self):
        self.contact("=Fake, Inc", "fake@firma.be")
        self.contact("Ann")
        before = fields.Datetime.now()
        run = self.push()
        rows = self.download(self.account.action_export_failed())
        self.assertEqual(len(rows), 1)
        (row,) = rows
        self.assertEqual(row["Contact"], "'=Fake, Inc")
        self.assertEqual(row["Address"], "fake@firma.be")
        self.assertEqual(row["Rejection reason"], "Looks fake to Mailchimp")
        self.assertIn("looks fake or invalid", row["Explanation"])
        since = fields.Datetime.to_datetime(row["Refused on"])
        self.assertLess(abs(since - before), timedelta(minutes=1))
        self.assertNotIn(self.simulator.api_key, str(rows))
        self.assertTrue(run.has_failed)
        self.assertEqual(self.download(run.action_export_failed()), rows)

    def test_a_run_tells_of_its_own(self):
        self.contact("Fake", "fake@firma.be")
        first = self.push()
        self.env["crm.mailchimp.member"].search(
            [("reason", "!=", False)]
        ).refused_at -= timedelta(days=1)
        second = self.push()
        self.assertFalse(second.has_failed)
        notice = second.action_export_failed()
        self.assertIn("no failed records", notice["params"]["message"])
        first.write({"started_at": "2020-01-01 00:00:00"})
        self.assertEqual(len(self.download(first.action_export_failed())), 1)

    def test_a_repaired_record_is_not_listed_any_more(self):
        fake = self.contact("Fake", "fake@firma.be")
        self.push()
        fake.email = "real@firma.be"
        self.push()
        self.assertEqual(self.status("real@firma.be"), "subscribed")
        notice = self.account.action_export_failed()
        self.assertIn("no failed records", notice["params"]["message"])

    def test_the_right_to_export_holds(self):
        self.contact("Fake", "fake@firma.be")
        self.push()
        user = self.env["res.users"].create(
            {
                "name": "No export",
                "login": "no-export",
                "password": "no-export-please",
                "group_ids": [
                    Command.set(
                        [
                            self.env.ref("base.group_user").id,
                            self.env.ref("crm_mailchimp.group_mailchimp_user").id,
                        ]
                    )
                ],
            }
        )
        user.group_ids -= self.env.ref("base.group_allow_export")
        action = self.env.ref("crm_mailchimp.action_account_export_failed")
        context = {
            "active_model": self.account._name,
            "active_ids": self.account.ids,
        }
        with self.assertRaises(AccessError):
            action.with_user(user).with_context(**context).run()
        url = action.with_context(**context).run()["url"]
        self.env.flush_all()
        self.authenticate("no-export", "no-export-please")
        with mute_logger("odoo.addons.web.controllers.export", "odoo.http"):
            self.assertEqual(self.url_open(url).status_code, 500)
