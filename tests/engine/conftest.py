"""A server that answers as oddly as told, and the API specification where it is."""

import json
import os
import socket
import threading
from collections import deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import mailchimp_marketing
import pytest
from engine.gateway import Gateway
from keys import KEY


class Answers:
    """A server that gives the prepared answer to everything and notes requests.

    ``requests`` holds ``(method, path, body, headers)``. ``next`` holds what goes
    first: answers as arguments of :meth:`set`, or ``"drop"`` (hang up unanswered),
    ``"stall"`` (never answer), ``"slow"``, and ``"cut"`` (hang up in the middle of a
    long body).
    """

    key = KEY

    def __init__(self):
        self.set()
        self.next = deque()
        self.requests, self.clients = [], set()
        self.over = threading.Event()
        self.open = 0  # requests without an answer yet
        self.lock = threading.Lock()
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
                with outer.lock:
                    outer.open += 1
                outer.reply(self)

            do_GET = do_POST = do_PATCH = do_DELETE = do_PUT = answer

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}/3.0"
        threading.Thread(
            target=self.server.serve_forever, args=(0.01,), daemon=True
        ).start()

    def set(self, status=200, body=b"{}", **headers):
        self.default = (status, body, headers)

    def reply(self, handler):
        todo = self.next.popleft() if self.next else self.default
        if todo in ("stall", "slow"):
            self.over.wait(10 if todo == "stall" else 0.1)
        with self.lock:
            self.open -= 1
        if todo in ("stall", "drop"):
            handler.close_connection = True
            handler.connection.shutdown(socket.SHUT_RDWR)
            return
        cut = todo == "cut"
        status, body, headers = self.default if isinstance(todo, str) else todo
        body = body if isinstance(body, bytes) else json.dumps(body).encode()
        body = body + b" " * 200_000 if cut else body
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(body) + cut))
        handler.end_headers()
        handler.wfile.write(body)
        handler.close_connection = cut

    @property
    def paths(self):
        return [path.removeprefix("/3.0") for _method, path, _body, _h in self.requests]

    @property
    def body(self):
        """The last request's body."""
        return json.loads(self.requests[-1][2])

    def close(self):
        self.over.set()
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def answers():
    answers = Answers()
    yield answers
    answers.close()


@pytest.fixture
def naps():
    """The seconds the gateway slept before retries."""
    return []


@pytest.fixture
def gateway(answers, naps):
    with Gateway(KEY, answers.url, sleep=naps.append, timeout=(2, 0.5)) as gateway:
        yield gateway


@pytest.fixture
def sdk(answers):
    """The plain SDK, to show that each flaw is there."""
    client = mailchimp_marketing.Client()
    client.set_config({"api_key": KEY, "server": "us21"})
    client.api_client.host = answers.url
    return client


@pytest.fixture(scope="session")
def spec():
    """The API specification, as a dict."""
    beside = Path(__file__).parents[3] / "shared/mailchimp-api/marketing-spec.json"
    path = Path(os.environ.get("MAILCHIMP_SPEC") or beside)
    if not path.is_file():
        pytest.skip("the API specification is not here (MAILCHIMP_SPEC)")
    return json.loads(path.read_text(encoding="utf-8"))
