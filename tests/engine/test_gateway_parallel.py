"""Several calls at once: never more than allowed, and none goes on by itself."""

import threading
import time
from itertools import chain

import pytest
from engine import errors
from engine.address import member_hash
from engine.gateway import Gateway
from keys import KEY

from mailchimp_simulator import Simulator


def test_never_more_in_flight_than_allowed_and_lazily():
    with Simulator(port=0) as simulator:
        audience = simulator.add_audience("A")
        for number in range(20):
            audience.add_member(f"a{number}@firma.be")
        simulator.clear_calls()
        simulator.latency(base=0.02)
        taken, thread = [], threading.get_ident()

        def calls(gateway):
            for number in range(20):
                assert threading.get_ident() == thread
                taken.append(number)
                yield (
                    number,
                    gateway.member,
                    audience.id,
                    member_hash(f"a{number}@firma.be"),
                )

        with Gateway(KEY, simulator.url, max_in_flight=3) as gateway:
            done = []
            for number, result in chain.from_iterable(gateway.map(calls(gateway))):
                assert len(taken) - len(done) <= 3 + 3
                assert result["email_address"] == f"a{number}@firma.be"
                done.append(number)
        assert sorted(done) == list(range(20))
        assert simulator.max_in_flight <= 3


def test_an_error_in_flight_is_a_result():
    with Simulator(port=0) as simulator:
        audience = simulator.add_audience("A")
        with Gateway(KEY, simulator.url) as gateway:
            calls = [("gone", gateway.member, audience.id, "0" * 32)]
            (((tag, result),),) = gateway.map(iter(calls))
    assert tag == "gone" and isinstance(result, errors.NotFound)


def test_as_many_calls_are_taken_ahead_as_go_at_once(answers, gateway):
    taken, done, most = [], 0, 0

    def calls():
        for number in range(20):
            taken.append(number)
            yield number, gateway.root

    answers.next += ["slow"] * 4
    for outcomes in gateway.map(calls()):
        most = max(most, len(taken) - done)
        done += len(outcomes)
    assert done == 20
    assert most == 2 * gateway.max_in_flight


def test_the_call_ahead_begins_before_an_outcome_is_recorded(answers):
    # The first is answered once the second was taken: it cannot be done before.
    taken, begun = threading.Event(), threading.Event()

    def calls():
        yield "first", taken.wait, 30
        taken.set()
        yield "second", begun.set

    with Gateway(KEY, answers.url, max_in_flight=1) as gateway:
        outcomes = gateway.map(calls())
        assert next(outcomes) == [("first", True)]
        assert begun.wait(30)
        assert list(outcomes) == [[("second", None)]]


def test_a_call_is_finished_when_it_begins():
    """Not when it is taken, which is while those before it are under way."""
    # The first two are answered once all are taken: no other can begin before.
    taken, thread = threading.Event(), threading.get_ident()

    def calls():
        for number in range(5):
            if number == 3:
                taken.set()
            yield (number,)

    def finish(number):
        assert threading.get_ident() == thread
        if number == 2:
            assert taken.is_set()
            return None  # it is not needed any more, and another takes its place
        return number, taken.wait, 30

    with Gateway(KEY, "http://127.0.0.1:9/3.0", max_in_flight=2) as gateway:
        outcomes = list(chain.from_iterable(gateway.map(calls(), finish=finish)))
    assert sorted(outcomes) == [(number, True) for number in (0, 1, 3, 4)]


def test_no_call_begins_when_it_is_enough(answers, gateway):
    calls = ((number, gateway.root) for number in range(50))
    done = []
    answers.next += ["slow"] * 4  # so that others are prepared meanwhile
    for outcomes in gateway.map(calls, done.__len__):
        done += outcomes
    # Those at the beginning, and one that took the place of the first that was done.
    assert len(done) == len(answers.requests) <= 2 * gateway.max_in_flight
    assert len(list(calls)) >= 50 - 3 * gateway.max_in_flight


def test_leaving_the_loop_leaves_nothing_running(answers, gateway):
    closed = []

    def calls():
        try:
            while True:
                yield "again", gateway.root
        finally:
            closed.append(threading.get_ident())

    answers.next += [(200, {}, {}), "slow", "slow", "slow"]
    for _outcomes in gateway.map(calls()):
        break
    assert answers.open == 0
    arrived = len(answers.requests)
    # Others began in the place of those that were done.
    assert 1 <= arrived <= 2 * gateway.max_in_flight
    assert closed == [threading.get_ident()]
    time.sleep(0.05)
    assert len(answers.requests) == arrived
    assert gateway.root() == {}  # and it can be used again


def test_a_mistake_in_a_call_is_not_an_outcome(gateway):
    with pytest.raises(ValueError):
        list(gateway.map([("wrong", gateway.patch_member, "l", "h", {})]))


def test_no_setting_takes_all_of_mailchimps_connections():
    with Gateway(KEY, max_in_flight=50) as gateway:
        assert gateway.max_in_flight == 4  # in the beginning
        for _answer in range(50):
            gateway._transport.slots.answered(0.1, 90)
        assert gateway.max_in_flight == 8
    with Gateway(KEY, max_in_flight=0) as gateway:
        assert gateway.max_in_flight == 1


def test_several_at_once_share_their_connections(answers, gateway):
    outcomes = list(gateway.map((number, gateway.root) for number in range(30)))
    assert sum(map(len, outcomes)) == 30
    assert len(answers.clients) <= gateway.max_in_flight
