from datetime import datetime, timedelta

import pytest
from engine.observe import agreed_since, observe, said, utc
from engine.plan import (
    COMING,
    FINAL,
    NEXT,
    Known,
    brake,
    decide,
    may_restore,
    next_step,
)

BY_ADMIN = "N/A (Unsubscribed by admin)"
VALUES = {"m": {"FNAME": "Ann"}, "i": ["g1"]}
OTHER = {"m": {"FNAME": "Bob"}, "i": []}
STATUSES = (
    None,
    "subscribed",
    "unsubscribed",
    "cleaned",
    "pending",
    "transactional",
    "archived",
)


def plan(wanted=True, desired=VALUES, **known):
    return decide(
        Known(**known), wanted, desired if wanted else None, ["FNAME"], ["g1"]
    )


def test_an_unknown_address_is_created():
    assert plan() == ("create", None)


def test_a_known_member_is_changed_without_its_status():
    operation, body = plan(status="subscribed", sent=OTHER)
    assert operation == "update"
    assert body == {"merge_fields": {"FNAME": "Ann"}, "interests": {"g1": True}}


def test_a_member_of_which_no_values_are_known_gets_them_all():
    assert plan(status="subscribed") == (
        "update",
        {"merge_fields": {"FNAME": "Ann"}, "interests": {"g1": True}},
    )


def test_nothing_to_do():
    assert plan(status="subscribed", sent=VALUES) == (None, None)
    assert plan(status="pending", sent=VALUES) == (None, None)


def test_a_member_that_was_there_is_adopted_without_a_call():
    assert plan(status="subscribed", ours=False, seen=VALUES) == ("adopt", None)
    assert plan(status="subscribed", ours=False, seen=OTHER)[0] == "update"


def test_what_mailchimp_made_of_our_value_is_not_sent_again_but_an_edit_is():
    seen = {"m": {"FNAME": "ANN"}, "i": ["g1"]}
    assert plan(status="subscribed", sent=VALUES, seen=seen) == (None, None)
    assert plan(status="subscribed", sent=VALUES, seen=seen, edited=True)[0] == "update"


def test_a_lost_answer_is_adopted_when_the_value_is_there():
    seen = {"m": {"FNAME": "Ann"}, "i": ["g1"]}
    assert plan(status="subscribed", sent=OTHER, seen=seen, edited=True) == (
        "adopt",
        None,
    )


@pytest.mark.parametrize("ours", [True, False])
@pytest.mark.parametrize("wanted", [True, False])
@pytest.mark.parametrize("status", ["unsubscribed", "cleaned"])
def test_a_no_gets_no_write_of_any_kind(status, wanted, ours):
    assert plan(wanted, status=status, ours=ours, sent=OTHER) == (None, None)


@pytest.mark.parametrize("status", STATUSES)
def test_foreign_members_that_nobody_wants_are_left_alone(status):
    assert plan(False, status=status, ours=False) == (None, None)


@pytest.mark.parametrize("status", STATUSES)
def test_ours_that_leave_are_archived_when_reachable(status):
    expected = "archive" if status in ("subscribed", "pending") else None
    assert plan(False, status=status, sent=VALUES)[0] == expected


@pytest.mark.parametrize("before", STATUSES)
@pytest.mark.parametrize("by_odoo", [True, False])
def test_only_who_odoo_archived_while_subscribed_may_come_back(before, by_odoo):
    operation, _body = plan(
        status="archived", status_before=before, by_odoo=by_odoo, sent=VALUES
    )
    expected = "restore" if by_odoo else "inquire"
    assert operation == (expected if before == "subscribed" else None)
    looked_at = {"status": "archived", "status_before": before, "reason": "archived"}
    assert plan(**looked_at, by_odoo=by_odoo) == (None, None)


def test_who_was_refused_comes_back_after_a_change():
    known = {"status": "archived", "status_before": "subscribed", "by_odoo": True}
    known.update(reason="other", sent=VALUES)
    assert plan(**known, refused=VALUES)[0] is None
    assert plan(**known, refused=OTHER)[0] == "restore"


# Written once more, so that none is added or lost unnoticed.
FINAL_REASONS = {
    *("forgotten", "renamed", "not_confirmed"),
    *("fake", "invalid_address", "compliance"),
}


