"""Who can be archived, and what an archived member still is."""

import pytest
from sim_members import ANN, leave, path, problem

from mailchimp_simulator.problems import Problem


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
