"""What parts of a report say about recipients: from API entries to table rows."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any, NamedTuple

from .address import member_hash
from .storable import ADDRESS_LENGTH, dicts_in, moment, ref_of, text_of
from .vocabulary import Json

#: Mailchimp lists no more opens than this, and no more clicks, for each member.
EVENTS_LISTED = 1000


class Event(NamedTuple):
    """What a recipient did.

    The number tells apart events within the same second: programs that look at mail
    before people do are that quick, and Mailchimp counts each event.
    """

    kind: str
    date: datetime
    url: str
    number: int
    detail: str | None

    @property
    def key(self) -> tuple[str, datetime, str, int]:
        """What distinguishes it from the recipient's other events."""
        return self[:-1]


class Person(NamedTuple):
    """A recipient, and what Mailchimp says besides the hash of the address.

    ``sums`` is what :func:`summary` makes of the events.
    """

    ref: str
    address: str | None
    status: str | None
    variant: str | None
    events: list[Event]
    sums: Json


def people(part: str, entries: Any, since: datetime | None = None) -> list[Person]:
    """Return the recipients on a page of a report, each once, with what they did.

    :param part: the part of the report that the page belongs to; only *sent-to* tells
        the status of the mail
    :param since: only activity after it. It is not documented whether Mailchimp itself
        drops earlier events, or leaves out recipients who did nothing since.
    """
    rows = {}
    events_of: dict[str, list[Event]] = {}
    for entry in dicts_in(entries):
        ref, address = _who(entry)
        if not ref:
            continue
        status = text_of(entry.get("status"))
        rows[ref] = (
            ref,
            address,
            status if status in ("sent", "hard", "soft") else None,
            text_of(entry.get("absplit_group")) or None,
        )
        events = list(_events(part, entry, since))
        if ref in events_of:
            # Mailchimp gives events no id, and may list an entry twice.
            both = {event.key: event for event in (*events_of[ref], *events)}
            events = list(both.values())
        events_of[ref] = events
    found, nothing = [], summary(())
    for ref, row in rows.items():
        events = events_of[ref]
        found.append(Person(*row, events, summary(events) if events else nothing))
    return found


def _events(part: str, entry: Json, since: datetime | None) -> Iterable[Event]:
    if part == "activity":
        return _activity(entry, since)
    if part == "unsubscribed":
        return _single("unsubscribe", entry.get("timestamp"), entry.get("reason"))
    if part == "complaints":
        return _single("complaint", entry.get("date"), None)
    return ()


def _activity(entry: Json, since: datetime | None) -> Iterator[Event]:
    numbers: dict[tuple[str, datetime, str], int] = {}
    for event in dicts_in(entry.get("activity")):
        kind, date = event.get("action"), moment(event.get("timestamp"))
        if kind in ("open", "click", "bounce") and date:
            if since is None or date > since:
                url = text_of(event.get("url")) if kind == "click" else ""
                detail = text_of(event.get("type")) if kind == "bounce" else ""
                key = kind, date, url
                numbers[key] = number = numbers.get(key, 0) + 1
                yield Event(kind, date, url, number, detail or None)


def _single(kind: str, stamp: Any, detail: Any) -> Iterator[Event]:
    date = moment(stamp)
    if date:
        yield Event(kind, date, "", 1, text_of(detail) or None)


def summary(events: Iterable[Event]) -> Json:
    """Return a summary of all events of one recipient, as columns of the recipient."""
    dates: dict[str, list[datetime]] = {}
    details: dict[str, set[str]] = {}
    for event in events:
        dates.setdefault(event.kind, []).append(event.date)
        if event.detail:
            details.setdefault(event.kind, set()).add(event.detail)
    opens, clicks = dates.get("open", ()), dates.get("click", ())
    bounces = details.get("bounce", ())
    return {
        "open_count": len(opens),
        "first_open": min(opens, default=None),
        "last_open": max(opens, default=None),
        "click_count": len(clicks),
        "first_click": min(clicks, default=None),
        "last_click": max(clicks, default=None),
        "bounce_date": max(dates.get("bounce", ()), default=None),
        "bounced": next((kind for kind in ("hard", "soft") if kind in bounces), None),
        "unsubscribed_date": max(dates.get("unsubscribe", ()), default=None),
        "unsubscribe_reason": max(details.get("unsubscribe", ()), default=None),
        "complaint_date": min(dates.get("complaint", ()), default=None),
    }


def _who(entry: Json) -> tuple[str, str | None]:
    """Return the hash and the address of a recipient, each where Mailchimp gives it."""
    address = text_of(entry.get("email_address")).strip().lower()
    if len(address) > ADDRESS_LENGTH:
        address = ""
    ref = ref_of(entry.get("email_id")) or (address and member_hash(address))
    return ref.lower(), address or None
