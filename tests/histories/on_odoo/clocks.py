"""Odoo's clock is set, and a month passes."""

from watcher.drawing import rule

from .scheduled_action import ScheduledAction
from .world import SKEWS

MONTH = 31 * 86400


class Clocks(ScheduledAction):
    """Lets time do what it should not."""

    @rule()
    def change_clock(self):
        """Somebody sets Odoo's clock, and a run notes it before anything is said."""
        skew = self.pick(set(SKEWS) - {self.skew})
        self.skew, self.clock_known = skew, False
        if self.pick([True, True, False], "noted at once"):
            self.run()

    @rule(weight=1)
    def month(self):
        """A month passes: what an address said that a contact left counts no more."""
        self.run()
        self.simulator.advance(MONTH)
        for contact in self.oracle.contacts.values():
            contact.past.clear()
        for email, owners in self.oracle.owners.items():
            for key in list(owners):
                contact = self.oracle.contacts.get(key)
                if contact is None or contact not in self.oracle.eligible(email):
                    owners.discard(key)
