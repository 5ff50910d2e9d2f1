"""Listing members: filters, order, pages, ``fields``; and the audiences themselves."""

import pytest

DAY = 86400
NOON = 1_772_366_400  # 2026-03-01 12:00:00 UTC


@pytest.fixture
def crowd(audience):
    for number, status in enumerate(
        ("subscribed", "unsubscribed", "cleaned", "pending", "archived")
    ):
        audience.add_member(
            f"{status}@firma.be",
            status,
            last_changed=NOON + number,
            timestamp_opt=NOON - number * DAY,
        )
    return audience


def addresses(found):
    return [member["email_address"].partition("@")[0] for member in found["members"]]


def test_the_count(audience, api, members):
    audience.add_members(12)
    assert len(api("GET", members)["members"]) == 10
    found = api("GET", members, count=5, offset=10)
    assert (len(found["members"]), found["total_items"]) == (2, 12)
    assert api("GET", members, count=0)["members"] == []
    api("GET", members, count=1001, status=400)
    api("GET", members, count=-1, status=400)
    api("GET", members, offset="x", status=400)
    wrong = api("GET", members, offset=-1, status=400)
    assert "at least 0" in wrong["errors"][0]["message"]


@pytest.mark.parametrize("archived", [False, True])
def test_archived_members_in_a_plain_listing(world, archived):
    audience, api = world(plain_listing_has_archived=archived)
    audience.add_member("ann@firma.be")
    audience.add_member("bob@firma.be", "archived")
    members = f"/lists/{audience.id}/members"
    for query in ({}, {"sort_field": "last_changed", "sort_dir": "DESC"}):
        assert api("GET", members, **query)["total_items"] == 1 + archived
    reply = api.raw("GET", members, status="archived").json()
    assert addresses(reply) == ["bob"]


def test_statuses(crowd, api, members):
    for status in ("subscribed", "unsubscribed", "cleaned", "pending", "archived"):
        found = api.raw("GET", members, status=status).json()
        assert addresses(found) == [status]
    assert api.raw("GET", members, status="lost").status_code == 400


def test_the_order_of_changes(sim, crowd, api, members):
    query = {"sort_field": "last_changed", "sort_dir": "DESC"}
    assert addresses(api("GET", members, **query)) == [
        "pending",
        "cleaned",
        "unsubscribed",
        "subscribed",
    ]
    crowd.edit("unsubscribed@firma.be", merge_fields={"FNAME": "X"})
    assert addresses(api("GET", members, **query))[0] == "unsubscribed"
    # A change with an older time than the one before it (the clock went back).
    crowd.add_member("late@firma.be", last_changed=NOON - 5)
    assert addresses(api("GET", members, **query))[-1] == "late"
    query["sort_dir"] = "ASC"
    assert addresses(api("GET", members, **query))[0] == "late"
    query["sort_field"] = "timestamp_opt"
    assert addresses(api("GET", members, **query))[0] == "pending"


@pytest.mark.parametrize("inclusive", [False, True])
def test_since(world, inclusive):
    audience, api = world(since_inclusive=inclusive)
    for number in range(3):
        audience.add_member(f"p{number}@firma.be", last_changed=NOON + number)
    members = f"/lists/{audience.id}/members"
    for order in ({}, {"sort_field": "last_changed", "sort_dir": "DESC"}):
        query = {"since_last_changed": "2026-03-01T12:00:01+00:00", **order}
        found = api("GET", members, **query)
        assert len(addresses(found)) == found["total_items"] == 1 + inclusive
    found = api("GET", members, before_last_changed="2026-03-01T12:00:01Z")
    assert addresses(found) == ["p0"]
    # The last millisecond of a second finds the next full one.
    found = api("GET", members, since_last_changed="2026-03-01T12:00:00.999Z")
    assert addresses(found) == ["p1", "p2"]


@pytest.mark.parametrize("ignored", [True, False])
def test_the_offset_of_a_time(world, ignored):
    audience, api = world(query_offset_ignored=ignored)
    audience.add_member("ann@firma.be", last_changed=NOON)
    # 11:30 UTC, or 13:30 if the offset is ignored.
    since = "2026-03-01T13:30:00+02:00"
    found = api("GET", f"/lists/{audience.id}/members", since_last_changed=since)
    assert found["total_items"] == (0 if ignored else 1)


def test_a_plus_that_was_not_encoded(sim, crowd, api, members):
    since = "since_last_changed=2026-03-01T12:00:00+00:00"
    reply = api.session.get(f"{sim.url}{members}?{since}", timeout=5)
    assert reply.status_code == 400


