"""What happened to a member: events, notes, activity."""

from .. import problems, rules, shape
from ..render import note_view
from ..routing import page_of, route
from ..state import iso
from .members import ONE, find, find_by_hash

_EVENT = shape.obj(
    ("name",),
    name=shape.STRING,
    properties={"type": "object", "additionalProperties": shape.STRING},
    is_syncing=shape.BOOLEAN,
    occurred_at=shape.STRING,
)
_NOTE = shape.obj(("note",), note=shape.STRING)


# --- events and notes -----------------------------------------------------------


@route("GET", ONE + "/events")
def get_events(request, list_id, subscriber_hash):
    member = find(request, list_id, subscriber_hash)
    events = [e for e in member.feed if e["activity_type"] == "event"]
    shown = [
        {
            "occurred_at": iso(e["created_at_timestamp"]),
            "name": e["name"],
            "properties": e["properties"],
        }
        for e in page_of(events, request)
    ]
    return {"events": shown, "total_items": len(events)}


@route("POST", ONE + "/events")
def add_event(request, list_id, subscriber_hash):
    member = find(request, list_id, subscriber_hash)
    rules.check_shape(_EVENT, request.body)
    name = request.body["name"]
    if not 2 <= len(name) <= 30:
        raise problems.schema(("name", "Must be between 2 and 30 characters."))
    now = request.account.clock.now()
    occurred = rules.parse_stamp("occurred_at", request.body.get("occurred_at", ""))
    event = {
        "activity_type": "event",
        "created_at_timestamp": occurred or now,
        "name": name,
        "properties": request.body.get("properties", {}),
    }
    member.feed = (*member.feed, event)


@route("GET", ONE + "/notes")
def get_notes(request, list_id, subscriber_hash):
    member = find(request, list_id, subscriber_hash)
    notes = [_full_note(member, n) for n in member.notes]
    return {
        "notes": page_of(notes, request),
        "email_id": member.hash,
        "list_id": list_id,
        "total_items": len(notes),
    }


@route("POST", ONE + "/notes")
def add_note(request, list_id, subscriber_hash):
    member = find_by_hash(request, list_id, subscriber_hash)
    rules.check_shape(_NOTE, request.body)
    note = {
        "id": request.account.new_number(),
        "created_at": request.account.clock.now(),
        "created_by": request.account.name,
        "note": request.body["note"],
    }
    member.notes = (*member.notes, note)
    return _full_note(member, note)


def _full_note(member, note):
    view = note_view(note)
    view["id"] = view.pop("note_id")
    view["updated_at"] = view["created_at"]
    return {**view, "list_id": member.audience.id, "email_id": member.hash}


# --- activity --------------------------------------------------------------------


@route("GET", ONE + "/activity")
def get_activity(request, list_id, subscriber_hash):
    """The last 50 actions, newest first."""
    member = find(request, list_id, subscriber_hash)
    wanted = set(filter(None, request.query.get("action", "").split(",")))
    known = {"abuse", "bounce", "click", "ecomm", "open", "sent", "unsub"}
    items = [
        item
        for item in _shown(member)
        if item["action"] in known and (not wanted or item["action"] in wanted)
    ][:50]
    shown = []
    for item in items:
        view = {
            "action": item["action"],
            "timestamp": iso(item["when"]),
            "campaign_id": item.get("campaign_id", ""),
            "title": item.get("title", ""),
        }
        if "url" in item:
            view["url"] = item["url"]
        if item.get("type"):
            view["type"] = item["type"]
        shown.append(view)
    return {
        "activity": shown,
        "email_id": member.hash,
        "contact_id": member.contact_id,
        "list_id": list_id,
        "total_items": len(shown),
    }


_FEED_FILTERS = (
    "bounce click conversation ecommerce_signup event web_engagement generic_signup "
    "landing_page_signup marketing_permission note open order postcard_sent sent "
    "signup squatter_signup unsub website_signup survey_response sms_bulk_sent "
    "inbox_thread qbo_payment_link video_call_transcripts"
).split()


@route("GET", ONE + "/activity-feed")
def get_activity_feed(request, list_id, subscriber_hash):
    member = find(request, list_id, subscriber_hash)
    wanted = list(filter(None, request.query.get("activity_filters", "").split(",")))
    for name in wanted:
        if name not in _FEED_FILTERS:
            raise problems.schema(("activity_filters", f"Unknown filter {name}."))
    complaints = request.account.switches.complaint_in_feed
    feed = []
    for item in _shown(member):
        kind = item["action"]
        if kind == "abuse":
            if not complaints:
                continue
            kind = "unsub"
        if wanted and kind not in wanted:
            continue
        view = {"activity_type": kind, "created_at_timestamp": iso(item["when"])}
        if "campaign_id" in item:
            view["campaign_id"] = item["campaign_id"]
            view["campaign_title"] = item["title"]
        if kind == "click":
            view["link_clicked"] = item["url"]
        elif kind == "bounce":
            view["bounce_type"] = item["type"]
            view["bounce_has_open_activity"] = False
        elif kind == "unsub":
            view["is_admin_unsubscribed"] = item.get("admin", False)
            view["unsubscribe_reason"] = item.get("reason", "")
        elif kind == "event":
            view["event_name"] = item["name"]
        feed.append(view)
    return {
        "activity": page_of(feed, request),
        "email_id": member.hash,
        "list_id": list_id,
    }


def _shown(member):
    """Return what the API shows of a member's history: not every unsubscribe."""
    switches = member.audience.account.switches
    by_person = switches.feed_has_unsubscribes_outside_campaigns
    by_admin = switches.feed_has_admin_unsubscribes
    return [
        item
        for item in history(member)
        if item["action"] != "unsub"
        or "campaign_id" in item
        or (by_admin if item["admin"] else by_person)
    ]


def history(member):
    """Return all that happened to a member, newest first: its feed and campaigns."""
    items = []
    for entry in member.feed:
        items.append(
            {
                "action": entry["activity_type"],
                "when": entry["created_at_timestamp"],
                "admin": entry.get("is_admin_unsubscribed", False),
                "reason": entry.get("unsubscribe_reason", ""),
                "type": entry.get("bounce_type", ""),
                "name": entry.get("name", ""),
            }
        )
    for campaign in member.audience.account.campaigns.values():
        recipient = campaign.recipients.get(member)
        if recipient is None or campaign.audience is not member.audience:
            continue
        label = {"campaign_id": campaign.id, "title": campaign.title}
        items += [{**item, **label} for item in recipient.history(campaign.send_time)]
    # Reversed, so that within one second the later one comes first, too.
    return sorted(items, key=lambda item: item["when"])[::-1]


@route("GET", ONE + "/goals")
def get_goals(request, list_id, subscriber_hash):
    member = find(request, list_id, subscriber_hash)
    return {
        "goals": [],
        "email_id": member.hash,
        "list_id": list_id,
        "total_items": 0,
    }
