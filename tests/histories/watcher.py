"""The steps of a history, and the judgement of what came of them."""

import hashlib
import os
import random
import re
from collections import Counter
from dataclasses import asdict

import hypothesis
from hypothesis import stateful
from hypothesis import strategies as st
from oracle import NEVER, NO, REACHABLE, Contact, Options, Oracle

EMAILS = [f"p{number}@firma.be" for number in range(8)]
# What is written to a pending member that leaves: Mailchimp does not archive it.
LEAVES = str({"status": "unsubscribed"})
CITIES = ["Ghent", "Paris", "Rome"]


def rule(possible=lambda self: True, weight=2):
    """Make a method a step of histories.

    :param possible: tells whether it is possible now
    :param int weight: how often it happens, compared with others
    """

    def mark(method):
        method.possible, method.weight = possible, weight
        return method

    return mark


def has_contacts(self):
    return bool(self.oracle.contacts)


def has_members(*statuses):
    return lambda self: bool(self.members(*statuses))


def play(harness, histories, steps, seed):
    """Play histories of a harness, and print what happened in them.

    Each has a seed of its own: ``HISTORY`` names the only one to be played, and
    ``PORTION=1/3`` every third one, beginning with number 1. One that fails does not
    keep the others from being played.

    :param harness: called without arguments for each history
    :raise AssertionError: names the histories that failed
    """
    only = os.environ.get("HISTORY")
    portion, portions = map(int, os.environ.get("PORTION", "0/1").split("/"))
    failed = []
    for number in [int(only)] if only else range(portion, histories, portions):
        history = harness()
        history.random = random.Random(f"{seed}/{number}")
        history.tell(f"SEED={seed} HISTORY={number}")
        try:
            history.go("begin")
            for _step in range(steps):
                if not history.over:
                    history.go(history.pick(history.possible(), "step"))
            if not history.over:
                history.finish()
        except Exception as error:  # noqa: BLE001 (whatever went wrong in it)
            print(f"FAILED: SEED={seed} HISTORY={number}: {error!r}", flush=True)
            failed.append((number, error))
        finally:
            history.close()
    print(dict(sorted(Watcher.tally.items())))
    if failed:
        numbers = [number for number, _error in failed]
        raise AssertionError(f"SEED={seed}: failed: {numbers}") from failed[0][1]


def play_and_shrink(harness, histories, steps, seed):
    """Let hypothesis play histories, and look for the shortest one that fails.

    Its choices are less even than those of :func:`play`: true randomness cannot be made
    simpler.
    """

    class Histories(stateful.RuleBasedStateMachine):
        def __init__(self):
            super().__init__()
            self.history, self.unbroken = harness(), True

        def go(self, name):
            self.unbroken = False
            self.history.go(name)
            self.unbroken = True

        @stateful.initialize(random=st.randoms(use_true_random=False))
        def begin(self, random):
            self.history.random = random
            self.go("begin")

        @stateful.rule()
        def step(self):
            self.go(self.history.pick(self.history.possible(), "step"))

        def teardown(self):
            try:
                if self.unbroken:
                    self.history.finish()
            finally:
                self.history.close()

    test = stateful.get_state_machine_test(
        Histories,
        settings=hypothesis.settings(
            max_examples=histories,
            stateful_step_count=steps,
            deadline=None,
            database=None,
            report_multiple_bugs=False,
            suppress_health_check=list(hypothesis.HealthCheck),
            phases=[hypothesis.Phase.generate, hypothesis.Phase.shrink],
        ),
        _min_steps=steps,
    )
    hypothesis.seed(seed)(test)()
    print(dict(sorted(Watcher.tally.items())))


