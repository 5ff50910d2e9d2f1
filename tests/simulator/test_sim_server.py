"""Keys and roles, requests in flight, faults, holds, the control API, the page."""

import http.client
import json
import subprocess
import sys
import threading
import time

import pytest
import requests

from mailchimp_simulator import Simulator

ANN = {"email_address": "ann@firma.be", "status": "subscribed"}


def in_thread(call):
    """Run a call aside; ``join`` the thread, then read ``thread.result``."""

    def run():
        try:
            thread.result = call()
        except requests.RequestException as error:
            thread.result = error

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def wait_for(test):
    deadline = time.monotonic() + 10
    while not test():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.005)


# --- keys ------------------------------------------------------------------------


def refusal(sim, **options):
    reply = requests.get(sim.url + "/lists", timeout=5, **options)
    data = reply.json()
    return reply.status_code, data["title"]


def test_keys(sim):
    assert refusal(sim) == (401, "API Key Missing")
    assert refusal(sim, auth=("x", "nonsense")) == (401, "API Key Invalid")
    assert requests.get(sim.url + "/ping", auth=("", sim.api_key), timeout=5).ok
    bearer = {"Authorization": f"Bearer {sim.api_key}"}
    assert requests.get(sim.url + "/ping", headers=bearer, timeout=5).ok


def test_the_words_of_a_wrong_key(sim):
    data = requests.get(sim.url + "/", auth=("x", "y"), timeout=5).json()
    assert data["detail"] == (
        "Your API key may be invalid, or you've attempted to access the wrong "
        "datacenter."
    )


def test_a_revoked_key_and_back(sim, api):
    sim.revoke_key()
    assert api("GET", "/", status=401)["title"] == "API Key Invalid"
    sim.restore_key()
    api("GET", "/")
    sim.disable_user()
    assert api("GET", "/", status=403)["title"] == "User Disabled"


def test_a_key_that_is_back_has_its_role(sim):
    sim.add_key("viewer-us21", "viewer")
    sim.revoke_key("viewer-us21")
    sim.restore_key("viewer-us21")
    assert sim.account.keys["viewer-us21"].role == "viewer"


@pytest.mark.parametrize(
    ("status", "title"), [(401, "API Key Invalid"), (403, "Wrong Datacenter")]
)
def test_another_data_center(simulate, status, title):
    sim = simulate(wrong_data_center_status=status)
    key = sim.api_key.replace("us21", "us9")
    assert refusal(sim, auth=("x", key)) == (status, title)


def test_roles(sim, audience, api):
    sim.add_key("viewer-us21", "viewer")
    api.session.auth = ("x", "viewer-us21")
    assert api("GET", "/")["role"] == "viewer"
    api("GET", "/reports")
    api("GET", f"/lists/{audience.id}/members", status=403)
    sim.add_key("author-us21", "author")
    api.session.auth = ("x", "author-us21")
    api("GET", f"/lists/{audience.id}/members")
    api("POST", f"/lists/{audience.id}/members", ANN, status=403)


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


@pytest.mark.parametrize("kept", [True, False])
def test_bodies_in_the_log(world, kept):
    audience, api = world(record_bodies=kept)
    api("POST", f"/lists/{audience.id}/members", ANN)
    assert api.simulator.calls[0].body == (ANN if kept else None)


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


# --- faults ----------------------------------------------------------------------


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


# --- the control API -------------------------------------------------------------


@pytest.fixture
def control(sim):
    def call(method, path, **body):
        url = f"{sim.root}/control{path}"
        reply = requests.request(method, url, json=body or None, timeout=10)
        data = reply.json()
        return data if reply.ok else (reply.status_code, data["error"])

    return call


def test_a_story_told_by_control(sim, control, api):
    audience = control("POST", "/audiences", name="Told")
    path = f"/audiences/{audience['id']}"
    made = control("POST", path + "/add_member", email="ann@firma.be", tags=["VIP"])
    assert made["status"] == "subscribed"
    category = control("POST", path + "/add_category", title="CRM")
    interest = control(
        "POST", path + "/add_interest", category=category["id"], name="Customers"
    )
    control(
        "POST", path + "/edit", email="ann@firma.be", interests={interest["id"]: True}
    )
    campaign = control("POST", path + "/add_campaign", title="News")["id"]
    wanted = {"interest": "Customers"}
    assert (
        control("POST", path + "/send_campaign", campaign=campaign, recipients=wanted)
        == 1
    )
    control("POST", path + "/open", campaign=campaign, email="ann@firma.be")
    control("POST", path + "/unsubscribe", email="ann@firma.be", campaign=campaign)
    details = control("GET", path)
    assert details["members"]["ann@firma.be"] == {
        "status": "unsubscribed",
        "merge_fields": dict.fromkeys(["FNAME", "LNAME", "ADDRESS", "PHONE"], ""),
        "interests": ["Customers"],
        "tags": ["VIP"],
    }
    assert details["campaigns"][0]["emails_sent"] == 1
    assert "members" not in control("GET", path + "?members=false")
    assert api("GET", f"/reports/{campaign}")["unsubscribed"] == 1


