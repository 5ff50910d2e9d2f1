"""A history: how it begins, goes on and ends."""

from dataclasses import asdict

from oracle import REACHABLE

from .ending import Ending
from .harness import CITIES, EMAILS
from .in_mailchimp import InMailchimp
from .in_odoo import InOdoo
from .runs import Runs


class Watcher(InOdoo, InMailchimp, Runs, Ending):
    """Lets things happen on both sides and judges every write."""

    def begin(self):
        """Start with contacts, a stranger and a filter: most is about changes."""
        options = self.oracle.options = self.options()
        for name, value in asdict(options).items():
            self.tally[f"{name}={value}"] += 1
        self.choose(options)
        self.pushing = self.pick([True, True, True, False])
        if self.pushing:
            self.start_push()
        else:
            self.tally["push off at first"] += 1
        for email in self.random.sample(EMAILS[:-2], self.pick(range(4))):
            self.add_in_mailchimp(email, self.pick(REACHABLE))
        for number in range(self.pick(range(5, 10))):
            email = EMAILS[number % (len(EMAILS) - 2)]
            company, opted = self.pick([True, False]), self.pick([True, False])
            self.create_contact(email, company, CITIES[number % 3], number < 5 or opted)
        first = min(self.oracle.contacts)
        self.set_opt_in(self.oracle.contacts[first], False)
        self.oracle.opt_out(first, self.now)
        self.step()
        self.prepare_audience()
        self.sign_up_in_mailchimp(EMAILS[-1])
        self.step()
        self.flag()
        self.step()
        self.run()

    def go(self, step):
        """Let a step happen, and judge what came of it."""
        try:
            getattr(self, step)()
            self.step()
            self.note_claims()
            self.tell(f"= {self.shape()}")
            assert not self.violations, self.violations
        except Exception:
            self.tell_all()
            raise

    def finish(self):
        """Judge how it ends, when nothing more is done."""
        self.tell("the end")
        try:
            self.end()
            self.compare()
        except Exception:
            self.tell_all()
            raise
