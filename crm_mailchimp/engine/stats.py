"""What reports of campaigns mean: entries of the API to rows of tables.

Numbers that Mailchimp leaves out stay unknown (a ``..._known`` flag or ``None``), they
are never taken for 0. Rates are fractions, 0 to 1, whatever Mailchimp's unit is:
fractions in a report and for the industry, percent for the audience.
"""

from datetime import timedelta

from .address import member_hash
from .observe import utc

#: Of each member's opens, and of its clicks, Mailchimp lists no more than these.
EVENTS_LISTED = 1000
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


def next_poll(sent, now, grown=None, ongoing=False):
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
    return at if ongoing else max(min(at, sent + FOLLOW), now + HOUR - SLACK)


def poll_interval(sent, now, grown=None, ongoing=False):
    """Return how often a campaign of this age is read; ``None`` for not any more."""
    if not sent:
        return HOUR
    age = now - max(sent, grown or sent)
    for limit, interval in ONGOING if ongoing else INTERVALS:
        if limit is None or age < limit:
            return interval
    return None


def next_try(now, failures, followed):
    """Return when to ask again for a report that cannot be read; ``None`` for never.

    After an hour, then ever later, up to a day.

    :param now: datetime of the last try
    :param int failures: tries in a row that failed, the last one included
    :param followed: the campaign would be read again anyway; another one is given up
        after some tries
    """
    if not followed and failures >= TRIES:
        return None
    return now + min(HOUR * 2 ** min(failures - 1, 5), DAY) - SLACK


# === CAMPAIGNS === #

TYPES = ("regular", "plaintext", "absplit", "variate", "rss", "automation", "auto")
STATUSES = (
    *("save", "paused", "schedule", "sending", "sent", "canceling", "canceled"),
    "archived",
)


def totals(report):
    """Return the totals of a report as columns of a campaign."""
    opens, clicks = report.get("opens") or {}, report.get("clicks") or {}
    bounces = report.get("bounces") or {}
    hard, soft = _number(bounces, "hard_bounces"), _number(bounces, "soft_bounces")
    all_bounces = hard + soft + _number(bounces, "syntax_errors")
    sent = _number(report, "emails_sent")
    delivered = max(sent - all_bounces, 0)
    unsubscribed = _number(report, "unsubscribed")
    industry, audience = report.get("industry_stats"), report.get("list_stats")
    industry_known = _known(industry, "open_rate")
    list_known = _known(audience, "open_rate")
    industry, audience = industry or {}, audience or {}
    return {
        "sent": sent,
        "delivered": delivered,
        "opens_total": _number(opens, "opens_total"),
        "opens_unique": _number(opens, "unique_opens"),
        "open_rate": _rate(opens, "open_rate"),
        "proxy_known": _known(opens, "proxy_excluded_unique_opens"),
        "opens_total_no_proxy": _number(opens, "proxy_excluded_opens"),
        "opens_unique_no_proxy": _number(opens, "proxy_excluded_unique_opens"),
        "open_rate_no_proxy": _rate(opens, "proxy_excluded_open_rate"),
        "last_open": moment(opens.get("last_open")) or False,
        "clicks_total": _number(clicks, "clicks_total"),
        "clicks_unique": _number(clicks, "unique_subscriber_clicks"),
        "click_rate": _rate(clicks, "click_rate"),
        "last_click": moment(clicks.get("last_click")) or False,
        "forwards": _number(report.get("forwards") or {}, "forwards_count"),
        "unsubscribed": unsubscribed,
        "unsubscribe_rate": _share(unsubscribed, delivered),
        "hard_bounces": hard,
        "soft_bounces": soft,
        "bounces": all_bounces,
        "bounce_rate": _share(all_bounces, sent),
        "complaints": _number(report, "abuse_reports"),
        "industry_known": industry_known,
        "industry_name": industry.get("type") or False,
        "industry_open_rate": _rate(industry, "open_rate"),
        "industry_click_rate": _rate(industry, "click_rate"),
        "industry_bounce_rate": _rate(industry, "bounce_rate"),
        "industry_unsubscribe_rate": _rate(industry, "unsub_rate"),
        "list_known": list_known,
        "list_open_rate": _rate(audience, "open_rate", 100),
        "list_click_rate": _rate(audience, "click_rate", 100),
        "timeseries": [
            {
                "time": hour["timestamp"],
                "sent": _number(hour, "emails_sent"),
                "opens": _number(hour, "unique_opens"),
                "clicks": _number(hour, "recipients_clicks"),
            }
            for hour in report.get("timeseries") or ()
            if hour.get("timestamp")
        ]
        or False,
    }


def listed(campaign):
    """Return the columns of a campaign that its listing gives."""
    settings = campaign.get("settings") or {}
    tracking = campaign.get("tracking") or {}
    subject = settings.get("subject_line")
    test = {
        name: campaign[name]
        for name in ("variate_settings", "ab_split_opts")
        if campaign.get(name)
    }
    return {
        "name": settings.get("title") or subject or campaign["id"],
        "campaign_type": _type(campaign),
        "status": campaign.get("status") in STATUSES and campaign["status"],
        "subject": subject or False,
        "send_time": moment(campaign.get("send_time")) or False,
        "archive_url": campaign.get("long_archive_url")
        or campaign.get("archive_url")
        or False,
        "google_analytics": (tracking.get("google_analytics") or "").strip() or False,
        "test_settings": test or False,
    }


def reported(report):
    """Return the columns of a campaign that only its report gives."""
    subject = report.get("subject_line")
    return {
        "name": report.get("campaign_title") or subject or report["id"],
        "campaign_type": _type(report),
        "status": "sent",
        "subject": subject or False,
        "send_time": moment(report.get("send_time")) or False,
    }


