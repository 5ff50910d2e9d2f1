from odoo import Command
from odoo.exceptions import AccessError, UserError
from odoo.tests import HttpCase, new_test_user, tagged

from .common import MailchimpCase, long


class SetupCase(MailchimpCase):
    def prepare(self):
        super().prepare()
        # Nothing is configured, as after the add-on was installed.
        self.account.active = False
        self.account = self.env["crm.mailchimp.account"]
        self.manager = self.env.ref("base.user_admin")
        self.manager.company_id = self.company

    def steps(self):
        """Return ``{name: step}`` of the checklist as the page shows it."""
        self.env.flush_all()
        return {
            step["name"]: step
            for step in self.env["crm.mailchimp.account"]
            .with_user(self.manager)
            .get_setup()
        }

    def states(self):
        return {name: step["state"] for name, step in self.steps().items()}

    def press(self, name):
        """Press the button of a step."""
        step = self.steps()[name]
        account = self.env["crm.mailchimp.account"]._overview_account()
        return getattr(account.with_user(self.manager), step["method"])()

    def connect(self, key=None):
        account = self.env["crm.mailchimp.account"]._overview_account()
        account = account or account.with_user(self.manager).create({})
        account.api_key = key or self.simulator.api_key
        self.account = account
        return account.with_user(self.manager).action_setup_key()


