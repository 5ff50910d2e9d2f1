"""Who may become what: every change of a member, and every refusal.

One place for single calls, batch subscribe and batch operations alike. Nothing is
applied until everything has been checked.
"""

import math
import re

from . import problems, shape
from .state import WRITABLE, hash_of, parse_time
from .values import BadValue, clean

_LOCAL = r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+"
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_ADDRESS = re.compile(rf"^{_LOCAL}@({_LABEL}\.)+[A-Za-z][A-Za-z0-9-]*[A-Za-z0-9]$")
_WIDE_ADDRESS = re.compile(r"^[^\s@]+@[^\s@.]+(\.[^\s@.]+)+$")
#: ``unsubscribe_reason`` of an opt-out that the API or an admin wrote.
BY_ADMIN = "N/A (Unsubscribed by admin)"
_EXAMPLE = {"example.com", "example.net", "example.org", "example.edu"}
_ROLES = set(
    "abuse admin billing contact help hostmaster info marketing noreply no-reply "
    "office postmaster root sales security spam support webmaster".split()
)
_STAMP = re.compile(
    r"^\d{4}-\d\d-\d\d"
    r"( \d\d:\d\d:\d\d|T\d\d:\d\d:\d\d(\.\d{3}|\.\d{6})?(Z|[+-]\d\d:?\d\d))$"
)

VALUE_SHAPE = {
    "any_text": True,
    "anyOf": [
        shape.STRING,
        {"type": "number"},
        shape.obj(
            ("addr1", "city", "state", "zip"),
            addr1=shape.STRING,
            addr2=shape.STRING,
            city=shape.STRING,
            state=shape.STRING,
            zip=shape.STRING,
            country=shape.STRING,
        ),
    ],
}
_NUMBER_OR_TEXT = {"anyOf": [shape.NUMBER, shape.STRING]}
_MEMBER = {
    "email_address": shape.STRING,
    "email_type": shape.STRING,
    "status": shape.choice(*WRITABLE),
    "merge_fields": {"type": "object", "additionalProperties": VALUE_SHAPE},
    "interests": {"type": "object", "additionalProperties": shape.BOOLEAN},
    "language": shape.STRING,
    "vip": shape.BOOLEAN,
    "location": shape.obj(latitude=_NUMBER_OR_TEXT, longitude=_NUMBER_OR_TEXT),
    "marketing_permissions": {
        "type": "array",
        "items": shape.obj(marketing_permission_id=shape.STRING, enabled=shape.BOOLEAN),
    },
    "ip_signup": shape.STRING,
    "ip_opt": shape.STRING,
    "timestamp_signup": shape.STRING,
    "timestamp_opt": shape.STRING,
    "tags": shape.STRINGS,
}
POST_MEMBER = shape.obj(("email_address", "status"), **_MEMBER)
PUT_MEMBER = shape.obj(
    ("email_address",), status_if_new=shape.choice(*WRITABLE), **_MEMBER
)
PATCH_MEMBER = shape.obj((), **_MEMBER)
BATCH_MEMBER = shape.obj(
    (),
    status_if_new=shape.choice(*WRITABLE),
    **{**_MEMBER, "marketing_permissions": {}},
)


def check_shape(wanted, body):
    """:raise Problem: 400 with the findings when a body has the wrong shape."""
    found = shape.findings(wanted, body)
    if found:
        raise problems.schema(*found)


def check_address(account, email):
    """:raise Problem: when Mailchimp would not take the address."""
    switches = account.switches
    pattern = _ADDRESS if email.isascii() else _WIDE_ADDRESS
    local, _at, domain = email.rpartition("@")
    precise = switches.address_words_precise
    if email.count("@") != 1:
        raise problems.single_at() if precise else problems.bad_syntax()
    if not email.isascii() and not switches.accept_non_ascii:
        raise problems.bad_syntax()
    dots = local.startswith(".") or local.endswith(".") or ".." in local
    if dots or not pattern.match(email):
        if not dots and re.match(rf"^{_LOCAL}$", local):
            raise problems.bad_domain(email)
        raise problems.bad_username(email) if precise else problems.bad_syntax()
    lower = email.lower()
    domain = domain.lower()
    if (
        domain in switches.throw_away_domains
        or lower in switches.fake_addresses
        or (switches.refuse_example_domains and domain in _EXAMPLE)
    ):
        raise problems.fake(email)
    if switches.refuse_role_addresses and local.lower() in _ROLES:
        raise problems.bad_syntax()
    if lower in switches.busy_addresses:
        if switches.busy_words == "lists":
            raise problems.too_many_signups(email)
        raise problems.too_many_requests_to_sign_up(email)


