"""Random histories of both sides, carried by the engine alone.

A ledger in a dict, contacts in the oracle, and the simulator's rules without HTTP.
Failing calls are carried out or not, and the caller never learns which.
``ENGINE_HISTORIES`` and ``SEED`` say how many and which; both are printed, so that a
failure can be played again.
"""

import os
from datetime import datetime, timezone
from threading import RLock

import pytest
from engine.address import member_hash
from engine.errors import NotFound, Rejected, Retryable, classify
from engine.gateway import Gateway
from engine.observe import observe, said, utc
from engine.payload import creation
from engine.plan import Known, decide, may_restore
from oracle import REACHABLE, Options
from watcher.drawing import rule
from watcher.harness import EMAILS
from watcher.history import Watcher
from watcher.play import play, play_and_shrink

from mailchimp_simulator import problems, routing
from mailchimp_simulator import routes as _routes  # noqa: F401 (registers them)
from mailchimp_simulator.acts import AudienceActs
from mailchimp_simulator.state import DEFAULT_KEY, Account, parse_time
from mailchimp_simulator.switches import Switches

HISTORIES = int(os.environ.get("ENGINE_HISTORIES") or 300)
STEPS = int(os.environ.get("STEPS") or 30)
SEED = int(os.environ.get("SEED") or 1)
TAGS = ["FNAME", "CITY"]


class Direct:
    """The gateway on the simulator's rules, without a server between them."""

    def __init__(self, account, watcher):
        self.account, self.watcher = account, watcher
        self.fail_in = None
        self.writes = []
        self.gateway = Gateway(DEFAULT_KEY, api_url="http://127.0.0.1:9/3.0")
        self.gateway._transport.request = self.request

    def request(self, method, url, query_params=None, headers=None, body=None):
        path = url.split("/3.0", 1)[1]
        failure = None
        if self.fail_in is not None:
            self.fail_in -= 1
            if self.fail_in < 0:
                failure, self.fail_in = self.fault, None
        if failure == "lost":
            raise Retryable("not carried out", outcome_unknown=method != "GET")
        if method != "GET":
            self.writes.append(f"{method} {path} {body}")
            self.watcher.before_call(f"{method} {path}")
        query = dict(query_params or ())
        request = routing.Request(self.account, method, path, query, body)
        try:
            found, values = routing.match(method, path)
            data = found.handler(request, **values)
            data = routing.shaped(data, query)
        except problems.Problem as problem:
            raise classify(
                problem.status, problem.body(""), method=method, path=path
            ) from None
        finally:
            if method != "GET":
                self.watcher.after_call(f"{method} {path} {body}")
        if failure == "unanswered":
            raise Retryable("carried out, unanswered", outcome_unknown=True)
        return data or {}


