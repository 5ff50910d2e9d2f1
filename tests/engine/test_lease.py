import pytest
from engine.gateway import Gateway
from engine.lease import Leased, Mark, NotOurs, judge, place_hash, read_mark

from mailchimp_simulator import Simulator

HERE, THERE = place_hash("uuid/firma/1"), place_hash("uuid/firma/2")
MARK = Mark("2026-10-03", 42, "0a1b2c3d", HERE)


def test_a_title_is_read_as_it_was_written():
    assert MARK.title == f"Odoo since 2026-10-03: do not delete (42 0a1b2c3d {HERE})"
    assert read_mark(MARK.title) == MARK
    assert read_mark(f"  {MARK.title} ") == MARK


@pytest.mark.parametrize(
    "title",
    [
        *("", None, "CRM contacts", "Odoo", "Odoo since 2026-10-03: do not delete"),
        f"{MARK.title} (CRM)",
        MARK.title.replace("42", "x"),
        MARK.title.replace("2026-10-03", "2026-10-33"),
    ],
)
def test_a_title_of_somebody_else(title):
    assert read_mark(title) is None


def test_the_next_mark_cannot_be_guessed():
    following = MARK.next()
    assert (following.count, following.place, following.since) == (
        43,
        HERE,
        "2026-10-03",
    )
    assert following.nonce != MARK.nonce
    assert read_mark(following.title) == following


@pytest.mark.parametrize(
    ("mark", "place", "known", "proven", "seen", "verdict"),
    [
        (None, HERE, [], True, None, "ours"),
        (MARK, HERE, ["0a1b2c3d"], True, None, "ours"),
        # About to write it, or killed before its answer: the same list.
        (MARK, HERE, ["ffffffff", "0a1b2c3d"], True, None, "ours"),
        # A copy elsewhere knows the word as well as the original.
        (MARK, THERE, ["0a1b2c3d"], True, None, "other"),
        (MARK, THERE, [], True, None, "other"),
        (MARK, HERE, ["ffffffff"], True, None, "older"),
        (MARK, HERE, [], True, None, "older"),
        # Another database may be at a place of the same name.
        (MARK, HERE, ["ffffffff"], False, None, "other"),
        # It is written on while this database waits.
        (MARK, HERE, ["ffffffff"], True, "0a1b2c3d", "older"),
        (MARK, HERE, ["ffffffff"], True, "eeeeeeee", "other"),
    ],
)
def test_whose_it_is(mark, place, known, proven, seen, verdict):
    assert judge(mark, place, known, proven, seen) == verdict


def test_nothing_is_written_before_the_lease_is_held():
    asked = []

    def hold(opt_outs_only):
        asked.append(opt_outs_only)
        raise NotOurs("other")

    with Simulator(port=0) as simulator:
        audience = simulator.add_audience("Test audience")
        with Gateway(simulator.api_key, simulator.url) as gateway:
            leased = Leased(gateway, hold)
            assert leased.member_count(audience.id) == 0
            assert leased.max_in_flight == gateway.max_in_flight
            assert not asked
            with pytest.raises(NotOurs):
                leased.create_category(audience.id, "CRM contacts")
            calls = (("", leased.archive_member, audience.id, "h") for _ in range(3))
            with pytest.raises(NotOurs):
                list(leased.map(calls))
            assert asked == [False, False]
            assert not simulator.count("POST") + simulator.count("DELETE")


def test_each_call_says_whether_it_writes():
    """A reading call that is missing would look at the lease without need."""
    writes = {
        *("archive_member", "change_static_segment", "create_audience"),
        *("create_batch", "create_category", "create_interest", "create_merge_field"),
        *("create_static_segment", "delete_interest"),
        *("delete_static_segment", "let_go", "patch_member", "rename_category"),
        *("rename_static_segment", "request", "restore_member", "subscribe_batch"),
        *("update_interest", "create_webhook", "delete_webhook"),
    }
    names = {name for name in dir(Gateway) if not name.startswith("_")}
    assert names - Leased.READS == writes


def test_a_mark_is_no_category_for_groups():
    with Simulator(port=0) as simulator:
        audience = simulator.add_audience("Test audience")
        with Gateway(simulator.api_key, simulator.url) as gateway:
            created = gateway.create_category(audience.id, MARK.title, "hidden")
            other = gateway.create_category(audience.id, "CRM contacts")
            following = MARK.next()
            gateway.rename_category(
                audience.id, created["id"], following.title, "hidden"
            )
            assert gateway.marks(audience.id) == [(created["id"], following)]
            names = [category["id"] for category in gateway.categories(audience.id)]
            assert names == [other["id"]]
            found = gateway.category(audience.id, created["id"])
            assert read_mark(found["title"]) == following
            assert audience.categories[created["id"]].type == "hidden"
