"""Contacts and filters in Odoo, and what becomes of them in Mailchimp."""

from .world import World


class Contacts(World):
    """Carries out what users do with contacts."""

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
