"""Opt-outs are confirmed, whatever happens to the lane."""

from contextlib import ExitStack
from unittest.mock import patch

from watcher.drawing import rule

from odoo.addons.crm_mailchimp.models import opt_out

from .world import FAULTS, QUICKER, World


class OptOuts(World):
    """Lets the lane of opt-outs work."""

    @rule(weight=6)
    def lane(self):
        """Opt-outs are confirmed within two ticks when Mailchimp answers in time."""
        trouble = self.pick(["none"] * 6 + ["killed", "hang", "slow", *range(5)])
        self.faulty = trouble != "none"
        self.tally[f"lane: {trouble}"] += 1
        for _time in range(self.pick([0, 1, 2])):
            self.opt_out_somebody()
        leaving = self.start_lane()
        with ExitStack() as stack:
            ticks = 2
            if trouble == "killed":
                with self.death_after(self.pick(range(1, 6))):
                    self.case.send_opt_outs()
            elif trouble in ("hang", "slow"):
                self.slow_down(stack, trouble)
                # A busy machine is not as much quicker as its limits are.
                ticks = 10
            elif trouble != "none":
                kind, options = FAULTS[trouble]
                after = self.pick(range(5), kind)
                self.simulator.fault("**", kind, after=after, **options)
                self.case.send_opt_outs()
                self.simulator.faults.clear()
            for tick in range(ticks):
                if tick < 2 or self.account.opt_out_waiting:
                    self.case.send_opt_outs()
        self.simulator.faults.clear()
        self.judge_lane(leaving)
        waiting = self.account.opt_out_waiting
        assert not waiting, f"{waiting} are not confirmed"

    def slow_down(self, stack, trouble):
        """Let Mailchimp take 8 s for each answer, or let one of them hang."""
        connect, read = opt_out.LANE_TIMEOUT
        limits = connect / QUICKER, read / QUICKER
        stack.enter_context(patch.object(opt_out, "LANE_TIMEOUT", limits))
        seconds = opt_out.LANE_SECONDS / QUICKER
        stack.enter_context(patch.object(opt_out, "LANE_SECONDS", seconds))
        self.simulator.latency(8 / QUICKER)
        if trouble == "hang":
            route = "GET /lists/*/members/*"
            self.simulator.fault(route, "hang", seconds=60 / QUICKER)
