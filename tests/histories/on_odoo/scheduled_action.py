"""Runs that meet with no trouble, and runs that fail, die, wait or are late."""

from unittest.mock import patch

from watcher.drawing import rule

from odoo.addons.crm_mailchimp.models import slices

from .world import FAULTS, QUICKER, World


class ScheduledAction(World):
    """Lets runs work."""

    def work(self, kind="push"):
        """Let the scheduled action work once.

        :return: ``(run, whether it was a new one)``
        """
        run, created = self.account._request_run(kind)
        self.env["crm.mailchimp.run"].search([("resume_at", "!=", False)]).write(
            {"resume_at": False}
        )
        self.case.tick()
        self.account.invalidate_recordset()
        return run, created

    @rule(weight=9)
    def run(self):
        """Let it work until a run is over that began after all that was done."""
        self.start_run()
        for _attempt in range(40):
            run, created = self.work()
            if created and run.state == "done":
                break
        assert run.state == "done", (run.state, run.error_message, run.error_detail)
        self.after_run()
        self.step()

    @rule(weight=5)
    def failing_run(self):
        kind, options = FAULTS[self.pick(range(len(FAULTS)))]
        after = self.pick(range(13), kind)
        self.simulator.fault("**", kind, after=after, **options)
        self.start_run(faulty=True)
        self.work()
        self.simulator.faults.clear()
        self.after_run()

    @rule(weight=4)
    def interrupted_run(self):
        """A run that somebody kills or cancels, or whose time is over at each page."""
        how = self.pick(["killed", "cancelled", "short of time"])
        self.tally[f"run {how}"] += 1
        self.start_run(faulty=True)
        if how == "killed":
            with self.death_after(self.pick(range(1, 14))):
                self.work()
        else:
            with patch.object(slices, "SLICE_SECONDS", 0):
                for _tick in range(self.pick(range(1, 6))):
                    run, _created = self.work()
        if how == "cancelled":
            run.action_cancel()
        self.after_run()

    @rule(weight=1)
    def slow_run(self):
        """Mailchimp takes 8 s for each answer: a slice is over before much is done."""
        seconds = slices.SLICE_SECONDS / QUICKER
        self.start_run(faulty=True)
        self.simulator.latency(8 / QUICKER)
        with patch.object(slices, "SLICE_SECONDS", seconds):
            for _tick in range(30):
                self.tally["slow ticks"] += 1
                run, created = self.work()
                if created and run.state == "done":
                    break
            else:
                self.violations.append(f"slow: {run.state} {run.phase} {run.cursor}")
        self.tally["slow run"] += 1
        self.simulator.latency(0)
        self.after_run()

    @rule(weight=2)
    def run_and_a_no_meanwhile(self):
        """Somebody says no in Mailchimp while a run is under way."""
        self.complains = self.pick([True, False])
        self.start_run(faulty=True)
        self.meanwhile_at = self.pick(range(13))
        self.work()
        self.meanwhile_at = None
        self.tell(f"    meanwhile {self.meanwhile}")
        self.after_run()
