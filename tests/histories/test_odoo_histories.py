"""Random histories on a real Odoo, over HTTP, with the real scheduled action.

``HISTORIES`` and ``SEED`` say how many and which; both are printed, so that a failure
can be played again.
"""

import os
from datetime import datetime, timezone
from unittest.mock import patch

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import get_state_machine_test, rule
from oracle import Watcher

from odoo import fields
from odoo.tests import tagged

from odoo.addons.crm_mailchimp.tests.common import MailchimpCase

HISTORIES = int(os.environ.get("HISTORIES") or 30)
STEPS = int(os.environ.get("STEPS") or 30)
SEED = int(os.environ.get("SEED") or 20260101)
FAULTS = [
    ("status", {"status": 500}),
    ("status", {"status": 429, "body": "empty", "times": 4}),
    ("drop", {}),
    ("drop_applied", {}),
    ("truncate", {}),
]


class OdooHistories(Watcher):
    case = None

    def __init__(self):
        super().__init__()
        case = self.case
        case.env.flush_all()
        case.env.cr.execute("SAVEPOINT history")
        case.simulator.reset()
        case.audience = case.simulator.add_audience("Test audience")
        self.simulator, self.audience = case.simulator, case.audience
        # One clock for both: what is later is later on both sides.
        self.patched = patch.object(fields.Datetime, "now", staticmethod(self.moment))
        self.patched.start()
        case.account.api_key = case.simulator.api_key
        case.account.action_connect()
        case.link()
        self.env, self.account = case.env, case.account
        self.number, self.filters = 0, {}
        self.unwatch = self.simulator.on_call(self.on_call)
        self.step()

    def teardown(self):
        try:
            self.end()
        finally:
            self.unwatch()
            self.patched.stop()
            self.env.invalidate_all(flush=False)
            self.env.cr.execute("ROLLBACK TO SAVEPOINT history")
            self.env.invalidate_all(flush=False)

    def on_call(self, call, point):
        if call.method == "GET":
            return
        if point == "before":
            self.before_call()
        elif point == "applied":
            self.after_call(f"{call.method} {call.path}")

    @property
    def now(self):
        return self.simulator.clock.now()

    def moment(self):
        return datetime.fromtimestamp(self.now, timezone.utc).replace(tzinfo=None)

    def step(self):
        self.simulator.advance(61)

    def partner(self, contact):
        return self.env["res.partner"].browse(contact.key)

    # === STEPS === #

    def new_contact(self, email, company, city, opted):
        return (
            self.env["res.partner"]
            .create(
                {
                    "name": "New",
                    "email": email,
                    "is_company": company,
                    "mailchimp_opt_in": opted,
                }
            )
            .id
        )

    def edit_contact(self, contact, city):
        self.number += 1
        name = f"E{self.number} Person"
        self.partner(contact).write({"city": city, "name": name})

    def set_opt_in(self, contact, opted):
        self.partner(contact).mailchimp_opt_in = opted

    def set_active(self, contact):
        self.partner(contact).active = contact.active

    def set_email(self, contact):
        self.partner(contact).email = contact.email

    def delete_contact(self, key):
        self.env["res.partner"].browse(key).unlink()

    def merge_contacts(self, kept, other):
        partner = self.env["res.partner"].browse(kept)
        self.env["base.partner.merge.automatic.wizard"]._merge(
            [kept, other], partner, extra_checks=False
        )
        self.env.invalidate_all()

    def merged(self, contact):
        partner = self.partner(contact)
        contact.email = partner.email_normalized or None
        contact.is_company = partner.is_company

    def flag_group(self, city):
        self.filters[city] = self.case.flag(f"In {city}", f"[('city', '=', '{city}')]")

    def unflag_group(self, city):
        self.filters.pop(city).mailchimp_sync = False

    def shown(self, email):
        values = self.audience.members[email].merge_fields
        return (
            values["FNAME"],
            values["LNAME"],
            values.get("CITY") or "",
            self.case.groups(email),
        )

    def wanted_shown(self, contact):
        partner = self.partner(contact)
        name = partner.name
        first, last = (name, "") if partner.is_company else name.split(" ", 1)
        groups = [f"In {partner.city}"] if partner.city in self.flagged else []
        return first, last, partner.city or "", groups

    # === RUNS === #

    @rule()
    def run(self):
        self.go()

    @rule(fault=st.sampled_from(FAULTS), after=st.integers(0, 12))
    def failing_run(self, fault, after):
        kind, options = fault
        self.simulator.fault("**", kind, after=after, **options)
        self.go(faulty=True)
        self.simulator.faults.clear()

    def go(self, faulty=False):
        """Let the scheduled action work once."""
        run, _created = self.account._request_run("push")
        run.resume_at = False
        self.start_run(faulty)
        self.case.tick()
        self.account.invalidate_recordset()
        if faulty:
            self.after_failing_run()
        self.step()
        return run

    def has_lost_opt_in(self, contact):
        return not self.partner(contact).mailchimp_opt_in

    def end(self):
        self.simulator.faults.clear()
        assert not self.violations, self.violations
        for _attempt in range(8):
            run = self.go()
            if run.state == "done" and not self.account.open_run_id:
                break
        assert run.state == "done", (run.state, run.error_message, run.error_detail)
        self.go()
        ledger = self.ledger()
        self.simulator.clear_calls()
        assert self.go().state == "done"
        writes = [
            f"{call.method} {call.path} {call.body}"
            for call in self.simulator.calls
            if call.method != "GET"
        ]
        assert not writes, f"a further run wrote: {writes}"
        assert self.ledger() == ledger, "a further run changed the ledger"
        for contact in self.oracle.contacts.values():
            opted = self.partner(contact).mailchimp_opt_in
            assert opted == (contact.opt_in is not None), f"{contact}: {opted}"
        self.compare()

    def ledger(self):
        self.env.flush_all()
        self.env.cr.execute("SELECT m::text FROM crm_mailchimp_member m ORDER BY id")
        return self.env.cr.fetchall()


@tagged("standard", "post_install", "-at_install")
class TestHistories(MailchimpCase):
    def test_random_histories(self):
        print(f"\nHISTORIES={HISTORIES} STEPS={STEPS} SEED={SEED}")
        test = get_state_machine_test(
            type("OdooHistories", (OdooHistories,), {"case": self}),
            settings=settings(
                max_examples=HISTORIES,
                stateful_step_count=STEPS,
                deadline=None,
                database=None,
                print_blob=True,
                suppress_health_check=list(HealthCheck),
                phases=[Phase.generate],
            ),
            _min_steps=STEPS,
        )
        seed(SEED)(test)()
        print(dict(Watcher.tally))
        assert Watcher.tally["histories"] >= HISTORIES
