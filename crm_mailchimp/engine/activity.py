"""What parts of a report say about recipients: from API entries to table rows."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any, NamedTuple

from .address import member_hash
from .storable import ADDRESS_LENGTH, dicts_in, moment, ref_of, text_of
from .vocabulary import Json

#: Mailchimp lists no more opens than this, and no more clicks, for each member.
EVENTS_LISTED = 1000


class Who(NamedTuple):
    """A recipient: the hash, and the address where Mailchimp gives it."""

    ref: str
    address: str | None


class RecipientRow(NamedTuple):
    """A recipient, with the status of the mail and the variant of a test."""

    ref: str
    address: str | None
    status: str | None
    variant: str | None


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


class EventRow(NamedTuple):
    """A recipient with one :class:`Event`."""

    ref: str
    address: str | None
    kind: str
    date: datetime
    url: str
    number: int
    detail: str | None

    @property
    def event(self) -> Event:
        """The event alone, without the recipient."""
        return Event(*self[2:])


class Person(NamedTuple):
    """A recipient with events, and what :func:`summary` makes of them."""

    ref: str
    address: str | None
    status: str | None
    variant: str | None
    events: list[Event]
    sums: Json


def recipient_rows(entries: Any) -> list[RecipientRow]:
    """Return the recipients in *sent-to*, or in another part, which has no status.

    :return: each recipient once
    """
    rows: dict[str, RecipientRow] = {}
    for entry in dicts_in(entries):
        who = _who(entry)
        if who:
            status = text_of(entry.get("status"))
            rows[who.ref] = RecipientRow(
                *who,
                status if status in ("sent", "hard", "soft") else None,
                text_of(entry.get("absplit_group")) or None,
            )
    return list(rows.values())


def people(part: str, entries: Any, since: datetime | None = None) -> list[Person]:
    """Return the recipients on a page, with what they did.

    :param part: the part of the report that the page belongs to
    :param since: as for :func:`activity_rows`
    """
    events_of: dict[str, list[Event]] = {}
    rows: list[EventRow] = []
    if part == "activity":
        rows = activity_rows(entries, since)
    elif part == "unsubscribed":
        rows = unsubscribe_rows(entries)
    elif part == "complaints":
        rows = complaint_rows(entries)
    for row in rows:
        events_of.setdefault(row.ref, []).append(row.event)
    found = []
    for person in recipient_rows(entries):
        events = events_of.get(person.ref, [])
        sums = summary((event.kind, event.date, event.detail) for event in events)
        found.append(Person(*person, events, sums))
    return found


def activity_rows(entries: Any, since: datetime | None = None) -> list[EventRow]:
    """Return events of *email-activity*.

    :param since: only events after it. It is not documented whether Mailchimp itself
        drops earlier events, or leaves out recipients who did nothing since.
    """
    rows = []
    for entry in dicts_in(entries):
        who = _who(entry)
        if not who:
            continue
        numbers: dict[tuple[str, datetime, str], int] = {}
        for event in dicts_in(entry.get("activity")):
            kind, date = event.get("action"), moment(event.get("timestamp"))
            if kind in ("open", "click", "bounce") and date:
                if since is None or date > since:
                    url = text_of(event.get("url")) if kind == "click" else ""
                    detail = text_of(event.get("type")) if kind == "bounce" else ""
                    key = kind, date, url
                    numbers[key] = number = numbers.get(key, 0) + 1
                    rows.append(EventRow(*who, kind, date, url, number, detail or None))
    return _unique(rows)


def summary(events: Iterable[tuple[str, datetime, str | None]]) -> Json:
    """Return a summary of all events of one recipient, as columns of the recipient.

    :param events: ``(kind, time, detail or None)``
    """
    dates: dict[str, list[datetime]] = {}
    details: dict[str, set[str | None]] = {}
    for kind, date, detail in events:
        dates.setdefault(kind, []).append(date)
        details.setdefault(kind, set()).add(detail)
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
        "unsubscribe_reason": max(
            filter(None, details.get("unsubscribe", ())), default=None
        ),
        "complaint_date": min(dates.get("complaint", ()), default=None),
    }


def unsubscribe_rows(entries: Any) -> list[EventRow]:
    """Return the events in *unsubscribed*, like :func:`activity_rows`."""
    return _event_rows(entries, "unsubscribe", "timestamp", "reason")


def complaint_rows(entries: Any) -> list[EventRow]:
    """Return the events in *abuse-reports*, like :func:`activity_rows`."""
    return _event_rows(entries, "complaint", "date", None)


def _event_rows(entries: Any, kind: str, when: str, why: str | None) -> list[EventRow]:
    rows = []
    for entry in dicts_in(entries):
        who, date = _who(entry), moment(entry.get(when))
        if who and date:
            detail = text_of(entry.get(why)) if why else ""
            rows.append(EventRow(*who, kind, date, "", 1, detail or None))
    return _unique(rows)


def _unique(rows: Iterable[EventRow]) -> list[EventRow]:
    """Drop entries that are listed twice: Mailchimp gives events no id."""
    return list({(row.ref, *row.event.key): row for row in rows}.values())


def _who(entry: Json) -> Who | None:
    """Return who an entry is about; ``None`` if it has neither hash nor address."""
    address = text_of(entry.get("email_address")).strip().lower()
    if len(address) > ADDRESS_LENGTH:
        address = ""
    ref = ref_of(entry.get("email_id")) or (address and member_hash(address))
    return Who(ref.lower(), address or None) if ref else None
