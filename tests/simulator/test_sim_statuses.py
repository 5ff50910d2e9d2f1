"""Who may be given which status, and by whom."""

import pytest
from sim_members import ANN, COMPLIANCE, FORGOTTEN, leave, new, path, problem, put


@pytest.mark.parametrize("how", ["unsubscribe", "complaint", "bounce"])
def test_nobody_else_subscribes_who_left(audience, api, how):
    leave(audience, how)
    before = audience.members[ANN].status
    # status_if_new acts on new addresses only.
    assert api("PUT", path(audience), put())["status"] == before
    for method, body in (
        ("PATCH", {"status": "subscribed"}),
        ("PUT", {**put(), "status": "subscribed"}),
    ):
        refused = api(method, path(audience), body, status=400)
        assert problem(refused) == (
            400,
            "Member In Compliance State",
            COMPLIANCE.format(ANN),
        )
    assert audience.members[ANN].status == before


@pytest.mark.parametrize(
    ("how", "allowed"), [("unsubscribe", True), ("complaint", False), ("bounce", False)]
)
def test_only_who_unsubscribed_can_be_asked_again(audience, api, how, allowed):
    leave(audience, how)
    if not allowed:
        refused = api("PATCH", path(audience), {"status": "pending"}, status=400)
        assert refused["title"] == "Member In Compliance State"
        return
    assert api("PATCH", path(audience), {"status": "pending"})["status"] == "pending"
    # Still up to the person alone.
    api("PATCH", path(audience), {"status": "subscribed"}, status=400)
    audience.confirm(ANN)
    assert audience.members[ANN].status == "subscribed"


def test_a_detour_does_not_launder_an_opt_out(audience, api):
    leave(audience, "unsubscribe")
    for status in ("unsubscribed", "transactional", "cleaned", "pending"):
        api("PATCH", path(audience), {"status": status})
        api("PATCH", path(audience), {"status": "subscribed"}, status=400)


@pytest.mark.parametrize("by", ["api", "admin"])
def test_an_opt_out_of_others_is_undone_silently(audience, api, by):
    audience.add_member(ANN)
    audience.unsubscribe(ANN, by=by)
    assert audience.members[ANN].status == "unsubscribed"
    for method, body in (("PATCH", {}), ("PUT", {"email_address": ANN})):
        audience.unsubscribe(ANN, by=by)
        back = api(method, path(audience), {**body, "status": "subscribed"})
        assert back["status"] == "subscribed"


def test_the_reason_of_an_opt_out_by_api(audience, api, members):
    api("POST", members, new())
    left = api("PATCH", path(audience), {"status": "unsubscribed"})
    assert left["unsubscribe_reason"] == "N/A (Unsubscribed by admin)"
    made = api("POST", members, new("bob@firma.be", "unsubscribed"))
    assert made["unsubscribe_reason"] == "N/A (Unsubscribed by admin)"
    back = api("PATCH", path(audience), {"status": "subscribed"})
    assert "unsubscribe_reason" not in back


def test_who_is_asked_twice_gets_one_mail(sim, audience, api, members):
    api("POST", members, new(status="pending"))
    member = audience.members[ANN]
    before = member.last_changed
    sim.advance(60)
    api("PATCH", path(audience), {"status": "pending"})
    assert (member.confirmations, member.last_changed) == (1, before)
    api("PATCH", path(audience), {"status": "unsubscribed"})
    api("PATCH", path(audience), {"status": "pending"})
    assert member.confirmations == 2
    audience.confirm(ANN)
    assert (member.status, member.confirmations) == ("subscribed", 2)


@pytest.mark.parametrize("works", [False, True])
@pytest.mark.parametrize("how", ["unsubscribed", "archived"])
def test_the_link_of_an_old_confirmation_mail(world, works, how):
    audience, api = world(old_confirmation_works=works)
    api("POST", f"/lists/{audience.id}/members", new(status="pending"))
    if how == "archived":
        audience.archive(ANN)
    else:
        api("PATCH", path(audience), {"status": "unsubscribed"})
    if works:
        assert audience.confirm(ANN).status == "subscribed"
    else:
        with pytest.raises(ValueError, match=how):
            audience.confirm(ANN)
        assert audience.members[ANN].status == how


def test_only_who_was_asked_confirms(audience):
    audience.add_member(ANN)
    assert audience.confirm(ANN).status == "subscribed"
    audience.unsubscribe(ANN)
    with pytest.raises(ValueError, match="no confirmation"):
        audience.confirm(ANN)


