"""Logging in over real HTTP, and the account that a key or token has to open."""

import logging
from urllib.parse import parse_qs, parse_qsl, urlsplit

import pytest
from engine import errors
from engine.gateway import Gateway
from engine.login import Login, login_url
from keys import KEY

from mailchimp_simulator import Simulator

TOKEN = "fedcba9876543210fedcba9876543210"
URI = "https://odoo.example/crm_mailchimp/login"
METADATA = {"dc": "us21", "api_endpoint": "https://us21.api.mailchimp.com"}


@pytest.fixture
def login(answers):
    return Login("app", "hush hush", URI, answers.url, timeout=(2, 5))


# === Where === #


def test_people_log_in_at_mailchimp_or_on_this_machine():
    own = "https://login.mailchimp.com/oauth2", False
    assert login_url() == login_url("https://us21.api.mailchimp.com/3.0") == own
    here = login_url("http://127.0.0.1:8091/3.0/")
    assert here == ("http://127.0.0.1:8091/oauth2", True)


@pytest.mark.parametrize(
    "url",
    [
        "https://login.mailchimp.com.evil.example/3.0",
        "https://evil.example/3.0",
        "http://login.mailchimp.com/3.0",
        "https://login.mailchimp.com/3.0",
        "http://127.0.0.1@evil.example/3.0",
        "http://127.0.0.1:1/3.0#",
    ],
)
def test_and_nowhere_else(url):
    with pytest.raises(errors.InvalidUrl):
        Login("app", "hush", URI, url)


def test_the_address_of_the_page():
    url = urlsplit(Login("a&b", "hush", URI).authorize_url("s+/="))
    assert (url.scheme, url.netloc, url.path) == (
        *("https", "login.mailchimp.com", "/oauth2/authorize"),
    )
    assert dict(parse_qsl(url.query)) == {
        "response_type": "code",
        "client_id": "a&b",
        "redirect_uri": URI,
        "state": "s+/=",
    }


@pytest.mark.parametrize(
    "reply",
    [
        {"dc": "us21.evil.example"},
        {"dc": "us21/x"},
        {"dc": "us21@evil"},
        {"dc": "US21"},
        {"dc": ""},
        {"dc": None},
        {"dc": ["us21"]},
        {},
    ]
    + [
        {"dc": "us21", "api_endpoint": endpoint}
        for endpoint in (
            "https://evil.example",
            "http://us21.api.mailchimp.com",
            "https://us22.api.mailchimp.com",
            "https://us21.api.mailchimp.com.evil.example",
            "https://us21.api.mailchimp.com@evil.example",
            "https://us21.api.mailchimp.com:8443",
        )
    ],
)
def test_metadata_that_leads_elsewhere(answers, login, reply):
    answers.set(200, reply)
    with pytest.raises((errors.InvalidKey, errors.Protocol)):
        login.data_center(TOKEN)


@pytest.mark.parametrize(
    "token", ["", None, 5, "a b c d e f", "abcdefgh\r\nX-Evil: 1", "x" * 2000, "ü" * 20]
)
def test_a_token_that_cannot_be_one_is_sent_nowhere(answers, login, token):
    with pytest.raises(errors.InvalidKey):
        login.data_center(token)
    with pytest.raises(errors.InvalidKey):
        Gateway(token, answers.url, data_center="us21")
    assert not answers.requests


@pytest.mark.parametrize("data_center", ["", "us21.evil.example", "us21/", "US21"])
def test_a_token_is_for_a_data_centre_of_mailchimp(data_center):
    with pytest.raises(errors.InvalidKey):
        Gateway(TOKEN, data_center=data_center)


# === What is asked, and answered === #


def test_a_code_for_a_token(answers, login):
    answers.set(200, {"access_token": TOKEN, "expires_in": 0, "scope": None})
    assert login.token("c0de") == TOKEN
    ((method, path, body, headers),) = answers.requests
    assert (method, path) == ("POST", "/oauth2/token")
    assert headers["Content-Type"] == "application/x-www-form-urlencoded"
    assert parse_qs(body.decode()) == {
        "grant_type": ["authorization_code"],
        "client_id": ["app"],
        "client_secret": ["hush hush"],
        "redirect_uri": [URI],
        "code": ["c0de"],
    }


