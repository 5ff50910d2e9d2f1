"""Webhooks between a real Odoo and the simulator, alone and in a storm.

``CONTACTS=100000 KIND=e2e make test ARGS="-k storm"`` is the large one.
"""

import os
import random
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlencode
from urllib.request import urlopen

import pytest

from mailchimp_simulator import Simulator
from tools.instance import Instance

from .conftest import DATABASE, Worker
from .test_concurrency import press
from .test_kill import LINK, PUSH

CONTACTS = int(os.environ.get("CONTACTS", 3000))
KNOWN = 150  # members that are there before the storm
SETTINGS = """
set_param = env["ir.config_parameter"].set_param
set_param("web.base.url", {url!r})
set_param("web.base.url.freeze", "True")
env["crm.mailchimp.account"]._look_at_webhooks_soon()
env.ref("crm_mailchimp.ir_cron_stats").active = False
"""
INSERT = """
cr = env.cr
cr.execute("SELECT column_name FROM information_schema.columns"
           " WHERE table_name = 'res_partner'")
columns = [name for (name,) in cr.fetchall()]
own = {{
    "id": "nextval('res_partner_id_seq')",
    "name": "{prefix!r} || n", "complete_name": "{prefix!r} || n",
    "email": "{prefix!r} || n || '@firma.be'",
    "email_normalized": "{prefix!r} || n || '@firma.be'",
}}
cr.execute(
    "INSERT INTO res_partner (" + ", ".join(columns) + ") SELECT "
    + ", ".join(own.get(name, name) for name in columns)
    + " FROM res_partner, generate_series(1, {number}) n"
    " WHERE email_normalized = 'ann@firma.be'"
)
""".replace("{prefix!r}", "'{prefix}'")
OPT_IN = "SELECT mailchimp_opt_in FROM res_partner WHERE email = 'ann@firma.be'"
RUNS = """
SELECT kind, state, started_at::text, ended_at::text, counters
  FROM crm_mailchimp_run ORDER BY id
"""
WAITING = (
    "SELECT COUNT(*) FROM crm_mailchimp_webhook_delivery WHERE processed_at IS NULL"
)
STANDING = """
SELECT p.email_normalized, p.mailchimp_opt_in, m.status, m.operation
  FROM res_partner p
  LEFT JOIN crm_mailchimp_member m ON m.email_normalized = p.email_normalized
 WHERE p.email_normalized LIKE '%@firma.be'
"""
WAKE = f"SELECT pg_notify('cron_trigger', '{DATABASE}')"


def wait_for(what, seconds, server=None):
    deadline = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < deadline, f"it does not come; see {server.log}"
        time.sleep(0.3)
    return found


def act(simulator, audience, **form):
    """Send a form of the simulator's web page, as a person with a browser does."""
    data = urlencode(form).encode()
    with urlopen(f"{simulator.root}/audiences/{audience.id}", data) as answer:
        assert answer.status == 200


@pytest.mark.long
def test_an_unsubscribe_reaches_odoo_at_once(environment, template):
    environment.clone_database(template, DATABASE)
    sql = environment.postgres.sql
    with Simulator(port=0) as simulator:
        audience = simulator.add_audience("Test audience")
        worker = Worker(environment, DATABASE)
        worker.execute(LINK.format(url=simulator.url, key=simulator.api_key))
        assert worker.run(trigger=PUSH) == 0
        with Instance(environment, DATABASE) as server:
            worker.execute(SETTINGS.format(url=server.url))
            wait_for(lambda: len(audience.webhooks) == 2, 60, server)
            runs = len(sql(RUNS, DATABASE))
            assert sql(OPT_IN, DATABASE)[0][0]
            simulator.clear_calls()
            started = time.monotonic()
            act(simulator, audience, act="unsubscribe", email="ann@firma.be")
            wait_for(lambda: not sql(OPT_IN, DATABASE)[0][0], 60, server)
            print(f"\nAn unsubscribe took {time.monotonic() - started:.1f} s.")
            assert simulator.deliveries.wait()
            assert {entry["status"] for entry in simulator.deliveries.log} == {200}
            # Nothing but a look at that member.
            assert [call.method for call in simulator.calls] == ["GET"]
            kinds = [row[0] for row in sql(RUNS, DATABASE)[runs:]]
            assert kinds == ["webhook"]
            # The button of the account, and a forged delivery, over the real server.
            (account,) = server.rpc("crm.mailchimp.account", "search", [])
            toast = server.rpc(
                "crm.mailchimp.account", "action_test_webhook", [account]
            )
            assert toast["params"]["type"] == "success", toast["params"]["message"]
        worker.close()
        assert not simulator.violations


