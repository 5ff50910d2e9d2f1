"""What may become of a member by single calls, with the words of each refusal."""

import hashlib

import pytest

from mailchimp_simulator.problems import Problem

VALIDATED = (
    "The resource submitted could not be validated. For field-specific details, see "
    "the 'errors' array."
)
COMPLIANCE = (
    "{} is in a compliance state due to unsubscribe, bounce, or compliance review and "
    "cannot be subscribed."
)
FORGOTTEN = (
    "{} was permanently deleted and cannot be re-imported. The contact must "
    "re-subscribe to get back on the list."
)
ANN = "ann@firma.be"


def md5(email):
    return hashlib.md5(email.lower().encode(), usedforsecurity=False).hexdigest()


def path(audience, email=ANN):
    return f"/lists/{audience.id}/members/{md5(email)}"


def new(email=ANN, status="subscribed", **values):
    return {"email_address": email, "status": status, **values}


def put(email=ANN, status="subscribed", **values):
    return {"email_address": email, "status_if_new": status, **values}


def problem(data):
    return data["status"], data["title"], data["detail"]


# --- creation --------------------------------------------------------------------


@pytest.mark.parametrize(
    "status", ["subscribed", "unsubscribed", "cleaned", "pending", "transactional"]
)
def test_a_post_creates_with_the_status(audience, api, members, status):
    made = api("POST", members, new(status=status))
    assert made["id"] == md5(ANN)
    assert made["status"] == status
    assert audience.members[ANN].status == status


def test_archived_cannot_be_written(audience, api, members):
    refused = api("POST", members, new(status="archived"), status=400)
    assert problem(refused) == (400, "Invalid Resource", VALIDATED)
    audience.add_member(ANN)
    api("PATCH", path(audience), {"status": "archived"}, status=400)
    assert audience.members[ANN].status == "subscribed"


@pytest.mark.parametrize("status", ["subscribed", "unsubscribed", "cleaned"])
def test_a_post_of_a_known_address_is_refused(audience, api, members, status):
    audience.add_member(ANN, status)
    refused = api("POST", members, new("Ann@Firma.be"), status=400)
    assert problem(refused) == (
        400,
        "Member Exists",
        "Ann@Firma.be is already a list member. Use PUT to insert or update list "
        "members.",
    )


def test_a_post_brings_an_archived_member_back_with_the_status(audience, api, members):
    audience.add_member(ANN, "archived")
    assert api("POST", members, new(status="pending"))["status"] == "pending"


def test_the_hash_is_of_the_lowercased_address(api, members):
    assert api("POST", members, new("Ann@Firma.BE"))["id"] == md5("ann@firma.be")
    assert api("POST", members, new("ann+x@firma.be"))["id"] == md5("ann+x@firma.be")


def test_times_and_the_caller_are_filled_in(sim, api, members):
    sim.clock.set("2026-03-01T10:00:00Z")
    made = api("POST", members, new())
    assert made["timestamp_opt"] == "2026-03-01T10:00:00+00:00"
    assert made["ip_opt"] == "127.0.0.1"
    assert made["timestamp_signup"] == ""
    given = api(
        "POST",
        members,
        new(
            "bob@firma.be",
            timestamp_signup="2024-05-06 07:08:09",
            timestamp_opt="2024-05-06T09:08:09+0200",
            ip_signup="192.0.2.7",
        ),
    )
    assert given["timestamp_signup"] == "2024-05-06T07:08:09+00:00"
    assert given["timestamp_opt"] == "2024-05-06T07:08:09+00:00"
    assert given["ip_signup"] == "192.0.2.7"


@pytest.mark.parametrize("value", ["yesterday", "2024-05-06", "2024-13-06 07:08:09"])
def test_a_bad_time_is_refused(audience, api, members, value):
    api("POST", members, new(timestamp_opt=value), status=400)
    assert ANN not in audience.members


def test_wrong_types_are_named(api, members):
    refused = api("POST", members, {"status": "subscribed"}, status=400)
    assert refused["errors"] == [
        {"field": "", "message": "Required fields were not provided: email_address"}
    ]
    refused = api("POST", members, new(None), status=400)
    assert refused["errors"][0] == {
        "field": "email_address",
        "message": "Schema describes string, NULL found instead",
    }
    refused = api("POST", members, new(merge_fields={"FNAME": None}), status=400)
    assert refused["errors"][0] == {
        "field": "merge_fields.FNAME",
        "message": "Data did not match any of the schemas described in anyOf.",
    }


