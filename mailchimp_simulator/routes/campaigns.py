"""Campaigns: list, create, change, send."""

from .. import problems, rules, shape
from ..campaigns import add_campaign, recipients_of, send
from ..routing import page_of, route
from ..state import iso
from .reports import numbers

CAMPAIGN = "/campaigns/{campaign_id}"
_TYPES = ("regular", "plaintext", "absplit", "rss", "variate")
_SETTINGS = {
    name: shape.STRING
    for name in "subject_line preview_text title from_name reply_to to_name".split()
}
_CAMPAIGN = {
    "recipients": shape.obj(
        ("list_id",),
        list_id=shape.STRING,
        segment_opts=shape.obj(
            saved_segment_id=shape.INTEGER,
            match=shape.choice("any", "all"),
            conditions={"type": "array"},
        ),
    ),
    "settings": shape.obj(**_SETTINGS),
    "variate_settings": {"type": "object"},
}
_NEW = shape.obj(("type",), type=shape.choice(*_TYPES), **_CAMPAIGN)
_CHANGED = shape.obj(
    ("settings",),
    **{
        **_CAMPAIGN,
        "settings": shape.obj(("subject_line", "from_name", "reply_to"), **_SETTINGS),
    },
)
_SCHEDULE = shape.obj(("schedule_time",), schedule_time=shape.STRING)


def campaign_view(campaign):
    account = campaign.audience.account
    total = numbers(campaign)
    view = {
        "id": campaign.id,
        "web_id": campaign.web_id,
        "type": campaign.type,
        "create_time": iso(campaign.create_time),
        "archive_url": f"https://eepurl.com/{campaign.id}",
        "long_archive_url": f"https://mailchi.mp/{account.id}/{campaign.id}",
        "status": campaign.status,
        "emails_sent": total["emails_sent"],
        "send_time": iso(campaign.send_time),
        "content_type": "template",
        "needs_block_refresh": False,
        "resendable": False,
        "recipients": {
            "list_id": campaign.audience.id,
            "list_is_active": campaign.audience.id in account.audiences,
            "list_name": campaign.audience.name,
            "segment_text": "",
            "recipient_count": total["emails_sent"],
        },
        "settings": {
            "subject_line": campaign.subject,
            "preview_text": campaign.preview,
            "title": campaign.title,
            "from_name": campaign.from_name,
            "reply_to": campaign.reply_to,
            "use_conversation": False,
            "to_name": "*|FNAME|*",
            "folder_id": "",
            "authenticate": True,
            "auto_footer": False,
            "inline_css": False,
            "auto_tweet": False,
            "fb_comments": True,
            "timewarp": False,
            "template_id": 0,
            "drag_and_drop": True,
        },
        "tracking": {
            "opens": True,
            "html_clicks": True,
            "text_clicks": False,
            "goal_tracking": False,
            "ecomm360": False,
            "google_analytics": campaign.google_analytics,
            "clicktale": "",
        },
        "delivery_status": {"enabled": False},
    }
    if campaign.segment_opts:
        view["recipients"]["segment_opts"] = campaign.segment_opts
    if campaign.parent is not None:
        view["parent_campaign_id"] = campaign.parent.id
    if campaign.variate_settings:
        view["variate_settings"] = campaign.variate_settings
    if campaign.send_time:
        view["report_summary"] = {
            "opens": total["opens"],
            "unique_opens": total["unique_opens"],
            "open_rate": total["open_rate"],
            "clicks": total["clicks"],
            "subscriber_clicks": total["clickers"],
            "click_rate": total["click_rate"],
            "ecommerce": {"total_orders": 0, "total_spent": 0, "total_revenue": 0},
        }
    return view


def listed(campaign):
    """Return whether ``/campaigns`` lists a campaign.

    A/B variants are part of their parent; Mailchimp may keep automations elsewhere.
    """
    if campaign.parent is not None and campaign.parent.type == "variate":
        return False
    top = campaign.parent or campaign
    switches = campaign.audience.account.switches
    return top.type != "automation" or switches.campaigns_list_automations


def find(request, campaign_id):
    campaign = request.account.campaigns.get(campaign_id)
    if campaign is None:
        raise problems.not_found()
    return campaign


