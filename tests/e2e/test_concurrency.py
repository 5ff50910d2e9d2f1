"""Servers, workers and people at once: one run, no doubled call."""

import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from mailchimp_simulator import Simulator
from tools.instance import Instance

from .conftest import DATABASE, Worker
from .test_kill import LINK, PUSH

OPT_OUTS = "crm_mailchimp.ir_cron_opt_out"

CONTACTS = """
for n in range(40):
    env["res.partner"].create({{
        "name": f"{name}{{n}}", "email": f"{name}{{n}}@firma.be",
        "mailchimp_opt_in": True,
    }})
"""
# Campaigns and webhooks are other scheduled actions', which would mix their calls with
# ours.
NO_STATISTICS = """
env.ref("crm_mailchimp.ir_cron_stats").active = False
env.ref("crm_mailchimp.ir_cron_webhook").active = False
"""
ASK = """
env["crm.mailchimp.account"].search([])._request_run("push")
"""
PERMISSION = """
account = env["crm.mailchimp.account"].search([])
account.action_read_permissions()
account.permission_ids.on_opt_in = True
"""
RUNS = "SELECT id, state FROM crm_mailchimp_run ORDER BY id"
TRIGGERS = "SELECT id FROM ir_cron_trigger WHERE call_at <= NOW() AT TIME ZONE 'UTC'"


class Place:
    """A database and the audience it is linked to."""

    def __init__(self, environment, template, simulator):
        self.environment = environment
        self.simulator = simulator
        environment.clone_database(template, DATABASE)
        self.audience = simulator.add_audience("Test audience")
        self.worker = Worker(environment, DATABASE)
        self.worker.execute(
            NO_STATISTICS + LINK.format(url=simulator.url, key=simulator.api_key)
        )
        assert self.worker.run(trigger=PUSH) == 0

    def sql(self, query):
        return self.environment.postgres.sql(query, DATABASE)

    def opt_out(self, email):
        """Take an opt-in, in a transaction of its own."""
        self.sql(
            f"UPDATE res_partner SET mailchimp_opt_in = FALSE WHERE email = '{email}'"
        )

    def add_contacts(self, name):
        """Make contacts for the next run, and count its calls from here."""
        self.worker.execute(CONTACTS.format(name=name))
        self.simulator.clear_calls()

    def calls(self):
        return Counter((call.method, call.path) for call in self.simulator.calls)

    def wait_until_held(self):
        self._wait(self.simulator.paused)

    def wait_until_idle(self):
        """Wait until no run is open and no scheduled action has been asked for."""
        self._wait(
            lambda: (
                {state for _id, state in self.sql(RUNS)} == {"done"}
                and not self.sql(TRIGGERS)
            )
        )

    def _wait(self, condition):
        deadline = time.monotonic() + 60
        while not condition():
            assert time.monotonic() < deadline, f"see {self.environment.config.parent}"
            time.sleep(0.2)


@pytest.fixture
def place(environment, template):
    with Simulator(port=0) as simulator:
        place = Place(environment, template, simulator)
        yield place
        place.worker.close()


def press(server):
    """Press "Sync now" as a user does; return what it says."""
    (account,) = server.rpc("crm.mailchimp.account", "search", [])
    answer = server.rpc("crm.mailchimp.account", "action_sync_now", [account])
    return answer["params"]["message"]


@pytest.mark.long
def test_two_servers_and_a_crowd(place):
    place.add_contacts("alone")
    place.worker.execute('env["crm.mailchimp.account"].search([]).action_sync_now()')
    assert place.worker.run(trigger=PUSH) == 0
    alone = place.calls()
    assert sum(alone.values()) > 4

    place.add_contacts("crowd")
    before = place.sql(RUNS)
    simulator, environment = place.simulator, place.environment
    with Instance(environment, DATABASE) as one, Instance(environment, DATABASE) as two:
        # The run stands still at its first call until everybody has come.
        simulator.hold(call=1)
        with ThreadPoolExecutor(8) as crowd:
            said = list(crowd.map(press, (one, two) * 4))
        place.wait_until_held()
        assert any("starts" in message for message in said)
        with ThreadPoolExecutor(8) as crowd:
            said = list(crowd.map(press, (one, two) * 4))
        assert all("in progress" in message for message in said)
        # A third worker has the same action in its hand: it is turned away.
        calls = len(simulator.calls)
        assert place.worker.run(trigger=PUSH) == 1
        assert len(simulator.calls) == calls <= 4
        simulator.release()
        place.wait_until_idle()
    assert len(place.sql(RUNS)) == len(before) + 1
    assert place.calls() == alone
    assert place.audience.counts()["subscribed"] == 84
    assert not simulator.violations