def test_a_body_that_is_no_json(sim, api, members):
    reply = api.session.post(sim.url + members, data="{", timeout=5)
    assert reply.status_code == 400
    assert reply.json()["title"] == "JSON Parse Error"


# --- addresses -------------------------------------------------------------------


SINGLE = "An email address must contain a single @"
USERNAME = (
    "The username portion of the email address is invalid "
    "(the portion before the @: {})"
)
GENERIC = "Please provide a valid email address."


@pytest.mark.parametrize("precise", [True, False])
@pytest.mark.parametrize(
    ("email", "detail"),
    [
        ("ann", SINGLE),
        ("ann@@firma.be", SINGLE),
        ("@firma.be", USERNAME.format("")),
        ("a nn@firma.be", USERNAME.format("a nn")),
        (".ann@firma.be", USERNAME.format(".ann")),
        ("änn@x.de", GENERIC),
    ],
)
def test_addresses_without_syntax(world, precise, email, detail):
    audience, api = world(address_words_precise=precise)
    refused = api("POST", f"/lists/{audience.id}/members", new(email), status=400)
    expected = detail if precise else GENERIC
    assert problem(refused) == (400, "Invalid Resource", expected)


@pytest.mark.parametrize("email", ["ann@firma", "ann@", "ann@fir ma.be"])
def test_a_domain_without_syntax(api, members, email):
    refused = api("POST", members, new(email), status=400)
    assert "domain portion of the email address is invalid" in refused["detail"]


def test_non_ascii_addresses_by_switch(world):
    audience, api = world(accept_non_ascii=True)
    api("POST", f"/lists/{audience.id}/members", new("änn@x.de"))
    assert "änn@x.de" in audience.members


def test_throw_away_domains_and_fakes(world):
    audience, api = world(fake_addresses=["alex@gmail.com"])
    members = f"/lists/{audience.id}/members"
    for email in ("ann@yopmail.com", "alex@gmail.com"):
        refused = api("POST", members, new(email), status=400)
        assert problem(refused) == (
            400,
            "Invalid Resource",
            f"{email} looks fake or invalid, please enter a real email address.",
        )
    api("POST", members, new("ann@gmail.com"))


def test_throw_away_domains_are_a_switch(world):
    audience, api = world(throw_away_domains=["spam.example"])
    members = f"/lists/{audience.id}/members"
    api("POST", members, new("ann@yopmail.com"))
    api("POST", members, new("ann@spam.example"), status=400)


@pytest.mark.parametrize("refused", [False, True])
def test_example_domains_by_switch(world, refused):
    audience, api = world(refuse_example_domains=refused)
    status = 400 if refused else 200
    api("POST", f"/lists/{audience.id}/members", new("ann@example.com"), status=status)


@pytest.mark.parametrize("refused", [False, True])
def test_role_addresses_by_switch(world, refused):
    audience, api = world(refuse_role_addresses=refused)
    status = 400 if refused else 200
    api("POST", f"/lists/{audience.id}/members", new("info@firma.be"), status=status)


@pytest.mark.parametrize(
    ("words", "detail"),
    [
        ("requests", f'Recipient "{ANN}" has too many recent signup requests'),
        (
            "lists",
            f"{ANN} has signed up to a lot of lists very recently; we're not allowing "
            "more signups for now",
        ),
    ],
)
def test_too_many_signups(world, words, detail):
    audience, api = world(busy_addresses=[ANN], busy_words=words)
    refused = api("POST", f"/lists/{audience.id}/members", new(), status=400)
    assert problem(refused) == (400, "Invalid Resource", detail)


@pytest.mark.parametrize(
    "place",
    [
        {"latitude": "north", "longitude": 4},
        {"latitude": 51, "longitude": "nan"},
        {"latitude": "", "longitude": ""},
    ],
)
def test_a_place_that_is_no_number(audience, api, members, place):
    refused = api("POST", members, new(location=place), status=400)
    assert refused["detail"] == VALIDATED
    assert refused["errors"][0]["field"].startswith("location.")
    assert ANN not in audience.members
    api("POST", members, new(location={"latitude": "51.05", "longitude": 3.7}))
    assert audience.members[ANN].location == (51.05, 3.7)


# --- statuses --------------------------------------------------------------------


