"""Collections are read to their end, and a page ahead."""

import re
import time

import pytest
from engine import errors


def test_collections_are_read_to_their_end(answers, gateway):
    for ids, total in (((1, 2), 3), ((3,), 3)):
        body = {
            "merge_fields": [{"merge_id": ref} for ref in ids],
            "total_items": total,
        }
        answers.next.append((200, body, {}))
    assert [item["merge_id"] for item in gateway.merge_fields("l")] == [1, 2, 3]
    assert [re.search(r"offset=(\d+)", path)[1] for path in answers.paths] == ["0", "2"]


def test_a_collection_that_shrinks_while_it_is_read_ends(answers, gateway):
    answers.set(200, {"campaigns": [], "total_items": 5})
    assert list(gateway.campaigns("l")) == [[]]


def test_audiences_come_with_what_the_plan_allows(answers, gateway):
    body = {
        "lists": [{"id": "l"}],
        "total_items": 1,
        "constraints": {"may_create": True},
    }
    answers.set(200, body)
    found = gateway.audiences()
    assert found == {"lists": [{"id": "l"}], "constraints": {"may_create": True}}


@pytest.mark.parametrize("body", [{}, {"members": None}, []])
def test_a_page_without_its_list_is_no_empty_page(answers, gateway, body):
    # Taken for an empty audience, it would look as if everybody was deleted.
    answers.set(200, body)
    with pytest.raises(errors.Protocol):
        gateway.members("l")
    with pytest.raises(errors.Protocol):
        gateway.merge_fields("l")


def test_a_count_has_to_be_there(answers, gateway):
    answers.set(200, {})
    with pytest.raises(errors.Protocol):
        gateway.member_count("l")


# === A page ahead === #


def numbered(gateway, last):
    for number in range(last):
        gateway.root()
        yield number


def test_the_next_page_is_fetched_meanwhile(answers, gateway):
    pages = gateway.ahead(numbered(gateway, 3))
    assert next(pages) == 0
    until = time.monotonic() + 5
    while len(answers.requests) < 2 and time.monotonic() < until:
        time.sleep(0.01)
    time.sleep(0.05)
    assert len(answers.requests) == 2, "one page, and no more"
    assert list(pages) == [1, 2]
    assert len(answers.requests) == 3


def test_no_page_is_fetched_ahead_after_the_deadline(answers, gateway):
    pages = gateway.ahead(numbered(gateway, 3), time.monotonic())
    for number in range(3):
        assert next(pages) == number
        time.sleep(0.05)
        assert len(answers.requests) == number + 1
    assert not list(pages)


def test_a_page_that_fails_is_told_when_it_is_asked_for(answers, gateway):
    answers.next += [(200, {}, {}), (404, None, {"status": 404, "title": "Gone"})]
    pages = gateway.ahead(numbered(gateway, 3))
    assert next(pages) == 0
    with pytest.raises(errors.MailchimpError):
        next(pages)
    assert len(answers.requests) == 2


def test_leaving_a_page_leaves_nothing_running(answers, gateway):
    answers.next += [(200, {}, {}), "slow"]
    for _page in gateway.ahead(numbered(gateway, 9)):
        break
    assert answers.open == 0
