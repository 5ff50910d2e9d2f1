"""Two servers and people who press the button at once: one run, no doubled call."""

import time
from concurrent.futures import ThreadPoolExecutor

from mailchimp_simulator import Simulator
from tools.instance import Instance

from .conftest import DATABASE, Worker
from .test_kill import LINK, PUSH

CONTACTS = """
env["res.partner"].create([
    {"name": f"c{n}", "email": f"c{n}@firma.be", "mailchimp_opt_in": True}
    for n in range(40)
])
"""


def test_two_servers_and_a_crowd(environment, template):
    environment.clone_database(template, DATABASE)
    with Simulator(port=0) as simulator:
        simulator.add_audience("Test audience")
        worker = Worker(environment, DATABASE)
        worker.execute(LINK.format(url=simulator.url, key=simulator.api_key))
        assert worker.run(trigger=PUSH) == 0
        worker.execute(CONTACTS)
        worker.close()
        before = _runs(environment)
        simulator.clear_calls()
        # Slow enough for the others to come while the first is at work.
        simulator.latency(base=0.2)
        with Instance(environment, DATABASE) as one, Instance(environment, DATABASE) as two:
            account = one.rpc("crm.mailchimp.account", "search", [])[0]
            two.rpc("crm.mailchimp.account", "search", [])
            with ThreadPoolExecutor(8) as crowd:
                presses = [
                    crowd.submit(
                        server.rpc, "crm.mailchimp.account", "action_sync_now", [account]
                    )
                    for server in (one, two) * 4
                ]
                for press in presses:
                    assert press.result()["tag"] == "display_notification"
            deadline = time.monotonic() + 60
            while time.monotonic() < deadline:
                states = {state for _id, state in _runs(environment)}
                if states == {"done"}:
                    break
                time.sleep(0.5)
        runs = _runs(environment)
        assert {state for _id, state in runs} == {"done"}
        (audience,) = simulator.audiences
        assert len(audience.members) == 43
        # Whoever pressed after the end got a run of their own, with nothing to send.
        posts = [call for call in simulator.calls if call.method != "GET"]
        assert [call.method for call in posts] == ["POST"]
        assert simulator.max_in_flight <= 4
        assert len(runs) - len(before) <= 2
    environment.drop_database(DATABASE)


def _runs(environment):
    return environment.postgres.sql(
        "SELECT id, state FROM crm_mailchimp_run WHERE kind <> 'stats'", DATABASE
    )