def leave(audience, how):
    audience.add_member(ANN)
    {
        "unsubscribe": lambda: audience.unsubscribe(ANN),
        "complaint": lambda: audience.complain(ANN),
        "bounce": lambda: audience.bounce(ANN),
    }[how]()


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


# --- PUT and PATCH ---------------------------------------------------------------


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


def test_a_put_to_the_hash_of_another_spelling(audience, api, members):
    audience.add_member(ANN)
    mixed = hashlib.md5(b"Ann@firma.be", usedforsecurity=False).hexdigest()
    refused = api("PUT", f"{members}/{mixed}", put("Ann@firma.be"), status=400)
    assert refused["title"] == "Member Exists"


def test_a_put_to_the_hash_of_somebody_else(audience, api, members):
    # Unknown hash, unknown address: created under the address of the body.
    made = api("PUT", f"{members}/{md5('who@firma.be')}", put())
    assert (made["id"], list(audience.members)) == (md5(ANN), [ANN])
    # Unknown hash, known address.
    refused = api("PUT", f"{members}/{md5('who@firma.be')}", put(), status=400)
    assert refused["title"] == "Member Exists"
    # Known hash, unknown address: the member gets it.
    moved = api("PUT", path(audience), put("anna@firma.be"))
    assert (moved["id"], list(audience.members)) == (
        md5("anna@firma.be"),
        ["anna@firma.be"],
    )


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


# --- archive ---------------------------------------------------------------------


def assert_not_archived(reply):
    assert reply.status_code == 405
    assert reply.headers["Allow"] == "GET, PUT"
    assert problem(reply.json()) == (
        405,
        "Method Not Allowed",
        "This list member cannot be removed. Can not archive a contact that is "
        "bounced, pending or archived",
    )


@pytest.mark.parametrize("status", ["subscribed", "transactional"])
def test_delete_archives_once(sim, audience, api, status):
    audience.add_member(ANN, status)
    assert api("DELETE", path(audience)) is None
    archived = api("GET", path(audience))
    assert archived["status"] == "archived"
    sim.advance(60)
    assert_not_archived(api.raw("DELETE", path(audience)))
    assert api("GET", path(audience)) == archived


@pytest.mark.parametrize("status", ["pending", "cleaned"])
def test_delete_of_who_cannot_be_archived(sim, audience, api, status):
    audience.add_member(ANN, status)
    before = api("GET", path(audience))
    sim.advance(60)
    assert_not_archived(api.raw("DELETE", path(audience)))
    assert api("GET", path(audience)) == before
    if status == "pending":
        left = api("PATCH", path(audience), {"status": "unsubscribed"})
        assert left["status"] == "unsubscribed"


@pytest.mark.parametrize("can", [True, False])
def test_delete_of_an_unsubscribed_member(world, can):
    audience, api = world(unsubscribed_can_be_archived=can)
    audience.add_member(ANN, "unsubscribed")
    if can:
        assert api("DELETE", path(audience)) is None
    else:
        assert_not_archived(api.raw("DELETE", path(audience)))
    expected = "archived" if can else "unsubscribed"
    assert api("GET", path(audience))["status"] == expected


@pytest.mark.parametrize(
    "status", ["subscribed", "unsubscribed", "cleaned", "pending", "transactional"]
)
def test_an_admin_archives_anybody_once(audience, api, status):
    audience.add_member(ANN, status)
    audience.archive(ANN)
    assert api("GET", path(audience))["status"] == "archived"
    with pytest.raises(Problem):
        audience.archive(ANN)


def test_delete_of_an_unknown_member(audience, api):
    api("DELETE", path(audience), status=404)


def test_an_archived_member_takes_tags_and_can_be_erased(audience, api):
    audience.add_member(ANN, "archived")
    tags = {"tags": [{"name": "VIP", "status": "active"}]}
    assert api("POST", path(audience) + "/tags", tags) is None
    assert api("POST", path(audience) + "/actions/delete-permanent") is None


@pytest.mark.parametrize("keeps", [False, True])
@pytest.mark.parametrize("how", ["unsubscribe", "complaint", "bounce"])
def test_archive_then_subscribe(world, keeps, how):
    audience, api = world(archived_keeps_compliance=keeps)
    leave(audience, how)
    audience.archive(ANN)
    status = 400 if keeps else 200
    api("PATCH", path(audience), {"status": "subscribed"}, status=status)
    expected = "archived" if keeps else "subscribed"
    assert audience.members[ANN].status == expected


