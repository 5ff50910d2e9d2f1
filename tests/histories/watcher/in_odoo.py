"""What users do in Odoo."""

from oracle import REACHABLE, Contact

from .drawing import Drawing, has_contacts, rule
from .harness import CITIES, EMAILS


class InOdoo(Drawing):
    """Steps of users: contacts, opt-ins, the blacklist and filters."""

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

    @rule()
    def flag(self):
        city = self.pick(CITIES)
        self.flagged ^= {city}
        if city in self.flagged:
            self.flag_group(city)
        else:
            self.unflag_group(city)
