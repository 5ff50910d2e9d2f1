"""What is known of a history, and what a harness carries out in it."""

from collections import Counter

from oracle import Options, Oracle

EMAILS = [f"p{number}@firma.be" for number in range(8)]
# What is written to a pending member that leaves: Mailchimp does not archive it.
LEAVES = str({"status": "unsubscribed"})
CITIES = ["Ghent", "Paris", "Rome"]


class Harness:
    """Knows what happened, and has it carried out on some kind of contacts.

    A harness carries the steps out (methods below that do nothing here), has
    ``audience`` and ``now``, and calls ``before_call`` and ``after_call`` around each
    write that reaches Mailchimp.
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

    def merged(self, contact):
        """Take over what the merge made of the contact's other values."""

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

    def has_lost_opt_in(self, contact):
        """Return whether the run took the opt-in of a contact."""
        return True

    def city(self, contact):
        """Return the city a contact has now."""
        return contact.values.get("CITY") or ""

    def facts(self):
        """Return lines about what a harness knows."""
        return []

    # === WHAT IS IN MAILCHIMP === #

    def status(self, email):
        member = self.audience.members.get(email)
        return member and member.status

    def members(self, *statuses):
        return [email for email in EMAILS if self.status(email) in statuses]

    def is_ours(self, segment_or_interest):
        """Return whether a group or tag is one of ours: filters are named alike."""
        return segment_or_interest.name.startswith("In ")

    def unsure(self, address):
        """Return whether a failing run may have seen a "no" that nobody else saw."""
        return address.maybe_heard and not address.heard
