"""Entries of Mailchimp's reports as rows of tables."""

import math
from datetime import datetime, timedelta

import pytest
from engine import activity, stats, storable

HASH = "0123456789abcdef0123456789abcdef"
ANN = {"email_id": HASH, "email_address": "Ann@Firma.be"}
NOON = datetime(2026, 11, 21, 12)


def test_a_report_without_optional_fields():
    totals = stats.totals({"id": "c1", "emails_sent": 10})
    assert totals["sent"] == 10
    assert totals["opens_total"] == 0
    for flag in ("proxy_known", "industry_known", "list_known"):
        assert totals[flag] is False
    assert totals["timeseries"] is False
    assert totals["last_open"] is False


PARTS = "emails_sent opens clicks bounces industry_stats list_stats timeseries".split()
REPORT = {
    **{"id": "c1", "emails_sent": 200, "unsubscribed": 19, "abuse_reports": 2},
    "bounces": {"hard_bounces": 4, "soft_bounces": 5, "syntax_errors": 1},
    "opens": {
        **{"opens_total": 90, "unique_opens": 50, "open_rate": 0.25},
        **{"proxy_excluded_opens": 40, "proxy_excluded_unique_opens": 30},
        "last_open": "2026-11-21T12:00:00+00:00",
    },
    "clicks": {"clicks_total": 9, "unique_subscriber_clicks": 5, "click_rate": 0.02},
    "industry_stats": {"type": "Software", "open_rate": 0.21},
    "list_stats": {"open_rate": 25.0},
    "timeseries": [{"timestamp": "2026-11-21T12:00:00+00:00", "unique_opens": 3}],
}


def test_null_is_as_good_as_missing():
    assert stats.totals(dict.fromkeys(PARTS)) == stats.totals({})


def test_what_a_report_leaves_out_stays_as_it_is_known():
    known = stats.totals(REPORT)
    assert set(known) == set(stats.TOTALS)
    assert stats.totals({}, known) == known
    for part in PARTS:
        assert stats.totals({**REPORT, part: None}, known) == known, part
        assert stats.totals({**REPORT, part: "?"}, known) == known, part
    opens = {**REPORT["opens"], "opens_total": None, "unique_opens": 51}
    changed = stats.totals({**REPORT, "opens": opens}, known)
    assert (changed["opens_total"], changed["opens_unique"]) == (90, 51)


ODD = [None, -1, 1e300, float("nan"), float("inf"), 10**30, "x", [], {}, True, 5]


@pytest.mark.parametrize("odd", ODD)
def test_numbers_fit_into_their_columns(odd):
    def put(value):
        if isinstance(value, dict):
            return {key: put(inner) for key, inner in value.items()}
        return odd

    for value in stats.totals(put(REPORT)).values():
        if isinstance(value, float):
            assert math.isfinite(value)
        elif not isinstance(value, str | list):
            assert 0 <= value < 2**31
    [link] = stats.links([{"id": "l1", "total_clicks": odd, "click_percentage": odd}])
    assert link == "l1"


@pytest.mark.parametrize("odd", [*ODD, "x" * 5000, "9999-12-31T23:59:59-05:00"])
def test_an_odd_entry_does_not_keep_the_others(odd):
    """Whatever stands in one place of one entry, the other entries are rows."""
    good = {**ANN, "activity": [event("open"), odd]}
    columns = "email_id email_address activity status absplit_group timestamp reason"
    for entry in (odd, *({**ANN, name: odd} for name in columns.split())):
        found = activity.people("sent_to", [entry, good])
        assert (HASH, "ann@firma.be") in [person[:2] for person in found]
        assert all(len(value or "") <= 254 for one in found for value in one[:4])
        found = activity.people("activity", [entry, good])
        assert [event.kind for one in found for event in one.events] == ["open"]
        activity.people("unsubscribed", [entry])
    for name in ("type", "status", "settings", "tracking", "send_time", "recipients"):
        stats.listed({"id": "c1", name: odd})
        stats.reported({"id": "c1", name: odd})
        stats.variants({"ab_split": {"a": odd}}, [odd, {"id": odd}], {name: odd})


def test_a_number_as_a_link_is_a_text():
    [(_kind, _date, url, *_rest)] = rows_of(event("click", url=5))
    assert url == "5"


@pytest.mark.parametrize(
    "stamp", ["9999-12-31T23:59:59+00:00", "9999-12-31T23:59:59-05:00", "0001-01-01"]
)
def test_a_time_no_campaign_can_have(stamp):
    assert storable.moment(stamp) is None
    assert stats.totals({**REPORT, "timeseries": [{"timestamp": stamp}]})


