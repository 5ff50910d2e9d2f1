"""Stories, faults and clocks by the control API, and its refusals."""

import pytest
import requests
from sim_threads import in_thread, wait_for


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
