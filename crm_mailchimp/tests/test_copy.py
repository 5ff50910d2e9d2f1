from datetime import timedelta
from pathlib import Path

from lxml import etree

from odoo import fields
from odoo.exceptions import AccessError, UserError
from odoo.tests import new_test_user, tagged
from odoo.tools.safe_eval import safe_eval

from .common import MailchimpCase

NEUTRALIZE = Path(__file__).parents[1] / "data" / "neutralize.sql"


@tagged("post_install", "-at_install")
class TestCopy(MailchimpCase):
    """A copy of the database makes no call."""

    def prepare(self):
        super().prepare()
        self.link()
        self.contact("Ann")
        self.push()
        self.contact("New")
        self.simulator.clear_calls()

    def check_silent(self, told=True):
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
        # Whoever made a neutralized copy knows what it is.
        self.assertEqual(bool(self.account.database_message), told)
        self.assertEqual(self.account.state, "error" if told else "draft")
        self.assertEqual(
            self.account.activity_ids.mapped("summary"),
            ["Mailchimp needs attention"] * told,
        )

    def test_with_another_uuid(self):
        self.env["ir.config_parameter"].set_param("database.uuid", "another")
        self.check_silent()

    def test_under_another_name(self):
        uuid, _name, cluster = self.account.database_ref.split("/")
        self.account.database_ref = f"{uuid}/production/{cluster}"
        self.check_silent()

    def test_under_the_same_name_in_another_cluster(self):
        uuid, name, _cluster = self.account.database_ref.split("/")
        self.account.database_ref = f"{uuid}/{name}/7000000000000000000"
        self.check_silent()

    def test_connected_by_an_earlier_version(self):
        """It noted no cluster; a copy under another name is one all the same."""
        uuid, name, cluster = self.account.database_ref.split("/")
        self.account.database_ref = f"{uuid}/{name}"
        self.push()
        self.assertEqual(self.account.database_ref, f"{uuid}/{name}/{cluster}")
        self.account.database_ref = f"{uuid}/production"
        self.simulator.clear_calls()
        self.check_silent()

    def test_where_postgresql_does_not_tell_its_cluster(self):
        self.env.cr.execute(
            """CREATE FUNCTION public.pg_control_system(OUT system_identifier bigint)
               AS 'BEGIN RAISE insufficient_privilege; END' LANGUAGE plpgsql;
               SET LOCAL search_path = public, pg_catalog"""
        )
        self.assertTrue(self.account._database_ref().endswith("/"))
        self.account.database_ref = self.account._database_ref()
        self.account.lease = False
        self.audience.categories.clear()
        self.push()
        self.assertEqual(self.status("new@firma.be"), "subscribed")
        self.env["ir.config_parameter"].set_param("database.uuid", "another")
        self.simulator.clear_calls()
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
        self.check_silent(told=False)

    def test_connecting_again_makes_it_the_one_to_use(self):
        self.env["ir.config_parameter"].set_param("database.uuid", "moved")
        with self.assertRaisesRegex(UserError, "copy"):
            self.account.action_sync_now()
        self.account.action_connect()
        self.push()
        self.assertEqual(self.status("new@firma.be"), "subscribed")

    def test_a_renamed_database_is_told_at_once(self):
        """And one button goes on, after the whole audience was read."""
        uuid, _name, cluster = self.account.database_ref.split("/")
        self.account.database_ref = f"{uuid}/before/{cluster}"
        # What nobody will see among the changes: it is read all the same.
        self.audience.unsubscribe("ann@firma.be")
        run = self.env["crm.mailchimp.run"].search([], limit=1)
        run.pulled_until = fields.Datetime.now() + timedelta(days=1)
        self.tick()
        self.tick()
        self.assertEqual(self.account.state, "error")
        self.assertIn("renamed", self.account.database_message)
        self.assertEqual(self.account.database_message, self.account.error_message)
        self.assertEqual(len(self.account.activity_ids), 1)
        buttons = self.visible_buttons()
        self.assertEqual(
            {name for name in buttons if f"“{name}”" in self.account.error_message},
            {"Disconnect", "Use this database from now on"},
        )
        self.assertNotIn("Connect again", buttons)
        self.assertFalse(self.simulator.calls)

        self.account.action_adopt_database()
        self.assertFalse(self.account.database_message)
        self.assertFalse(self.account.activity_ids)
        self.assertEqual(self.account.state, "linked")
        read = []

        def look():
            read.extend(
                call.query.get("status")
                for call in self.simulator.calls
                if call.path.endswith("/members")
                and "since_last_changed" not in call.query
                and call.query.get("count") == "1000"
            )

        with self.before_subscribing(look):
            self.tick()
        self.assertEqual(read, [None, "archived"], "the whole audience was read")
        self.assertEqual(self.status("new@firma.be"), "subscribed")
        self.assertFalse(self.find("Ann").mailchimp_opt_in)
        run = self.account.last_run_id
        self.assertEqual((run.kind, run.state, run.read_all), ("full", "done", True))

    def test_nothing_is_sent_before_the_whole_audience_was_read(self):
        """Also not by another run, when somebody cancels the one that reads it."""
        self.env["ir.config_parameter"].set_param("database.uuid", "moved")
        self.tick()
        self.account.action_adopt_database()
        self.account.open_run_id.action_cancel()
        run = self.push()
        self.assertEqual((run.kind, run.read_all), ("full", True))
        self.assertEqual(self.status("new@firma.be"), "subscribed")

    def test_only_a_manager_decides(self):
        self.env["ir.config_parameter"].set_param("database.uuid", "moved")
        self.tick()
        user = new_test_user(
            self.env, "mailchimp_user", "crm_mailchimp.group_mailchimp_user"
        )
        with self.assertRaises(AccessError):
            self.account.with_user(user).action_adopt_database()

    def find(self, name):
        return self.env["res.partner"].search([("name", "=", name)])

    def visible_buttons(self):
        """Return the labels of the buttons a manager sees on the account's form."""
        view = self.env["crm.mailchimp.account"].get_view(view_type="form")
        return {
            button.get("string")
            for button in etree.fromstring(view["arch"]).iter("button")
            if button.get("string")
            and not any(
                safe_eval(
                    element.get("invisible") or "False",
                    {name: self.account[name] for name in self.account._fields},
                )
                for element in (button, *button.iterancestors())
            )
        }