@route("GET", "/campaigns")
def get_campaigns(request):
    query = request.query
    kind = request.choice("type", *_TYPES)
    status = request.choice("status", "save", "paused", "schedule", "sending", "sent")
    sent = request.time("since_send_time"), request.time("before_send_time")
    made = request.time("since_create_time"), request.time("before_create_time")
    sort = request.choice("sort_field", "create_time", "send_time")
    direction = request.choice("sort_dir", "ASC", "DESC")
    found = [
        c
        for c in request.account.campaigns.values()
        if listed(c)
        and kind in (None, c.type)
        and status in (None, c.status)
        and query.get("list_id") in (None, c.audience.id)
        and "folder_id" not in query
        and _sent_to(c, query.get("member_id"))
        and (sent == (None, None) or c.send_time)
        and request.window(*sent, c.send_time)
        and request.window(*made, c.create_time)
    ]
    if sort:
        found.sort(key=lambda c: getattr(c, sort), reverse=direction == "DESC")
    return {
        "campaigns": [campaign_view(c) for c in page_of(found, request)],
        "total_items": len(found),
    }


def _sent_to(campaign, member_id):
    if member_id is None:
        return True
    return any(
        member_id in (m.hash, rules.unique_email_id(m)) for m in campaign.recipients
    )


@route("POST", "/campaigns")
def create_campaign(request):
    body = request.body
    rules.check_shape(_NEW, body)
    recipients = body.get("recipients")
    if recipients is None:
        raise problems.missing("recipients")
    audience = request.account.audiences.get(recipients["list_id"])
    if audience is None:
        raise problems.schema(("recipients.list_id", "The list does not exist."))
    campaign = add_campaign(request.account, audience, body["type"], subject="")
    _apply(campaign, body)
    return campaign_view(campaign)


def _apply(campaign, body):
    names = {"subject_line": "subject", "preview_text": "preview"}
    for name, value in body.get("settings", {}).items():
        if name in ("subject_line", "preview_text", "title", "from_name", "reply_to"):
            setattr(campaign, names.get(name, name), value)
    options = body.get("recipients", {}).get("segment_opts")
    if options:
        campaign.segment_opts = options
        recipients_of(campaign)
    if "variate_settings" in body:
        campaign.variate_settings = {
            **(campaign.variate_settings or {}),
            **body["variate_settings"],
        }


@route("GET", CAMPAIGN)
def get_campaign(request, campaign_id):
    return campaign_view(find(request, campaign_id))


@route("PATCH", CAMPAIGN)
def change_campaign(request, campaign_id):
    campaign = find(request, campaign_id)
    rules.check_shape(_CHANGED, request.body)
    _need(campaign, "save", "paused")
    _apply(campaign, request.body)
    return campaign_view(campaign)


@route("DELETE", CAMPAIGN)
def delete_campaign(request, campaign_id):
    campaign = find(request, campaign_id)
    for child in campaign.children:
        request.account.campaigns.pop(child.id, None)
    del request.account.campaigns[campaign_id]


@route("GET", CAMPAIGN + "/send-checklist")
def get_checklist(request, campaign_id):
    campaign = find(request, campaign_id)
    errors = _obstacles(campaign)
    items = [
        {"type": "error", "id": 500 + i, "heading": heading, "details": text}
        for i, (heading, text) in enumerate(errors)
    ]
    if not items:
        items = [
            {
                "type": "success",
                "id": 501,
                "heading": "List",
                "details": f"{len(recipients_of(campaign))} recipients",
            }
        ]
    return {"is_ready": not errors, "items": items}


def _obstacles(campaign):
    found = []
    if not campaign.subject:
        found.append(("Subject", "No subject line was set."))
    if not recipients_of(campaign):
        found.append(("List", "There are no subscribed contacts to send to."))
    return found


def _need(campaign, *statuses):
    if campaign.status not in statuses:
        raise problems.bad_request(
            f"The campaign cannot be changed while its status is {campaign.status}."
        )


@route("POST", CAMPAIGN + "/actions/send")
def send_campaign(request, campaign_id):
    campaign = find(request, campaign_id)
    _need(campaign, "save", "paused", "schedule")
    if _obstacles(campaign):
        raise problems.bad_request("Your Campaign is not ready to send.")
    send(campaign)


@route("POST", CAMPAIGN + "/actions/schedule")
def schedule_campaign(request, campaign_id):
    campaign = find(request, campaign_id)
    rules.check_shape(_SCHEDULE, request.body)
    _need(campaign, "save")
    when = rules.parse_stamp("schedule_time", request.body["schedule_time"])
    if when % 900:
        raise problems.schema(
            ("schedule_time", "Campaigns can only be scheduled on the quarter-hour.")
        )
    campaign.status, campaign.send_time = "schedule", when


@route("POST", CAMPAIGN + "/actions/unschedule")
def unschedule_campaign(request, campaign_id):
    campaign = find(request, campaign_id)
    _need(campaign, "schedule")
    campaign.status, campaign.send_time = "save", 0


@route("POST", CAMPAIGN + "/actions/cancel-send")
def cancel_send(request, campaign_id):
    campaign = find(request, campaign_id)
    _need(campaign, "sending", "sent")
    campaign.status = "canceled"
