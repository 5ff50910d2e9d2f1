"""What the screens cost in a database with many contacts, filled by plain SQL.

There are contacts of every kind, a ledger of nearly all of them, twenty segments, and
100 campaigns. The calls measured are those the web client makes (:mod:`.screens`).
The database is made by :mod:`.install`.
"""

import json
import subprocess
import sys
from pathlib import Path

DATABASE = "crm_mailchimp_lists"
CAMPAIGNS = 100
SEGMENTS = 20
#: Every campaign goes to a tenth of the first so many contacts.
RECEIVERS = 100_000
LEADS = 80_000

# Contact ``n``: most are subscribed, the others cover every common reason not to be.
CONTACT = {
    "id": "n + 1000000",
    "name": "'First' || n || ' Last' || n",
    "complete_name": "'First' || n || ' Last' || n",
    "email": """CASE WHEN n % 100 = 3 THEN NULL WHEN n % 500 = 4 THEN 'p' || n || '@x'
        WHEN n % 50 = 0 THEN 'p' || n - 1 || '@firm' || (n - 1) % 1000 || '.example.net'
        ELSE 'p' || n || '@firm' || n % 1000 || '.example.net' END""",
    "email_normalized": """CASE WHEN n % 100 = 3 THEN NULL
        WHEN n % 500 = 4 THEN 'p' || n || '@x'
        WHEN n % 50 = 0 THEN 'p' || n - 1 || '@firm' || (n - 1) % 1000 || '.example.net'
        ELSE 'p' || n || '@firm' || n % 1000 || '.example.net' END""",
    "city": "'City ' || n % 50",
    "is_company": "n % 10 = 0",
    "country_id": "(SELECT id FROM res_country WHERE code = 'BE')",
    "active": "n % 200 <> 7",
    "user_id": "NULL",
    "company_id": "NULL",
}
FILL = """
UPDATE res_partner SET mailchimp_opt_in = TRUE,
       mailchimp_opt_in_date = '2026-01-01'::timestamp + id % 300 * INTERVAL '1 day'
 WHERE id > 1000000 AND id % 10 <> 9 AND id % 40 <> 5;
INSERT INTO crm_mailchimp_member (account_id, email_normalized, partner_id, status,
       origin, wanted, opt_in_date, subscribed_at, last_changed, no_date, web_id,
       opt_in_seen, opt_in_seen_at, create_date, values_sent)
SELECT a.id, p.email_normalized, p.id,
       CASE WHEN n % 40 = 5 THEN 'unsubscribed' WHEN n % 100 = 6 THEN 'cleaned'
            WHEN NOT p.active THEN 'archived' ELSE 'subscribed' END,
       'odoo', n % 40 <> 5 AND p.active, p.mailchimp_opt_in_date,
       p.mailchimp_opt_in_date, p.mailchimp_opt_in_date + INTERVAL '1 hour',
       CASE WHEN n % 40 = 5 THEN '2026-06-01'::timestamp END, n,
       p.mailchimp_opt_in_date, p.mailchimp_opt_in_date, NOW() AT TIME ZONE 'UTC',
       jsonb_build_object(
           'FNAME', 'First' || n, 'LNAME', 'Last' || n, 'CITY', p.city,
           'COUNTRY', 'Belgium', 'l', 'en', 'i',
           (SELECT COALESCE(jsonb_object_agg('person' || s, TRUE), '{{}}')
              FROM generate_series(0, 19) s
             WHERE s = n % 50 OR s = 18 OR s = 19 AND n % 10 <> 0))
  FROM crm_mailchimp_account a, res_partner p
 CROSS JOIN LATERAL (SELECT p.id - 1000000 AS n) number
 WHERE n > 0 AND p.email_normalized IS NOT NULL AND n % 50 <> 0 AND n % 500 <> 4
   AND n % 10 <> 9 AND n % 1000 <> 8;
INSERT INTO crm_mailchimp_consent
       (partner_id, email_normalized, kind, date, noted_at, source, create_date)
SELECT id, email_normalized, 'in', mailchimp_opt_in_date, mailchimp_opt_in_date, 'user',
       mailchimp_opt_in_date
  FROM res_partner WHERE id > 1000000 AND mailchimp_opt_in;
INSERT INTO crm_mailchimp_suppression
       (email_normalized, email_hash, source, kind, date, audience_ref)
SELECT email_normalized, MD5(email_normalized), 'mailchimp', status,
       COALESCE(no_date, last_changed), 'canned'
  FROM crm_mailchimp_member WHERE status IN ('unsubscribed', 'cleaned');
INSERT INTO mail_blacklist (email, active, create_date)
SELECT email_normalized, TRUE, NOW() FROM res_partner
 WHERE id > 1000000 AND (id - 1000000) % 1000 = 11;
INSERT INTO crm_mailchimp_campaign
       (account_id, company_id, campaign_ref, name, status, campaign_type, send_time,
        report_date, next_poll, sent, delivered, opens_total, opens_unique, open_rate,
        clicks_total, click_rate)
SELECT a.id, a.company_id, 'c' || c, 'Campaign ' || c, 'sent', 'regular',
       NOW() AT TIME ZONE 'UTC' - c * INTERVAL '3 days', NOW() AT TIME ZONE 'UTC',
       NOW() AT TIME ZONE 'UTC' + INTERVAL '1 day', 10000, 10000, 4000, 3000, 0.3,
       1000, 0.1
  FROM crm_mailchimp_account a, generate_series(1, {campaigns}) c;
INSERT INTO crm_mailchimp_recipient
       (campaign_id, email_hash, email_normalized, partner_id, member_id, status,
        open_count, first_open, last_open, click_count, first_click, last_click)
SELECT c.id, MD5(m.email_normalized), m.email_normalized, m.partner_id, m.id,
       CASE WHEN n % 300 = 17 THEN 'soft' WHEN n % 400 = 18 THEN 'hard' ELSE 'sent' END,
       opens, CASE WHEN opens > 0 THEN c.send_time + INTERVAL '1 hour' END,
       CASE WHEN opens > 0 THEN c.send_time + INTERVAL '2 hours' END,
       opens / 2, CASE WHEN opens > 1 THEN c.send_time + INTERVAL '2 hours' END,
       CASE WHEN opens > 1 THEN c.send_time + INTERVAL '2 hours' END
  FROM crm_mailchimp_campaign c
  JOIN crm_mailchimp_member m ON (m.web_id + RIGHT(c.campaign_ref, 1)::int) % 10 = 0
                             AND m.web_id <= {receivers}
 CROSS JOIN LATERAL (SELECT m.web_id AS n,
        CASE WHEN m.web_id % 30 < 8 THEN 0 ELSE (m.web_id + c.id) % 3 END AS opens) o;
INSERT INTO crm_mailchimp_recipient_event (recipient_id, kind, date, url, number)
SELECT id, 'open', first_open, '', 1 FROM crm_mailchimp_recipient WHERE open_count > 0
UNION ALL
SELECT id, 'open', last_open, '', 1 FROM crm_mailchimp_recipient WHERE open_count > 1
UNION ALL
SELECT id, 'click', last_click, 'https://www.example.com', 1
  FROM crm_mailchimp_recipient WHERE click_count > 0;
INSERT INTO crm_lead (name, type, active, email_from, email_normalized, partner_id,
                      company_id, stage_id, user_id, team_id, probability, color,
                      create_date, write_date, priority)
SELECT 'Lead ' || n, 'opportunity', TRUE, p.email, p.email_normalized,
       CASE WHEN n % 2 = 0 THEN p.id END, NULL,
       (SELECT id FROM crm_stage ORDER BY sequence, id LIMIT 1), NULL, NULL, 10, 0,
       NOW() AT TIME ZONE 'UTC', NOW() AT TIME ZONE 'UTC', '0'
  FROM generate_series(1, {leads}) n JOIN res_partner p ON p.id = 1000000 + n;
"""


