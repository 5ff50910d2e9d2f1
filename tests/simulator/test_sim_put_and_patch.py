"""What PUT and PATCH change, and what they leave as it is."""

import pytest
from sim_members import ANN, new, path, problem, put


@pytest.mark.parametrize(
    "status",
    ["subscribed", "unsubscribed", "cleaned", "pending", "transactional", "archived"],
)
def test_a_put_without_status_changes_no_status(audience, api, status):
    audience.add_member(ANN, status)
    body = put(merge_fields={"FNAME": "Ann"})
    assert api("PUT", path(audience), body)["status"] == status
    assert audience.members[ANN].merge_fields["FNAME"] == "Ann"


def test_a_put_creates_with_status_if_new(audience, api):
    assert api("PUT", path(audience), put(status="pending"))["status"] == "pending"


def test_a_put_needs_a_status_for_a_new_address(audience, api):
    api("PUT", path(audience), {"email_address": ANN}, status=400)


@pytest.mark.parametrize(
    ("how", "outcome"),
    [("pending", "pending"), ("status", "subscribed"), ("refuse", 0)],
)
def test_a_put_with_status_only(world, how, outcome):
    audience, api = world(put_status_only=how)
    if not outcome:
        api("PUT", path(audience), new(), status=400)
    else:
        assert api("PUT", path(audience), new())["status"] == outcome


def test_a_patch_does_not_create(audience, api):
    refused = api("PATCH", path(audience), {"status": "subscribed"}, status=404)
    assert problem(refused) == (
        404,
        "Resource Not Found",
        "The requested resource could not be found.",
    )


def test_a_patch_keeps_what_it_does_not_name(audience, api):
    audience.add_member(ANN, merge_fields={"FNAME": "Ann", "LNAME": "A"})
    category = audience.add_category("Interests")
    one, two = (audience.add_interest(category, name).id for name in ("One", "Two"))
    api("PATCH", path(audience), {"interests": {one: True, two: True}})
    body = {"merge_fields": {"LNAME": ""}, "interests": {two: False}}
    changed = api("PATCH", path(audience), body)
    assert changed["merge_fields"]["FNAME"] == "Ann"
    assert changed["merge_fields"]["LNAME"] == ""
    assert changed["interests"] == {one: True, two: False}
    assert changed["status"] == "subscribed"


def test_tags_act_on_creation_only(audience, api, members):
    assert api("POST", members, new(tags=["One"]))["tags"][0]["name"] == "One"
    api("PUT", path(audience), {**put(), "tags": ["Two"]})
    assert audience.members[ANN].tag_names == ["One"]


def test_unknown_merge_tags_are_ignored(api, members):
    made = api("POST", members, new(merge_fields={"NOPE": "x", "FNAME": "Ann"}))
    assert "NOPE" not in made["merge_fields"]
    assert made["merge_fields"]["ADDRESS"] == ""


def test_unknown_interests_are_refused(audience, api, members):
    body = new(interests={"0000000000": True})
    refused = api("POST", members, body, status=400)
    assert problem(refused) == (
        400,
        "Invalid Resource",
        "Invalid interest ID: '0000000000'.",
    )
    assert ANN not in audience.members


def test_an_audience_without_groups_has_members_without(audience, api, members):
    assert "interests" not in api("POST", members, new())
    assert "interests" not in api("GET", members)["members"][0]
    body = {"members": [new()], "update_existing": True}
    done = api("POST", f"/lists/{audience.id}", body)
    assert "interests" not in done["updated_members"][0]
    ref = audience.add_interest(audience.add_category("CRM"), "A").id
    assert api("GET", path(audience))["interests"] == {ref: False}


def test_a_write_that_changes_nothing_leaves_the_time(sim, audience, api):
    audience.add_member(ANN, merge_fields={"FNAME": "Ann"})
    before = audience.members[ANN].last_changed
    sim.advance(60)
    api("PATCH", path(audience), {"merge_fields": {"FNAME": "Ann"}})
    assert audience.members[ANN].last_changed == before
    api("PATCH", path(audience), {"merge_fields": {"FNAME": "Anna"}})
    assert audience.members[ANN].last_changed >= before + 60


def test_marketing_permissions(sim, api):
    audience = sim.add_audience("GDPR", marketing_permissions=True)
    members = f"/lists/{audience.id}/members"
    ref, *_others = [
        p["marketing_permission_id"]
        for p in api("POST", members, new())["marketing_permissions"]
    ]
    body = {
        "marketing_permissions": [{"marketing_permission_id": ref, "enabled": True}]
    }
    enabled = {
        p["marketing_permission_id"]: p["enabled"]
        for p in api("PATCH", path(audience), body)["marketing_permissions"]
    }
    assert enabled[ref] and sum(enabled.values()) == 1
    (listed,) = api("GET", members)["members"]
    assert enabled == {
        p["marketing_permission_id"]: p["enabled"]
        for p in listed["marketing_permissions"]
    }
