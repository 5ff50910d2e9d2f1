"""Calls that go wrong as told, and calls that are held."""

import time

import pytest
import requests
from sim_members import new
from sim_threads import in_thread, wait_for

ANN = new()


def test_a_status(sim, api, audience, members):
    sim.fault(f"POST {members}", status=503, times=2, after=1)
    codes = [
        api.raw("POST", members, {**ANN, "email_address": f"{n}@firma.be"}).status_code
        for n in range(4)
    ]
    assert codes == [200, 503, 503, 200]
    assert list(audience.members) == ["0@firma.be", "3@firma.be"]


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (429, "problem", "application/problem+json"),
        (403, "empty", None),
        (503, "html", "text/html"),
        (504, "empty", None),
    ],
)
def test_kinds_of_bodies(sim, api, status, body, kind):
    sim.fault("**", status=status, body=body)
    reply = api.raw("GET", "/ping")
    assert reply.status_code == status
    assert bool(reply.content) == (body != "empty")
    assert kind is None or reply.headers["Content-Type"].startswith(kind)
    api("GET", "/ping")


def test_a_connection_dropped_before(sim, api, audience, members):
    sim.fault("POST **", "drop")
    with pytest.raises(requests.ConnectionError):
        api("POST", members, ANN)
    assert not audience.members
    assert sim.calls[0].status is None


def test_a_connection_dropped_after(sim, api, audience, members):
    sim.fault("POST **", "drop_applied")
    with pytest.raises(requests.ConnectionError):
        api("POST", members, ANN)
    assert list(audience.members) == ["ann@firma.be"]


def test_an_answer_that_comes_late(sim, audience, members):
    sim.fault("POST **", "wait", seconds=0.5)
    with pytest.raises(requests.ReadTimeout):
        requests.post(sim.url + members, json=ANN, auth=("", sim.api_key), timeout=0.1)
    assert list(audience.members) == ["ann@firma.be"]


def test_an_answer_cut_short(sim, api):
    sim.fault("GET /lists", "truncate")
    with pytest.raises((requests.exceptions.ChunkedEncodingError, ValueError)):
        api.raw("GET", "/lists").json()


def test_an_answer_that_is_no_json(sim, api):
    sim.fault("GET /lists", "garbage")
    reply = api.raw("GET", "/lists")
    assert reply.status_code == 200
    assert b"maintenance" in reply.content


def test_an_answer_without_its_body(sim, api, audience, members):
    sim.fault("POST **", "empty")
    reply = api.raw("POST", members, ANN)
    assert (reply.status_code, reply.content) == (200, b"")
    assert list(audience.members) == ["ann@firma.be"]
    assert sim.calls[0].status == 200


def test_an_answer_with_a_damaged_end(sim, api, audience, members):
    sim.fault("POST **", "malformed")
    reply = api.raw("POST", members, ANN)
    assert reply.status_code == 200
    assert int(reply.headers["Content-Length"]) == len(reply.content)
    with pytest.raises(ValueError):
        reply.json()
    assert list(audience.members) == ["ann@firma.be"]


def test_an_answer_of_the_wrong_type(sim, api, audience, members):
    sim.fault("POST **", "mistyped")
    reply = api.raw("POST", members, ANN)
    assert reply.headers["Content-Type"] == "text/html"
    assert reply.json()["email_address"] == "ann@firma.be"
    assert list(audience.members) == ["ann@firma.be"]


def test_a_call_that_hangs_until_the_client_goes(sim, audience, members):
    for applied in (False, True):
        sim.clear_calls()
        sim.fault("POST **", "hang", applied=applied)
        started = time.monotonic()
        with pytest.raises(requests.ReadTimeout):
            requests.post(
                sim.url + members, json=ANN, auth=("", sim.api_key), timeout=0.1
            )
        assert bool(audience.members) == applied
        # The server sees that nobody waits any longer.
        wait_for(lambda: sim.calls[0].finished)
        assert time.monotonic() - started < 5
        assert sim.calls[0].status is None