@tagged("post_install", "-at_install")
class TestSetup(SetupCase):
    """The checklist on the overview: each step looks whether it is done."""

    def test_step_by_step(self):
        self.contact("Ann")
        self.contact("Without").email = False
        self.assertEqual(
            self.states(),
            {"connect": "next", **dict.fromkeys(list(self.steps())[1:], "later")},
        )
        labels = {name for name, step in self.steps().items() if step.get("label")}
        self.assertEqual(labels, {"connect"})
        # The dialog for the key leads on to the audiences.
        action = self.connect()
        self.assertEqual(action["res_model"], "crm.mailchimp.choose.audience")
        self.assertEqual(self.states()["audience"], "next")
        wizard = self.env[action["res_model"]].browse(action["res_id"])
        self.assertEqual(wizard.line_id.display_name, "Test audience (members: 0)")
        self.assertEqual(
            wizard.action_link()["tag"], "crm_mailchimp.overview", "back to the list"
        )
        self.tick()
        steps = self.steps()
        self.assertEqual(steps["audience"]["state"], "done")
        self.assertEqual(steps["contacts"]["state"], "done")
        self.assertIn("with an opt-in: 2", steps["contacts"]["text"])
        self.assertIn("Will be synced: 1", steps["contacts"]["text"])
        self.assertIn("No email address (1)", steps["contacts"]["text"])
        self.assertEqual(steps["mapping"]["state"], "done")
        self.assertEqual(steps["start"]["state"], "next")
        self.assertFalse(self.member("ann@firma.be"), "nothing is sent yet")
        overview = self.env["crm.mailchimp.account"].get_overview("all")
        self.assertFalse(overview["runs"]["next"], "nothing is sent by itself")
        self.press("start")
        self.assertEqual(self.states()["start"], "busy")
        self.tick()
        self.assertEqual(self.status("ann@firma.be"), "subscribed")
        overview = self.env["crm.mailchimp.account"].get_overview("all")
        self.assertTrue(overview["runs"]["next"])
        self.assertFalse(
            self.env["crm.mailchimp.account"]
            .with_user(self.manager)
            .get_overview("all")["setup"]
        )
        self.assertTrue(self.account.next_sync_date, "all is well")
        self.assertFalse(self.account.last_run_id.left_out)

    def test_nobody_has_the_opt_in(self):
        self.connect()
        self.link(push=False)
        self.tick()
        step = self.steps()["contacts"]
        self.assertEqual(step["state"], "next")
        self.assertEqual(self.press("contacts")["res_model"], "res.partner")
        self.contact("Ann")
        self.assertEqual(
            self.press("contacts")["res_model"], "crm.mailchimp.contact.status"
        )

    def test_a_wrong_key_and_the_right_one(self):
        with self.assertRaises(UserError) as wrong:
            self.connect("ffffffffffffffffffffffffffffffff-us21")
        self.assertIn("does not accept this API key", str(wrong.exception))
        self.assertNotIn("no longer", str(wrong.exception))
        self.assertEqual(self.states()["connect"], "next")
        self.connect()
        self.assertEqual(self.states()["connect"], "done")

    def test_several_audiences_are_not_chosen_for_anybody(self):
        self.simulator.add_audience("Another")
        action = self.connect()
        wizard = self.env[action["res_model"]].browse(action["res_id"])
        self.assertFalse(wizard.line_id)
        with self.assertRaisesRegex(UserError, "Choose an audience"):
            wizard.action_link()

    def test_without_any_audience_one_is_created_from_the_company(self):
        self.simulator.account.audiences.clear()
        self.company.partner_id.write(
            {
                "street": "Korenmarkt 1",
                "city": "Ghent",
                "zip": "9000",
                "country_id": self.env.ref("base.be").id,
                "email": "news@firma.be",
            }
        )
        action = self.connect()
        self.assertEqual(action["res_model"], "crm.mailchimp.create.audience")
        wizard = self.env[action["res_model"]].browse(action["res_id"])
        self.assertEqual(wizard.from_email, "news@firma.be")
        self.assertEqual(wizard.from_name, self.company.name)
        self.assertEqual(wizard.action_create()["tag"], "crm_mailchimp.overview")
        self.assertEqual(self.states()["audience"], "busy")
        self.tick()
        self.assertEqual(self.states()["audience"], "done")
        (audience,) = self.simulator.audiences
        self.assertEqual(audience.name, self.company.name)

    def test_what_the_mapping_leaves_out(self):
        self.contact("Half", street="Korenmarkt 1")
        self.contact(
            "Whole",
            street="Korenmarkt 1",
            city="Ghent",
            zip="9000",
            state_id=self.env.ref("base.state_us_5").id,
            country_id=self.env.ref("base.us").id,
        )
        self.contact("None")
        self.connect()
        self.link(push=False)
        self.tick()
        run = self.env["crm.mailchimp.run"].browse(self.press("preview")["res_id"])
        self.tick()
        self.assertEqual(run.state, "done", run.error_message)
        details = {
            line.email_normalized: line.detail
            for line in self.env["crm.mailchimp.preview.line"].search(
                [("run_id", "=", run.id)]
            )
        }
        self.assertEqual(details["half@firma.be"], "Left out: Address")
        self.assertFalse(details["whole@firma.be"])
        self.assertIn("Address (1)", run.left_out)
        steps = self.steps()
        self.assertIn("Address (1)", steps["mapping"]["text"])
        self.assertIn("To add: 3", steps["preview"]["text"])
        self.assertFalse(self.audience.members)

    def test_who_may_not_configure(self):
        user = new_test_user(self.env, "sam", groups="sales_team.group_sale_salesman")
        Account = self.env["crm.mailchimp.account"].with_user(user)
        with self.assertRaises(AccessError):
            Account.get_setup()
        self.assertFalse(Account.get_overview("all")["setup"])
        with self.assertRaises(AccessError):
            Account.action_setup_connect()

    def test_pausing(self):
        ann = self.contact("Ann")
        self.connect()
        self.link()
        self.push()
        account = self.account.with_user(self.manager)
        account.action_pause()
        self.assertTrue(account.is_paused)
        self.contact("Bob")
        self.push()
        self.assertFalse(self.member("bob@firma.be"))
        runs = account.get_overview("all")["runs"]
        self.assertTrue(runs["paused"])
        self.assertFalse(runs["next"])
        self.assertFalse(account.get_overview("all")["setup"], "it is set up")
        self.opt_out(ann)
        self.assertEqual(self.status("ann@firma.be"), "archived")
        account.action_sync_now()
        self.tick()
        self.assertEqual(self.status("bob@firma.be"), "subscribed")
        self.assertFalse(account.is_paused)
        user = new_test_user(
            self.env,
            "max",
            groups="sales_team.group_sale_salesman,crm_mailchimp.group_mailchimp_user",
            company_ids=[Command.link(self.company.id)],
        )
        with self.assertRaises(AccessError):
            account.with_user(user).action_pause()


@tagged("post_install", "-at_install")
class TestSetupTours(SetupCase, HttpCase):
    """The way from nothing to the first contact in the audience, in a browser."""

    def test_guided_start(self):
        """At most eight clicks, which the tour counts."""
        self.contact("Ann")
        self.env.flush_all()
        self.start_tour("/odoo/crm", "crm_mailchimp_guided_start", login="admin")
        self.env.invalidate_all()
        self.account = self.env["crm.mailchimp.account"]._overview_account()
        self.assertFalse(self.member("ann@firma.be"))
        for _tick in range(5):
            self.tick()
        self.assertEqual(self.status("ann@firma.be"), "subscribed")
        self.assertEqual(self.account.last_run_id.state, "done")

    @long
    def test_empty_screens_lead_to_the_set_up(self):
        self.contact("Ann")
        self.env.flush_all()
        self.start_tour(
            "/odoo/action-crm_mailchimp.action_crm_mailchimp_contact_status",
            "crm_mailchimp_empty_screen",
            login="admin",
        )
