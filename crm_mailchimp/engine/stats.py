"""What reports of campaigns mean: entries of the API to rows of tables.

Numbers that Mailchimp leaves out stay unknown (a ``..._known`` flag or ``None``), they
are never taken for 0. Rates are fractions, 0 to 1, whatever Mailchimp's unit is:
fractions in a report and for the industry, percent for the audience.
"""

import math
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, Literal, NamedTuple

from .address import member_hash
from .observe import utc
from .storable import storable
from .vocabulary import Json

#: Of each member's opens, and of its clicks, Mailchimp lists no more than these.
EVENTS_LISTED = 1000
#: What columns and their indexes hold.
INTEGER = 2**31 - 1
REF_LENGTH, ADDRESS_LENGTH = 100, 254
#: Mailchimp was founded in 2001.
FIRST_YEAR, LAST_YEAR = 2000, 2100
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
#: Age of a campaign -> how often it is read. Numbers lag the send by minutes and move
#: for days, most of it within the first.
INTERVALS = ((DAY, HOUR), (3 * DAY, 6 * HOUR), (14 * DAY, DAY), (90 * DAY, 7 * DAY))
FOLLOW = INTERVALS[-1][0]
# The scheduled action never comes at the very minute.
SLACK = timedelta(minutes=10)
#: What is read twice at the edge of two readings: clocks differ, events come late.
OVERLAP = 2 * HOUR
#: How often a report of an old campaign is asked for that cannot be read.
TRIES = 10
#: How it goes on with campaigns that never stop being sent, such as automations.
ONGOING = ((14 * DAY, DAY), (None, 7 * DAY))


def next_poll(
    sent: datetime | None,
    now: datetime,
    grown: datetime | None = None,
    ongoing: bool = False,
) -> datetime | None:
    """Return when to read the results of a campaign again; ``None`` for never.

    :param sent: datetime it was sent
    :param now: datetime of this reading
    :param grown: datetime at which the number of mails sent was last seen to grow
    :param ongoing: the campaign goes on sending to single contacts
    """
    interval = poll_interval(sent, now, grown, ongoing)
    if not interval:
        return None
    at = now + interval - SLACK
    if ongoing or not sent:
        return at
    return max(min(at, sent + FOLLOW), now + HOUR - SLACK)


def poll_interval(
    sent: datetime | None,
    now: datetime,
    grown: datetime | None = None,
    ongoing: bool = False,
) -> timedelta | None:
    """Return how often a campaign of this age is read; ``None`` for not any more."""
    if not sent:
        return HOUR
    age = now - max(sent, grown or sent)
    for limit, interval in ONGOING if ongoing else INTERVALS:
        if limit is None or age < limit:
            return interval
    return None


def next_try(now: datetime, failures: int, followed: bool) -> datetime | None:
    """Return when to ask again for a report that cannot be read; ``None`` for never.

    After an hour, then ever later, up to a day.

    :param now: datetime of the last try
    :param failures: tries in a row that failed, the last one included
    :param followed: the campaign would be read again anyway; another one is given up
        after some tries
    """
    if not followed and failures >= TRIES:
        return None
    return now + min(HOUR * 2 ** min(failures - 1, 5), DAY) - SLACK


# === CAMPAIGNS === #

TYPES = ("regular", "plaintext", "absplit", "variate", "rss", "automation", "auto")
NOT_SENT = ("save", "paused", "schedule")
STATUSES = (*NOT_SENT, "sending", "sent", "canceling", "canceled", "archived")
#: Part of a report -> the totals of the campaign that tell whether it has news.
READ_FOR = {
    "links": ("clicks_total", "clicks_unique"),
    "variants": ("sent", "opens_total", "clicks_total", "bounces", "unsubscribed"),
    "activity": ("opens_total", "clicks_total", "bounces"),
    "sent_to": ("sent",),
    "unsubscribed": ("unsubscribed",),
    "complaints": ("complaints",),
}
#: The parts that list every recipient.
PAGED = ("sent_to", "activity")


