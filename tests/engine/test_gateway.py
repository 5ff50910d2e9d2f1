"""The gateway over real HTTP: what the SDK gets wrong, and what must never happen."""

import gzip
import io
import json
import logging
import tarfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import mailchimp_marketing
import pytest
from engine import batches, errors
from engine.address import member_hash
from engine.gateway import Gateway
from mailchimp_marketing.api_client import ApiClientError

from mailchimp_simulator import Simulator

KEY = "0123456789abcdef0123456789abcdef-us21"


class Answers:
    """A server that gives one prepared answer to everything and notes requests."""

    def __init__(self):
        self.status, self.body, self.headers = 200, b"{}", {}
        self.requests, self.clients = [], set()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args):
                """Be quiet."""

            def answer(self):
                length = int(self.headers.get("Content-Length") or 0)
                outer.requests.append(
                    (self.command, self.path, self.rfile.read(length), self.headers)
                )
                outer.clients.add(self.client_address)
                self.send_response(outer.status)
                for name, value in outer.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(outer.body)))
                self.end_headers()
                self.wfile.write(outer.body)

            do_GET = do_POST = do_PATCH = do_DELETE = do_PUT = answer

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/3.0"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def set(self, status=200, body=b"{}", **headers):
        self.status, self.headers = status, headers
        self.body = body if isinstance(body, bytes) else json.dumps(body).encode()


@pytest.fixture
def answers():
    answers = Answers()
    yield answers
    answers.server.shutdown()
    answers.server.server_close()


@pytest.fixture
def gateway(answers):
    with Gateway(KEY, answers.url, sleep=lambda seconds: None) as gateway:
        yield gateway


@pytest.fixture
def sdk(answers):
    """The plain SDK, to show that each flaw is there."""
    client = mailchimp_marketing.Client()
    client.set_config({"api_key": KEY, "server": "us21"})
    client.api_client.host = answers.url
    return client


# === Keys and addresses === #


@pytest.mark.parametrize("key", ["", "0123456789abcdef", "a-b-us21", "abc-", None])
def test_an_incomplete_key_is_told_before_any_call(key):
    with pytest.raises(errors.InvalidKey):
        Gateway(key)


@pytest.mark.parametrize(
    "url",
    [
        "http://mailchimp.example/3.0",
        "http://10.0.0.1/3.0",
        "https://mailchimp.example",
        "ftp://127.0.0.1/3.0",
    ],
)
def test_the_key_goes_over_https_or_stays_on_this_machine(url):
    with pytest.raises(errors.InvalidUrl):
        Gateway(KEY, url)


def test_the_host_is_that_of_the_key():
    with Gateway(KEY) as gateway:
        assert "https://us21.api.mailchimp.com/3.0" in repr(gateway)
        assert gateway.data_center == "us21"


# === What the SDK gets wrong === #


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (429, errors.Retryable),
        (403, errors.Retryable),
        (503, errors.Retryable),
        (504, errors.Retryable),
        (404, errors.MailchimpError),
    ],
)
def test_an_error_without_a_body_is_an_error(answers, gateway, sdk, status, error):
    answers.set(status, b"")
    assert sdk.root.get_root().status_code == status  # no exception: the flaw
    with pytest.raises(error):
        gateway.root()


def test_an_empty_success_is_data(answers, gateway, sdk):
    answers.set(204, b"")
    assert not isinstance(sdk.lists.delete_list_member("l", "h"), dict)
    assert gateway.archive_member("l", "h") is True


def test_problem_documents_are_read(answers, gateway, sdk):
    answers.set(
        400,
        {
            "title": "Invalid Resource",
            "status": 400,
            "detail": "Your merge fields were invalid.",
            "instance": "abc",
            "errors": [{"field": "MMERGE6", "message": "Bitte gib einen Wert ein."}],
        },
        **{"Content-Type": "application/problem+json"},
    )
    with pytest.raises(ApiClientError) as plain:
        sdk.lists.update_list_member("l", "h", {"merge_fields": {}})
    assert str(plain.value) == "" and isinstance(plain.value.text, str)
    with pytest.raises(errors.Rejected) as caught:
        gateway.patch_member("l", "h", {"merge_fields": {"A": "b"}})
    assert caught.value.code == "merge_fields"
    assert caught.value.field_errors[0]["field"] == "MMERGE6"
    assert "merge fields" in str(caught.value)