def test_where_the_account_is(answers, login):
    answers.set(200, METADATA)
    assert login.data_center(TOKEN) == "us21"
    ((method, path, _body, headers),) = answers.requests
    assert (method, path) == ("GET", "/oauth2/metadata")
    assert headers["Authorization"] == f"OAuth {TOKEN}"


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (400, {"error": "invalid_grant"}, errors.LoginRefused),
        (401, {"error": "invalid_client"}, errors.LoginRefused),
        # Seen of dead tokens.
        (200, {"error": "invalid_token"}, errors.LoginRefused),
        (403, {"title": "Forbidden"}, errors.LoginRefused),
        (200, b"<html>", errors.Protocol),
        (200, b"[]", errors.Protocol),
        (200, b"", errors.Protocol),
        (404, b"gone", errors.Protocol),
        (302, {"access_token": TOKEN}, errors.Protocol),
        (200, b" " * 100_000 + b"{}", errors.Protocol),
        (403, b"<html>", errors.Retryable),
        (429, {"error": "slow_down"}, errors.Retryable),
        (503, {"error": "server_error"}, errors.Retryable),
    ],
)
def test_what_mailchimp_may_answer(answers, login, status, body, error):
    answers.set(status, body)
    with pytest.raises(error) as caught:
        login.token("c0de")
    assert len(answers.requests) == 1, "a code is good once"
    if isinstance(body, dict) and error is errors.LoginRefused:
        assert caught.value.code == body.get("error", "")


@pytest.mark.parametrize("fault", ["drop", "stall", "cut"])
def test_no_answer(answers, login, fault):
    answers.next.append(fault)
    with pytest.raises(errors.PASSING):
        login.token("c0de")
    assert len(answers.requests) == 1, "a code is good once"


def test_nobody_is_there(answers, login):
    answers.close()
    with pytest.raises(errors.Retryable):
        login.token("c0de")


def test_a_redirect_is_not_followed(answers, login):
    answers.set(307, b"{}", Location=answers.url.replace("/3.0", "/elsewhere"))
    with pytest.raises(errors.Protocol):
        login.token("c0de")
    assert len(answers.requests) == 1


def test_no_secret_is_told(answers, login, caplog):
    caplog.set_level(logging.DEBUG)
    answers.set(400, {"error": "invalid_grant", "error_description": "hush hush c0de"})
    with pytest.raises(errors.LoginRefused) as caught:
        login.token("c0de")
    answers.next.append("drop")
    with pytest.raises(errors.Retryable) as dropped:
        login.token("c0de")
    answers.set(200, METADATA)
    login.data_center(TOKEN)
    told = f"{caught.value}{dropped.value}{login!r}{caplog.text}"
    for secret in ("hush", "c0de", TOKEN):
        assert secret not in told


def test_no_netrc_for_the_login(answers, login, tmp_path, monkeypatch):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password secret\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    answers.set(200, {"access_token": TOKEN})
    login.token("c0de")
    assert "Authorization" not in answers.requests[0][3]


# === The token as a key === #


def test_a_token_opens_the_api(answers):
    with Gateway(TOKEN, answers.url, data_center="us21") as gateway:
        gateway.root()
        assert gateway.data_center == "us21"
        assert gateway.uses(TOKEN)
    assert answers.requests[0][3]["Authorization"] == f"Bearer {TOKEN}"
    with Gateway(TOKEN, data_center="us7") as gateway:
        assert "https://us7.api.mailchimp.com/3.0" in repr(gateway)


# === Which account it opens === #


def test_the_account_is_looked_at_before_anything_else():
    with Simulator() as sim:
        audience = sim.add_audience()
        with Gateway(sim.api_key, sim.url, account=sim.account.id) as gateway:
            gateway.audience(audience.id)
            gateway.audience(audience.id)
            assert gateway.account_ref == sim.account.id
        assert [call.path for call in sim.calls] == [
            "/",
            *[f"/lists/{audience.id}"] * 2,
        ]


def test_nothing_is_sent_to_another_account():
    with Simulator() as sim:
        audience = sim.add_audience()
        with Gateway(sim.api_key, sim.url, account="another") as gateway:
            calls = [
                (n, gateway.archive_member, audience.id, f"{n:032}") for n in range(9)
            ]
            for outcomes in gateway.map(calls):
                for _tag, outcome in outcomes:
                    assert isinstance(outcome, errors.OtherAccount)
                    assert outcome.name == sim.account.name
            with pytest.raises(errors.OtherAccount):
                gateway.root()
            assert gateway.account_ref is None
        assert [call.path for call in sim.calls] == ["/"]


def test_any_account_is_found_out():
    with Simulator() as sim:
        with Gateway(sim.api_key, sim.url, account="") as gateway:
            gateway.audiences()
            assert gateway.account_ref == sim.account.id


@pytest.mark.parametrize("body", [{}, {"account_id": None}, {"account_id": 5}, b"[]"])
def test_an_account_that_does_not_tell_which_it_is(answers, body):
    answers.set(200, body)
    with Gateway(KEY, answers.url, account="") as gateway:
        with pytest.raises(errors.Protocol):
            gateway.audience("a")
    assert len(answers.requests) == 1
