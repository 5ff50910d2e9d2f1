"""Webhook deliveries: whether Mailchimp sent them, what they say, what they prove.

A delivery is only a hint. Deliveries come late, twice, in any order or not at all, so
what counts is the member as Mailchimp shows it. Only a "no" that no member shows any
more, because somebody archived or deleted it, is taken from the delivery itself.

Sources: Mailchimp's webhook guide for signature, retries and the form of payloads;
``action`` is sometimes missing (mailchimp/mc-magento#169).
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
#: 100,000 deliveries. From there we only ask for changes of address and for what ends a
#: subscription, since other applications unsubscribe people, too.
HOOKS = {
    "people": (
        ("subscribe", "unsubscribe", "profile", "cleaned", "upemail", "campaign"),
        ("user", "admin"),
    ),
    "programs": (("unsubscribe", "cleaned", "upemail"), ("api",)),
}
EVENTS = HOOKS["people"][0]
SOURCES = ("user", "admin", "api")
#: Events that no limit drops: a "no", or a change of address that may hide one.
URGENT = ("unsubscribe", "cleaned", "upemail")
CONTENT_TYPE = "application/x-www-form-urlencoded"
#: 80 merge fields of 255 bytes, percent-encoded, and as much again for groups.
MAX_BODY = 128 * 1024
MAX_FIELDS = 2000
#: How old, or how far in the future, a signature may be.
SIGNATURE_SECONDS = 300
#: Mailchimp retries for 75 minutes. A time outside that range is in another zone.
LATE = timedelta(minutes=80)
AHEAD = timedelta(minutes=5)


class Malformed(ValueError):
    """This is not a delivery from Mailchimp."""


@dataclass(frozen=True)
class Event:
    """What a delivery says. ``fired_at`` is a naive datetime, as Mailchimp wrote it."""

    kind: str
    fired_at: datetime | None = None
    audience: str = ""
    email: str | None = None
    #: Only for ``upemail``, where ``email`` is the former address.
    new_email: str | None = None
    action: str = ""
    reason: str = ""
    campaign: str = ""


def is_reachable(base: str, api_url: str | None = None) -> bool:
    """Return whether Mailchimp can be asked to send deliveries to a URL.

    :param base: URL of this Odoo
    :param api_url: base URL of the API, if it is not Mailchimp's: a stand-in on this
        machine can reach this Odoo without https
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
    """Request one of our URLs, as Mailchimp does before it registers it.

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
    """Return whether Mailchimp signed a body within the last few minutes.

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
    # All are compared, each in constant time.
    fits = [
        hmac.compare_digest(expected, digest.encode("utf-8", "replace"))
        for digest in digests
    ]
    return any(fits) and abs(now - int(stamp)) <= SIGNATURE_SECONDS


def digest(raw: bytes) -> str:
    """Return the hash a delivery is recognised by: a retry has another signature."""
    return hashlib.sha256(raw).hexdigest()


def read(raw: bytes) -> Event:
    """Return the :class:`Event` in a form.

    A form about nobody, such as a contact without an address, is an event, too:
    Mailchimp gives up on a webhook that refuses too much.

    :param raw: the body
    :raise Malformed: this is not a form from Mailchimp
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
    # Any address that Mailchimp may have, not only those Odoo may send to.
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

    ``fired_at`` has no zone. Where it cannot be UTC, we only know that Mailchimp
    retries for 75 minutes.

    :param fired_at: naive datetime, or ``None``
    :param received_at: by Mailchimp's clock
    """
    if fired_at and received_at - LATE <= fired_at <= received_at + AHEAD:
        return fired_at, fired_at
    return received_at - LATE, received_at


def says_no(kind: str, action: str | None, reason: str | None) -> str | None:
    """Return the "no" that a delivery by itself expresses, if any.

    Archiving, by an application or by hand, arrives as an unsubscribe with the action
    ``delete``: nobody said no. A missing action leaves it open.

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

    A "no" that the member shows was noted when it was read, see :mod:`.observe`. If it
    has been archived or deleted since, it shows none, and only the delivery has it.
    Somebody who subscribed after the "no" has taken it back.

    :param delivery: ``hook, kind, action, reason, fired_at, received_at``
    :param seen: the member as Mailchimp has shown it since: ``status``, ``None`` if
        it is not there, and ``agreed_at``, the time of its sign-up
    :param known: from the ledger: ``sent_at``, when we last changed the member
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
        # We unsubscribe pending members ourselves when their contact opts out.
        sent_at = known.get("sent_at")
        if seen["status"] in ("subscribed", "pending"):
            return None  # a program, and not the person, took it back
        if sent_at and sent_at - BEFORE <= latest and earliest <= sent_at + ON_ITS_WAY:
            return None
    return what, latest
