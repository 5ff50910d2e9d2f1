"""Segments; the static ones are the tags."""

from .. import problems, rules, shape
from ..render import brief_view, member_view
from ..routing import page_of, route
from ..selection import conditions_test, members_of
from ..state import iso

MAX_CHANGES = 500

SEGMENTS = "/lists/{list_id}/segments"
SEGMENT = SEGMENTS + "/{segment_id}"

_OPTIONS = shape.obj(match=shape.choice("any", "all"), conditions={"type": "array"})
_SEGMENT = {"name": shape.STRING, "static_segment": shape.STRINGS, "options": _OPTIONS}
_CHANGES = shape.obj(
    members_to_add={**shape.STRINGS, "maxItems": MAX_CHANGES},
    members_to_remove={**shape.STRINGS, "maxItems": MAX_CHANGES},
)
#: Statuses of members that can be put into a segment by address.
_ADDABLE = ("subscribed", "pending", "transactional")


def segment_view(audience, segment):
    view = {
        "id": segment.id,
        "name": segment.name,
        "member_count": len(members_of(audience, segment)),
        "type": segment.type,
        "created_at": iso(segment.created_at),
        "updated_at": iso(segment.updated_at),
        "list_id": audience.id,
    }
    if segment.options:
        view["options"] = segment.options
    return view


def _find(request, list_id, segment_id):
    audience = request.audience(list_id)
    number = int(segment_id) if segment_id.isdecimal() else None
    segment = audience.segments.get(number)
    if segment is None:
        raise problems.not_found()
    return audience, segment


def _check_name(audience, name, but=None):
    rules.check_tag_name(name)
    for segment in audience.segments.values():
        if segment is not but and segment.name.lower() == name.strip().lower():
            raise problems.bad_request("Sorry, that tag already exists.")


@route("GET", SEGMENTS)
def get_segments(request, list_id):
    audience = request.audience(list_id)
    kind = request.query.get("type")
    created = request.time("since_created_at"), request.time("before_created_at")
    updated = request.time("since_updated_at"), request.time("before_updated_at")
    found = [
        s
        for s in audience.segments.values()
        if (kind is None or s.type == kind)
        and request.window(*created, s.created_at)
        and request.window(*updated, s.updated_at)
    ]
    return {
        "segments": [segment_view(audience, s) for s in page_of(found, request)],
        "list_id": list_id,
        "total_items": len(found),
    }


@route("POST", SEGMENTS)
def add_segment(request, list_id):
    audience = request.audience(list_id)
    body = request.body
    rules.check_shape(shape.obj(("name",), **_SEGMENT), body)
    if ("static_segment" in body) == ("options" in body):
        raise problems.schema(
            ("", "Provide either static_segment or options, not both.")
        )
    _check_name(audience, body["name"])
    if "options" in body:
        conditions_test(audience, body["options"])
        segment = audience.add_segment(body["name"], "saved", body["options"])
    else:
        segment = audience.add_segment(body["name"])
        _add(audience, segment, body["static_segment"])
    return segment_view(audience, segment)


@route("GET", SEGMENT)
def get_segment(request, list_id, segment_id):
    return segment_view(*_find(request, list_id, segment_id))


@route("PATCH", SEGMENT)
def change_segment(request, list_id, segment_id):
    audience, segment = _find(request, list_id, segment_id)
    body = request.body
    rules.check_shape(shape.obj(("name",), **_SEGMENT), body)
    _check_name(audience, body["name"], but=segment)
    segment.name = body["name"]
    if "static_segment" in body:
        if segment.type != "static":
            raise problems.schema(("static_segment", "This segment is not static."))
        for member in list(segment.members):
            audience.drop_tag(member, segment)
        _add(audience, segment, body["static_segment"])
    if "options" in body:
        conditions_test(audience, body["options"])
        segment.options = body["options"]
    segment.updated_at = request.account.clock.now()
    return segment_view(audience, segment)


@route("DELETE", SEGMENT)
def delete_segment(request, list_id, segment_id):
    audience, segment = _find(request, list_id, segment_id)
    for member in list(segment.members):
        audience.drop_tag(member, segment)
    del audience.segments[segment.id]


@route("POST", SEGMENT)
def change_members(request, list_id, segment_id):
    """Add up to 500 addresses, and remove up to 500."""
    audience, segment = _find(request, list_id, segment_id)
    rules.check_shape(_CHANGES, request.body)
    if segment.type != "static":
        raise problems.schema(("", "Only static segments can be changed like this."))
    add = request.body.get("members_to_add", [])
    remove = request.body.get("members_to_remove", [])
    request.weight = len(add) + len(remove)
    added, refused = _add(audience, segment, add)
    removed = []
    for email in remove:
        member = audience.members.get(email.strip().lower())
        if member is not None and audience.drop_tag(member, segment):
            removed.append(member)
    errors = []
    if refused:
        errors.append(
            {
                "email_addresses": refused,
                "error": "Email addresses not subscribed to list",
            }
        )
    return {
        "members_added": [brief_view(m) for m in added],
        "members_removed": [brief_view(m) for m in removed],
        "errors": errors,
        "total_added": len(added),
        "total_removed": len(removed),
        "error_count": len(errors),
    }


def _add(audience, segment, emails):
    """Put members into a segment. :return: (members newly in it, refused addresses)."""
    added, refused = [], []
    for email in emails:
        member = audience.members.get(email.strip().lower())
        if member is None:
            continue
        if member.status not in _ADDABLE:
            refused.append(email)
        elif audience.put_tag(member, segment):
            added.append(member)
    return added, refused


@route("GET", SEGMENT + "/members")
def get_segment_members(request, list_id, segment_id):
    audience, segment = _find(request, list_id, segment_id)
    statuses = ["subscribed"]
    for status in ("cleaned", "transactional", "unsubscribed"):
        if request.flag(f"include_{status}"):
            statuses.append(status)
    found = members_of(audience, segment, statuses)
    return {
        "members": [member_view(m) for m in page_of(found, request)],
        "total_items": len(found),
    }


@route("POST", SEGMENT + "/members")
def add_segment_member(request, list_id, segment_id):
    audience, segment = _find(request, list_id, segment_id)
    wanted = shape.obj(("email_address",), email_address=shape.STRING)
    rules.check_shape(wanted, request.body)
    member = audience.members.get(request.body["email_address"].strip().lower())
    if member is None:
        raise problems.not_found()
    if member.status not in _ADDABLE:
        raise problems.bad_request("Email addresses not subscribed to list")
    audience.put_tag(member, segment)
    return brief_view(member)


@route("DELETE", SEGMENT + "/members/{subscriber_hash}")
def remove_segment_member(request, list_id, segment_id, subscriber_hash):
    audience, segment = _find(request, list_id, segment_id)
    member = audience.by_hash.get(subscriber_hash.lower())
    if member is None or not audience.drop_tag(member, segment):
        raise problems.not_found()


@route("GET", "/lists/{list_id}/tag-search")
def search_tags(request, list_id):
    audience = request.audience(list_id)
    start = request.query.get("name", "").lower()
    found = [
        {"id": s.id, "name": s.name}
        for s in audience.segments.values()
        if s.type == "static" and s.name.lower().startswith(start)
    ]
    return {"tags": found, "total_items": len(found)}
