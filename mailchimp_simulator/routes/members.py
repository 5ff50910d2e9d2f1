"""Members of an audience: single calls, the listing, their tags."""

from itertools import islice

from .. import problems, rules, shape
from ..render import member_view
from ..routing import page_of, route
from ..state import STATUSES, iso

BASE = "/lists/{list_id}/members"
ONE = BASE + "/{subscriber_hash}"

_TAGS = shape.obj(
    ("tags",),
    tags={
        "type": "array",
        "items": shape.obj(
            ("name", "status"),
            name=shape.STRING,
            status=shape.choice("inactive", "active"),
        ),
    },
    is_syncing=shape.BOOLEAN,
)


def find(request, list_id, reference):
    """Return a member by hash, address or contact id. :raise Problem: 404."""
    member = request.audience(list_id).find(reference)
    if member is None:
        raise problems.not_found()
    return member


def find_by_hash(request, list_id, reference):
    """Return a member, for endpoints that take only the hash. :raise Problem: 404."""
    member = request.audience(list_id).by_hash.get(reference.lower())
    if member is None:
        raise problems.not_found()
    return member


# --- the listing -----------------------------------------------------------------


@route("GET", BASE)
def get_members(request, list_id):
    audience = request.audience(list_id)
    count, offset = request.page()
    status = request.choice("status", *STATUSES)
    sort = request.choice(
        "sort_field", "timestamp_opt", "timestamp_signup", "last_changed"
    )
    newest_first = request.choice("sort_dir", "ASC", "DESC") == "DESC"
    members, ordered = _source(request, audience, status, sort, newest_first)
    test = _filter(request, audience, status)
    since = request.time("since_last_changed")
    if test is None:
        total = len(members)
        page = list(islice(iter(members), offset, offset + count))
    else:
        if ordered and newest_first and since is not None:
            members = _until_older(members, since)
        matching = [member for member in members if test(member)]
        total = len(matching)
        page = matching[offset : offset + count]
    request.weight = len(page)
    return {
        "members": [member_view(m, engagement(m)) for m in page],
        "list_id": list_id,
        "total_items": total,
    }


def _source(request, audience, status, sort, newest_first):
    """Return all members a listing starts from, sorted.

    Members are kept in the order of their changes, so the usual listings of a large
    audience need no sorting.

    :return: (sized iterable, whether it is in the order of changes).
    """
    archived_too = request.account.switches.plain_listing_has_archived
    if status:
        members = audience.by_status[status]
    elif archived_too:
        members = dict.fromkeys(audience.members.values())
    else:
        members = audience.current
    if sort == "last_changed" and audience.ordered and (status or not archived_too):
        order = reversed(members) if newest_first else iter(members)
        return _Ordered(members, order), True
    if sort:
        key = {
            "last_changed": lambda m: m.last_changed,
            "timestamp_opt": lambda m: m.timestamp_opt,
            "timestamp_signup": lambda m: m.timestamp_signup,
        }[sort]
        return sorted(members, key=key, reverse=newest_first), False
    everybody = audience.members.values()
    return _Ordered(members, (m for m in everybody if m in members)), False


class _Ordered:
    """Members in a given order, counted without iterating over them."""

    def __init__(self, members, order):
        self.members = members
        self.order = order

    def __len__(self):
        return len(self.members)

    def __iter__(self):
        return iter(self.order)


def _until_older(members, since):
    for member in members:
        if member.last_changed < since:
            return
        yield member


def _filter(request, audience, status):
    """Return one test for all filters of the query, or None without any."""
    query = request.query
    tests = []

    def between(name, value):
        since, before = request.time(f"since_{name}"), request.time(f"before_{name}")
        if since is not None or before is not None:
            tests.append(lambda m: request.window(since, before, value(m)))

    between("last_changed", lambda m: m.last_changed)
    between("timestamp_opt", lambda m: m.timestamp_opt)
    if "unsubscribed_since" in query:
        if status != "unsubscribed":
            raise problems.schema(
                ("unsubscribed_since", "Only valid with the status unsubscribed.")
            )
        since = request.time("unsubscribed_since")
        tests.append(lambda m: request.window(since, None, m.unsubscribed_at))
    if request.flag("since_last_campaign"):
        if not status:
            raise problems.schema(("since_last_campaign", "A status is required."))
        last = _last_sent(audience)
        tests.append(lambda m: m.last_changed > last)
    if "interest_ids" in query:
        tests.append(_interest_test(request, audience))
    if "email_type" in query:
        tests.append(lambda m: m.email_type == query["email_type"])
    if "unique_email_id" in query:
        wanted = query["unique_email_id"]
        tests.append(lambda m: rules.unique_email_id(m) == wanted)
    if request.flag("vip_only"):
        tests.append(lambda m: m.vip)
    if not tests:
        return None
    return lambda m: all(test(m) for test in tests)