@pytest.mark.parametrize("reason", FINAL)
@pytest.mark.parametrize("status", STATUSES)
def test_a_final_refusal_is_never_tried_again(reason, status):
    assert plan(status=status, reason=reason, sent=OTHER, retry=True) == (None, None)


def test_a_refused_value_waits_for_a_change_or_its_time():
    refused = {"reason": "merge_fields", "refused": VALUES}
    assert plan(**refused) == (None, None)
    assert plan(**refused, retry=True)[0] == "create"
    assert plan(desired=OTHER, **refused)[0] == "create"


def test_what_is_never_taken_back():
    assert set(FINAL) == FINAL_REASONS


@pytest.mark.parametrize("status", [None, "subscribed"])
def test_a_required_value_that_is_missing_is_no_call(status):
    known = Known(status=status, reason="required_field", sent=OTHER, refused=VALUES)
    wants_it = ["FNAME", "SHOP"]
    assert decide(known, True, VALUES, ["FNAME"], ["g1"], wants_it) == (None, None)
    # Mailchimp requires it no more, or the contact has it now.
    assert decide(known, True, VALUES, ["FNAME"], ["g1"], ["FNAME"])[0]
    filled = {"m": {"FNAME": "Ann", "SHOP": "Ghent"}, "i": ["g1"]}
    assert decide(known, True, filled, ["FNAME", "SHOP"], ["g1"], wants_it)[0]


ARCHIVED = {"status": "archived"}


def test_restore_is_checked_against_mailchimp():
    since = "2026-01-02T00:00:00"
    unsub = {
        "activity_type": "unsub",
        "created_at_timestamp": "2026-01-03T10:00:00+00:00",
    }
    earlier = dict(unsub, created_at_timestamp="2026-01-01T10:00:00+00:00")
    opened = dict(unsub, activity_type="open")
    assert may_restore(ARCHIVED, [opened], since) is True
    assert may_restore(ARCHIVED, [opened, unsub], since) == unsub
    assert may_restore(ARCHIVED, [earlier], since) is True
    # What happened at the very moment of the last look was not seen by it.
    at_once = dict(unsub, created_at_timestamp=since)
    assert may_restore(ARCHIVED, [at_once], since) == at_once
    # Without a time, or an event without one, the doubt decides.
    assert may_restore(ARCHIVED, [earlier], None) == earlier
    assert may_restore(ARCHIVED, [{"activity_type": "unsub"}], since)
    for status in ("subscribed", "unsubscribed", "cleaned", "pending", "transactional"):
        assert may_restore({"status": status}, [], since) is False


def test_restore_only_what_nobody_changed_since_it_was_archived():
    member = dict(ARCHIVED, last_changed="2026-01-03T10:00:00+00:00")
    assert may_restore(member, [], None, "2026-01-03T10:00:00+00:00") is True
    assert may_restore(member, [], None, "2026-01-03T09:59:59+00:00") is False
    assert may_restore(ARCHIVED, [], None, "2026-01-03T09:59:59+00:00") is False


@pytest.mark.parametrize(
    ("archives", "members", "percent", "expected"),
    [
        (50, 60, 10, False),
        (51, 60, 10, True),
        (100, 1000, 10, False),
        (101, 1000, 10, True),
        (1, 0, 10, False),
    ],
)
def test_brake(archives, members, percent, expected):
    assert brake(archives, members, percent) is expected


# === What a member as read from Mailchimp means === #

MEMBER = {
    "email_address": "Ann@firma.be",
    "status": "subscribed",
    "last_changed": "2026-01-02T05:04:05+02:00",
    "merge_fields": {"FNAME": "Ann"},
    "interests": {"g1": True},
    "web_id": 7,
}
LEDGER = {
    "status": "subscribed",
    "operation": None,
    "partner_id": 1,
    "values_sent": VALUES,
    "values_seen": None,
    "web_id": 7,
}


def look(known, **changes):
    return observe(known, dict(MEMBER, **changes), ["FNAME"], ["g1"])


def test_our_own_write_is_no_news():
    assert look(LEDGER, last_changed="2026-02-02T00:00:00+00:00") == {}


def test_a_new_member_is_news_with_its_values():
    news = look(None)
    assert news["status"] == "subscribed"
    assert news["values_seen"] == VALUES
    assert news["last_changed"] == datetime(2026, 1, 2, 3, 4, 5)
    assert not news["edited"]


