"""Webhooks: the probe, what is sent, how it is signed, and retries."""

import hashlib
import hmac
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl

import pytest
import requests

ALL = ("subscribe", "unsubscribe", "profile", "cleaned", "upemail", "campaign")
ANN = "ann@firma.be"


class Receiver:
    """A web server that answers as told and keeps what it gets."""

    def __init__(self):
        self.statuses = []
        self.received = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                receiver.received.append(("GET", self.headers["User-Agent"], {}))
                self._answer()

            def do_POST(self):
                raw = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.raw = raw
                receiver.signature = self.headers["X-Mailchimp-Signature"]
                form = dict(parse_qsl(raw.decode(), keep_blank_values=True))
                receiver.received.append(("POST", form["type"], form))
                self._answer()

            def _answer(self):
                status = receiver.statuses.pop(0) if receiver.statuses else 200
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_args):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/hook"
        threading.Thread(
            target=self.server.serve_forever, args=(0.01,), daemon=True
        ).start()

    @property
    def forms(self):
        return [form for method, _kind, form in self.received if method == "POST"]


@pytest.fixture
def receiver():
    receiver = Receiver()
    yield receiver
    receiver.server.shutdown()
    receiver.server.server_close()


@pytest.fixture
def hook(audience, api, receiver):
    """A webhook for everything from everybody."""
    return make(audience, api, receiver)


def make(audience, api, receiver, sources=("user", "admin", "api"), events=ALL):
    body = {
        "url": receiver.url,
        "events": dict.fromkeys(events, True),
        "sources": dict.fromkeys(sources, True),
    }
    return api("POST", f"/lists/{audience.id}/webhooks", body)


def delivered(simulator, receiver):
    assert simulator.deliveries.wait()
    return [(form["type"], form) for form in receiver.forms]


def test_the_probe(audience, api, receiver):
    receiver.statuses = [403]
    body = {"url": receiver.url}
    hooks = f"/lists/{audience.id}/webhooks"
    refused = api("POST", hooks, body, status=400)
    assert refused["errors"] == [
        {
            "field": "url",
            "message": "We couldn't verify the URL is working. Please double check and "
            "try again. HTTP Code: 403",
        }
    ]
    made = api("POST", hooks, body)
    assert receiver.received[-1][:2] == ("GET", "MailChimp.com WebHook Validator")
    assert made["signing_secret"]
    assert "signing_secret" not in api("GET", f"{hooks}/{made['id']}")


@pytest.mark.parametrize(
    "url",
    ["firma.be/hook", "//firma.be", "file:///etc/hostname", "http://[::1", "http://"],
)
def test_a_url_that_is_none(audience, api, receiver, hook, url):
    hooks = f"/lists/{audience.id}/webhooks"
    refused = api("POST", hooks, {"url": url}, status=400)
    assert refused["errors"][0]["field"] == "url"
    api("PATCH", f"{hooks}/{hook['id']}", {"url": url}, status=400)
    assert api("GET", hooks)["webhooks"][0]["url"] == receiver.url


def test_one_hook_for_one_url(audience, api, receiver, hook):
    hooks = f"/lists/{audience.id}/webhooks"
    refused = api("POST", hooks, {"url": receiver.url + "?x=1"}, status=400)
    assert (refused["title"], refused["detail"]) == (
        "Resource Conflict",
        "Sorry, you can't set up multiple WebHooks for one URL",
    )
    assert api("DELETE", f"{hooks}/{hook['id']}") is None
    assert api("GET", hooks)["total_items"] == 0


def test_the_signature(sim, audience, receiver, hook):
    audience.add_member(ANN)
    delivered(sim, receiver)
    stamp, digest = (part.partition("=")[2] for part in receiver.signature.split(","))
    expected = hmac.new(
        hook["signing_secret"].encode(),
        f"{stamp}.".encode() + receiver.raw,
        hashlib.sha256,
    )
    assert digest == expected.hexdigest()
    assert abs(time.time() - int(stamp)) < 60


def test_what_people_do(sim, audience, receiver, hook):
    audience.add_member(ANN, merge_fields={"FNAME": "Ann"})
    audience.edit(ANN, merge_fields={"FNAME": "Anna"})
    audience.change_address(ANN, "anna@firma.be")
    audience.unsubscribe("anna@firma.be")
    audience.add_member("bob@firma.be")
    audience.bounce("bob@firma.be")
    audience.add_member("cleo@firma.be")
    audience.complain("cleo@firma.be")
    found = delivered(sim, receiver)
    assert sorted(kind for kind, _form in found) == [
        "cleaned",
        "profile",
        "profile",
        "subscribe",
        "subscribe",
        "subscribe",
        "unsubscribe",
        "unsubscribe",
        "upemail",
    ]
    # They come in any order.
    first = next(
        form
        for kind, form in found
        if kind == "subscribe" and form["data[email]"] == ANN
    )
    assert first["data[merges][FNAME]"] == "Ann"
    assert first["data[list_id]"] == audience.id
    assert len(first["data[id]"]) == 10
    moved = next(form for kind, form in found if kind == "upemail")
    assert (moved["data[old_email]"], moved["data[new_email]"]) == (
        ANN,
        "anna@firma.be",
    )
    reasons = [form["data[reason]"] for kind, form in found if kind == "unsubscribe"]
    assert sorted(reasons) == ["abuse", "manual"]


