"""Every call of what users do goes wrong in every way; afterwards all is right.

``FAULTS=all`` (``make test KIND=faults``) plays each call with each fault; otherwise a
selection is played. ``FAULT="push 7 empty"`` plays one combination, ``FAULT=push``
one scenario.
"""

import os
import re
import time
from collections import Counter
from contextlib import ExitStack
from datetime import datetime, timezone
from functools import partial
from itertools import product
from unittest.mock import patch

from scenarios import SCENARIOS, state

from odoo import fields
from odoo.tests import tagged
from odoo.tests.common import _super_send

from odoo.addons.base.models import ir_cron
from odoo.addons.crm_mailchimp.engine import transport
from odoo.addons.crm_mailchimp.engine.gateway import Gateway
from odoo.addons.crm_mailchimp.models import connection, opt_out
from odoo.addons.crm_mailchimp.tests.common import MailchimpCase

FAULTS = {
    "refused": ("status", {"status": 400}),
    "drop": ("drop", {}),
    "drop applied": ("drop_applied", {}),
    "time-out": ("hang", {}),
    "429": ("status", {"status": 429}),
    "bare 403": ("status", {"status": 403, "body": "empty"}),
    "500": ("status", {"status": 500}),
    "503 html": ("status", {"status": 503, "body": "html"}),
    "truncated": ("truncate", {}),
    "malformed": ("malformed", {}),
    "mistyped": ("mistyped", {}),
    "html": ("garbage", {}),
    "empty": ("empty", {}),
}
ALL = os.environ.get("FAULTS") == "all"
ONE = os.environ.get("FAULT", "").split(maxsplit=2)
SELECTED = 36
QUIET_RUNS = 2
REACHABLE = ("subscribed", "pending")
# What may be otherwise after a refusal, in lines of a state.
FORGIVEN = (
    # The mark of this database is one guard of several: the next run that has something
    # to send makes it.
    "category: mark",
    # A member that may not get its new address leaves, and the new one is added.
    "member: dan@firma.be archived",
    "ledger: ('dan@firma.be', 'Dan', 'archived'",
    "ledger: ('dan@firma.be', 'Dan', None",
)
# To connect, and to wait for an answer of a call that hangs.
IMPATIENT = (1, 0.5)


class World:
    """A prepared state that can be had again, and what happens in it."""

    def __init__(self, case, scenario):
        self.case, self.env, self.simulator = case, case.env, case.simulator
        self.account = case.account
        self.scenario = scenario(self)
        self.env.flush_all()
        self.env.cr.execute("SAVEPOINT scenario")
        self.simulator.reset()
        case.audience = self.simulator.add_audience("Test audience")
        self.account.api_key = self.simulator.api_key
        self.account.action_connect()
        self.scenario.prepare()
        self.env.flush_all()
        self.env.cr.execute("SAVEPOINT prepared")
        self.snapshot = self.simulator.snapshot()

    def close(self):
        self.roll_back("scenario")

    def roll_back(self, savepoint):
        self.env.invalidate_all(flush=False)
        self.env.cr.execute(f"ROLLBACK TO SAVEPOINT {savepoint}")
        self.env.invalidate_all(flush=False)

    @property
    def audience(self):
        return self.case.audience

    def step(self):
        self.simulator.advance(61)

    # === WHAT SCHEDULED ACTIONS DO === #

    def work(self, kind="push"):
        """Let the scheduled action work until nothing is left, or it waits."""
        for _tick in range(20):
            self.case.tick(f"ir_cron_{kind}")
            domain = [("state", "in", ("queued", "running"))]
            if not self.env["crm.mailchimp.run"].search_count(domain, limit=1):
                return
        raise AssertionError("The run does not end.")

    def work_lane(self):
        self.case.send_opt_outs()

    # === PLAYING === #

    def play(self, number=0, fault=None):
        """Play the scenario from its beginning, and let it come to rest.

        :param int number: of the call that goes wrong, from 1
        :param fault: key of :data:`FAULTS`
        :return: ``(routes of the calls of the play, [state after each quiet run])``
        """
        self.roll_back("prepared")
        self.simulator.restore(self.snapshot)
        self.case.audience = self.simulator.audiences[0]
        self.scenario.begin()
        self.out, self.violations = set(), []
        with ExitStack() as stack:
            stack.callback(self.simulator.on_call(self.watch))
            stack.callback(self.simulator.faults.clear)
            if fault:
                kind, options = FAULTS[fault]
                self.simulator.fault("**", kind, after=number - 1, **options)
            with self.patience(fault):
                self.scenario.play()
            calls = [route(call) for call in self.simulator.calls]
            assert not self.simulator.faults.describe()["faults"], "no fault happened"
            states = []
            for _run in range(QUIET_RUNS):
                self.step()
                runs = self.env["crm.mailchimp.run"].search(
                    [("resume_at", "!=", False)]
                )
                runs.resume_at = False
                self.scenario.again()
                states.append(state(self.env, self.simulator))
        assert not self.violations, self.violations
        return calls, states

    def patience(self, fault):
        """Return a context in which calls that hang are given up soon."""
        stack = ExitStack()
        options = {"max_in_flight": 1}
        if fault == "time-out":
            options["timeout"] = IMPATIENT
            for module, name in (
                (opt_out, "LANE_TIMEOUT"),
                (connection, "LOOK_SECONDS"),
            ):
                stack.enter_context(patch.object(module, name, IMPATIENT))
        # One call after the other, so that a number always means the same one.
        gateway = partial(Gateway, **options)
        stack.enter_context(patch.object(connection, "Gateway", gateway))
        return stack

    def watch(self, call, point):
        """Nobody who is out because of a "no" comes back."""
        if point != "applied" or call.method == "GET":
            return
        for name in self.scenario.said_no:
            email = f"{name}@firma.be"
            member = self.audience.members.get(email)
            if member is None or member.status not in REACHABLE:
                self.out.add(email)
            elif email in self.out:
                self.violations.append(f"{call.method} {call.path}: {email} is back")


