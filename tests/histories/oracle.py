"""What the audience must look like after a quiet run: sections of the promise, again.

Written from the rules people were promised, not from the add-on: it follows what was
done on both sides, one event at a time, and never looks at the add-on's own tables.
Times are whole seconds of the simulated clock.
"""

from dataclasses import dataclass, field

NO = ("unsubscribed", "cleaned")


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
    bounced_at: int | None = None
    subscribed_at: int | None = None  # last time it became subscribed
    removed_by_hand: bool = False  # archived in Mailchimp by somebody
    erased: bool = False  # permanently deleted: can never be imported again
    ours: bool = False
    maybe_ours: bool = False  # a failing run may have claimed it


class Oracle:
    """Follows events and tells what a quiet run must lead to."""

    def __init__(self):
        self.contacts = {}
        self.addresses = {}
        self.opt_outs = {}  # address -> when a contact with it last said "out"
        self.owners = {}  # address -> contacts that a run sent it for

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

    def hear(self, now):
        """Take the opt-ins from contacts whose address said no later than they did."""
        for email, address in self.addresses.items():
            if address.no_at is None:
                continue
            for contact in list(self.contacts.values()):
                mine = contact.email == email or contact.key in self.owners.get(
                    email, ()
                )
                if (
                    mine
                    and contact.opt_in is not None
                    and contact.opt_in <= address.no_at
                ):
                    contact.opt_in, contact.said = None, "out"
                    if contact.email:
                        self.opt_outs[contact.email] = max(
                            address.no_at, self.opt_outs.get(contact.email, 0)
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
