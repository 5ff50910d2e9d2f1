"""``/batches``: what runs, when, and where the results are."""

import gzip
import io
import json
import tarfile

import pytest
import requests

ANN = "ann@firma.be"


def operation(method, path, body=None, **more):
    found = {"method": method, "path": path, **more}
    if body is not None:
        found["body"] = json.dumps(body)
    return found


def subscribe(audience, email, number):
    body = {"email_address": email, "status": "subscribed"}
    path = f"/lists/{audience.id}/members"
    return operation("POST", path, body, operation_id=str(number))


def results(reply):
    """The entries of an archive, by operation id."""
    assert reply.status_code == 200, reply.text
    found = {}
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(reply.content))) as tar:
        names = tar.getnames()
        for entry in tar:
            if entry.isfile():
                for item in json.load(tar.extractfile(entry)):
                    found[item["operation_id"]] = item
    return names, found


@pytest.fixture
def polled(world):
    return world(batch_progress="polls", operations_per_file=2)


def finish(api, batch):
    for _look in range(5):
        batch = api("GET", f"/batches/{batch['id']}")
        if batch["status"] == "finished":
            return batch
    raise AssertionError(batch)


def test_statuses_by_polls(polled):
    audience, api = polled
    operations = [subscribe(audience, f"p{n}@firma.be", n) for n in range(4)]
    batch = api("POST", "/batches", {"operations": operations})
    assert (batch["status"], batch["total_operations"]) == ("pending", 0)
    assert (batch["completed_at"], batch["response_body_url"]) == ("", "")
    seen = [api("GET", f"/batches/{batch['id']}") for _look in range(4)]
    assert [b["status"] for b in seen] == [
        "preprocessing",
        "started",
        "finalizing",
        "finished",
    ]
    assert [b["finished_operations"] for b in seen] == [0, 2, 4, 4]
    assert len(audience.members) == 4


def test_statuses_by_time(world):
    audience, api = world(batch_progress="time", batch_step_seconds=10)
    batch = api("POST", "/batches", {"operations": [subscribe(audience, ANN, 1)]})
    path = f"/batches/{batch['id']}"
    assert api("GET", path)["status"] == "pending"
    assert api("GET", path)["status"] == "pending"
    api.simulator.advance(21)
    # Any call sees what the batch did.
    assert api("GET", f"/lists/{audience.id}/members")["total_items"] == 1
    assert api("GET", path)["status"] == "started"
    api.simulator.advance(20)
    assert api("GET", path)["status"] == "finished"


def test_results(polled):
    audience, api = polled
    audience.add_member(ANN)
    audience.unsubscribe(ANN)
    member = f"/lists/{audience.id}/members/{ANN}"
    operations = [
        subscribe(audience, "bob@firma.be", "new"),
        subscribe(audience, ANN, "exists"),
        operation("PATCH", member, {"status": "subscribed"}, operation_id="refused"),
        operation("GET", member, operation_id="read", params={"fields": "status"}),
        operation("DELETE", member, operation_id="archived"),
        operation("DELETE", member, operation_id="again"),
        operation("GET", "/nowhere", operation_id="nowhere"),
        operation("POST", "/batches", {}, operation_id="nested"),
        operation("GET", "/ping"),
    ]
    operations.append({**operations[0], "operation_id": "rubbish", "body": "{"})
    batch = finish(api, api("POST", "/batches", {"operations": operations}))
    assert (batch["total_operations"], batch["errored_operations"]) == (10, 6)
    names, found = results(requests.get(batch["response_body_url"], timeout=5))
    assert len(names) == 1 + 5  # a directory, and two operations a file
    codes = {key: item["status_code"] for key, item in found.items()}
    assert codes == {
        "new": 200,
        "exists": 400,
        "refused": 400,
        "read": 200,
        "archived": 204,
        "again": 405,
        "nowhere": 404,
        "nested": 400,
        None: 200,
        "rubbish": 400,
    }
    assert json.loads(found["read"]["response"]) == {"status": "unsubscribed"}
    refused = json.loads(found["refused"]["response"])
    assert refused["title"] == "Member In Compliance State"
    assert found["archived"]["response"] == ""
    again = json.loads(found["again"]["response"])
    assert again["title"] == "Method Not Allowed"
    assert again["detail"].endswith("a contact that is bounced, pending or archived")


