"""``POST /lists/{id}``: up to 500 members at once."""

import pytest

GENERIC = "ERROR_GENERIC"
EXISTS = "ERROR_CONTACT_EXISTS"
ANN = "ann@firma.be"


def one(email=ANN, status="subscribed", **values):
    return {"email_address": email, "status": status, **values}


@pytest.fixture
def subscribe(audience, api):
    def call(*entries, status=None, query=None, **body):
        body = {"members": list(entries), **body}
        return api("POST", f"/lists/{audience.id}", body, status, **(query or {}))

    return call


def test_new_members(audience, subscribe):
    done = subscribe(one(tags=["VIP"]), one("bob@firma.be", "pending"))
    assert (done["total_created"], done["total_updated"], done["error_count"]) == (
        2,
        0,
        0,
    )
    assert audience.members[ANN].tag_names == ["VIP"]
    assert audience.members["bob@firma.be"].status == "pending"


def test_500_at_most(audience, subscribe):
    many = [one(f"p{number}@firma.be") for number in range(501)]
    refused = subscribe(*many, status=400)
    assert refused["title"] == "Invalid Resource"
    assert not audience.members
    assert subscribe(*many[:500])["total_created"] == 500


def test_each_failure_stands_alone(audience, api, subscribe):
    audience.add_merge_field("Birthday", "BIRTHDAY", "birthday")
    audience.add_member("gone@firma.be")
    audience.delete_permanently("gone@firma.be")
    done = subscribe(
        one(),
        one("nonsense"),
        one("ann@yopmail.com"),
        one("gone@firma.be"),
        {"email_address": "bob@firma.be"},
        one("carl@firma.be", merge_fields={"BIRTHDAY": "2001-02-03"}),
        one("dora@firma.be", "archived"),
    )
    assert done["total_created"] == 1
    errors = {e["email_address"]: e for e in done["errors"]}
    assert len(errors) == done["error_count"] == 6
    assert {e["error_code"] for e in done["errors"]} == {GENERIC}
    assert errors["nonsense"]["error"] == "An email address must contain a single @"
    assert "looks fake or invalid" in errors["ann@yopmail.com"]["error"]
    assert "was permanently deleted" in errors["gone@firma.be"]["error"]
    assert "could not be validated" in errors["bob@firma.be"]["error"]
    assert errors["carl@firma.be"]["field"] == "BIRTHDAY"
    assert errors["carl@firma.be"]["field_message"]
    assert errors["dora@firma.be"]["field"] == "status"


def test_a_call_in_which_all_fail_is_still_a_200(subscribe):
    done = subscribe(one("nonsense"))
    assert (done["error_count"], done["new_members"]) == (1, [])


@pytest.mark.parametrize(
    "status", ["subscribed", "unsubscribed", "cleaned", "pending", "transactional"]
)
def test_known_members_are_left_alone(audience, subscribe, status):
    audience.add_member(ANN, status, merge_fields={"FNAME": "Ann"})
    done = subscribe(one(merge_fields={"FNAME": "X"}), update_existing=False)
    (error,) = done["errors"]
    assert error["error_code"] == EXISTS
    assert error["error"] == (
        f"{ANN} is already a list member, do you want to update? please provide "
        "update_existing:true in the request body"
    )
    assert audience.members[ANN].status == status
    assert audience.members[ANN].merge_fields["FNAME"] == "Ann"


@pytest.mark.parametrize("existing", [False, True])
def test_archived_members(world, existing):
    audience, api = world(batch_archived_is_existing=existing)
    audience.add_member(ANN, "archived")
    body = {"members": [one()], "update_existing": False}
    done = api("POST", f"/lists/{audience.id}", body)
    assert done["total_created"] == (0 if existing else 1)
    assert audience.members[ANN].status == ("archived" if existing else "subscribed")


def test_update_existing_changes_the_status_too(audience, subscribe):
    audience.add_member(ANN, merge_fields={"FNAME": "Ann"})
    done = subscribe(
        one(status="unsubscribed", merge_fields={"LNAME": "B"}), update_existing=True
    )
    assert done["total_updated"] == 1
    member = audience.members[ANN]
    assert member.status == "unsubscribed"
    assert (member.merge_fields["FNAME"], member.merge_fields["LNAME"]) == ("Ann", "B")


def test_update_existing_respects_the_persons_no(audience, subscribe):
    audience.add_member(ANN)
    audience.unsubscribe(ANN)
    done = subscribe(one(), update_existing=True)
    assert "is in a compliance state" in done["errors"][0]["error"]
    assert audience.members[ANN].status == "unsubscribed"


@pytest.mark.parametrize("undone", [True, False])
def test_update_existing_and_an_admins_no(world, undone):
    audience, api = world(batch_undoes_api_unsubscribe=undone)
    audience.add_member(ANN)
    audience.unsubscribe(ANN, by="admin")
    body = {"members": [one()], "update_existing": True}
    done = api("POST", f"/lists/{audience.id}", body)
    assert done["total_updated"] == 1
    expected = "subscribed" if undone else "unsubscribed"
    assert audience.members[ANN].status == expected


