"""What a POST makes of a new member, and what it refuses."""

import pytest
from sim_members import ANN, VALIDATED, md5, new, path, problem


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
