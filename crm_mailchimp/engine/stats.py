"""What campaigns and their reports mean, as columns, and when to read them again.

Numbers that Mailchimp leaves out stay unknown (a ``..._known`` flag or ``None``) and
are never taken for 0. Rates are fractions, 0 to 1, whatever unit Mailchimp uses:
fractions in a report and for the industry, percent for the audience.
"""

from datetime import datetime, timedelta
from typing import Any, Literal

from .storable import (
    INTEGER,
    count_of,
    dict_of,
    dicts_in,
    fraction_of,
    is_told,
    moment,
    number_of,
    ref_of,
    share_of,
    text_of,
)
from .vocabulary import Json

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
#: Age of a campaign -> how often it is read. Numbers lag the send by minutes and keep
#: changing for days, most of all on the first.
INTERVALS = ((DAY, HOUR), (3 * DAY, 6 * HOUR), (14 * DAY, DAY), (90 * DAY, 7 * DAY))
FOLLOW = INTERVALS[-1][0]
# The scheduled action never runs exactly on time.
SLACK = timedelta(minutes=10)
#: The overlap between two readings: clocks differ and events come late.
OVERLAP = 2 * HOUR
#: How often to try an unreadable report of an old campaign before giving up.
TRIES = 10
#: Like ``INTERVALS``, for campaigns that never stop being sent, such as automations.
ONGOING = ((14 * DAY, DAY), (None, 7 * DAY))


def next_poll(
    sent: datetime | None,
    now: datetime,
    grown: datetime | None = None,
    ongoing: bool = False,
) -> datetime | None:
    """Return when to read the results of a campaign again; ``None`` for never.

    :param sent: datetime when it was sent
    :param now: datetime of this reading
    :param grown: datetime at which the number of mails sent was last seen to grow
    :param ongoing: the campaign keeps sending to individual contacts
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
    """Return how often a campaign of this age is read; ``None`` for no longer."""
    if not sent:
        return HOUR
    age = now - max(sent, grown or sent)
    for limit, interval in ONGOING if ongoing else INTERVALS:
        if limit is None or age < limit:
            return interval
    return None


def next_try(now: datetime, failures: int, followed: bool) -> datetime | None:
    """Return when to ask again for a report that cannot be read; ``None`` for never.

    After an hour, then at growing intervals of up to a day.

    :param now: datetime of the last try
    :param failures: tries in a row that failed, the last one included
    :param followed: the campaign would be read again anyway; any other one is given up
        after :data:`TRIES`
    """
    if not followed and failures >= TRIES:
        return None
    return now + min(HOUR * 2 ** min(failures - 1, 5), DAY) - SLACK


# === CAMPAIGNS === #

TYPES = ("regular", "plaintext", "absplit", "variate", "rss", "automation", "auto")
NOT_SENT = ("save", "paused", "schedule")
STATUSES = (*NOT_SENT, "sending", "sent", "canceling", "canceled", "archived")
#: Part of a report -> the campaign's totals that show whether the part has news.
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


#: Part of a report (``None``: the report itself), key in that part, and our column.
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
#: Likewise, and the value that stands for 100 %.
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

    :param known: stored values by column, which stay where Mailchimp says nothing: a
        part of a report is ``null`` now and then
    """
    known = known or {}
    vals: Json = {}
    for part, key, column in _COUNTS:
        count = count_of((dict_of(report, part) if part else report).get(key))
        vals[column] = (known.get(column) or 0) if count is None else count
    for part, key, column, unit in _RATES:
        rate = fraction_of(dict_of(report, part).get(key), unit)
        vals[column] = (known.get(column) or 0.0) if rate is None else rate
    opens, clicks = dict_of(report, "opens"), dict_of(report, "clicks")
    bounces = dict_of(report, "bounces")
    all_bounces = known.get("bounces") or 0
    if bounces:
        lost = vals["hard_bounces"] + vals["soft_bounces"]
        all_bounces = min(lost + number_of(bounces, "syntax_errors"), INTEGER)
    delivered = max(vals["sent"] - all_bounces, 0)
    industry = dict_of(report, "industry_stats")
    return {
        **vals,
        "bounces": all_bounces,
        "delivered": delivered,
        "bounce_rate": share_of(all_bounces, vals["sent"]),
        "unsubscribe_rate": share_of(vals["unsubscribed"], delivered),
        "proxy_known": (
            count_of(opens.get("proxy_excluded_unique_opens")) is not None
            if opens
            else bool(known.get("proxy_known"))
        ),
        "last_open": moment(opens.get("last_open")) or known.get("last_open") or False,
        "last_click": (
            moment(clicks.get("last_click")) or known.get("last_click") or False
        ),
        "industry_known": is_told(industry, "open_rate")
        or bool(known.get("industry_known")),
        "industry_name": text_of(industry.get("type"))
        or known.get("industry_name")
        or False,
        "list_known": is_told(dict_of(report, "list_stats"), "open_rate")
        or bool(known.get("list_known")),
        "timeseries": [
            {
                "time": hour["timestamp"],
                "sent": number_of(hour, "emails_sent"),
                "opens": number_of(hour, "unique_opens"),
                "clicks": number_of(hour, "recipients_clicks"),
            }
            for hour in dicts_in(report.get("timeseries"))
            if moment(hour.get("timestamp"))
        ]
        or known.get("timeseries")
        or False,
    }


