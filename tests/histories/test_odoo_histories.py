"""Random histories on a real Odoo, over HTTP, with the real scheduled action.

``HISTORIES`` and ``SEED`` say how many and which; both are printed, so that a failure
can be played again.
"""

import os
from dataclasses import asdict
from datetime import datetime, timezone
from functools import partial
from threading import Lock
from unittest.mock import patch

from oracle import NO, Options
from watcher import Watcher, has_members, play, rule

from odoo import fields
from odoo.exceptions import UserError
from odoo.tests import tagged

from odoo.addons.crm_mailchimp.tests.common import MailchimpCase

HISTORIES = int(os.environ.get("HISTORIES") or 30)
STEPS = int(os.environ.get("STEPS") or 30)
SEED = int(os.environ.get("SEED") or 1)
FAULTS = [
    ("status", {"status": 500}),
    ("status", {"status": 429, "body": "empty", "times": 4}),
    ("drop", {}),
    ("drop_applied", {}),
    ("truncate", {}),
]


class OdooHistories(Watcher):
    def __init__(self, case):
        super().__init__()
        self.case = case
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
        self.other = self.env["res.company"].create({"name": "Another company"})
        self.turn = Lock()  # one write at a time, to know what came of which
        self.unwatch = self.simulator.on_call(self.on_call)
        self.step()

    def close(self):
        self.unwatch()
        self.patched.stop()
        self.env.invalidate_all(flush=False)
        self.env.cr.execute("ROLLBACK TO SAVEPOINT history")
        self.env.invalidate_all(flush=False)

    def on_call(self, call, point):
        if call.method == "GET":
            return
        if point == "before":
            self.turn.acquire()
            self.before_call(f"{call.method} {call.path}")
        elif point == "applied":
            self.after_call(f"{call.method} {call.path} {call.body}")
        else:
            self.turn.release()

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

    def options(self):
        draw = self.pick
        scope = draw(["primary", "primary", "all"])
        return Options(
            partner_kind=draw(["all", "all", "all", "person", "company"]),
            partner_domain=draw(["[]", "[]", "[('city', '!=', 'Rome')]"]),
            email_scope=scope,
            segment_target=draw(["group", "tag", "both"]),
            # Two addresses of a contact may be edited in two ways: too much to
            # foretell.
            sync_direction=draw(["push", "both"]) if scope == "primary" else "push",
            conflict_winner=draw(["odoo", "mailchimp"]),
            foreign_members=draw(["keep", "archive", "import"]),
            double_opt_in=draw([False, False, False, True]),
        )

    def choose(self, options):
        self.account.write(asdict(options))

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
        self.partner(contact).email = ", ".join(contact.emails)

    def set_company(self, contact):
        self.partner(contact).company_id = contact.foreign_company and self.other

    def set_blacklisted(self, email):
        blacklist = self.env["mail.blacklist"]
        if email in self.oracle.blacklist:
            blacklist._add(email)
        else:
            blacklist._remove(email)

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
        contact.emails = partner._mailchimp_addresses()
        contact.is_company = partner.is_company
        contact.foreign_company = partner.company_id == self.other
        contact.values["CITY"] = partner.city

    def flag_group(self, city):
        self.filters[city] = self.case.flag(f"In {city}", f"[('city', '=', '{city}')]")

    def unflag_group(self, city):
        self.filters.pop(city).mailchimp_sync = False

    def shown(self, email):
        member = self.audience.members[email]
        values = member.merge_fields
        return (
            values["FNAME"],
            values["LNAME"],
            values.get("CITY") or "",
            [name for name in self.case.groups(email) if name.startswith("In ")],
            sorted(tag.name for tag in member.tags if self.is_ours(tag)),
        )

    def wanted_shown(self, contact):
        partner = self.partner(contact)
        first, _blank, last = partner.name.partition(" ")
        if partner.is_company:
            first, last = partner.name, ""
        names = [f"In {partner.city}"] if partner.city in self.flagged else []
        target = self.oracle.options.segment_target
        return (
            first,
            last,
            partner.city or "",
            names if target != "tag" else [],
            names if target != "group" else [],
        )

    def city(self, contact):
        return self.partner(contact).city or ""

    def imported(self, email, there):
        if there:
            partner = self.env["res.partner"].browse(there)
            return there if partner.mailchimp_opt_in else None
        found = self.env["res.partner"].search([("email_normalized", "=", email)])
        return max(set(found.ids) - self.oracle.contacts.keys(), default=None)

    @rule(has_members("archived", *NO))
    def ask_again(self):
        """Let Mailchimp ask somebody who may have said no."""
        self.run()
        out = self.members("archived", *NO)
        found = out and self.oracle.eligible(self.pick(out))
        contact = found[0] if found else self.pick_contact()
        asked = [
            email
            for email in self.members("archived", "unsubscribed")
            if self.oracle.eligible(email)[:1] == [contact]
        ]
        try:
            self.partner(contact).action_mailchimp_ask_again()
            assert asked, f"{contact}: who is asked?"
        except UserError:
            assert not asked, f"{contact}: not asked"
        for email in asked:
            self.oracle.address(email).asked = True

    @rule(lambda self: self.oracle.options.foreign_members == "archive")
    def archive_foreign(self):
        """Let a manager agree to the archiving of members that are not ours."""
        self.run()
        waiting = self.env["crm.mailchimp.member"].search(
            self.account.action_open_foreign()["domain"]
        )
        emails = set(waiting.mapped("email_normalized"))
        foreign = {
            email
            for email in self.members("subscribed", "pending")
            if not self.oracle.address(email).ours
        }
        assert emails <= foreign, f"not foreign: {emails - foreign}"
        sure = {e for e in foreign if not self.oracle.address(e).maybe_ours}
        assert sure <= emails | self.doomed(), f"not asked about: {sure - emails}"
        if waiting:
            waiting.action_archive_foreign()
        for email in emails:
            self.oracle.address(email).doomed = True

    def doomed(self):
        return {e for e, address in self.oracle.addresses.items() if address.doomed}

    # === RUNS === #

    @rule(weight=7)
    def failing_run(self):
        kind, options = FAULTS[self.pick(range(len(FAULTS)))]
        after = self.pick(range(13), kind)
        self.simulator.fault("**", kind, after=after, **options)
        self.start_run(faulty=True)
        self.work()
        self.simulator.faults.clear()
        self.after_run()

    def work(self, kind="push"):
        """Let the scheduled action work once.

        :return: ``(run, whether it was a new one)``
        """
        run, created = self.account._request_run(kind)
        run.resume_at = False
        self.case.tick()
        self.account.invalidate_recordset()
        return run, created

    @rule(weight=7)
    def run(self):
        """Let it work until a run is over that began after all that was done."""
        self.start_run()
        for _attempt in range(8):
            run, created = self.work()
            if created and run.state == "done":
                break
        assert run.state == "done", (run.state, run.error_message, run.error_detail)
        self.after_run()
        self.step()

    def has_lost_opt_in(self, contact):
        return not self.partner(contact).mailchimp_opt_in

    def end(self):
        for _time in range(3):
            self.run()
            self.step()
        if self.reborn:
            self.start_run()
            self.work("full")
            self.after_run()
        ledger = self.ledger()
        self.simulator.clear_calls()
        self.run()
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
        partners = self.env["res.partner"].with_context(active_test=False)
        there = partners.search([("email", "like", "@firma.be")]).ids
        known = [key for key, c in self.oracle.contacts.items() if c.emails]
        assert sorted(there) == sorted(known), f"contacts {there}, expected {known}"

    def ledger(self):
        self.env.flush_all()
        self.env.cr.execute("SELECT m::text FROM crm_mailchimp_member m ORDER BY id")
        return self.env.cr.fetchall()


@tagged("standard", "post_install", "-at_install")
class TestHistories(MailchimpCase):
    def test_random_histories(self):
        print(f"\nHISTORIES={HISTORIES} STEPS={STEPS} SEED={SEED}")
        play(partial(OdooHistories, self), HISTORIES, STEPS, SEED)