def test_control_of_the_server(sim, control, api):
    control("POST", "/faults", route="GET /ping", status=500)
    assert api.raw("GET", "/ping").status_code == 500
    control("POST", "/latency", base=0.001)
    assert len(control("GET", "/faults")["latencies"]) == 1
    control("POST", "/latency", base=0)
    assert control("GET", "/faults")["latencies"] == []
    control("POST", "/faults", route="GET /lists", kind="hang", applied=False)
    assert control("GET", "/faults")["faults"][0]["applied"] is False
    control("DELETE", "/faults")
    calls = control("GET", "/calls")
    assert (calls["total"], calls["calls"][0]["status"]) == (1, 500)
    assert "body" not in calls["calls"][0]
    assert control("GET", "/calls?since=1")["calls"] == []
    control("DELETE", "/calls")
    assert control("POST", "/switches", language="de")["language"] == "de"
    assert control("POST", "/clock", set="2030-01-01T00:00:00Z")["now"] >= 1893456000
    control("POST", "/keys", do="revoke")
    assert api.raw("GET", "/ping").status_code == 401
    control("POST", "/keys", do="restore")
    control("POST", "/hold", call=2, point="applied")
    thread = in_thread(lambda: api.raw("GET", "/ping"))
    wait_for(lambda: control("GET", "/paused")["paused"])
    assert control("POST", "/release") == {"released": 1}
    thread.join()
    control("POST", "/reset")
    assert control("GET", "/audiences") == []


def test_control_says_what_is_wrong(sim, audience, control):
    path = f"/audiences/{audience.id}"
    status, text = control("POST", path + "/unsubscribe", email="who@firma.be")
    assert (status, "who@firma.be" in text) == (404, True)
    assert control("POST", path + "/explode")[0] == 404
    assert control("POST", path + "/unsubscribe", colour="red")[0] == 400
    assert control("POST", path + "/add_member", email="nonsense")[0] == 400
    assert control("POST", "/switches", magic=1)[0] == 400
    assert control("GET", "/nowhere")[0] == 404
    assert control("GET", "/audiences/0000000000")[0] == 404


# --- the page --------------------------------------------------------------------


@pytest.fixture
def page(sim):
    def get(path, **form):
        method = "POST" if form else "GET"
        return requests.request(method, sim.root + path, data=form or None, timeout=5)

    return get


def test_a_person_acts_as_mailchimp(sim, audience, api, page):
    list_path = f"/audiences/{audience.id}"
    api("GET", "/ping")
    assert "Customers" in page("/").text
    said = page(
        list_path,
        act="add_member",
        email="ann@firma.be",
        merge_FNAME="Ann",
        status="subscribed",
        back=list_path,
    )
    assert "ann@firma.be is in the audience now." in said.text
    assert "FNAME: Ann" in said.text
    member_path = f"{list_path}/members/{audience.members['ann@firma.be'].hash}"
    assert "Edit as an admin" in page(member_path).text
    page(list_path, act="edit", email="ann@firma.be", merge_FNAME="Anna", tag="VIP")
    member = audience.members["ann@firma.be"]
    assert (member.merge_fields["FNAME"], member.tag_names) == ("Anna", ["VIP"])
    page(list_path, act="add_campaign", title="News", type="regular")
    (campaign,) = sim.account.campaigns
    said = page(
        list_path,
        act="send_campaign",
        campaign=campaign,
        to="tag:VIP",
        back=f"{list_path}/campaigns/{campaign}",
    )
    assert "Sent to 1 people." in said.text
    page(list_path, act="generate", campaign=campaign, opens="100")
    assert api("GET", f"/reports/{campaign}")["opens"]["unique_opens"] == 1
    for act, status in (
        ("unsubscribe", "unsubscribed"),
        ("confirm", "unsubscribed"),
        ("sign_up", "subscribed"),
        ("complain", "unsubscribed"),
        ("bounce", "cleaned"),
        ("archive", "archived"),
    ):
        page(list_path, act=act, email="ann@firma.be")
        assert audience.members["ann@firma.be"].status == status
    page(list_path, act="delete_permanently", email="ann@firma.be")
    assert "ann@firma.be" not in audience.members
    assert "/ping" in page("/calls").text


