"""Uninstalling leaves the contacts, one archive, and no other trace.

After a reinstall the archive brings everything back, and nobody is doubled.
"""

import csv
import io
import zipfile

import pytest

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
    # Nor was the add-on for the website ever installed.
    ("ir_module_module", "crm_mailchimp_website"),
    ("ir_module_module_dependency", "crm_mailchimp"),
    # The history of a contact is the contact's.
    ("mail_message", "res.partner"),
    ("mail_tracking_value", None),
]
ACTIVITIES = "SELECT id FROM mail_activity WHERE res_model ~ 'mailchimp'"
ARCHIVE = """
SELECT store_fname FROM ir_attachment WHERE name = 'crm_mailchimp archive.zip'
"""


DISCONNECT = """
env["crm.mailchimp.account"].search([]).action_disconnect()
"""
INSTALL = """
env["ir.module.module"].search(
    [("name", "=", "crm_mailchimp")]
).button_immediate_install()
"""
RESTORE = """
wizard = env["crm.mailchimp.restore"].with_user(env.ref("base.user_admin")).create({{}})
wizard.action_preview()
assert "Consent lines" in wizard.preview, wizard.preview
wizard.action_restore()
wizard.action_restore()
env["ir.config_parameter"].set_param("crm_mailchimp.api_url", {url!r})
[account] = env["crm.mailchimp.account"].search([])
assert account.audience_name == "Test audience", account.audience_name
account.api_key = {key!r}
account.action_connect()
assert account.state == "linked", account.state
account.push_enabled = True
account._request_run("push")
"""
# Without the archive: the audience is linked as by somebody who never had the add-on.
LINK_AGAIN = """
env["ir.config_parameter"].set_param("crm_mailchimp.api_url", {url!r})
account = env["crm.mailchimp.account"].create({{"name": "Anew", "lang": "en_US"}})
account.api_key = {key!r}
account.action_connect()
wizard = env["crm.mailchimp.choose.audience"].create({{"account_id": account.id}})
wizard.line_id = wizard.line_ids[:1]
wizard.action_link()
wizard.action_link()
account.push_enabled = True
account._request_run("push")
"""
# What is known of contacts and addresses, without numbers that a new row gets.
KNOWN = {
    "opt-ins": "SELECT id, mailchimp_opt_in IS TRUE, mailchimp_opt_in_date"
    " FROM res_partner ORDER BY id",
    "consent": "SELECT id, partner_id, email_normalized, kind, date, noted_at, source,"
    " user_id, note FROM crm_mailchimp_consent ORDER BY id",
    "suppressions": "SELECT email_hash, email_normalized, source, kind, date, lifted_at"
    " FROM crm_mailchimp_suppression ORDER BY 1, 3, 4, 5",
    "members": "SELECT email_normalized, partner_id, status, status_before,"
    " archived_by, origin, wanted FROM crm_mailchimp_member ORDER BY 1",
    "campaigns": "SELECT campaign_ref, name, sent, unsubscribed"
    " FROM crm_mailchimp_campaign ORDER BY 1",
    "recipients": "SELECT email_hash, email_normalized, partner_id, status,"
    " unsubscribed_date FROM crm_mailchimp_recipient ORDER BY 1",
    "events": "SELECT r.email_hash, e.kind, e.date, e.url, e.number"
    " FROM crm_mailchimp_recipient_event e"
    " JOIN crm_mailchimp_recipient r ON r.id = e.recipient_id ORDER BY 1, 2, 3",
    "filters": "SELECT id, mailchimp_sync, mailchimp_owner_id FROM ir_filters"
    " WHERE mailchimp_sync ORDER BY id",
}
SUBSCRIBED = ("subscribed", "pending")


def known(environment):
    return {name: environment.postgres.sql(q, DATABASE) for name, q in KNOWN.items()}


def job(environment, *steps, fresh=False):
    """Do things in a process that loaded the add-on.

    :param steps: code, or the name of a scheduled action to run until it is through
    :param bool fresh: the process loads what is installed now
    """
    worker = Worker(environment, DATABASE, fresh)
    try:
        for step in steps:
            if step in (PUSH, STATISTICS):
                for _turn in range(4):
                    assert worker.run(trigger=step) == 0
            else:
                worker.execute(step)
    finally:
        worker.close()


