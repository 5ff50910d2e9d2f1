"""Webhook deliveries: did Mailchimp send one, what does it say, what is it worth.

A delivery is a hint. Deliveries come late, twice, in any order or not at all, so the
member that Mailchimp shows decides. Only a "no" that no member shows any more, since
somebody archived or deleted it, is taken from the delivery itself.

Sources: Mailchimp's webhook guide for signature, retries and the form of payloads;
``action`` is missing at times (mailchimp/mc-magento#169).
"""

import hashlib
import hmac
import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import parse_qsl, urlsplit

import requests

from .credentials import is_loopback
from .observe import BEFORE, ON_ITS_WAY
from .plan import NO
from .session import new_session
from .storable import storable
from .vocabulary import Json, Period

#: Each webhook by name: the events and the sources it listens to. Our own writes come
#: back from the source ``api``, so a push of 100,000 contacts would come back as
#: 100,000 deliveries. From there we only ask for what ends a subscription, as other
#: applications unsubscribe people, too, and for changes of address.
HOOKS = {
    "people": (
        ("subscribe", "unsubscribe", "profile", "cleaned", "upemail", "campaign"),
        ("user", "admin"),
    ),
    "programs": (("unsubscribe", "cleaned", "upemail"), ("api",)),
}
EVENTS = HOOKS["people"][0]
SOURCES = ("user", "admin", "api")
#: Those that no limit drops: a "no", or an address that may hide one.
URGENT = ("unsubscribe", "cleaned", "upemail")
CONTENT_TYPE = "application/x-www-form-urlencoded"
#: 80 merge fields of 255 bytes, percent-encoded, and as much again for groups.
MAX_BODY = 128 * 1024
MAX_FIELDS = 2000
#: So old, or so far ahead, may a signature be.
SIGNATURE_SECONDS = 300
#: Mailchimp retries for 75 minutes. What is dated outside of that has another zone.
LATE = timedelta(minutes=80)
AHEAD = timedelta(minutes=5)


class Malformed(ValueError):
    """This is not a delivery of Mailchimp."""


@dataclass(frozen=True)
class Event:
    """What a delivery says. ``fired_at`` is a naive datetime, as Mailchimp wrote it."""

    kind: str
    fired_at: datetime | None = None
    audience: str = ""
    email: str | None = None
    #: Of ``upemail``; ``email`` is the former address then.
    new_email: str | None = None
    action: str = ""
    reason: str = ""
    campaign: str = ""


def is_reachable(base: str, api_url: str | None = None) -> bool:
    """Return whether Mailchimp can be told to send deliveries to a URL.

    :param base: URL of this Odoo
    :param api_url: base URL of the API, if it is not Mailchimp's: a stand-in on this
        machine reaches this machine without https
    """
    try:
        parts, api = urlsplit(base), urlsplit(api_url or "")
        host, api_host = parts.hostname, api.hostname
    except ValueError:
        return False
    if not host or "@" in parts.netloc or parts.query or parts.fragment:
        return False
    beside = parts.scheme == "http" and is_loopback(host) and is_loopback(api_host)
    return parts.scheme == "https" or beside


def probe(url: str, timeout: tuple[float, float], loopback: bool = False) -> int | None:
    """Ask a URL of ours, as Mailchimp does before it registers it.

    :param timeout: seconds for a connection and for the answer
    :return: the HTTP status, ``None`` without an answer
    """
    session = new_session(loopback, 1)
    try:
        with session.get(
            url, timeout=timeout, allow_redirects=False, stream=True
        ) as response:
            return response.status_code
    except requests.RequestException:
        return None
    finally:
        session.close()


def is_signed(header: str | None, secret: str, raw: bytes, now: float) -> bool:
    """Return whether Mailchimp signed a body, within the last minutes.

    :param header: ``X-Mailchimp-Signature``: ``t=<unix seconds>,v1=<hex>``
    :param secret: the ``signing_secret`` of the webhook
    :param raw: the body as it came
    :param now: Mailchimp's time, in seconds since 1970
    """
    stamp, digests = None, []
    for part in (header or "")[:1000].split(","):
        name, _equals, value = part.strip().partition("=")
        if name == "t":
            stamp = value
        elif name == "v1":
            digests.append(value)
    if not stamp or not re.fullmatch("[0-9]{1,12}", stamp, re.ASCII):
        return False
    made = hmac.new(secret.encode(), f"{stamp}.".encode() + raw, hashlib.sha256)
    expected = made.hexdigest().encode()
    # Each is compared, and in constant time.
    fits = [
        hmac.compare_digest(expected, digest.encode("utf-8", "replace"))
        for digest in digests
    ]
    return any(fits) and abs(now - int(stamp)) <= SIGNATURE_SECONDS