def identified(entries: Any) -> list[Json]:
    """Return those entries of a page that are campaigns or reports with an id."""
    return [
        entry
        for entry in dicts_in(entries)
        if (ref := ref_of(entry.get("id"))) and ref == entry["id"]
    ]


def listed(campaign: Json) -> Json:
    """Return the columns of a campaign that its listing gives."""
    settings, tracking = dict_of(campaign, "settings"), dict_of(campaign, "tracking")
    subject = text_of(settings.get("subject_line"))
    test = {
        name: campaign[name]
        for name in ("variate_settings", "ab_split_opts")
        if dict_of(campaign, name)
    }
    return {
        "name": text_of(settings.get("title")) or subject or ref_of(campaign["id"]),
        "campaign_type": _type(campaign),
        "status": campaign.get("status") in STATUSES and campaign["status"],
        "subject": subject or False,
        "send_time": moment(campaign.get("send_time")) or False,
        "archive_url": text_of(campaign.get("long_archive_url"))
        or text_of(campaign.get("archive_url"))
        or False,
        "google_analytics": text_of(tracking.get("google_analytics")).strip() or False,
        "test_settings": test or False,
        "segment_refs": _segment_refs(campaign) or False,
    }


def _segment_refs(campaign: Json) -> list[str]:
    """Return the ids of the tags and groups a campaign was addressed to.

    Mailchimp refers to a tag, which it calls a static segment, by its id alone or in a
    condition, and to groups in conditions; those that exclude a group do not count.

    :return: sorted list of texts
    """
    options = dict_of(dict_of(campaign, "recipients"), "segment_opts")
    refs = [options.get("saved_segment_id")]
    for condition in dicts_in(options.get("conditions")):
        value = condition.get("value")
        if condition.get("op") in ("interestcontains", "interestcontainsall"):
            refs += value if isinstance(value, list) else [value]
        elif condition.get("op") == "static_is":
            refs.append(value)
    return sorted({str(ref) for ref in refs if isinstance(ref, str | int) and ref})


def reported(report: Json) -> Json:
    """Return the columns of a campaign that only its report gives."""
    subject = text_of(report.get("subject_line"))
    return {
        "name": text_of(report.get("campaign_title"))
        or subject
        or ref_of(report["id"]),
        "campaign_type": _type(report),
        "status": "sent",
        "subject": subject or False,
        "send_time": moment(report.get("send_time")) or False,
    }


def _type(source: Json) -> str | Literal[False]:
    """Return the type of a campaign or report; ``False`` for an unknown one."""
    kind = text_of(source.get("type"))
    if kind in TYPES:
        return kind
    return "automation" if kind.startswith("auto") else False


def links(entries: Any) -> dict[str, Json]:
    """Return ``{link_ref: columns}`` of the clicked links of a campaign."""
    return {
        ref_of(entry["id"]): {
            "url": text_of(entry.get("url")) or False,
            "clicks_total": number_of(entry, "total_clicks"),
            "clicks_unique": number_of(entry, "unique_clicks"),
            "click_share": fraction_of(entry.get("click_percentage")) or 0.0,
            "last_click": moment(entry.get("last_click")) or False,
        }
        for entry in dicts_in(entries)
        if ref_of(entry.get("id"))
    }


def variants(report: Json, sub_reports: Any, settings: Json | None) -> dict[str, Json]:
    """Return ``{variant_ref: columns}`` of an A/B test, old or new.

    :param report: the report of the test; the old kind has its two groups there
    :param sub_reports: reports of the variants of the new kind
    :param settings: ``test_settings`` of the campaign
    """
    settings = settings or {}
    found = {}
    winner = ref_of(dict_of(settings, "variate_settings").get("winning_campaign_id"))
    for number, sub in enumerate(dicts_in(sub_reports), 1):
        numbers, ref = totals(sub), ref_of(sub.get("id"))
        if not ref:
            continue
        subject = text_of(sub.get("subject_line"))
        found[ref] = {
            "sequence": number,
            "name": text_of(sub.get("campaign_title")) or subject or ref,
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
    options, sides = dict_of(settings, "ab_split_opts"), dict_of(report, "ab_split")
    for number, side in enumerate(sorted(sides), 1):
        group = dict_of(sides, side)
        found[ref_of(side)] = {
            "sequence": number,
            "name": side.upper(),
            "subject": text_of(options.get(f"subject_{side}")) or False,
            "is_winner": False,
            "opens_total": number_of(group, "opens"),
            "opens_unique": number_of(group, "unique_opens"),
            "clicks_unique": number_of(group, "recipient_clicks"),
            "unsubscribed": number_of(group, "unsubs"),
            "bounces": number_of(group, "bounces"),
        }
    return found
