"""A copy of the database, however it was made, leaves the audience alone."""

import subprocess

import pytest

from mailchimp_simulator import Simulator

from .conftest import COPY, DATABASE, Worker
from .test_kill import CHANGE, LINK, PUSH
from .test_uninstall import STATISTICS

# What a person may do in the copy, short of entering the key again.
PRESS = """
from odoo.exceptions import UserError

account = env["crm.mailchimp.account"].search([])
for button in (
    "action_sync_now", "action_resync", "action_import_stats", "action_choose_audience",
):
    try:
        getattr(account, button)()
    except UserError:
        continue
    raise AssertionError(button)
"""

STATE = "SELECT state FROM crm_mailchimp_account"
ACTIVITIES = "SELECT id FROM mail_activity WHERE res_model = 'crm.mailchimp.account'"


def by_postgres(environment):
    """Copy as people do with createdb or a snapshot of the disk."""
    environment.clone_database(DATABASE, COPY)


def by_odoo(environment):
    """Copy as Odoo's database manager does."""
    _command(environment, "db", "duplicate", DATABASE, COPY)


def neutralized(environment):
    """Copy, and neutralize by Odoo's command."""
    environment.clone_database(DATABASE, COPY)
    _command(environment, "neutralize", f"--database={COPY}")


def _command(environment, name, *arguments):
    command = environment.command(name, f"--config={environment.config}", *arguments)
    subprocess.run(command, env=environment.environment(), check=True)


@pytest.fixture(scope="module")
def simulator(environment, template):
    environment.clone_database(template, DATABASE)
    with Simulator(port=0) as simulator:
        simulator.add_audience("Test audience")
        worker = Worker(environment, DATABASE)
        worker.execute(LINK.format(url=simulator.url, key=simulator.api_key))
        assert worker.run(trigger=PUSH) == 0
        # There are an open run, somebody who opted out, and new contacts.
        worker.execute(CHANGE)
        worker.close()
        yield simulator


@pytest.mark.parametrize(
    "make",
    [pytest.param(by_postgres, marks=pytest.mark.long), by_odoo, neutralized],
)
def test_no_call_leaves_a_copy(environment, simulator, make):
    environment.drop_database(COPY)
    make(environment)
    simulator.clear_calls()
    worker = Worker(environment, COPY)
    worker.execute(
        # Neutralizing takes it away: with it, a call would be seen here.
        'env["ir.config_parameter"].set_param("crm_mailchimp.api_url",'
        f" {simulator.url!r})"
    )
    for _time in range(2):
        for action in (PUSH, STATISTICS):
            assert worker.run(trigger=action) == 0
        worker.execute(PRESS)
    worker.close()
    assert not simulator.calls
    told = make is not neutralized
    sql = environment.postgres.sql
    assert sql(STATE, COPY) == [["error" if told else "draft"]]
    assert bool(sql(ACTIVITIES, COPY)) == told


def test_the_original_goes_on(environment, simulator):
    simulator.clear_calls()
    worker = Worker(environment, DATABASE)
    assert worker.run(trigger=PUSH) == 0
    worker.close()
    (audience,) = simulator.audiences
    assert audience.members["dan@firma.be"].status == "subscribed"
    assert audience.members["bob@firma.be"].status == "archived"