def test_a_call_that_hangs_for_a_time(sim, api):
    sim.fault("GET /ping", "hang", seconds=0.1)
    with pytest.raises(requests.ConnectionError):
        api("GET", "/ping")
    api("GET", "/ping")


@pytest.mark.parametrize("end", ["clear", "stop"])
@pytest.mark.parametrize("kind", ["hang", "trickle", "wait"])
def test_what_waits_is_ended(sim, api, kind, end):
    sim.fault("GET /ping", kind, seconds=60)
    started = time.monotonic()
    thread = in_thread(lambda: api.raw("GET", "/ping"))
    wait_for(lambda: sim.calls)
    time.sleep(0.1)
    if end == "clear":
        sim.faults.clear()
    else:
        sim.stop()
    thread.join(5)
    assert not thread.is_alive()
    assert time.monotonic() - started < 10
    if kind == "hang":
        assert isinstance(thread.result, requests.ConnectionError)
    elif end == "clear":
        assert thread.result.json()["health_status"]


def test_an_answer_byte_by_byte(sim, audience, members):
    sim.fault("POST **", "trickle", seconds=0.002)
    started = time.monotonic()
    reply = requests.post(
        sim.url + members, json=ANN, auth=("", sim.api_key), timeout=1
    )
    # Slower than any pause the client waits for.
    assert time.monotonic() - started > 1
    assert reply.json()["status"] == "subscribed"
    assert list(audience.members) == ["ann@firma.be"]


def test_stars_in_a_route(sim, api, audience):
    sim.fault("GET /lists/*", status=500, times=None)
    assert api.raw("GET", f"/lists/{audience.id}").status_code == 500
    assert api.raw("GET", f"/lists/{audience.id}/members").status_code == 200
    assert api.raw("GET", "/lists").status_code == 200


def test_latency_by_members(sim, api, audience):
    sim.latency(base=0.01, per_member=0.01, route="POST /lists/*")
    body = {"members": [{**ANN, "email_address": f"{n}@x.be"} for n in range(10)]}
    started = time.monotonic()
    api("POST", f"/lists/{audience.id}", body)
    assert time.monotonic() - started >= 0.11


def test_latency_ends(sim, api, audience):
    sim.latency(base=30)
    sim.latency(base=30, route="GET /ping")
    sim.latency(base=0.1, route="GET /ping")
    assert [one.base for one in sim.faults._latencies] == [30, 0.1]
    sim.latency(0)
    started = time.monotonic()
    api("GET", "/lists")
    api("GET", "/ping")
    assert 0.1 <= time.monotonic() - started < 10
    sim.latency(0, route="GET /ping")
    assert sim.faults.describe()["latencies"] == []


def test_nonsense_faults_are_refused(sim):
    for settings in ({"kind": "magic"}, {"body": "poem"}):
        with pytest.raises(ValueError):
            sim.fault("**", **settings)
    with pytest.raises(ValueError):
        sim.hold(call=1, point="somewhere")
    with pytest.raises(ValueError):
        sim.switches.update(magic=True)


# --- holds -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("point", "applied", "answered"),
    [("before", False, False), ("applied", True, False), ("answered", True, True)],
)
def test_a_held_call(sim, api, audience, members, point, applied, answered):
    sim.hold(call=2, point=point)
    api("GET", "/ping")
    thread = in_thread(lambda: api.raw("POST", members, ANN))
    wait_for(sim.paused)
    assert sim.paused() == [
        {"call": 2, "method": "POST", "path": members, "point": point}
    ]
    assert bool(audience.members) == applied
    if answered:
        thread.join()
    assert thread.is_alive() != answered
    sim.release()
    thread.join()
    assert thread.result.status_code == 200


def test_callbacks_see_every_point(sim, api, audience, members):
    seen = []
    remove = sim.on_call(
        lambda call, point: seen.append((call.method, point, len(audience.members)))
    )
    api("POST", members, ANN)
    wait_for(lambda: len(seen) == 3)
    remove()
    api("GET", "/ping")
    assert seen == [
        ("POST", "before", 0),
        ("POST", "applied", 1),
        ("POST", "answered", 1),
    ]
