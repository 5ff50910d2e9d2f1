"""An older database comes back and must not overrule who said no since."""

from oracle import REACHABLE
from watcher.drawing import rule
from watcher.harness import EMAILS, LEAVES

from .scheduled_action import ScheduledAction
from .world import WORLDS


class Backups(ScheduledAction):
    """Takes a backup, and restores it."""

    @rule(lambda self: "backups" in WORLDS and self.backup is None, weight=1)
    def take_backup(self):
        self.run()
        self.env.flush_all()
        self.env.cr.execute("SAVEPOINT backup")
        self.backup = self.account, self.audience, self.now, self.mark()

    def mark(self):
        """Return what the database that wrote last has left in the audience."""
        categories = self.backup[1] if self.backup else self.audience
        return [c.title for c in categories.categories.values() if c.type == "hidden"]

    @rule(lambda self: self.backup and self.backup[-1] != self.mark(), weight=3)
    def restore_backup(self):
        """An older state of the database: it does not know who said no since."""
        self.tally["backups restored"] += 1
        self.env.invalidate_all()
        self.env.cr.execute("ROLLBACK TO SAVEPOINT backup")
        self.env.invalidate_all(flush=False)
        self.account, self.audience, taken_at, _mark = self.backup
        self.left = []
        self.simulator.clear_calls()
        before = {email: self.status(email) for email in EMAILS}
        self.faulty = True
        for _tick in range(6):
            run, _created = self.work()
            self.case.send_opt_outs()
            if run.state == "brake":
                break
        self.tally[f"backup: {run.state}"] += 1
        for email, old in before.items():
            # Whatever was known when the backup was made, somebody may have said no.
            new, said = self.status(email), self.oracle.opt_outs.get(email, -1)
            comes = new in REACHABLE and old not in REACHABLE
            if comes and max(said, self.oracle.said.get(email, -1)) >= taken_at:
                self.violations.append(f"{email}: {old} -> {new} by an old database")
        assert run.is_older == (run.state == "brake"), run.error_message
        for call in self.simulator.calls:
            leaves = call.method == "DELETE" or str(call.body) == LEAVES
            if call.method != "GET" and not leaves:
                self.violations.append(f"{call.method} {call.path} by an old database")
        self.over = True
