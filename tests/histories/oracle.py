"""What the audience must look like after a quiet run: sections of the promise, again.

Written from the rules people were promised, not from the add-on: it follows what was
done on both sides, one event at a time, and never looks at the add-on's own tables.
Times are whole seconds of the simulated clock.
"""

import hashlib
from collections import Counter
from dataclasses import dataclass, field

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

EMAILS = [f"p{number}@firma.be" for number in range(6)]
CITIES = ["Ghent", "Paris", "Rome"]
NO = ("unsubscribed", "cleaned")
REACHABLE = ("subscribed", "pending")


@dataclass
class Contact:
    """A contact of Odoo as far as consent goes."""

    key: int
    email: str | None
    opt_in: int | None = None  # since when, None without an opt-in
    said: str | None = None  # "in" or "out": the last thing said about it
    is_company: bool = False
    active: bool = True
    values: dict = field(default_factory=dict)

    def sort_key(self):
        return (not self.is_company, self.opt_in, self.key)


@dataclass
class Address:
    """What happened to an address in Mailchimp, seen from outside."""

    no_at: int | None = None  # the person unsubscribed or complained
    hidden: bool = False  # and was archived before anybody could see it
    heard: bool = False  # a run has seen it
    maybe_heard: bool = False  # a failing run may have
    bounced_at: int | None = None
    # Whether a run saw it subscribed: only what was seen can be known to come back.
    seen: bool = False
    erased: bool = False  # permanently deleted: can never be imported again
    ours: bool = False
    maybe_ours: bool = False  # a failing run may have claimed it


class Oracle:
    """Follows events and tells what a quiet run must lead to."""

    def __init__(self):
        self.contacts = {}
        self.addresses = {}
        self.opt_outs = {}  # address -> when a contact with it last said "out"
        # Address -> the contact it was sent for last, and those a failing run may
        # have sent it for.
        self.owners = {}

    def address(self, email):
        return self.addresses.setdefault(email, Address())

    # === CONSENT IN ODOO === #

    def opt_in(self, key, now):
        contact = self.contacts[key]
        if contact.opt_in is None:
            contact.opt_in, contact.said = now, "in"

    def opt_out(self, key, now):
        contact = self.contacts[key]
        if contact.opt_in is not None:
            contact.opt_in, contact.said = None, "out"
            if contact.email:
                self.opt_outs[contact.email] = max(
                    now, self.opt_outs.get(contact.email, 0)
                )

    def merge(self, kept, others, now):
        group = [self.contacts[key] for key in (kept, *others)]
        out = any(contact.said == "out" for contact in group)
        dates = [contact.opt_in for contact in group if contact.opt_in is not None]
        survivor = self.contacts[kept]
        for key in others:
            del self.contacts[key]
        if survivor.opt_in is None and dates:
            survivor.opt_in = dates[0]
            survivor.said = "in"
        for owners in self.owners.values():
            if owners & set(others):
                owners -= set(others)
                owners.add(kept)
        if out and survivor.opt_in is not None:
            self.opt_out(kept, now)
        elif out:
            survivor.said = "out"

    # === WHAT A RUN LEARNS === #

    def affected(self, email):
        """Return the contacts whose opt-in the "no" of an address takes."""
        address = self.address(email)
        return [
            contact
            for contact in self.contacts.values()
            if address.no_at is not None
            and contact.opt_in is not None
            and contact.opt_in <= address.no_at
            and (contact.email == email or contact.key in self.owners.get(email, ()))
        ]

    def hear(self, email, contact):
        """Take the opt-in of a contact because of the "no" of an address."""
        contact.opt_in, contact.said = None, "out"
        if contact.email:
            self.opt_outs[contact.email] = max(
                self.address(email).no_at, self.opt_outs.get(contact.email, 0)
            )

    def eligible(self, email):
        """Return the contacts that may stand for an address, the winner first."""
        out = self.opt_outs.get(email, -1)
        found = [
            contact
            for contact in self.contacts.values()
            if contact.email == email
            and contact.active
            and contact.opt_in is not None
            and contact.opt_in >= out
        ]
        return sorted(found, key=Contact.sort_key)


