"""Faults, latency, and holding a call at a point until it is released."""

import re
import threading
from dataclasses import dataclass, field

from .problems import Problem

KINDS = (
    *("status", "drop", "drop_applied", "wait", "truncate", "garbage"),
    *("empty", "malformed", "mistyped", "hang", "trickle"),
)
POINTS = ("before", "applied", "answered")
#: Default seconds: how long a call hangs, and the pause between bytes that trickle.
SECONDS = {"hang": 120, "trickle": 0.05}
_TITLES = {
    400: "Bad Request",
    401: "API Key Invalid",
    403: "Forbidden",
    404: "Resource Not Found",
    429: "Too Many Requests",
    500: "Internal Server Error",
    503: "Service Unavailable",
    504: "Gateway Timeout",
}
_DETAILS = {
    401: "Your API key may be invalid, or you've attempted to access the wrong "
    "datacenter.",
    429: "You have exceeded the limit of 10 simultaneous connections.",
}
BLOCKED = (
    b"<!DOCTYPE html><html><head><title>Request Blocked</title></head><body>"
    b"<h1>Request Blocked</h1><p>We had to block your request because of something "
    b"that looked suspicious.</p></body></html>"
)
HTML = {"Content-Type": "text/html"}
GARBAGE = b"<html><body>Down for maintenance</body></html>"
DAMAGE = b"?!"


def route_pattern(glob):
    """Compile a glob such as ``"POST /lists/*"``.

    ``*`` is one path segment, ``**`` any number of them. Without a method, the glob
    matches every method.
    """
    method, _blank, path = glob.strip().rpartition(" ")
    text = re.escape(path).replace(r"\*\*", ".*").replace(r"\*", "[^/]*")
    method = re.escape(method).replace(r"\*", ".*") if method else ".*"
    return re.compile(f"^{method} {text}$")


@dataclass
class Fault:
    """Something that goes wrong on matching calls.

    :param kind: "status" (answer ``status`` instead, nothing applied), "drop" (close
        the connection, nothing applied), "drop_applied" (apply, then close), "wait"
        (apply, then wait ``seconds`` before answering), "truncate" (apply, then send
        half of the answer), "garbage" (apply, then answer 200 with HTML), "empty"
        (apply, then answer 200 without a body), "malformed" (apply, then send the
        answer with its last bytes damaged), "mistyped" (apply, then call the answer
        HTML), "hang" (send nothing until the client goes away or ``seconds`` have
        passed, then close; without ``applied`` nothing is applied), "trickle" (apply,
        then send the answer byte by byte, ``seconds`` apart). ``Faults.clear`` ends
        every wait.
    :param body: for "status": "problem", "empty" or "html".
    :param times: how often it strikes; None: always.
    :param after: how many matching calls to let through first.
    """

    route: str
    kind: str = "status"
    status: int = 503
    body: str = "problem"
    seconds: float = 0
    applied: bool = True
    times: int | None = 1
    after: int = 0

    def __post_init__(self):
        if self.kind not in KINDS:
            raise ValueError(f"Unknown fault {self.kind!r}; known: {', '.join(KINDS)}.")
        if self.body not in ("problem", "empty", "html"):
            raise ValueError('The body of a fault is "problem", "empty" or "html".')
        self.seconds = self.seconds or SECONDS.get(self.kind, 0)
        self.pattern = route_pattern(self.route)

    @property
    def before_applying(self):
        if self.kind == "hang":
            return not self.applied
        return self.kind in ("status", "drop")

    def problem(self):
        return Problem(
            self.status,
            _TITLES.get(self.status, "Error"),
            _DETAILS.get(self.status, "A simulated fault."),
        )


@dataclass
class Latency:
    """Seconds a matching call takes: ``base + per_member * members``."""

    route: str
    base: float = 0
    per_member: float = 0

    def __post_init__(self):
        self.pattern = route_pattern(self.route)