def _interest_test(request, audience):
    if "interest_category_id" not in request.query:
        raise problems.missing("interest_category_id")
    if request.query["interest_category_id"] not in audience.categories:
        raise problems.not_found()
    how = request.choice("interest_match", "any", "all", "none")
    if how is None:
        raise problems.missing("interest_match")
    wanted = set(request.query["interest_ids"].split(","))
    return {
        "any": lambda m: not wanted.isdisjoint(m.interests),
        "all": lambda m: wanted <= m.interests,
        "none": lambda m: wanted.isdisjoint(m.interests),
    }[how]


def _last_sent(audience):
    return max(
        (
            c.send_time
            for c in audience.account.campaigns.values()
            if c.audience is audience and c.send_time
        ),
        default=0,
    )


def engagement(member):
    """Return (open rate, click rate) of a member over the campaigns sent to it."""
    sent = opened = clicked = 0
    for campaign in member.audience.account.campaigns.values():
        recipient = campaign.recipients.get(member)
        if recipient is not None and campaign.audience is member.audience:
            sent += 1
            opened += bool(recipient.opens)
            clicked += bool(recipient.clicks)
    return (opened / sent, clicked / sent) if sent else (0, 0)


# --- one member ------------------------------------------------------------------


@route("GET", ONE)
def get_member(request, list_id, subscriber_hash):
    member = find(request, list_id, subscriber_hash)
    return member_view(member, engagement(member))


@route("POST", BASE)
def add_member(request, list_id):
    audience = request.audience(list_id)
    body = request.body
    rules.check_shape(rules.POST_MEMBER, body)
    email = body["email_address"].strip()
    member = audience.members.get(email.lower())
    options = _options(request)
    if member is None:
        return member_view(rules.create(audience, body, body["status"], **options))
    if member.status != "archived":
        raise problems.member_exists(email)
    rules.update(audience, member, body, body["status"], **options)
    return member_view(member)


@route("PUT", ONE)
def put_member(request, list_id, subscriber_hash):
    audience = request.audience(list_id)
    body = request.body
    rules.check_shape(rules.PUT_MEMBER, body)
    member = audience.find(subscriber_hash)
    options = _options(request)
    if member is not None:
        rules.update(audience, member, body, body.get("status"), **options)
        return member_view(member)
    email = body["email_address"].strip()
    if email.lower() in audience.members:
        raise problems.member_exists(email)
    status = body.get("status_if_new")
    if status is None:
        status = _status_of_new(request, body)
    return member_view(rules.create(audience, body, status, **options))


def _status_of_new(request, body):
    """Return the status of an unknown address after a PUT without ``status_if_new``."""
    how = request.account.switches.put_status_only
    if "status" not in body or how == "refuse":
        raise problems.missing("status_if_new")
    return "pending" if how == "pending" else body["status"]


@route("PATCH", ONE)
def patch_member(request, list_id, subscriber_hash):
    member = find(request, list_id, subscriber_hash)
    rules.check_shape(rules.PATCH_MEMBER, request.body)
    rules.update(
        member.audience,
        member,
        request.body,
        request.body.get("status"),
        **_options(request),
    )
    return member_view(member)


def _options(request):
    return {
        "ip": request.ip,
        "skip_required": request.flag("skip_merge_validation"),
    }


@route("DELETE", ONE)
def archive_member(request, list_id, subscriber_hash):
    member = find(request, list_id, subscriber_hash)
    rules.archive(member.audience, member)


@route("POST", ONE + "/actions/delete-permanent")
def delete_permanently(request, list_id, subscriber_hash):
    member = find_by_hash(request, list_id, subscriber_hash)
    member.audience.remove(member)


# --- tags ------------------------------------------------------------------------


@route("GET", ONE + "/tags")
def get_tags(request, list_id, subscriber_hash):
    member = find(request, list_id, subscriber_hash)
    tags = [
        {"id": s.id, "name": s.name, "date_added": iso(when)}
        for s, when in member.tags.items()
    ]
    return {"tags": page_of(tags, request), "total_items": len(tags)}


@route("POST", ONE + "/tags")
def change_tags(request, list_id, subscriber_hash):
    member = find_by_hash(request, list_id, subscriber_hash)
    rules.check_shape(_TAGS, request.body)
    audience = member.audience
    for tag in request.body["tags"]:
        rules.check_tag_name(tag["name"])
    for tag in request.body["tags"]:
        if tag["status"] == "active":
            rules.set_tags(audience, member, [tag["name"]])
        else:
            segment = audience.tag(tag["name"])
            if segment:
                audience.drop_tag(member, segment)