def test_unsubscribed_since(sim, crowd, api, members):
    sim.clock.set("2026-04-01T00:00:00Z")
    crowd.unsubscribe("subscribed@firma.be")
    since = {"unsubscribed_since": "2026-03-31T00:00:00+00:00"}
    found = api.raw("GET", members, status="unsubscribed", **since).json()
    assert addresses(found) == ["subscribed"]
    api("GET", members, **since, status=400)


def test_by_group(audience, api, members):
    category = audience.add_category("CRM")
    one, two = (audience.add_interest(category, name).id for name in ("A", "B"))
    audience.add_member("a@firma.be", interests=[one])
    audience.add_member("ab@firma.be", interests=[one, two])
    audience.add_member("none@firma.be")
    query = {"interest_category_id": category.id, "interest_ids": f"{one},{two}"}
    for match, expected in (
        ("any", ["a", "ab"]),
        ("all", ["ab"]),
        ("none", ["none"]),
    ):
        found = api("GET", members, **query, interest_match=match)
        assert addresses(found) == expected
    api("GET", members, **query, status=400)


def test_other_filters(audience, api, members):
    audience.add_member("ann@firma.be", vip=True)
    audience.add_member("bob@firma.be")
    assert addresses(api("GET", members, vip_only="true")) == ["ann"]
    assert len(addresses(api("GET", members, vip_only="false"))) == 2
    ref = api("GET", f"{members}/bob@firma.be")["unique_email_id"]
    assert addresses(api("GET", members, unique_email_id=ref)) == ["bob"]


@pytest.mark.parametrize("counts", [False, True])
def test_a_python_boolean_in_a_query(world, counts):
    audience, api = world(capital_true_counts=counts, strict=False)
    audience.add_member("ann@firma.be", vip=True)
    audience.add_member("bob@firma.be")
    found = api("GET", f"/lists/{audience.id}/members", vip_only="True")
    assert found["total_items"] == (1 if counts else 2)
    (violation,) = api.simulator.violations
    assert violation["field"] == "vip_only"


def test_fields(audience, api, members):
    audience.add_member("ann@firma.be", merge_fields={"FNAME": "Ann"}, tags=["VIP"])
    names = "total_items,members.email_address,members.merge_fields.FNAME,members.tags"
    found = api("GET", members, fields=names)
    assert set(found) == {"total_items", "members"}
    (member,) = found["members"]
    assert set(member) == {"email_address", "merge_fields", "tags"}
    assert member["merge_fields"] == {"FNAME": "Ann"}
    assert member["tags"][0]["name"] == "VIP"
    assert api("GET", members, fields="total_items") == {"total_items": 1}


def test_exclude_fields(audience, api, members):
    audience.add_member("ann@firma.be")
    (member,) = api("GET", members, exclude_fields="members.merge_fields")["members"]
    assert "merge_fields" not in member
    assert member["email_address"] == "ann@firma.be"


def test_search(audience, api):
    audience.add_member("ann@firma.be", merge_fields={"FNAME": "Ann"})
    audience.add_member("joann@firma.be")
    found = api("GET", "/search-members", query="ann@firma.be")
    assert addresses(found["exact_matches"]) == ["ann"]
    assert addresses(found["full_search"]) == ["joann"]
    api("GET", "/search-members", status=400)


def test_an_unknown_audience_or_path(audience, api):
    api("GET", "/lists/0000000000/members", status=404)
    api("GET", "/nowhere", status=404)
    api("GET", f"/lists/{audience.id}/segments/²", status=404)
    api("GET", f"/lists/{audience.id}/merge-fields/²", status=404)
    reply = api.raw("PUT", f"/lists/{audience.id}")
    assert reply.status_code == 405
    assert reply.headers["Allow"] == "DELETE, GET, PATCH, POST"


# --- audiences -------------------------------------------------------------------

LIST = {
    "name": "New",
    "contact": {"company": "X", "address1": "Y", "city": "Gent", "country": "BE"},
    "permission_reminder": "You signed up.",
    "campaign_defaults": {
        "from_name": "X",
        "from_email": "x@firma.be",
        "subject": "",
        "language": "en",
    },
    "email_type_option": False,
}


def test_an_audience_is_made(api):
    made = api("POST", "/lists", LIST)
    assert api("GET", f"/lists/{made['id']}")["name"] == "New"
    api("POST", "/lists", {**LIST, "contact": {}}, status=400)


@pytest.mark.parametrize("limit", [1, -1])
def test_the_number_of_audiences(world, limit):
    _audience, api = world(max_audiences=limit)
    constraints = api("GET", "/lists")["constraints"]
    assert constraints == {
        "may_create": limit < 0,
        "max_instances": limit,
        "current_total_instances": 1,
    }
    if limit > 0:
        refused = api("POST", "/lists", LIST, status=403)
        assert refused["title"] == "User action not permitted"
        assert refused["detail"] == (
            "User does not have access to the requested operation"
        )
    else:
        api("POST", "/lists", LIST)