#: Part of a report, or ``None`` for the report itself, its key, and the column for it.
_COUNTS = (
    (None, "emails_sent", "sent"),
    (None, "unsubscribed", "unsubscribed"),
    (None, "abuse_reports", "complaints"),
    ("opens", "opens_total", "opens_total"),
    ("opens", "unique_opens", "opens_unique"),
    ("opens", "proxy_excluded_opens", "opens_total_no_proxy"),
    ("opens", "proxy_excluded_unique_opens", "opens_unique_no_proxy"),
    ("clicks", "clicks_total", "clicks_total"),
    ("clicks", "unique_subscriber_clicks", "clicks_unique"),
    ("bounces", "hard_bounces", "hard_bounces"),
    ("bounces", "soft_bounces", "soft_bounces"),
)
#: Likewise, and what a rate of 100 % is there.
_RATES = (
    ("opens", "open_rate", "open_rate", 1),
    ("opens", "proxy_excluded_open_rate", "open_rate_no_proxy", 1),
    ("clicks", "click_rate", "click_rate", 1),
    ("industry_stats", "open_rate", "industry_open_rate", 1),
    ("industry_stats", "click_rate", "industry_click_rate", 1),
    ("industry_stats", "bounce_rate", "industry_bounce_rate", 1),
    ("industry_stats", "unsub_rate", "industry_unsubscribe_rate", 1),
    ("list_stats", "open_rate", "list_open_rate", 100),
    ("list_stats", "click_rate", "list_click_rate", 100),
)
#: Columns that :func:`totals` returns.
TOTALS = (
    *(column for _part, _key, column in _COUNTS),
    *(column for _part, _key, column, _unit in _RATES),
    *("delivered", "bounces", "bounce_rate", "unsubscribe_rate"),
    *("proxy_known", "industry_known", "list_known", "industry_name"),
    *("last_open", "last_click", "timeseries"),
)


def totals(report: Json, known: Json | None = None) -> Json:
    """Return the totals of a report as columns of a campaign.

    :param known: what is stored, by column: it stays where Mailchimp says nothing. A
        part of a report is ``null`` now and then.
    """
    known = known or {}
    vals: Json = {}
    for part, key, column in _COUNTS:
        count = _count((_dict(report, part) if part else report).get(key))
        vals[column] = (known.get(column) or 0) if count is None else count
    for part, key, column, unit in _RATES:
        rate = _fraction(_dict(report, part).get(key), unit)
        vals[column] = (known.get(column) or 0.0) if rate is None else rate
    opens, clicks = _dict(report, "opens"), _dict(report, "clicks")
    bounces = _dict(report, "bounces")
    all_bounces = known.get("bounces") or 0
    if bounces:
        lost = vals["hard_bounces"] + vals["soft_bounces"]
        all_bounces = min(lost + _number(bounces, "syntax_errors"), INTEGER)
    delivered = max(vals["sent"] - all_bounces, 0)
    industry = _dict(report, "industry_stats")
    return {
        **vals,
        "bounces": all_bounces,
        "delivered": delivered,
        "bounce_rate": _share(all_bounces, vals["sent"]),
        "unsubscribe_rate": _share(vals["unsubscribed"], delivered),
        "proxy_known": (
            _count(opens.get("proxy_excluded_unique_opens")) is not None
            if opens
            else bool(known.get("proxy_known"))
        ),
        "last_open": moment(opens.get("last_open")) or known.get("last_open") or False,
        "last_click": (
            moment(clicks.get("last_click")) or known.get("last_click") or False
        ),
        "industry_known": _known(industry, "open_rate")
        or bool(known.get("industry_known")),
        "industry_name": _text(industry.get("type"))
        or known.get("industry_name")
        or False,
        "list_known": _known(_dict(report, "list_stats"), "open_rate")
        or bool(known.get("list_known")),
        "timeseries": [
            {
                "time": hour["timestamp"],
                "sent": _number(hour, "emails_sent"),
                "opens": _number(hour, "unique_opens"),
                "clicks": _number(hour, "recipients_clicks"),
            }
            for hour in _dicts(report.get("timeseries"))
            if moment(hour.get("timestamp"))
        ]
        or known.get("timeseries")
        or False,
    }


def identified(entries: Any) -> list[Json]:
    """Return those entries of a page that are campaigns or reports with an id."""
    return [entry for entry in _dicts(entries) if _ref(entry.get("id")) == entry["id"]]


def listed(campaign: Json) -> Json:
    """Return the columns of a campaign that its listing gives."""
    settings, tracking = _dict(campaign, "settings"), _dict(campaign, "tracking")
    subject = _text(settings.get("subject_line"))
    test = {
        name: campaign[name]
        for name in ("variate_settings", "ab_split_opts")
        if _dict(campaign, name)
    }
    return {
        "name": _text(settings.get("title")) or subject or _ref(campaign["id"]),
        "campaign_type": _type(campaign),
        "status": campaign.get("status") in STATUSES and campaign["status"],
        "subject": subject or False,
        "send_time": moment(campaign.get("send_time")) or False,
        "archive_url": _text(campaign.get("long_archive_url"))
        or _text(campaign.get("archive_url"))
        or False,
        "google_analytics": _text(tracking.get("google_analytics")).strip() or False,
        "test_settings": test or False,
        "segment_refs": _segment_refs(campaign) or False,
    }