def test_searching_and_leafing(audience, page):
    audience.add_members(45)
    path = f"/audiences/{audience.id}"
    assert "45 in all, page 1 of 3" in page(path).text
    assert "page 3 of 3" in page(path + "?page=99").text
    found = page(path + "?q=person45").text
    assert "1 in all" in found
    assert "person44@" not in found
    assert "Nobody." in page(path + "?status=cleaned").text


def test_the_page_says_what_is_wrong(audience, page):
    path = f"/audiences/{audience.id}"
    assert (
        "is not in the audience"
        in page(path, act="archive", email="who@firma.be", back=path).text
    )
    assert page("/audiences/0000000000").status_code == 404
    assert page(path + "/members/0").status_code == 404


def test_the_page_escapes_what_it_shows(audience, page):
    audience.add_member("ann@firma.be", merge_fields={"FNAME": "<script>alert(1)"})
    for path in (f"/audiences/{audience.id}", f"/audiences/{audience.id}?q=%3Cscript"):
        text = page(path).text
        assert "<script>" not in text
    reply = page(f"/audiences/{audience.id}", act="x", back="//evil.example/")
    assert reply.url.startswith(page("/").url)


# --- as a program ----------------------------------------------------------------


def test_as_a_program_with_a_state_file(tmp_path):
    command = [sys.executable, "-m", "mailchimp_simulator", "--port", "0", "--demo"]
    command += ["--state", str(tmp_path / "state"), "--switch", "language=de"]

    def start():
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        lines = []
        while not lines or not lines[-1].startswith("Ready"):
            lines.append(process.stdout.readline())
            assert lines[-1], "it ended"
        return process, lines[0].split()[-1].rstrip("/")

    process, root = start()
    audience = requests.get(root + "/control/audiences", timeout=5).json()[0]
    assert audience["name"] == "Odoo demo audience"
    switches = requests.get(root + "/control/switches", timeout=5).json()
    assert switches["language"] == "de"
    act = f"{root}/control/audiences/{audience['id']}/add_member"
    body = {"email": "ann@firma.be", "tags": ["VIP"]}
    assert requests.post(act, json=body, timeout=5).ok
    process.terminate()
    assert process.wait(10) == 0
    process, root = start()
    details = requests.get(f"{root}/control/audiences/{audience['id']}", timeout=5)
    assert details.json()["members"]["ann@firma.be"]["tags"] == ["VIP"]
    process.terminate()
    process.wait(10)


def test_a_state_file_of_before(audience):
    audience.add_member("ann@firma.be")
    campaign = audience.add_campaign()
    audience.send_campaign(campaign)
    audience.open(campaign, "ann@firma.be", proxy=True)
    ((member, recipient),) = campaign.recipients.items()
    member.__setstate__((None, {"email": member.email}))
    assert member.confirmations == 0
    recipient.__setstate__({"proxy_opens": 1})
    assert recipient.told_opens() == [(recipient.opens[0], True)]


def test_a_taken_port_is_said_plainly(sim):
    command = [sys.executable, "-m", "mailchimp_simulator", "--port", str(sim.port)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20)
    assert done.returncode == 1
    assert "cannot start" in done.stderr
    assert "Traceback" not in done.stderr


# --- size ------------------------------------------------------------------------


def test_twenty_thousand_members():
    """A smoke test: nothing here may grow with the square of the audience."""
    with Simulator(validate=False, record_bodies=False) as sim:
        audience = sim.add_audience("Large")
        connection = http.client.HTTPConnection(sim.host, sim.port)
        headers = {"Authorization": f"Bearer {sim.api_key}"}
        for start in range(0, 20_000, 500):
            members = [
                {"email_address": f"p{n}@firma.be", "status": "subscribed"}
                for n in range(start, start + 500)
            ]
            raw = json.dumps({"members": members})
            connection.request("POST", f"/3.0/lists/{audience.id}", raw, headers)
            assert json.load(connection.getresponse())["total_created"] == 500
        seen = set()
        for offset in range(0, 20_000, 1000):
            query = f"count=1000&offset={offset}&sort_field=last_changed&sort_dir=DESC"
            path = f"/3.0/lists/{audience.id}/members?{query}&fields=members.id"
            connection.request("GET", path, headers=headers)
            seen |= {m["id"] for m in json.load(connection.getresponse())["members"]}
        assert len(seen) == 20_000
        connection.close()
