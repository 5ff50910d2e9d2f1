from datetime import timedelta

from odoo import fields
from odoo.tests import tagged

from .common import MailchimpCase


@tagged("post_install", "-at_install")
class TestBrake(MailchimpCase):
    """A run that would archive unusually many waits, and goes on when it may."""

    def prepare(self):
        super().prepare()
        self.link()
        self.people = self.env["res.partner"]
        for number in range(60):
            self.people |= self.contact(f"C{number}", city="Ghent")
        self.push()

    def brake(self):
        self.account.partner_domain = "[('city', '=', 'Paris')]"
        return self.push(state="brake")

    def archived(self):
        return {
            email
            for email, member in self.audience.members.items()
            if member.status == "archived"
        }

    def pass_an_hour(self, run):
        run.resume_at -= timedelta(hours=1)

    def test_confirming_plans_again(self):
        """Whoever is right by then stays, and the run says how many left."""
        run = self.brake()
        self.people[:3].city = "Paris"
        run.action_confirm_archiving()
        self.tick()
        self.assertEqual(run.state, "done", run.error_message)
        self.assertEqual(len(self.archived()), 57)
        self.assertEqual(self.status("c0@firma.be"), "subscribed")
        self.assertEqual(run.counters["archived"], 57)
        self.assertFalse(self.account.activity_ids)

    def test_confirming_an_old_number_asks_again(self):
        for number in range(10):
            self.people |= self.contact(f"D{number}", city="Paris")
        self.push()
        run = self.brake()
        self.assertIn("60 of the 70", run.error_message)
        self.people[-4:].city = "Rome"
        run.action_confirm_archiving()
        self.tick()
        self.assertEqual(run.state, "brake")
        self.assertIn("64 of the 70", run.error_message)
        self.assertIn("64", self.account.activity_ids.note)
        self.assertEqual(len(self.account.activity_ids), 1)
        self.assertFalse(self.archived())
        run.action_confirm_archiving()
        self.tick()
        self.assertEqual(run.state, "done")
        self.assertEqual(len(self.archived()), 64)

    def test_correcting_the_condition_lets_it_go_on(self):
        run = self.brake()
        new = self.contact("New")
        self.account.partner_domain = "[]"
        self.tick()
        self.assertEqual(run.state, "done")
        self.assertFalse(self.archived())
        self.assertEqual(self.status("new@firma.be"), "subscribed")
        self.assertEqual(new.mailchimp_status, "in")
        self.assertFalse(self.account.activity_ids)
        self.assertFalse(self.account.health_message)

    def test_correcting_the_contacts_lets_it_go_on(self):
        run = self.brake()
        self.people[:20].city = "Paris"
        self.tick()
        self.assertEqual(run.state, "brake", "not at every tick")
        self.pass_an_hour(run)
        self.tick()
        self.assertEqual(run.state, "done")
        self.assertEqual(len(self.archived()), 40)

    def test_while_nothing_is_corrected(self):
        """It waits on; what is said in Mailchimp meanwhile counts."""
        run = self.brake()
        self.simulator.advance(60)
        self.audience.unsubscribe("c1@firma.be")
        self.pass_an_hour(run)
        self.tick()
        self.assertEqual(run.state, "brake")
        self.assertFalse(self.people[1].mailchimp_opt_in)
        self.assertIn("59 of the 59", run.error_message)
        self.assertEqual(len(self.account.activity_ids), 1)
        self.assertFalse(self.archived())
        self.assertGreater(run.resume_at, fields.Datetime.now())

    def test_sync_now_says_what_it_waits_for(self):
        run = self.brake()
        self.people.city = "Paris"
        toast = self.account.action_sync_now()["params"]
        self.assertIn("waiting for a manager", toast["message"])
        self.assertIn("60 of the 60", toast["message"])
        self.assertEqual(toast["type"], "warning")
        self.tick()
        self.assertEqual(run.state, "done")
        self.assertFalse(self.archived())

    def test_pushing_a_contact_now(self):
        self.brake()
        found = self.people[0].action_mailchimp_push_now()["params"]["message"]
        self.assertIn("waiting for a manager", found)

    def test_comparing_everything_at_the_brake(self):
        run = self.brake()
        self.simulator.clear_calls()
        self.account.action_resync()
        self.tick()
        self.assertEqual((run.kind, run.state), ("full", "brake"))
        self.assertTrue(run.read_all)
        self.assertFalse(
            self.env["crm.mailchimp.run"].search([("state", "=", "queued")])
        )

    def test_members_only_in_mailchimp_do_not_count(self):
        """60 of 60 leave, however many others somebody else has in the audience."""
        for number in range(900):
            self.audience.add_member(f"foreign{number}@elsewhere.be")
        self.push("full")
        self.account.partner_domain = "[('city', '=', 'Paris')]"
        run = self.push(state="brake")
        self.assertIn("60 of the 60", run.error_message)

    # === WHAT A MANAGER IS TOLD, AND MAY DO === #

    def test_what_changed_and_taking_it_back(self):
        self.account.partner_kind = "company"
        run = self.push(state="brake")
        self.assertIn(
            "“Contacts” was changed from “People and companies” to “Companies only”;"
            " members who would leave because of it: 60",
            run.error_message,
        )
        self.assertEqual(run.summary, "Members to archive: 60")
        self.assertTrue(self.account.can_undo_scope)
        manager = self.env.ref("base.user_admin")
        run.with_user(manager).action_undo_scope()
        self.assertEqual(self.account.partner_kind, "all")
        self.tick()
        self.assertEqual(run.state, "done", run.error_message)
        self.assertFalse(self.archived())
        self.assertFalse(self.account.can_undo_scope)

    def test_causes_that_are_no_change_of_the_account(self):
        self.people[:45].active = False
        self.people[45:55].email = False
        run = self.push(state="brake")
        self.assertIn("Contact archived: 45", run.error_message)
        self.assertIn("Address changed or removed: 10", run.error_message)
        self.assertFalse(self.account.can_undo_scope)

    def test_the_list_is_the_number(self):
        """Opt-outs leave in their own lane, and are not asked about."""
        run = self.brake()
        action = run.action_open_archiving()
        listed = self.env["crm.mailchimp.member"].search(action["domain"])
        self.assertEqual(len(listed), 60)
        self.assertTrue(action["context"]["search_default_group_cause"])

    def test_the_activity_goes_with_its_reason(self):
        for end in ("cancelled", "confirmed"):
            with self.subTest(end):
                run = self.brake()
                self.assertTrue(self.account.activity_ids)
                if end == "cancelled":
                    run.action_cancel()
                else:
                    run.action_confirm_archiving()
                self.assertFalse(self.account.activity_ids)