def test_a_campaign_that_is_sent(sim, audience, receiver, hook):
    campaign = audience.add_campaign(title="News")
    audience.send_campaign(campaign)
    ((kind, form),) = delivered(sim, receiver)
    assert (kind, form["data[id]"], form["data[status]"]) == (
        "campaign",
        campaign.id,
        "sent",
    )


@pytest.mark.parametrize("listens", [True, False])
def test_own_writes_come_back_only_if_asked_for(sim, audience, api, receiver, listens):
    make(audience, api, receiver, sources=("api", "user") if listens else ("user",))
    body = {"email_address": ANN, "status": "subscribed"}
    api("POST", f"/lists/{audience.id}/members", body)
    api("DELETE", f"/lists/{audience.id}/members/{ANN}")
    found = delivered(sim, receiver)
    assert sorted(kind for kind, _ in found) == ["subscribe", "unsubscribe"] * listens
    if listens:
        assert dict(found)["unsubscribe"]["data[action]"] == "delete"


def test_retries(world, receiver):
    audience, api = world(webhook_speed=100_000)
    make(audience, api, receiver)
    receiver.statuses = [500, 503]
    audience.add_member(ANN)
    assert len(delivered(api.simulator, receiver)) == 3
    log = api.simulator.deliveries.log
    assert [entry["status"] for entry in log] == [500, 503, 200]


def test_it_gives_up(world, receiver):
    audience, api = world(webhook_speed=100_000)
    make(audience, api, receiver)
    receiver.statuses = [500] * 100
    audience.add_member(ANN)
    assert len(delivered(api.simulator, receiver)) == 6


@pytest.mark.parametrize("hours", [0, -5])
def test_the_zone_of_fired_at(world, receiver, hours):
    audience, api = world(fired_at_offset_hours=hours)
    make(audience, api, receiver)
    api.simulator.clock.set("2026-03-01T12:00:00Z")
    audience.add_member(ANN)
    ((_kind, form),) = delivered(api.simulator, receiver)
    assert form["fired_at"].startswith(f"2026-03-01 {12 + hours:02d}:00")


def test_deliveries_of_the_time_before_signatures(world, receiver):
    audience, api = world(webhooks_signed=False)
    assert "signing_secret" not in make(audience, api, receiver)
    audience.add_member(ANN)
    delivered(api.simulator, receiver)
    assert receiver.signature is None


def test_signatures_are_dated_by_mailchimps_clock(sim, audience, receiver, hook):
    sim.advance(20 * 60)
    audience.add_member(ANN)
    delivered(sim, receiver)
    stamp = int(receiver.signature.partition(",")[0].partition("=")[2])
    assert stamp == pytest.approx(time.time() + 20 * 60, abs=60)


def test_an_unsubscribe_without_its_action(world, receiver):
    audience, api = world(unsubscribe_has_action=False)
    make(audience, api, receiver)
    audience.add_member(ANN)
    audience.unsubscribe(ANN)
    found = delivered(api.simulator, receiver)
    (form,) = [form for kind, form in found if kind == "unsubscribe"]
    assert "data[action]" not in form and form["data[reason]"] == "manual"


@pytest.mark.parametrize("order", ["as they came", "reversed", "shuffled"])
def test_any_order_and_twice(sim, audience, receiver, hook, order):
    sim.deliveries.hold()
    addresses = [member.email for member in audience.add_members(20)]
    assert not receiver.forms
    assert [hook.url for hook, _raw in sim.deliveries.waiting] == [receiver.url] * 20
    assert sim.deliveries.release(order, times=2) == 40
    delivered(sim, receiver)
    came = [form["data[email]"] for form in receiver.forms]
    assert sorted(came) == sorted(addresses * 2)


def test_the_order_is_one_of_three(sim):
    with pytest.raises(ValueError, match="shuffled"):
        sim.deliveries.release("sideways")


def test_deliveries_by_the_control_api(sim, audience, receiver, hook):
    url = f"{sim.root}/control/deliveries"
    assert requests.post(url, json={"do": "hold"}).ok
    audience.add_member(ANN)
    assert requests.get(url).json()["waiting"] == 1
    answer = requests.post(url, json={"do": "release", "times": 2})
    assert answer.json() == {"released": 2}
    assert requests.post(url, json={"do": "lose"}).status_code == 400
    delivered(sim, receiver)
    assert len(receiver.forms) == 2
