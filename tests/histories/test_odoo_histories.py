"""Random histories on a real Odoo, over HTTP, with the real scheduled action.

``HISTORIES`` and ``SEED`` say how many and which; both are printed, so that a failure
can be played again.
"""

import os
from collections import Counter
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from datetime import datetime, timedelta, timezone
from functools import partial
from threading import Lock
from unittest.mock import patch

from oracle import NEVER, NO, REACHABLE, Address, Options
from watcher.drawing import has_members, rule
from watcher.harness import CITIES, EMAILS, LEAVES
from watcher.history import Watcher
from watcher.play import play

from odoo import fields
from odoo.exceptions import UserError, ValidationError
from odoo.tests import tagged

from odoo.addons.base.models import ir_cron
from odoo.addons.crm_mailchimp.engine.transport import Transport
from odoo.addons.crm_mailchimp.models import opt_out, slices
from odoo.addons.crm_mailchimp.sync.members import MemberPhase
from odoo.addons.crm_mailchimp.sync.sending import SendingPhase
from odoo.addons.crm_mailchimp.tests.common import MailchimpCase

from mailchimp_simulator import batches

# Worlds that are not ready to be judged yet are drawn when they are named.
WORLDS = os.environ.get("WORLDS", "audiences backups").split()
HISTORIES = int(os.environ.get("HISTORIES") or 60)
STEPS = int(os.environ.get("STEPS") or 30)
SEED = int(os.environ.get("SEED") or 1)
FAULTS = [
    ("status", {"status": 500}),
    ("status", {"status": 429, "body": "empty", "times": 4}),
    ("drop", {}),
    ("drop_applied", {}),
    ("truncate", {}),
]
SKEWS = (0, 20 * 60, -20 * 60)  # seconds by which Odoo's clock is ahead
MONTH = 31 * 86400
# What a run finds out only when it carries them out.
LOOKS = {"ask", "inquire", "move", "readmit", "restore"}
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


