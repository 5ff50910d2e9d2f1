"""What a reply tells, where the SDK takes errors for data and data for errors."""

import gzip

import pytest
from engine import errors
from engine.gateway import Gateway
from keys import KEY
from mailchimp_marketing.api_client import ApiClientError


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (429, errors.Retryable),
        (403, errors.Retryable),
        (503, errors.Retryable),
        (504, errors.Retryable),
        (404, errors.MailchimpError),
    ],
)
def test_an_error_without_a_body_is_an_error(answers, gateway, sdk, status, error):
    answers.set(status, b"")
    assert sdk.root.get_root().status_code == status  # no exception: the flaw
    with pytest.raises(error):
        gateway.root()


def test_a_reply_without_content_is_data(answers, gateway, sdk):
    answers.set(204, b"")
    assert not isinstance(sdk.lists.delete_list_member("l", "h"), dict)
    assert gateway.archive_member("l", "h") == ("archived", None)


@pytest.mark.parametrize("body", [b"", b" \n"])
def test_an_empty_reply_says_nothing_of_what_happened(answers, gateway, body):
    answers.set(200, body)
    for call, *arguments in (
        (gateway.archive_member, "l", "h"),
        (gateway.create_audience, {"name": "News"}),
        (gateway.patch_member, "l", "h", {"merge_fields": {"FNAME": "Ann"}}),
    ):
        with pytest.raises(errors.Protocol) as caught:
            call(*arguments)
        assert caught.value.outcome_unknown
    with pytest.raises(errors.Protocol) as caught:
        gateway.root()
    assert not caught.value.outcome_unknown


def test_problem_documents_are_read(answers, gateway, sdk):
    answers.set(
        400,
        {
            "title": "Invalid Resource",
            "status": 400,
            "detail": "Your merge fields were invalid.",
            "instance": "abc",
            "errors": [{"field": "MMERGE6", "message": "Bitte gib einen Wert ein."}],
        },
        **{"Content-Type": "application/problem+json"},
    )
    with pytest.raises(ApiClientError) as plain:
        sdk.lists.update_list_member("l", "h", {"merge_fields": {}})
    assert str(plain.value) == "" and isinstance(plain.value.text, str)
    with pytest.raises(errors.Rejected) as caught:
        gateway.patch_member("l", "h", {"merge_fields": {"A": "b"}})
    assert caught.value.code == "merge_fields"
    assert caught.value.field_errors[0]["field"] == "MMERGE6"
    assert "merge fields" in str(caught.value)


@pytest.mark.parametrize("body", [b"<html>Hello</html>", b'{"half": ', b'"text"'])
def test_rubbish_is_told_as_such(answers, gateway, body):
    answers.set(200, body, **{"Content-Type": "text/html"})
    with pytest.raises(errors.Protocol):
        gateway.root()


@pytest.mark.parametrize("status", [200, 400])
def test_no_reply_holds_a_text_that_cannot_be_stored(answers, gateway, status):
    """PostgreSQL takes neither half an emoji nor NUL."""
    raw = b'{"detail": "%s", "more": [{"%s": "\\ud83d\\ude00"}]}'
    for odd in (b"a\\ud83db", b"a\\u0000b", b"a\xed\xa0\xbdb", b"a\\uDE00b"):
        answers.set(status, raw % (odd, odd))
        try:
            data = gateway.root()
        except errors.Rejected as error:
            text = error.detail
        else:
            text = data["detail"]
            assert data["more"] == [{text: "\U0001f600"}], "a whole one stays"
        assert text[0] + text[-1] == "ab"
        assert "\x00" not in text
        text.encode()


@pytest.mark.parametrize("packed", [False, True])
def test_replies_have_a_bound(answers, packed):
    body = b'{"a": "' + b"x" * 5000 + b'"}'
    if packed:
        answers.set(200, gzip.compress(body), **{"Content-Encoding": "gzip"})
    else:
        answers.set(200, body)
    with (
        Gateway(KEY, answers.url, max_bytes=1000) as gateway,
        pytest.raises(errors.Protocol),
    ):
        gateway.root()


def test_a_reply_out_of_bounds_is_not_read_to_its_end(answers):
    answers.next.append("cut")  # whoever waits for the end finds none
    with (
        Gateway(KEY, answers.url, max_bytes=1000) as gateway,
        pytest.raises(errors.Protocol),
    ):
        gateway.root()