def test_the_word_server_arrives_unharmed(answers, gateway, sdk):
    sdk.lists.get_list_member("server1", "h")
    gateway.member("server1", "h")
    assert "/lists/us211/" in answers.requests[0][1]
    assert "/lists/server1/" in answers.requests[1][1]


def test_values_in_the_path_are_encoded(answers, gateway):
    gateway.member("li/st", "a b")
    assert answers.requests[-1][1].startswith("/3.0/lists/li%2Fst/members/a%20b")


def test_booleans_are_lower_case(answers, gateway):
    gateway.request("GET", "/lists/{id}/members", {"id": "l"}, {"vip_only": True})
    assert "vip_only=true" in answers.requests[-1][1]


def test_one_connection_serves_many_calls(answers, gateway, sdk):
    for _call in range(5):
        gateway.root()
    assert len(answers.clients) == 1
    for _call in range(3):
        sdk.root.get_root()
    assert len(answers.clients) == 4


def test_nobody_is_home():
    with Gateway(KEY, "http://127.0.0.1:9/3.0", sleep=lambda _s: None) as gateway:
        with pytest.raises(errors.Retryable) as caught:
            gateway.archive_member("l", "h")
    assert not caught.value.outcome_unknown


@pytest.mark.parametrize("body", [b"<html>Hello</html>", b'{"half": ', b'"text"'])
def test_rubbish_is_told_as_such(answers, gateway, body):
    answers.set(200, body, **{"Content-Type": "text/html"})
    with pytest.raises(errors.Protocol):
        gateway.root()


def test_a_redirect_does_not_carry_the_key(answers, gateway):
    answers.set(302, b"", Location=f"{answers.url}/elsewhere")
    with pytest.raises(errors.MailchimpError):
        gateway.root()
    assert len(answers.requests) == 1


def test_replies_have_a_bound(answers):
    answers.set(200, b'{"a": "' + b"x" * 5000 + b'"}')
    with (
        Gateway(KEY, answers.url, max_bytes=1000) as gateway,
        pytest.raises(errors.Protocol),
    ):
        gateway.root()


# === Repeating === #


def test_reading_is_tried_again_and_writing_is_not(answers, gateway):
    answers.set(503, b"")
    with pytest.raises(errors.Retryable):
        gateway.root()
    assert len(answers.requests) == 3
    answers.requests.clear()
    with pytest.raises(errors.Retryable) as caught:
        gateway.patch_member("l", "h", {"merge_fields": {"A": "b"}})
    assert len(answers.requests) == 1
    assert caught.value.outcome_unknown
    answers.requests.clear()
    answers.set(429, b"")
    with pytest.raises(errors.Retryable) as caught:
        gateway.patch_member("l", "h", {"merge_fields": {"A": "b"}})
    # Too many requests: it was not carried out, so it may be sent again.
    assert len(answers.requests) == 3
    assert not caught.value.outcome_unknown


# === What must never happen === #


def test_no_status_but_by_restore(gateway, answers):
    for body in ({"status": "subscribed"}, {"status_if_new": "subscribed"}):
        with pytest.raises(ValueError):
            gateway.patch_member("l", "h", body)
        with pytest.raises(ValueError):
            batches.encode(
                [
                    {
                        "method": "PATCH",
                        "path": "/lists/l/members/h",
                        "operation_id": 1,
                        "body": body,
                    }
                ]
            )
    with pytest.raises(ValueError):
        gateway.subscribe_batch("l", [{"email_address": "a@b.be", "status": "cleaned"}])
    assert not answers.requests


def test_subscribing_never_updates(gateway, answers):
    answers.set(200, {"new_members": [], "errors": []})
    gateway.subscribe_batch("l", [{"email_address": "a@b.be", "status": "subscribed"}])
    body = json.loads(answers.requests[-1][2])
    assert body["update_existing"] is False
    assert "sync_tags" not in body