def _type(source):
    """Return the type of a campaign or report; ``False`` for one nobody knows."""
    kind = source.get("type") or ""
    if kind in TYPES:
        return kind
    return "automation" if kind.startswith("auto") else False


def links(entries):
    """Return ``{link_ref: columns}`` of the clicked links of a campaign."""
    return {
        entry["id"]: {
            "url": entry.get("url") or False,
            "clicks_total": _number(entry, "total_clicks"),
            "clicks_unique": _number(entry, "unique_clicks"),
            "click_share": _rate(entry, "click_percentage"),
            "last_click": moment(entry.get("last_click")) or False,
        }
        for entry in entries
        if entry.get("id")
    }


def variants(report, sub_reports, settings):
    """Return ``{variant_ref: columns}`` of an A/B test, old or new.

    :param report: the report of the test; the old kind has its two groups there
    :param sub_reports: reports of the variants of the new kind
    :param settings: ``test_settings`` of the campaign
    """
    settings = settings or {}
    found = {}
    winner = (settings.get("variate_settings") or {}).get("winning_campaign_id")
    for number, sub in enumerate(sub_reports, 1):
        numbers = totals(sub)
        found[sub["id"]] = {
            "sequence": number,
            "name": sub.get("campaign_title") or sub.get("subject_line") or sub["id"],
            "subject": sub.get("subject_line") or False,
            "is_winner": sub["id"] == winner,
            **{
                name: numbers[name]
                for name in (
                    *("sent", "opens_total", "opens_unique", "open_rate", "bounces"),
                    *("clicks_unique", "click_rate", "unsubscribed"),
                )
            },
        }
    options = settings.get("ab_split_opts") or {}
    for number, (side, group) in enumerate(
        sorted((report.get("ab_split") or {}).items()), 1
    ):
        found[side] = {
            "sequence": number,
            "name": side.upper(),
            "subject": options.get(f"subject_{side}") or False,
            "is_winner": False,
            "opens_total": _number(group, "opens"),
            "opens_unique": _number(group, "unique_opens"),
            "clicks_unique": _number(group, "recipient_clicks"),
            "unsubscribed": _number(group, "unsubs"),
            "bounces": _number(group, "bounces"),
        }
    return found


# === RECIPIENTS AND EVENTS === #


def recipient_rows(entries):
    """Return recipients of *sent-to*, or of *email-activity*, which has no status.

    :return: ``[(hash, address or None, status or None, variant or None)]``
    """
    rows = {}
    for entry in entries:
        who = _who(entry)
        if who:
            status = entry.get("status")
            status = status if status in ("sent", "hard", "soft") else None
            rows[who[0]] = (*who, status, entry.get("absplit_group") or None)
    return list(rows.values())


def activity_rows(entries, since=None):
    """Return events of *email-activity*.

    :return: ``[(hash, address or None, kind, time, url, number, detail or None)]``;
        the number tells those apart that a recipient made in one second: programs
        that look at mail before people do are that quick, and Mailchimp counts each
    :param since: only events after it. Whether Mailchimp cuts them by itself, and
        leaves out recipients who did nothing since, is not documented.
    """
    rows = []
    for entry in entries:
        who = _who(entry)
        numbers = {}
        for event in entry.get("activity") or () if who else ():
            kind, date = event.get("action"), moment(event.get("timestamp"))
            if kind in ("open", "click", "bounce") and date:
                if since is None or date > since:
                    url = _text(event.get("url")) if kind == "click" else ""
                    detail = _text(event.get("type")) if kind == "bounce" else ""
                    key = kind, date, url
                    numbers[key] = number = numbers.get(key, 0) + 1
                    rows.append((*who, *key, number, detail or None))
    return _unique(rows)


def summary(events):
    """Return what all events of one recipient come to, as columns of the recipient.

    :param events: ``(kind, time, detail or None)``
    """
    dates = {}
    details = {}
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


def unsubscribe_rows(entries):
    """Return events, as :func:`activity_rows`, of *unsubscribed*."""
    return _event_rows(entries, "unsubscribe", "timestamp", "reason")


def complaint_rows(entries):
    """Return events, as :func:`activity_rows`, of *abuse-reports*."""
    return _event_rows(entries, "complaint", "date", None)


def _event_rows(entries, kind, when, why):
    rows = []
    for entry in entries:
        who, date = _who(entry), moment(entry.get(when))
        if who and date:
            detail = _text(entry.get(why)) if why else ""
            rows.append((*who, kind, date, "", 1, detail or None))
    return _unique(rows)


def _unique(rows):
    """Drop entries that are listed twice: Mailchimp gives events no id."""
    return list({(row[0], *row[2:6]): row for row in rows}.values())


def _who(entry):
    """Return ``(hash, address or None)``; ``None`` for somebody without either."""
    address = _text(entry.get("email_address")).strip().lower()
    ref = entry.get("email_id") or (address and member_hash(address))
    return (ref.lower(), address or None) if ref else None


# === SMALL THINGS === #


def moment(stamp):
    """Return a time of a report as naive UTC; ``None`` for none and for nonsense."""
    try:
        return utc(stamp)
    except (ValueError, TypeError, AttributeError):
        return None


def _text(value):
    # The one character PostgreSQL does not store.
    return (value or "").replace("\x00", "")


def _known(source, name):
    return bool(source) and source.get(name) is not None


def _number(source, name):
    return int(source.get(name) or 0)


def _rate(source, name, unit=1):
    return float(source.get(name) or 0.0) / unit


def _share(part, whole):
    return part / whole if whole else 0.0