class EngineHistories(Watcher):
    def __init__(self):
        super().__init__()
        self.account = Account(Switches())
        self.account.listener = None
        audience = self.account.add_audience("Test")
        audience.add_merge_field("First Name", "FNAME", "text")
        audience.add_merge_field("City", "CITY", "text")
        self.audience = AudienceActs(audience, RLock())
        self.direct = Direct(self.account, self)
        self.gateway = self.direct.gateway
        self.ledger = {}
        # The list of "no", as far as Mailchimp is asked, and when each was lifted.
        self.said, self.lifted = {}, {}
        # Address -> when a contact that was eligible with it said no.
        self.claimed = {}
        self.groups = {}
        self.category = self.audience.add_category("CRM contacts")
        self.keys = 0
        self.step()

    # === WHAT THE HARNESS NEEDS === #

    @property
    def now(self):
        return self.account.clock.now()

    def step(self):
        self.account.clock.advance(61)

    def options(self):
        return Options(double_opt_in=self.pick([False, False, True]))

    def choose(self, options):
        switches = self.account.switches
        switches.feed_has_unsubscribes_outside_campaigns = self.pick([False, True])

    def shows_unsubscribes(self):
        return self.account.switches.feed_has_unsubscribes_outside_campaigns

    def set_opt_in(self, contact, opted):
        if not opted:
            self.note_claimed(contact)

    def set_blacklisted(self, email):
        added = email in self.oracle.blacklist
        for contact in self.oracle.contacts.values() if added else ():
            if email in contact.emails and contact.opt_in is not None:
                self.claimed[email] = self.now

    def note_claimed(self, contact):
        for email in contact.emails:
            if contact in self.standing(email):
                self.claimed[email] = self.now

    def new_contact(self, email, company, city, opted):
        self.keys += 1
        return self.keys

    def edit_contact(self, contact, city):
        self.keys += 1
        contact.values["FNAME"] = f"E{self.keys}"

    def delete_contact(self, key):
        for row in self.ledger.values():
            if row["partner_id"] == key:
                row["partner_id"] = None

    def merge_contacts(self, kept, other):
        for row in self.ledger.values():
            if row["partner_id"] == other:
                row["partner_id"] = kept

    def flag_group(self, city):
        self.groups[city] = self.audience.add_interest(self.category, f"In {city}").id

    def unflag_group(self, city):
        ref = self.groups.pop(city)
        self.gateway.delete_interest(self.audience.id, self.category.id, ref)

    def shown(self, email):
        member = self.audience.members[email]
        values = member.merge_fields
        groups = sorted(
            city for city, ref in self.groups.items() if ref in member.interests
        )
        return values["FNAME"], values["CITY"], groups

    def wanted_shown(self, contact):
        city = contact.values.get("CITY") or ""
        groups = [city] if city in self.groups else []
        return contact.values["FNAME"], city, groups

    # === A RUN OF THE ENGINE === #

    @rule(weight=7)
    def failing_run(self):
        self.start_run(faulty=True)
        self.fail(self.carry_out, 11)
        self.after_run()

    def fail(self, work, calls):
        self.direct.fault = self.pick(["lost", "unanswered"])
        self.direct.fail_in = self.pick(range(calls))
        try:
            work()
        except Retryable:
            pass
        finally:
            self.direct.fail_in = None

    @rule(weight=7)
    def run(self):
        self.start_run()
        self.carry_out()
        self.after_run()

    @rule(weight=6)
    def lane(self):
        """Opt-outs are confirmed by the lane alone."""
        fails = self.faulty = self.pick([False, False, True])
        for _time in range(self.pick([0, 1])):
            self.opt_out_somebody()
        leaving = self.start_lane()
        if fails:
            self.fail(self.send_opt_outs, 5)
        self.send_opt_outs()
        self.judge_lane(leaving)

    def carry_out(self):
        self.pull()
        winners = {}
        for email in EMAILS:
            found = self.standing(email)
            there = email in self.ledger and self.ledger[email]["status"] in REACHABLE
            if found and (self.pushing or there):
                row = self.ledger.setdefault(email, self.new_row())
                row.update(partner_id=found[0].key)
                if row["origin"] == "foreign":
                    row["origin"] = "claimed"
                winners[email] = found[0]
        self.send_opt_outs()
        for email, row in sorted(self.ledger.items()) if self.pushing else ():
            row["wanted"] = email in winners
            contact = winners.get(email)
            desired = contact and self.desired(contact)
            operation, body = decide(
                self.known(row), row["wanted"], desired, TAGS, set(self.groups.values())
            )
            row["operation"] = operation
            if operation:
                self.execute(operation, email, row, desired, body)
                row["operation"] = None

    def standing(self, email, scoped=True):
        """Return the contacts that stand for an address, by the list of "no"."""
        out, yes = self.oracle.opt_outs.get(email, -1), self.lifted.get(email, -1)
        return self.oracle.standing(
            email, self.said.get(email), -1 if out <= yes else out, scoped
        )

    def send_opt_outs(self):
        for email, row in sorted(self.ledger.items()):
            ours = row["origin"] != "foreign" or email in self.claimed
            out, yes = self.oracle.opt_outs.get(email, -1), self.lifted.get(email, -1)
            owner = self.oracle.contacts.get(row["partner_id"])
            gone = owner and owner.said == "out" and owner.out_at > yes
            if (
                ours
                and (out > yes or gone)
                and row["status"] in REACHABLE
                and not self.standing(email, scoped=False)
            ):
                self.let_go(email, row)

    def let_go(self, email, row):
        earlier = {"sending": row["sending"], "sent_at": row["sent_at"]}
        now = datetime.fromtimestamp(self.now, timezone.utc).replace(tzinfo=None)
        row.update(sending="archive", sent_at=now)
        try:
            seen, left = self.gateway.let_go(self.audience.id, member_hash(email))
        except Retryable as error:
            if not error.outcome_unknown:
                row.update(earlier)
            raise
        if seen and seen["status"] not in REACHABLE:
            row.update(earlier)
        if left is None:
            row.update(status=None, reason="forgotten", sending=None)
            return
        self.take(email, row, seen)
        self.take(email, row, left)
        if left is not seen:
            row.update(last_changed=utc(left["last_changed"]))
            if left["status"] == "archived":
                row.update(status_before=seen["status"], archived_by="odoo")
        row.update(sending=None)

    def desired(self, contact):
        merge = {tag: text for tag, text in contact.values.items() if text}
        city = contact.values.get("CITY")
        return {"m": merge, "i": [self.groups[city]] if city in self.groups else []}

    @staticmethod
    def seconds(moment):
        return moment.replace(tzinfo=timezone.utc).timestamp()

    def new_row(self):
        return {
            "status": None,
            "status_before": None,
            "archived_by": None,
            "last_changed": None,
            "sending": None,
            "sent_at": None,
            "values_sending": None,
            "operation": None,
            "values_sent": None,
            "values_seen": None,
            "edited": False,
            "partner_id": None,
            "no_date": None,
            "web_id": None,
            "origin": "odoo",
            "reason": None,
            "refused": None,
            "wanted": False,
            "subscribed_at": None,
        }

    def known(self, row):
        return Known(
            status=row["status"],
            ours=row["origin"] != "foreign",
            status_before=row["status_before"],
            reason=row["reason"],
            by_odoo=row["archived_by"] == "odoo",
            sent=row["values_sent"],
            seen=row["values_seen"],
            edited=row["edited"],
            refused=row["refused"],
        )

    def pull(self):
        listed = {}
        for status in (None, "archived"):
            page = self.gateway.members(self.audience.id, status=status)
            listed.update((m["email_address"].lower(), m) for m in page["members"])
        for email, member in listed.items():
            row = self.ledger.get(email)
            if row is None:
                row = self.ledger[email] = dict(self.new_row(), origin="foreign")
                self.take(email, row, member, new=True)
            else:
                self.take(email, row, member)
            row["sending"] = None
        for email, row in self.ledger.items():
            if row["status"] and email not in listed:
                row.update(status=None, reason="forgotten")

    def facts(self):
        lines = [f"    {contact}" for contact in self.oracle.contacts.values()]
        lines += [f"    said {self.said}, lifted {self.lifted}"]
        return lines + [f"    {email}: {row}" for email, row in self.ledger.items()]

    def has_lost_opt_in(self, contact):
        return any(
            no_at >= contact.opt_in
            and (
                email in contact.emails
                or contact.key == self.ledger[email]["partner_id"]
            )
            for email, no_at in self.said.items()
        )

    def take(self, email, row, member, new=False):
        """Bring the ledger and the list of "no" up to what Mailchimp shows."""
        known = None if new else row
        news = observe(known, member, TAGS, set(self.groups.values()))
        what, when = said(known, member, news)
        if what == "yes":
            when = self.seconds(when)
            if self.said.get(email, when) < when:
                del self.said[email]
            self.lifted[email] = when
            if self.claimed.get(email, when) < when:
                del self.claimed[email]
        elif what == "unsubscribed":
            self.said[email] = self.seconds(when)
        if news.get("status") == "subscribed":
            now = datetime.fromtimestamp(self.now, timezone.utc)
            row.update(subscribed_at=now.replace(tzinfo=None), reason=None)
        row.update(news)

    def execute(self, operation, email, row, desired, body):
        ref, digest = self.audience.id, member_hash(email)
        if operation == "adopt":
            origin = "claimed" if row["origin"] == "foreign" else row["origin"]
            row.update(values_sent=desired, values_seen=None, edited=False)
            row["origin"] = origin
            return
        try:
            if operation == "create":
                self.create_member(email, row, desired)
            elif operation == "update":
                member = self.gateway.patch_member(ref, digest, body)
                self.sent(email, row, desired, member)
            elif operation == "archive":
                self.let_go(email, row)
            else:
                self.restore(email, row, operation)
        except NotFound:
            row.update(status=None, reason="forgotten")
        except Rejected as error:
            row.update(reason=error.code, refused=desired)

    def create_member(self, email, row, desired):
        item = creation(
            email,
            desired,
            "pending" if self.oracle.options.double_opt_in else "subscribed",
        )
        created, errors = self.gateway.subscribe_batch(self.audience.id, [item])
        for _email, error in errors:
            raise error
        if created:
            row.update(origin="odoo")
            self.sent(email, row, desired, created[0])

    def sent(self, email, row, desired, member):
        row.update(values_sent=desired, values_seen=None, edited=False)
        if row["origin"] == "foreign":
            row["origin"] = "claimed"
        self.take(email, row, member)
        row["edited"] = False

    def restore(self, email, row, operation):
        ref, digest = self.audience.id, member_hash(email)
        member = self.gateway.member(ref, digest)
        events = self.gateway.activity_feed(ref, digest)
        events += [
            {
                "activity_type": event.get("action"),
                "bounce_type": event.get("type"),
                "created_at_timestamp": event.get("timestamp"),
            }
            for event in self.gateway.recent_activity(ref, digest)
        ]
        since, changed = row["subscribed_at"], row["last_changed"]
        verdict = may_restore(
            member,
            events,
            since and since.isoformat(),
            f"{changed.isoformat()}+00:00"
            if changed and operation == "restore"
            else None,
        )
        if verdict is True and operation == "restore":
            member = self.gateway.restore_member(ref, digest, "subscribed")
            self.take(email, row, member)
            row.update(archived_by=None, status_before=None)
            return
        row["reason"] = "archived"
        if isinstance(verdict, dict) and verdict["activity_type"] != "bounce":
            self.said[email] = parse_time(verdict["created_at_timestamp"]).timestamp()

    # === THE END === #

    def end(self):
        if not self.pushing:
            self.first_push()
        for _time in range(3):
            self.run()
            self.step()
        del self.direct.writes[:]
        self.run()
        assert not self.direct.writes, f"a further run wrote: {self.direct.writes}"


def test_random_histories():
    print(f"\nENGINE_HISTORIES={HISTORIES} STEPS={STEPS} SEED={SEED}")
    play(EngineHistories, HISTORIES, STEPS, SEED)


@pytest.mark.long
def test_shortest_histories():
    print(f"\nENGINE_HISTORIES={HISTORIES} STEPS={STEPS} SEED={SEED}")
    play_and_shrink(EngineHistories, HISTORIES, STEPS, SEED)