def test_an_unsubscribe_is_a_no_with_its_time_and_reason():
    news = look(LEDGER, status="unsubscribed", unsubscribe_reason="Too many")
    assert news["no_date"] == datetime(2026, 1, 2, 3, 4, 5)
    assert news["reason_text"] == "Too many"


def test_archived_by_hand_keeps_the_status_it_had():
    news = look(LEDGER, status="archived")
    assert news["archived_by"] == "mailchimp"
    assert news["status_before"] == "subscribed"
    gone = look(dict(LEDGER, status="unsubscribed"), status="archived")
    assert gone["status_before"] == "unsubscribed"


def test_whose_doing_it_is_that_a_member_is_there():
    gone = dict(LEDGER, status=None, origin="odoo")
    assert look(gone)["origin"] == "foreign"
    assert "origin" not in look(dict(gone, operation="create"))
    archived = dict(LEDGER, status="archived", origin="foreign")
    assert look(archived)["origin"] == "foreign"
    assert look(dict(archived, operation="restore"))["origin"] == "claimed"


def test_our_archive_call_whose_answer_got_lost():
    at = datetime(2026, 1, 2, 3, 4, 5)
    sent = dict(LEDGER, sending="archive", sent_at=at - timedelta(seconds=20))
    assert look(sent, status="archived")["archived_by"] == "odoo"
    # It may never have arrived, and somebody archived the member later, or had before.
    for moment in (at - timedelta(minutes=2), at + timedelta(minutes=2), None):
        other = look(dict(sent, sent_at=moment), status="archived")
        assert other["archived_by"] == "mailchimp"
    # When a batch gets to a member, nobody knows.
    batch = dict(sent, sent_at=None, batch_ref="b1")
    assert look(batch, status="archived")["archived_by"] == "odoo"
    # That it was planned does not tell who did it.
    planned = dict(LEDGER, operation="archive")
    assert look(planned, status="archived")["archived_by"] == "mailchimp"


def test_our_own_removal_of_a_group_changes_members():
    at = datetime(2026, 1, 2, 3, 4, 5)
    left = {"status": "archived", "archived_by": "odoo", "last_changed": at}
    changed = {"status": "archived", "last_changed": "2026-01-02T03:10:00+00:00"}
    start, end = at + timedelta(minutes=5), at + timedelta(minutes=6)
    cases = [([], "mailchimp"), ([(start, end)], "odoo"), ([(at, start)], "mailchimp")]
    for removals, by in cases:
        news = observe(dict(LEDGER, **left), dict(MEMBER, **changed), [], [], removals)
        assert news["archived_by"] == by
        assert news["last_changed"] == datetime(2026, 1, 2, 3, 10)


def spoken(known, **changes):
    member = dict(MEMBER, **changes)
    return said(known, member, observe(known, member, ["FNAME"], ["g1"]))


def test_who_said_yes_since_an_opt_out():
    at = datetime(2026, 1, 2, 3, 4, 5)
    stamps = {"timestamp_opt": "2026-01-02T03:04:06+00:00"}
    member = {"status": "subscribed", **stamps}
    assert agreed_since("pending", member, at)
    assert agreed_since("archived", member, at)
    assert not agreed_since("subscribed", member, at), "that is known"
    assert not agreed_since("pending", member, at + timedelta(seconds=1))
    assert not agreed_since("pending", dict(member, timestamp_opt=""), at)
    assert not agreed_since("pending", {"status": "pending", **stamps}, at)


def test_what_a_member_said():
    at = datetime(2026, 1, 2, 3, 4, 5)
    assert spoken(LEDGER) == (None, None)
    assert spoken(LEDGER, status="unsubscribed") == ("unsubscribed", at)
    assert spoken(None, status="cleaned") == ("cleaned", at)
    gone = dict(LEDGER, status="unsubscribed")
    stamp = "2026-01-01T00:00:00+00:00"
    assert spoken(gone, timestamp_opt=stamp) == ("yes", datetime(2026, 1, 1))
    for operation in ("create", "restore", "readmit"):
        ours = dict(LEDGER, status="archived", operation=operation)
        assert spoken(ours) == (None, None)
    # Odoo lets a pending member leave by this status.
    leaving = dict(LEDGER, status="pending", sending="archive", sent_at=at)
    assert spoken(leaving, status="unsubscribed") == (None, None)
    late = dict(leaving, sent_at=at - timedelta(minutes=2))
    assert spoken(late, status="unsubscribed") == ("unsubscribed", at)
    # Later the person says it, too.
    left = dict(LEDGER, status="unsubscribed", last_changed=at - timedelta(minutes=2))
    by_admin = {"status": "unsubscribed", "unsubscribe_reason": BY_ADMIN}
    assert spoken(left, **by_admin) == (None, None)
    by_person = {"status": "unsubscribed", "unsubscribe_reason": "N/A (Unsubscribed)"}
    assert spoken(left, **by_person) == ("unsubscribed", at)
    assert spoken(dict(left, last_changed=at), **by_person) == (None, None)
    assert spoken(dict(left, no_date=at), **by_person) == (None, None)


