import re
from contextlib import contextmanager
from unittest.mock import patch

from lxml import etree

from odoo.tests import tagged
from odoo.tools import SQL

from ..engine import activity
from ..sync.compare import Compare
from .common import MailchimpCase, long
from .test_budget import InsertContacts

MEMBERS = 300_000


@tagged("post_install", "-at_install")
class TestStatements(InsertContacts, MailchimpCase):
    """What the database is asked: how often, and with how many values."""

    def prepare(self):
        super().prepare()
        self.link()
        self.push()

    @contextmanager
    def statements(self):
        """Collect ``(statement, number of values)`` of what this cursor executes."""
        found = []
        cr, execute = self.env.cr, type(self.env.cr).execute

        def spy(cursor, query, params=None, log_exceptions=True):
            code = getattr(query, "code", query)
            values = getattr(query, "params", None) or params or ()
            number = sum(
                len(value) if isinstance(value, list | tuple) else 1 for value in values
            )
            found.append((" ".join(str(code).split()), number))
            return execute(cursor, query, params, log_exceptions)

        with patch.object(type(cr), "execute", spy):
            yield found

    def evaluate(self, segment):
        self.env.flush_all()
        self.env.invalidate_all()
        segment.mapped("state")
        with self.statements() as found:
            segment._evaluate()
        return [
            (code, number)
            for code, number in found
            if not code.startswith(("SAVEPOINT", "RELEASE", "ANALYZE"))
        ]

    def test_a_segment_is_one_statement(self):
        self.insert_contacts(3000)
        self.flag("Ghent", "[('city', 'like', 'City 1')]")
        self.env["crm.mailchimp.segment"]._sync_with_filters(self.account)
        segment = self.account.segment_ids
        first = [
            code
            for code, _n in self.evaluate(segment)
            # The time zone of the filter's owner is on its contact.
            if "res_partner" in code and '"res_partner"."id" IN' not in code
        ]
        self.assertEqual(len(first), 1, first)
        self.assertGreater(segment.matching_count, 500)
        again = self.evaluate(segment)
        self.assertFalse([c for c, _n in again if c.startswith("UPDATE")])
        for code, number in self.evaluate(segment):
            self.assertLess(number, 50, f"an id list goes through Python: {code}")

    def test_other_filters_cost_a_constant_number(self):
        domains = (
            ("crm.lead", "[('partner_id', '!=', False)]"),
            ("res.partner", "[('mailchimp_last_open', '>=', '-30d')]"),
            ("res.partner", "[('mailchimp_reason', '=', 'no_opt_in')]"),
        )
        for model, domain in domains:
            self.flag(f"{model} {domain}"[:60], domain, model=model)
        self.env["crm.mailchimp.segment"]._sync_with_filters(self.account)
        segments = self.account.segment_ids
        few = {segment: len(self.evaluate(segment)) for segment in segments}
        self.insert_contacts(3000)
        self.env.cr.execute(
            "UPDATE res_partner SET mailchimp_opt_in = FALSE WHERE name LIKE 'Person%'"
        )
        for segment in segments:
            found = self.evaluate(segment)
            # A changed number of contacts is written once.
            self.assertLessEqual(len(found), few[segment] + 1, segment.name)
            for code, number in found:
                self.assertLess(number, 100, f"an id list goes through Python: {code}")

    def test_a_segment_is_explained_without_looking_at_everybody_again(self):
        """However bad the plan: statistics may know of no rows for minutes."""
        self.insert_contacts(30)
        filter_record = self.flag("Everybody", "[('email', 'like', '@')]")
        self.push()
        lines = self.env["crm.mailchimp.segment.contact"]
        query = lines._search(
            [("segment_id.filter_id", "=", filter_record.id)], order=lines._order
        )
        for join in ("hashjoin", "mergejoin", "material"):
            self.env.cr.execute(f"SET LOCAL enable_{join} = off")
        self.env.cr.execute(SQL("EXPLAIN (ANALYZE, FORMAT JSON) %s", query.select()))
        ((plan,),) = self.env.cr.fetchone()
        nodes, loops = [plan["Plan"]], []
        while nodes:
            node = nodes.pop()
            nodes += node.get("Plans", ())
            if node["Node Type"] == "WindowAgg":
                loops.append(node["Actual Loops"])
        self.assertEqual(loops, [1])

    def diff(self):
        run, _created = self.account._request_run("push")
        self.env.flush_all()
        self.account._owned_interests()
        with (
            self.statements() as found,
            patch.object(type(run), "_commit", lambda self: self.env.flush_all()),
        ):
            run.phase = "diff"
            Compare(run, None, float("inf")).work()
        run._end("cancelled")
        return [
            re.sub(r"\s+", " ", code)[:60]
            for code, _n in found
            if "crm_mailchimp" in code or "res_partner" in code
        ]

    def test_the_comparison_grows_by_chunk_only(self):
        self.contact("First")
        self.push()
        few = len(self.diff())
        self.insert_contacts(3000)
        many = len(self.diff())
        # Rows are added in one statement, which then gathers its statistics.
        self.assertLessEqual(many, few + 2)
        self.env.cr.execute(
            "UPDATE crm_mailchimp_member SET status = 'subscribed', operation = NULL"
            " WHERE account_id = %s",
            [self.account.id],
        )
        with patch("odoo.addons.crm_mailchimp.sync.compare.CHUNK", 5000):
            whole = len(self.diff())
        with patch("odoo.addons.crm_mailchimp.sync.compare.CHUNK", 500):
            chunks = len(self.diff())
        # One walk against seven: each chunk is read, planned and remembered.
        self.assertLess(chunks - whole, 7 * 8)

    # === THE CONTACT FORM === #

    def form_specification(self, without=()):
        """Return what the web client asks for when it opens the form of a contact."""
        contacts = self.env["res.partner"].with_user(self.env.ref("base.user_admin"))
        view = contacts.get_view(self.env.ref("base.view_partner_form").id, "form")
        return self.specification(etree.fromstring(view["arch"]), contacts, without)

    def specification(self, node, model, without=()):
        """Return the fields below a node; a field has those of its own views."""
        found = {}
        for element in node.iterchildren(etree.Element):
            name = element.get("name")
            if element.tag != "field" or name not in model._fields:
                found.update(self.specification(element, model, without))
            elif name not in without:
                field = model._fields[name]
                fields = {"display_name": {}} if field.type == "many2one" else {}
                if field.relational:
                    comodel = self.env[field.comodel_name]
                    fields.update(self.specification(element, comodel))
                found[name] = {"fields": fields} if field.relational else {}
        return found

    def ours(self):
        return {
            name
            for name, field in self.env["res.partner"]._fields.items()
            if name.startswith("mailchimp_") or name == "gender"
        }

    def cost(self, partner, specification):
        for _warm_up in range(2):
            self.env.invalidate_all()
            with self.statements() as found:
                partner.with_user(self.env.ref("base.user_admin")).web_read(
                    specification
                )
        return len(found)

    def test_the_contact_form(self):
        partner = self.contact("Ann")
        self.push()
        with_us = self.form_specification()
        self.assertTrue(self.ours() & set(with_us))
        without = self.form_specification(without=self.ours())
        more = self.cost(partner, with_us) - self.cost(partner, without)
        each = {
            name: self.cost(partner, {**without, name: with_us[name]})
            - self.cost(partner, without)
            for name in self.ours() & set(with_us)
        }
        self.assertLessEqual(more, 3, each)

    def test_little_memory(self):
        """Nothing is read once for each contact, with as little as databases give."""
        self.insert_contacts(20_000)
        self.env.cr.execute(
            "INSERT INTO crm_mailchimp_consent"
            " (partner_id, email_normalized, kind, date, source)"
            " SELECT id, email_normalized, 'in', NOW(), 'user' FROM res_partner"
        )
        self.account.partner_domain = "[('city', '!=', 'Rome')]"
        self.env.flush_all()
        queries = {
            "who belongs": self.account._contacts_sql(),
            "archive": self.env["crm.mailchimp.archive"]._queries()["contacts"],
            "who said no": self.env["ir.rule"]._mailchimp_hidden_no(),
        }
        self.env.cr.execute(
            "ANALYZE res_partner; ANALYZE crm_mailchimp_consent;"
            " SET LOCAL work_mem = '64kB'"
        )
        for name, query in queries.items():
            self.env.cr.execute(SQL("EXPLAIN %s", query))
            plan = "\n".join(line for (line,) in self.env.cr.fetchall())
            with self.subTest(name):
                self.assertNotRegex(plan, r"SubPlan \d+\n +-> +Materialize")

    def test_events_do_not_read_the_recipients_before_them(self):
        """Not even where statistics were gathered while there was nobody yet."""
        cr = self.env.cr
        cr.execute(
            "TRUNCATE crm_mailchimp_recipient CASCADE; ANALYZE crm_mailchimp_recipient"
        )
        campaign = self.env["crm.mailchimp.campaign"].create(
            {"account_id": self.account.id, "campaign_ref": "c1", "name": "News"}
        )
        opened = {"action": "open", "timestamp": "2026-11-21T12:00:00+00:00"}
        for first in range(0, 2000, 200):
            entries = [
                {"email_address": f"p{number}@big.be", "activity": [opened]}
                for number in range(first, first + 200)
            ]
            people = activity.people("activity", entries)
            self.env["crm.mailchimp.recipient"]._import_page(campaign, people)
        cr.execute(
            "SELECT seq_tup_read FROM pg_stat_xact_user_tables"
            " WHERE relname = 'crm_mailchimp_recipient'"
        )
        [[read]] = cr.fetchall()
        self.assertLess(read, 10 * 2000)

    @long
    def test_no_big_table_is_read_for_one_contact(self):
        partner = self.contact("Ann")
        self.push()
        self.env.cr.execute(
            "INSERT INTO crm_mailchimp_member (account_id, email_normalized, origin,"
            " status) SELECT %s, 'm' || n || '@big.be', 'odoo', 'subscribed'"
            " FROM generate_series(1, %s) n",
            [self.account.id, MEMBERS],
        )
        self.env.cr.execute(
            "INSERT INTO crm_mailchimp_consent (email_normalized, kind, date, source)"
            " SELECT 'm' || n || '@big.be', 'out', NOW(), 'user'"
            " FROM generate_series(1, %s) n",
            [MEMBERS // 3],
        )
        self.insert_contacts(20_000)
        self.env.cr.execute(
            "ANALYZE crm_mailchimp_member; ANALYZE crm_mailchimp_consent;"
            " ANALYZE res_partner"
        )
        with self.statements() as found:
            partner.mailchimp_card()
        evaluations = [code for code, _n in found if "FIRST_VALUE" in code]
        self.assertTrue(evaluations)
        for code in evaluations:
            self.assertIn("p.email_normalized = ANY", code, "everybody is evaluated")
        for scope in ("primary", "all"):
            self.account.email_scope = scope
            self.env.flush_all()
            query = self.account._contact_lines_sql(["ann@firma.be"], partner.ids)
            self.env.cr.execute(f"EXPLAIN {query.code}", query.params)
            plan = "\n".join(line for (line,) in self.env.cr.fetchall())
            for table in (
                "crm_mailchimp_member",
                "crm_mailchimp_consent",
                "res_partner",
            ):
                self.assertNotIn(f"Seq Scan on {table}", plan, plan)