#: Statuses that do not count towards a plan's contact limit.
_UNCOUNTED = ("cleaned", "archived")


def check_room(account, count=1):
    """:raise Problem: when the plan has no room for ``count`` more contacts."""
    limit = account.switches.max_contacts
    if limit < 0:
        return
    taken = sum(
        audience.count(status)
        for audience in account.audiences.values()
        for status in WRITABLE
        if status not in _UNCOUNTED
    )
    if taken + count > limit:
        raise problems.contact_limit(account.switches.contact_limit_status)


def takes_room(member, status):
    """Return whether writing ``status`` adds to the contacts the plan counts.

    :param member: the existing member, or None.
    :param status: None keeps the present one.
    """
    counted = member is not None and member.status not in _UNCOUNTED
    wanted = status or (member.status if member is not None else "subscribed")
    return not counted and wanted not in _UNCOUNTED


def check_status(account, member, email, status):
    """Return the status that would really be stored.

    :param member: the existing member, or None.
    :raise Problem: when Mailchimp lets nobody but the person do it, or reviews the
        account.
    """
    switches = account.switches
    if status not in ("subscribed", "pending"):
        return status
    if switches.account_review == "refuse":
        raise problems.compliance(email)
    if member is not None and member.compliance:
        # Archiving wipes the protection, unless the switch says otherwise.
        wiped = member.status == "archived" and not switches.archived_keeps_compliance
        asks_again = status == "pending" and member.compliance == "unsubscribe"
        if not wiped and not asks_again and member.status != "subscribed":
            raise problems.compliance(email)
    if switches.account_review == "pending":
        return "pending"
    return status


def clean_values(audience, member, given, skip_required):
    """Return the checked merge values by merge id; like Mailchimp, skip unknown tags.

    :raise Problem: 400 "Your merge fields were invalid." naming every field.
    """
    switches = audience.account.switches
    texts = problems.MESSAGES[switches.language]
    current = member.values if member is not None else {}
    values, errors = {}, []
    for field in audience.merge_fields.values():
        if field.tag in given:
            try:
                values[field.merge_id] = clean(field, given[field.tag], switches)
            except BadValue as bad:
                errors.append((field.tag, texts[bad.code]))
                continue
        if not field.required or skip_required:
            continue
        mentioned = field.merge_id in values
        update = member is not None and not mentioned
        if update and not switches.required_fields_on_update:
            continue
        if values.get(field.merge_id, current.get(field.merge_id, "")) == "":
            if field.default_value and not mentioned:
                values[field.merge_id] = field.default_value
            else:
                errors.append((field.tag, texts["value"]))
    if errors:
        raise problems.merge_fields(errors)
    return values


def parse_stamp(name, text):
    """Return the seconds of a timestamp in a body: UTC without a zone, 0 if empty."""
    if text == "":
        return 0
    if not _STAMP.match(text):
        raise problems.schema((name, "Invalid date or time"))
    try:
        moment = parse_time(text)
    except ValueError:
        raise problems.schema((name, "Invalid date or time")) from None
    return int(moment.timestamp())


