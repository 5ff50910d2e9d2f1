"""Webhooks: the probe, the payload, the signature, and deliveries with retries.

Source: Mailchimp's webhook guide.
"""

import hashlib
import hmac
import secrets
import threading
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from datetime import datetime, timezone
from http.client import HTTPException
from urllib.parse import urlencode, urlsplit

EVENTS = ("subscribe", "unsubscribe", "profile", "cleaned", "upemail", "campaign")
SOURCES = ("user", "admin", "api")
TIMEOUT = 10
#: Seconds after a failure; Mailchimp gives up after 75 minutes.
RETRIES = (60, 300, 600, 1200, 2340)
PROBE_AGENT = "MailChimp.com WebHook Validator"
AGENT = "MailChimp"


@dataclass(eq=False)
class Webhook:
    id: str
    url: str
    events: set = field(default_factory=set)
    sources: set = field(default_factory=set)
    secret: str = field(default_factory=lambda: secrets.token_hex(16))


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_args, **_kwargs):
        return None


_opener = urllib.request.build_opener(_NoRedirect, urllib.request.ProxyHandler({}))


def probe(url):
    """GET the URL as Mailchimp does. :return: the status, 0 without an answer."""
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
    """The value of ``X-Mailchimp-Signature`` for a raw body at ``when`` seconds."""
    text = str(int(when)).encode() + b"." + raw
    digest = hmac.new(secret.encode(), text, hashlib.sha256).hexdigest()
    return f"t={int(when)},v1={digest}"


def form(event, data, fired_at):
    """The form of a delivery: nested keys in brackets."""
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
    """Sends deliveries from a thread of its own, which ends when it has nothing."""

    def __init__(self, account):
        self.account = account
        #: (hook, raw body, due in real seconds, attempt), soonest first.
        self._queue = []
        self._lock = threading.Condition()
        self._thread = None
        #: {url, event, status, attempt}, for tests and the page.
        self.log = []

    def __call__(self, audience, event, data, source):
        # "system" is Mailchimp itself (a bounce): the admin source covers it.
        source = {"person": "user", "system": "admin"}.get(source, source)
        switches = self.account.switches
        when = self.account.clock.now() + switches.fired_at_offset_hours * 3600
        moment = datetime.fromtimestamp(when, timezone.utc)
        fired_at = moment.strftime("%Y-%m-%d %H:%M:%S")
        raw = form(event, {**data, "list_id": audience.id}, fired_at)
        with self._lock:
            for hook in audience.webhooks.values():
                if event in hook.events and source in hook.sources:
                    self._queue.append((hook, event, raw, time.monotonic(), 0))
            if self._queue and self._thread is None:
                self._thread = threading.Thread(target=self._run, daemon=True)
                self._thread.start()

    def _run(self):
        while True:
            with self._lock:
                if not self._queue:
                    self._thread = None
                    self._lock.notify_all()
                    return
                self._queue.sort(key=lambda job: job[3])
                job = self._queue[0]
                wait = job[3] - time.monotonic()
                if wait > 0:
                    self._lock.wait(min(wait, 0.5))
                    continue
                self._queue.pop(0)
            self._deliver(*job)

    def _deliver(self, hook, event, raw, _due, attempt):
        request = urllib.request.Request(
            hook.url,
            data=raw,
            method="POST",
            headers={
                "User-Agent": AGENT,
                "Content-Type": "application/x-www-form-urlencoded",
                "X-Mailchimp-Signature": signature(hook.secret, raw, time.time()),
            },
        )
        status = _status(request)
        self.log.append(
            {"url": hook.url, "event": event, "status": status, "attempt": attempt}
        )
        if not 200 <= status < 300 and attempt < len(RETRIES):
            wait = RETRIES[attempt] / self.account.switches.webhook_speed
            with self._lock:
                self._queue.append(
                    (hook, event, raw, time.monotonic() + wait, attempt + 1)
                )

    def wait(self, timeout=10):
        """Until everything is delivered or given up. :return: False on time-out."""
        with self._lock:
            return self._lock.wait_for(lambda: self._thread is None, timeout)

    def stop(self):
        with self._lock:
            self._queue.clear()
            self._lock.notify_all()
