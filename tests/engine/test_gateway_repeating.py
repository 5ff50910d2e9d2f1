"""What is tried again, and what may have happened when there is no answer."""

import pytest
from engine import errors
from engine.gateway import Gateway
from keys import KEY


def test_reading_is_tried_again_and_writing_is_not(answers, gateway):
    answers.set(503, b"")
    with pytest.raises(errors.Retryable):
        gateway.root()
    assert len(answers.requests) == 3
    answers.requests.clear()
    with pytest.raises(errors.Retryable) as caught:
        gateway.patch_member("l", "h", {"merge_fields": {"A": "b"}})
    assert len(answers.requests) == 1
    assert caught.value.outcome_unknown
    answers.requests.clear()
    answers.set(429, b"")
    with pytest.raises(errors.Retryable) as caught:
        gateway.patch_member("l", "h", {"merge_fields": {"A": "b"}})
    # Too many requests: it was not carried out, so it may be sent again.
    assert len(answers.requests) == 3
    assert not caught.value.outcome_unknown


@pytest.mark.parametrize("first", ["drop", "stall", "cut"])
def test_a_lost_connection_may_have_left_the_write_applied(answers, gateway, first):
    answers.next.append(first)
    with pytest.raises(errors.Retryable) as caught:
        gateway.archive_member("l", "h")
    assert caught.value.outcome_unknown
    assert len(answers.requests) == 1
    # A read is simply made again.
    answers.next.append(first)
    assert gateway.root() == {}
    assert len(answers.requests) == 3


def test_a_senseless_answer_may_have_left_the_write_applied(answers, gateway):
    answers.set(200, b"<html>")
    with pytest.raises(errors.Protocol) as caught:
        gateway.archive_member("l", "h")
    assert caught.value.outcome_unknown
    with pytest.raises(errors.Protocol) as caught:
        gateway.root()
    assert not caught.value.outcome_unknown


def test_what_was_never_sent_was_not_applied(answers, naps):
    answers.close()
    with Gateway(KEY, answers.url, sleep=naps.append) as gateway:
        with pytest.raises(errors.Retryable) as caught:
            gateway.archive_member("l", "h")
    assert not caught.value.outcome_unknown
    assert "cannot be reached" in str(caught.value)
    # Not the text of another failure the caller is dealing with.
    with Gateway(KEY, answers.url, sleep=naps.append) as gateway:
        try:
            gateway.root()
        except errors.Retryable:
            with pytest.raises(errors.Retryable) as caught:
                gateway.archive_member("l", "h")
    assert not caught.value.outcome_unknown


def test_waits_between_tries_grow_and_end(answers, gateway, naps):
    answers.set(503, b"")
    with pytest.raises(errors.Retryable):
        gateway.root()
    assert len(naps) == 2 and 0.5 <= naps[0] <= 1.5 and 1 <= naps[1] <= 3
    assert gateway.calls == 3
    naps.clear()
    answers.set(429, b"", **{"Retry-After": "7"})
    with pytest.raises(errors.Retryable) as caught:
        gateway.root()
    assert naps == [7, 7] and caught.value.after == 7
    # Longer than a worker may sleep: the caller waits, without a worker.
    naps.clear()
    answers.set(429, b"", **{"Retry-After": "3600"})
    with pytest.raises(errors.Retryable) as caught:
        gateway.root()
    assert naps == [] and caught.value.after == 3600