def test_an_edit_is_seen_and_so_is_its_undoing():
    news = look(LEDGER, merge_fields={"FNAME": "Anna"})
    assert news["edited"] and news["values_seen"]["m"] == {"FNAME": "Anna"}
    edited = dict(LEDGER, values_seen=news["values_seen"], edited=True)
    assert look(edited, merge_fields={"FNAME": "Anna"}) == {}
    assert look(edited)["values_seen"] is None


def test_times():
    assert utc("") is None
    assert utc("2026-01-02T03:04:05Z") == datetime(2026, 1, 2, 3, 4, 5)


def test_a_bounce_does_not_hide_a_no_of_the_person():
    events = [
        {"activity_type": "bounce", "created_at_timestamp": "2026-02-03T00:00:00"},
        {"activity_type": "abuse", "created_at_timestamp": "2026-02-02T00:00:00"},
    ]
    assert may_restore({"status": "archived"}, events, None) == events[1]


def test_a_soft_bounce_passes():
    event = {"activity_type": "bounce", "bounce_type": "soft"}
    assert may_restore({"status": "archived"}, [event], None) is True
    event = {"activity_type": "bounce", "bounce_type": "hard"}
    assert may_restore({"status": "archived"}, [event], None) == event


# === WHAT COMES NEXT TO AN ADDRESS THAT SOMEBODY STANDS FOR === #

REFUSED = {"reason": "other", "refused": VALUES}
ARCHIVED = {"status": "archived", "status_before": "subscribed"}
NEXT_STEPS = [
    ({"status": "subscribed"}, "keep"),
    ({"status": "pending"}, "keep"),
    # Who is reachable stays, whatever was refused before.
    ({"status": "subscribed", **REFUSED}, "keep"),
    *(
        ({"status": status, "reason": reason}, "leave_alone")
        for status in ("unsubscribed", "cleaned", "transactional")
        for reason in (None, "compliance")
    ),
    *(({"reason": reason}, "refused") for reason in FINAL),
    *(({**ARCHIVED, "reason": reason}, "refused") for reason in FINAL),
    (REFUSED, "refused"),
    ({**REFUSED, "retry": True}, "create"),
    ({"reason": "other"}, "create"),
    ({}, "create"),
    ({**ARCHIVED, "reason": "archived", "by_odoo": True}, "stay_out"),
    ({**ARCHIVED, "by_odoo": True}, "restore"),
    ({**ARCHIVED, **REFUSED, "by_odoo": True}, "refused"),
    ({**ARCHIVED}, "inquire"),
    ({"status": "archived", "by_odoo": True}, "stay_out"),
    ({"status": "archived", "status_before": "pending"}, "stay_out"),
    ({"status": "archived", "status_before": "unsubscribed"}, "stay_out"),
]


@pytest.mark.parametrize(("known", "step"), NEXT_STEPS)
def test_what_comes_next(known, step):
    """The status list shows these words: that two of them do the same is no excuse."""
    assert next_step(Known(**known)) == step


def test_each_line_of_the_table_is_the_answer_to_something():
    assert {step for step, _conditions in NEXT} == {step for _known, step in NEXT_STEPS}
    assert set(FINAL) == FINAL_REASONS
    assert COMING == ("create", "restore")


def test_an_address_of_which_nothing_is_known_is_one_of_ours():
    assert Known() == Known(
        status=None,
        ours=True,
        status_before=None,
        by_odoo=False,
        reason=None,
        sent=None,
        seen=None,
        edited=False,
        refused=None,
        retry=False,
    )


def test_a_wanted_address_without_values_is_a_mistake():
    """As if nobody wanted it, it would be archived."""
    with pytest.raises(ValueError):
        decide(Known(status="subscribed"), True, None, ["FNAME"], ["g1"])
