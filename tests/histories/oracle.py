"""What the audience must look like after a quiet run: sections of the promise, again.

Written from the rules people were promised, not from the add-on: it follows what was
done on both sides, one event at a time, and never looks at the add-on's own tables.
Times are whole seconds of the simulated clock.
"""

from dataclasses import dataclass, field

NO = ("unsubscribed", "cleaned")
REACHABLE = ("subscribed", "pending")
NEVER = "never sent"


@dataclass
class Options:
    """What a manager chose on the account; the defaults are the account's."""

    partner_kind: str = "all"
    partner_domain: str = "[]"
    email_scope: str = "primary"
    segment_target: str = "group"
    sync_direction: str = "push"
    conflict_winner: str = "odoo"
    foreign_members: str = "keep"
    double_opt_in: bool = False


@dataclass
class Contact:
    """A contact of Odoo as far as consent goes."""

    key: int
    emails: list
    opt_in: int | None = None  # since when, None without an opt-in
    said: str | None = None  # "in" or "out": the last thing said about it
    out_at: int = -1  # when it last said "out"
    # The opt-in was noted by a clock that nobody knew to be wrong yet.
    doubtful: bool = False
    is_company: bool = False
    active: bool = True
    foreign_company: bool = False  # belongs to another company than the account
    values: dict = field(default_factory=dict)
    former: list = field(default_factory=list)  # its addresses before the last change
    past: set = field(default_factory=set)  # all addresses it has left

    def sort_key(self):
        return (not self.is_company, self.opt_in, self.key)


@dataclass
class Address:
    """What happened to an address in Mailchimp, seen from outside."""

    no_at: int | None = None  # the person unsubscribed or complained
    hidden: bool = False  # and was archived before anybody could see it
    # When somebody changed the member before a run saw the "no": taken for its time.
    no_until: int | None = None
    shown: bool = False  # its activity shows the "no" all the same
    heard: bool = False  # a run has seen it
    heard_at: int | None = None  # the last "no" that a run has seen
    maybe_heard: bool = False  # a failing run may have
    # An earlier "no" that nobody heard of before the person signed up again. A run that
    # reads the activity before it lets a member come back may still find it.
    overtaken: int | None = None
    bounced_at: int | None = None
    # The person signed up, or confirmed, after its last "no".
    back: bool = False
    # When it did, until a run has seen it.
    yes_at: int | None = None
    yes_shows: bool = False  # it cannot be overlooked: it was not subscribed before
    # Whether a run saw it subscribed: only then its activity is looked at.
    seen: bool = False
    # Odoo archived it while it was subscribed, and nobody changed it since: it may come
    # back by itself, and has to. ``None``: it may.
    restorable: bool | None = False
    given_up: bool = False  # it bounced, or was erased, in another audience
    erased: bool = False  # permanently deleted: can never be imported again
    invited: bool = False  # another application let Mailchimp ask the person
    ours: bool = False
    maybe_ours: bool = False  # it became ours and not at a run, or a failing one
    asked: bool = False  # a user let Mailchimp ask the person again
    # A manager agreed to archive this foreign member; ``None``: unless a failing run
    # found that it is ours.
    doomed: bool | None = False
    # The last run knows that it does not receive campaigns; ``None``: may know.
    known_out: bool | None = True
    # The values of CITY that may have been the last both sides agreed on; ``NEVER``
    # before the first sending, empty when it cannot be known.
    agreed: set = field(default_factory=lambda: {NEVER})

    def changed(self):
        """Note that somebody changed the member, perhaps after Odoo archived it.

        Of an archiving whose answer got lost nobody knows when it was.
        """
        if self.restorable:
            self.restorable = False

    @property
    def barred(self):
        """Return whether the person or its mail server said no last."""
        return (self.no_at or self.bounced_at) is not None and not self.back


