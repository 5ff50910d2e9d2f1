"""Reports by person: who got a mail, opened, clicked, bounced, left or complained."""

from .. import problems
from ..routing import route
from ..state import hash_of, iso
from .reports import REPORT, find, listing, numbers


def _people(campaign):
    """Yield (member, recipient, who) for everybody; erased ones vanish or go blank."""
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


def _one(items, subscriber_hash):
    """Return the entry of one person. :raise Problem: 404."""
    for item in items:
        if item["email_id"] == subscriber_hash.lower():
            return item
    raise problems.not_found()


@route("GET", REPORT + "/email-activity")
def get_email_activity(request, campaign_id):
    campaign = find(request, campaign_id)
    people = _activity(request, campaign)
    return listing(request, "emails", campaign, people)


@route("GET", REPORT + "/email-activity/{subscriber_hash}")
def get_one_activity(request, campaign_id, subscriber_hash):
    campaign = find(request, campaign_id)
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
    campaign = find(request, campaign_id)
    people = _opens(request, campaign)
    if request.choice("sort_field", "opens_count"):
        down = request.choice("sort_dir", "ASC", "DESC") == "DESC"
        people.sort(key=lambda p: p["opens_count"], reverse=down)
    totals = {"total_opens": sum(p["opens_count"] for p in people)}
    if request.account.switches.proxy_fields:
        totals["total_proxy_excluded_opens"] = sum(
            p["proxy_excluded_opens_count"] for p in people
        )
    return listing(request, "members", campaign, people, **totals)


@route("GET", REPORT + "/open-details/{subscriber_hash}")
def get_one_open(request, campaign_id, subscriber_hash):
    return _one(_opens(request, find(request, campaign_id)), subscriber_hash)


def _opens(request, campaign):
    since = request.time("since")
    proxies = request.account.switches.proxy_fields
    found = []
    for member, recipient, who in _people(campaign):
        told = recipient.told_opens()
        opens = [(w, by) for w, by in told if since is None or w > since]
        if not opens:
            continue
        view = {
            **who,
            **_details(member),
            "contact_status": member.status,
            "opens_count": len(opens),
            "opens": [{"timestamp": iso(when)} for when, _by in opens],
        }
        if proxies:
            view["proxy_excluded_opens_count"] = sum(not by for _when, by in opens)
            for shown, (_when, by_proxy) in zip(view["opens"], opens, strict=True):
                shown["is_proxy_open"] = by_proxy
        found.append(view)
    return found


@route("GET", REPORT + "/sent-to")
def get_sent_to(request, campaign_id):
    campaign = find(request, campaign_id)
    return listing(request, "sent_to", campaign, _sent(campaign))


@route("GET", REPORT + "/sent-to/{subscriber_hash}")
def get_one_sent(request, campaign_id, subscriber_hash):
    return _one(_sent(find(request, campaign_id)), subscriber_hash)


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
    campaign = find(request, campaign_id)
    return listing(request, "unsubscribes", campaign, _unsubscribed(campaign))


@route("GET", REPORT + "/unsubscribed/{subscriber_hash}")
def get_one_unsubscribed(request, campaign_id, subscriber_hash):
    return _one(_unsubscribed(find(request, campaign_id)), subscriber_hash)


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
    campaign = find(request, campaign_id)
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
    campaign = find(request, campaign_id)
    found = _links(campaign)
    sort = request.choice("sort_field", "total_clicks", "unique_clicks")
    if sort:
        down = request.choice("sort_dir", "ASC", "DESC") == "DESC"
        found.sort(key=lambda link: link[sort], reverse=down)
    return listing(request, "urls_clicked", campaign, found)


@route("GET", REPORT + "/click-details/{link_id}")
def get_link(request, campaign_id, link_id):
    for link in _links(find(request, campaign_id)):
        if link["id"] == link_id:
            return link
    raise problems.not_found()


@route("GET", REPORT + "/click-details/{link_id}/members")
def get_link_members(request, campaign_id, link_id):
    campaign = find(request, campaign_id)
    people = _clickers(request, campaign, link_id)
    return listing(request, "members", campaign, people)


@route("GET", REPORT + "/click-details/{link_id}/members/{subscriber_hash}")
def get_link_member(request, campaign_id, link_id, subscriber_hash):
    campaign = find(request, campaign_id)
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