def digest(raw: bytes) -> str:
    """Return what a delivery is recognised by: a retry has another signature."""
    return hashlib.sha256(raw).hexdigest()


def read(raw: bytes) -> Event:
    """Return the :class:`Event` of a form.

    One that is about nobody, such as a contact without an address, is an event, too:
    Mailchimp gives up a webhook that refuses too much.

    :param raw: the body
    :raise Malformed: not a form of Mailchimp
    """
    try:
        pairs = parse_qsl(
            raw.decode("utf-8"), keep_blank_values=True, max_num_fields=MAX_FIELDS
        )
    except ValueError as error:  # UnicodeDecodeError is one
        raise Malformed("not a form") from error
    form = dict(pairs)
    if len(raw) > MAX_BODY or len(form) < len(pairs):
        raise Malformed("too long, or a key that comes twice")
    kind = form.get("type", "")
    if not re.fullmatch("[a-z][a-z_]{1,31}", kind):
        raise Malformed("no type")
    old = _address(form.get("data[old_email]"))
    return Event(
        kind=kind,
        fired_at=_moment(form.get("fired_at")),
        audience=_text(form.get("data[list_id]"), 32),
        email=_address(form.get("data[email]")) if kind != "upemail" else old,
        new_email=_address(form.get("data[new_email]")),
        action=_text(form.get("data[action]"), 16),
        reason=_text(form.get("data[reason]"), 255),
        campaign=_text(
            form.get("data[id]" if kind == "campaign" else "data[campaign_id]"), 32
        ),
    )


def _address(text: str | None) -> str | None:
    # Not what Odoo may send to, but what Mailchimp has.
    text = storable(text or "").strip().lower()
    return text if re.fullmatch(r"[^\s@]+@[^\s@]+", text) and len(text) < 255 else None


def _text(text: str | None, length: int) -> str:
    return storable(text or "")[:length]


def _moment(text: str | None) -> datetime | None:
    try:
        return datetime.strptime(text or "", "%Y-%m-%d %H:%M:%S")
    except ValueError:
        return None


def bounds(fired_at: datetime | None, received_at: datetime) -> Period:
    """Return the earliest and the latest time at which an event can have happened.

    ``fired_at`` has no zone. Where it cannot be UTC, all that is known is that
    Mailchimp tries for 75 minutes.

    :param fired_at: naive datetime, or ``None``
    :param received_at: by Mailchimp's clock
    """
    if fired_at and received_at - LATE <= fired_at <= received_at + AHEAD:
        return fired_at, fired_at
    return received_at - LATE, received_at


def says_no(kind: str, action: str | None, reason: str | None) -> str | None:
    """Return what a delivery by itself says of a person, if it is a "no".

    Archiving, by an application or by hand, comes as an unsubscribe with the action
    ``delete``: nobody said no. A missing action says neither.

    :return: ``unsubscribed``, ``complained``, ``cleaned`` or ``None``
    """
    if kind in ("unsubscribe", "cleaned") and reason == "abuse":
        return "complained"
    if kind == "cleaned":
        return "cleaned"
    if kind == "unsubscribe" and action == "unsub":
        return "unsubscribed"
    return None


def verdict(delivery: Json, seen: Json, known: Json) -> tuple[str, datetime] | None:
    """Return the "no" to note because of a delivery, after a look at the member.

    What the member itself shows was noted when it was read, see :mod:`.observe`. It
    shows no "no" any more if it was archived or deleted meanwhile, and that is what a
    delivery is good for. Whoever subscribed after the "no" has not said no.

    :param delivery: ``hook, kind, action, reason, fired_at, received_at``
    :param seen: the member as Mailchimp showed it since: ``status``, ``None`` if
        it is not there, and ``agreed_at``, the time of its sign-up
    :param known: of the ledger: ``sent_at``, when we last changed the member
    :return: ``(what, date)``, or ``None``
    """
    what = says_no(delivery["kind"], delivery["action"], delivery["reason"])
    if not what:
        return None
    earliest, latest = bounds(delivery["fired_at"], delivery["received_at"])
    if seen["agreed_at"] and seen["agreed_at"] > earliest:
        return None
    if seen["status"] in NO and what != "complained":
        return None
    if delivery["hook"] == "programs":
        # We unsubscribe members that are pending, for contacts that opt out.
        sent_at = known.get("sent_at")
        if seen["status"] in ("subscribed", "pending"):
            return None  # a program, and not the person, took it back
        if sent_at and sent_at - BEFORE <= latest and earliest <= sent_at + ON_ITS_WAY:
            return None
    return what, latest