@pytest.mark.long
def test_a_killed_server_goes_on_when_it_is_back(place):
    place.add_contacts("late")
    simulator = place.simulator
    server = Instance(place.environment, DATABASE)
    try:
        server.start()
        simulator.hold(route="POST /lists/*", point="applied")
        press(server)
        place.wait_until_held()
        server.kill()
        simulator.release()
        assert [state for _id, state in place.sql(RUNS)][-1] == "running"
        server.start()
        # What the server looks for by itself after a minute.
        place.environment.postgres.sql(
            f"SELECT pg_notify('cron_trigger', '{DATABASE}')"
        )
        place.wait_until_idle()
    finally:
        server.stop()
    assert simulator.count("POST") == 1
    assert place.audience.counts()["subscribed"] == 44
    assert len(place.sql(RUNS)) == 2


@pytest.mark.long
def test_an_opt_out_while_mailchimp_is_read(environment, template):
    """A transaction would go on seeing the opt-in it saw before the calls."""
    with Simulator(port=0) as simulator:
        place = Place(environment, template, simulator)
        for opted_in in (False, True):
            place.worker.execute(
                'env["res.partner"].search([("email", "=", "ann@firma.be")])'
                f".mailchimp_opt_in = {opted_in}"
            )
            assert place.worker.run(trigger=OPT_OUTS) == 0
        assert place.audience.members["ann@firma.be"].status == "archived"
        simulator.clear_calls()
        opted_out = []

        def on_call(call, point):
            if point == "before" and call.path.endswith("/activity-feed"):
                opted_out.append(call)
                place.opt_out("ann@firma.be")

        simulator.on_call(on_call)
        place.worker.execute(ASK)
        assert place.worker.run(trigger=PUSH) == 0
        assert opted_out, "nothing was read for a restore"
        assert place.audience.members["ann@firma.be"].status == "archived"
        assert not any(
            call.method == "PATCH" and "subscribed" in str(call.body)
            for call in simulator.calls
        )
        place.worker.close()


class Subscribing:
    """A push of forty contacts, two a call, during which one of them opts out.

    It happens when the first calls have arrived and the next ones are prepared.

    :param sent: addresses of each call that was not refused as a whole
    """

    SMALL_CALLS = """
env["crm.mailchimp.account"].search([])._request_run("push")[0]._set_cursor(portion=2)
"""
    AT_ONCE = 8
    EMAILS = sorted(f"late{number}@firma.be" for number in range(40))

    def __init__(self, place, victim):
        self.place, self.victim, self.arrived, self.sent = place, victim, [], []
        place.add_contacts("late")
        place.simulator.on_call(self.on_call)
        place.worker.execute(self.SMALL_CALLS)
        assert place.worker.run(trigger=PUSH) == 0

    def on_call(self, call, point):
        if call.method != "POST" or call.path.count("/") != 2:
            return
        if point == "applied":
            self.sent.append({item["email_address"] for item in call.body["members"]})
        elif point == "before":
            self.arrived.append(call)
            if len(self.arrived) <= self.AT_ONCE:
                time.sleep(1)
                self.place.opt_out(self.victim)

    def check(self):
        """Everybody was sent, but for whoever opted out."""
        others = {*self.EMAILS} - {self.victim}
        assert set().union(*self.sent) == others
        assert others == {*self.EMAILS} & set(self.place.audience.members)


def test_an_opt_out_while_calls_before_are_under_way(place):
    """Calls are prepared while others are under way, and begin when those are done."""
    subscribing = Subscribing(place, Subscribing.EMAILS[20])  # in the eleventh
    assert len(subscribing.sent) > 12
    subscribing.check()


@pytest.mark.long
def test_an_opt_out_while_permissions_are_given(place):
    """Marketing permissions go with an opt-in; they are given a call each."""
    audience = place.simulator.account.audiences[place.audience.id]
    audience.marketing_permissions = True
    audience.permission_texts["aaaa1111"] = "Email"
    place.worker.execute(PERMISSION)
    place.add_contacts("late")
    victim = Subscribing.EMAILS[-1]
    arrived = []

    def on_call(call, point):
        if point == "before" and call.method == "PATCH" and "/members/" in call.path:
            arrived.append(call)
            if len(arrived) <= Subscribing.AT_ONCE:
                time.sleep(1)
                place.opt_out(victim)

    place.simulator.on_call(on_call)
    place.worker.execute(ASK)
    assert place.worker.run(trigger=PUSH) == 0
    members = place.audience.members
    assert not members[victim].permissions
    assert all(
        members[email].permissions for email in Subscribing.EMAILS if email != victim
    )


def test_an_opt_out_while_refused_calls_are_looked_into(place):
    """Halves of a refused call are sent to find out who is to blame."""
    refused = Subscribing.AT_ONCE
    place.simulator.fault("POST /lists/*", status=400, times=refused)
    subscribing = Subscribing(place, Subscribing.EMAILS[0])
    assert len(subscribing.arrived) - len(subscribing.sent) == refused
    subscribing.check()