def test_units_of_rates():
    totals = stats.totals(
        {
            "emails_sent": 200,
            "unsubscribed": 19,
            "bounces": {"hard_bounces": 4, "soft_bounces": 5, "syntax_errors": 1},
            "opens": {"open_rate": 0.25},
            "list_stats": {"open_rate": 25.0, "click_rate": 2.5},
            "industry_stats": {"open_rate": 0.21, "unsub_rate": 0.002},
        }
    )
    assert totals["open_rate"] == 0.25
    assert totals["list_open_rate"] == 0.25
    assert totals["list_click_rate"] == 0.025
    assert totals["industry_open_rate"] == 0.21
    assert totals["industry_unsubscribe_rate"] == 0.002
    assert totals["delivered"] == 190
    assert totals["bounce_rate"] == 0.05
    assert totals["unsubscribe_rate"] == 0.1


def test_zero_opens_without_proxy_are_known():
    opens = {"proxy_excluded_opens": 0, "proxy_excluded_unique_opens": 0}
    assert stats.totals({"opens": opens})["proxy_known"] is True


@pytest.mark.parametrize("stamp", ["", None, "soon", 5, "0000-00-00 00:00:00"])
def test_no_time(stamp):
    assert storable.moment(stamp) is None


def test_listed_campaign():
    listed = stats.listed(
        {
            "id": "c1",
            "type": "variate",
            "status": "sent",
            "settings": {"title": "", "subject_line": "News"},
            "tracking": {"google_analytics": " nov "},
            "send_time": "2026-11-21T14:00:00+02:00",
            "variate_settings": {"winning_campaign_id": "c2"},
        }
    )
    assert listed["name"] == "News"
    assert listed["send_time"] == NOON
    assert listed["google_analytics"] == "nov"
    assert listed["test_settings"] == {
        "variate_settings": {"winning_campaign_id": "c2"}
    }
    assert stats.listed({"id": "c1"})["name"] == "c1"


@pytest.mark.parametrize(
    "options, refs",
    [
        ({"saved_segment_id": 49377}, ["49377"]),
        (
            {
                "match": "any",
                "conditions": [
                    {
                        "condition_type": "Interests",
                        "op": "interestcontains",
                        "value": ["g1", "g2"],
                    },
                    {
                        "condition_type": "StaticSegment",
                        "op": "static_is",
                        "value": 7,
                    },
                ],
            },
            ["7", "g1", "g2"],
        ),
        (
            {
                "conditions": [
                    {"op": "interestnotcontains", "value": ["g1"]},
                    {"op": "static_not", "value": 7},
                    {"op": "interestcontains", "value": [{"odd": 1}, None]},
                ]
            },
            False,
        ),
        ({}, False),
        (None, False),
    ],
)
def test_the_groups_and_tags_a_campaign_was_addressed_to(options, refs):
    remote = {"id": "c1", "recipients": {"segment_opts": options}}
    assert stats.listed(remote)["segment_refs"] == refs


def test_types_and_statuses_of_tomorrow():
    listed = stats.listed({"id": "c1", "type": "hologram", "status": "dreaming"})
    assert (listed["campaign_type"], listed["status"]) == (False, False)
    report = stats.reported({"id": "c1", "type": "automation-email"})
    assert report["campaign_type"] == "automation"


def test_variants():
    variants = stats.variants(
        {},
        [{"id": "c2", "campaign_title": "A", "emails_sent": 5}, {"id": "c3"}],
        {"variate_settings": {"winning_campaign_id": "c3"}},
    )
    assert [v["is_winner"] for v in variants.values()] == [False, True]
    assert variants["c2"]["sent"] == 5
    old = stats.variants(
        {"ab_split": {"b": {"unique_opens": 2}, "a": {"unique_opens": 1}}},
        (),
        {"ab_split_opts": {"subject_a": "Hello"}},
    )
    assert [(k, v["opens_unique"]) for k, v in old.items()] == [("a", 1), ("b", 2)]
    assert old["a"]["subject"] == "Hello"


def test_recipients():
    found = activity.people(
        "sent_to",
        [
            {**ANN, "status": "soft", "absplit_group": "a"},
            {"email_id": "F" * 32, "email_address": "", "status": "odd"},
            {"email_id": "", "email_address": "bob@firma.be"},
            {"email_id": None, "email_address": None},
        ],
    )
    assert [person[:4] for person in found] == [
        (HASH, "ann@firma.be", "soft", "a"),
        ("f" * 32, None, None, None),
        (activity.member_hash("bob@firma.be"), "bob@firma.be", None, None),
    ]


def event(action, second=0, **more):
    return {
        "action": action,
        "timestamp": f"2026-11-21T12:00:{second:02}+00:00",
        **more,
    }


def rows_of(*events, since=None, **who):
    entry = {**ANN, **who, "activity": events}
    [person] = activity.people("activity", [entry], since)
    return person.events


def test_activity():
    assert rows_of(
        event("open", ip="1.2.3.4"),
        event("click", url="https://a.be"),
        event("bounce", type="hard"),
        event("sent"),
        {"action": "open", "timestamp": ""},
    ) == [
        ("open", NOON, "", 1, None),
        ("click", NOON, "https://a.be", 1, None),
        ("bounce", NOON, "", 1, "hard"),
    ]


