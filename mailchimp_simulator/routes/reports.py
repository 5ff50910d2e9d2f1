"""Reports of campaigns: totals and who did what."""

from .. import problems
from ..routing import page_of, route
from ..state import iso

REPORT = "/reports/{campaign_id}"
_TYPES = ("regular", "plaintext", "absplit", "rss", "variate")


def numbers(campaign):
    """Return all totals of a campaign, counted from its recipients."""
    everyone = _mails(campaign)
    sent = len(everyone)
    hard = sum(r.status == "hard" for r in everyone)
    soft = sum(r.status == "soft" for r in everyone)
    delivered = max(sent - hard - soft, 0)
    opens = [when for r in everyone for when in r.opens]
    unique_opens = sum(bool(r.opens) for r in everyone)
    real_unique = sum(len(r.opens) > len(r.proxy_opens) for r in everyone)
    clicks = [when for r in everyone for when, _url in r.clicks]
    clickers = sum(bool(r.clicks) for r in everyone)

    def rate(count):
        return round(count / delivered, 6) if delivered else 0

    return {
        "emails_sent": sent,
        "hard": hard,
        "soft": soft,
        "opens": len(opens),
        "unique_opens": unique_opens,
        "open_rate": rate(unique_opens),
        "last_open": _date(campaign, opens),
        "real_opens": len(opens) - sum(len(r.proxy_opens) for r in everyone),
        "real_unique": real_unique,
        "real_rate": rate(real_unique),
        "clicks": len(clicks),
        "unique_clicks": len({(id(r), u) for r in everyone for _w, u in r.clicks}),
        "clickers": clickers,
        "click_rate": rate(clickers),
        "last_click": _date(campaign, clicks),
        "unsubscribed": sum(bool(r.unsubscribed_at) for r in everyone),
        "complaints": sum(bool(r.complained_at) for r in everyone),
    }


def _mails(campaign):
    """Return every mail that was sent: an automation sends several to one person."""
    parts = campaign.children if campaign.type != "variate" else ()
    return [r for part in parts or [campaign] for r in part.recipients.values()]


def _date(campaign, times):
    unset = None if campaign.audience.account.switches.report_dates_null else ""
    return iso(max(times)) if times else unset


def report_view(campaign):
    audience = campaign.audience
    n = numbers(campaign)
    view = {
        "id": campaign.id,
        "campaign_title": campaign.title,
        "type": campaign.type,
        "list_id": audience.id,
        "list_is_active": audience.id in audience.account.audiences,
        "list_name": audience.name,
        "subject_line": campaign.subject,
        "preview_text": campaign.preview,
        "emails_sent": n["emails_sent"],
        "abuse_reports": n["complaints"],
        "unsubscribed": n["unsubscribed"],
        "send_time": iso(campaign.send_time),
        "bounces": {
            "hard_bounces": n["hard"],
            "soft_bounces": n["soft"],
            "syntax_errors": 0,
        },
        "forwards": {"forwards_count": 0, "forwards_opens": 0},
        "opens": {
            "opens_total": n["opens"],
            "unique_opens": n["unique_opens"],
            "open_rate": n["open_rate"],
            "last_open": n["last_open"],
        },
        "clicks": {
            "clicks_total": n["clicks"],
            "unique_clicks": n["unique_clicks"],
            "unique_subscriber_clicks": n["clickers"],
            "click_rate": n["click_rate"],
            "last_click": n["last_click"],
        },
        "facebook_likes": {
            "recipient_likes": 0,
            "unique_likes": 0,
            "facebook_likes": 0,
        },
        "industry_stats": {
            "type": "Software and Web App",
            "open_rate": 0.21,
            "click_rate": 0.02,
            "bounce_rate": 0.01,
            "unopen_rate": 0.78,
            "unsub_rate": 0.002,
            "abuse_rate": 0.0001,
        },
        "timeseries": _timeseries(campaign),
        "share_report": {"share_url": "", "share_password": ""},
        "ecommerce": {
            "total_orders": 0,
            "total_spent": 0,
            "total_revenue": 0,
            "currency_code": "USD",
        },
        "delivery_status": {"enabled": False},
    }
    switches = audience.account.switches
    clock = audience.account.clock
    if clock.now() >= campaign.send_time + switches.list_stats_seconds:
        # Percentages here, fractions above: the service mixes them, too.
        view["list_stats"] = {
            "sub_rate": 0,
            "unsub_rate": 0,
            "open_rate": n["open_rate"] * 100,
            "click_rate": n["click_rate"] * 100,
        }
        if switches.proxy_fields:
            rate = n["real_rate"] * 100
            view["list_stats"]["proxy_excluded_open_rate"] = rate
    if switches.proxy_fields:
        view["opens"].update(
            proxy_excluded_opens=n["real_opens"],
            proxy_excluded_unique_opens=n["real_unique"],
            proxy_excluded_open_rate=n["real_rate"],
        )
    if campaign.type == "absplit":
        view["ab_split"] = {side: _side(campaign, side) for side in "ab"}
    return view


def _side(campaign, side):
    group = [r for r in campaign.recipients.values() if r.group == side]
    return {
        "bounces": sum(r.status != "sent" for r in group),
        "abuse_reports": sum(bool(r.complained_at) for r in group),
        "unsubs": sum(bool(r.unsubscribed_at) for r in group),
        "recipient_clicks": sum(bool(r.clicks) for r in group),
        "forwards": 0,
        "forwards_opens": 0,
        "opens": sum(len(r.opens) for r in group),
        "last_open": iso(max((w for r in group for w in r.opens), default=0)),
        "unique_opens": sum(bool(r.opens) for r in group),
    }