def _segment_refs(campaign: Json) -> list[str]:
    """Return the ids of the tags and groups a campaign was addressed to.

    Mailchimp names a tag, which it calls a static segment, by its id alone or in a
    condition, and groups in conditions; those that leave a group out do not count.

    :return: sorted list of texts
    """
    options = _dict(_dict(campaign, "recipients"), "segment_opts")
    refs = [options.get("saved_segment_id")]
    for condition in _dicts(options.get("conditions")):
        value = condition.get("value")
        if condition.get("op") in ("interestcontains", "interestcontainsall"):
            refs += value if isinstance(value, list) else [value]
        elif condition.get("op") == "static_is":
            refs.append(value)
    return sorted({str(ref) for ref in refs if isinstance(ref, str | int) and ref})


def reported(report: Json) -> Json:
    """Return the columns of a campaign that only its report gives."""
    subject = _text(report.get("subject_line"))
    return {
        "name": _text(report.get("campaign_title")) or subject or _ref(report["id"]),
        "campaign_type": _type(report),
        "status": "sent",
        "subject": subject or False,
        "send_time": moment(report.get("send_time")) or False,
    }


def _type(source: Json) -> str | Literal[False]:
    """Return the type of a campaign or report; ``False`` for one nobody knows."""
    kind = _text(source.get("type"))
    if kind in TYPES:
        return kind
    return "automation" if kind.startswith("auto") else False


def links(entries: Any) -> dict[str, Json]:
    """Return ``{link_ref: columns}`` of the clicked links of a campaign."""
    return {
        _ref(entry["id"]): {
            "url": _text(entry.get("url")) or False,
            "clicks_total": _number(entry, "total_clicks"),
            "clicks_unique": _number(entry, "unique_clicks"),
            "click_share": _fraction(entry.get("click_percentage")) or 0.0,
            "last_click": moment(entry.get("last_click")) or False,
        }
        for entry in _dicts(entries)
        if _ref(entry.get("id"))
    }


def variants(report: Json, sub_reports: Any, settings: Json | None) -> dict[str, Json]:
    """Return ``{variant_ref: columns}`` of an A/B test, old or new.

    :param report: the report of the test; the old kind has its two groups there
    :param sub_reports: reports of the variants of the new kind
    :param settings: ``test_settings`` of the campaign
    """
    settings = settings or {}
    found = {}
    winner = _ref(_dict(settings, "variate_settings").get("winning_campaign_id"))
    for number, sub in enumerate(_dicts(sub_reports), 1):
        numbers, ref = totals(sub), _ref(sub.get("id"))
        if not ref:
            continue
        subject = _text(sub.get("subject_line"))
        found[ref] = {
            "sequence": number,
            "name": _text(sub.get("campaign_title")) or subject or ref,
            "subject": subject or False,
            "is_winner": ref == winner,
            **{
                name: numbers[name]
                for name in (
                    *("sent", "opens_total", "opens_unique", "open_rate", "bounces"),
                    *("clicks_unique", "click_rate", "unsubscribed"),
                )
            },
        }
    options, sides = _dict(settings, "ab_split_opts"), _dict(report, "ab_split")
    for number, side in enumerate(sorted(sides), 1):
        group = _dict(sides, side)
        found[_ref(side)] = {
            "sequence": number,
            "name": side.upper(),
            "subject": _text(options.get(f"subject_{side}")) or False,
            "is_winner": False,
            "opens_total": _number(group, "opens"),
            "opens_unique": _number(group, "unique_opens"),
            "clicks_unique": _number(group, "recipient_clicks"),
            "unsubscribed": _number(group, "unsubs"),
            "bounces": _number(group, "bounces"),
        }
    return found


# === RECIPIENTS AND EVENTS === #