# --- a new address ---------------------------------------------------------------


def test_a_subscribed_member_changes_its_address(audience, api, members):
    audience.add_member(ANN, merge_fields={"FNAME": "Ann"})
    contact = api("GET", path(audience))["contact_id"]
    moved = api("PATCH", path(audience), {"email_address": "Ann@new.be"})
    assert (moved["id"], moved["email_address"]) == (md5("ann@new.be"), "Ann@new.be")
    assert moved["contact_id"] == contact
    assert moved["merge_fields"]["FNAME"] == "Ann"
    api("GET", path(audience), status=404)
    assert api("GET", f"{members}/{contact}")["id"] == moved["id"]
    assert api("GET", f"{members}/ann@new.be")["id"] == moved["id"]


@pytest.mark.parametrize("status", ["cleaned", "unsubscribed", "pending"])
def test_others_cannot_change_their_address(audience, api, status):
    audience.add_member(ANN, status)
    refused = api("PATCH", path(audience), {"email_address": "a@new.be"}, status=400)
    assert refused["errors"] == [
        {
            "field": "email address",
            "message": f'This member\'s status is "{status}." You can only update '
            'email addresses for members with a status of "subscribed."',
        }
    ]


def test_a_new_address_that_is_taken(audience, api):
    audience.add_member(ANN)
    audience.add_member("bob@firma.be", "archived")
    body = {"email_address": "bob@firma.be"}
    refused = api("PATCH", path(audience), body, status=400)
    assert refused["errors"] == [
        {
            "field": "email address",
            "message": '"bob@firma.be" is already in this list with a status of '
            '"Deleted".',
        }
    ]


# --- paths by hash only ----------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "rest", "body"),
    [
        ("POST", "/actions/delete-permanent", None),
        ("POST", "/tags", {"tags": []}),
    ],
)
def test_some_paths_take_the_hash_only(audience, api, members, method, rest, body):
    audience.add_member(ANN)
    api(method, f"{members}/{ANN}{rest}", body, status=404)
    api(method, f"{members}/{md5(ANN)}{rest}", body, status=204)


def test_an_encoded_slash_stays_in_its_segment(audience, api, members):
    audience.add_member("a/b@firma.be")
    found = api("GET", f"{members}/a%2Fb%40firma.be")
    assert found["email_address"] == "a/b@firma.be"


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


# --- tags, activity --------------------------------------------------------------


def test_tags_of_a_member(audience, api):
    audience.add_member(ANN)
    tags = path(audience) + "/tags"
    on = {"tags": [{"name": "VIP", "status": "active"}], "is_syncing": True}
    assert api("POST", tags, on) is None
    assert api("POST", tags, on) is None
    found = api("GET", tags)
    assert [tag["name"] for tag in found["tags"]] == ["VIP"]
    off = {"tags": [{"name": "vip", "status": "inactive"}]}
    assert api("POST", tags, off) is None
    assert api("GET", tags)["total_items"] == 0
    assert api("POST", tags, {"tags": []}) is None
    long = {"tags": [{"name": "x" * 101, "status": "active"}]}
    api("POST", tags, long, status=400)


def test_a_member_shows_fifty_tags_at_most(audience, api):
    audience.add_member(ANN, tags=[f"tag {number}" for number in range(60)])
    found = api("GET", path(audience))
    assert (len(found["tags"]), found["tags_count"]) == (50, 60)
    assert api("GET", path(audience) + "/tags", count=100)["total_items"] == 60


@pytest.mark.parametrize("moves", [True, False])
def test_tags_and_last_changed(world, moves):
    audience, api = world(tags_move_last_changed=moves)
    audience.add_member(ANN, last_changed=1_700_000_000)
    member, tags = audience.members[ANN], path(audience) + "/tags"
    segments = f"/lists/{audience.id}/segments"
    segment = api("POST", segments, {"name": "VIP", "static_segment": []})["id"]

    def moved():
        before = member.last_changed
        api.simulator.advance(60)
        return lambda: member.last_changed > before

    def single(status):
        api("POST", tags, {"tags": [{"name": "VIP", "status": status}]})

    def bulk(key):
        api("POST", f"{segments}/{segment}", {key: [ANN]})

    for change, argument in (
        (single, "active"),
        (single, "inactive"),
        (bulk, "members_to_add"),
        (bulk, "members_to_remove"),
    ):
        has_moved = moved()
        change(argument)
        assert has_moved() == moves
        # The same again changes nothing.
        has_moved = moved()
        change(argument)
        assert not has_moved()
    has_moved = moved()
    api("POST", tags, {"tags": []})
    assert not has_moved()