def test_events_of_one_second_are_numbered():
    """A program that looks at mail clicks twice in a second; Mailchimp counts both."""
    click = event("click", url="https://a.be")
    rows = rows_of(click, click, event("click", url="https://b.be"), event("open"))
    assert [row[3] for row in rows] == [1, 2, 1, 1]
    entry = {**ANN, "activity": [click, click]}
    [ann] = activity.people("activity", [entry, entry])
    assert len(ann.events) == 2, "listed twice on a page"
    assert ann.sums["click_count"] == 2


def test_since_is_cut_again():
    """Mailchimp may send idle recipients, or events it was not asked for."""
    rows = rows_of(
        event("open", 1), event("open", 2), since=NOON + timedelta(seconds=1)
    )
    assert [row[1].second for row in rows] == [2]
    assert rows_of() == []
    [ann] = activity.people("activity", [ANN, {**ANN, "activity": None}])
    assert ann.events == []


def test_text_that_postgresql_does_not_take():
    [row] = rows_of(event("click", url="https://a.be/\x00"))
    assert row[2] == "https://a.be/"


def test_summary():
    later = NOON + timedelta(hours=1)
    events = [
        *(("open", later, None), ("open", NOON, None), ("click", later, None)),
        *(("bounce", NOON, "soft"), ("bounce", later, "hard")),
        ("unsubscribe", later, "NORMAL"),
        *(("complaint", later, None), ("complaint", NOON, None)),
    ]
    summary = activity.summary(
        activity.Event(kind, date, "", 1, detail) for kind, date, detail in events
    )
    assert summary == {
        **{"open_count": 2, "first_open": NOON, "last_open": later},
        **{"click_count": 1, "first_click": later, "last_click": later},
        **{"bounce_date": later, "bounced": "hard"},
        **{"unsubscribed_date": later, "unsubscribe_reason": "NORMAL"},
        "complaint_date": NOON,
    }
    assert not any(activity.summary([]).values())


def test_unsubscribes_and_complaints():
    stamp = "2026-11-21T12:00:00+00:00"
    [ann] = activity.people(
        "unsubscribed", [{**ANN, "timestamp": stamp, "reason": "NORMAL"}]
    )
    assert ann[:2] == (HASH, "ann@firma.be")
    assert ann.events == [("unsubscribe", NOON, "", 1, "NORMAL")]
    [ann] = activity.people(
        "complaints", [{**ANN, "date": stamp}, {**ANN, "date": None}]
    )
    assert ann[:2] == (HASH, "ann@firma.be")
    assert ann.events == [("complaint", NOON, "", 1, None)]


def test_links():
    links = stats.links([{"id": "l1", "url": "https://a.be", "total_clicks": 3}, {}])
    assert list(links) == ["l1"]
    assert links["l1"]["clicks_total"] == 3
    assert links["l1"]["last_click"] is False


HOURS = {
    # age in hours: hours until the next reading, at most
    **{0: 1, 23: 1, 25: 6, 71: 6, 73: 24, 24 * 13: 24, 24 * 15: 168},
}


@pytest.mark.parametrize(("age", "wait"), HOURS.items())
def test_read_ever_less_often(age, wait):
    now = NOON + timedelta(hours=age)
    waited = stats.next_poll(NOON, now) - now
    assert timedelta(hours=wait * 0.8) < waited <= timedelta(hours=wait)


def test_read_for_ninety_days():
    days = timedelta(days=1)
    assert stats.next_poll(NOON, NOON + 89 * days) == NOON + 90 * days
    assert stats.next_poll(NOON, NOON + 90 * days) is None


def test_readings_of_a_campaign():
    """From the first to the last: some 60, most of them in the first days."""
    now, count = NOON, 0
    while now:
        count, now = count + 1, stats.next_poll(NOON, now)
    assert 50 < count < 75


def test_automations_go_on_while_they_are_sent():
    year = NOON + timedelta(days=365)
    assert stats.next_poll(NOON, year) is None
    assert stats.next_poll(NOON, year, ongoing=True) <= year + timedelta(days=7)
    grown = year - timedelta(days=2)
    soon = stats.next_poll(NOON, year, grown, ongoing=True)
    assert soon <= year + timedelta(days=1)


def test_a_report_that_cannot_be_read_is_asked_for_ever_less_often():
    waits = [stats.next_try(NOON, n, True) - NOON for n in range(1, 40)]
    assert timedelta(minutes=30) < waits[0] <= timedelta(hours=1)
    assert waits == sorted(waits)
    assert waits[-1] <= timedelta(days=1)
    assert stats.next_try(NOON, 9, False)
    assert stats.next_try(NOON, 10, False) is None


def test_an_entry_without_an_id_does_not_keep_the_others():
    fine = {"id": "c1"}
    entries = [{"x": 1}, *({"id": odd} for odd in (*ODD, "")), fine, None, "c2"]
    assert stats.identified(entries) == [{"id": "x"}, fine]