def add_contacts(environment, contacts):
    """Add contacts to the database, before the add-on is installed."""
    sql = environment.postgres.sql
    columns = [
        name
        for (name,) in sql(
            "SELECT column_name FROM information_schema.columns"
            " WHERE table_name = 'res_partner'",
            DATABASE,
        )
    ]
    sql(
        f"INSERT INTO res_partner ({', '.join(columns)})"
        f" SELECT {', '.join(CONTACT.get(name, f'p.{name}') for name in columns)}"
        f" FROM res_partner p, generate_series(1, {contacts}) n"
        " WHERE p.id = (SELECT partner_id FROM res_company ORDER BY id LIMIT 1)",
        DATABASE,
    )
    sql(f"SELECT setval('res_partner_id_seq', {contacts} + 1000001)", DATABASE)
    sql("VACUUM ANALYZE res_partner", DATABASE)


def fill(environment):
    """Fill the add-on's tables; ``screens.py`` does what needs the ORM."""
    sql = environment.postgres.sql
    screens(environment, "account")
    sizes = {"campaigns": CAMPAIGNS, "receivers": RECEIVERS, "leads": LEADS}
    for statement in FILL.format(**sizes).split(";\n"):
        if statement.strip():
            sql(statement, DATABASE)
    screens(environment, "segments")
    sql("VACUUM ANALYZE", DATABASE)


def screens(environment, what, *arguments):
    """Run ``screens.py`` and return what it prints, a line of JSON."""
    script = Path(__file__).with_name("screens.py")
    result = subprocess.run(
        [
            str(environment.python),
            *(str(script), str(environment.config), DATABASE, what, *arguments),
        ],
        env=environment.environment(),
        capture_output=True,
        text=True,
    )
    if result.returncode:
        sys.exit(result.stderr[-3000:])
    return json.loads(result.stdout.splitlines()[-1])


def measure(environment, contacts):
    """Print what each screen costs in the filled database."""
    first, again = screens(environment, "count")
    environment.postgres.sql("VACUUM ANALYZE", DATABASE)
    tell(screens(environment, "measure"), contacts)
    print(f"  count of all contacts: {first:.1f} s, with nothing new {again:.1f} s")
    sys.stdout.flush()


def tell(figures, contacts):
    print(f"\n{contacts} contacts, {SEGMENTS} segments, {CAMPAIGNS} campaigns")
    for name, (seconds, queries, result) in figures.items():
        print(f"  {name:42} {seconds:8.2f} s {queries:4} statements  {result}")