class Oracle:
    """Follows events and tells what a quiet run must lead to."""

    def __init__(self):
        self.options = Options()
        self.contacts = {}
        self.addresses = {}
        self.blacklist = set()
        # Address -> the last "no" of Mailchimp that is known in Odoo. No opt-in in Odoo
        # lifts it, only a new yes of the person in Mailchimp.
        self.said = {}
        # Address -> when somebody last said no in Odoo: a contact that has the address
        # opted out, or it was put on the blacklist. A later opt-in in Odoo lifts it.
        self.opt_outs = {}
        # Address -> the last yes of its person in Mailchimp that a run has seen.
        self.lifted = {}
        # Address -> the contact it was sent for last, and those a failing run may
        # have sent it for.
        self.owners = {}
        # Address -> whether Mailchimp has asked the person and waits for the answer.
        self.is_waiting = lambda email: False

    def address(self, email):
        return self.addresses.setdefault(email, Address())

    def emails(self, contact):
        """Return the addresses that a contact stands for."""
        return (
            contact.emails if self.options.email_scope == "all" else contact.emails[:1]
        )

    # === CONSENT IN ODOO === #

    def opt_in(self, key, now):
        contact = self.contacts[key]
        if contact.opt_in is None:
            contact.opt_in, contact.said = now, "in"

    def opt_out(self, key, now):
        contact = self.contacts[key]
        if contact.opt_in is not None:
            self.claim(contact)
            self.end_opt_in(contact, now)

    def end_opt_in(self, contact, now):
        if contact.opt_in is not None:
            contact.opt_in, contact.said, contact.doubtful = None, "out", False
            self.note_opt_out(contact, now)

    def claim(self, contact):
        """Note that the members of an eligible contact are ours, when it says no.

        Of one that was out of scope or of another company they may be.
        """
        for email in contact.emails:
            if contact in self.eligible(email):
                self.address(email).ours = True
            else:
                self.address(email).maybe_ours = True

    def note_opt_out(self, contact, now):
        contact.out_at = max(now, contact.out_at)
        for email in contact.emails:
            self.opt_outs[email] = max(now, self.opt_outs.get(email, 0))

    def put_on_blacklist(self, email, now):
        for contact in self.contacts.values():
            if contact.opt_in is not None and email in contact.emails:
                self.claim(contact)
        self.blacklist.add(email)
        self.opt_outs[email] = max(now, self.opt_outs.get(email, 0))

    def is_opted_out(self, email):
        """Return whether an address said no in Odoo since the opt-in of its contact."""
        return any(
            contact.opt_in is not None
            and email in contact.emails
            and contact.opt_in <= self.opt_outs.get(email, -1)
            for contact in self.contacts.values()
        )

    def lift(self, email):
        """Lift what an address said, for a later yes of the person in Mailchimp."""
        yes_at = self.address(email).yes_at
        if yes_at is not None:
            self.lifted[email] = yes_at
        for noes in (self.said, self.opt_outs):
            if yes_at is not None and noes.get(email, yes_at) < yes_at:
                del noes[email]

    def merge(self, kept, others, now):
        group = [self.contacts[key] for key in (kept, *others)]
        out = any(contact.said == "out" for contact in group)
        dates = [contact.opt_in for contact in group if contact.opt_in is not None]
        survivor = self.contacts[kept]
        # Without an address of its own it takes one of theirs.
        emails = {email for contact in group for email in contact.emails}
        survivor.out_at = max(contact.out_at for contact in group)
        for key in others:
            other = self.contacts.pop(key)
            survivor.past |= other.past | set(other.emails)
        if survivor.opt_in is None and dates:
            survivor.opt_in = dates[0]
            survivor.said = "in"
        for owners in self.owners.values():
            if owners & set(others):
                owners -= set(others)
                owners.add(kept)
        if out and survivor.opt_in is not None:
            self.end_opt_in(survivor, now)
            for email in emails:
                self.address(email).maybe_ours = True
        elif out:
            survivor.said = "out"

    # === WHAT A RUN LEARNS === #

    def affected(self, email, no_at):
        """Return the contacts whose opt-in a "no" of that time takes.

        Those in doubt are among them: see ``is_sure``.
        """
        return [
            contact
            for contact in self.contacts.values()
            if no_at is not None
            and contact.opt_in is not None
            and (contact.opt_in <= no_at or contact.doubtful)
            and (
                email in self.emails(contact)
                or contact.key in self.owners.get(email, ())
                or email in contact.past
            )
        ]

    def note_affected(self, email, no_at):
        """Note whose members may be ours when a run takes opt-ins for a "no"."""
        for contact in self.affected(email, no_at):
            for other in contact.emails:
                self.address(other).maybe_ours = True  # see ``claim``

    def is_sure(self, contact, email):
        """Return whether a "no" of an address surely takes the opt-in of a contact.

        The opt-in may have got a later date, or the address may be another's by now.
        """
        owns = self.owners.get(email) == {contact.key}
        return not contact.doubtful and (email in self.emails(contact) or owns)

    def hear(self, contact, no_at):
        """Take the opt-in of a contact because one of its addresses said no."""
        for email in contact.emails:
            self.address(email).maybe_ours = True  # see ``claim``
        contact.opt_in, contact.said, contact.doubtful = None, "out", False
        self.note_opt_out(contact, no_at)

    # === WHO BELONGS TO THE AUDIENCE === #

    def eligible(self, email, scoped=True, asking=False, lenient=False):
        """Return the contacts that may stand for an address, the winner first.

        :param bool scoped: look at the kind and the condition of the account, too
        :param bool asking: whom Mailchimp may ask to come back: contacts with an opt-in
            that is newer than what the person said there
        :param bool lenient: a new yes in Mailchimp that no run is sure to have seen
            counts, too
        """
        said, out = self.said.get(email), self.opt_outs.get(email, -1)
        if lenient and (yes_at := self.address(email).yes_at) is not None:
            said = None if said is None or said < yes_at else said
            out = -1 if out < yes_at else out
        return self.standing(email, said, out, scoped, asking)

    def standing(self, email, said, out, scoped=True, asking=False):
        """Return the contacts that stand for an address, given what it said.

        :param said: when it said no in Mailchimp, or ``None``
        :param out: when somebody said no for it in Odoo, ``-1`` if nobody did
        """
        if said is not None and not asking and not self.is_waiting(email):
            return []
        found = [
            contact
            for contact in self.contacts.values()
            if email in self.emails(contact)
            and contact.active
            and contact.opt_in is not None
            and contact.opt_in > out
            and not (asking and said is not None and contact.opt_in <= said)
            and not contact.foreign_company
            and email not in self.blacklist
            and (not scoped or self.in_scope(contact))
        ]
        return sorted(found, key=Contact.sort_key)

    def in_scope(self, contact):
        kind = "company" if contact.is_company else "person"
        return self.options.partner_kind in ("all", kind) and (
            self.options.partner_domain == "[]" or contact.values.get("CITY") != "Rome"
        )

    def importable(self, email, signed_up):
        """Return whether a subscribed foreign member is to become a contact.

        :return: ``None``, or the contact that gets the opt-in (``0``: a new one)
        """
        if self.options.foreign_members != "import":
            return None
        there = [c for c in self.contacts.values() if email in self.emails(c)]
        noes = self.opt_outs.get(email, -1), self.said.get(email, -1)
        if (
            email in self.blacklist
            or max(noes) >= signed_up
            or any(
                c.out_at >= signed_up
                or not c.active
                or c.opt_in is not None
                or c.foreign_company
                for c in there
            )
        ):
            return None
        return min((c.key for c in there), default=0)

    # === VALUES === #

    def settle(self, ours, theirs, agreed):
        """Return the values both sides may end with, of what each of them has now."""
        if self.options.sync_direction == "push" or ours == theirs:
            return {ours}
        conflict = ours if self.options.conflict_winner == "odoo" else theirs
        ends = set() if agreed else {ours, theirs}
        for before in agreed:
            if before == NEVER:
                ends.add(conflict if ours and theirs else ours or theirs)
            elif theirs == before:
                ends.add(ours)
            else:
                ends.add(theirs if ours == before else conflict)
        return ends
