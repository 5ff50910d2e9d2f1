"""Odoo and Mailchimp as a history finds them, and a process that may die."""

import os
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta, timezone
from threading import Lock
from unittest.mock import patch

from watcher.history import Watcher

from odoo import fields
from odoo.exceptions import ValidationError

from odoo.addons.base.models import ir_cron
from odoo.addons.crm_mailchimp.engine.transport import Transport

from mailchimp_simulator import batches

# Worlds that are not ready to be judged yet are drawn when they are named.
WORLDS = os.environ.get("WORLDS", "audiences backups").split()
FAULTS = [
    ("status", {"status": 500}),
    ("status", {"status": 429, "body": "empty", "times": 4}),
    ("drop", {}),
    ("drop_applied", {}),
    ("truncate", {}),
]
SKEWS = (0, 20 * 60, -20 * 60)  # seconds by which Odoo's clock is ahead
# A city that another add-on does not let anybody write.
ODD = "Atlantis"
# Slow answers, and all the product's limits, are this many times quicker than real.
QUICKER = 100
# Instead of the time that is waited before something is tried again.
QUICK = property(
    lambda _transport: lambda _seconds: None, lambda _transport, _value: None
)
CALM = {
    "batch_progress": "time",
    "feed_has_unsubscribes_outside_campaigns": False,
}


class Killed(BaseException):
    """The process is gone: nothing more is sent, and nothing is committed."""


