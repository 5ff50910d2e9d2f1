"""Random histories of both sides, carried by the engine alone.

A ledger in a dict, contacts in the oracle, and the simulator's rules without HTTP.
Failing calls are carried out or not, and the caller never learns which.
``ENGINE_HISTORIES`` and ``SEED`` say how many and which; both are printed, so that a
failure can be played again.
"""

import os
from datetime import datetime, timezone
from threading import RLock

from engine.address import member_hash
from engine.errors import NotFound, Rejected, Retryable, classify
from engine.gateway import Gateway
from engine.observe import observe
from engine.payload import creation
from engine.plan import Known, decide, may_restore
from watcher import EMAILS, Watcher, play, rule

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
    ordered = False  # one address after the other

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
        self.direct.fail_in = self.pick(range(11))
        self.direct.fault = self.pick(["lost", "unanswered"])
        self.start_run(faulty=True)
        try:
            self.carry_out()
        except Retryable:
            pass
        finally:
            self.direct.fail_in = None
        self.after_run()

    @rule(weight=7)
    def run(self):
        self.start_run()
        self.carry_out()
        self.after_run()

    def carry_out(self):
        self.pull()
        winners = {}
        for email in EMAILS:
            found = self.oracle.eligible(email)
            row = self.ledger.get(email)
            if found and not (
                row
                and row["no_date"]
                and self.seconds(row["no_date"]) >= found[0].opt_in
            ):
                winners[email] = found[0]
        for email, contact in winners.items():
            row = self.ledger.setdefault(email, self.new_row())
            row.update(partner_id=contact.key, wanted=True)
        for email, row in sorted(self.ledger.items()):
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
            said_no=bool(row["no_date"]),
            sent=row["values_sent"],
            seen=row["values_seen"],
            edited=row["edited"],
            refused=row["refused"],
        )

    def pull(self):
        owned = set(self.groups.values())
        listed = {}
        for status in (None, "archived"):
            page = self.gateway.members(self.audience.id, status=status)
            listed.update((m["email_address"].lower(), m) for m in page["members"])
        for email, member in listed.items():
            row = self.ledger.get(email)
            news = observe(row, member, TAGS, owned)
            if row is None:
                row = self.ledger[email] = dict(self.new_row(), origin="foreign")
            self.take(row, news)
        for email, row in self.ledger.items():
            if row["status"] and email not in listed:
                row.update(status=None, reason="forgotten")

    def has_lost_opt_in(self, contact):
        return any(
            row["no_date"] and self.seconds(row["no_date"]) >= contact.opt_in
            for email, row in self.ledger.items()
            if email in contact.emails or contact.key == row["partner_id"]
        )

    def take(self, row, news):
        if news.get("status") == "subscribed":
            row["subscribed_at"] = datetime.fromtimestamp(
                self.now, timezone.utc
            ).replace(tzinfo=None)
            row["reason"] = None
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
                self.sent(row, desired, member)
            elif operation == "archive":
                self.gateway.archive_member(ref, digest)
                row.update(
                    status="archived", status_before=row["status"], archived_by="odoo"
                )
            else:
                self.restore(email, row)
        except NotFound:
            row.update(status=None, reason="forgotten")
        except Rejected as error:
            row.update(reason=error.code, refused=desired)

    def create_member(self, email, row, desired):
        item = creation(email, desired, "subscribed")
        created, errors = self.gateway.subscribe_batch(self.audience.id, [item])
        for _email, error in errors:
            raise error
        if created:
            row.update(origin="odoo")
            self.sent(row, desired, created[0])

    def sent(self, row, desired, member):
        row.update(values_sent=desired, values_seen=None, edited=False)
        if row["origin"] == "foreign":
            row["origin"] = "claimed"
        news = observe(row, member, TAGS, set(self.groups.values()))
        self.take(row, news)
        row["edited"] = False

    def restore(self, email, row):
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
        since = row["subscribed_at"] and row["subscribed_at"].isoformat()
        verdict = may_restore(member, events, since)
        if verdict is True:
            member = self.gateway.restore_member(ref, digest, "subscribed")
            self.take(row, observe(row, member, TAGS, set(self.groups.values())))
            return
        row["reason"] = "archived"
        if isinstance(verdict, dict) and verdict["activity_type"] != "bounce":
            moment = parse_time(verdict["created_at_timestamp"])
            row["no_date"] = moment.replace(tzinfo=None)

    # === THE END === #

    def end(self):
        for _time in range(3):
            self.run()
            self.step()
        del self.direct.writes[:]
        self.run()
        assert not self.direct.writes, f"a further run wrote: {self.direct.writes}"


def test_random_histories():
    print(f"\nENGINE_HISTORIES={HISTORIES} STEPS={STEPS} SEED={SEED}")
    play(EngineHistories, HISTORIES, STEPS, SEED, shrink=True)
