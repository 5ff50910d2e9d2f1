"""Which members that are not ours become contacts."""

from oracle import Contact

from .harness import Harness


class Foreign(Harness):
    """Follows the import of members somebody else has added."""

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