@pytest.mark.parametrize("keeps", [True, False])
def test_status_if_new_on_known_members(world, keeps):
    audience, api = world(batch_status_if_new_keeps_status=keeps)
    audience.add_member(ANN)
    audience.unsubscribe(ANN, by="api")
    entry = {"email_address": ANN, "status_if_new": "subscribed"}
    body = {"members": [entry], "update_existing": True}
    api("POST", f"/lists/{audience.id}", body)
    expected = "unsubscribed" if keeps else "subscribed"
    assert audience.members[ANN].status == expected


def test_tags_are_added_or_replaced(audience, subscribe):
    audience.add_member(ANN, tags=["By hand"])
    subscribe(one(tags=["Ours"]), update_existing=True)
    assert audience.members[ANN].tag_names == ["By hand", "Ours"]
    subscribe(one(tags=["Ours"]), update_existing=True, sync_tags=True)
    assert audience.members[ANN].tag_names == ["Ours"]


@pytest.mark.parametrize("clears", [True, False])
def test_sync_tags_without_tags(world, clears):
    audience, api = world(sync_tags_without_tags_clears=clears)
    audience.add_member(ANN, tags=["VIP"])
    body = {"members": [one()], "update_existing": True, "sync_tags": True}
    api("POST", f"/lists/{audience.id}", body)
    assert audience.members[ANN].tag_names == ([] if clears else ["VIP"])


@pytest.mark.parametrize("how", ["call", "entry"])
def test_duplicates(world, how):
    audience, api = world(duplicates_fail=how)
    body = {
        "members": [
            one(merge_fields={"FNAME": "First"}),
            one("ANN@firma.be", merge_fields={"FNAME": "Second"}),
        ]
    }
    path = f"/lists/{audience.id}"
    if how == "call":
        api("POST", path, body, status=400)
        assert not audience.members
    else:
        done = api("POST", path, body)
        assert (done["total_created"], done["error_count"]) == (1, 1)


def test_duplicates_can_be_skipped(audience, subscribe):
    done = subscribe(
        one(merge_fields={"FNAME": "First"}),
        one("ANN@firma.be", merge_fields={"FNAME": "Second"}),
        query={"skip_duplicate_check": "true"},
    )
    assert (done["total_created"], done["error_count"]) == (1, 0)
    assert audience.members[ANN].merge_fields["FNAME"] == "First"


def test_most_values_may_be_null(audience, subscribe):
    assert subscribe(one(language=None, tags=None, vip=None))["total_created"] == 1


@pytest.mark.parametrize("status", [403, 400])
def test_the_contacts_of_the_plan(world, status):
    audience, api = world(max_contacts=3, contact_limit_status=status)
    path = f"/lists/{audience.id}"
    audience.add_member("bob@firma.be", "unsubscribed")
    for name, gone in (("cleo", "cleaned"), ("dan", "archived")):
        audience.add_member(f"{name}@firma.be", gone)
    # One too many: the whole call is refused.
    three = [one(f"{n}@firma.be") for n in "abc"]
    refused = api("POST", path, {"members": three}, status=status)
    assert refused["status"] == status
    assert len(audience.members) == 3
    assert api("POST", path, {"members": three[:2]})["total_created"] == 2
    # Full: nobody comes in by any way, archived ones neither.
    member = f"{path}/members/{{}}@firma.be"
    api("POST", f"{path}/members", one(), status=status)
    api("PUT", member.format("ann"), {**one(), "status_if_new": "pending"}, status)
    api("PATCH", member.format("dan"), {"status": "unsubscribed"}, status)
    both = {"members": [one("dan@firma.be"), one("a@firma.be")]}
    api("POST", path, both, status)
    assert len(audience.members) == 5
    # What adds nobody goes on.
    both["update_existing"] = True
    both["members"][0]["email_address"] = "b@firma.be"
    assert api("POST", path, both)["total_updated"] == 2
    api("PATCH", member.format("a"), {"status": "unsubscribed"})
    assert api("DELETE", member.format("b")) is None
    api("POST", f"{path}/members", one())


def test_plans_without_a_limit(world):
    audience, api = world(max_contacts=-1)
    body = {"members": [one(f"p{number}@firma.be") for number in range(500)]}
    assert api("POST", f"/lists/{audience.id}", body)["total_created"] == 500


def test_people_come_in_whatever_the_plan_says(world):
    audience, _api = world(max_contacts=0)
    audience.sign_up(ANN)
    assert audience.members[ANN].status == "subscribed"


def test_marketing_permissions_are_unknown_here(subscribe, sim):
    if sim._checker.spec is None:
        pytest.skip("needs Mailchimp's specification file")
    subscribe(one(marketing_permissions=[]), status=400)