@pytest.mark.long
def test_a_storm_a_crowd_and_a_restart(environment, template):
    """Two workers, people who press "Sync now", a storm of webhooks, and a power cut
    in the middle of a push: one run at a time, no address sent twice, all right."""
    environment.clone_database(template, DATABASE)

    def sql(query):
        return environment.postgres.sql(query, DATABASE)

    rng = random.Random(7)
    with Simulator(port=0, webhook_speed=30) as simulator:
        audience = simulator.add_audience("Test audience")
        worker = Worker(environment, DATABASE)
        worker.execute(LINK.format(url=simulator.url, key=simulator.api_key))
        worker.execute(INSERT.format(prefix="known", number=KNOWN))
        for _tick in range(3):
            assert worker.run(trigger=PUSH) == 0
        assert audience.counts()["subscribed"] == KNOWN + 4
        server = Instance(
            environment, DATABASE, cron_threads=2, options=("--workers=2",)
        )
        try:
            server.start()
            worker.execute(SETTINGS.format(url=server.url))
            wait_for(lambda: len(audience.webhooks) == 2, 90, server)
            worker.execute(INSERT.format(prefix="new", number=CONTACTS))
            before = len(sql(RUNS))
            simulator.clear_calls()
            # A call takes a while, so that something is always on its way.
            simulator.latency(0.05, per_member=0.0005)
            started = time.monotonic()
            with ThreadPoolExecutor(4) as crowd:
                said = list(crowd.map(press, [server] * 4))
            assert any("starts" in message for message in said)
            wait_for(lambda: len(subscribing(simulator)) >= 2, 300, server)

            # The storm: each delivery twice, in any order.
            simulator.deliveries.hold()
            left, hidden = storm(audience, rng)
            sent = simulator.deliveries.release("shuffled", times=2, seed=7)
            with ThreadPoolExecutor(4) as crowd:
                list(crowd.map(press, [server] * 4))
            time.sleep(3)
            server.kill()
            time.sleep(1)
            server.start()
            environment.postgres.sql(WAKE)
            press(server)

            def idle():
                states = {row[1] for row in sql(RUNS)}
                return states == {"done"} and sql(WAITING)[0][0] == 0

            assert simulator.deliveries.wait(600)
            wait_for(idle, 600 + CONTACTS / 20, server)
            took = time.monotonic() - started
        finally:
            server.stop()
            worker.close()
        runs = sql(RUNS)[before:]
        print(
            f"\n{CONTACTS} contacts, {sent} deliveries: {took:.0f} s,"
            f" {len(simulator.calls)} calls, runs:"
            f" {[(kind, counters) for kind, _s, _b, _e, counters in runs]}"
        )
        check_runs(runs)
        check_calls(simulator)
        check_ends(sql(STANDING), audience, left, hidden)


def storm(audience, rng):
    """People change, leave, come back; some are archived before anybody looks.

    :return: addresses that said no, and those of them that nothing shows any more
    """
    known = [f"known{number}@firma.be" for number in range(1, KNOWN + 1)]
    there = [a for a in list(audience.members) if a.startswith("new")][:KNOWN]
    left, hidden = set(), set()
    for email in known + there:
        act = rng.choice(("edit", "unsubscribe", "hide", "return", "complain"))
        if act == "edit":
            for number in range(5):
                audience.edit(email, merge_fields={"CITY": f"City {number}"})
            continue
        if act == "return":
            with audience._lock:  # nobody sees what is between
                audience.unsubscribe(email)
                # Only then it is the later of the two.
                audience.account.clock.advance(1)
                audience.sign_up(email)
            continue
        getattr(audience, "complain" if act == "complain" else "unsubscribe")(email)
        left.add(email)
        if act == "hide":
            audience.archive(email)
            hidden.add(email)
    return left, hidden


def check_runs(runs):
    pushes = sorted(
        (begun, ended) for kind, _s, begun, ended, _c in runs if kind == "push"
    )
    assert pushes
    # One at a time; who pressed while it was sending has one behind it.
    assert len(pushes) <= 3
    for (_begun, ended), (following, _ended) in zip(pushes, pushes[1:], strict=False):
        assert ended <= following


def subscribing(simulator):
    """Return the calls that subscribe, 500 addresses each."""
    return [
        call
        for call in simulator.calls
        if call.method == "POST" and call.path.count("/") == 2 and call.body
    ]


def check_calls(simulator):
    """No address is subscribed twice, whatever became of the answers."""
    created = [
        item["email_address"]
        for call in subscribing(simulator)
        for item in call.body["members"]
    ]
    assert len(created) == len(set(created))
    assert not simulator.violations


def check_ends(standing, audience, left, hidden):
    wrong = []
    assert len(standing) == KNOWN + CONTACTS + 4
    for email, opted_in, status, operation in standing:
        member = audience.members[email]
        found = (opted_in, status, operation)
        if found != (email not in left, member.status, None):
            wrong.append((email, found, member.status))
        if email not in left and member.status != "subscribed":
            wrong.append((email, "is not subscribed", member.status))
        if email in hidden and member.status != "archived":
            wrong.append((email, "was brought back", member.status))
    assert not wrong, (len(wrong), wrong[:5])
