from odoo import fields
from odoo.tests import tagged

from ..engine.lease import Mark, place_hash, read_mark
from .common import MailchimpCase


@tagged("post_install", "-at_install")
class TestLease(MailchimpCase):
    """A mark in the audience tells which database may write to it.

    Real copies and backups are in ``tests/e2e``; here Mailchimp's side is changed.
    """

    def prepare(self):
        super().prepare()
        self.link()
        self.contact("Ann")
        self.contact("Bob")
        self.push()

    def marks(self):
        return [
            mark
            for category in self.audience.categories.values()
            if (mark := read_mark(category.title))
        ]

    def mark(self):
        (mark,) = self.marks()
        return mark

    def written_by(self, nonce="ffffffff", place=None):
        """Let another database write the mark, or another state of this one."""
        mark = self.mark()
        place = place_hash(place) if place else mark.place
        (category,) = self.audience.categories.values()
        category.title = Mark(mark.since, mark.count + 5, nonce, place).title

    def find(self, name):
        return self.env["res.partner"].search([("name", "=", name)])

    def untick(self, name):
        self.find(name).mailchimp_opt_in = False

    # === OURS === #

    def test_written_once_by_each_run_that_writes(self):
        first = self.mark()
        self.assertEqual(first.count, 1)
        self.simulator.clear_calls()
        self.push()
        self.assertEqual(self.mark(), first)
        self.assertFalse(
            [call for call in self.simulator.calls if "interest" in call.path]
        )
        self.contact("Carol")
        self.find("Ann").city = "Rome"
        self.push()
        self.assertEqual(self.mark().count, 2)
        self.assertEqual(self.simulator.count("PATCH"), 2)
        self.assertNotEqual(self.mark().nonce, first.nonce)

    def test_the_mark_is_no_group(self):
        self.flag("Ghent", "[]")
        self.simulator.clear_calls()
        self.push()
        titles = [category.title for category in self.audience.categories.values()]
        self.assertEqual(sorted(titles), ["CRM contacts", self.mark().title])
        (hidden,) = (
            category
            for category in self.audience.categories.values()
            if category.title == self.mark().title
        )
        self.assertEqual(hidden.type, "hidden")
        self.assertFalse(hidden.interests)
        self.assertEqual(self.groups("ann@firma.be"), ["Ghent"])
        self.assertFalse(
            [
                call
                for call in self.simulator.calls
                if call.path.endswith(f"{hidden.id}/interests")
            ]
        )

    def test_deleted_or_renamed_by_hand(self):
        before = self.mark()
        self.audience.categories.clear()
        self.contact("Carol")
        self.push()
        self.assertEqual(self.mark().count, before.count + 1)
        (category,) = self.audience.categories.values()
        category.title = "What is this?"
        self.contact("Dan")
        self.push()
        self.assertEqual(self.mark().count, before.count + 2)
        self.assertEqual(self.status("dan@firma.be"), "subscribed")
        self.assertFalse(self.account.activity_ids)

    def test_an_answer_that_got_lost(self):
        """The mark that arrived all the same is known to be ours."""
        for route in ("PATCH", "POST"):
            if route == "POST":
                self.audience.categories.clear()
            self.contact(f"Carol {route}")
            self.simulator.fault(
                f"{route} /lists/*/interest-categories**", "drop_applied"
            )
            run = self.push(state="waiting")
            self.assertEqual(len(self.marks()), 1)
            run.resume_at = False
            self.push()
            self.assertEqual(
                self.status(f"carol.{route.lower()}@firma.be"), "subscribed"
            )
            self.assertEqual(len(self.marks()), 1)
            self.assertFalse(self.account.activity_ids)

    def test_a_preview_writes_no_mark(self):
        self.written_by(place="elsewhere")
        title = self.mark().title
        self.contact("Carol")
        self.push("preview")
        self.assertEqual(self.mark().title, title)
        self.assertEqual(self.account.state, "linked")

    # === ANOTHER DATABASE'S === #

    def test_another_database_writes(self):
        self.written_by(place="elsewhere")
        self.contact("Carol")
        self.untick("Ann")
        self.simulator.clear_calls()
        run = self.push(state="failed")
        self.assertEqual(self.status("ann@firma.be"), "subscribed")
        self.assertIsNone(self.status("carol@firma.be"))
        self.assertEqual(
            {call.method for call in self.simulator.calls}, {"GET"}, "nothing is sent"
        )
        self.assertEqual(self.account.state, "error")
        self.assertIn("Another Odoo database", self.account.database_message)
        self.assertEqual(run.error_message, self.account.database_message)
        self.assertEqual(len(self.account.activity_ids), 1)
        self.simulator.clear_calls()
        self.tick()
        self.tick("ir_cron_stats")
        self.assertFalse(self.simulator.calls)
        self.assertEqual(len(self.account.activity_ids), 1)

        self.account.action_adopt_database()
        self.push("full")
        self.assertEqual(self.status("ann@firma.be"), "archived")
        self.assertEqual(self.status("carol@firma.be"), "subscribed")
        self.assertEqual(self.mark().place, place_hash(self.account._database_ref()))
        self.assertFalse(self.account.activity_ids)

    def test_adopting_makes_the_other_one_stop_even_with_nothing_to_send(self):
        self.written_by(place="elsewhere")
        self.contact("Carol")
        self.push(state="failed")
        self.find("Carol").unlink()
        self.account.action_adopt_database()
        run = self.push("full")
        self.assertEqual(run.summary, "Nothing to do")
        self.assertEqual(self.mark().place, place_hash(self.account._database_ref()))

    def test_who_was_archived_by_another_database_stays_archived(self):
        """Odoo archived it here, too, once: that is not known to be the last word."""
        self.account.partner_domain = "[('city', '!=', 'Rome')]"
        self.find("Ann").city = "Rome"
        self.push()
        self.assertEqual(self.status("ann@firma.be"), "archived")
        self.written_by(place="elsewhere")
        self.find("Ann").city = "Ghent"
        self.push(state="failed")
        self.account.action_adopt_database()
        self.push("full")
        self.assertEqual(self.status("ann@firma.be"), "archived")

    def test_renamed_only_who_was_archived_by_odoo_comes_back(self):
        self.account.partner_domain = "[('city', '!=', 'Rome')]"
        self.find("Ann").city = "Rome"
        self.push()
        uuid, _name, cluster = self.account.database_ref.split("/")
        self.account.database_ref = f"{uuid}/before/{cluster}"
        self.find("Ann").city = "Ghent"
        self.tick()
        self.account.action_adopt_database()
        self.push("full")
        self.assertEqual(self.status("ann@firma.be"), "subscribed")

    # === AN OLDER STATE OF THIS ONE'S === #

    def test_an_older_database_asks(self):
        self.written_by()
        self.audience.unsubscribe("bob@firma.be")
        self.contact("Carol")
        self.contact("Dan")
        self.untick("Ann")
        before = self.mark()
        run = self.push(state="brake")
        self.assertEqual(self.status("ann@firma.be"), "archived", "opt-outs go on")
        self.assertIsNone(self.status("carol@firma.be"))
        self.assertTrue(run.read_all)
        self.assertFalse(self.find("Bob").mailchimp_opt_in)
        self.assertIn("older", run.error_message)
        self.assertIn("Contacts to add: 2", run.error_message)
        self.assertEqual(self.account.health_message, run.error_message)
        self.assertTrue(self.account.is_older)
        self.assertEqual(len(self.account.activity_ids), 1)
        self.assertEqual(self.mark(), before)

        # It waits, and asks once.
        self.tick()
        self.assertIsNone(self.status("carol@firma.be"))
        self.assertEqual(len(self.account.activity_ids), 1)

        self.account.action_confirm_older()
        self.push()
        self.assertEqual(self.status("carol@firma.be"), "subscribed")
        self.assertEqual(self.status("bob@firma.be"), "unsubscribed")
        self.assertEqual(self.mark().count, before.count + 1)
        self.assertFalse(self.account.activity_ids)
        self.contact("Eve")
        self.push()
        self.assertEqual(self.status("eve@firma.be"), "subscribed")

    def test_cancelled_it_asks_again(self):
        self.written_by()
        self.contact("Carol")
        self.push(state="brake").action_cancel()
        run = self.push(state="brake")
        self.assertIsNone(self.status("carol@firma.be"))
        self.assertTrue(run.is_older)

    def test_older_and_the_other_one_is_alive(self):
        """A copy of the whole disk is at the same place to all that can be seen."""
        self.written_by()
        self.contact("Carol")
        self.untick("Bob")
        self.push(state="brake")
        self.assertEqual(self.status("bob@firma.be"), "archived")
        self.written_by("eeeeeeee")
        self.untick("Ann")
        self.send_opt_outs()
        self.assertEqual(self.status("ann@firma.be"), "subscribed")
        self.assertEqual(self.account.state, "error")

    def test_confirmed_while_the_other_one_writes(self):
        self.written_by()
        self.contact("Carol")
        run = self.push(state="brake")
        self.written_by("eeeeeeee")
        self.account.action_confirm_older()
        self.tick()
        self.assertEqual(run.state, "failed")
        self.assertEqual(self.account.state, "error")
        self.assertIsNone(self.status("carol@firma.be"))

    # === LINKING === #

    def test_linking_an_audience_of_another_database(self):
        """It is told before, and the first push takes it over."""
        theirs = self.simulator.add_audience("Theirs")
        mark = Mark("2026-03-05", 7, "0a1b2c3d", place_hash("elsewhere"))
        category = theirs.add_category(mark.title, "hidden")
        wizard = self.env["crm.mailchimp.choose.audience"].create(
            {"account_id": self.account.id}
        )
        wizard.line_id = wizard.line_ids.filtered(
            lambda line: line.audience_ref == theirs.id
        )
        wizard.action_link()
        self.assertTrue(wizard.is_confirming)
        self.assertIn("03/05/2026", wizard.explanation)
        wizard.action_link()
        self.account = account = self.account._overview_account()
        self.push()
        self.assertEqual(read_mark(category.title), mark)
        account.push_enabled = True
        self.push()
        self.assertEqual(
            read_mark(category.title).place, place_hash(account._database_ref())
        )
        self.assertEqual(read_mark(category.title).since, str(fields.Date.today()))
        self.assertIn("ann@firma.be", theirs.members)

    def test_linking_ones_own_audience_again(self):
        other = self.simulator.add_audience("Another")
        ours = self.audience
        for audience in (other, ours):
            self.audience = audience
            wizard = self.env["crm.mailchimp.choose.audience"].create(
                {"account_id": self.account.id}
            )
            wizard.line_id = wizard.line_ids.filtered(
                lambda line, audience=audience: line.audience_ref == audience.id
            )
            wizard.action_link()
            if wizard.is_confirming:
                self.assertNotIn("database", wizard.explanation)
                wizard.action_link()
            self.account = self.account._overview_account()
            self.account.push_enabled = True
        self.contact("Carol")
        self.push()
        self.assertIn("carol@firma.be", ours.members)
        self.assertEqual(len(self.marks()), 1)