def _check_rest(audience, body):
    """Check all but address, status and values; return times in seconds, by name."""
    interests = body.get("interests")
    if interests:
        known = audience.interest_ids
        for interest_id in interests:
            if interest_id not in known:
                raise problems.unknown_interest(interest_id)
    for permission in body.get("marketing_permissions") or ():
        if permission.get("marketing_permission_id") not in audience.permission_texts:
            raise problems.schema(
                ("marketing_permissions", "Invalid marketing permission ID.")
            )
    for name in body.get("tags") or ():
        check_tag_name(name)
    place = body.get("location") or {}
    for name in ("latitude", "longitude"):
        if not _is_finite(place.get(name, 0)):
            raise problems.schema(
                (
                    f"location.{name}",
                    "Data did not match any of the schemas described in anyOf.",
                )
            )
    return {
        name: parse_stamp(name, body[name])
        for name in ("timestamp_signup", "timestamp_opt")
        if name in body
    }


def _is_finite(value):
    try:
        return math.isfinite(float(value))
    except (TypeError, ValueError):
        return False


def check_tag_name(name):
    if not name.strip():
        raise problems.schema(("name", "A tag name cannot be empty."))
    if len(name) > 100:
        raise problems.schema(("name", "Tag names are limited to 100 characters."))


def create(audience, body, status, *, ip="", skip_required=False, source="api"):
    """Create a member.

    :raise Problem: see the checks above.
    """
    account = audience.account
    email = body["email_address"].strip()
    check_address(account, email)
    if hash_of(email) in audience.forgotten:
        raise problems.forgotten(email)
    status = check_status(account, None, email, status)
    if source == "api" and takes_room(None, status):
        check_room(account)
    values = clean_values(audience, None, body.get("merge_fields") or {}, skip_required)
    stamps = _check_rest(audience, body)
    member = audience.add(email, status)
    member.values = values
    now = member.last_changed
    if status == "subscribed":
        member.timestamp_opt, member.ip_opt = now, ip
    elif status == "pending":
        member.timestamp_signup, member.ip_signup = now, ip
        member.confirmations += 1
    elif status == "unsubscribed":
        _note_unsubscribe(member, source, now)
    _apply_rest(audience, member, body, stamps)
    _apply_tags(audience, member, body.get("tags") or ())
    if status == "subscribed":
        account.notify(audience, "subscribe", lambda: profile(member), source)
    return member


def update(
    audience, member, body, status=None, *, ip="", skip_required=False, source="api"
):
    """Change an existing member; without ``status``, its status stays.

    :return: True when anything changed.
    :raise Problem: see the checks above.
    """
    account = audience.account
    email = (body.get("email_address") or member.email).strip()
    if status is not None:
        status = check_status(account, member, email, status)
    if source == "api" and takes_room(member, status):
        check_room(account)
    new_address = email.lower() != member.email.lower()
    if new_address:
        _check_new_address(audience, member, email)
    given = body.get("merge_fields") or {}
    values = clean_values(audience, member, given, skip_required)
    stamps = _check_rest(audience, body)

    before = _snapshot(member)
    old_email, old_status = member.email, member.status
    member.values = {**member.values, **values}
    _apply_rest(audience, member, body, stamps)
    if status is not None and status != member.status:
        _apply_status(audience, member, status, ip, source)
    if new_address:
        audience.rename(member, email)
        account.notify(
            audience,
            "upemail",
            {
                "new_id": unique_email_id(member),
                "new_email": email,
                "old_email": old_email,
            },
            source,
        )
    elif email != member.email:
        member.email = email
    changed = _snapshot(member) != before
    if changed:
        audience.touch(member)
        if member.status == old_status:
            account.notify(audience, "profile", profile(member), source)
    return changed


def _check_new_address(audience, member, email):
    check_address(audience.account, email)
    if member.status != "subscribed":
        raise problems.address_status(member.status)
    if hash_of(email) in audience.forgotten:
        raise problems.forgotten(email)
    other = audience.members.get(email.lower())
    if other is not None:
        raise problems.address_taken(email, other.status)


def _snapshot(member):
    return (
        member.email,
        member.status,
        member.values,
        frozenset(member.interests),
        frozenset(member.permissions),
        member.language,
        member.vip,
        member.email_type,
        member.location,
        member.ip_signup,
        member.ip_opt,
        member.timestamp_signup,
        member.timestamp_opt,
    )


