"""Audiences, and batch subscribe (``POST /lists/{id}``)."""

from .. import problems, rules, shape
from ..render import brief_view
from ..routing import page_of, route
from ..state import STATUSES, iso

MAX_BATCH = 500

_CONTACT = {
    name: shape.STRING
    for name in "company address1 address2 city state zip country phone".split()
}
_DEFAULTS = {
    name: shape.STRING for name in ("from_name", "from_email", "subject", "language")
}
_LIST = {
    "name": shape.STRING,
    "contact": shape.obj(("company", "address1", "city", "country"), **_CONTACT),
    "permission_reminder": shape.STRING,
    "use_archive_bar": shape.BOOLEAN,
    "campaign_defaults": shape.obj(tuple(_DEFAULTS), **_DEFAULTS),
    "notify_on_subscribe": shape.STRING,
    "notify_on_unsubscribe": shape.STRING,
    "email_type_option": shape.BOOLEAN,
    "double_optin": shape.BOOLEAN,
    "marketing_permissions": shape.BOOLEAN,
}
_NEW_LIST = shape.obj(
    (
        "name",
        "contact",
        "permission_reminder",
        "campaign_defaults",
        "email_type_option",
    ),
    **_LIST,
)
# Changing a list requires more than creating one: state and zip, too.
_CHANGED_LIST = shape.obj(
    _NEW_LIST["required"],
    **{
        **_LIST,
        "contact": shape.obj(
            ("company", "address1", "city", "state", "zip", "country"), **_CONTACT
        ),
    },
)
_BATCH = shape.obj(
    ("members",),
    members={"type": "array", "maxItems": MAX_BATCH, "items": {"type": "object"}},
    sync_tags=shape.BOOLEAN,
    update_existing=shape.BOOLEAN,
)


def list_view(audience, total_contacts=False):
    account = audience.account
    campaigns = [c for c in account.campaigns.values() if c.audience is audience]
    sent = [c.send_time for c in campaigns if c.send_time]
    host = f"https://example.us21.list-manage.com/subscribe?u={account.id}"
    stats = {
        "member_count": audience.count("subscribed"),
        "unsubscribe_count": audience.count("unsubscribed"),
        "cleaned_count": audience.count("cleaned"),
        "member_count_since_send": 0,
        "unsubscribe_count_since_send": 0,
        "cleaned_count_since_send": 0,
        "campaign_count": len(campaigns),
        "campaign_last_sent": iso(max(sent, default=0)),
        "merge_field_count": len(audience.merge_fields),
        "avg_sub_rate": 0,
        "avg_unsub_rate": 0,
        "target_sub_rate": 0,
        "open_rate": 0,
        "click_rate": 0,
        "last_sub_date": "",
        "last_unsub_date": "",
    }
    if total_contacts:
        stats["total_contacts"] = sum(audience.count(s) for s in STATUSES)
    return {
        "id": audience.id,
        "web_id": audience.web_id,
        "name": audience.name,
        "contact": audience.contact,
        "permission_reminder": audience.permission_reminder,
        "use_archive_bar": audience.use_archive_bar,
        "campaign_defaults": audience.campaign_defaults,
        "notify_on_subscribe": audience.notify_on_subscribe,
        "notify_on_unsubscribe": audience.notify_on_unsubscribe,
        "date_created": iso(audience.date_created),
        "list_rating": 0,
        "email_type_option": audience.email_type_option,
        "subscribe_url_short": f"https://eepurl.com/{audience.id}",
        "subscribe_url_long": f"{host}&id={audience.id}",
        "beamer_address": f"us21-{audience.id}@inbound.mailchimp.com",
        "visibility": "prv",
        "double_optin": audience.double_optin,
        "has_welcome": False,
        "marketing_permissions": audience.marketing_permissions,
        "modules": [],
        "stats": stats,
    }


@route("GET", "/lists")
def get_lists(request):
    account = request.account
    since = request.time("since_date_created")
    before = request.time("before_date_created")
    request.choice("sort_field", "date_created")
    direction = request.choice("sort_dir", "ASC", "DESC")
    email = request.query.get("email")
    found = [
        a
        for a in account.audiences.values()
        if request.window(since, before, a.date_created)
        and (not email or a.find(email))
    ]
    if direction == "DESC":
        found.reverse()
    total = request.flag("include_total_contacts")
    limit = account.switches.max_audiences
    return {
        "lists": [list_view(a, total) for a in page_of(found, request)],
        "total_items": len(found),
        "constraints": {
            "may_create": limit < 0 or len(account.audiences) < limit,
            "max_instances": limit,
            "current_total_instances": len(account.audiences),
        },
    }


@route("POST", "/lists")
def add_list(request):
    rules.check_shape(_NEW_LIST, request.body)
    account = request.account
    limit = account.switches.max_audiences
    if 0 <= limit <= len(account.audiences):
        raise problems.not_permitted()
    settings = {k: v for k, v in request.body.items() if k in _LIST}
    name = settings.pop("name")
    return list_view(account.add_audience(name, **settings))


@route("GET", "/lists/{list_id}")
def get_list(request, list_id):
    audience = request.audience(list_id)
    return list_view(audience, request.flag("include_total_contacts"))


@route("PATCH", "/lists/{list_id}")
def change_list(request, list_id):
    audience = request.audience(list_id)
    rules.check_shape(_CHANGED_LIST, request.body)
    for name, value in request.body.items():
        if name in _LIST:
            setattr(audience, name, value)
    return list_view(audience)


