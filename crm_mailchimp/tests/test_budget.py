from unittest.mock import patch

from odoo.tests import tagged

from ..sync import phase
from .common import MailchimpCase

CONTACTS = 10_000


class InsertContacts:
    """Many contacts at once, and what the database counted of the writes."""

    def insert_contacts(self, number):
        """Copy a contact in SQL: the ORM would take longer than the push."""
        model = self.contact("Model", mailchimp_opt_in_date="2026-01-01 00:00:00")
        self.env.flush_all()
        own = {
            "id": "nextval('res_partner_id_seq')",
            "name": "'Person ' || n",
            "complete_name": "'Person ' || n",
            "email": "'p' || n || '@firma.be'",
            "email_normalized": "'p' || n || '@firma.be'",
            "city": "'City ' || n % 50",
            "is_company": "n % 10 = 0",
        }
        self.env.cr.execute(
            "SELECT column_name FROM information_schema.columns"
            " WHERE table_name = 'res_partner'"
        )
        columns = [name for (name,) in self.env.cr.fetchall()]
        self.env.cr.execute(
            f"INSERT INTO res_partner ({', '.join(columns)})"
            f" SELECT {', '.join(own.get(name, name) for name in columns)}"
            f" FROM res_partner, generate_series(1, {number - 1}) n"
            f" WHERE id = {model.id}"
        )
        self.env.invalidate_all()


@tagged("post_install", "-at_install")
class TestBudget(InsertContacts, MailchimpCase):
    """How many calls and writes a run costs."""

    def test_calls_and_writes(self):
        self.link()
        self.push()
        self.insert_contacts(CONTACTS)
        for number in range(5):
            self.flag(f"Segment {number}", f"[('city', 'like', 'City {number}')]")
        self.simulator.clear_calls()
        run = self.push()
        counters = run.counters
        self.assertEqual(counters["created"], CONTACTS)
        created = (
            counters["groups_created"] + 2 + counters.get("merge_fields_created", 0)
        )
        self.assertLessEqual(len(self.simulator.calls), CONTACTS // 500 + 10 + created)
        self.assertEqual(len(self.audience.members), CONTACTS)

        # Ids of new members are only known, and noted, once they are read.
        self.push()
        self.simulator.clear_calls()
        before = self.writes()
        run = self.push()
        self.assertEqual(run.summary, "Nothing to do")
        # Members that unsubscribed and that bounced are asked for by themselves: they
        # may lie below the thousands of changes that the push made.
        self.assertLessEqual(len(self.simulator.calls), 4)
        after = self.writes()
        written = {
            table for table, count in after.items() if count != before.get(table, 0)
        }
        self.assertLessEqual(
            written,
            {
                "crm_mailchimp_run",
                "ir_cron",
                "ir_cron_progress",
                "ir_cron_trigger",
                "bus_bus",
            },
        )

        self.simulator.clear_calls()
        self.env["res.partner"].search([("email", "=", "p77@firma.be")]).city = "Rome"
        run = self.push()
        self.assertEqual(run.counters["updated"], 1)
        # Two of them for the lease: whose the audience is, and that it is still ours.
        self.assertLessEqual(len(self.simulator.calls), 8)
        self.assertEqual(self.member("p77@firma.be").merge_fields["CITY"], "Rome")

    def test_progress_is_told_once_a_second(self):
        """A browser gets a message a second, not one for each member."""
        people = self.env["res.partner"].union(
            *(self.contact(f"Person {n}", email=f"p{n}@firma.be") for n in range(6))
        )
        self.link()
        self.push()

        def messages(people, city):
            self.env["bus.bus"].search([]).unlink()
            people.city = city
            self.assertEqual(self.push().counters["updated"], len(people))
            return self.env["bus.bus"].search_count(
                [("message", "like", "crm_mailchimp/progress")]
            )

        with patch.object(phase, "time") as time:
            time.monotonic.return_value = 0.0
            one = messages(people[:1], "Rome")
            self.assertGreater(one, 0)
            self.assertEqual(messages(people, "Paris"), one)