@pytest.mark.long
def test_disconnect_uninstall_reinstall_and_link_the_same_audience(
    environment, template
):
    sql = environment.postgres.sql
    environment.clone_database(template, DATABASE)
    with Simulator(port=0) as simulator:
        audience = simulator.add_audience("Test audience")
        link = {"url": simulator.url, "key": simulator.api_key}
        job(environment, LINK.format(**link), PUSH, CHANGE, PUSH)
        campaign = audience.add_campaign("regular", title="Summer sale")
        audience.send_campaign(campaign)
        simulator.advance(60)
        audience.unsubscribe("eve@firma.be", campaign=campaign.id)
        job(environment, REQUEST, PUSH, STATISTICS)
        before = known(environment)
        contacts = sql(CONTACTS, DATABASE)
        in_mailchimp = {e: m.status for e, m in audience.members.items()}
        groups = [
            interest.name
            for category in audience.categories.values()
            for interest in category.interests.values()
        ]
        assert in_mailchimp["bob@firma.be"] == "archived"
        assert in_mailchimp["eve@firma.be"] == "unsubscribed"
        assert before["events"]
        job(environment, DISCONNECT, UNINSTALL)
        # Meanwhile Mailchimp goes on.
        audience.unsubscribe("fay@firma.be")
        in_mailchimp["fay@firma.be"] = "unsubscribed"
        job(environment, INSTALL, fresh=True)
        simulator.clear_calls()
        job(environment, RESTORE.format(**link), fresh=True)
        after = known(environment)
        for name, rows in before.items():
            assert after[name] == rows, name
        job(environment, PUSH, fresh=True)

        assert sql(CONTACTS, DATABASE) == contacts
        assert {e: m.status for e, m in audience.members.items()} == in_mailchimp
        subscribing = [
            call
            for call in simulator.calls
            if call.method == "POST" and call.path.count("/") == 2
        ]
        assert not subscribing, "nobody is subscribed again"
        assert groups == [
            interest.name
            for category in audience.categories.values()
            for interest in category.interests.values()
        ], "its groups are known to be its own"
        opted_in = dict(
            sql("SELECT email, mailchimp_opt_in IS TRUE FROM res_partner", DATABASE)
        )
        assert opted_in["ann@firma.be"]
        assert not opted_in["bob@firma.be"]
        assert not opted_in["fay@firma.be"], "what was said meanwhile counts"


@pytest.mark.long
def test_linking_again_without_the_archive(environment, template):
    sql = environment.postgres.sql
    environment.clone_database(template, DATABASE)
    with Simulator(port=0) as simulator:
        audience = simulator.add_audience("Test audience")
        link = {"url": simulator.url, "key": simulator.api_key}
        job(environment, LINK.format(**link), PUSH, CHANGE, PUSH)
        contacts = sql(CONTACTS, DATABASE)
        in_mailchimp = {e: m.status for e, m in audience.members.items()}
        job(environment, DISCONNECT, UNINSTALL)
        job(environment, INSTALL, fresh=True)
        job(environment, LINK_AGAIN.format(**link), PUSH, fresh=True)
        assert sql(CONTACTS, DATABASE) == contacts, "nobody is doubled"
        assert {e: m.status for e, m in audience.members.items()} == in_mailchimp


@pytest.mark.long
def test_uninstall(environment, template):
    sql = environment.postgres.sql
    environment.clone_database(template, DATABASE)
    # Odoo's own cache of compiled pages, which it renews by itself.
    sql("DELETE FROM ir_attachment WHERE url LIKE '/web/assets/%'", DATABASE)
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
            if name.endswith(".csv")
        }
    assert set(found) > {
        *("consent.csv", "members.csv", "campaigns.csv", "links.csv", "variants.csv"),
        *("recipients.csv", "events.csv", "suppressions.csv", "contacts.csv"),
        *("accounts.csv", "field_mapping.csv", "filters.csv", "segments.csv"),
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
