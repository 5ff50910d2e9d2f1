from odoo.tests import tagged

from .common import MailchimpCase

CONTACTS = 10_000


@tagged("post_install", "-at_install")
class TestBudget(MailchimpCase):
    """How many calls and writes a run costs."""

    def insert_contacts(self, number):
        self.env.cr.execute(
            """INSERT INTO res_partner (name, complete_name, email, email_normalized,
                      city, active, is_company, mailchimp_opt_in,
                      mailchimp_opt_in_date, type, lang, company_id)
               SELECT 'Person ' || n, 'Person ' || n, 'p' || n || '@firma.be',
                      'p' || n || '@firma.be', 'City ' || n %% 50, TRUE, n %% 10 = 0,
                      TRUE, '2026-01-01', 'contact', 'en_US', NULL
                 FROM generate_series(1, %s) n""",
            [number],
        )

    def writes(self):
        """Return what the database counted of this session's writes, by table."""
        self.env.cr.execute(
            """SELECT relname, n_tup_ins + n_tup_upd + n_tup_del
                 FROM pg_stat_xact_user_tables"""
        )
        return dict(self.env.cr.fetchall())

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
        self.assertLessEqual(
            len(self.simulator.calls), CONTACTS // 500 + 10 + created
        )
        self.assertEqual(len(self.audience.members), CONTACTS)

        self.simulator.clear_calls()
        before = self.writes()
        run = self.push()
        self.assertEqual(run.summary, "Nothing to do")
        self.assertLessEqual(len(self.simulator.calls), 3)
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
        self.assertLessEqual(len(self.simulator.calls), 5)
        self.assertEqual(self.member("p77@firma.be").merge_fields["CITY"], "Rome")