class Watcher(RuleBasedStateMachine):
    """The steps of a history, and the judgement of what came of them.

    A harness carries the steps out on its own kind of contacts (methods below that do
    nothing here), has ``audience`` and ``now``, and calls ``before_call`` and
    ``after_call`` around each write that reaches Mailchimp.
    """

    #: What happened in all histories, to see that it was not nothing.
    tally = Counter()

    def __init__(self):
        super().__init__()
        self.oracle = Oracle()
        self.flagged = set()
        self.statuses, self.violations = {}, []
        self.faulty = False
        self.tally["histories"] += 1

    # === WHAT A HARNESS CARRIES OUT === #

    def new_contact(self, email, company, city, opted):
        """Create a contact and return its key."""
        raise NotImplementedError

    def edit_contact(self, contact, city):
        """Give a contact another name and city."""

    def set_opt_in(self, contact, opted):
        """Tick or untick the opt-in."""

    def set_active(self, contact):
        """Archive or unarchive a contact."""

    def set_email(self, contact):
        """Change the address of a contact."""

    def delete_contact(self, key):
        """Delete a contact."""

    def merge_contacts(self, kept, other):
        """Merge two contacts."""

    def flag_group(self, city):
        """Flag the filter of a city."""

    def unflag_group(self, city):
        """Take the flag off."""

    def shown(self, email):
        """Return the values and groups a member has in Mailchimp."""

    def wanted_shown(self, contact):
        """Return the values and groups a contact should have there."""

    # === JUDGEMENT === #

    def status(self, email):
        member = self.audience.members.get(email)
        return member and member.status

    def before_call(self):
        self.statuses = {
            email: member.status for email, member in self.audience.members.items()
        }

    def after_call(self, what):
        """Judge a write by what people had said at that moment.

        :param str what: method and path
        """
        for email, old in self.statuses.items():
            if hashlib.md5(email.encode()).hexdigest() in what:
                address = self.oracle.address(email)
                if old in NO:
                    self.violations.append(f"{what}: {email} is {old}")
                if not (address.ours or address.maybe_ours):
                    self.violations.append(f"{what}: {email} is somebody else's")
        for email, member in self.audience.members.items():
            old, new = self.statuses.get(email), member.status
            if old != new:
                self.tally[f"{old} -> {new}"] += 1
                self.judge(f"{what}: {email} {old} -> {new}", email, old, new)

    def judge(self, what, email, old, new):
        address = self.oracle.address(email)
        if old in NO:
            self.violations.append(f"{what}: a “no” was overwritten")
        if new in REACHABLE:
            address.seen = address.seen or not self.faulty
            if not any(
                contact.email == email and contact.opt_in is not None
                for contact in self.oracle.contacts.values()
            ):
                self.violations.append(f"{what}: nobody agreed")
            elif old is not None and address.no_at is not None:
                self.violations.append(f"{what}: the person had said no")
            elif old is not None and address.bounced_at is not None:
                self.violations.append(f"{what}: the address had bounced")

    # === STEPS IN ODOO === #

    @initialize(
        people=st.lists(st.tuples(st.booleans(), st.booleans()), min_size=5, max_size=9)
    )
    def begin(self, people):
        """Start with contacts, a stranger and a filter: most is about changes."""
        for number, (company, opted) in enumerate(people):
            email = EMAILS[number % (len(EMAILS) - 2)]
            self.create_contact(email, company, CITIES[number % 3], number < 5 or opted)
        first = min(self.oracle.contacts)
        self.set_opt_in(self.oracle.contacts[first], False)
        self.oracle.opt_out(first, self.now)
        self.step()
        self.sign_up_in_mailchimp(EMAILS[-1])
        self.flag_or_not(CITIES[0])
        self.run()

    def pick(self, data, choices):
        return data.draw(st.sampled_from(sorted(choices)))

    def pick_contact(self, data):
        return self.oracle.contacts[self.pick(data, self.oracle.contacts)]

    @rule(
        email=st.sampled_from(EMAILS),
        company=st.booleans(),
        city=st.sampled_from(CITIES),
        opted=st.booleans(),
    )
    def create(self, email, company, city, opted):
        self.create_contact(email, company, city, opted)

    def create_contact(self, email, company, city, opted):
        key = self.new_contact(email, company, city, opted)
        self.oracle.contacts[key] = Contact(key, email, is_company=company)
        self.edit_contact(self.oracle.contacts[key], city)
        if opted:
            self.oracle.opt_in(key, self.now)
        self.step()

    @precondition(lambda self: self.oracle.contacts)
    @rule(data=st.data(), city=st.sampled_from([*CITIES, False]))
    def edit(self, data, city):
        self.edit_contact(self.pick_contact(data), city)
        self.step()

    @precondition(lambda self: self.oracle.contacts)
    @rule(data=st.data(), opted=st.booleans())
    def opt_in_or_out(self, data, opted):
        contact = self.pick_contact(data)
        self.set_opt_in(contact, opted)
        if opted:
            self.oracle.opt_in(contact.key, self.now)
        else:
            self.oracle.opt_out(contact.key, self.now)
        self.step()

    @precondition(lambda self: self.oracle.contacts)
    @rule(data=st.data())
    def archive_or_not(self, data):
        contact = self.pick_contact(data)
        contact.active = not contact.active
        self.set_active(contact)
        self.step()

    @precondition(lambda self: self.oracle.contacts)
    @rule(data=st.data())
    def delete(self, data):
        key = self.pick_contact(data).key
        self.delete_contact(key)
        del self.oracle.contacts[key]
        self.step()

    @precondition(lambda self: self.oracle.contacts)
    @rule(data=st.data(), email=st.sampled_from([*EMAILS, None]))
    def change_address(self, data, email):
        contact = self.pick_contact(data)
        contact.email = email
        self.set_email(contact)
        self.step()

    @precondition(lambda self: sum(c.active for c in self.oracle.contacts.values()) > 1)
    @rule(data=st.data())
    def merge(self, data):
        active = {key for key, c in self.oracle.contacts.items() if c.active}
        kept = self.pick(data, active)
        other = self.pick(data, active - {kept})
        self.merge_contacts(kept, other)
        self.oracle.merge(kept, [other], self.now)
        self.merged(self.oracle.contacts[kept])
        self.step()

    def merged(self, contact):
        """Take over what the merge made of the contact's other values."""

    @rule(city=st.sampled_from(CITIES))
    def flag(self, city):
        self.flag_or_not(city)

    def flag_or_not(self, city):
        if city in self.flagged:
            self.flagged.discard(city)
            self.unflag_group(city)
        else:
            self.flagged.add(city)
            self.flag_group(city)
        self.step()

    # === STEPS IN MAILCHIMP === #

    def unsure(self, address):
        """Tell whether a failing run may have seen a "no" that nobody else saw."""
        return address.maybe_heard and not address.heard

    def members(self, *statuses):
        return [email for email in EMAILS if self.status(email) in statuses]

    @precondition(lambda self: self.members("subscribed"))
    @rule(data=st.data(), complains=st.booleans())
    def say_no(self, data, complains):
        email = self.pick(data, self.members("subscribed"))
        if complains:
            self.audience.complain(email)
        else:
            self.audience.unsubscribe(email, reason="enough")
        self.oracle.address(email).no_at = self.now
        self.step()

    @precondition(lambda self: self.members("subscribed"))
    @rule(data=st.data(), complains=st.booleans())
    def hide_a_no(self, data, complains):
        """Somebody says no and is archived before a run could see the "no"."""
        email = self.pick(data, self.members("subscribed"))
        if complains:
            self.audience.complain(email)
        else:
            self.audience.unsubscribe(email)
        self.audience.archive(email)
        self.oracle.address(email).no_at = self.now
        self.oracle.address(email).hidden = True
        self.step()

    @precondition(lambda self: self.members("subscribed"))
    @rule(data=st.data(), kind=st.sampled_from(["hard", "soft"]))
    def bounce(self, data, kind):
        email = self.pick(data, self.members("subscribed"))
        self.audience.bounce(email, kind)
        if kind == "hard":
            self.oracle.address(email).bounced_at = self.now
        self.step()

    @precondition(lambda self: self.members("subscribed", *NO))
    @rule(data=st.data())
    def archive_by_hand(self, data):
        email = self.pick(data, self.members("subscribed", *NO))
        address = self.oracle.address(email)
        if self.unsure(address):
            return
        self.audience.archive(email)
        address.hidden = address.no_at is not None and not address.heard
        self.step()

    @precondition(lambda self: self.members("subscribed", "archived", *NO))
    @rule(data=st.data())
    def erase(self, data):
        email = self.pick(data, self.members("subscribed", "archived", *NO))
        address = self.oracle.address(email)
        if self.unsure(address):
            return
        self.audience.delete_permanently(email)
        address.erased = True
        if not address.heard:
            # Mailchimp does not tell any more what the person had said.
            address.no_at = None
        self.step()

    @precondition(lambda self: self.members("subscribed"))
    @rule(data=st.data(), city=st.sampled_from(CITIES))
    def edit_in_mailchimp(self, data, city):
        email = self.pick(data, self.members("subscribed"))
        if any(field.tag == "CITY" for field in self.audience.merge_fields.values()):
            self.audience.edit(email, merge_fields={"CITY": city})
        self.step()

    @rule(email=st.sampled_from(EMAILS))
    def sign_up(self, email):
        self.sign_up_in_mailchimp(email)

    def sign_up_in_mailchimp(self, email):
        if self.status(email) is None and not self.oracle.address(email).erased:
            self.audience.add_member(email, merge_fields={"FNAME": "Foreign"})
        self.step()

    # === RUNS AND THE END === #

    def start_run(self, faulty=False):
        """Note what a run that starts now learns, and whose addresses it may send."""
        self.faulty = faulty
        self.tally["runs"] += 1
        for email, address in self.oracle.addresses.items():
            # A "no" that an archiving hid is found when the member is to come back.
            shows = not address.hidden or (address.seen and self.oracle.eligible(email))
            address.maybe_heard |= address.no_at is not None
            if address.no_at is not None and shows and not faulty:
                address.heard = True
                for contact in self.oracle.affected(email):
                    self.oracle.hear(email, contact)
        for email in self.members("subscribed"):
            address = self.oracle.address(email)
            address.seen = address.seen or not faulty
        for email in EMAILS:
            found = self.oracle.eligible(email)
            if found:
                address = self.oracle.address(email)
                owners = self.oracle.owners.setdefault(email, set())
                if faulty:
                    address.maybe_ours = True
                else:
                    address.ours = True
                    owners.clear()
                owners.add(found[0].key)

    def after_failing_run(self):
        """Take over how far the run got in taking opt-ins, if it rightly did."""
        for email in list(self.oracle.addresses):
            for contact in self.oracle.affected(email):
                if self.has_lost_opt_in(contact):
                    self.oracle.hear(email, contact)

    def has_lost_opt_in(self, contact):
        """Tell whether the run took the opt-in of a contact."""
        return True

    def compare(self):
        for email in EMAILS:
            self.tally[f"in the end {self.status(email)}"] += 1
        assert not self.violations, self.violations
        for email in EMAILS:
            self.compare_address(email)

    def compare_address(self, email):
        address = self.oracle.address(email)
        status = self.status(email)
        found = self.oracle.eligible(email)
        context = f"{email}: {status}; {address}; eligible {found}"
        if address.erased:
            assert status is None, context
        elif status in NO:
            pass  # every write to it was judged
        elif address.no_at is not None or address.bounced_at is not None:
            # It was hidden by an archiving: it does not come back by us.
            assert status in ("archived", None), context
        elif found and status == "archived" and not address.seen:
            pass  # no run is sure to have seen it subscribed: it need not come back
        elif found:
            assert status == "subscribed", context
            shown, wanted = self.shown(email), self.wanted_shown(found[0])
            assert shown == wanted, f"{context}: {shown}, expected {wanted}"
        elif status == "subscribed":
            assert not address.ours, f"{context}: should have left"
            if not address.maybe_ours:
                shown = self.audience.members[email].merge_fields["FNAME"]
                assert shown == "Foreign", f"{context}: {shown}"
