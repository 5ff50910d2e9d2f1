"""Steps are drawn by chance, and the story of a history that fails is told."""

from .harness import EMAILS, Harness


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


class Drawing(Harness):
    """Draws what happens, and notes it."""

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

    def pick_contact(self, first=lambda contact: False):
        """Pick a contact, of those that ``first`` is true for if there are any."""
        contacts = self.oracle.contacts
        some = [key for key, contact in contacts.items() if first(contact)]
        return contacts[self.pick(some or contacts)]

    def pick_member(self, often, seldom):
        """Pick a member of one of two statuses, mostly of the first."""
        found = self.members(often) * 4 + self.members(seldom)
        return self.pick(found)

    def tell(self, line):
        """Add to what is printed of a history that fails."""
        self.story.append(f"{self.now} {line}")

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
