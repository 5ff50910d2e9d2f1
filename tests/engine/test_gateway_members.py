"""Only new people are subscribed, and who leaves has left."""

import json

import pytest
from engine import batches, errors


def test_no_status_but_by_restore(gateway, answers):
    for body in ({"status": "subscribed"}, {"status_if_new": "subscribed"}):
        with pytest.raises(ValueError):
            gateway.patch_member("l", "h", body)
        with pytest.raises(ValueError):
            batches.encode(
                [
                    {
                        "method": "PATCH",
                        "path": "/lists/l/members/h",
                        "operation_id": 1,
                        "body": body,
                    }
                ]
            )
    with pytest.raises(ValueError):
        gateway.subscribe_batch("l", [{"email_address": "a@b.be", "status": "cleaned"}])
    assert not answers.requests


def test_only_new_people_are_subscribed_each_once(gateway, answers):
    one = {"email_address": "a@b.be", "status": "subscribed"}
    for members in (
        [],
        [dict(one, email_address=f"{number}@b.be") for number in range(501)],
        [one, dict(one, email_address="A@b.be")],
        [dict(one, status_if_new="subscribed")],
        [{"email_address": "a@b.be"}],
    ):
        with pytest.raises(ValueError):
            gateway.subscribe_batch("l", members)
    for status in ("unsubscribed", "archived", None):
        with pytest.raises(ValueError):
            gateway.restore_member("l", "h", status)
    with pytest.raises(ValueError):
        gateway.change_static_segment("l", 1, add=["a@b.be"] * 501)
    assert not answers.requests


def test_subscribing_never_updates(gateway, answers):
    answers.set(200, {"new_members": [], "errors": []})
    gateway.subscribe_batch("l", [{"email_address": "a@b.be", "status": "subscribed"}])
    body = json.loads(answers.requests[-1][2])
    assert body["update_existing"] is False
    assert "sync_tags" not in body


# === Who leaves === #


def test_what_is_gone_needs_no_archiving(answers, gateway):
    gone = {"title": "Resource Not Found", "status": 404}
    answers.next.append((404, gone, {}))
    assert gateway.archive_member("l", "h") == (None, None)
    answers.next.append((404, gone, {}))
    assert gateway.delete_interest("l", "c", "i") is False
    answers.next.append((404, None, {}))  # not Mailchimp's word for it
    with pytest.raises(errors.Protocol):
        gateway.archive_member("l", "h")


REFUSED = {"title": "Method Not Allowed", "status": 405, "detail": "?"}


@pytest.mark.parametrize("status", ["archived", "cleaned", "unsubscribed"])
def test_a_refused_archiving_is_looked_into(answers, gateway, status):
    answers.next.append((405, REFUSED, {}))
    answers.next.append((200, {"status": status}, {}))
    assert gateway.archive_member("l", "h") == (status, {"status": status})


def test_a_pending_member_that_leaves_is_unsubscribed(answers, gateway):
    answers.next.append((405, REFUSED, {}))
    answers.next.append((200, {"status": "pending"}, {}))
    answers.next.append((200, {"status": "unsubscribed"}, {}))
    assert gateway.archive_member("l", "h")[0] == "unsubscribed"
    assert answers.requests[-1][0] == "PATCH"


def test_a_member_that_cannot_leave_is_no_success(answers, gateway):
    answers.next.append((405, REFUSED, {}))
    answers.next.append((200, {"status": "subscribed"}, {}))
    with pytest.raises(errors.Protocol):
        gateway.archive_member("l", "h")
