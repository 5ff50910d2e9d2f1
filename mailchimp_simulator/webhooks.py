"""Webhooks: the probe, the payload, the signature, and deliveries with retries.

Source: Mailchimp's webhook guide.
"""

import hashlib
import heapq
import hmac
import random
import secrets
import threading
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from datetime import datetime, timezone
from http.client import HTTPException
from itertools import count
from urllib.parse import urlencode, urlsplit

EVENTS = ("subscribe", "unsubscribe", "profile", "cleaned", "upemail", "campaign")
SOURCES = ("user", "admin", "api")
TIMEOUT = 10
AT_ONCE = 8  # deliveries under way
#: Seconds to wait after each failure; Mailchimp gives up after 75 minutes.
RETRIES = (60, 300, 600, 1200, 2340)
PROBE_AGENT = "MailChimp.com WebHook Validator"
AGENT = "MailChimp"


@dataclass(eq=False)
class Webhook:
    id: str
    url: str
    events: set = field(default_factory=set)
    sources: set = field(default_factory=set)
    #: ``None`` for a webhook created before deliveries were signed.
    secret: str | None = field(default_factory=lambda: secrets.token_hex(16))


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_args, **_kwargs):
        return None


_opener = urllib.request.build_opener(_NoRedirect, urllib.request.ProxyHandler({}))


def probe(url):
    """GET the URL as Mailchimp does. :return: the status, or 0 without an answer."""
    try:
        if urlsplit(url).scheme.lower() not in ("http", "https"):
            return 0
        request = urllib.request.Request(url, headers={"User-Agent": PROBE_AGENT})
    except ValueError:
        return 0
    return _status(request)


def _status(request):
    try:
        with _opener.open(request, timeout=TIMEOUT) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code
    except (OSError, ValueError, HTTPException):
        return 0


def signature(secret, raw, when):
    """Return ``X-Mailchimp-Signature`` for a raw body sent at ``when`` (seconds)."""
    text = str(int(when)).encode() + b"." + raw
    digest = hmac.new(secret.encode(), text, hashlib.sha256).hexdigest()
    return f"t={int(when)},v1={digest}"


def form(event, data, fired_at):
    """Return a delivery as an encoded form, with nested keys in brackets."""
    pairs = [("type", event), ("fired_at", fired_at)]

    def add(prefix, value):
        if isinstance(value, dict):
            for key, inner in value.items():
                add(f"{prefix}[{key}]", inner)
        else:
            pairs.append((prefix, str(value)))

    for key, value in data.items():
        add(f"data[{key}]", value)
    return urlencode(pairs).encode()


class Deliverer:
    """Sends deliveries from threads of its own, which end when nothing is left."""

    def __init__(self, account):
        self.account = account
        #: A heap of (due in real seconds, number, hook, event, raw body, attempt).
        self._queue = []
        self._numbers = count()
        self._lock = threading.Condition()
        self._threads = 0
        self._held = False
        #: {url, event, status, attempt}, for tests and the page.
        self.log = []

    def __call__(self, audience, event, data, source):
        # "system" is Mailchimp itself (a bounce): the admin source covers it.
        source = {"person": "user", "system": "admin"}.get(source, source)
        switches = self.account.switches
        when = self.account.clock.now() + switches.fired_at_offset_hours * 3600
        moment = datetime.fromtimestamp(when, timezone.utc)
        fired_at = moment.strftime("%Y-%m-%d %H:%M:%S")
        data = {**data, "list_id": audience.id}
        if not switches.unsubscribe_has_action:
            data.pop("action", None)
        raw = form(event, data, fired_at)
        with self._lock:
            for hook in audience.webhooks.values():
                if event in hook.events and source in hook.sources:
                    self._add(time.monotonic(), hook, event, raw, 0)
            self._begin()

    def _add(self, due, *job):
        heapq.heappush(self._queue, (due, next(self._numbers), *job))

    def _begin(self):
        """Start as many threads as there is work for; the caller holds the lock."""
        while not self._held and self._threads < min(AT_ONCE, len(self._queue)):
            self._threads += 1
            threading.Thread(target=self._run, daemon=True).start()

    def _run(self):
        while job := self._next():
            self._deliver(*job)

    def _next(self):
        """Wait until a delivery is due; ``None`` if none is left or all are held."""
        with self._lock:
            while self._queue and not self._held:
                wait = self._queue[0][0] - time.monotonic()
                if wait <= 0:
                    return heapq.heappop(self._queue)[2:]
                self._lock.wait(min(wait, 0.5))
            self._threads -= 1
            self._lock.notify_all()
            return None

    def _deliver(self, hook, event, raw, attempt):
        headers = {
            "User-Agent": AGENT,
            "Content-Type": "application/x-www-form-urlencoded",
        }
        if hook.secret:
            # Timed by Mailchimp's own clock, like everything it reports.
            headers["X-Mailchimp-Signature"] = signature(
                hook.secret, raw, self.account.clock.now()
            )
        status = _status(
            urllib.request.Request(hook.url, data=raw, method="POST", headers=headers)
        )
        self.log.append(
            {"url": hook.url, "event": event, "status": status, "attempt": attempt}
        )
        if not 200 <= status < 300 and attempt < len(RETRIES):
            wait = RETRIES[attempt] / self.account.switches.webhook_speed
            with self._lock:
                self._add(time.monotonic() + wait, hook, event, raw, attempt + 1)

    def hold(self):
        """Hold deliveries back until :meth:`release`; those under way go on."""
        with self._lock:
            self._held = True

    def release(self, order="as they came", times=1, seed=0):
        """Send what was held back.

        :param order: ``as they came``, ``reversed`` or ``shuffled``
        :param times: how often each is sent: Mailchimp promises only "at least once"
        :return: how many will be sent
        :raise ValueError: for another order
        """
        orders = {
            "as they came": lambda queue: None,
            "reversed": list.reverse,
            "shuffled": random.Random(seed).shuffle,
        }
        if order not in orders:
            raise ValueError(f"The order is one of: {', '.join(orders)}.")
        with self._lock:
            jobs = [entry[2:] for entry in sorted(self._queue)] * max(1, int(times))
            orders[order](jobs)
            self._queue.clear()
            for job in jobs:
                self._add(time.monotonic(), *job)
            self._held = False
            self._begin()
            self._lock.notify_all()
            return len(self._queue)

    @property
    def waiting(self):
        """``[(webhook, raw body)]`` of the deliveries not sent yet, first due first."""
        with self._lock:
            return [(job[2], job[4]) for job in sorted(self._queue)]

    def wait(self, timeout=10):
        """Wait until all is delivered or given up. :return: False on time-out."""
        with self._lock:
            return self._lock.wait_for(lambda: not self._threads, timeout)

    def stop(self):
        with self._lock:
            self._queue.clear()
            self._held = False
            self._lock.notify_all()