def _apply_status(audience, member, status, ip, source):
    now = audience.account.clock.now()
    keeps = audience.account.switches.archived_keeps_compliance
    if member.status == "archived" and not keeps:
        member.compliance = None
    if status == "subscribed":
        member.compliance = None
        member.timestamp_opt, member.ip_opt = now, ip or member.ip_opt
        member.unsubscribed_by, member.unsubscribe_reason = None, ""
        member.unsubscribed_at = 0
    elif status == "unsubscribed":
        _note_unsubscribe(member, source, now)
        unsubscribed = {
            "activity_type": "unsub",
            "created_at_timestamp": now,
            "is_admin_unsubscribed": source != "person",
            "unsubscribe_reason": member.unsubscribe_reason,
        }
        member.feed = (*member.feed, unsubscribed)
    elif status == "pending":
        member.confirmations += 1
    audience.set_status(member, status)
    event = {"subscribed": "subscribe", "unsubscribed": "unsubscribe"}.get(status)
    if event:
        data = profile(member)
        if event == "unsubscribe":
            data.update(action="unsub", reason="manual")
        audience.account.notify(audience, event, data, source)
    elif status == "cleaned":
        audience.account.notify(
            audience, "cleaned", {"reason": "hard", "email": member.email}, source
        )


def _note_unsubscribe(member, source, now):
    """Note who unsubscribed; if that was the API or an admin, the reason says so."""
    member.unsubscribed_by, member.unsubscribed_at = source, now
    member.unsubscribe_reason = "" if source == "person" else BY_ADMIN


def _apply_rest(audience, member, body, stamps):
    interests = body.get("interests")
    if interests:
        wanted = {i for i, on in interests.items() if on}
        member.interests = (member.interests | wanted) - {
            i for i, on in interests.items() if not on
        }
    for permission in body.get("marketing_permissions") or ():
        ref = permission["marketing_permission_id"]
        if permission.get("enabled"):
            member.permissions = member.permissions | {ref}
        else:
            member.permissions = member.permissions - {ref}
    for name in ("email_type", "language", "vip", "ip_signup", "ip_opt"):
        if body.get(name) is not None:
            setattr(member, name, body[name])
    if body.get("location"):
        place = body["location"]
        member.location = (
            float(place.get("latitude") or 0),
            float(place.get("longitude") or 0),
        )
    for name, seconds in stamps.items():
        setattr(member, name, seconds)


def _apply_tags(audience, member, names):
    for name in names:
        segment = audience.tag(name) or audience.add_segment(name.strip())
        audience.put_tag(member, segment)


def set_tags(audience, member, names, replace=False):
    """Put tags on a member by name; with ``replace``, take off all others."""
    if replace:
        keep = {name.strip().lower() for name in names}
        for segment in list(member.tags):
            if segment.name.lower() not in keep:
                audience.drop_tag(member, segment)
    _apply_tags(audience, member, names)


def archive(audience, member, source="api"):
    """Archive a member; the API refuses more statuses than Mailchimp's own pages do.

    :raise Problem: 405 for a status that cannot be archived.
    """
    refused = {"archived"}
    if source == "api":
        refused |= {"pending", "cleaned"}
        if not audience.account.switches.unsubscribed_can_be_archived:
            refused.add("unsubscribed")
    if member.status in refused:
        raise problems.cannot_archive()
    was_subscribed = member.status == "subscribed"
    audience.set_status(member, "archived")
    if was_subscribed:
        data = profile(member)
        data.update(action="delete", reason="manual")
        audience.account.notify(audience, "unsubscribe", data, source)


def unique_email_id(member):
    """Return the ten-character id Mailchimp gives an address across all audiences."""
    return member.hash[:-11:-1]


def profile(member):
    """Return what webhooks say about a member."""
    return {
        "id": unique_email_id(member),
        "email": member.email,
        "email_type": member.email_type,
        "ip_opt": member.ip_opt,
        "ip_signup": member.ip_signup,
        "web_id": member.web_id,
        "merges": {
            "EMAIL": member.email,
            **member.merge_fields,
            "INTERESTS": ",".join(member.interest_names),
        },
    }
