"""As much at once as Mailchimp answers in time, and never more than it gives."""

import time
from itertools import chain

import pytest
from engine.errors import Retryable
from engine.gateway import Gateway
from engine.pace import Portion, Slots
from keys import KEY

from mailchimp_simulator import Simulator


def members(simulator, gateway, count):
    audience = simulator.audiences[0]
    calls = ((n, gateway.members, audience.id) for n in range(count))
    return list(chain.from_iterable(gateway.map(calls)))


@pytest.fixture
def simulator():
    with Simulator(port=0) as simulator:
        simulator.add_audience("A")
        yield simulator


def test_more_go_at_once_while_answers_come_in_time(simulator):
    simulator.latency(base=0.02)
    with Gateway(KEY, simulator.url, max_in_flight=8) as gateway:
        assert gateway.max_in_flight == 4
        members(simulator, gateway, 60)
        assert gateway.max_in_flight == 8
        # Long enough to meet each other on a busy machine, too.
        simulator.latency(base=0.5)
        members(simulator, gateway, 8)
    assert simulator.max_in_flight == 8


def test_no_more_when_answers_are_slow(simulator):
    simulator.latency(base=0.2)
    with Gateway(KEY, simulator.url, max_in_flight=8, timeout=(1, 0.5)) as gateway:
        members(simulator, gateway, 12)
        assert gateway.max_in_flight == 4


@pytest.mark.parametrize("status", [429, 403])
def test_half_as_many_when_mailchimp_refuses(simulator, status):
    simulator.latency(base=0.02)
    with Gateway(KEY, simulator.url, max_in_flight=8, sleep=lambda _s: None) as gateway:
        members(simulator, gateway, 40)
        route = "GET /lists/*/members"
        simulator.fault(route, status=status, body="empty", times=1)
        replies = members(simulator, gateway, 1)
        # It is asked again at once, and answered in time.
        assert gateway.max_in_flight == 5
        assert all(isinstance(reply, dict) for _number, reply in replies)


def test_refused_together_they_halve_once():
    slots = Slots(8)
    started = time.monotonic()
    for _request in range(4):
        slots.refused(started)
    assert slots.allowed == 2
    slots.refused(time.monotonic())
    assert slots.allowed == 1
    slots.refused(time.monotonic())
    assert slots.allowed == 1


def test_slots_are_kept_while_fewer_are_allowed():
    slots = Slots(8)
    with slots.one(), slots.one():
        slots.refused(time.monotonic())
        slots.refused(time.monotonic())
        assert slots.allowed == 1
    with slots.one():
        assert slots._busy == 1


def take(portion, items, seconds, limit=0.9):
    portion.carry(lambda items: time.sleep(seconds), items, limit)


def test_a_slow_answer_makes_the_next_portions_smaller():
    portion = Portion()
    for _call in range(4):  # were in flight together: it is not halved four times
        take(portion, range(500), 0.31)
    assert portion.size == 250
    take(portion, range(250), 0.31)
    assert portion.size == 125


def test_quick_answers_make_them_grow_back():
    portion = Portion(100)
    take(portion, range(100), 0)
    assert portion.size == 200
    take(portion, range(30), 0)  # the last few say nothing
    assert portion.size == 200
    take(portion, range(200), 0.2)
    assert portion.size == 200
    take(portion, range(200), 0)
    take(portion, range(400), 0)
    assert portion.size == 500


def test_whoever_got_no_answer_is_not_sent_among_as_many():
    def unanswered(items):
        raise Retryable("Mailchimp did not answer in time", outcome_unknown=True)

    portion = Portion()
    for size in (125, 31, 10, 10):
        with pytest.raises(Retryable):
            portion.carry(unanswered, range(portion.size), 1)
        assert portion.size == size


def test_a_refusal_says_nothing_of_the_size():
    def refused(items):
        raise Retryable("Too many requests", status=429)

    portion = Portion()
    with pytest.raises(Retryable):
        portion.carry(refused, range(500), 1)
    assert portion.size == 500