@route("DELETE", "/lists/{list_id}")
def delete_list(request, list_id):
    request.audience(list_id)
    del request.account.audiences[list_id]


@route("GET", "/lists/{list_id}/abuse-reports")
def get_abuse_reports(request, list_id):
    audience = request.audience(list_id)
    reports = [abuse_view(r, audience) for r in audience.abuse_reports]
    return {
        "abuse_reports": page_of(reports, request),
        "list_id": list_id,
        "total_items": len(reports),
    }


def abuse_view(report, audience):
    member = audience.by_hash.get(report["email_id"])
    return {
        "id": report["id"],
        "campaign_id": report["campaign_id"],
        "list_id": audience.id,
        "list_is_active": True,
        "email_id": report["email_id"],
        "email_address": report["email"],
        "merge_fields": member.merge_fields if member else {},
        "vip": member.vip if member else False,
        "date": iso(report["date"]),
    }


# --- batch subscribe -------------------------------------------------------------


@route("POST", "/lists/{list_id}")
def batch_subscribe(request, list_id):
    audience = request.audience(list_id)
    rules.check_shape(_BATCH, request.body)
    entries = request.body["members"]
    request.weight = len(entries)
    created, updated, errors = [], [], []
    _check_room(request, audience, entries)
    for entry, duplicate in _unique(request, entries):
        if duplicate:
            problem = problems.invalid("This email address is a duplicate.")
            errors.append(_error(entry, problem))
            continue
        try:
            member, new = _subscribe(request, audience, entry)
        except problems.Problem as problem:
            errors.append(_error(entry, problem))
        else:
            (created if new else updated).append(brief_view(member))
    return {
        "new_members": created,
        "updated_members": updated,
        "errors": errors,
        "total_created": len(created),
        "total_updated": len(updated),
        "error_count": len(errors),
    }


def _check_room(request, audience, entries):
    """Refuse the whole call if it would exceed the plan's contact limit."""
    added = set()
    for entry in entries:
        email = entry.get("email_address")
        if not isinstance(email, str):
            continue
        key = email.strip().lower()
        member = audience.members.get(key)
        if member is None:
            status = entry.get("status") or entry.get("status_if_new")
        elif member.status == "archived" or request.body.get("update_existing"):
            status = entry.get("status")
        else:
            continue
        if rules.takes_room(member, status):
            added.add(key)
    if added:
        rules.check_room(request.account, len(added))


def _unique(request, entries):
    """Return the entries as (entry, is a refused duplicate)."""
    skip = request.flag("skip_duplicate_check")
    whole = request.account.switches.duplicates_fail == "call"
    seen, found = set(), []
    for index, entry in enumerate(entries):
        email = entry.get("email_address")
        key = email.strip().lower() if isinstance(email, str) else None
        if key is not None and key in seen:
            if skip:
                continue
            if whole:
                raise problems.schema(
                    (f"members.item:{index}.email_address", "Duplicate email address.")
                )
            found.append((entry, True))
            continue
        seen.add(key)
        found.append((entry, False))
    return found


def _subscribe(request, audience, entry):
    """Apply one entry. :return: (member, is new). :raise Problem: for it alone."""
    entry = {k: v for k, v in entry.items() if v is not None}
    rules.check_shape(rules.BATCH_MEMBER, entry)
    entry.pop("marketing_permissions", None)
    if "email_address" not in entry:
        raise problems.missing("email_address")
    status = entry.get("status")
    if status is None and "status_if_new" not in entry:
        raise problems.missing("status")
    switches = request.account.switches
    skip_required = request.flag("skip_merge_validation")
    options = {"ip": request.ip, "skip_required": skip_required}
    email = entry["email_address"].strip()
    member = audience.members.get(email.lower())
    if member is None:
        return (
            rules.create(audience, entry, status or entry["status_if_new"], **options),
            True,
        )
    update = request.body.get("update_existing", False)
    archived = member.status == "archived"
    if not update and (not archived or switches.batch_archived_is_existing):
        raise problems.Problem(
            400,
            "ERROR_CONTACT_EXISTS",
            f"{email} is already a list member, do you want to update? please provide "
            "update_existing:true in the request body",
        )
    keeps = update and switches.batch_status_if_new_keeps_status
    if status is None and not keeps:
        status = entry["status_if_new"]
    undone = (
        status == "subscribed"
        and member.status == "unsubscribed"
        and not member.compliance
    )
    if undone and not switches.batch_undoes_api_unsubscribe:
        status = None
    rules.update(audience, member, entry, status, **options)
    _batch_tags(request, audience, member, entry)
    return member, archived and not update


def _batch_tags(request, audience, member, entry):
    replace = request.body.get("sync_tags", False)
    if "tags" in entry:
        rules.set_tags(audience, member, entry["tags"], replace)
    elif replace and request.account.switches.sync_tags_without_tags_clears:
        rules.set_tags(audience, member, (), replace)


def _error(entry, problem):
    exists = problem.title == "ERROR_CONTACT_EXISTS"
    field, message = problem.errors[0] if problem.errors else ("", "")
    email = entry.get("email_address")
    return {
        "email_address": email if isinstance(email, str) else "",
        "error": problem.detail,
        "error_code": "ERROR_CONTACT_EXISTS" if exists else "ERROR_GENERIC",
        "field": field,
        "field_message": message,
    }
