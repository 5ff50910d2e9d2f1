"""What a run learns of consent, and whose members become ours by it."""

from oracle import REACHABLE

from .foreign import Foreign
from .harness import EMAILS
from .lane import Lane
from .values import Values
from .writes import Writes


class Runs(Lane, Writes, Values, Foreign):
    """Notes what a run sees when it starts, and what it did when it is over."""

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

    def note_claims(self):
        """Note whose members became ours, if somebody was there to see it."""
        for email in self.members(*REACHABLE):
            if self.oracle.eligible(email, lenient=True):
                self.oracle.address(email).maybe_ours = True

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
