from pathlib import Path

from odoo.exceptions import UserError
from odoo.tests import tagged

from .common import MailchimpCase

NEUTRALIZE = Path(__file__).parents[1] / "data" / "neutralize.sql"


@tagged("post_install", "-at_install")
class TestCopy(MailchimpCase):
    """A copy of the database makes no call."""

    def setUp(self):
        super().setUp()
        self.link()
        self.contact("Ann")
        self.push()
        self.contact("New")
        self.simulator.clear_calls()

    def check_silent(self):
        self.account.invalidate_recordset()
        for cron in ("ir_cron_push", "ir_cron_stats"):
            self.env["crm.mailchimp.run"]._get_or_create(
                self.account, "stats" if cron == "ir_cron_stats" else "push"
            )
            self.tick(cron)
        for action in (
            "action_sync_now",
            "action_resync",
            "action_import_stats",
            "action_choose_audience",
        ):
            with self.assertRaises(UserError):
                getattr(self.account, action)()
        self.assertFalse(self.simulator.calls)

    def test_with_another_uuid(self):
        self.env["ir.config_parameter"].set_param("database.uuid", "another")
        self.check_silent()

    def test_under_another_name(self):
        uuid, _name = self.account.database_ref.split("/")
        self.account.database_ref = f"{uuid}/production"
        self.check_silent()

    def test_neutralized(self):
        self.env.flush_all()
        self.env.cr.execute(NEUTRALIZE.read_text())
        self.env.invalidate_all()
        self.env["ir.config_parameter"].set_param("database.is_neutralized", True)
        self.env["ir.config_parameter"].set_param(
            "crm_mailchimp.api_url", self.simulator.url
        )
        self.assertFalse(self.account.api_key_secret)
        self.assertFalse(self.account.push_enabled)
        self.check_silent()

    def test_connecting_again_makes_it_the_one_to_use(self):
        self.env["ir.config_parameter"].set_param("database.uuid", "moved")
        with self.assertRaisesRegex(UserError, "copy"):
            self.account.action_sync_now()
        self.account.action_connect()
        self.push()
        self.assertEqual(self.status("new@firma.be"), "subscribed")