def route(call):
    """Return a call without ids, to tell people which one it is."""
    return f"{call.method} {re.sub(r'/[0-9a-f]{10,32}|/[0-9]+', '/*', call.path)}"


def combinations(place, calls):
    """Return the combinations of a scenario to play.

    :param int place: of the scenario among all
    :param int calls: how many it has
    :return: list of ``(call number, fault)``
    """
    if len(ONE) > 1:
        return [(int(ONE[1]), ONE[2])]
    if ALL:
        return list(product(range(1, calls + 1), FAULTS))
    faults, chosen = list(FAULTS), []
    each = SELECTED // len(SCENARIOS)
    for turn in range(each):
        # Evenly over the calls, and another fault each time.
        fault = faults[(turn * len(SCENARIOS) + place) % len(faults)]
        chosen.append((1 + int((turn + 0.5) * calls / each), fault))
    return chosen


@tagged("standard", "post_install", "-at_install")
class TestFaultMatrix(MailchimpCase):
    # By default Mailchimp calculates the audience's rates only after a day.
    switches = {"list_stats_seconds": 0}

    def setUp(self):
        super().setUp()
        for target, name, value in (
            # What is later on one clock is later on the other one, too.
            (fields.Datetime, "now", staticmethod(self.moment)),
            # A second try would hide the fault, and nobody waits for one.
            (transport, "TRIES", 1),
            # A tick is one slice.
            (ir_cron, "MIN_RUNS_PER_JOB", 1),
            (ir_cron, "MIN_TIME_PER_JOB", 0),
        ):
            self.startPatcher(patch.object(target, name, value))

    @classmethod
    def _request_handler(cls, session, request, /, **options):
        # Odoo's own lets every request of a test wait for ten seconds at least.
        return _super_send(session, request, **options)

    def moment(self):
        now = datetime.fromtimestamp(self.simulator.clock.now(), timezone.utc)
        return now.replace(tzinfo=None)

    def test_every_call_with_every_fault(self):
        started = time.monotonic()
        failures, counts = [], Counter()
        for place, scenario in enumerate(SCENARIOS):
            if not ONE or ONE[0] == scenario.name:
                failures += self.play_all(World(self, scenario), place, counts)
        print(
            f"\nFAULTS: {counts['combinations']} combinations of {counts['calls']}"
            f" calls and {len(FAULTS)} faults, {time.monotonic() - started:.0f} seconds"
        )
        self.assertFalse(len(failures), "combinations go wrong: see what is printed")

    def play_all(self, world, place, counts):
        """Play the combinations of a scenario; return what is wrong with which."""
        began, failures = time.monotonic(), []
        name = world.scenario.name
        calls, states = world.play()
        clean = states[-1]
        self.assertEqual(states, [clean] * QUIET_RUNS, f"{name}: comes to no rest")
        chosen = combinations(place, len(calls))
        for number, fault in chosen:
            call = calls[number - 1]
            problem = self.compare(world, number, fault, call, clean)
            if problem:
                failures.append(f"{name} {number} {fault}: {call}\n{problem}")
                print(failures[-1], flush=True)
        world.close()
        counts.update(combinations=len(chosen), calls=len(calls))
        print(
            f"{name}: {len(chosen)} combinations, {len(calls)} calls,"
            f" {len(failures)} failed, {time.monotonic() - began:.0f} seconds",
            flush=True,
        )
        return failures

    def compare(self, world, number, fault, call, clean):
        """Play one combination; return what is wrong in the end, or nothing."""
        try:
            calls, states = world.play(number, fault)
        except Exception as error:
            # Whatever it is, the other combinations are played, too.
            return f"    {type(error).__name__}: {error}"
        if calls[number - 1] != call:
            return f"    another call went wrong: {calls[number - 1]}"
        found = states[-1]
        if fault == "refused":
            clean, found = (
                [line for line in lines if not any(one in line for one in FORGIVEN)]
                for lines in (clean, found)
            )
        lines = [f"  - {line}" for line in clean if line not in found]
        lines += [f"  + {line}" for line in found if line not in clean]
        if not lines and found != clean:
            lines = ["    something is there twice"]
        return "\n".join(lines)
