"""Merge fields, interest categories and interests."""

import re
from collections import Counter

from .. import problems, rules, shape
from ..routing import page_of, route

_TYPES = (
    "text number address phone date url imageurl radio dropdown birthday zip".split()
)
#: Words Mailchimp uses for its own merge tags.
_RESERVED = set(
    "EMAIL INTERESTS UNSUB FORWARD REWARDS ARCHIVE USER_URL DATE LIST SUBJECT UNIQID "
    "UPDATE TRANSLATE REFERRAL IF ELSE ELSEIF ENDIF END".split()
)
_FIELD = {
    "tag": shape.STRING,
    "name": shape.STRING,
    "required": shape.BOOLEAN,
    "default_value": shape.STRING,
    "public": shape.BOOLEAN,
    "display_order": shape.INTEGER,
    "options": shape.obj(
        default_country=shape.INTEGER,
        phone_format=shape.STRING,
        date_format=shape.STRING,
        choices=shape.STRINGS,
        size=shape.INTEGER,
    ),
    "help_text": shape.STRING,
}
_NEW_FIELD = shape.obj(("name", "type"), type=shape.choice(*_TYPES), **_FIELD)
_CHANGED_FIELD = shape.obj(("name",), **_FIELD)
_KINDS = shape.choice("checkboxes", "dropdown", "radio", "hidden")
_CATEGORY = {"title": shape.STRING, "type": _KINDS, "display_order": shape.INTEGER}
_INTEREST = {"name": shape.STRING, "display_order": shape.INTEGER}

FIELDS = "/lists/{list_id}/merge-fields"
CATEGORIES = "/lists/{list_id}/interest-categories"
CATEGORY = CATEGORIES + "/{interest_category_id}"
INTERESTS = CATEGORY + "/interests"
INTEREST = INTERESTS + "/{interest_id}"


# --- merge fields ----------------------------------------------------------------


def field_view(audience, field):
    return {
        "merge_id": field.merge_id,
        "tag": field.tag,
        "name": field.name,
        "type": field.type,
        "required": field.required,
        "default_value": field.default_value,
        "public": field.public,
        "display_order": field.display_order,
        "options": field.options,
        "help_text": field.help_text,
        "list_id": audience.id,
    }


@route("GET", FIELDS)
def get_merge_fields(request, list_id):
    audience = request.audience(list_id)
    found = list(audience.merge_fields.values())
    if "type" in request.query:
        found = [f for f in found if f.type == request.query["type"]]
    if "required" in request.query:
        found = [f for f in found if f.required == request.flag("required")]
    return {
        "merge_fields": [field_view(audience, f) for f in page_of(found, request)],
        "list_id": list_id,
        "total_items": len(found),
    }


@route("POST", FIELDS)
def add_merge_field(request, list_id):
    audience = request.audience(list_id)
    body = request.body
    rules.check_shape(_NEW_FIELD, body)
    # EMAIL counts, though it is not listed.
    if len(audience.merge_fields) + 1 >= request.account.switches.merge_field_limit:
        raise problems.Problem(
            400,
            "Merge Max Limit Exceeded",
            "You've reached the maximum number of merge fields for this audience.",
        )
    if body.get("tag"):
        _check_tag(audience, body["tag"])
    _check_name(body["name"])
    settings = {k: v for k, v in body.items() if k in _FIELD and k != "tag"}
    name = settings.pop("name")
    field = audience.add_merge_field(
        name, body.get("tag") or None, body["type"], **settings
    )
    return field_view(audience, field)


def _check_tag(audience, tag):
    if not re.match(r"^[A-Z0-9_]{1,10}$", tag):
        raise problems.schema(
            ("tag", "Merge tags have at most 10 characters: A-Z, 0-9 and _.")
        )
    if tag in _RESERVED:
        raise problems.schema(("tag", f"{tag} is a reserved merge tag."))
    if audience.merge_field(tag):
        raise problems.bad_request(
            f'A Merge Field with the tag "{tag}" already exists for this list.'
        )


def _check_name(name):
    if not name.strip():
        raise problems.schema(("name", "A name cannot be empty."))


def _find_field(request, list_id, merge_id):
    audience = request.audience(list_id)
    field = audience.merge_fields.get(int(merge_id) if merge_id.isdecimal() else None)
    if field is None:
        raise problems.not_found()
    return audience, field


@route("GET", FIELDS + "/{merge_id}")
def get_merge_field(request, list_id, merge_id):
    return field_view(*_find_field(request, list_id, merge_id))


@route("PATCH", FIELDS + "/{merge_id}")
def change_merge_field(request, list_id, merge_id):
    audience, field = _find_field(request, list_id, merge_id)
    body = request.body
    rules.check_shape(_CHANGED_FIELD, body)
    if body.get("tag", field.tag) != field.tag:
        _check_tag(audience, body["tag"])
    if "name" in body:
        _check_name(body["name"])
    for name, value in body.items():
        if name == "options":
            field.options = {**field.options, **value}
        elif name in _FIELD:
            setattr(field, name, value)
    return field_view(audience, field)


@route("DELETE", FIELDS + "/{merge_id}")
def delete_merge_field(request, list_id, merge_id):
    audience, field = _find_field(request, list_id, merge_id)
    del audience.merge_fields[field.merge_id]
    for member in audience.members.values():
        member.values.pop(field.merge_id, None)