def test_the_key_is_nowhere(answers, caplog):
    caplog.set_level(logging.DEBUG)
    answers.set(401, {"title": "API Key Invalid", "status": 401, "detail": KEY})
    with Gateway(KEY, answers.url) as gateway:
        with pytest.raises(errors.AuthLost) as caught:
            gateway.root()
        text = f"{caught.value} {caught.value!r} {caught.value.detail} {gateway!r}"
    secret = KEY.split("-")[0]
    assert secret not in text + caplog.text
    assert caught.value.__cause__ is None


# === Several at once === #


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
            for number, result in gateway.map(calls(gateway)):
                assert len(taken) - len(done) <= 3
                assert result["email_address"] == f"a{number}@firma.be"
                done.append(number)
        assert sorted(done) == list(range(20))
        assert simulator.max_in_flight <= 3


def test_an_error_in_flight_is_a_result():
    with Simulator(port=0) as simulator:
        audience = simulator.add_audience("A")
        with Gateway(KEY, simulator.url) as gateway:
            calls = [("gone", gateway.member, audience.id, "0" * 32)]
            ((tag, result),) = gateway.map(iter(calls))
    assert tag == "gone" and isinstance(result, errors.NotFound)


# === Batch results === #


def archive(*files, link=False):
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as tar:
        folder = tarfile.TarInfo("results")
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
        if link:
            item = tarfile.TarInfo("results/link")
            item.type, item.linkname = tarfile.SYMTYPE, "/etc/passwd"
            tar.addfile(item)
        for name, content in files:
            data = json.dumps(content).encode()
            item = tarfile.TarInfo(name)
            item.size = len(data)
            tar.addfile(item, io.BytesIO(data))
    return gzip.compress(raw.getvalue())


def test_batch_results(answers, gateway):
    answers.set(
        200,
        archive(
            (
                "results/1.json",
                [
                    {
                        "status_code": 200,
                        "operation_id": "1",
                        "response": '{"id": "a"}',
                    },
                    {
                        "status_code": 404,
                        "operation_id": "2",
                        "response": '{"title": "Resource Not Found", "status": 404}',
                    },
                ],
            ),
            ("results/2.json", [{"status_code": 204, "operation_id": "3"}]),
        ),
    )
    found = dict(gateway.batch_results(answers.url + "/results"))
    assert found["1"] == {"id": "a"} and found["3"] == {}
    assert isinstance(found["2"], errors.NotFound)
    assert "Authorization" not in answers.requests[-1][3]


@pytest.mark.parametrize(
    "raw",
    [
        archive(("../up.json", [])),
        archive(link=True),
        archive(("a.json", {"not": "a list"})),
        b"rubbish",
    ],
)
def test_unsafe_batch_results_are_refused(answers, gateway, raw):
    answers.set(200, raw)
    with pytest.raises(errors.Protocol):
        list(gateway.batch_results(answers.url + "/results"))


# === Telling refusals apart === #


@pytest.mark.parametrize(
    ("entry", "code"),
    [
        (
            {
                "error": "x is already a list member",
                "error_code": "ERROR_CONTACT_EXISTS",
            },
            "member_exists",
        ),
        (
            {
                "error": "x looks fake or invalid, please enter a real email address.",
                "error_code": "ERROR_GENERIC",
            },
            "fake",
        ),
        (
            {
                "error": "x was permanently deleted and cannot be re-imported. The"
                " contact must re-subscribe to get back on the list.",
                "error_code": "ERROR_GENERIC",
            },
            "forgotten",
        ),
        (
            {
                "error": "x has signed up to a lot of lists very recently; we're not"
                " allowing more signups for now",
                "error_code": "ERROR_GENERIC",
            },
            "too_many_signups",
        ),
        (
            {"error": "Noch nie gehört", "error_code": "ERROR_GENERIC"},
            "other",
        ),
    ],
)
def test_member_errors(entry, code):
    assert errors.classify_member(dict(entry, email_address="x@y.be")).code == code