@pytest.mark.parametrize("how", ["unsubscribe", "complaint", "bounce", "erased"])
def test_a_person_signs_up_again(sim, audience, api, how):
    if how == "erased":
        audience.add_member(ANN)
        audience.delete_permanently(ANN)
    else:
        leave(audience, how)
        audience.edit(ANN, merge_fields={"FNAME": "Ann"})
        audience.archive(ANN)
    sim.clock.set("2030-01-01T10:00:00Z")
    audience.sign_up(ANN, {"LNAME": "A"})
    found = api("GET", path(audience))
    assert found["status"] == "subscribed"
    assert found["merge_fields"]["LNAME"] == "A"
    assert found["merge_fields"]["FNAME"] == ("" if how == "erased" else "Ann")
    assert found["timestamp_opt"] == found["last_changed"] != ""
    assert found["timestamp_opt"].startswith("2030-01-01T10:00:0")
    # Others may change its status again.
    api("PATCH", path(audience), {"status": "unsubscribed"})
    api("PATCH", path(audience), {"status": "subscribed"})


@pytest.mark.parametrize("can", [True, False])
def test_an_old_mail_in_the_hands_of_an_archived_person(world, can):
    audience, api = world(archived_can_unsubscribe=can)
    audience.add_member(ANN, last_changed=1_700_000_000)
    api("DELETE", path(audience))
    before = audience.members[ANN].last_changed
    api.simulator.advance(60)
    audience.unsubscribe(ANN)
    member = audience.members[ANN]
    assert member.status == ("unsubscribed" if can else "archived")
    assert (member.last_changed > before) == can
    status = 400 if can else 200
    api("PATCH", path(audience), {"status": "subscribed"}, status=status)


def test_the_api_can_unsubscribe_and_clean(audience, api):
    audience.add_member(ANN)
    for status in ("unsubscribed", "cleaned", "transactional", "pending"):
        assert api("PATCH", path(audience), {"status": status})["status"] == status


def test_the_persons_reason_is_shown(audience, api):
    audience.add_member(ANN)
    audience.unsubscribe(ANN, reason="too many mails")
    assert api("GET", path(audience))["unsubscribe_reason"] == "too many mails"


@pytest.mark.parametrize("status", ["subscribed", "pending", "unsubscribed"])
def test_the_forgotten_stay_forgotten(audience, api, members, status):
    audience.add_member(ANN)
    assert api("POST", path(audience) + "/actions/delete-permanent") is None
    expected = (400, "Forgotten Email Not Subscribed", FORGOTTEN.format(ANN))
    assert problem(api("POST", members, new(status=status), status=400)) == expected
    assert problem(api("PUT", path(audience), put(), status=400)) == expected
    api("GET", path(audience), status=404)
    api("PATCH", path(audience), {"status": "subscribed"}, status=404)
    assert ANN not in audience.members


def test_the_forgotten_can_come_back_themselves(audience, api):
    audience.add_member(ANN)
    audience.delete_permanently(ANN)
    audience.add_member(ANN, by="person")
    assert api("GET", path(audience))["status"] == "subscribed"


def test_who_never_confirms_can_be_asked_again(audience, api):
    audience.add_member(ANN, "pending")
    audience.expire(ANN)
    api("GET", path(audience), status=404)
    made = api("POST", f"/lists/{audience.id}/members", new(status="pending"))
    assert made["status"] == "pending"
    audience.confirm(ANN)
    with pytest.raises(ValueError):
        audience.expire(ANN)


def test_the_contact_id_outlasts_the_address(audience, api):
    audience.add_member(ANN)
    ref = api("GET", path(audience))["contact_id"]
    audience.change_address(ANN, "other@firma.be")
    api("GET", path(audience), status=404)
    found = api("GET", f"/lists/{audience.id}/members/{ref}")
    assert (found["email_address"], found["contact_id"]) == ("other@firma.be", ref)


@pytest.mark.parametrize(
    ("review", "outcome"),
    [("", "subscribed"), ("pending", "pending"), ("refuse", None)],
)
def test_an_account_under_review(world, review, outcome):
    audience, api = world(account_review=review)
    members = f"/lists/{audience.id}/members"
    if outcome is None:
        refused = api("POST", members, new(), status=400)
        assert refused["title"] == "Member In Compliance State"
    else:
        assert api("POST", members, new())["status"] == outcome
