"""Clicks on "Create" at the same moment make one audience."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from mailchimp_simulator import Simulator
from tools.instance import Instance

from .conftest import DATABASE, Worker

CONNECT = """
env["ir.config_parameter"].set_param("crm_mailchimp.api_url", {url!r})
env.company.write({{
    "street": "Veldstraat 1", "city": "Ghent", "country_id": env.ref("base.be").id,
    "email": "news@firma.be",
}})
account = env["crm.mailchimp.account"].create({{"name": "Test", "lang": "en_US"}})
account.api_key = {key!r}
account.action_connect()
for number in range(2):
    # Whose dialogs they are: those of who clicks below.
    account = account.with_user(env.ref("base.user_admin"))
    wizard = account.env["crm.mailchimp.create.audience"].browse(
        account.action_create_audience()["res_id"]
    )
    wizard.name = "Customers"
"""


@pytest.fixture
def simulator(environment, template):
    with Simulator(port=0) as simulator:
        environment.clone_database(template, DATABASE)
        worker = Worker(environment, DATABASE)
        worker.execute(CONNECT.format(url=simulator.url, key=simulator.api_key))
        simulator.clear_calls()
        yield simulator
        worker.close()


def wait(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def click(server, wizard):
    return server.rpc("crm.mailchimp.create.audience", "action_create", [wizard])


@pytest.mark.long
def test_clicks_at_once(simulator, environment):
    """Of two people, in two dialogs, on two servers; and while it is being made."""
    with Instance(environment, DATABASE) as one, Instance(environment, DATABASE) as two:
        wizards = one.rpc("crm.mailchimp.create.audience", "search", [])
        simulator.hold(route="POST /lists", point="applied")
        with ThreadPoolExecutor(8) as people:
            list(people.map(click, (one, two) * 4, wizards * 4))
            wait(simulator.paused)
            list(people.map(click, (one, two) * 2, wizards * 2))
        simulator.release()
        states = "SELECT state, audience_name FROM crm_mailchimp_account"
        wait(lambda: one.sql(states) == [["linked", "Customers"]])
        wait(
            lambda: (
                not one.sql("SELECT id FROM crm_mailchimp_run WHERE ended_at IS NULL")
            )
        )
    assert [audience.name for audience in simulator.audiences] == ["Customers"]
    assert simulator.count("POST", "/lists") == 1
