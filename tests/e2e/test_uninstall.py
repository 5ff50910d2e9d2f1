"""Uninstalling leaves the contacts, one archive, and no other trace."""

import csv
import io
import zipfile

from mailchimp_simulator import Simulator

from .conftest import DATABASE, Worker
from .test_kill import CHANGE, LINK, PUSH

STATISTICS = "crm_mailchimp.ir_cron_stats"
REQUEST = """
env["crm.mailchimp.account"].search([])._request_run("full")
"""
UNINSTALL = """
env["ir.module.module"].search(
    [("name", "=", "crm_mailchimp")]
).button_immediate_uninstall()
"""
CONTACTS = "SELECT id, name, email, city FROM res_partner ORDER BY id"
# What PostgreSQL knows of the database's structure.
STRUCTURE = """
SELECT 'column', table_name || '.' || column_name, data_type
  FROM information_schema.columns WHERE table_schema = 'public'
UNION ALL SELECT 'index', indexname, tablename FROM pg_indexes
           WHERE schemaname = 'public'
UNION ALL SELECT 'constraint', conname, conrelid::regclass::text FROM pg_constraint
           WHERE connamespace = 'public'::regnamespace
UNION ALL SELECT 'sequence', sequencename, '' FROM pg_sequences
           WHERE schemaname = 'public'
UNION ALL SELECT 'trigger', tgname, tgrelid::regclass::text FROM pg_trigger
           WHERE NOT tgisinternal
UNION ALL SELECT 'function', proname, '' FROM pg_proc
           WHERE pronamespace = 'public'::regnamespace
"""
TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
# Any row of any table; messages to open browsers are gone after a day.
MENTION = """
SELECT '{table}', COALESCE(to_json(t)->>'model', to_json(t)->>'name')
  FROM "{table}" t WHERE t::text ILIKE '%mailchimp%'
"""
EXPECTED_MENTIONS = [
    ("ir_attachment", "crm_mailchimp archive.zip"),
    # The module can be installed again.
    ("ir_model_data", "ir.module.module"),
    ("ir_module_module", "crm_mailchimp"),
    # The history of a contact is the contact's.
    ("mail_message", "res.partner"),
    ("mail_tracking_value", None),
]
ACTIVITIES = "SELECT id FROM mail_activity WHERE res_model ~ 'mailchimp'"
ARCHIVE = """
SELECT store_fname FROM ir_attachment WHERE name = 'crm_mailchimp archive.zip'
"""


def test_uninstall(environment, template):
    sql = environment.postgres.sql
    environment.clone_database(template, DATABASE)
    worker = Worker(environment, DATABASE)
    with Simulator(port=0) as simulator:
        audience = simulator.add_audience("Test audience")
        worker.execute(LINK.format(url=simulator.url, key=simulator.api_key))
        assert worker.run(trigger=PUSH) == 0
        worker.execute(CHANGE)
        assert worker.run(trigger=PUSH) == 0
        campaign = audience.add_campaign("regular", title="Summer sale")
        audience.send_campaign(campaign)
        audience.unsubscribe("eve@firma.be", campaign=campaign.id)
        worker.execute(REQUEST)
        assert worker.run(trigger=PUSH) == 0
        assert worker.run(trigger=STATISTICS) == 0
        # The account needs attention: its managers have an activity, too.
        simulator.revoke_key()
        worker.execute(REQUEST)
        assert worker.run(trigger=PUSH) == 0
        assert sql(ACTIVITIES, DATABASE)
        statuses = {
            address: member.status for address, member in audience.members.items()
        }
        contacts = sql(CONTACTS, DATABASE)
        simulator.clear_calls()
        worker.execute(UNINSTALL)
        worker.close()
        assert not simulator.calls, "Mailchimp is left alone"

    assert sql(CONTACTS, DATABASE) == contacts
    base = environment.base_database()
    left, there_before = (
        {tuple(row) for row in sql(STRUCTURE, name)} for name in (DATABASE, base)
    )
    assert left == there_before
    tables = [table for (table,) in sql(TABLES, DATABASE) if table != "bus_bus"]
    mentions = sql(
        " UNION ALL ".join(MENTION.format(table=t) for t in tables), DATABASE
    )
    assert sorted({tuple(mention) for mention in mentions}) == EXPECTED_MENTIONS
    ((stored,),) = sql(ARCHIVE, DATABASE)
    raw = (environment.data / "filestore" / DATABASE / stored).read_bytes()
    with zipfile.ZipFile(io.BytesIO(raw)) as archive:
        found = {
            name: list(csv.DictReader(io.StringIO(archive.read(name).decode())))
            for name in archive.namelist()
        }
    assert set(found) == {
        *("consent.csv", "members.csv", "campaigns.csv"),
        *("recipients.csv", "events.csv", "suppressions.csv"),
    }
    assert {
        line["email_normalized"]: line["status"] for line in found["members.csv"]
    } == statuses
    consent = [
        (line["email_normalized"], line["kind"], line["source"])
        for line in found["consent.csv"]
    ]
    assert consent.count(("bob@firma.be", "in", "user")) == 1
    assert consent.count(("bob@firma.be", "out", "user")) == 1
    assert consent.count(("eve@firma.be", "out", "mailchimp")) == 1
    assert len(consent) == len(statuses) + 2
    (line,) = found["campaigns.csv"]
    assert "Summer sale" in line.values()
    assert {line["email_normalized"] for line in found["recipients.csv"]} == {
        address for address, status in statuses.items() if status != "archived"
    }
    assert [line["kind"] for line in found["events.csv"]] == ["unsubscribe"]
