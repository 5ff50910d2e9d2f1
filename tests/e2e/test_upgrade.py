"""A database of the version before goes on after an update, in the middle of a run.

``former_schema.json`` holds the tables and columns the version before had. What this
version added is taken out of a database with data and an open run; then Odoo's own
update brings it back, with the migration scripts.
"""

import json
import os
import re
import signal
from pathlib import Path

import pytest

from mailchimp_simulator import Simulator

from .conftest import DATABASE, Worker
from .test_kill import CHANGE, LINK, PUSH, REQUEST

FORMER = json.loads(Path(__file__).with_name("former_schema.json").read_text())
MANIFEST = Path(__file__).parents[2] / "crm_mailchimp" / "__manifest__.py"
COLUMNS = """
SELECT table_name, array_agg(column_name::text ORDER BY column_name)
  FROM information_schema.columns
 WHERE table_schema = 'public' AND table_name LIKE 'crm_mailchimp%'
 GROUP BY table_name
"""
# What must be the same before and after.
KEPT = (
    "SELECT id, mailchimp_opt_in, mailchimp_opt_in_date, email FROM res_partner"
    " ORDER BY id",
    "SELECT id, partner_id, email_normalized, kind, date FROM crm_mailchimp_consent"
    " ORDER BY id",
    "SELECT email_hash, source, kind, date, lifted_at FROM crm_mailchimp_suppression"
    " ORDER BY id",
    "SELECT id, email_normalized, status, origin, values_sent FROM crm_mailchimp_member"
    " ORDER BY id",
    "SELECT id, kind, state, phase, cursor FROM crm_mailchimp_run ORDER BY id",
    "SELECT id, api_key_secret, audience_ref, state, push_enabled, remote_refs"
    " FROM crm_mailchimp_account ORDER BY id",
)


def as_former(environment):
    """Take what this version added out of the database; return what that was."""
    postgres, gone = environment.postgres, []
    for table, columns in postgres.sql(COLUMNS, DATABASE):
        if table not in FORMER["tables"]:
            postgres.sql(f'DROP TABLE "{table}" CASCADE', DATABASE)
            gone.append(table)
            continue
        for column in set(columns) - set(FORMER["tables"][table]):
            postgres.sql(
                f'ALTER TABLE "{table}" DROP COLUMN "{column}" CASCADE', DATABASE
            )
            postgres.sql(
                "DELETE FROM ir_model_fields"
                f" WHERE REPLACE(model, '.', '_') = '{table}' AND name = '{column}'",
                DATABASE,
            )
            gone.append(f"{table}.{column}")
    postgres.sql(
        f"UPDATE ir_module_module SET latest_version = '{FORMER['version']}'"
        " WHERE name = 'crm_mailchimp'",
        DATABASE,
    )
    return gone


def test_the_former_version_is_an_earlier_one():
    version = re.search(r'"version": "([\d.]+)"', MANIFEST.read_text())[1]

    def number(text):
        return [int(part) for part in text.split(".")]

    assert number(FORMER["version"]) < number(version)


@pytest.mark.long
def test_an_update_in_the_middle_of_a_run(environment, template):
    sql = environment.postgres.sql
    environment.clone_database(template, DATABASE)
    with Simulator(port=0) as simulator:
        audience = simulator.add_audience("Test audience")
        link = LINK.format(url=simulator.url, key=simulator.api_key)
        worker = Worker(environment, DATABASE)
        worker.execute(link)
        assert worker.run(trigger=PUSH) == 0
        audience.unsubscribe("gus@firma.be")
        worker.execute(CHANGE)

        def kill(call, where):
            # New members are there, which Odoo does not know yet.
            subscribing = call.method == "POST" and call.path.count("/") == 2
            if subscribing and where == "applied":
                os.kill(worker.pid, signal.SIGKILL)

        take_away = simulator.on_call(kill)
        assert worker.run(trigger=PUSH) < 0
        take_away()
        worker.close()
        before = [sql(query, DATABASE) for query in KEPT]
        assert [row for row in before[4] if row[2] == "running"], "a run is open"

        assert as_former(environment), "this version added nothing: no need of the test"
        assert environment.update(DATABASE) == []

        assert [sql(query, DATABASE) for query in KEPT] == before
        left = {table: set(columns) for table, columns in sql(COLUMNS, DATABASE)}
        current = {table: set(columns) for table, columns in sql(COLUMNS, template)}
        assert left == current, "the structure is that of a new installation"

        worker = Worker(environment, DATABASE, fresh=True)
        for _turn in range(4):
            assert worker.run(trigger=PUSH) == 0
        worker.execute(REQUEST)
        assert worker.run(trigger=PUSH) == 0
        worker.close()
        assert {email: member.status for email, member in audience.members.items()} == {
            **dict.fromkeys(
                (
                    *("ann@firma.be", "carol@firma.be", "dan@firma.be"),
                    *("eve@firma.be", "fay@firma.be", "corp@firma.be"),
                ),
                "subscribed",
            ),
            "bob@firma.be": "archived",
            "gus@firma.be": "unsubscribed",
        }
        names = [
            (category.title, interest.name)
            for category in audience.categories.values()
            for interest in category.interests.values()
        ]
        assert len(names) == len(set(names)), "no group is made twice"
        ((state,),) = sql(
            "SELECT state FROM crm_mailchimp_run ORDER BY id DESC LIMIT 1", DATABASE
        )
        assert state == "done"