class World(Watcher):
    """Lets every write be judged, whichever process or batch it comes from."""

    meanwhile_at = None  # after how many calls somebody says no
    complains = False  # and whether as a complaint

    def __init__(self, case):
        super().__init__()
        self.case = case
        case.env.flush_all()
        case.env.cr.execute("SAVEPOINT history")
        case.simulator.reset()
        case.audience = case.simulator.add_audience("Test audience")
        self.simulator, self.audience = case.simulator, case.audience
        self.env, self.account = case.env, case.account
        self.number, self.filters, self.skew = 0, {}, 0
        self.calls_left, self.stack = None, ExitStack()
        self.left, self.backup = [], None
        self.stack.callback(setattr, case, "account", case.account)
        # What is later on one clock is later on the other one, too.
        self.patch(fields.Datetime, "now", staticmethod(self.moment))
        # A retry that waits for seconds is as good as one that does not.
        self.patch(Transport, "_sleep", QUICK)
        self.patch(Transport, "_attempt", self.killed_at(Transport._attempt))
        self.patch(batches, "_run", self.judged(batches._run))
        partners = type(self.env["res.partner"])
        self.patch(partners, "write", self.refusing(partners.write))
        # A tick is one slice: Odoo would let a job go on that says more is to do.
        self.patch(ir_cron, "MIN_RUNS_PER_JOB", 1)
        self.patch(ir_cron, "MIN_TIME_PER_JOB", 0)
        case.account.api_key = case.simulator.api_key
        case.account.action_connect()
        case.link(push=False)
        self.other = case.other
        self.turn = Lock()  # one write at a time, to know what came of which
        self.holder = None
        self.stack.callback(self.simulator.on_call(self.on_call))
        self.step()

    def patch(self, target, name, value, create=True):
        self.stack.enter_context(patch.object(target, name, value, create=create))

    def close(self):
        self.simulator.faults.clear()
        self.stack.close()
        self.case.simulator.switches.update(**CALM)
        self.env.invalidate_all(flush=False)
        self.env.cr.execute("ROLLBACK TO SAVEPOINT history")
        self.env.invalidate_all(flush=False)

    # === WHAT IS WATCHED === #

    def on_call(self, call, point):
        if point == "before" and self.meanwhile_at is not None:
            self.meanwhile_at -= 1
            if self.meanwhile_at < 0:
                self.meanwhile_at = None
                with self.turn:
                    self.say_no_meanwhile()
        if call.method == "GET":
            return
        if point == "before":
            self.turn.acquire()
            self.holder = call.number
            self.before_call(f"{call.method} {call.path}")
        elif self.holder == call.number:
            if any(ref in call.path for ref in self.left):
                self.violations.append(f"{call.method} {call.path}: left long ago")
            elif point == "applied":
                self.after_call(f"{call.method} {call.path} {call.body}")
            self.holder = None
            self.turn.release()

    def judged(self, run):
        """Judge what batches do: they are handed over earlier."""

        def judged_run(account, batch, operation):
            what = f"{operation['method']} {operation['path']} {operation.get('body')}"
            return self.carried_out(what, lambda: run(account, batch, operation))

        return judged_run

    @staticmethod
    def refusing(write):
        """Have contacts that refuse a value, as add-ons with rules of their own do."""

        def write_or_refuse(records, vals):
            if vals.get("city") == ODD:
                raise ValidationError(f"No contact lives in {ODD}.")
            return write(records, vals)

        return write_or_refuse

    def killed_at(self, attempt):
        """Let the process die at a certain call, before it is sent or unanswered."""

        def attempt_or_die(transport, *arguments):
            if self.calls_left is None:
                return attempt(transport, *arguments)
            self.calls_left -= 1
            if self.calls_left == 0 and self.random.random() < 0.5:
                attempt(transport, *arguments)
            if self.calls_left <= 0:
                raise Killed
            return attempt(transport, *arguments)

        return attempt_or_die

    @contextmanager
    def death_after(self, calls):
        """Let the process die at a call; what was not committed is gone."""
        self.calls_left = calls
        try:
            yield
        except Killed:
            self.env.invalidate_all(flush=False)
        finally:
            self.calls_left = None

    def say_no_meanwhile(self):
        members = self.members("subscribed")
        if members:
            email = self.random.choice(members)
            self.meanwhile.add(email)
            self.let_say_no(email, self.complains)
            # The run may still come to it.
            self.oracle.address(email).maybe_heard = True
            self.oracle.note_affected(email, self.now)
            self.tally["said no meanwhile"] += 1

    @property
    def now(self):
        return self.simulator.clock.now()

    def moment(self):
        now = datetime.fromtimestamp(self.now, timezone.utc).replace(tzinfo=None)
        return now + timedelta(seconds=self.skew)

    def step(self):
        self.simulator.advance(61)

    # === WHAT IS IN THE DATABASE === #

    def partner(self, contact):
        return self.env["res.partner"].browse(contact.key)

    def ledger(self):
        self.env.flush_all()
        self.env.cr.execute("SELECT m::text FROM crm_mailchimp_member m ORDER BY id")
        return self.env.cr.fetchall()

    def has_lost_opt_in(self, contact):
        return not self.partner(contact).mailchimp_opt_in

    def facts(self):
        """Return contacts, the list of "no" and the ledger."""
        self.env.flush_all()
        lines = [f"    {contact}" for contact in self.oracle.contacts.values()]
        self.env.cr.execute(
            """SELECT id, email_normalized, mailchimp_opt_in, mailchimp_opt_in_date
                 FROM res_partner WHERE email LIKE '%@firma.be%' ORDER BY id"""
        )
        lines += [f"    contact: {row}" for row in self.env.cr.fetchall()]
        self.env.cr.execute(
            """SELECT LEFT(email_normalized, 2), source, kind, date,
                      lifted_at, lifted_by
                 FROM crm_mailchimp_suppression ORDER BY email_normalized, id"""
        )
        lines += [f"    no: {row}" for row in self.env.cr.fetchall()]
        self.env.cr.execute(
            """SELECT LEFT(email_normalized, 2), status, status_before, archived_by,
                      origin, wanted, operation, reason, partner_id, last_changed
                 FROM crm_mailchimp_member ORDER BY email_normalized"""
        )
        return lines + [f"    ledger: {row}" for row in self.env.cr.fetchall()]
