"""Histories are played, and the shortest one that fails is looked for."""

import os
import random

import hypothesis
from hypothesis import stateful
from hypothesis import strategies as st

from .history import Watcher


def play(harness, histories, steps, seed):
    """Play histories of a harness, and print what happened in them.

    Each has a seed of its own: ``HISTORY`` names the only one to be played, and
    ``PORTION=1/3`` every third one, beginning with number 1. One that fails does not
    keep the others from being played.

    :param harness: called without arguments for each history
    :raise AssertionError: names the histories that failed
    """
    only = os.environ.get("HISTORY")
    portion, portions = map(int, os.environ.get("PORTION", "0/1").split("/"))
    failed = []
    for number in [int(only)] if only else range(portion, histories, portions):
        history = harness()
        history.random = random.Random(f"{seed}/{number}")
        history.tell(f"SEED={seed} HISTORY={number}")
        try:
            history.go("begin")
            for _step in range(steps):
                if not history.over:
                    history.go(history.pick(history.possible(), "step"))
            if not history.over:
                history.finish()
        except Exception as error:  # noqa: BLE001 (whatever went wrong in it)
            print(f"FAILED: SEED={seed} HISTORY={number}: {error!r}", flush=True)
            failed.append((number, error))
        finally:
            history.close()
    print(dict(sorted(Watcher.tally.items())))
    if failed:
        numbers = [number for number, _error in failed]
        raise AssertionError(f"SEED={seed}: failed: {numbers}") from failed[0][1]


def play_and_shrink(harness, histories, steps, seed):
    """Let hypothesis play histories, and look for the shortest one that fails.

    Its choices are less even than those of :func:`play`: true randomness cannot be made
    simpler.
    """

    class Histories(stateful.RuleBasedStateMachine):
        def __init__(self):
            super().__init__()
            self.history, self.unbroken = harness(), True

        def go(self, name):
            self.unbroken = False
            self.history.go(name)
            self.unbroken = True

        @stateful.initialize(random=st.randoms(use_true_random=False))
        def begin(self, random):
            self.history.random = random
            self.go("begin")

        @stateful.rule()
        def step(self):
            self.go(self.history.pick(self.history.possible(), "step"))

        def teardown(self):
            try:
                if self.unbroken:
                    self.history.finish()
            finally:
                self.history.close()

    test = stateful.get_state_machine_test(
        Histories,
        settings=hypothesis.settings(
            max_examples=histories,
            stateful_step_count=steps,
            deadline=None,
            database=None,
            report_multiple_bugs=False,
            suppress_health_check=list(hypothesis.HealthCheck),
            phases=[hypothesis.Phase.generate, hypothesis.Phase.shrink],
        ),
        _min_steps=steps,
    )
    hypothesis.seed(seed)(test)()
    print(dict(sorted(Watcher.tally.items())))
