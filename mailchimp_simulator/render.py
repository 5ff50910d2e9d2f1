"""Members as the API shows them."""

from .rules import unique_email_id
from .state import iso

MAX_TAGS_SHOWN = 50


def member_view(member, engagement=None):
    """Return the full form, which the member endpoints answer with.

    :param engagement: (open rate, click rate), fractions of the campaigns sent to it.
    """
    view = brief_view(member, engagement)
    merges = view["merge_fields"]
    first, last = str(merges.get("FNAME", "")), str(merges.get("LNAME", ""))
    view["contact_id"] = member.contact_id
    view["full_name"] = f"{first} {last}".strip()
    view["web_id"] = member.web_id
    view["consents_to_one_to_one_messaging"] = True
    view["source"] = member.source
    if member.status == "unsubscribed":
        view["unsubscribe_reason"] = member.unsubscribe_reason or "N/A (Unsubscribed)"
    texts = member.audience.permission_texts
    if texts:
        view["marketing_permissions"] = [
            {
                "marketing_permission_id": ref,
                "text": text,
                "enabled": ref in member.permissions,
            }
            for ref, text in texts.items()
        ]
    if member.notes:
        view["last_note"] = note_view(member.notes[-1])
    return view


def brief_view(member, engagement=None):
    """Return the shorter form, which batch subscribe and tagging answer with."""
    audience = member.audience
    open_rate, click_rate = engagement or (0, 0)
    on = member.interests
    latitude, longitude = member.location
    tags = member.tags
    interest_ids = audience.interest_ids
    # In an audience without groups, the key is missing altogether.
    interests = (
        {"interests": {i: i in on for i in interest_ids}} if interest_ids else {}
    )
    return {
        "id": member.hash,
        "email_address": member.email,
        "unique_email_id": unique_email_id(member),
        "email_type": member.email_type,
        "status": member.status,
        "merge_fields": member.merge_fields,
        **interests,
        "stats": {"avg_open_rate": open_rate, "avg_click_rate": click_rate},
        "ip_signup": member.ip_signup,
        "timestamp_signup": iso(member.timestamp_signup),
        "ip_opt": member.ip_opt,
        "timestamp_opt": iso(member.timestamp_opt),
        "member_rating": 2,
        "last_changed": iso(member.last_changed),
        "language": member.language,
        "vip": member.vip,
        "email_client": "",
        "location": {
            "latitude": latitude,
            "longitude": longitude,
            "gmtoff": 0,
            "dstoff": 0,
            "country_code": "",
            "timezone": "",
            "region": "",
        },
        "tags_count": len(tags),
        "tags": [{"id": s.id, "name": s.name} for s in list(tags)[:MAX_TAGS_SHOWN]],
        "list_id": audience.id,
    }


def note_view(note):
    return {
        "note_id": note["id"],
        "created_at": iso(note["created_at"]),
        "created_by": note["created_by"],
        "note": note["note"],
    }
