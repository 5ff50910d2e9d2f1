"""Uninstalling leaves the contacts, one archive, and no other trace."""

import io
import zipfile

from mailchimp_simulator import Simulator

from .conftest import DATABASE, Worker
from .test_kill import CHANGE, LINK, PUSH

UNINSTALL = """
env["ir.module.module"].search(
    [("name", "=", "crm_mailchimp")]
).button_immediate_uninstall()
"""
TRACES = {
    "tables": "SELECT tablename FROM pg_tables WHERE tablename LIKE '%mailchimp%'",
    "columns": "SELECT table_name, column_name FROM information_schema.columns"
    " WHERE column_name LIKE '%mailchimp%'"
    " OR (table_name = 'res_partner' AND column_name = 'gender')",
    "indexes": "SELECT indexname FROM pg_indexes WHERE indexname LIKE '%mailchimp%'"
    " OR indexname = 'res_partner__email_normalized_idx'"
    " OR indexname = 'res_partner_email_normalized_idx'",
    "data": "SELECT module, name FROM ir_model_data WHERE module = 'crm_mailchimp'",
    "models": "SELECT model FROM ir_model WHERE model LIKE '%mailchimp%'",
    "fields": "SELECT model, name FROM ir_model_fields WHERE name LIKE '%mailchimp%'",
    "parameters": "SELECT key FROM ir_config_parameter WHERE key LIKE '%mailchimp%'",
    "actions": "SELECT id FROM ir_actions WHERE name::text LIKE '%Mailchimp%'",
    "menus": "SELECT id FROM ir_ui_menu WHERE name::text LIKE '%Mailing%'",
    "groups": "SELECT id FROM res_groups WHERE name::text LIKE '%synchronise%'",
    "rules": "SELECT id FROM ir_rule WHERE name LIKE 'Mailchimp%'",
    "messages": "SELECT id FROM mail_message WHERE model LIKE '%mailchimp%'",
    "activities": "SELECT id FROM mail_activity WHERE res_model LIKE '%mailchimp%'",
    "followers": "SELECT id FROM mail_followers WHERE res_model LIKE '%mailchimp%'",
}
ARCHIVE = "SELECT encode(db_datas, 'hex'), store_fname FROM ir_attachment" + (
    " WHERE name = 'crm_mailchimp archive.zip'"
)


def test_uninstall(environment, template):
    sql = environment.postgres.sql
    environment.clone_database(template, DATABASE)
    worker = Worker(environment, DATABASE)
    with Simulator(port=0) as simulator:
        simulator.add_audience("Test audience")
        worker.execute(LINK.format(url=simulator.url, key=simulator.api_key))
        assert worker.run(trigger=PUSH) == 0
        worker.execute(CHANGE)
        assert worker.run(trigger=PUSH) == 0
        members = {
            address: member.status
            for address, member in simulator.audiences[0].members.items()
        }
        simulator.clear_calls()
        contacts = sql("SELECT id, name, email FROM res_partner ORDER BY id", DATABASE)
        worker.execute(UNINSTALL)
        worker.close()
        assert not simulator.calls, "Mailchimp is left alone"
    after = sql("SELECT id, name, email FROM res_partner ORDER BY id", DATABASE)
    assert after == contacts
    traces = {name: sql(query, DATABASE) for name, query in TRACES.items()}
    assert {name: rows for name, rows in traces.items() if rows} == {}
    ((content, stored),) = sql(ARCHIVE, DATABASE)
    raw = (
        (environment.data / "filestore" / DATABASE / stored).read_bytes()
        if stored
        else bytes.fromhex(content)
    )
    with zipfile.ZipFile(io.BytesIO(raw)) as archive:
        texts = {name: archive.read(name).decode() for name in archive.namelist()}
    assert set(texts) == {"consent.csv", "members.csv", "campaigns.csv"}
    for address, status in members.items():
        assert any(
            address in line and status in line
            for line in texts["members.csv"].splitlines()
        )
    assert "bob@firma.be,out" in texts["consent.csv"]
    environment.drop_database(DATABASE)