def test_results_are_fetched_without_the_key(world):
    audience, api = world(batch_progress="polls", result_url_seconds=600)
    made = api("POST", "/batches", {"operations": [subscribe(audience, ANN, 1)]})
    url = finish(api, made)["response_body_url"]
    assert api.session.get(url, timeout=5).status_code == 400
    assert requests.get(url, timeout=5).status_code == 200
    assert requests.get(url.replace("-response", "x-r"), timeout=5).status_code == 403
    api.simulator.advance(601)
    assert requests.get(url, timeout=5).status_code == 403
    fresh = api("GET", f"/batches/{made['id']}")["response_body_url"]
    assert fresh != url
    assert requests.get(fresh, timeout=5).status_code == 200


def test_results_are_gone_after_a_week(world):
    audience, api = world(batch_progress="polls", result_seconds=7 * 86400)
    made = api("POST", "/batches", {"operations": [subscribe(audience, ANN, 1)]})
    finish(api, made)
    api.simulator.advance(8 * 86400)
    assert api("GET", f"/batches/{made['id']}")["response_body_url"] == ""


@pytest.mark.parametrize("progress", ["polls", "time"])
def test_one_batch_at_a_time(world, progress):
    audience, api = world(batch_progress=progress, batch_step_seconds=10)
    made = [
        api("POST", "/batches", {"operations": [subscribe(audience, f"{n}@x.be", n)]})
        for n in "ab"
    ]

    def statuses():
        api.simulator.advance(10)
        found = api("GET", "/batches")["batches"]
        return [b["status"] for b in found]

    seen = [statuses() for _look in range(8)]
    assert len(made) == len(seen[0])
    assert ["finished", "finished"] in seen
    assert all(first == "finished" for first, second in seen if second != "pending")


def test_a_batch_is_stopped(polled):
    audience, api = polled
    operations = [subscribe(audience, f"p{n}@firma.be", n) for n in range(4)]
    batch = api("POST", "/batches", {"operations": operations})
    path = f"/batches/{batch['id']}"
    for _look in range(2):
        api("GET", path)
    assert api("DELETE", path) is None
    api("GET", path, status=404)
    assert len(audience.members) == 2


@pytest.mark.parametrize("limit", [500, 1000])
def test_the_number_of_operations(world, limit):
    _audience, api = world(max_operations=limit)
    ping = operation("GET", "/ping")
    api("POST", "/batches", {"operations": [ping] * (limit + 1)}, status=400)
    api("POST", "/batches", {"operations": [ping] * limit})
    api("POST", "/batches", {"operations": []}, status=400)


def test_500_open_batches(world):
    _audience, api = world(batch_step_seconds=1000, validate=False)
    body = {"operations": [operation("GET", "/ping")]}
    for _number in range(500):
        api.raw("POST", "/batches", body)
    refused = api("POST", "/batches", body, status=429)
    assert refused["detail"] == "You have more than 500 pending batches."


def test_with_the_official_client(sim, audience):
    mailchimp = pytest.importorskip("mailchimp_marketing")
    client = mailchimp.Client()
    client.set_config({"api_key": sim.api_key})
    client.lists.api_client.host = sim.url
    sim.switches.update(batch_step_seconds=0)
    made = client.batches.start({"operations": [subscribe(audience, ANN, 1)]})
    done = client.batches.status(made["id"])
    assert done["status"] == "finished"
    _names, found = results(requests.get(done["response_body_url"], timeout=5))
    assert found["1"]["status_code"] == 200
    assert client.lists.get_list_member(audience.id, ANN)["status"] == "subscribed"