class Watcher:
    """Lets things happen on both sides and judges every write.

    A harness carries the steps out on its own kind of contacts (methods below that do
    nothing here), has ``audience`` and ``now``, and calls ``before_call`` and
    ``after_call`` around each write that reaches Mailchimp.
    """

    #: What happened in all histories, to see that it was not nothing.
    tally = Counter()

    def __init__(self):
        self.oracle = Oracle()
        self.oracle.is_waiting = lambda email: (
            self.status(email) == "pending" and self.oracle.address(email).asked
        )
        self.flagged = set()
        self.before, self.violations = {}, []
        self.leaving, self.cities, self.unjudged = set(), [], []
        self.imports, self.importing = {}, set()
        self.faulty = False
        self.story = []
        # Nothing can be told any more of what comes.
        self.over = False
        # Whether a manager has started the first push.
        self.pushing = True
        # Whether Odoo knows how far its clock is from Mailchimp's.
        self.clock_known = True
        # Who said no while a run was under way: it cannot know in time.
        self.meanwhile = set()
        # Whose values Mailchimp may have refused.
        self.refused = set()
        # Contacts that may have lost their opt-in, and to which "no"; and who was
        # archived because of it, if it was not for nothing.
        self.doubts, self.doubtful_archives = [], []
        # Whether somebody signed up whose earlier member was erased: what only the
        # weekly comparison finds, if no run saw the address unknown in between.
        self.reborn = False
        self.tally["histories"] += 1

    # === WHAT A HARNESS CARRIES OUT === #

    def options(self):
        """Return what a manager has chosen for this history."""
        return Options()

    def choose(self, options):
        """Set the options of the account."""

    def start_push(self):
        """Let a manager start the first push."""

    def shows_unsubscribes(self):
        """Return whether an unsubscribe outside a campaign shows in the activity."""
        return False

    def run(self):
        """Let a run work that meets with no trouble."""
        raise NotImplementedError

    def step(self):
        """Let time go on: what comes later is later on both sides."""
        raise NotImplementedError

    def end(self):
        """Let runs work until nothing is left to do, and nothing more is done."""
        raise NotImplementedError

    def close(self):
        """Leave nothing behind for the next history."""

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
        """Change the addresses of a contact."""

    def set_company(self, contact):
        """Let a contact belong to another company, or to none."""

    def set_blacklisted(self, email):
        """Put an address on the blacklist, or take it off."""

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

    def imported(self, email, there):
        """Return the contact a run made or found for a foreign member, if it did.

        :param there: the contact that should have been found, or ``0``
        """

    def city(self, contact):
        """Return the city a contact has now."""
        return contact.values.get("CITY") or ""

    # === JUDGEMENT === #

    def status(self, email):
        member = self.audience.members.get(email)
        return member and member.status

    def is_ours(self, segment_or_interest):
        """Return whether a group or tag is one of ours: filters are named alike."""
        return segment_or_interest.name.startswith("In ")

    def theirs(self, member):
        """Return what a member has that no filter and no mapping stands for."""
        interests = {
            interest.name
            for category in self.audience.categories.values()
            for interest in category.interests.values()
            if interest.id in member.interests and not self.is_ours(interest)
        }
        tags = {tag.name for tag in member.tags if not self.is_ours(tag)}
        return interests, tags, member.merge_fields.get("NOTE"), member.vip

    def before_call(self, what):
        members = self.audience.members
        self.before = {email: (m, m.status) for email, m in members.items()}
        self.untouchable = [(m, self.theirs(m)) for m in members.values()]

    def after_call(self, what, delayed=False):
        """Judge a write by what people had said at that moment.

        :param str what: method, path and body
        :param bool delayed: it was handed over earlier, and is carried out now
        """
        now = self.audience.members
        self.tell(f"    > {what}")
        # Others may leave in the same go.
        leaves = what.startswith("DELETE") or LEAVES in what
        if not self.pushing and not leaves:
            self.violations.append(f"{what}: nobody has started the push")
        for email in () if leaves or delayed else self.leaving - self.meanwhile:
            if self.before[email][1] in REACHABLE:
                self.violations.append(f"{what}: before {email} left")
        for email, (_member, old) in self.before.items():
            if hashlib.md5(email.encode(), usedforsecurity=False).hexdigest() in what:
                address = self.oracle.address(email)
                asks = address.asked and "'pending'" in what
                late = delayed or email in self.meanwhile
                if old in NO and not asks and not late:
                    self.violations.append(f"{what}: {email} is {old}")
                archives = what.startswith("POST /batches") and "'DELETE'" in what
                doomed = (leaves or archives) and (
                    address.doomed is not False
                    # Whether the contact had the address by then is not known.
                    or self.oracle.is_opted_out(email)
                )
                if not (address.ours or address.maybe_ours or doomed):
                    self.violations.append(f"{what}: {email} is somebody else's")
        for email in self.before.keys() | now.keys():
            old, new = self.before.get(email, (None, None))[1], self.status(email)
            if old != new:
                self.tally[f"{old} -> {new}"] += 1
                self.tell(f"    > {email} {old} -> {new}")
                self.judge(f"{what}: {email} {old} -> {new}", email, old, new, delayed)
        self.note_removal(what)
        places = {member: email for email, member in now.items()}
        for old_email, (member, _status) in self.before.items():
            if member not in places:
                self.violations.append(f"{what}: {old_email} was erased")
            elif places[member] != old_email:
                moved = self.oracle.address(places[member])
                former = self.oracle.address(old_email)
                moved.agreed, moved.invited = former.agreed, former.invited
                self.tally["moved"] += 1
        for member, theirs in self.untouchable:
            if self.theirs(member) != theirs:
                self.violations.append(f"{what}: {theirs} of {member} was touched")

    def note_removal(self, what):
        """Mailchimp changes everybody who was in a tag, archived members, too.

        When a call gets no answer, nobody knows that this was Odoo's own doing.
        """
        if self.faulty and re.match("DELETE .*/(segments|interests)/", what):
            for address in self.oracle.addresses.values():
                address.restorable = address.restorable and None

    def may_leave_scope(self, email):
        """Return whether a value brought back by this run ends the scope."""
        return self.oracle.options.partner_domain != "[]" and any(
            there == email
            and "Rome" in self.oracle.settle(*values, self.oracle.address(email).agreed)
            for there, _contact, *values in self.cities
        )

    def judge(self, what, email, old, new, delayed):
        address = self.oracle.address(email)
        asks = new == "pending" and address.asked
        late = new == "archived" and (delayed or email in self.meanwhile)
        if old in NO and not late and not (asks and old == "unsubscribed"):
            self.violations.append(f"{what}: a “no” was overwritten")
        if new not in REACHABLE:
            address.known_out = None if self.faulty else True
        if new == "unsubscribed" and old != "pending":
            self.violations.append(f"{what}: nobody said so")
        if new == "cleaned":
            self.violations.append(f"{what}: nothing bounced")
        if new == "archived":
            # What somebody said in the same moment is buried.
            address.hidden |= old in NO and not address.heard
            sure = address.seen and not self.faulty and not delayed
            address.restorable = old == "subscribed" and (sure or None)
            excused = self.faulty or delayed or self.may_leave_scope(email)
            if self.oracle.eligible(email) and not excused:
                self.doubtful_archives.append((what, email))
                if not self.doubts:
                    self.judge_archives()
        if new in REACHABLE:
            address.seen = new == "subscribed" and (address.seen or not self.faulty)
            address.known_out = None if self.faulty else False
            if email not in self.importing and not self.oracle.eligible(
                email, scoped=False, asking=asks
            ):
                self.violations.append(f"{what}: nobody agreed")
            elif old is not None and address.barred and not asks:
                self.violations.append(f"{what}: the last word was no")
            elif old == "archived" and address.restorable is False and not asks:
                self.violations.append(f"{what}: it was not Odoo that archived it")
            address.restorable = False
        if old is None and new in REACHABLE:
            city = self.audience.members[email].merge_fields.get("CITY") or ""
            # A call without an answer leaves nothing that was agreed on.
            address.agreed = {city, NEVER} if self.faulty else {city}
            address.invited = False
        if new == "pending" and not (self.oracle.options.double_opt_in or asks):
            self.violations.append(f"{what}: nobody wanted it asked")

    def judge_archives(self):
        """Judge who was archived, once it is known whose opt-ins the run took."""
        for what, email in self.doubtful_archives:
            if self.oracle.eligible(email):
                self.violations.append(f"{what}: it belongs there")
        self.doubtful_archives = []

    def carried_out(self, what, carry_out):
        """Judge what Mailchimp does now of what was handed over to it earlier."""
        self.before_call(what)
        try:
            return carry_out()
        finally:
            self.after_call(what, delayed=True)
            self.before_call(what)

    # === WHO SAID NO IN ODOO === #

    def must_leave(self):
        """Return the members that leave in the lane of opt-outs."""
        found = set()
        for email in self.members(*REACHABLE):
            address, owners = self.oracle.address(email), self.oracle.owners.get(email)
            if not address.ours or self.oracle.eligible(
                email, scoped=False, lenient=True
            ):
                continue
            if any(
                contact.doubtful and email in contact.emails
                for contact in self.oracle.contacts.values()
            ):
                # An opt-in dated by a wrong clock may be later than the opt-out.
                continue
            yes_at = max(self.oracle.lifted.get(email, -1), address.yes_at or -1)
            # A contact that left the address and opted out since: nobody else has it.
            gone = [self.oracle.contacts.get(key) for key in owners or ()]
            if self.oracle.opt_outs.get(email, -1) > yes_at or (
                len(gone) == 1
                and gone[0]
                and email in gone[0].past
                and gone[0].said == "out"
                and gone[0].out_at > yes_at
            ):
                found.add(email)
        return found

    def start_lane(self):
        """Return whom the lane must let go: it knows what the runs before it saw."""
        self.leaving, leaving = set(), self.must_leave()
        known = {e for e in leaving if self.oracle.address(e).known_out is False}
        self.note_lane()
        return known

    def judge_lane(self, leaving):
        self.note_lane()
        late = leaving & set(self.members(*REACHABLE))
        self.tally["opt-outs confirmed"] += len(leaving - late)
        if late:
            self.violations.append(f"the lane did not let {late} go")

    def note_lane(self):
        """Note what the lane may learn: it looks at those who are to leave."""
        for email in EMAILS:
            address = self.oracle.address(email)
            if self.oracle.eligible(email, scoped=False):
                continue
            address.maybe_heard |= address.no_at is not None
            out = self.status(email) not in REACHABLE
            if address.known_out is not out or self.faulty and not out:
                address.known_out = None

    def note_claims(self):
        """Note whose members became ours, if somebody was there to see it."""
        for email in self.members(*REACHABLE):
            if self.oracle.eligible(email, lenient=True):
                self.oracle.address(email).maybe_ours = True

    # === A HISTORY === #

    def go(self, step):
        """Let a step happen, and judge what came of it."""
        try:
            getattr(self, step)()
            self.step()
            self.note_claims()
            self.tell(f"= {self.shape()}")
            assert not self.violations, self.violations
        except Exception:
            self.tell_all()
            raise

    def finish(self):
        """Judge how it ends, when nothing more is done."""
        self.tell("the end")
        try:
            self.end()
            self.compare()
        except Exception:
            self.tell_all()
            raise

    def possible(self):
        """Return the names of the steps that are possible now, by their weight."""
        steps = [(name, getattr(type(self), name)) for name in dir(type(self))]
        return [
            name
            for name, method in steps
            if hasattr(method, "possible") and method.possible(self)
            for _time in range(method.weight)
        ]

    def pick(self, choices, what=""):
        """Pick one by chance; the report of a failure tells which."""
        choice = self.random.choice(
            sorted(choices, key=lambda choice: (isinstance(choice, str), choice))
        )
        self.tell(f"{what or '    '} {choice}")
        return choice

    def tell(self, line):
        """Add to what is printed of a history that fails."""
        self.story.append(f"{self.now} {line}")

    def facts(self):
        """Return lines about what a harness knows."""
        return []

    def tell_all(self):
        print("\n".join(["", "The history that failed:", *self.story]))
        try:
            print("\n".join(self.facts()))
        except Exception as error:  # noqa: BLE001 (the failure itself comes first)
            print(f"No facts: {error}")

    def shape(self):
        """Return the members in few letters."""
        return " ".join(
            f"{email[:2]}:{self.status(email)[:4]}"
            for email in EMAILS
            if self.status(email)
        )

    def pick_contact(self, first=lambda contact: False):
        """Pick a contact, of those that ``first`` is true for if there are any."""
        contacts = self.oracle.contacts
        some = [key for key, contact in contacts.items() if first(contact)]
        return contacts[self.pick(some or contacts)]

    def pick_member(self, often, seldom):
        """Pick a member of one of two statuses, mostly of the first."""
        found = self.members(often) * 4 + self.members(seldom)
        return self.pick(found)

    def begin(self):
        """Start with contacts, a stranger and a filter: most is about changes."""
        options = self.oracle.options = self.options()
        for name, value in asdict(options).items():
            self.tally[f"{name}={value}"] += 1
        self.choose(options)
        self.pushing = self.pick([True, True, True, False])
        if self.pushing:
            self.start_push()
        else:
            self.tally["push off at first"] += 1
        for email in self.random.sample(EMAILS[:-2], self.pick(range(4))):
            self.add_in_mailchimp(email, self.pick(REACHABLE))
        for number in range(self.pick(range(5, 10))):
            email = EMAILS[number % (len(EMAILS) - 2)]
            company, opted = self.pick([True, False]), self.pick([True, False])
            self.create_contact(email, company, CITIES[number % 3], number < 5 or opted)
        first = min(self.oracle.contacts)
        self.set_opt_in(self.oracle.contacts[first], False)
        self.oracle.opt_out(first, self.now)
        self.step()
        self.prepare_audience()
        self.sign_up_in_mailchimp(EMAILS[-1])
        self.step()
        self.flag()
        self.step()
        self.run()

    def prepare_audience(self):
        """Have something in it that is none of Odoo's business."""
        self.audience.add_merge_field("Note", "NOTE")
        theirs = self.audience.add_category("Their own")
        self.theirs_group = self.audience.add_interest(theirs, "Theirs").id

    # === STEPS IN ODOO === #

    @rule(lambda self: not self.pushing, weight=4)
    def first_push(self):
        self.pushing = True
        self.start_push()

    @rule(weight=4)
    def create(self):
        email, city = self.pick(EMAILS), self.pick(CITIES)
        opted = self.pick([True, True, False])
        if not self.clock_known and email in self.oracle.opt_outs:
            opted = False  # nobody could say which of them is the later one
        self.create_contact(email, self.pick([True, False]), city, opted)

    def create_contact(self, email, company, city, opted):
        key = self.new_contact(email, company, city, opted)
        self.oracle.contacts[key] = Contact(key, [email], is_company=company)
        self.edit(self.oracle.contacts[key], city)
        if opted:
            self.oracle.opt_in(key, self.now)
            self.oracle.contacts[key].doubtful = not self.clock_known
        self.step()

    def edit(self, contact, city):
        contact.values["CITY"] = city
        self.edit_contact(contact, city)

    @rule(has_contacts, weight=5)
    def edit_in_odoo(self):
        self.edit(self.pick_contact(), self.pick([*CITIES, False]))

    @rule(lambda self: has_contacts(self) and self.clock_known, weight=6)
    def opt_in_or_out(self):
        opted = self.pick([True, False])
        contact = self.pick_contact(
            (lambda contact: contact.opt_in is None) if opted else self.is_sent
        )
        self.set_opt_in(contact, opted)
        if opted:
            self.oracle.opt_in(contact.key, self.now)
        else:
            self.oracle.opt_out(contact.key, self.now)

    def is_sent(self, contact):
        """Return whether it is a contact whose opt-out matters."""
        emails = self.oracle.emails(contact)
        return contact.opt_in is not None and any(
            self.status(email) in REACHABLE for email in emails
        )

    def opt_out_somebody(self):
        """Let somebody opt out who is in the audience."""
        if self.clock_known and any(map(self.is_sent, self.oracle.contacts.values())):
            contact = self.pick_contact(self.is_sent)
            self.set_opt_in(contact, False)
            self.oracle.opt_out(contact.key, self.now)
            self.step()

    @rule(has_contacts)
    def archive_or_not(self):
        contact = self.pick_contact(lambda contact: not contact.active)
        contact.active = not contact.active
        self.set_active(contact)

    @rule(lambda self: len(self.oracle.contacts) > 3, weight=1)
    def delete(self):
        key = self.pick_contact().key
        self.delete_contact(key)
        del self.oracle.contacts[key]

    @rule(has_contacts, weight=4)
    def change_address(self):
        contact = self.pick_contact()
        several = self.oracle.options.email_scope == "all"
        former, contact.former = contact.former, contact.emails
        contact.past.update(contact.emails)
        if former and self.pick([True, False]):
            contact.emails = former
        else:
            number = self.pick([0, 1, 1, 1, 2, 2] if several else [0, 1, 1, 1])
            contact.emails = []
            while len(contact.emails) < number:
                contact.emails.append(self.pick(set(EMAILS) - set(contact.emails)))
        for email in self.oracle.blacklist.intersection(contact.emails):
            # It looks as if it had been the contact's when it was put there.
            self.oracle.address(email).maybe_ours |= contact.opt_in is not None
        self.set_email(contact)

    @rule(has_contacts)
    def other_company_or_not(self):
        contact = self.pick_contact(lambda contact: contact.foreign_company)
        contact.foreign_company = not contact.foreign_company
        self.set_company(contact)

    @rule(lambda self: self.clock_known)
    def blacklist_or_not(self):
        email = self.pick(self.oracle.blacklist or EMAILS)
        if email in self.oracle.blacklist:
            self.oracle.blacklist.remove(email)
        else:
            self.oracle.put_on_blacklist(email, self.now)
        self.set_blacklisted(email)

    @rule(
        lambda self: (
            self.clock_known
            and sum(c.active for c in self.oracle.contacts.values()) > 1
        ),
        weight=1,
    )
    def merge(self):
        active = {key for key, c in self.oracle.contacts.items() if c.active}
        kept = self.pick(active)
        other = self.pick(active - {kept})
        self.merge_contacts(kept, other)
        self.oracle.merge(kept, [other], self.now)
        self.merged(self.oracle.contacts[kept])

    def merged(self, contact):
        """Take over what the merge made of the contact's other values."""

    @rule()
    def flag(self):
        city = self.pick(CITIES)
        self.flagged ^= {city}
        if city in self.flagged:
            self.flag_group(city)
        else:
            self.unflag_group(city)

    # === STEPS IN MAILCHIMP === #

    def unsure(self, address):
        """Return whether a failing run may have seen a "no" that nobody else saw."""
        return address.maybe_heard and not address.heard

    def members(self, *statuses):
        return [email for email in EMAILS if self.status(email) in statuses]

    @rule(has_members("subscribed", "archived"))
    def say_no(self):
        """Somebody says no, perhaps by the link of an old mail after being archived."""
        email = self.pick_member("subscribed", "archived")
        if not self.unsure(self.oracle.address(email)):
            self.let_say_no(email, self.pick([True, False]))

    def let_say_no(self, email, complains):
        if complains:
            self.audience.complain(email)
        else:
            self.audience.unsubscribe(email, reason="enough")
        address = self.oracle.address(email)
        address.no_at, address.hidden, address.no_until = self.now, False, None
        address.shown = complains or self.shows_unsubscribes()
        address.heard = address.maybe_heard = address.back = address.asked = False
        address.restorable, address.yes_at = False, None

    @rule(has_members("subscribed", "archived"), weight=1)
    def hide_a_no(self):
        """Somebody says no and is archived before a run could see the "no"."""
        email = self.pick_member("subscribed", "archived")
        address = self.oracle.address(email)
        if self.unsure(address):
            return
        # The look at its activity comes when a member was archived, once.
        looked = self.status(email) == "archived"
        self.let_say_no(email, self.pick([True, False]))
        self.audience.archive(email)
        address.hidden, address.shown = True, address.shown and not looked

    @rule(has_members("subscribed"), weight=1)
    def bounce(self):
        email = self.pick(self.members("subscribed"))
        kind = self.pick(["hard", "soft", "several soft"])
        address = self.oracle.address(email)
        if kind == "several soft":
            self.audience.clean(email, "soft")
        else:
            self.audience.bounce(email, kind)
        if kind != "soft":
            address.bounced_at = self.now
            address.back = address.asked = False

    @rule(has_members("subscribed", "pending", *NO))
    def archive_by_hand(self):
        email = self.pick(self.members("subscribed", "pending", *NO))
        address = self.oracle.address(email)
        if self.unsure(address):
            return
        if self.status(email) == "pending":
            address.seen = False
        if self.status(email) in NO:
            address.hidden = address.no_at is not None and not address.heard
        # A call of Odoo that got lost may have been about to archive it.
        address.restorable = None if address.known_out is None else False
        self.audience.archive(email)

    @rule(has_members("subscribed", "archived", *NO), weight=1)
    def erase(self):
        email = self.pick(self.members("subscribed", "archived", *NO))
        address = self.oracle.address(email)
        if self.unsure(address):
            return
        self.audience.delete_permanently(email)
        address.erased, address.restorable, address.yes_at = True, False, None
        if not address.heard:
            # Mailchimp does not tell any more what the person had said.
            address.no_at = None

    @rule(has_members("subscribed", "archived"), weight=5)
    def edit_in_mailchimp(self):
        email = self.pick_member("subscribed", "archived")
        city = self.pick([*CITIES, ""])
        fields = self.audience.merge_fields.values()
        if any(field.tag == "CITY" for field in fields):
            before = self.audience.members[email].last_changed
            self.audience.edit(email, merge_fields={"CITY": city})
            if self.audience.members[email].last_changed != before:
                self.oracle.address(email).changed()

    @rule(has_members("subscribed", "unsubscribed"))
    def edit_theirs(self):
        """Somebody changes what is none of Odoo's business."""
        email = self.pick(self.members("subscribed", "unsubscribed"))
        note = self.pick(["", "Likes tea"])
        self.note_touched(email)
        self.audience.tag(email, "Theirs")
        self.audience.edit(
            email,
            merge_fields={"NOTE": note},
            interests={self.theirs_group: True},
            vip=bool(note),
        )

    def note_touched(self, email):
        """Somebody changes a member: nobody can tell any more when it said no."""
        address = self.oracle.address(email)
        if address.no_at is not None and not address.heard:
            address.no_until = self.now

    @rule(has_members("subscribed"), weight=3)
    def change_many(self):
        """Another application changes so many members that they fill a page."""
        everybody = [email for email in EMAILS if self.status(email)]
        current = [e for e in everybody if self.status(e) != "archived"]
        emails = self.pick(["current", "current", "everybody"])
        emails = current if emails == "current" else everybody
        self.audience.touch(emails, merge_fields={"NOTE": f"Bulk {self.now}"})
        for email in emails:
            self.oracle.address(email).changed()
            self.note_touched(email)

    @rule(has_members(None), weight=1)
    def ask_in_mailchimp(self):
        """Another application adds somebody, who is asked to confirm."""
        email = self.pick(self.members(None))
        address = self.oracle.address(email)
        if not address.erased and address.known_out:
            self.add_in_mailchimp(email, "pending")

    def add_in_mailchimp(self, email, status):
        """Somebody has a member whose person did nothing for it."""
        self.audience.add_member(
            email, status, by="admin", merge_fields={"FNAME": "Foreign"}
        )
        address = self.oracle.address(email)
        address.seen, address.agreed = False, set()
        address.invited = status == "pending"

    @rule(has_members(None, "archived", *NO), weight=4)
    def sign_up(self):
        """A person signs up, for the first time or again."""
        email = self.pick(self.members(None, "archived", *NO))
        address = self.oracle.address(email)
        if not self.unsure(address) and address.known_out is not None:
            self.sign_up_in_mailchimp(email)

    def sign_up_in_mailchimp(self, email):
        address = self.oracle.address(email)
        if self.status(email) is None:
            # What one member had, another with its address has not.
            self.reborn |= address.erased
            address.seen, address.agreed, address.erased = False, set(), False
        self.audience.sign_up(email, merge_fields={"FNAME": "Foreign"})
        self.said_yes(address)
        if address.known_out:
            address.ours = address.maybe_ours = False
        elif not address.seen and not self.oracle.eligible(email):
            address.ours, address.maybe_ours = False, True  # as if it had confirmed

    def said_yes(self, address):
        address.back = address.barred or address.back
        if not address.heard:
            address.overtaken, address.no_at = address.no_at, None
        address.hidden = address.asked = False
        # What a manager agreed to stands while no run can have seen it gone.
        address.doomed = not address.known_out and address.doomed and None
        address.restorable, address.yes_at = False, self.now
        # Whom runs saw pending last cannot be overlooked either.
        address.yes_shows = address.known_out or not address.seen

    @rule(has_members("pending"), weight=4)
    def confirm(self):
        email = self.pick(self.members("pending"))
        address = self.oracle.address(email)
        known = email in self.oracle.said or email in self.oracle.opt_outs
        if not self.unsure(address) and not (known and address.known_out is None):
            address.known_out = True  # no run takes it for subscribed
            if not self.oracle.eligible(email):
                # A yes that is newer than the "no" in Odoo: it may stay.
                address.ours, address.maybe_ours = False, True
            self.audience.confirm(email)
            self.said_yes(address)

    # === RUNS AND THE END === #

    def start_run(self, faulty=False):
        """Note what a run that starts now learns, and whose addresses it may send."""
        self.faulty = faulty
        self.tally["runs"] += 1
        self.leaving = self.must_leave()
        self.doubts = []
        for email in EMAILS:
            address = self.oracle.address(email)
            if not faulty:
                if address.yes_shows:
                    self.oracle.lift(email)
                address.yes_at = None
            out = self.status(email) not in REACHABLE
            if not faulty:
                address.known_out = out
            elif address.known_out != out or not out or self.oracle.eligible(email):
                # It may be about to subscribe or archive it, and take what comes for
                # its own.
                address.known_out = None
            self.note_no(email)
        for email in self.members("subscribed"):
            address = self.oracle.address(email)
            address.seen = address.seen or not faulty
        self.note_imports()
        self.claim()
        self.note_cities()

    def note_no(self, email):
        """Note what a run that starts now learns of what an address said."""
        address = self.oracle.address(email)
        # A "no" that an archiving hid is found when the member is to come back.
        shows = not address.hidden or (
            address.seen
            and address.shown
            and self.pushing
            and self.oracle.eligible(email)
        )
        address.maybe_heard |= address.no_at is not None
        if address.no_at is not None and shows and not self.faulty:
            address.heard, address.heard_at = True, address.no_at
            if not address.back:
                self.oracle.said[email] = address.no_at
        no_at = self.oracle.said.get(email)
        self.oracle.note_affected(email, no_at)
        self.oracle.note_affected(email, address.no_at)
        if address.no_until:
            self.doubts.append((email, address.no_until))
            if not self.faulty:
                address.no_until = None
        for contact in self.oracle.affected(email, no_at):
            if not self.oracle.is_sure(contact, email):
                self.doubts.append((email, no_at))
            elif not self.faulty:
                self.oracle.hear(contact, no_at)

    def claim(self):
        """Note whose members this run makes or finds to be ours."""
        for email in EMAILS:
            found = self.oracle.eligible(email)
            if not found or not (self.pushing or self.status(email) in REACHABLE):
                continue
            address = self.oracle.address(email)
            owners = self.oracle.owners.setdefault(email, set())
            if self.faulty:
                address.maybe_ours = True
                address.doomed = address.doomed and None
            else:
                address.ours = True
                address.doomed = False
                owners.clear()
            owners.add(found[0].key)

    def note_imports(self):
        """Note which foreign members this run makes contacts of."""
        self.imports, self.importing = {}, set()
        for email in self.members("subscribed") if self.pushing else ():
            address = self.oracle.address(email)
            signed_up = self.audience.members[email].timestamp_opt
            there = self.oracle.importable(email, signed_up)
            if address.ours or there is None:
                continue
            self.imports[email] = signed_up, not (self.faulty or address.maybe_ours)
            # The contact that gets the opt-in may have further addresses.
            self.importing.add(email)
            if there:
                self.importing |= set(self.oracle.contacts[there].emails)
        for email in self.importing:
            self.oracle.address(email).maybe_ours = True

    def note_cities(self):
        """Note what both sides have before this run settles it."""
        self.cities, self.unjudged = [], []
        for email in self.members("subscribed") if self.pushing else ():
            found = self.oracle.eligible(email)
            values = self.audience.members[email].merge_fields
            lenient = self.oracle.eligible(email, lenient=True)
            # Whose opt-in is older is not known of a date by a wrong clock.
            doubtful = any(contact.doubtful for contact in found)
            if found[:1] != lenient[:1] or doubtful or self.unsettled(email):
                # Whose values it gets depends on what this run is able to see.
                self.oracle.address(email).agreed = set()
                self.unjudged += [*found[: None if doubtful else 1], *lenient[:1]]
            elif found and "CITY" in values:
                self.cities.append(
                    (email, found[0], self.city(found[0]), values["CITY"])
                )

    def after_run(self):
        """Take over what the run did to contacts, if it rightly did."""
        if self.faulty:
            for email, address in list(self.oracle.addresses.items()):
                self.take_lost(email, address.heard_at)
                self.take_lost(email, address.no_at)
        for email, no_at in self.doubts:
            self.take_lost(email, no_at)
        self.doubts = []
        self.judge_archives()
        for email in self.members("archived"):
            address = self.oracle.address(email)
            self.take_lost(email, address.overtaken)
            if address.hidden:
                self.take_lost(email, address.no_at)
        for email, (signed_up, must) in self.imports.items():
            self.take_import(email, signed_up, must)
        if self.imports:
            self.claim()
        if not self.faulty:
            self.clock_known = True
        self.meanwhile = set()
        for email, contact, ours, theirs in self.cities:
            self.judge_city(email, contact, ours, theirs)
        for contact in self.unjudged:
            contact.values["CITY"] = self.city(contact)
        for email in self.members("pending"):
            self.oracle.address(email).agreed = set()  # nobody is asked about these

    def take_lost(self, email, no_at):
        """Take over which opt-ins the run took because of a "no" it may have seen."""
        for contact in self.oracle.affected(email, no_at):
            if self.has_lost_opt_in(contact):
                self.oracle.hear(contact, no_at)

    def take_import(self, email, signed_up, must):
        there = self.oracle.importable(email, signed_up)
        key = self.imported(email, there)
        if key is None:
            if must:
                self.violations.append(f"{email}: not imported")
            return
        self.tally["imported"] += 1
        if not there:
            city = self.audience.members[email].merge_fields.get("CITY")
            self.oracle.contacts[key] = Contact(key, [email], values={"CITY": city})
        contact = self.oracle.contacts[key]
        contact.opt_in, contact.said = signed_up, "in"

    def judge_city(self, email, contact, ours, theirs):
        """Judge what a run made of a value that both sides can change."""
        address = self.oracle.address(email)
        ends = self.oracle.settle(ours, theirs, address.agreed)
        here = self.city(contact)
        there = self.audience.members[email].merge_fields["CITY"]
        what = f"{email}: city {ours}/{theirs}, agreed on {address.agreed}"
        if self.faulty:
            if here not in {ours} | ends or there not in {theirs} | ends:
                self.violations.append(f"{what}: became {here}/{there}")
            # Each of them may have been reached.
            address.agreed = address.agreed and address.agreed | ends
        else:
            if here != there or here not in ends:
                self.violations.append(f"{what}: became {here}/{there}")
            if theirs != ours:
                self.tally["city taken over" if here == theirs else "city set"] += 1
            address.agreed = {here}
        contact.values["CITY"] = here

    def has_lost_opt_in(self, contact):
        """Return whether the run took the opt-in of a contact."""
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
        elif address.given_up and status is None:
            pass
        elif address.barred and status != "pending":
            # It was hidden by an archiving: it does not come back by us.
            assert status in ("archived", None), context
        elif any(contact.doubtful for contact in self.oracle.contacts.values()):
            pass  # which of two things was said later is not known
        elif found and status == "archived":
            # Only who was archived by Odoo itself comes back by itself. An old "no"
            # that shows in the activity may be thought to be the last word.
            must = address.restorable and not (address.back or address.overtaken)
            assert not must, f"{context}: should have come back"
        elif found:
            asked = self.oracle.options.double_opt_in or address.asked
            asked |= address.invited
            assert status in (REACHABLE if asked else ("subscribed",)), context
            if status == "subscribed":
                self.compare_values(email, found[0], context)
        elif status in REACHABLE:
            assert not address.ours, f"{context}: should have left"
            assert not address.doomed, f"{context}: a manager wanted it archived"
            must = self.oracle.importable(
                email, self.audience.members[email].timestamp_opt
            )
            must = None if status == "pending" else must
            assert address.maybe_ours or must is None, f"{context}: not imported"
            if not address.maybe_ours:
                shown = self.audience.members[email].merge_fields["FNAME"]
                assert shown == "Foreign", f"{context}: {shown}"

    def unsettled(self, email):
        """Return whether nobody can say which values a member has to have."""
        return email in self.refused

    def compare_values(self, email, contact, context):
        if self.unsettled(email):
            return
        shown, wanted = self.shown(email), self.wanted_shown(contact)
        assert shown == wanted, f"{context}: {shown}, expected {wanted}"