def test_what_an_audience_counts(crowd, api):
    stats = api("GET", f"/lists/{crowd.id}", include_total_contacts="true")["stats"]
    assert stats["member_count"] == 1
    assert stats["unsubscribe_count"] == 1
    assert stats["cleaned_count"] == 1
    assert stats["total_contacts"] == 5
    assert "total_contacts" not in api("GET", f"/lists/{crowd.id}")["stats"]


def test_an_audience_is_renamed(audience, api):
    body = {**LIST, "name": "Renamed"}
    path = f"/lists/{audience.id}"
    api("PATCH", path, body, status=400)  # a change needs state and zip
    body["contact"] = {**LIST["contact"], "state": "OV", "zip": "9000"}
    assert api("PATCH", path, body)["name"] == "Renamed"


# --- segments --------------------------------------------------------------------


@pytest.fixture
def segments(audience):
    return f"/lists/{audience.id}/segments"


def test_a_tag_is_a_static_segment(audience, api, segments):
    audience.add_member("ann@firma.be", tags=["VIP"])
    (found,) = api("GET", segments, type="static")["segments"]
    assert (found["name"], found["member_count"], found["type"]) == ("VIP", 1, "static")
    (tag,) = api("GET", f"/lists/{audience.id}/tag-search", name="vi")["tags"]
    assert tag["id"] == found["id"]
    api("POST", f"{segments}/{found['id']}", {"members_to_remove": ["ann@firma.be"]})
    assert audience.members["ann@firma.be"].tag_names == []


def test_a_segment_takes_subscribed_members_only(audience, api, segments):
    for name, status in (
        ("ann", "subscribed"),
        ("bob", "unsubscribed"),
        ("cleo", "cleaned"),
        ("dan", "archived"),
    ):
        audience.add_member(f"{name}@firma.be", status)
    made = api("POST", segments, {"name": "VIP", "static_segment": []})
    everybody = [f"{name}@firma.be" for name in ("ANN", "bob", "cleo", "dan", "who")]
    done = api("POST", f"{segments}/{made['id']}", {"members_to_add": everybody})
    assert done["total_added"] == 1
    assert done["members_added"][0]["email_address"] == "ann@firma.be"
    (error,) = done["errors"]
    assert error["email_addresses"] == [f"{n}@firma.be" for n in ("bob", "cleo", "dan")]
    again = api("POST", f"{segments}/{made['id']}", {"members_to_add": everybody[:1]})
    assert again["total_added"] == 0


def test_500_addresses_each(audience, api, segments):
    made = api("POST", segments, {"name": "VIP", "static_segment": []})
    many = [f"p{number}@firma.be" for number in range(501)]
    one = f"{segments}/{made['id']}"
    api("POST", one, {"members_to_add": many}, status=400)
    api("POST", one, {"members_to_add": many[:500], "members_to_remove": many[:500]})


def test_names_of_segments_are_taken_once(audience, api, segments):
    api("POST", segments, {"name": "VIP", "static_segment": []})
    refused = api("POST", segments, {"name": "vip", "static_segment": []}, status=400)
    assert refused["detail"] == "Sorry, that tag already exists."
    other = api("POST", segments, {"name": "Other", "static_segment": []})
    one = f"{segments}/{other['id']}"
    api("PATCH", one, {"name": "VIP"}, status=400)
    assert api("PATCH", one, {"name": "Others"})["name"] == "Others"
    assert api("DELETE", one) is None
    api("GET", one, status=404)


def test_a_saved_segment_follows_its_conditions(audience, api, segments):
    interest = audience.add_interest(audience.add_category("CRM"), "A").id
    audience.add_member("ann@firma.be", interests=[interest])
    audience.add_member("bob@firma.be")
    condition = {
        "condition_type": "Interests",
        "field": "interests-1",
        "op": "interestcontains",
        "value": [interest],
    }
    options = {"match": "all", "conditions": [condition]}
    made = api("POST", segments, {"name": "In A", "options": options})
    assert (made["type"], made["member_count"]) == ("saved", 1)
    found = api("GET", f"{segments}/{made['id']}/members")
    assert addresses(found) == ["ann"]


def test_a_snapshot_with_handles(sim, audience):
    """Of the account as it was, and what they are handles of can be changed again."""
    audience.add_member("ann@firma.be")
    campaign = audience.add_campaign(title="News", subject="News")
    snapshot = sim.snapshot(audience, campaign)
    for _time in range(2):
        again, its_campaign = sim.restore(snapshot)
        assert again.id == audience.id
        assert its_campaign is sim.account.campaigns[campaign.id]
        assert list(again.members) == ["ann@firma.be"]
        again.add_member("bob@firma.be")
        assert len(sim.audience(audience.id).members) == 2
    assert len(audience.members) == 1
