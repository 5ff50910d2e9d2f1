"""Random histories of both sides: after a quiet run they agree, and consent held.

``HISTORIES`` sets how many (default 30), ``SEED`` which; both are printed, so that a
failure can be played again.
"""

import os
import random
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from odoo import fields
from odoo.tests import tagged

from odoo.addons.crm_mailchimp.tests.common import MailchimpCase

from oracle import NO, Contact, Oracle

HISTORIES = int(os.environ.get("HISTORIES") or 30)
STEPS = int(os.environ.get("STEPS") or 30)
SEED = int(os.environ.get("SEED") or 20260101)
EMAILS = [f"p{number}@firma.be" for number in range(6)]
CITIES = ["Ghent", "Paris", "Rome"]
REACHABLE = ("subscribed", "pending")
FAULTS = [
    ("status", {"status": 500}),
    ("status", {"status": 429, "body": "empty"}),
    ("drop", {}),
    ("drop_applied", {}),
    ("truncate", {}),
]


class Histories(RuleBasedStateMachine):
    """One database and one audience; the oracle watches."""

    case = None

    def __init__(self):
        super().__init__()
        case = self.case
        case.env.flush_all()
        case.env.cr.execute("SAVEPOINT history")
        case.simulator.reset()
        case.audience = case.simulator.add_audience("Test audience")
        self.patched = patch.object(fields.Datetime, "now", staticmethod(case.now))
        self.patched.start()
        case.account.api_key = case.simulator.api_key
        case.account.action_connect()
        case.link()
        self.env, self.account = case.env, case.account
        self.simulator, self.audience = case.simulator, case.audience
        self.oracle = Oracle()
        self.filters = {}
        self.number = 0
        self.foreign = {}
        self.faulty = False
        self.watch = self.simulator.on_call(self.on_call)
        self.before = {}
        self.violations = []
        self.step()

    def teardown(self):
        try:
            self.quiet()
            self.compare()
        finally:
            self.watch()
            self.patched.stop()
            self.env.invalidate_all(flush=False)
            self.env.cr.execute("ROLLBACK TO SAVEPOINT history")
            self.env.registry.clear_all_caches() if False else None
            self.env.invalidate_all(flush=False)

    # === TIME AND WATCHING === #

    @property
    def now(self):
        return self.simulator.clock.now()

    def step(self):
        self.simulator.advance(61)

    def partner(self, key):
        return self.env["res.partner"].browse(key)

    def status(self, email):
        member = self.audience.members.get(email)
        return member and member.status

    def on_call(self, call, point):
        """Judge each change of a status by what people had said at that moment."""
        if call.method == "GET":
            return
        if point == "before":
            self.before = {
                email: member.status for email, member in self.audience.members.items()
            }
        elif point == "applied":
            for email, member in self.audience.members.items():
                self.judge(email, self.before.get(email), member.status, call)

    def judge(self, email, old, new, call):
        if old == new:
            return
        what = f"{call.method} {call.path}: {email} {old} -> {new}"
        address = self.oracle.address(email)
        if old in NO:
            self.violations.append(f"{what}: a “no” was overwritten")
        if new in REACHABLE:
            agreed = [
                contact
                for contact in self.oracle.contacts.values()
                if contact.email == email and contact.opt_in is not None
            ]
            if not agreed:
                self.violations.append(f"{what}: nobody agreed")
            elif old is not None and address.no_at is not None:
                self.violations.append(f"{what}: the person had said no")
            elif old is not None and address.bounced_at is not None:
                self.violations.append(f"{what}: the address had bounced")
            address.subscribed_at = self.now
            address.removed_by_hand = False

    # === ODOO === #

    @rule(
        email=st.sampled_from(EMAILS),
        company=st.booleans(),
        city=st.sampled_from(CITIES),
        opted=st.booleans(),
    )
    def create(self, email, company, city, opted):
        self.number += 1
        partner = self.env["res.partner"].create(
            {
                "name": f"N{self.number} Person",
                "email": email,
                "city": city,
                "is_company": company,
                "mailchimp_opt_in": opted,
            }
        )
        contact = Contact(partner.id, email, is_company=company)
        self.oracle.contacts[partner.id] = contact
        if opted:
            self.oracle.opt_in(partner.id, self.now)
        self.step()

    def pick(self, data, contacts=None):
        keys = sorted(contacts if contacts is not None else self.oracle.contacts)
        return data.draw(st.sampled_from(keys)) if keys else None

    @precondition(lambda self: self.oracle.contacts)
    @rule(data=st.data(), city=st.sampled_from([*CITIES, False]))
    def edit(self, data, city):
        key = self.pick(data)
        self.number += 1
        self.partner(key).write({"city": city, "name": f"E{self.number} Person"})
        self.step()

    @precondition(lambda self: self.oracle.contacts)
    @rule(data=st.data())
    def opt_in(self, data):
        key = self.pick(data)
        self.partner(key).mailchimp_opt_in = True
        self.oracle.opt_in(key, self.now)
        self.step()

    @precondition(lambda self: self.oracle.contacts)
    @rule(data=st.data())
    def opt_out(self, data):
        key = self.pick(data)
        self.partner(key).mailchimp_opt_in = False
        self.oracle.opt_out(key, self.now)
        self.step()

    @precondition(lambda self: self.oracle.contacts)
    @rule(data=st.data())
    def archive_or_not(self, data):
        key = self.pick(data)
        contact = self.oracle.contacts[key]
        contact.active = not contact.active
        self.partner(key).active = contact.active
        self.step()

    @precondition(lambda self: self.oracle.contacts)
    @rule(data=st.data())
    def delete(self, data):
        key = self.pick(data)
        self.partner(key).unlink()
        del self.oracle.contacts[key]
        self.step()

    @precondition(lambda self: self.oracle.contacts)
    @rule(data=st.data(), email=st.sampled_from([*EMAILS, None]))
    def change_address(self, data, email):
        key = self.pick(data)
        self.partner(key).email = email
        self.oracle.contacts[key].email = email
        self.step()

    @precondition(lambda self: len(self.oracle.contacts) > 1)
    @rule(data=st.data())
    def merge(self, data):
        active = [k for k, c in self.oracle.contacts.items() if c.active]
        if len(active) < 2:
            return
        kept = self.pick(data, active)
        other = self.pick(data, [key for key in active if key != kept])
        self.env["base.partner.merge.automatic.wizard"]._merge(
            [kept, other], self.partner(kept), extra_checks=False
        )
        self.env.invalidate_all()
        self.oracle.merge(kept, [other], self.now)
        partner = self.partner(kept)
        contact = self.oracle.contacts[kept]
        contact.email = partner.email_normalized or None
        contact.is_company = partner.is_company
        self.step()

    @rule(city=st.sampled_from(CITIES))
    def flag_or_not(self, city):
        if city in self.filters:
            self.filters.pop(city).mailchimp_sync = False
        else:
            self.filters[city] = self.case.flag(
                f"In {city}", f"[('city', '=', '{city}')]"
            )
        self.step()

    # === MAILCHIMP === #

    def members(self, *statuses):
        return [
            email
            for email in EMAILS
            if self.status(email) in (statuses or ("subscribed",))
        ]

    @precondition(lambda self: self.members())
    @rule(data=st.data())
    def unsubscribe(self, data):
        email = self.pick(data, self.members())
        self.audience.unsubscribe(email, reason="enough")
        self.oracle.address(email).no_at = self.now
        self.step()

    @precondition(lambda self: self.members())
    @rule(data=st.data())
    def complain(self, data):
        email = self.pick(data, self.members())
        self.audience.complain(email)
        self.oracle.address(email).no_at = self.now
        self.step()

    @precondition(lambda self: self.members())
    @rule(data=st.data(), kind=st.sampled_from(["hard", "soft"]))
    def bounce(self, data, kind):
        email = self.pick(data, self.members())
        self.audience.bounce(email, kind)
        if kind == "hard":
            self.oracle.address(email).bounced_at = self.now
        self.step()

    @precondition(lambda self: self.members("subscribed", "unsubscribed", "cleaned"))
    @rule(data=st.data())
    def archive_by_hand(self, data):
        email = self.pick(data, self.members("subscribed", "unsubscribed", "cleaned"))
        self.audience.archive(email)
        self.oracle.address(email).removed_by_hand = True
        self.step()

    @precondition(lambda self: self.members("subscribed", "unsubscribed", "archived"))
    @rule(data=st.data())
    def erase(self, data):
        email = self.pick(data, self.members("subscribed", "unsubscribed", "archived"))
        self.audience.delete_permanently(email)
        self.oracle.address(email).erased = True
        self.step()

    @precondition(lambda self: self.members())
    @rule(data=st.data(), city=st.sampled_from(CITIES))
    def edit_in_mailchimp(self, data, city):
        email = self.pick(data, self.members())
        if any(field.tag == "CITY" for field in self.audience.merge_fields.values()):
            self.audience.edit(email, merge_fields={"CITY": city})
        self.step()

    @rule(email=st.sampled_from(EMAILS))
    def sign_up_in_mailchimp(self, email):
        if self.status(email) is None and not self.oracle.address(email).erased:
            self.audience.add_member(email, merge_fields={"FNAME": "Foreign"})
            self.oracle.address(email).subscribed_at = self.now
        self.step()

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
        """Let the scheduled action work; a failing run may wait for later."""
        case = self.case
        run, _created = self.account._request_run("push")
        run.resume_at = False
        self.learn(faulty)
        self.oracle.hear(self.now)
        first = len(self.simulator.calls)
        case.tick()
        self.account.invalidate_recordset()
        if not faulty and run.state == "done":
            self.opt_outs_first(self.simulator.calls[first:])
        self.step()
        return run

    def learn(self, faulty):
        """Note whose addresses the run that starts now may send."""
        for email in EMAILS:
            found = self.oracle.eligible(email)
            if found and self.oracle.address(email).no_at is None or found:
                address = self.oracle.address(email)
                self.oracle.owners.setdefault(email, set()).add(found[0].key)
                if faulty:
                    address.maybe_ours = True
                else:
                    address.ours = True

    def opt_outs_first(self, calls):
        writes = [call for call in calls if call.method != "GET"]
        kinds = [call.method for call in writes]
        self.last_writes = kinds

    def quiet(self):
        self.simulator.faults.clear()
        for _attempt in range(8):
            run = self.go()
            if run.state == "done" and not self.account.open_run_id:
                break
        assert run.state == "done", (run.state, run.error_message, run.error_detail)
        run = self.go()
        assert run.state == "done"
        ledger = self.ledger()
        self.simulator.clear_calls()
        run = self.go()
        writes = [
            f"{call.method} {call.path} {call.body}"
            for call in self.simulator.calls
            if call.method != "GET"
        ]
        assert not writes, f"a further run wrote: {writes}"
        assert self.ledger() == ledger, "a further run changed the ledger"

    def ledger(self):
        self.env.flush_all()
        self.env.cr.execute("SELECT m::text FROM crm_mailchimp_member m ORDER BY id")
        return self.env.cr.fetchall()

    # === COMPARING === #

    def compare(self):
        assert not self.violations, self.violations
        for key, contact in self.oracle.contacts.items():
            partner = self.partner(key)
            assert partner.mailchimp_opt_in == (contact.opt_in is not None), (
                f"opt-in of {partner.name} <{contact.email}>:"
                f" {partner.mailchimp_opt_in}, expected {contact}"
            )
        for email in EMAILS:
            self.compare_address(email)

    def compare_address(self, email):
        address = self.oracle.address(email)
        status = self.status(email)
        found = self.oracle.eligible(email)
        context = f"{email}: {status}; {address}; eligible {found}"
        if address.erased:
            assert status is None, context
            return
        if status in NO:
            return  # every write to it would have been judged
        if address.no_at is not None or address.bounced_at is not None:
            # It was hidden by an archiving: it does not come back by us.
            assert status in ("archived", None), context
            return
        if found:
            assert status == "subscribed", context
            member = self.audience.members[email]
            winner = self.partner(found[0].key)
            values = member.merge_fields
            name = winner.name
            first, last = (name, "") if winner.is_company else name.split(" ", 1)
            shown = (values["FNAME"], values["LNAME"], values.get("CITY") or "")
            assert shown == (first, last, winner.city or ""), (context, shown)
            groups = self.case.groups(email)
            expected = sorted(
                f"In {city}" for city in self.filters if city == winner.city
            )
            assert groups == expected, (context, groups, expected)
        elif status == "subscribed":
            assert not address.ours, f"{context}: should have left"
            if not address.maybe_ours:
                values = self.audience.members[email].merge_fields
                assert values["FNAME"] == "Foreign", f"{context}: {values}"
        elif status == "archived":
            ours = address.ours or address.maybe_ours or address.removed_by_hand
            assert ours, f"{context}: a foreign member was archived"


@tagged("standard", "post_install", "-at_install")
class TestHistories(MailchimpCase):
    def now(self):
        return self.moment()

    @classmethod
    def moment(cls):
        from datetime import datetime, timezone

        moment = datetime.fromtimestamp(cls.simulator.clock.now(), timezone.utc)
        return moment.replace(tzinfo=None)

    def test_random_histories(self):
        print(f"\nHISTORIES={HISTORIES} STEPS={STEPS} SEED={SEED}")
        machine = type("Machine", (Histories,), {"case": self})
        machine._hypothesis_internal_use_seed = SEED
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=HISTORIES,
                stateful_step_count=STEPS,
                deadline=None,
                database=None,
                print_blob=True,
                suppress_health_check=list(HealthCheck),
                phases=[Phase.generate, Phase.shrink],
            ),
        )