def _timeseries(campaign):
    """Return what happened hour by hour, for the first day."""
    if not campaign.send_time:
        return []
    start = campaign.send_time - campaign.send_time % 3600
    hours = [
        {"emails_sent": 0, "unique_opens": 0, "recipients_clicks": 0}
        for _hour in range(24)
    ]
    hours[0]["emails_sent"] = len(campaign.recipients)
    for recipient in campaign.recipients.values():
        for name, times in (
            ("unique_opens", recipient.opens[:1]),
            ("recipients_clicks", [when for when, _url in recipient.clicks[:1]]),
        ):
            for when in times:
                hour = (when - start) // 3600
                if 0 <= hour < 24:
                    hours[hour][name] += 1
    return [
        {"timestamp": iso(start + 3600 * i), **hour} for i, hour in enumerate(hours)
    ]


# --- totals ----------------------------------------------------------------------


def find(request, campaign_id):
    campaign = request.account.campaigns.get(campaign_id)
    if campaign is None or not campaign.send_time or campaign.status == "schedule":
        raise problems.not_found()
    return campaign


@route("GET", "/reports")
def get_reports(request):
    kind = request.choice("type", *_TYPES)
    sent = request.time("since_send_time"), request.time("before_send_time")
    found = [
        c
        for c in request.account.campaigns.values()
        if c.send_time
        and c.status != "schedule"
        and not (c.parent is not None and c.parent.type == "variate")
        and kind in (None, c.type)
        and request.window(*sent, c.send_time)
    ]
    return {
        "reports": [report_view(c) for c in page_of(found, request)],
        "total_items": len(found),
    }


@route("GET", REPORT)
def get_report(request, campaign_id):
    return report_view(find(request, campaign_id))


@route("GET", REPORT + "/sub-reports")
def get_sub_reports(request, campaign_id):
    campaign = find(request, campaign_id)
    reports = [report_view(c) for c in campaign.children if c.send_time]
    return {
        "reports": reports,
        "campaign_id": campaign_id,
        "total_items": len(reports),
    }


# --- summaries -------------------------------------------------------------------


def listing(request, name, campaign, items, **more):
    return {
        name: page_of(items, request),
        "campaign_id": campaign.id,
        **more,
        "total_items": len(items),
    }


@route("GET", REPORT + "/domain-performance")
def get_domains(request, campaign_id):
    campaign = find(request, campaign_id)
    by_domain = {}
    for recipient in campaign.recipients.values():
        domain = recipient.email.rpartition("@")[2].lower()
        by_domain.setdefault(domain, []).append(recipient)
    total = len(campaign.recipients)
    domains = [_domain(name, group, total) for name, group in by_domain.items()]
    domains.sort(key=lambda d: -d["emails_sent"])
    return {
        "domains": domains[:5],
        "total_sent": total,
        "campaign_id": campaign_id,
        "total_items": len(domains[:5]),
    }


def _domain(name, group, total):
    sent = len(group)
    bounces = sum(r.status != "sent" for r in group)
    opens = sum(bool(r.opens) for r in group)
    clicks = sum(bool(r.clicks) for r in group)
    unsubs = sum(bool(r.unsubscribed_at) for r in group)
    delivered = sent - bounces

    def share(count, of):
        return round(100 * count / of, 2) if of else 0

    return {
        "domain": name,
        "emails_sent": sent,
        "bounces": bounces,
        "opens": opens,
        "clicks": clicks,
        "unsubs": unsubs,
        "delivered": delivered,
        "emails_pct": share(sent, total),
        "bounces_pct": share(bounces, sent),
        "opens_pct": share(opens, delivered),
        "clicks_pct": share(clicks, delivered),
        "unsubs_pct": share(unsubs, delivered),
    }


@route("GET", REPORT + "/locations")
def get_locations(request, campaign_id):
    campaign = find(request, campaign_id)
    opens = numbers(campaign)["unique_opens"]
    found = [
        {"country_code": "US", "region": "GA", "region_name": "Georgia", "opens": opens}
    ]
    return listing(request, "locations", campaign, found if opens else [])


@route("GET", REPORT + "/advice")
def get_advice(request, campaign_id):
    find(request, campaign_id)
    advice = [{"type": "neutral", "message": "Your open rate is about average."}]
    return {"advice": advice, "campaign_id": campaign_id, "total_items": 1}


@route("GET", REPORT + "/eepurl")
def get_eepurl(request, campaign_id):
    find(request, campaign_id)
    return {
        "twitter": {
            "tweets": 0,
            "first_tweet": "",
            "last_tweet": "",
            "retweets": 0,
            "statuses": [],
        },
        "clicks": {"clicks": 0, "first_click": "", "last_click": "", "locations": []},
        "referrers": [],
        "eepurl": f"https://eepurl.com/{campaign_id}",
        "campaign_id": campaign_id,
        "total_items": 0,
    }


@route("GET", REPORT + "/ecommerce-product-activity")
def get_products(request, campaign_id):
    find(request, campaign_id)
    return {"products": [], "total_items": 0}
