"""Who is in the audience in the end, when nothing is left to do."""

from oracle import NO, REACHABLE

from .harness import EMAILS
from .values import Values


class Ending(Values):
    """Compares the audience with what the oracle says."""

    def compare(self):
        for email in EMAILS:
            self.tally[f"in the end {self.status(email)}"] += 1
        assert not self.violations, self.violations
        for email in EMAILS:
            self.compare_address(email)

    def compare_address(self, email):
        address = self.oracle.address(email)
        status = self.status(email)
        found = self.oracle.eligible(email)
        context = f"{email}: {status}; {address}; eligible {found}"
        if address.erased:
            assert status is None, context
        elif status in NO:
            pass  # every write to it was judged
        elif address.given_up and status is None:
            pass
        elif address.barred and status != "pending":
            # It was hidden by an archiving: it does not come back by us.
            assert status in ("archived", None), context
        elif any(contact.doubtful for contact in self.oracle.contacts.values()):
            pass  # which of two things was said later is not known
        elif found and status == "archived":
            # Only who was archived by Odoo itself comes back by itself. An old "no"
            # that shows in the activity may be thought to be the last word.
            must = address.restorable and not (address.back or address.overtaken)
            assert not must, f"{context}: should have come back"
        elif found:
            asked = self.oracle.options.double_opt_in or address.asked
            asked |= address.invited
            assert status in (REACHABLE if asked else ("subscribed",)), context
            if status == "subscribed":
                self.compare_values(email, found[0], context)
        elif status in REACHABLE:
            assert not address.ours, f"{context}: should have left"
            assert not address.doomed, f"{context}: a manager wanted it archived"
            must = self.oracle.importable(
                email, self.audience.members[email].timestamp_opt
            )
            must = None if status == "pending" else must
            assert address.maybe_ours or must is None, f"{context}: not imported"
            if not address.maybe_ours:
                shown = self.audience.members[email].merge_fields["FNAME"]
                assert shown == "Foreign", f"{context}: {shown}"
