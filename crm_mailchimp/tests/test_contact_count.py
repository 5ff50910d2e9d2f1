from unittest.mock import patch

from odoo import fields
from odoo.exceptions import AccessError, UserError
from odoo.tests import new_test_user, tagged

from ..models import contact_count
from .common import MailchimpCase
from .test_budget import InsertContacts

TABLES = (
    "crm_mailchimp_contact_line",
    "crm_mailchimp_segment_gap",
    "crm_mailchimp_growth",
)
LINE = ("account_id", "partner_id", "email", "winner_ref", "member_id")


@tagged("post_install", "-at_install")
class TestContactCount(InsertContacts, MailchimpCase):
    """Where there are many contacts, lists and numbers are those of a count."""

    def prepare(self):
        super().prepare()
        self.link()
        self.people = {
            name: self.contact(name)
            for name in ("Ann", "Bea", "Cis", "Dirk", "Eva", "Fons")
        }
        self.no_opt_in = self.contact("None", mailchimp_opt_in=False)
        self.filter = self.flag("With a name", "[('email', 'like', '@firma.be')]")
        self.push()
        self.audience.clean("bea@firma.be")
        self.audience.unsubscribe("cis@firma.be")
        self.push()
        self.contact("Gust")

    def many(self):
        """Let this database have many contacts."""
        return patch.object(contact_count, "COUNTED_FROM", -1)

    def lines(self, model="contact.status", **context):
        """Return what a list shows, as plain values, in its order."""
        lines = (
            self.env[f"crm.mailchimp.{model}"]
            .with_context(**context)
            .search([("partner_id.email", "like", "@firma.be")])
        )
        lines.invalidate_recordset()
        names = (*LINE, "status", "reason", "remedy")
        if model == "segment.contact":
            names = ("segment_id", *names)
        return [tuple(line[name] for name in names) for line in lines]

    def status(self, partner, **context):
        line = (
            self.env["crm.mailchimp.contact.status"]
            .with_context(**context)
            .search([("partner_id", "=", partner.id)])
        )
        line.invalidate_recordset()
        return line.status, line.reason, bool(line.counted_at)

    def versions(self):
        """Return which rows there are, and which statement wrote each."""
        found = set()
        for table in TABLES:
            self.env.cr.execute(f"SELECT id, xmin, cmin, ctid FROM {table}")
            found |= {(table, *row) for row in self.env.cr.fetchall()}
        return found

    def test_a_count_says_what_looking_says(self):
        overview = self.env["crm.mailchimp.account"].get_overview("all")
        audience = self.env["crm.mailchimp.account"].get_overview_audience()
        segment = self.account.segment_ids
        numbers = (segment.member_count, segment.missing_count)
        before = self.lines()
        pairs = self.lines("segment.contact")
        found = {}
        for field, values in (
            ("mailchimp_status", ("in", "waiting", "out", False)),
            ("mailchimp_reason", ("cleaned", "unsubscribed", "no_opt_in", False)),
        ):
            for value in values:
                domain = [(field, "=", value), ("email", "like", "@firma.be")]
                found[field, value] = domain, self.env["res.partner"].search(domain)
        self.account._count_contacts()
        self.env.invalidate_all()
        self.assertEqual(self.lines(), before)
        self.assertEqual(sorted(self.lines("segment.contact")), sorted(pairs))
        self.assertEqual(
            {status for *_line, status, _why, _do in before}, {"in", "waiting", "out"}
        )
        self.assertTrue(numbers[0] and numbers[1])
        self.assertEqual((segment.member_count, segment.missing_count), numbers)
        for domain, partners in found.values():
            self.assertEqual(self.env["res.partner"].search(domain), partners, domain)
        again = self.env["crm.mailchimp.account"].get_overview("all")
        self.assertTrue(sum(line["joined"] for line in again["growth"]))
        self.assertTrue(sum(line["left"] for line in again["growth"]))
        self.assertEqual(again["growth"], overview["growth"])
        self.assertEqual(
            self.env["crm.mailchimp.account"].get_overview_audience(), audience
        )

    def test_what_changed_since_is_told_with_the_time_of_the_count(self):
        ann = self.people["Ann"]
        Account = self.env["crm.mailchimp.account"]
        self.assertFalse(Account.get_counted_at())
        self.assertEqual(self.status(ann), ("in", False, False))
        self.account._count_contacts()
        ann.email = "no address"
        self.assertEqual(self.status(ann), ("in", False, True))
        counted_at = fields.Datetime.to_datetime(Account.get_counted_at())
        line = self.env["crm.mailchimp.contact.status"].search(
            [("partner_id", "=", ann.id)]
        )
        self.assertEqual(line.counted_at, counted_at)
        # Their own forms, and lists of a few, are of now.
        now = ("out", "invalid_address")
        self.assertEqual((ann.mailchimp_status, ann.mailchimp_reason), now)
        self.assertEqual(self.status(ann, mailchimp_partner_ids=ann.ids), (*now, False))
        notice = ann.action_mailchimp_push_now()["params"]["action"]
        lines = (
            self.env[notice["res_model"]]
            .with_context(**notice["context"])
            .search(notice["domain"])
        )
        lines.invalidate_recordset()
        self.assertEqual(lines.mapped("reason"), ["invalid_address"])
        Account.count_again()
        self.env.invalidate_all()
        self.assertEqual(self.status(ann), (*now, True))

    def test_a_count_writes_what_differs_only(self):
        self.account._count_contacts()
        before = self.versions()
        self.account._count_contacts()
        self.assertEqual(self.versions(), before)
        self.people["Dirk"].email = "dirk.new@firma.be"
        self.account._count_contacts()
        [(table, *_row)] = self.versions() - before
        self.assertEqual(table, "crm_mailchimp_contact_line")

    def test_deleted_and_merged_contacts_are_in_no_list(self):
        self.account._count_contacts()
        gust, eva = self.contact("Gust2"), self.people["Eva"]
        self.account._count_contacts()
        gust.unlink()
        self.env["base.partner.merge.automatic.wizard"].create({})._merge(
            (eva | self.people["Fons"]).ids, eva
        )
        self.env.flush_all()
        self.env.invalidate_all()
        for model in ("contact.status", "segment.contact"):
            lines = self.env[f"crm.mailchimp.{model}"].search([])
            self.assertEqual(lines.partner_id.exists(), lines.partner_id)
            of_eva = lines.filtered(lambda line: line.partner_id == eva)
            self.assertEqual(len(of_eva), 1, model)

    def test_segments_are_evaluated_now(self):
        self.flag("Outside", "[('mailchimp_status', '=', 'out')]")
        self.account._count_contacts()
        ann = self.people["Ann"]
        ann.email = "no address"
        self.env["crm.mailchimp.segment"]._sync_with_filters(self.account)
        segment = self.account.segment_ids.filtered(lambda s: s.name == "Outside")
        segment._evaluate()
        self.assertIn(ann, segment.partner_ids)

    def test_counted_after_each_run_where_there_are_many(self):
        cron = self.env.ref("crm_mailchimp.ir_cron_count")
        triggers = [("cron_id", "=", cron.id)]
        self.push()
        self.tick("ir_cron_count")
        self.assertFalse(self.env["ir.cron.trigger"].search(triggers))
        self.assertFalse(self.account._counted_at())
        with self.many():
            self.push()
            self.assertTrue(self.env["ir.cron.trigger"].search(triggers))
            self.tick("ir_cron_count")
            counted_at = self.account._counted_at()[self.account]
            # Nothing to count, until a run comes.
            count = self.env["crm.mailchimp.contact.count"].search([])
            count.counted_at = fields.Datetime.add(counted_at, seconds=1)
            with patch.object(type(self.account), "_count_contacts") as again:
                self.tick("ir_cron_count")
            again.assert_not_called()
            count.counted_at = fields.Datetime.subtract(counted_at, hours=1)
            self.tick("ir_cron_count")
            self.assertGreaterEqual(
                self.account._counted_at()[self.account], counted_at
            )
        # Few again: lists are of now, and nothing is kept.
        self.tick("ir_cron_count")
        self.assertFalse(self.account._counted_at())
        self.assertFalse(self.versions())

    def test_a_count_of_another_audience_is_not_shown(self):
        self.account._count_contacts()
        self.account.audience_ref = "another"
        self.assertFalse(self.account._counted_at())
        self.assertFalse(self.status(self.people["Ann"])[2])

    def test_one_count_at_a_time(self):
        self.account._count_contacts()
        with self.registry.cursor() as other:
            other.execute(
                "SELECT pg_try_advisory_xact_lock(HASHTEXT(%s), %s)",
                ("crm_mailchimp_contact_line", self.account.id),
            )
            if other.fetchone()[0]:
                with self.assertRaisesRegex(UserError, "are being counted"):
                    self.env["crm.mailchimp.account"].count_again()

    def test_who_may_count(self):
        self.account._count_contacts()
        seller = new_test_user(self.env, "seller2", "sales_team.group_sale_salesman")
        employee = new_test_user(self.env, "employee2", "base.group_user")
        Account = self.env["crm.mailchimp.account"]
        self.assertTrue(Account.with_user(seller).count_again())
        for method in ("count_again", "get_counted_at"):
            with self.assertRaises(AccessError):
                getattr(Account.with_user(employee), method)()

    def test_a_page_costs_the_same_whatever_there_is(self):
        spec = {
            "partner_id": {"fields": {"display_name": {}}},
            **dict.fromkeys(("email", "status", "reason", "company_id"), {}),
        }

        def page():
            self.env.flush_all()
            self.env.invalidate_all()
            before = self.env.cr.sql_log_count
            found = self.env["crm.mailchimp.contact.status"].web_search_read(
                [], spec, limit=5, count_limit=10
            )
            self.assertEqual(len(found["records"]), 5)
            return self.env.cr.sql_log_count - before

        self.account._count_contacts()
        page()
        few = page()
        self.insert_contacts(500)
        self.account._count_contacts()
        page()
        self.assertEqual(page(), few)
        with self.assertQueryCount(few):
            self.env.invalidate_all()
            self.env["crm.mailchimp.contact.status"].web_search_read(
                [("reason", "!=", "no_opt_in")], spec, limit=5, count_limit=10
            )
