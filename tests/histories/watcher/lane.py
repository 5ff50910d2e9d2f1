"""Who said no in Odoo has to leave at once, before anything else is done."""

from oracle import REACHABLE

from .harness import EMAILS, Harness


class Lane(Harness):
    """Judges the lane of opt-outs."""

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
