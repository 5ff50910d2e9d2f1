"""Reports of campaigns: totals and who did what."""

from .. import problems
from ..routing import page_of, route
from ..state import hash_of, iso

REPORT = "/reports/{campaign_id}"
_TYPES = ("regular", "plaintext", "absplit", "rss", "variate")


def numbers(campaign):
    """All totals of a campaign, counted from its recipients."""
    everyone = campaign.recipients.values()
    sent = len(campaign.recipients)
    hard = sum(r.status == "hard" for r in everyone)
    soft = sum(r.status == "soft" for r in everyone)
    delivered = max(sent - hard - soft, 0)
    opens = [when for r in everyone for when in r.opens]
    unique_opens = sum(bool(r.opens) for r in everyone)
    real_unique = sum(len(r.opens) > r.proxy_opens for r in everyone)
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
        "last_open": iso(max(opens, default=0)),
        "real_opens": len(opens) - sum(r.proxy_opens for r in everyone),
        "real_unique": real_unique,
        "real_rate": rate(real_unique),
        "clicks": len(clicks),
        "unique_clicks": len({(id(r), u) for r in everyone for _w, u in r.clicks}),
        "clickers": clickers,
        "click_rate": rate(clickers),
        "last_click": iso(max(clicks, default=0)),
        "unsubscribed": sum(bool(r.unsubscribed_at) for r in everyone),
        "complaints": sum(bool(r.complained_at) for r in everyone),
    }


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
        # Percent here, fractions above: as the service mixes them.
        "list_stats": {
            "sub_rate": 0,
            "unsub_rate": 0,
            "open_rate": n["open_rate"] * 100,
            "click_rate": n["click_rate"] * 100,
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
    if audience.account.switches.proxy_fields:
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
    """By the hour, for the first day."""
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


def _find(request, campaign_id):
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
    return report_view(_find(request, campaign_id))


@route("GET", REPORT + "/sub-reports")
def get_sub_reports(request, campaign_id):
    campaign = _find(request, campaign_id)
    reports = [report_view(c) for c in campaign.children if c.send_time]
    return {
        "reports": reports,
        "campaign_id": campaign_id,
        "total_items": len(reports),
    }


# --- people ----------------------------------------------------------------------


def _people(campaign):
    """(member, recipient, who) of everybody; the erased ones vanish or go blank."""
    audience = campaign.audience
    blank = audience.account.switches.erased_in_reports == "blank"
    for member, recipient in campaign.recipients.items():
        erased = audience.by_contact_id.get(member.contact_id) is not member
        if not erased:
            yield member, recipient, _who(campaign, member)
        elif blank:
            yield member, recipient, {**_who(campaign, member), "email_address": ""}


def _who(campaign, member):
    return {
        "campaign_id": campaign.id,
        "list_id": campaign.audience.id,
        "list_is_active": True,
        "email_id": member.hash,
        "email_address": member.email,
    }


def _details(member):
    return {"merge_fields": member.merge_fields, "vip": member.vip}


def _listing(request, name, campaign, items, **more):
    return {
        name: page_of(items, request),
        "campaign_id": campaign.id,
        **more,
        "total_items": len(items),
    }


def _one(items, subscriber_hash):
    """The entry of one person. :raise Problem: 404."""
    for item in items:
        if item["email_id"] == subscriber_hash.lower():
            return item
    raise problems.not_found()


@route("GET", REPORT + "/email-activity")
def get_email_activity(request, campaign_id):
    campaign = _find(request, campaign_id)
    people = _activity(request, campaign)
    return _listing(request, "emails", campaign, people)


@route("GET", REPORT + "/email-activity/{subscriber_hash}")
def get_one_activity(request, campaign_id, subscriber_hash):
    campaign = _find(request, campaign_id)
    return _one(_activity(request, campaign), subscriber_hash)


def _activity(request, campaign):
    since = request.time("since")
    drops = request.account.switches.activity_since_drops_idle
    found = []
    for member, recipient, who in _people(campaign):
        events = [
            {"action": "open", "timestamp": iso(when), "ip": member.ip_opt}
            for when in recipient.opens[:1000]
            if since is None or when > since
        ]
        events += [
            {
                "action": "click",
                "timestamp": iso(when),
                "url": url,
                "ip": member.ip_opt,
            }
            for when, url in recipient.clicks[:1000]
            if since is None or when > since
        ]
        when = recipient.bounced_at
        if when and (since is None or when > since):
            events.append(
                {"action": "bounce", "type": recipient.status, "timestamp": iso(when)}
            )
        if events or since is None or not drops:
            events.sort(key=lambda event: event["timestamp"])
            found.append({**who, "activity": events})
    return found


@route("GET", REPORT + "/open-details")
def get_open_details(request, campaign_id):
    campaign = _find(request, campaign_id)
    people = _opens(request, campaign)
    if request.choice("sort_field", "opens_count"):
        down = request.choice("sort_dir", "ASC", "DESC") == "DESC"
        people.sort(key=lambda p: p["opens_count"], reverse=down)
    total = sum(p["opens_count"] for p in people)
    return _listing(request, "members", campaign, people, total_opens=total)


@route("GET", REPORT + "/open-details/{subscriber_hash}")
def get_one_open(request, campaign_id, subscriber_hash):
    return _one(_opens(request, _find(request, campaign_id)), subscriber_hash)


def _opens(request, campaign):
    since = request.time("since")
    found = []
    for member, recipient, who in _people(campaign):
        opens = [w for w in recipient.opens if since is None or w > since]
        if opens:
            found.append(
                {
                    **who,
                    **_details(member),
                    "contact_status": member.status,
                    "opens_count": len(opens),
                    "opens": [{"timestamp": iso(when)} for when in opens],
                }
            )
    return found


@route("GET", REPORT + "/sent-to")
def get_sent_to(request, campaign_id):
    campaign = _find(request, campaign_id)
    return _listing(request, "sent_to", campaign, _sent(campaign))


@route("GET", REPORT + "/sent-to/{subscriber_hash}")
def get_one_sent(request, campaign_id, subscriber_hash):
    return _one(_sent(_find(request, campaign_id)), subscriber_hash)


def _sent(campaign):
    found = []
    for member, recipient, who in _people(campaign):
        view = {
            **who,
            **_details(member),
            "status": recipient.status,
            "open_count": len(recipient.opens),
            "last_open": iso(max(recipient.opens, default=0)),
            "gmt_offset": 0,
        }
        if recipient.group:
            view["absplit_group"] = recipient.group
        found.append(view)
    return found


@route("GET", REPORT + "/unsubscribed")
def get_unsubscribed(request, campaign_id):
    campaign = _find(request, campaign_id)
    return _listing(request, "unsubscribes", campaign, _unsubscribed(campaign))


@route("GET", REPORT + "/unsubscribed/{subscriber_hash}")
def get_one_unsubscribed(request, campaign_id, subscriber_hash):
    return _one(_unsubscribed(_find(request, campaign_id)), subscriber_hash)


def _unsubscribed(campaign):
    return [
        {
            **who,
            **_details(member),
            "timestamp": iso(recipient.unsubscribed_at),
            "reason": recipient.unsubscribe_reason or "None given",
        }
        for member, recipient, who in _people(campaign)
        if recipient.unsubscribed_at
    ]


@route("GET", REPORT + "/abuse-reports")
def get_abuse_reports(request, campaign_id):
    campaign = _find(request, campaign_id)
    found = [
        {
            "id": member.web_id,
            **who,
            **_details(member),
            "date": iso(recipient.complained_at),
        }
        for member, recipient, who in _people(campaign)
        if recipient.complained_at
    ]
    return {
        "abuse_reports": found,
        "campaign_id": campaign_id,
        "total_items": len(found),
    }


# --- clicks by link --------------------------------------------------------------


def _link_id(campaign, url):
    return hash_of(f"{campaign.id}:{url}")[:10]


def _links(campaign):
    total = sum(len(r.clicks) for r in campaign.recipients.values())
    unique_total = numbers(campaign)["unique_clicks"]
    found = []
    for url in campaign.urls:
        times = [
            when
            for r in campaign.recipients.values()
            for when, clicked in r.clicks
            if clicked == url
        ]
        unique = sum(
            any(u == url for _w, u in r.clicks) for r in campaign.recipients.values()
        )
        found.append(
            {
                "id": _link_id(campaign, url),
                "url": url,
                "total_clicks": len(times),
                "click_percentage": len(times) / total if total else 0,
                "unique_clicks": unique,
                "unique_click_percentage": unique / unique_total if unique_total else 0,
                "last_click": iso(max(times, default=0)),
                "campaign_id": campaign.id,
            }
        )
    return found


@route("GET", REPORT + "/click-details")
def get_click_details(request, campaign_id):
    campaign = _find(request, campaign_id)
    found = _links(campaign)
    sort = request.choice("sort_field", "total_clicks", "unique_clicks")
    if sort:
        down = request.choice("sort_dir", "ASC", "DESC") == "DESC"
        found.sort(key=lambda link: link[sort], reverse=down)
    return _listing(request, "urls_clicked", campaign, found)


@route("GET", REPORT + "/click-details/{link_id}")
def get_link(request, campaign_id, link_id):
    for link in _links(_find(request, campaign_id)):
        if link["id"] == link_id:
            return link
    raise problems.not_found()


@route("GET", REPORT + "/click-details/{link_id}/members")
def get_link_members(request, campaign_id, link_id):
    campaign = _find(request, campaign_id)
    people = _clickers(request, campaign, link_id)
    return _listing(request, "members", campaign, people)


@route("GET", REPORT + "/click-details/{link_id}/members/{subscriber_hash}")
def get_link_member(request, campaign_id, link_id, subscriber_hash):
    campaign = _find(request, campaign_id)
    return _one(_clickers(request, campaign, link_id), subscriber_hash)


def _clickers(request, campaign, link_id):
    url = get_link(request, campaign.id, link_id)["url"]
    found = []
    for member, recipient, who in _people(campaign):
        clicks = sum(clicked == url for _when, clicked in recipient.clicks)
        if clicks:
            found.append(
                {
                    **who,
                    **_details(member),
                    "clicks": clicks,
                    "url_id": link_id,
                    "contact_status": member.status,
                }
            )
    return found


# --- summaries -------------------------------------------------------------------


@route("GET", REPORT + "/domain-performance")
def get_domains(request, campaign_id):
    campaign = _find(request, campaign_id)
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
    campaign = _find(request, campaign_id)
    opens = numbers(campaign)["unique_opens"]
    found = [
        {"country_code": "US", "region": "GA", "region_name": "Georgia", "opens": opens}
    ]
    return _listing(request, "locations", campaign, found if opens else [])


@route("GET", REPORT + "/advice")
def get_advice(request, campaign_id):
    _find(request, campaign_id)
    advice = [{"type": "neutral", "message": "Your open rate is about average."}]
    return {"advice": advice, "campaign_id": campaign_id, "total_items": 1}


@route("GET", REPORT + "/eepurl")
def get_eepurl(request, campaign_id):
    _find(request, campaign_id)
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
    _find(request, campaign_id)
    return {"products": [], "total_items": 0}
