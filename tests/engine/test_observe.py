"""What a member as read from Mailchimp means, where Mailchimp says odd things."""

from datetime import datetime

import pytest
from engine.observe import link_id, observe, utc


@pytest.mark.parametrize(
    "stamp",
    ["", None, "soon", "0000-00-00T00:00:00+00:00", "9999-12-31T23:59:59-12:00"],
)
def test_an_odd_time_is_none(stamp):
    assert utc(stamp) is None


def test_a_time_with_any_offset():
    assert utc("2026-03-01T12:00:00+02:00") == datetime(2026, 3, 1, 10)
    assert utc("2026-03-01T12:00:00Z") == datetime(2026, 3, 1, 12)


@pytest.mark.parametrize(("web_id", "kept"), [(7, 7), (2**31, None), ("x", None)])
def test_an_id_no_column_can_hold(web_id, kept):
    member = {"status": "subscribed", "web_id": web_id}
    assert link_id(member) == kept
    assert observe(None, member, (), ()).get("web_id") == kept
