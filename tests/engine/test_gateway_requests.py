"""What is sent arrives as it was meant, where the SDK sends something else."""

from datetime import datetime, timedelta, timezone

import pytest


def test_the_word_server_arrives_unharmed(answers, gateway, sdk):
    sdk.lists.get_list_member("server1", "h")
    gateway.member("server1", "h")
    assert "/lists/us211/" in answers.requests[0][1]
    assert "/lists/server1/" in answers.requests[1][1]


def test_values_in_the_path_are_encoded(answers, gateway):
    gateway.member("li/st", "a b")
    assert answers.requests[-1][1].startswith("/3.0/lists/li%2Fst/members/a%20b")


@pytest.mark.parametrize("value", ["", ".", ".."])
def test_a_value_cannot_lead_to_another_path(answers, gateway, value):
    with pytest.raises(ValueError):
        gateway.archive_member("l", value)
    assert not answers.requests


def test_booleans_are_lower_case(answers, gateway, sdk):
    sdk.lists.get_list_members_info("l", vip_only=True)
    assert "vip_only=True" in answers.paths[-1]  # the flaw
    answers.set(200, {"members": [], "total_items": 0})
    gateway.members("l", vip_only=True)
    assert "vip_only=true" in answers.paths[-1]


def test_queries_the_sdk_does_not_know_can_be_sent(answers, gateway, sdk):
    with pytest.raises(TypeError):
        sdk.lists.get_list("l", newer=True)
    gateway.request("GET", "/lists/{id}", {"id": "l"}, {"newer": [1, 2], "unset": None})
    assert answers.paths == ["/lists/l?newer=1%2C2"]


@pytest.mark.parametrize(
    "since",
    [
        datetime(2026, 3, 1, 15, 41, 36),
        datetime(2026, 3, 1, 15, 41, 36, 999, timezone.utc),
        datetime(2026, 3, 1, 17, 41, 36, tzinfo=timezone(timedelta(hours=2))),
    ],
)
def test_times_are_sent_in_utc(answers, gateway, since):
    answers.set(200, {"members": [], "total_items": 0})
    gateway.members("l", since=since, fields="members.id,members.status")
    assert "since_last_changed=2026-03-01T15%3A41%3A36%2B00%3A00" in answers.paths[-1]
    assert "fields=members.id%2Cmembers.status%2Ctotal_items" in answers.paths[-1]


def test_bodies_are_compact_utf8(answers, gateway):
    gateway.patch_member("l", "h", {"merge_fields": {"FNAME": "Zoë", "N": 1}})
    sent = answers.requests[-1]
    assert sent[2] == '{"merge_fields":{"FNAME":"Zoë","N":1}}'.encode()
    assert sent[3]["Content-Type"] == "application/json"


def test_one_connection_serves_many_calls(answers, gateway, sdk):
    for _call in range(5):
        gateway.root()
    assert len(answers.clients) == 1
    for _call in range(3):
        sdk.root.get_root()
    assert len(answers.clients) == 4
