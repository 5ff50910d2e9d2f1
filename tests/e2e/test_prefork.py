"""Odoo with workers that it kills after some time; a Mailchimp that hangs or drips."""

import time

import pytest

from mailchimp_simulator import Simulator
from tools.instance import Instance

from .conftest import DATABASE, Worker
from .test_concurrency import NO_STATISTICS
from .test_kill import LINK, PUSH

# Seconds after which Odoo kills a worker of scheduled actions. Its own default is 120;
# it sleeps for up to 70, and below that it would be killed in its sleep.
LIMIT = 72
OPTIONS = ("--workers=2", f"--limit-time-real-cron={LIMIT}")
KINDS = ("trickle", "hang")  # how the other accounts' Mailchimp behaves
JOB = "Job 'Mailchimp: sync contacts'"
OTHERS = """
key = {key!r}
for number in range(2):
    company = env["res.company"].create({{"name": f"Company {{number}}"}})
    account = env["crm.mailchimp.account"].create(
        {{"name": company.name, "company_id": company.id, "lang": "en_US"}}
    )
    account.api_key = key
    account.action_connect()
    account._link_audience({{"id": {audiences!r}[number], "name": "A", "web_id": 1}})
    account.push_enabled = True
"""
WORK = """
for name in ("dan", "eve"):
    env["res.partner"].create(
        {"name": name, "email": name + "@firma.be", "mailchimp_opt_in": True}
    )
env["res.partner"].search([("email", "=", "bob@firma.be")]).mailchimp_opt_in = False
for account in env["crm.mailchimp.account"].search([]):
    account._request_run("preview")
    account._request_run("push")
"""


def wait_for(what, seconds):
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "it does not come"
        time.sleep(0.5)


@pytest.mark.long
def test_no_worker_is_killed(environment, template):
    """Three accounts whose Mailchimp gives no answer, or one byte by byte: each job
    ends by itself in time, and all goes on afterwards."""
    environment.clone_database(template, DATABASE)
    with Simulator(port=0) as simulator:
        audience = simulator.add_audience("Test audience")
        worker = Worker(environment, DATABASE)
        worker.execute(
            NO_STATISTICS + LINK.format(url=simulator.url, key=simulator.api_key)
        )
        others = [simulator.add_audience(name).id for name in ("One", "Two")]
        worker.execute(OTHERS.format(key=simulator.api_key, audiences=others))
        for _tick in range(4):
            assert worker.run(trigger=PUSH) == 0
        assert audience.members["bob@firma.be"].status == "subscribed"
        for audience_id, kind in (
            (audience.id, "hang"),
            *zip(others, KINDS, strict=True),
        ):
            route = f"* /lists/{audience_id}**"
            seconds = 300 if kind == "hang" else 1
            simulator.fault(route, kind, seconds=seconds, times=None)
        with Instance(environment, DATABASE, cron_threads=2, options=OPTIONS) as server:
            worker.execute(WORK)  # which wakes the workers
            worker.close()

            def jobs():
                lines = server.log.read_text().splitlines()
                return [line for line in lines if JOB in line]

            wait_for(lambda: any("done" in line for line in jobs()), LIMIT + 10)
            assert [line for line in jobs() if "starting" in line]
            simulator.faults.clear()
            wait_for(
                lambda: audience.members["bob@firma.be"].status == "archived",
                2 * LIMIT,
            )
            log = server.log.read_text()
        # Who is killed in its sleep was at no job.
        busy = set()
        for line in log.splitlines():
            pid = line.split()[2:3]
            if "Job '" in line:
                (busy.add if "starting" in line else busy.discard)(pid[0])
            if "timeout after" in line:
                assert not any(f"({worker})" in line for worker in busy), line
        assert not simulator.violations
