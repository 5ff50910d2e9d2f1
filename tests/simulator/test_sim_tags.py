"""The tags of a member, and what they do to its time."""

import pytest
from sim_members import ANN, path


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