class OdooHistories(Watcher):
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

    @property
    def now(self):
        return self.simulator.clock.now()

    def moment(self):
        now = datetime.fromtimestamp(self.now, timezone.utc).replace(tzinfo=None)
        return now + timedelta(seconds=self.skew)

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
        small = self.pick([False, True], "few a page")
        many = self.pick(["never", "never", "time", "polls"], "batches")
        shown = self.pick([False, True], "unsubscribes in the activity")
        self.skew = self.pick(SKEWS, "clock ahead")
        gateway = self.account._gateway()
        gateway.member_count(self.audience.id)
        self.account._note_clock(gateway)
        gateway.close()
        if small:
            self.tally["few a page"] += 1
            self.patch(MemberPhase, "PAGE", 5)
        if many != "never":
            self.tally[f"small batches by {many}"] += 1
            self.patch(SendingPhase, "BATCH_FROM", 2)
            self.simulator.switches.batch_progress = many
        self.simulator.switches.feed_has_unsubscribes_outside_campaigns = shown

    def start_push(self):
        self.account.push_enabled = True

    def shows_unsubscribes(self):
        return self.simulator.switches.feed_has_unsubscribes_outside_campaigns

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

    @rule(lambda self: self.pushing and self.members("archived", *NO))
    def ask_again(self):
        """Let Mailchimp ask somebody who may have said no."""
        self.run()
        out = self.members("archived", *NO)
        found = out and self.oracle.eligible(self.pick(out), asking=True)
        contact = found[0] if found else self.pick_contact()
        asked = [
            email
            for email in self.members("archived", "unsubscribed")
            if self.oracle.eligible(email, asking=True)[:1] == [contact]
        ]
        bounced = [email for email in asked if self.oracle.address(email).bounced_at]
        try:
            # A rule, which runs as superuser, is not told that there is nobody.
            user = self.env.ref("base.user_admin")
            self.partner(contact).with_user(user).action_mailchimp_ask_again()
            assert asked, f"{contact}: who is asked?"
        except UserError:
            assert asked == bounced, f"{contact}: not asked"
            return
        for email in asked:
            address = self.oracle.address(email)
            # Its contact has an opt-in that is newer than the "no": it is not
            # somebody else's any more, though it was never sent.
            address.asked = address.maybe_ours = True

    @rule(lambda self: self.pushing and self.asks_about_foreign())
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
        # That somebody was erased is seen when members are counted.
        erased = {e for e in emails if self.oracle.address(e).erased}
        assert emails - erased <= foreign, f"not foreign: {emails - foreign}"
        sure = {e for e in foreign if not self.oracle.address(e).maybe_ours}
        assert sure <= emails | self.doomed(), f"not asked about: {sure - emails}"
        if waiting:
            waiting.action_archive_foreign()
        for email in emails:
            self.oracle.address(email).doomed = True

    def asks_about_foreign(self):
        return self.oracle.options.foreign_members == "archive"

    def doomed(self):
        return {e for e, address in self.oracle.addresses.items() if address.doomed}

    # === RUNS === #

    @rule(weight=5)
    def failing_run(self):
        kind, options = FAULTS[self.pick(range(len(FAULTS)))]
        after = self.pick(range(13), kind)
        self.simulator.fault("**", kind, after=after, **options)
        self.start_run(faulty=True)
        self.work()
        self.simulator.faults.clear()
        self.after_run()

    @rule(weight=4)
    def interrupted_run(self):
        """A run that somebody kills or cancels, or whose time is over at each page."""
        how = self.pick(["killed", "cancelled", "short of time"])
        self.tally[f"run {how}"] += 1
        self.start_run(faulty=True)
        if how == "killed":
            with self.death_after(self.pick(range(1, 14))):
                self.work()
        else:
            with patch.object(slices, "SLICE_SECONDS", 0):
                for _tick in range(self.pick(range(1, 6))):
                    run, _created = self.work()
        if how == "cancelled":
            run.action_cancel()
        self.after_run()

    @rule(weight=1)
    def slow_run(self):
        """Mailchimp takes 8 s for each answer: a slice is over before much is done."""
        seconds = slices.SLICE_SECONDS / QUICKER
        self.start_run(faulty=True)
        self.simulator.latency(8 / QUICKER)
        with patch.object(slices, "SLICE_SECONDS", seconds):
            for _tick in range(30):
                self.tally["slow ticks"] += 1
                run, created = self.work()
                if created and run.state == "done":
                    break
            else:
                self.violations.append(f"slow: {run.state} {run.phase} {run.cursor}")
        self.tally["slow run"] += 1
        self.simulator.latency(0)
        self.after_run()

    @rule(weight=2)
    def run_and_a_no_meanwhile(self):
        """Somebody says no in Mailchimp while a run is under way."""
        self.complains = self.pick([True, False])
        self.start_run(faulty=True)
        self.meanwhile_at = self.pick(range(13))
        self.work()
        self.meanwhile_at = None
        self.tell(f"    meanwhile {self.meanwhile}")
        self.after_run()

    meanwhile_at = None  # after how many calls somebody says no

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

    def work(self, kind="push"):
        """Let the scheduled action work once.

        :return: ``(run, whether it was a new one)``
        """
        run, created = self.account._request_run(kind)
        self.env["crm.mailchimp.run"].search([("resume_at", "!=", False)]).write(
            {"resume_at": False}
        )
        self.case.tick()
        self.account.invalidate_recordset()
        return run, created

    # === THE LANE OF OPT-OUTS === #

    @rule(weight=6)
    def lane(self):
        """Opt-outs are confirmed within two ticks when Mailchimp answers in time."""
        trouble = self.pick(["none"] * 6 + ["killed", "hang", "slow", *range(5)])
        self.faulty = trouble != "none"
        self.tally[f"lane: {trouble}"] += 1
        for _time in range(self.pick([0, 1, 2])):
            self.opt_out_somebody()
        leaving = self.start_lane()
        with ExitStack() as stack:
            ticks = 2
            if trouble == "killed":
                with self.death_after(self.pick(range(1, 6))):
                    self.case.send_opt_outs()
            elif trouble in ("hang", "slow"):
                self.slow_down(stack, trouble)
                # A busy machine is not as much quicker as its limits are.
                ticks = 10
            elif trouble != "none":
                kind, options = FAULTS[trouble]
                after = self.pick(range(5), kind)
                self.simulator.fault("**", kind, after=after, **options)
                self.case.send_opt_outs()
                self.simulator.faults.clear()
            for tick in range(ticks):
                if tick < 2 or self.account.opt_out_waiting:
                    self.case.send_opt_outs()
        self.simulator.faults.clear()
        self.judge_lane(leaving)
        waiting = self.account.opt_out_waiting
        assert not waiting, f"{waiting} are not confirmed"

    def slow_down(self, stack, trouble):
        """Let Mailchimp take 8 s for each answer, or let one of them hang."""
        connect, read = opt_out.LANE_TIMEOUT
        limits = connect / QUICKER, read / QUICKER
        stack.enter_context(patch.object(opt_out, "LANE_TIMEOUT", limits))
        seconds = opt_out.LANE_SECONDS / QUICKER
        stack.enter_context(patch.object(opt_out, "LANE_SECONDS", seconds))
        self.simulator.latency(8 / QUICKER)
        if trouble == "hang":
            route = "GET /lists/*/members/*"
            self.simulator.fault(route, "hang", seconds=60 / QUICKER)

    # === AUDIENCES, REQUIRED FIELDS, BACKUPS === #

    @rule(lambda self: self.pushing and "audiences" in WORLDS, weight=1)
    def link_another(self):
        """A manager links another audience; what was said stays known."""
        self.run()
        self.tally["audiences changed"] += 1
        self.left.append(self.audience.id)
        self.audience = self.case.audience = self.simulator.add_audience("Another")
        self.prepare_audience()
        for email in EMAILS:
            address = self.oracle.address(email)
            # Such an address is not tried again, wherever it bounced or was erased.
            given_up = address.erased or (address.bounced_at and not address.back)
            # What an archiving hid may have been found.
            given_up = given_up or address.given_up or address.hidden
            self.oracle.addresses[email] = Address(given_up=bool(given_up))
        self.oracle.owners, self.leaving = {}, set()
        for email in self.random.sample(EMAILS, self.pick(range(4))):
            self.add_in_mailchimp(email, self.pick(REACHABLE))
            address = self.oracle.address(email)
            if self.status(email) == "subscribed":
                # Nobody can tell a newer sign-up by an admin from the person's own.
                address.yes_at, address.yes_shows = self.now, True
            elif email in self.oracle.opt_outs:
                # The manager is asked about those who opted out before, and agrees.
                address.doomed, address.maybe_ours = None, True
        self.case.link()
        self.account = self.case.account = self.env["crm.mailchimp.account"].search(
            [("company_id", "=", self.account.company_id.id)]
        )
        self.account.push_enabled = True
        self.step()
        self.run()

    @rule(lambda self: self.clock_known and self.pushing, weight=1)
    def require_a_field(self):
        """For a while Mailchimp wants a value that Odoo does not have: it refuses
        changes, but opt-outs leave all the same."""
        self.run()
        self.tally["field required"] += 1
        field = self.audience.add_merge_field("Shop", "SHOP", required=True)
        for _time in range(self.pick(range(1, 4))):
            self.create()
            contact = self.pick_contact(self.is_sent)
            self.edit(contact, self.pick(CITIES))
            self.step()
        self.start_run(faulty=True)
        self.work()
        self.after_run()
        self.step()
        self.opt_out_somebody()
        leaving = self.start_lane()
        self.faulty = False
        self.case.send_opt_outs()
        self.judge_lane(leaving)
        for email in EMAILS:
            # What Mailchimp refused is not tried again before the contact changes.
            self.refused.add(email)
            address = self.oracle.address(email)
            address.restorable = address.restorable and None
        field.required = False
        for contact in self.oracle.contacts.values():
            self.edit(contact, self.city(contact))
        self.step()
        # Whether it is required is read when everything is compared.
        self.start_run(faulty=True)
        self.work("full")
        self.after_run()

    @rule(has_members("subscribed"), weight=1)
    def edit_oddly(self):
        """Somebody enters what no contact can take: nobody else waits for it."""
        email = self.pick(self.members("subscribed"))
        fields_there = self.audience.merge_fields.values()
        if self.oracle.address(email).ours and any(
            field.tag == "CITY" for field in fields_there
        ):
            self.tally["odd values"] += 1
            self.audience.edit(email, merge_fields={"CITY": ODD})

    def unsettled(self, email):
        return super().unsettled(email) or (
            self.oracle.options.sync_direction == "both"
            and self.audience.members[email].merge_fields.get("CITY") == ODD
        )

    @rule(lambda self: self.pushing, weight=1)
    def delete_by_hand(self):
        """Somebody deletes in Mailchimp what Odoo needs there."""
        audience = self.audience
        groups = {
            interest.id: category.interests
            for category in audience.categories.values()
            for interest in category.interests.values()
            if self.is_ours(interest)
        }
        tags = {tag.id: tag for tag in audience.segments.values() if self.is_ours(tag)}
        there = [f for f in audience.merge_fields.values() if f.tag == "CITY"]
        kind = self.pick(["group", "tag", "field"])
        if kind == "group" and groups:
            ref = self.pick(groups)
            del groups[ref][ref]
            for member in audience.members.values():
                member.interests -= {ref}
        elif kind == "tag" and tags:
            tag = audience.segments.pop(self.pick(tags))
            for member in audience.members.values():
                member.tags.pop(tag, None)
        elif kind == "field" and there:
            del audience.merge_fields[there[0].merge_id]
            for email, member in audience.members.items():
                member.values.pop(there[0].merge_id, None)
                # Nothing is left of what both sides had.
                self.oracle.address(email).agreed = {NEVER}
        else:
            return
        self.tally[f"{kind} deleted by hand"] += 1
        self.reborn = True

    @rule(lambda self: "backups" in WORLDS and self.backup is None, weight=1)
    def take_backup(self):
        self.run()
        self.env.flush_all()
        self.env.cr.execute("SAVEPOINT backup")
        self.backup = self.account, self.audience, self.now, self.mark()

    def mark(self):
        """Return what the database that wrote last has left in the audience."""
        categories = self.backup[1] if self.backup else self.audience
        return [c.title for c in categories.categories.values() if c.type == "hidden"]

    @rule(lambda self: self.backup and self.backup[-1] != self.mark(), weight=3)
    def restore_backup(self):
        """An older state of the database: it does not know who said no since."""
        self.tally["backups restored"] += 1
        self.env.invalidate_all()
        self.env.cr.execute("ROLLBACK TO SAVEPOINT backup")
        self.env.invalidate_all(flush=False)
        self.account, self.audience, taken_at, _mark = self.backup
        self.left = []
        self.simulator.clear_calls()
        before = {email: self.status(email) for email in EMAILS}
        self.faulty = True
        for _tick in range(6):
            run, _created = self.work()
            self.case.send_opt_outs()
            if run.state == "brake":
                break
        self.tally[f"backup: {run.state}"] += 1
        for email, old in before.items():
            # Whatever was known when the backup was made, somebody may have said no.
            new, said = self.status(email), self.oracle.opt_outs.get(email, -1)
            comes = new in REACHABLE and old not in REACHABLE
            if comes and max(said, self.oracle.said.get(email, -1)) >= taken_at:
                self.violations.append(f"{email}: {old} -> {new} by an old database")
        assert run.is_older == (run.state == "brake"), run.error_message
        for call in self.simulator.calls:
            leaves = call.method == "DELETE" or str(call.body) == LEAVES
            if call.method != "GET" and not leaves:
                self.violations.append(f"{call.method} {call.path} by an old database")
        self.over = True

    # === CLOCKS === #

    @rule()
    def change_clock(self):
        """Somebody sets Odoo's clock, and a run notes it before anything is said."""
        skew = self.pick(set(SKEWS) - {self.skew})
        self.skew, self.clock_known = skew, False
        if self.pick([True, True, False], "noted at once"):
            self.run()

    @rule(weight=1)
    def month(self):
        """A month passes: what an address said that a contact left counts no more."""
        self.run()
        self.simulator.advance(MONTH)
        for contact in self.oracle.contacts.values():
            contact.past.clear()
        for email, owners in self.oracle.owners.items():
            for key in list(owners):
                contact = self.oracle.contacts.get(key)
                if contact is None or contact not in self.oracle.eligible(email):
                    owners.discard(key)

    @rule(weight=9)
    def run(self):
        """Let it work until a run is over that began after all that was done."""
        self.start_run()
        for _attempt in range(40):
            run, created = self.work()
            if created and run.state == "done":
                break
        assert run.state == "done", (run.state, run.error_message, run.error_detail)
        self.after_run()
        self.step()

    # === PREVIEWS === #

    @rule(lambda self: self.pushing, weight=3)
    def previewed_run(self):
        """A preview changes nothing, and the run after it does what it said.

        What it reads stays in the ledger: once that is known, nothing changes there.
        """
        Run = self.env["crm.mailchimp.run"]
        domain = [("account_id", "=", self.account.id)]
        if Run.search_count([*domain, ("state", "in", Run.OPEN_STATES)]):
            return self.run()  # what began before would be none of its doing
        contacts = self.contact_rows()
        for _time in range(2):
            # The first one may find a merge field gone; the next then reads them all.
            self.preview()
        ledger = self.ledger()
        preview = self.preview()
        assert self.ledger() == ledger, "a preview changed the ledger"
        assert self.contact_rows() == contacts, "a preview changed a contact"
        said = preview.counters or {}
        self.run()
        done = Counter()
        for run in Run.search([*domain, ("id", ">", preview.id)]):
            done.update(run.counters or {})
        done["imported"] -= said.get("opt_in", 0)
        # A preview writes no contact, so it cannot know which of them refuse.
        done["brought_back"] += done["not_taken"] * bool(said.get("bring_back"))
        told = {
            "create": "created",
            "import": "imported",
            "opt_out": "opted_out",
            "bring_back": "brought_back",
            "archive": "archived",
        }
        self.tally["previews"] += 1
        if said.keys() & LOOKS:
            return  # what Mailchimp answers to a look decides about the rest
        self.tally["previews compared"] += 1
        wrong = {
            action: (said.get(action, 0), done[counter])
            for action, counter in told.items()
            if said.get(action, 0) != done[counter]
        }
        assert not wrong, f"said and done: {wrong}; {said}; {dict(done)}"

    def preview(self):
        preview = self.env["crm.mailchimp.run"].browse(
            self.account.action_preview()["res_id"]
        )
        with patch.object(type(self.account), "_push_due", lambda *args: False):
            self.case.tick()
        assert preview.state == "done", (preview.error_message, preview.error_detail)
        return preview

    def contact_rows(self):
        self.env.flush_all()
        self.env.cr.execute("SELECT p::text FROM res_partner p ORDER BY id")
        return self.env.cr.fetchall()

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

    def has_lost_opt_in(self, contact):
        return not self.partner(contact).mailchimp_opt_in

    def end(self):
        if not self.pushing:
            self.first_push()
        # Members are counted only when few were written lately.
        self.simulator.advance(11 * 60)
        for _time in range(3):
            self.run()
            self.step()
        if self.reborn:
            self.start_run()
            self.work("full")
            self.after_run()
        ledger = self.ledger()
        self.simulator.clear_calls()
        self.case.send_opt_outs()
        self.run()
        writes = [
            f"{call.method} {call.path} {call.body}"
            for call in self.simulator.calls
            if call.method != "GET"
        ]
        assert not writes, f"a further run wrote: {writes}"
        assert self.ledger() == ledger, "a further run changed the ledger"
        lines = self.env["crm.mailchimp.contact.status"].search(
            [("account_id", "=", self.account.id), ("status", "=", "waiting")]
        )
        waiting = lines.mapped("email")
        assert not waiting, f"after a quiet run {waiting} are said to be sent next"
        for contact in self.oracle.contacts.values():
            opted = self.partner(contact).mailchimp_opt_in
            if contact.doubtful:
                continue
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
    def prepare(self):
        super().prepare()
        self.other = self.env["res.company"].create({"name": "Another company"})

    def test_random_histories(self):
        print(f"\nHISTORIES={HISTORIES} STEPS={STEPS} SEED={SEED}")
        play(partial(OdooHistories, self), HISTORIES, STEPS, SEED)
