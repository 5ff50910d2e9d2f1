"""Deliveries: who sent them, what they say, and what they are worth."""

import hashlib
import hmac
from datetime import datetime, timedelta
from urllib.parse import urlencode

import pytest
from engine.webhooks import (
    HOOKS,
    MAX_BODY,
    Malformed,
    bounds,
    is_reachable,
    is_signed,
    read,
    says_no,
    verdict,
)

SECRET = "a-secret"
NOW = 1_780_000_000
AT = datetime(2026, 6, 1, 12, 0, 0)
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)


def form(kind="unsubscribe", **data):
    data = {"email": "Ann@Firma.be", "list_id": "abc123", **data}
    pairs = {f"data[{key}]": value for key, value in data.items()}
    return urlencode(
        {"type": kind, "fired_at": "2026-06-01 12:00:00", **pairs}
    ).encode()


def sign(raw, when=NOW, secret=SECRET):
    text = f"{when}.".encode() + raw
    return f"t={when},v1={hmac.new(secret.encode(), text, hashlib.sha256).hexdigest()}"


# --- the signature ---------------------------------------------------------------


def test_what_mailchimp_signed():
    raw = form()
    assert is_signed(sign(raw), SECRET, raw, NOW)
    # Spaces, another order, two versions of a signature while a secret changes.
    stamp, digest = sign(raw).split(",")
    assert is_signed(f"{digest} , {stamp}", SECRET, raw, NOW)
    assert is_signed(f"{stamp},v1=00,{digest}", SECRET, raw, NOW)


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "nonsense",
        f"t={NOW}",
        f"t={NOW},v1=",
        f"v1={'0' * 64}",
        f"t=,v1={'0' * 64}",
        f"t=-1,v1={'0' * 64}",
        f"t={'9' * 500},v1={'0' * 64}",
        f"t=٣,v1={'0' * 64}",
        f"t={NOW},v1=é",
        sign(form(), secret="another"),
        sign(form(), secret=""),
        sign(form() + b"&x=1"),
    ],
)
def test_what_mailchimp_did_not_sign(header):
    assert not is_signed(header, SECRET, form(), NOW)


@pytest.mark.parametrize("field", [b"email", b"2026", b"unsub"])
def test_a_changed_body(field):
    raw = form()
    assert not is_signed(sign(raw), SECRET, raw.replace(field, field.upper()), NOW) or (
        raw.replace(field, field.upper()) == raw
    )


@pytest.mark.parametrize(
    ("seconds", "taken"),
    [(0, True), (300, True), (-300, True), (301, False), (-301, False)],
)
def test_five_minutes(seconds, taken):
    raw = form()
    assert is_signed(sign(raw), SECRET, raw, NOW + seconds) is taken


def test_the_time_of_a_signature_is_signed():
    raw, later = form(), NOW + 1000
    replayed = sign(raw).replace(str(NOW), str(later))
    assert not is_signed(replayed, SECRET, raw, later)


# --- the form --------------------------------------------------------------------


def test_an_unsubscribe():
    event = read(form(action="unsub", reason="manual", campaign_id="c1", id="8a25"))
    assert (event.kind, event.email, event.action) == (
        "unsubscribe",
        "ann@firma.be",
        "unsub",
    )
    assert (event.fired_at, event.audience, event.campaign) == (AT, "abc123", "c1")


def test_a_change_of_address_and_a_campaign():
    event = read(form("upemail", old_email="Old@x.be", new_email="New@x.be", email=""))
    assert (event.email, event.new_email) == ("old@x.be", "new@x.be")
    event = read(form("campaign", id="c1", email="", status="sent"))
    assert (event.campaign, event.email) == ("c1", None)


def test_what_is_not_known_is_kept():
    event = read(form("loyalty_points", email="", surprise="x" * 1000))
    assert (event.kind, event.email) == ("loyalty_points", None)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{}",
        b'{"type": "unsubscribe"}',
        b"type=",
        b"type=UNSUBSCRIBE&data[email]=a@b.be",
        b"type=un%00sub&data[email]=a@b.be",
        b"type=" + b"x" * 40,
        b"\xff\xfe",
        b"type=unsubscribe&data[email]=a@b.be&data[email]=c@d.be",
        b"type=unsubscribe&data[email]=a@b.be&" + b"&".join([b"x=1"] * 3000),
        b"type=unsubscribe&data[email]=a@b.be&x=" + b"y" * MAX_BODY,
    ],
)
def test_what_is_no_delivery(raw):
    with pytest.raises(Malformed):
        read(raw)


@pytest.mark.parametrize(
    "data",
    [b"", b"&data[email]=", b"&data[email]=nobody", b"&data[email]=a b@c.be"]
    + [b"&data[email]=" + b"a" * 300 + b"@b.be", b"&data[email]=a%00@b@c.be"],
)
def test_about_nobody(data):
    """Mailchimp has contacts without an address."""
    event = read(b"type=unsubscribe" + data)
    assert (event.kind, event.email) == ("unsubscribe", None)


def test_texts_are_bounded_and_can_be_stored():
    event = read(form(reason="r\x00" + "x" * 1000, list_id="l" * 100))
    assert len(event.reason) == 255 and "\x00" not in event.reason
    assert len(event.audience) == 32


