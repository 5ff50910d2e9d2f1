"""Which values both sides end with, and which groups and tags a member has."""

from .harness import Harness


class Values(Harness):
    """Follows a value that both sides can change."""

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

    def unsettled(self, email):
        """Return whether nobody can say which values a member has to have."""
        return email in self.refused

    def compare_values(self, email, contact, context):
        if self.unsettled(email):
            return
        shown, wanted = self.shown(email), self.wanted_shown(contact)
        assert shown == wanted, f"{context}: {shown}, expected {wanted}"