# --- interest categories ---------------------------------------------------------


def category_view(audience, category):
    return {
        "list_id": audience.id,
        "id": category.id,
        "title": category.title,
        "display_order": category.display_order,
        "type": category.type,
    }


def _find_category(request, list_id, category_id):
    audience = request.audience(list_id)
    category = audience.categories.get(category_id)
    if category is None:
        raise problems.not_found()
    return audience, category


@route("GET", CATEGORIES)
def get_categories(request, list_id):
    audience = request.audience(list_id)
    wanted = request.query.get("type")
    found = [
        c for c in audience.categories.values() if wanted is None or c.type == wanted
    ]
    return {
        "list_id": list_id,
        "categories": [category_view(audience, c) for c in page_of(found, request)],
        "total_items": len(found),
    }


@route("POST", CATEGORIES)
def add_category(request, list_id):
    audience = request.audience(list_id)
    body = request.body
    rules.check_shape(shape.obj(("title", "type"), **_CATEGORY), body)
    _check_title(audience, body["title"])
    category = audience.add_category(
        body["title"], body["type"], body.get("display_order", 0)
    )
    return category_view(audience, category)


def _check_title(audience, title, but=None):
    if not title.strip():
        raise problems.schema(("title", "A title cannot be empty."))
    for category in audience.categories.values():
        if category is not but and category.title.lower() == title.strip().lower():
            raise _exists(title)


def _exists(name):
    return problems.bad_request(
        f'Cannot add "{name}" because it already exists on the list.'
    )


@route("GET", CATEGORY)
def get_category(request, list_id, interest_category_id):
    return category_view(*_find_category(request, list_id, interest_category_id))


@route("PATCH", CATEGORY)
def change_category(request, list_id, interest_category_id):
    audience, category = _find_category(request, list_id, interest_category_id)
    body = request.body
    rules.check_shape(shape.obj(("title", "type"), **_CATEGORY), body)
    if "title" in body:
        _check_title(audience, body["title"], but=category)
    for name in _CATEGORY:
        if name in body:
            setattr(category, name, body[name])
    return category_view(audience, category)


@route("DELETE", CATEGORY)
def delete_category(request, list_id, interest_category_id):
    audience, category = _find_category(request, list_id, interest_category_id)
    del audience.categories[category.id]
    _take_off(audience, set(category.interests))


def _take_off(audience, interest_ids):
    for member in audience.members.values():
        if not interest_ids.isdisjoint(member.interests):
            member.interests = member.interests - interest_ids


# --- interests -------------------------------------------------------------------


def _counts(audience):
    """Count subscribed members by interest id, in one pass over them."""
    return Counter(i for m in audience.by_status["subscribed"] for i in m.interests)


def interest_view(audience, category, interest, counts=None):
    counts = _counts(audience) if counts is None else counts
    return {
        "category_id": category.id,
        "list_id": audience.id,
        "id": interest.id,
        "name": interest.name,
        "subscriber_count": str(counts[interest.id]),
        "display_order": interest.display_order,
    }


def _find_interest(request, list_id, category_id, interest_id):
    audience, category = _find_category(request, list_id, category_id)
    interest = category.interests.get(interest_id)
    if interest is None:
        raise problems.not_found()
    return audience, category, interest


@route("GET", INTERESTS)
def get_interests(request, list_id, interest_category_id):
    audience, category = _find_category(request, list_id, interest_category_id)
    found = list(category.interests.values())
    counts = _counts(audience)
    return {
        "interests": [
            interest_view(audience, category, i, counts)
            for i in page_of(found, request)
        ],
        "list_id": list_id,
        "category_id": category.id,
        "total_items": len(found),
    }


@route("POST", INTERESTS)
def add_interest(request, list_id, interest_category_id):
    audience, category = _find_category(request, list_id, interest_category_id)
    body = request.body
    rules.check_shape(shape.obj(("name",), **_INTEREST), body)
    limit = request.account.switches.interest_limit
    if len(audience.interest_ids) >= limit:
        raise problems.bad_request(
            f"Cannot have more than {limit} interests per list (Across all categories)"
        )
    _check_interest_name(category, body["name"])
    interest = audience.add_interest(
        category, body["name"], body.get("display_order", 0)
    )
    return interest_view(audience, category, interest)


def _check_interest_name(category, name, but=None):
    _check_name(name)
    for interest in category.interests.values():
        if interest is not but and interest.name.lower() == name.strip().lower():
            raise _exists(name)


@route("GET", INTEREST)
def get_interest(request, list_id, interest_category_id, interest_id):
    found = _find_interest(request, list_id, interest_category_id, interest_id)
    return interest_view(*found)


@route("PATCH", INTEREST)
def change_interest(request, list_id, interest_category_id, interest_id):
    audience, category, interest = _find_interest(
        request, list_id, interest_category_id, interest_id
    )
    body = request.body
    rules.check_shape(shape.obj(("name",), **_INTEREST), body)
    if "name" in body:
        _check_interest_name(category, body["name"], but=interest)
    for name in _INTEREST:
        if name in body:
            setattr(interest, name, body[name])
    return interest_view(audience, category, interest)


@route("DELETE", INTEREST)
def delete_interest(request, list_id, interest_category_id, interest_id):
    audience, category, interest = _find_interest(
        request, list_id, interest_category_id, interest_id
    )
    del category.interests[interest.id]
    _take_off(audience, {interest.id})