@dataclass
class Hold:
    """Stop a call at a point until it is released.

    :param call: number of the call since the log was cleared, from 1; or None.
    :param route: a glob instead: the first call that matches is held.
    :param point: "before" (applying), "applied" (unanswered), "answered".
    """

    call: int | None = None
    route: str | None = None
    point: str = "before"
    released: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self):
        if self.point not in POINTS:
            raise ValueError(f"A hold's point is one of {', '.join(POINTS)}.")
        if (self.call is None) == (self.route is None):
            raise ValueError("A hold names either a call number or a route.")
        self.pattern = route_pattern(self.route) if self.route else None


class Faults:
    """All faults, latencies and holds of a simulator."""

    def __init__(self):
        self._lock = threading.Lock()
        self.ended = threading.Event()
        self.clear()

    def clear(self):
        """Forget everything, release what is held, and end what waits or hangs."""
        with self._lock:
            # Ends the waits of calls under way; later calls get a fresh event.
            self.ended.set()
            self.ended = threading.Event()
            for hold in getattr(self, "_holds", ()):
                hold.released.set()
            for hold, _call in getattr(self, "_holding", ()):
                hold.released.set()
            self._faults, self._latencies = [], []
            self._holds, self._holding = [], []

    def add(self, route, kind="status", **settings):
        fault = Fault(route, kind, **settings)
        with self._lock:
            self._faults.append(fault)
        return fault

    def add_latency(self, route="**", base=0, per_member=0):
        """Set the latency of a route; 0 ends it."""
        with self._lock:
            self._latencies = [one for one in self._latencies if one.route != route]
            if base or per_member:
                self._latencies.append(Latency(route, base, per_member))

    def hold(self, call=None, route=None, point="before"):
        hold = Hold(call, route, point)
        with self._lock:
            self._holds.append(hold)
        return hold

    def take(self, method, path):
        """Return the fault that strikes this call, or None; it then counts as used."""
        line = f"{method} {path}"
        with self._lock:
            for fault in self._faults:
                if not fault.pattern.match(line):
                    continue
                if fault.after > 0:
                    fault.after -= 1
                    continue
                if fault.times is not None:
                    fault.times -= 1
                    if fault.times <= 0:
                        self._faults.remove(fault)
                return fault
        return None

    def seconds(self, method, path, members):
        line = f"{method} {path}"
        with self._lock:
            return sum(
                latency.base + latency.per_member * members
                for latency in self._latencies
                if latency.pattern.match(line)
            )

    def pause(self, call, point):
        """Wait here if a hold applies to this call at this point."""
        with self._lock:
            hold = next((h for h in self._holds if _fits(h, call, point)), None)
            if hold is None:
                return
            self._holds.remove(hold)
            self._holding.append((hold, call))
        hold.released.wait()
        with self._lock:
            if (hold, call) in self._holding:
                self._holding.remove((hold, call))

    def paused(self):
        """Return what is held now: ``[{call, method, path, point}]``."""
        with self._lock:
            return [
                {
                    "call": call.number,
                    "method": call.method,
                    "path": call.path,
                    "point": hold.point,
                }
                for hold, call in self._holding
            ]

    def release(self):
        """Release everything that is held. :return: the number of calls."""
        with self._lock:
            for hold, _call in self._holding:
                hold.released.set()
            return len(self._holding)

    def describe(self):
        with self._lock:
            return {
                "faults": [
                    {k: v for k, v in vars(f).items() if k != "pattern"}
                    for f in self._faults
                ],
                "latencies": [
                    {k: v for k, v in vars(one).items() if k != "pattern"}
                    for one in self._latencies
                ],
                "holds": [
                    {"call": h.call, "route": h.route, "point": h.point}
                    for h in self._holds
                ],
            }


def _fits(hold, call, point):
    if hold.point != point:
        return False
    if hold.pattern is not None:
        return bool(hold.pattern.match(f"{call.method} {call.path}"))
    return hold.call == call.number
