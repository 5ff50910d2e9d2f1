from contextlib import contextmanager
from unittest.mock import patch

from odoo.tests import tagged

from .common import MailchimpCase, long
from .test_budget import InsertContacts

CONTACTS = 100_000
CAMPAIGNS = 20  # sent to every tenth contact each: 200,000 recipients
PAGE = 80
# What a page costs at most. Rights, labels and counters beside the rows included.
MOST_STATEMENTS = 60
# Groups, selections, views: never the data itself.
MOST_ROWS = 200

MEMBERS = """
INSERT INTO crm_mailchimp_member (account_id, email_normalized, partner_id, status,
       origin, wanted, opt_in_date, subscribed_at, last_changed, create_date)
SELECT %(account)s, email_normalized, id,
       CASE WHEN id %% 50 = 1 THEN 'cleaned' WHEN id %% 50 = 2 THEN 'unsubscribed'
            ELSE 'subscribed' END,
       'odoo', TRUE, mailchimp_opt_in_date, mailchimp_opt_in_date,
       mailchimp_opt_in_date, NOW() AT TIME ZONE 'UTC'
  FROM res_partner WHERE name LIKE 'Person %%'
"""
CAMPAIGN = """
INSERT INTO crm_mailchimp_campaign (account_id, company_id, campaign_ref, name, status,
       campaign_type, send_time, report_date, sent, delivered, opens_unique, open_rate,
       clicks_unique, click_rate)
SELECT %(account)s, %(company)s, 'c' || n, 'Campaign ' || n, 'sent', 'regular',
       NOW() AT TIME ZONE 'UTC' - n * INTERVAL '3 days', NOW() AT TIME ZONE 'UTC',
       10000, 10000, 4000, 0.4, 1000, 0.1
  FROM generate_series(1, %(campaigns)s) n
"""
RECIPIENTS = """
INSERT INTO crm_mailchimp_recipient (campaign_id, email_hash, email_normalized,
       partner_id, member_id, status, open_count, last_open, click_count, last_click)
SELECT c.id, MD5(m.email_normalized), m.email_normalized, m.partner_id, m.id,
       CASE WHEN m.id %% 100 = 1 THEN 'hard' ELSE 'sent' END,
       m.id %% 3, CASE WHEN m.id %% 3 > 0 THEN c.send_time END,
       m.id %% 2, CASE WHEN m.id %% 2 > 0 THEN c.send_time END
  FROM crm_mailchimp_campaign c
  JOIN crm_mailchimp_member m ON m.account_id = c.account_id
                             AND (m.id + c.id) %% 10 = 0
 WHERE c.account_id = %(account)s
"""


@tagged("post_install", "-at_install")
class TestMany(InsertContacts, MailchimpCase):
    """With many contacts and recipients a page costs what it shows, and no more."""

    def prepare(self):
        super().prepare()
        self.link()
        self.flag("Ghent", "[('city', '=', 'City 1')]")
        self.push()
        self.insert_contacts(CONTACTS)
        values = {
            "account": self.account.id,
            "company": self.company.id,
            "campaigns": CAMPAIGNS,
        }
        for statement in (MEMBERS, CAMPAIGN, RECIPIENTS):
            # Without statistics each reference is checked by going through a table.
            self.env.cr.execute(
                "ANALYZE res_partner, crm_mailchimp_member, crm_mailchimp_campaign"
            )
            self.env.cr.execute(statement, values)
        self.env.cr.execute("ANALYZE crm_mailchimp_recipient")
        self.account.segment_ids._evaluate()
        self.account._count_contacts()
        self.env.flush_all()
        # A salesperson with ordinary rights: record rules take part.
        self.user = self.env.ref("base.user_admin")
        self.env["res.partner"].search(
            [("name", "like", "Person 1%")], limit=500
        ).user_id = self.user

    @contextmanager
    def asked(self, page):
        """Assert what the statements inside cost."""
        found = []
        cr, execute = self.env.cr, type(self.env.cr).execute

        def spy(cursor, query, params=None, log_exceptions=True):
            result = execute(cursor, query, params, log_exceptions)
            code = " ".join(str(getattr(query, "code", query)).split())
            read = code.startswith(("SELECT", "WITH", "("))
            found.append((cursor.rowcount if read else 0, code[:300]))
            return result

        self.env.flush_all()
        self.env.invalidate_all()
        with patch.object(type(cr), "execute", spy):
            yield
        self.assertLessEqual(len(found), MOST_STATEMENTS, page)
        rows, code = max(found, default=(0, ""))
        self.assertLessEqual(rows, MOST_ROWS, f"{page}: {code}")

    def asked_fields(self, model, kind):
        """Return what the web client asks for, from the view itself."""
        view = model.get_view(view_type=kind)
        types = model.fields_get(attributes=["type"])
        lists = ("one2many", "many2many")
        return {
            name: {"fields": {"display_name": {}}, "limit": 40}
            if types[name]["type"] in lists
            else {"fields": {"display_name": {}}}
            if types[name]["type"] == "many2one"
            else {}
            for name in view["models"][model._name]
        }

    @long
    def test_each_page(self):
        env = self.env(user=self.user)
        recipient = env["crm.mailchimp.recipient"]
        self.assertGreaterEqual(recipient.search_count([]), 190_000)
        mine = [("partner_id.user_id", "=", self.user.id)]
        for name, domain in (
            ("crm.mailchimp.contact.status", [("reason", "!=", "no_opt_in")]),
            ("crm.mailchimp.contact.status", [("status", "=", "out")]),
            ("crm.mailchimp.member", []),
            ("crm.mailchimp.invalid.email", [("kind", "!=", "soft")]),
            ("crm.mailchimp.suppression", []),
            ("crm.mailchimp.campaign", [("is_counted", "=", True)]),
            ("crm.mailchimp.recipient", []),
            ("crm.mailchimp.recipient", mine),
            ("crm.mailchimp.segment", []),
            ("crm.mailchimp.segment.contact", []),
            ("crm.mailchimp.run", []),
            ("res.partner", [("mailchimp_last_click", ">=", "-30d")]),
        ):
            model = env[name]
            fields = self.asked_fields(model, "list")
            with self.subTest(page=name, domain=domain), self.asked(name):
                model.web_search_read(domain, fields, limit=PAGE, count_limit=10001)
        contact = recipient.search([], limit=1).partner_id
        for record in (
            self.account.segment_ids,
            env["crm.mailchimp.campaign"].search([], limit=1),
            self.account,
            contact,
        ):
            record = record.with_env(env)
            fields = self.asked_fields(record, "form")
            with self.subTest(form=record._name), self.asked(f"form: {record}"):
                record.web_read(fields)
        with self.asked("card of a contact"):
            contact.with_env(env).mailchimp_card()
        Account = env["crm.mailchimp.account"]
        for method in (
            lambda: Account.get_overview("all"),
            lambda: Account.get_overview_mine("all"),
            Account.get_overview_audience,
        ):
            with self.asked("overview"):
                method()