@pytest.mark.parametrize("when", ["", "yesterday", "2026-06-01T12:00:00Z", "0"])
def test_a_time_that_is_none(when):
    raw = form().replace(b"2026-06-01+12%3A00%3A00", when.encode())
    assert read(raw).fired_at is None


# --- what it is worth ------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "action", "reason", "no"),
    [
        ("unsubscribe", "unsub", "manual", "unsubscribed"),
        ("unsubscribe", "unsub", "abuse", "complained"),
        ("unsubscribe", "", "abuse", "complained"),
        # Archived, by whomever: nobody said no. Nor does a missing action say so.
        ("unsubscribe", "delete", "manual", None),
        ("unsubscribe", "", "manual", None),
        ("cleaned", "", "hard", "cleaned"),
        ("cleaned", "", "abuse", "complained"),
        ("subscribe", "unsub", "abuse", None),
        ("profile", "", "", None),
        ("loyalty_points", "unsub", "manual", None),
    ],
)
def test_what_is_a_no(kind, action, reason, no):
    assert says_no(kind, action, reason) == no


def no(hook="people", action="unsub", fired_at=AT, received_at=AT, **values):
    return {
        "hook": hook,
        "kind": "unsubscribe",
        "action": action,
        "reason": "manual",
        "fired_at": fired_at,
        "received_at": received_at,
        **values,
    }


def seen(status, agreed_at=None):
    return {"status": status, "agreed_at": agreed_at}


@pytest.mark.parametrize("status", ["archived", None, "transactional", "pending"])
def test_a_no_that_no_member_shows(status):
    assert verdict(no(), seen(status, AT - HOUR), {}) == ("unsubscribed", AT)


@pytest.mark.parametrize("status", ["unsubscribed", "cleaned"])
def test_a_no_that_the_member_shows_was_noted_with_it(status):
    assert verdict(no(), seen(status), {}) is None
    # But a complaint is more than the member shows.
    found = verdict(no(reason="abuse"), seen(status), {})
    assert found == ("complained", AT)


def test_a_newer_yes_is_not_overruled():
    late = no(received_at=AT + HOUR)
    for status in ("subscribed", "archived"):
        assert verdict(late, seen(status, AT + MINUTE), {}) is None
    # One of the same second is not newer, nor is one of before.
    for agreed_at in (AT, AT - HOUR, None):
        found = verdict(late, seen("subscribed", agreed_at), {})
        assert found == ("unsubscribed", AT)


@pytest.mark.parametrize("hours", [-5, -2, 1, 2, 9, None])
def test_another_zone(hours):
    """Nothing but that it happened within Mailchimp's retries is known then."""
    fired_at = None if hours is None else AT + timedelta(hours=hours)
    earliest, latest = bounds(fired_at, AT)
    assert earliest <= AT - 75 * MINUTE and latest == AT
    # Whoever came back within that time is not sent away.
    delivery = no(fired_at=fired_at)
    assert verdict(delivery, seen("subscribed", AT - MINUTE), {}) is None
    assert verdict(delivery, seen("subscribed", AT - 3 * HOUR), {}) == (
        "unsubscribed",
        AT,
    )


def test_a_retry_has_the_time_of_the_event():
    assert bounds(AT - 75 * MINUTE, AT) == (AT - 75 * MINUTE, AT - 75 * MINUTE)


def test_the_echo_of_our_own_writes():
    """Members that are pending leave by an unsubscribe of ours."""
    echo = no(hook="programs")
    for seconds in (-2, 0, 30):
        known = {"sent_at": AT - timedelta(seconds=seconds)}
        assert verdict(echo, seen("archived"), known) is None
    # Another application's.
    for known in ({}, {"sent_at": AT - HOUR}, {"sent_at": AT + HOUR}):
        assert verdict(echo, seen("archived"), known) == ("unsubscribed", AT)
    # ... that took it back.
    assert verdict(echo, seen("pending"), {}) is None
    assert verdict(no(hook="programs", action="delete"), seen("archived"), {}) is None


def test_a_push_does_not_come_back():
    """Subscribing and changing 100,000 members must not be 100,000 deliveries."""
    for events, sources in HOOKS.values():
        if "api" in sources:
            assert not {"subscribe", "profile"} & set(events)
            assert "unsubscribe" in events


@pytest.mark.parametrize(
    ("base", "api_url", "reachable"),
    [
        ("https://odoo.firma.be", None, True),
        ("https://odoo.firma.be/prefix", None, True),
        ("http://odoo.firma.be", None, False),
        ("http://127.0.0.1:8069", None, False),
        ("http://127.0.0.1:8069", "https://us21.api.mailchimp.com/3.0", False),
        ("http://127.0.0.1:8069", "http://127.0.0.1:8090/3.0", True),
        ("http://localhost:8069", "http://[::1]:8090/3.0", True),
        ("http://odoo.firma.be", "http://127.0.0.1:8090/3.0", False),
        ("https://me@odoo.firma.be", None, False),
        ("https://odoo.firma.be?x", None, False),
        ("ftp://odoo.firma.be", None, False),
        ("http://[::1", None, False),
        ("", None, False),
        (None, None, False),
    ],
)
def test_where_odoo_can_be_reached(base, api_url, reachable):
    assert is_reachable(base, api_url) is reachable
