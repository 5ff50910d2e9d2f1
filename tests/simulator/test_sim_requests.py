"""What all calls have in common: headers, checks, connections and the log."""

import json

import pytest
import requests
from sim_members import new
from sim_threads import in_thread, wait_for

ANN = new()


# --- answers ---------------------------------------------------------------------


@pytest.mark.parametrize("typed", [False, True])
def test_problem_documents(world, typed):
    _audience, api = world(problems_have_type=typed)
    reply = api.raw("GET", "/nowhere")
    assert reply.headers["Content-Type"].startswith("application/problem+json")
    assert reply.headers["X-Request-Id"] == reply.json()["instance"]
    assert ("type" in reply.json()) == typed


@pytest.mark.parametrize("told", [True, False])
def test_the_clock_of_mailchimp_is_in_every_reply(world, told):
    audience, api = world(date_header=told)
    sim = api.simulator
    sim.clock.set("2030-01-01T10:00:00Z")
    sim.fault("GET /lists", status=503, body="html")
    paths = ("/3.0/ping", "/3.0/nowhere", "/3.0/lists", "/control/clock", "/")
    for path in paths:
        reply = api.session.get(sim.root + path, timeout=5)
        found = reply.headers.get("Date", "")
        assert found.startswith("Tue, 01 Jan 2030 10:00:") == told
        assert found.endswith(" GMT") == told
    sim.advance(-3600)
    assert ("09:00:" in api.raw("GET", "/ping").headers.get("Date", "")) == told


def test_answers_and_refusals_point_to_their_schema(audience, api, members):
    for path in ("/ping", members, "/nowhere"):
        assert 'rel="describedBy"' in api.raw("GET", path).headers["Link"]
    api("POST", members, ANN)
    assert "Link" not in api.raw("DELETE", f"{members}/ann@firma.be").headers


# --- the specification -----------------------------------------------------------


@pytest.mark.parametrize("strict", [True, False])
def test_what_the_specification_does_not_know(world, strict):
    audience, api = world(strict=strict)
    if api.simulator._checker.spec is None:
        pytest.skip("needs Mailchimp's specification file")
    members = f"/lists/{audience.id}/members"
    status = 400 if strict else 200
    api("POST", members, {**ANN, "nickname": "A"}, status=status)
    api("GET", members, status=status, nickname="A")
    assert [v["field"] for v in api.simulator.violations] == ["nickname", "nickname"]


@pytest.mark.parametrize("validate", [True, False])
def test_checking_can_be_left_out(world, validate):
    _audience, api = world(validate=validate)
    reply = api.raw("GET", "/lists", include_total_contacts="True")
    assert reply.status_code == (400 if validate else 200)


# --- connections -----------------------------------------------------------------


def test_connections_are_kept(sim, api):
    for _number in range(20):
        api("GET", "/ping")
    assert sim.connections == 1


def test_a_body_in_chunks(sim, audience, members):
    raw = json.dumps(ANN).encode()
    reply = requests.post(
        sim.url + members,
        data=iter([raw[:5], raw[5:]]),
        auth=("", sim.api_key),
        timeout=5,
    )
    assert reply.status_code == 200


def test_stop_and_start_keep_port_and_account(sim, audience, api):
    port = sim.port
    sim.stop()
    with pytest.raises(requests.ConnectionError):
        api("GET", "/ping")
    sim.start()
    assert sim.port == port
    assert api("GET", "/lists")["total_items"] == 1


@pytest.mark.parametrize("limit", [10, 3])
def test_requests_in_flight(world, limit):
    _audience, api = world(max_in_flight=limit)
    sim = api.simulator
    for _number in range(limit):
        sim.hold(route="GET /ping")
    threads = [in_thread(lambda: api.raw("GET", "/ping")) for _n in range(limit)]
    wait_for(lambda: len(sim.paused()) == limit)
    refused = api("GET", "/ping", status=429)
    assert refused["title"] == "Too Many Requests"
    assert refused["detail"] == (
        "You have exceeded the limit of 10 simultaneous connections."
    )
    assert sim.release() == limit
    for thread in threads:
        thread.join()
        assert thread.result.status_code == 200
    assert sim.max_in_flight == limit + 1
    api("GET", "/ping")


# --- the log ---------------------------------------------------------------------


@pytest.mark.parametrize("kept", [True, False])
def test_bodies_in_the_log(world, kept):
    audience, api = world(record_bodies=kept)
    api("POST", f"/lists/{audience.id}/members", ANN)
    assert api.simulator.calls[0].body == (ANN if kept else None)


def test_the_log(sim, audience, api, members):
    api("POST", members, ANN)
    api("GET", members, count=3)
    first, second = sim.calls
    assert (first.number, first.method, first.path) == (1, "POST", members)
    assert (first.body, first.status) == (ANN, 200)
    assert second.query == {"count": "3"}
    wait_for(lambda: second.finished)
    assert second.started <= second.finished
    assert sim.count("GET") == 1
    assert sim.count(path_glob="/lists/*") == 2
    sim.clear_calls()
    assert sim.count() == 0