class Who(NamedTuple):
    """A recipient: hash, and the address where Mailchimp tells it."""

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

    The number tells those apart that a recipient made in one second: programs that
    look at mail before people do are that quick, and Mailchimp counts each.
    """

    kind: str
    date: datetime
    url: str
    number: int
    detail: str | None

    @property
    def key(self) -> tuple[str, datetime, str, int]:
        """What tells it apart from the other events of the recipient."""
        return self[:-1]


class EventRow(NamedTuple):
    """A recipient and one event, see :class:`Event`."""

    ref: str
    address: str | None
    kind: str
    date: datetime
    url: str
    number: int
    detail: str | None

    @property
    def event(self) -> Event:
        """The row without whose event it is."""
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
    """Return recipients of *sent-to*, or of *email-activity*, which has no status.

    :return: each recipient once
    """
    rows: dict[str, RecipientRow] = {}
    for entry in _dicts(entries):
        who = _who(entry)
        if who:
            status = _text(entry.get("status"))
            rows[who.ref] = RecipientRow(
                *who,
                status if status in ("sent", "hard", "soft") else None,
                _text(entry.get("absplit_group")) or None,
            )
    return list(rows.values())


def people(part: str, entries: Any, since: datetime | None = None) -> list[Person]:
    """Return recipients of a page with what they did.

    :param part: which part of the report the page is of
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

    :param since: only events after it. Whether Mailchimp cuts them by itself, and
        leaves out recipients who did nothing since, is not documented.
    """
    rows = []
    for entry in _dicts(entries):
        who = _who(entry)
        if not who:
            continue
        numbers: dict[tuple[str, datetime, str], int] = {}
        for event in _dicts(entry.get("activity")):
            kind, date = event.get("action"), moment(event.get("timestamp"))
            if kind in ("open", "click", "bounce") and date:
                if since is None or date > since:
                    url = _text(event.get("url")) if kind == "click" else ""
                    detail = _text(event.get("type")) if kind == "bounce" else ""
                    key = kind, date, url
                    numbers[key] = number = numbers.get(key, 0) + 1
                    rows.append(EventRow(*who, kind, date, url, number, detail or None))
    return _unique(rows)


def summary(events: Iterable[tuple[str, datetime, str | None]]) -> Json:
    """Return what all events of one recipient come to, as columns of the recipient.

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
    """Return events, as :func:`activity_rows`, of *unsubscribed*."""
    return _event_rows(entries, "unsubscribe", "timestamp", "reason")


def complaint_rows(entries: Any) -> list[EventRow]:
    """Return events, as :func:`activity_rows`, of *abuse-reports*."""
    return _event_rows(entries, "complaint", "date", None)


def _event_rows(entries: Any, kind: str, when: str, why: str | None) -> list[EventRow]:
    rows = []
    for entry in _dicts(entries):
        who, date = _who(entry), moment(entry.get(when))
        if who and date:
            detail = _text(entry.get(why)) if why else ""
            rows.append(EventRow(*who, kind, date, "", 1, detail or None))
    return _unique(rows)


def _unique(rows: Iterable[EventRow]) -> list[EventRow]:
    """Drop entries that are listed twice: Mailchimp gives events no id."""
    return list({(row.ref, *row.event.key): row for row in rows}.values())


def _who(entry: Json) -> Who | None:
    """Return who an entry is about; ``None`` for somebody without hash and address."""
    address = _text(entry.get("email_address")).strip().lower()
    if len(address) > ADDRESS_LENGTH:
        address = ""
    ref = _ref(entry.get("email_id")) or (address and member_hash(address))
    return Who(ref.lower(), address or None) if ref else None


# === WHAT CAN BE STORED === #
# Mailchimp's entries are other people's input. A value that has no place in a column
# is clipped or left out: one odd entry must not keep the others from being stored.


def moment(stamp: Any) -> datetime | None:
    """Return a time of a report as naive UTC; ``None`` for none and for nonsense.

    Times that no campaign can have (year 1, year 9999) cannot be shown in every zone.
    """
    try:
        found = utc(stamp)
    except (ValueError, TypeError, AttributeError, OverflowError):
        return None
    return found if found and FIRST_YEAR <= found.year <= LAST_YEAR else None


def _dict(source: Json, name: str) -> Json:
    value = source.get(name)
    return value if isinstance(value, dict) else {}


def _dicts(entries: Any) -> list[Json]:
    if not isinstance(entries, list | tuple):
        return []
    return [entry for entry in entries if isinstance(entry, dict)]


def _text(value: Any) -> str:
    return (
        storable(str(value)) if isinstance(value, str | int | float) and value else ""
    )


def _ref(value: Any) -> str:
    """Return an id of Mailchimp, no longer than an index takes."""
    return _text(value)[:REF_LENGTH]


def _count(value: Any) -> int | None:
    """Return a count that a column holds; ``None`` for none and for nonsense."""
    try:
        return min(max(int(value), 0), INTEGER)
    except OverflowError:
        return INTEGER
    except (TypeError, ValueError):
        return None


def _known(source: Json, name: str) -> bool:
    return source.get(name) is not None


def _number(source: Json, name: str) -> int:
    return _count(source.get(name)) or 0


def _fraction(value: Any, unit: int = 1) -> float | None:
    """Return a rate as a fraction; ``None`` for none and for nonsense."""
    try:
        rate = float(value) / unit
    except (TypeError, ValueError, OverflowError):
        return None
    return rate if math.isfinite(rate) else None


def _share(part: float, whole: float) -> float:
    return part / whole if whole else 0.0