def test_another_application_touches_thousands(sim, audience, api, members):
    audience.add_members(3000)
    sim.advance(60)
    now = sim.clock.now()
    assert audience.touch(2500, tag="Score", merge_fields={"LNAME": "X"}) == 2500
    changed = [m for m in audience.members.values() if m.last_changed >= now]
    assert len(changed) == 2500
    assert changed[0].tag_names == ["Score"]
    assert changed[0].merge_fields["LNAME"] == "X"
    sim.advance(60)
    assert audience.touch(["PERSON3000@example.com"]) == 1
    newest = {"sort_field": "last_changed", "sort_dir": "DESC", "count": 1}
    (first,) = api("GET", members, **newest)["members"]
    assert first["email_address"] == "person3000@example.com"
    with pytest.raises(KeyError):
        audience.touch(["who@firma.be"])


def test_events(audience, api):
    audience.add_member(ANN)
    events = path(audience) + "/events"
    assert api("POST", events, {"name": "signed_contract"}) is None
    assert api("GET", events)["events"][0]["name"] == "signed_contract"
    api("POST", events, {"name": "x"}, status=400)


def test_notes(audience, api):
    audience.add_member(ANN)
    made = api("POST", path(audience) + "/notes", {"note": "called"})
    assert made["note"] == "called"
    assert api("GET", path(audience))["last_note"]["note"] == "called"


@pytest.mark.parametrize("shown", [False, True])
def test_complaints_and_the_feed(world, shown):
    audience, api = world(complaint_in_feed=shown)
    leave(audience, "complaint")
    feed = api(
        "GET", path(audience) + "/activity-feed", activity_filters="unsub,bounce"
    )
    assert [item["activity_type"] for item in feed["activity"]] == ["unsub"] * shown
    activity = api("GET", path(audience) + "/activity")
    assert [item["action"] for item in activity["activity"]] == ["abuse"]
    reports = api("GET", f"/lists/{audience.id}/abuse-reports")
    assert reports["abuse_reports"][0]["email_address"] == ANN


@pytest.mark.parametrize("shown", [False, True])
def test_an_opt_out_without_campaign_in_the_feed(world, shown):
    audience, api = world(feed_has_unsubscribes_outside_campaigns=shown)
    leave(audience, "unsubscribe")
    audience.archive(ANN)
    feed = api("GET", path(audience) + "/activity-feed", activity_filters="unsub")
    assert [i["is_admin_unsubscribed"] for i in feed["activity"]] == [False] * shown
    activity = api("GET", path(audience) + "/activity")
    assert [i["action"] for i in activity["activity"]] == ["unsub"] * shown


@pytest.mark.parametrize("by", ["admin", "api"])
@pytest.mark.parametrize("shown", [False, True])
def test_an_opt_out_of_others_in_the_feed(world, shown, by):
    audience, api = world(feed_has_admin_unsubscribes=shown)
    audience.add_member(ANN)
    audience.unsubscribe(ANN, by=by)
    feed = api("GET", path(audience) + "/activity-feed")
    assert [i["is_admin_unsubscribed"] for i in feed["activity"]] == [True] * shown


def test_an_opt_out_by_a_campaign_is_always_in_the_feed(audience, api):
    audience.add_member(ANN)
    campaign = audience.add_campaign(title="News")
    audience.send_campaign(campaign)
    audience.unsubscribe(ANN, campaign=campaign.id)
    feed = api("GET", path(audience) + "/activity-feed", activity_filters="unsub")
    assert [i["campaign_title"] for i in feed["activity"]] == ["News"]


def test_soft_bounces_clean_an_address_in_the_end(audience, api):
    audience.add_member(ANN)
    audience.clean(ANN, "soft")
    assert api("GET", path(audience))["status"] == "cleaned"
    feed = api("GET", path(audience) + "/activity-feed")
    assert [i["bounce_type"] for i in feed["activity"]] == ["soft"]
    api("PATCH", path(audience), {"status": "subscribed"}, status=400)
