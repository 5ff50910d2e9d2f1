"""Which keys and addresses are taken, and that a key goes nowhere else."""

import logging

import pytest
from engine import errors
from engine.gateway import Gateway
from keys import KEY


@pytest.mark.parametrize(
    "key",
    [
        "",
        "0123456789abcdef",
        "a-b-us21",
        "abc-",
        None,
        "abc-us21.evil.example",
        "a b-us1",
    ]
    + ["abc-us21/x", "abc-us21@evil", "abc-us21\n"],
)
def test_an_incomplete_key_is_told_before_any_call(key):
    with pytest.raises(errors.InvalidKey) as caught:
        Gateway(key)
    assert not key or key.strip() not in str(caught.value)


def test_a_key_without_data_centre_is_told_as_such():
    with pytest.raises(errors.InvalidKey, match="without a data centre"):
        Gateway("0123456789abcdef")


@pytest.mark.parametrize(
    "url",
    [
        "http://mailchimp.example/3.0",
        "http://10.0.0.1/3.0",
        "https://mailchimp.example",
        "ftp://127.0.0.1/3.0",
        "http://127.0.0.1@evil.example/3.0",
        "http://127.0.0.1.evil.example/3.0",
        "http://evil.example\\@127.0.0.1/3.0",
        "https://us21.api.mailchimp.com/3.0?x=",
        "http://[::1/3.0",
        "http://127.0.0.1:port/3.0",
        "us21.api.mailchimp.com/3.0",
        # What follows goes into the fragment or the query, and never to Mailchimp.
        "https://us21.api.mailchimp.com/3.0#",
        "https://us21.api.mailchimp.com/3.0#/3.0",
        "https://us21.api.mailchimp.com/3.0?",
        "http://127.0.0.1:1/3.0#",
        "http://127.0.0.1:1#/3.0",
        # Another's, whatever it looks like.
        "https://proxy.example/mailchimp/3.0",
        "https://@us21.api.mailchimp.com/3.0",
        "https://us21.api.mailchimp.com@evil.example/3.0",
        "https://us21.api.mailchimp.com.evil.example/3.0",
        "https://us21.api.mailchimp.com:8443/3.0",
        "https://us21.api.mailchimp.com./3.0",
        "https://us21-api.mailchimp.com/3.0",
        "https://us21.api.mai1chimp.com/3.0",
        "https://us21.api.m\u0430ilchimp.com/3.0",
        "https://evil.example/us21.api.mailchimp.com/3.0",
        "https://api.mailchimp.com/3.0",
        "https://us21.api.mailchimp.com/elsewhere/3.0",
        "https://us21.api.mailchimp.com/3.0/../3.0",
    ],
)
def test_the_key_goes_over_https_or_stays_on_this_machine(url):
    with pytest.raises(errors.InvalidUrl):
        Gateway(KEY, url)


@pytest.mark.parametrize(
    "url",
    ["http://localhost:1/3.0/", "http://[::1]:1/3.0", "http://127.1.2.3/3.0"]
    + ["https://us21.api.mailchimp.com/3.0", "https://US6.api.mailchimp.com/3.0/"],
)
def test_usable_urls(url):
    Gateway(KEY, url).close()


def test_the_host_is_that_of_the_key():
    with Gateway(KEY) as gateway:
        assert "https://us21.api.mailchimp.com/3.0" in repr(gateway)
        assert gateway.data_center == "us21"


def test_a_redirect_does_not_carry_the_key(answers, gateway):
    answers.set(302, b"", Location=f"{answers.url}/elsewhere")
    with pytest.raises(errors.MailchimpError):
        gateway.root()
    assert len(answers.requests) == 1


def test_the_key_is_nowhere(answers, caplog):
    caplog.set_level(logging.DEBUG)
    answers.set(401, {"title": "API Key Invalid", "status": 401, "detail": KEY})
    with Gateway(KEY, answers.url) as gateway:
        with pytest.raises(errors.AuthLost) as caught:
            gateway.root()
        text = f"{caught.value} {caught.value!r} {caught.value.detail} {gateway!r}"
    secret = KEY.split("-")[0]
    assert secret not in text + caplog.text
    assert caught.value.__cause__ is None
    assert "/3.0/" in caplog.text  # the log was there to look at


def test_a_lost_connection_tells_no_secret(answers, gateway, caplog):
    caplog.set_level(logging.DEBUG)
    answers.next.append("drop")
    with pytest.raises(errors.Retryable) as caught:
        gateway.patch_member("l", "h", {"language": "fr"})
    log = logging.getLogger("test")
    log.error("lost", exc_info=caught.value)
    assert "Authorization" not in caplog.text
    assert KEY.split("-")[0] not in caplog.text + repr(caught.value)


def test_the_machine_cannot_change_who_we_are(answers, gateway, tmp_path, monkeypatch):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password secret")
    monkeypatch.setenv("NETRC", str(netrc))
    # A proxy would carry the key off the machine, in plain text.
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    gateway.root()
    gateway._transport._session.trust_env = True  # as for Mailchimp's own hosts
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    gateway.root()
    first, second = (request[3]["Authorization"] for request in answers.requests)
    assert first == second and first.startswith("Basic ")


def test_cookies_are_not_kept(answers, gateway):
    answers.set(200, {}, **{"Set-Cookie": "a=b"})
    gateway.root()
    gateway.root()
    assert "Cookie" not in answers.requests[-1][3]
