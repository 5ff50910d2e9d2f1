"""The simulator: one account behind one HTTP server, with its log and its faults."""

import fnmatch
import json
import pickle
import threading
import time
import traceback
import uuid
from collections import deque
from dataclasses import asdict, dataclass
from email.utils import formatdate
from pathlib import Path

from . import auth, batches, control, oauth, problems, routing, spec, web
from . import routes as _routes  # noqa: F401  (registers the endpoints)
from .acts import AudienceActs
from .faults import BLOCKED, DAMAGE, GARBAGE, HTML, Faults
from .server import Reply, Server
from .state import DEFAULT_KEY, Account, ApiKey
from .switches import Switches
from .webhooks import Deliverer

MAX_CALLS = 100_000
_JSON = "application/json; charset=utf-8"
_PROBLEM = "application/problem+json; charset=utf-8"


@dataclass
class Call:
    """One API request; ``path`` comes without ``/3.0``, times are in seconds."""

    number: int
    method: str
    path: str
    query: dict
    body: object = None
    status: int | None = None
    started: float = 0
    finished: float | None = None
    #: Requests in flight when it arrived, including itself.
    in_flight: int = 0


class Simulator:
    """A Mailchimp account on a local port.

    Use it as a context manager or call ``start`` and ``stop``. Any other keyword
    argument is a switch (see ``Switches``).

    :param port: 0 picks a free one. :param api_key: the owner's key.
    :param state: a file to load the account from, if it exists, and to save it to
        when the simulator stops.
    """

    def __init__(
        self, port=0, host="127.0.0.1", api_key=DEFAULT_KEY, state=None, **switches
    ):
        self.host = host
        self.port = port
        self.api_key = api_key
        self.switches = Switches()
        self.switches.update(**switches)
        self.faults = Faults()
        self.lock = threading.RLock()
        self._state = Path(state) if state else None
        self._server = None
        self._callbacks = []
        self._log_lock = threading.Lock()
        self._in_flight = 0
        self._checker = spec.Checker(spec.path())
        self._take(self._load() or self._fresh())
        self.clear_calls()

    def _fresh(self):
        account = Account(self.switches)
        account.keys[self.api_key] = ApiKey()
        return account

    def _take(self, account):
        self.account = account
        account.switches = self.switches
        self.deliveries = Deliverer(account)
        account.listener = self.deliveries

    def _load(self):
        if self._state is None or not self._state.is_file():
            return None
        with self._state.open("rb") as stream:
            return pickle.load(stream)

    def save(self):
        """Write the account to the state file, if there is one."""
        if self._state is None:
            return
        with self.lock:
            raw = pickle.dumps(self.account)
        aside = self._state.with_suffix(".new")
        aside.write_bytes(raw)
        aside.replace(self._state)

    # --- running -----------------------------------------------------------------

    def start(self):
        """Serve in a thread; return self. :raise OSError: when the port is taken."""
        self._server = Server(self.host, self.port, self._answer)
        self.port = self._server.port
        thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.01}
        )
        thread.daemon = True
        thread.start()
        return self

    def stop(self):
        """Close the port and all connections; ``start`` reopens the same account."""
        self.faults.clear()
        self.deliveries.stop()
        if self._server is not None:
            self._server.close()
            self._server = None
        self.save()

    def __enter__(self):
        return self.start()

    def __exit__(self, *_exc):
        self.stop()

    @property
    def root(self):
        """The URL of the web page, without a trailing slash."""
        return f"http://{self.host}:{self.port}"

    @property
    def url(self):
        """The URL of the API, without a trailing slash."""
        return f"{self.root}/3.0"

    @property
    def connections(self):
        """The number of connections that are open now."""
        return self._server.connections if self._server else 0

    @property
    def clock(self):
        return self.account.clock

    def advance(self, seconds):
        """Move the clock forward."""
        self.account.clock.advance(seconds)

    def reset(self):
        """Start over with a fresh account, no calls and no faults; switches stay."""
        self._replace(self._fresh())

    def snapshot(self, *handles):
        """Return the account as bytes, for ``restore``.

        :param handles: audiences, campaigns... to get back from ``restore``
        """
        with self.lock:
            return pickle.dumps((self.account, handles))

    def restore(self, snapshot):
        """Bring back the account as it was, without calls or faults; switches stay.

        :return: the handles given to ``snapshot``. All others still belong to the
            replaced account: get new ones.
        """
        account, handles = pickle.loads(snapshot)
        self._replace(account)
        for handle in handles:
            if isinstance(handle, AudienceActs):
                handle._lock = self.lock
        return handles

    def _replace(self, account):
        with self.lock:
            self.faults.clear()
            self.deliveries.stop()
            self._take(account)
            self.clear_calls()

    # --- the account -------------------------------------------------------------

    def add_audience(self, name="Audience", **settings):
        """Create an audience with Mailchimp's default merge fields."""
        with self.lock:
            audience = self.account.add_audience(name, **settings)
        return AudienceActs(audience, self.lock)

    def audience(self, list_id):
        """Return the audience with this id. :raise KeyError: when there is none."""
        return AudienceActs(self.account.audiences[list_id], self.lock)

    @property
    def audiences(self):
        return [AudienceActs(a, self.lock) for a in self.account.audiences.values()]

    def add_key(self, key, role="owner"):
        self.account.keys[key] = ApiKey(role)

    def revoke_key(self, key=None):
        self.account.keys[key or self.api_key].revoked = True

    def restore_key(self, key=None):
        key = key or self.api_key
        self.account.keys[key] = ApiKey(self.account.keys[key].role)

    def disable_user(self, key=None):
        self.account.keys[key or self.api_key].disabled = True

    def add_account(self, name="Another account", key=None):
        """Add another Mailchimp account, with a key of its own and no audience yet."""
        with self.lock:
            number = len(self.account.others) + 1
            other = Account(self.switches, name, seed=f"{self.account.seed}:{number}")
            other.clock = self.account.clock
            other.keys[key or f"{number:032x}-us21"] = ApiKey()
            self.account.others.append(other)
        return other

    def handle(self, audience):
        """Return the acts of an audience that belongs to another account."""
        return AudienceActs(audience, self.lock)

    def add_app(self, client_id, client_secret, redirect_uri, name="Odoo"):
        """Register an app that people may log in with."""
        app = oauth.App(client_id, client_secret, redirect_uri, name)
        self.account.apps[client_id] = app

    def revoke_app(self, client_id=None):
        """The user revokes an app's access in Mailchimp; without an id, every app's."""
        with self.lock:
            oauth.revoke(self.account, client_id)

    def logins(self, client_id=None):
        """Return the number of tokens that still work."""
        return sum(
            not token.revoked and client_id in (None, token.client_id)
            for account in oauth.accounts(self.account)
            for token in account.tokens.values()
        )

    # --- the log -----------------------------------------------------------------

    def clear_calls(self):
        """Forget the calls so far; numbering restarts at 1."""
        with self._log_lock:
            self._calls = deque(maxlen=MAX_CALLS)
            self.violations = []
            self._number = 0
            self.max_in_flight = 0

    @property
    def calls(self):
        """The calls so far, oldest first (a copy)."""
        with self._log_lock:
            return list(self._calls)

    def count(self, method=None, path_glob=None):
        """Count calls by method and path (a shell pattern; ``*`` crosses slashes)."""
        with self._log_lock:
            return sum(
                method in (None, call.method)
                and (path_glob is None or fnmatch.fnmatchcase(call.path, path_glob))
                for call in self._calls
            )

    def on_call(self, callback):
        """Run ``callback(call, point)`` at "before", "applied" and "answered".

        It runs in the thread of the call, which waits for it. :return: a function
        that removes the callback.
        """
        self._callbacks.append(callback)
        return lambda: self._callbacks.remove(callback)

    def fault(self, route, kind="status", **settings):
        """See ``faults.Fault``."""
        return self.faults.add(route, kind, **settings)

    def latency(self, base=0, per_member=0, route="**"):
        """Delay calls by ``base`` seconds, plus ``per_member`` for each member in them.

        Replaces any latency set for the same route; 0 removes it.
        """
        self.faults.add_latency(route, base, per_member)

    def hold(self, call=None, route=None, point="before"):
        """See ``faults.Hold``."""
        return self.faults.hold(call, route, point)

    def paused(self):
        return self.faults.paused()

    def release(self):
        return self.faults.release()

    def _reach(self, call, point):
        for callback in list(self._callbacks):
            callback(call, point)
        self.faults.pause(call, point)

    # --- answering ---------------------------------------------------------------

    def _answer(self, received):
        reply = self._reply(received)
        if self.switches.date_header:
            now = self.clock.exact()
            reply.headers.setdefault("Date", formatdate(now, usegmt=True))
        return reply

    def _reply(self, received):
        path = received.path
        if path == "/3.0" or path.startswith("/3.0/"):
            return self._answer_api(received, path[len("/3.0") :] or "/")
        if path in ("/oauth2/token", "/oauth2/metadata"):
            return self._answer_api(received, path)
        try:
            if path.startswith("/batch-results/"):
                return self._answer_results(received)
            if path.startswith("/control"):
                return control.answer(self, received)
            return web.answer(self, received)
        except Exception:  # a bug in the simulator itself
            traceback.print_exc()
            return Reply(500, {"Content-Type": "text/plain"}, b"Simulator error")

    def _answer_api(self, received, path):
        with self._log_lock:
            self._in_flight += 1
            self._number += 1
            self.max_in_flight = max(self.max_in_flight, self._in_flight)
            call = Call(
                self._number,
                received.method,
                path,
                routing.parse_query(received.query),
                started=time.time(),
                in_flight=self._in_flight,
            )
            self._calls.append(call)
        try:
            reply = self._handle(call, received)
        except BaseException:
            self._leave()
            raise
        call.status = None if reply.drop or reply.hang else reply.status

        def after():
            call.finished = time.time()
            try:
                self._reach(call, "answered")
            finally:
                self._leave()

        reply.after = after
        return reply

    def _leave(self):
        with self._log_lock:
            self._in_flight -= 1

    def _handle(self, call, received):
        ended = self.faults.ended
        self._reach(call, "before")
        fault = self.faults.take(call.method, call.path)
        if fault is not None and fault.before_applying:
            return self._fault_reply(fault, ended)
        request = routing.Request(
            self.account,
            call.method,
            call.path,
            call.query,
            ip=received.ip,
            base_url=f"http://{received.headers.get('Host') or self.host}/3.0",
        )
        try:
            reply = _json_reply(self._run(call, request, received), request)
        except problems.Problem as problem:
            reply = self._problem_reply(problem)
        except oauth.Refusal as refusal:
            reply = oauth.refusal_reply(refusal)
        except Exception as error:  # a bug in the simulator itself
            traceback.print_exc()
            reply = self._problem_reply(
                problems.Problem(500, "Simulator Error", f"{error!r}")
            )
        self._reach(call, "applied")
        seconds = self.faults.seconds(call.method, call.path, request.weight)
        if fault is not None:
            if fault.kind == "drop_applied":
                return Reply(drop=True)
            if fault.kind == "garbage":
                return Reply(200, dict(HTML), GARBAGE)
            if fault.kind == "empty":
                return Reply(200)
            if fault.kind == "hang":
                return Reply(hang=fault.seconds, ended=ended)
            if fault.kind == "malformed" and reply.body:
                reply.body = reply.body[: -len(DAMAGE)] + DAMAGE
            if fault.kind == "mistyped":
                reply.headers.update(HTML)
            if fault.kind == "trickle":
                reply.trickle, reply.ended = fault.seconds, ended
            if fault.kind == "wait":
                seconds += fault.seconds
            reply.truncate = fault.kind == "truncate"
        if seconds:
            ended.wait(seconds)
        return reply

    def _run(self, call, request, received):
        """Return the data of the answer. :raise Problem: for every refusal."""
        if call.in_flight > self.switches.max_in_flight:
            raise problems.too_many_requests()
        if call.path.startswith("/oauth2/"):
            with self.lock:
                return oauth.call(self.account, received, call.path)
        header = received.headers.get("Authorization", "")
        request.account = auth.owner(self.account, header)
        request.key = auth.authenticate(request.account, request, header)
        found, values = routing.match(request.method, request.path)
        request.template = found.template
        request.body = _parsed(received)
        if self.switches.record_bodies:
            call.body = request.body
        self._inspect(call, request)
        if not found.locked:
            data = found.handler(request, **values)
        else:
            with self.lock:
                batches.look(request.account, polled=False)
                data = found.handler(request, **values)
        return routing.shaped(data, request.query)

    def _inspect(self, call, request):
        """Record what the specification does not know; with ``strict``, refuse it."""
        if not self.switches.validate:
            return
        found = self._checker.findings(request)
        if not found:
            return
        with self._log_lock:
            self.violations += [
                {
                    "call": call.number,
                    "method": call.method,
                    "path": call.path,
                    "field": field,
                    "message": message,
                }
                for field, message in found
            ]
        if self.switches.strict:
            raise problems.schema(*found)

    def _problem_reply(self, problem):
        instance = str(uuid.uuid4())
        body = problem.body(instance, self.switches.problems_have_type)
        headers = {
            "Content-Type": _PROBLEM,
            "X-Request-Id": instance,
            **problem.headers,
        }
        if problem.status < 500:
            headers["Link"] = _link("ProblemDetailDocument")
        return Reply(problem.status, headers, _dumps(body))

    def _fault_reply(self, fault, ended):
        if fault.kind == "drop":
            return Reply(drop=True)
        if fault.kind == "hang":
            return Reply(hang=fault.seconds, ended=ended)
        if fault.body == "problem":
            return self._problem_reply(fault.problem())
        if fault.body == "html":
            return Reply(fault.status, dict(HTML), BLOCKED)
        return Reply(fault.status)

    def _answer_results(self, received):
        """Serve batch results, which Mailchimp keeps on a host without API keys."""
        if received.headers.get("Authorization"):
            return _xml(400, "InvalidArgument", "Only one auth mechanism allowed")
        batch_id, _slash, name = (
            received.path.strip("/").partition("/")[2].partition("/")
        )
        with self.lock:
            batch = self.account.batches.get(batch_id)
            until = batch and batch.tokens.get(name.partition("-")[0])
            if not until or until < self.clock.exact():
                return _xml(403, "AccessDenied", "Request has expired")
            raw = batches.archive(batch, self.switches.operations_per_file)
        return Reply(200, {"Content-Type": "application/x-gzip"}, raw)

    # --- what is going on --------------------------------------------------------

    def overview(self):
        """Return the calls and violations as plain data."""
        with self._log_lock:
            return {
                "total": self._number,
                "in_flight": self._in_flight,
                "max_in_flight": self.max_in_flight,
                "calls": [asdict(call) for call in self._calls],
                "violations": list(self.violations),
            }


def _dumps(data):
    return json.dumps(data, separators=(",", ":")).encode()


def _link(name):
    """Return the ``Link`` to a schema, which the service sends with 200 and 4xx."""
    host = "https://us21.api.mailchimp.com/schema/3.0/Definitions"
    return f'<{host}/{name}.json>; rel="describedBy"'


def _json_reply(data, request):
    headers = {"X-Request-Id": str(uuid.uuid4())}
    if data is None:
        return Reply(204, headers)
    headers["Content-Type"] = _JSON
    names = [part for part in request.template.split("/") if part[:1] not in ("", "{")]
    headers["Link"] = _link("/".join([*(n.title() for n in names), "Response"]))
    return Reply(200, headers, _dumps(data))


def _xml(status, code, message):
    body = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>"
    return Reply(status, {"Content-Type": "application/xml"}, body.encode())


def _parsed(received):
    """Return the JSON object of a body: {} if it is empty, None for GET and DELETE."""
    if received.method in ("GET", "DELETE", "HEAD"):
        return None
    if not received.body.strip():
        return {}
    try:
        body = json.loads(received.body)
    except ValueError:
        raise problems.json_parse() from None
    if not isinstance(body, dict):
        raise problems.schema(("", "Schema describes object, array found instead"))
    return body
