"""The gateway's calls about campaigns and their reports."""

import re
from datetime import datetime

import pytest
from engine.report_calls import PARTS, RECIPIENT_PAGE


def entries(key, count, total=None):
    return (200, {key: [{}] * count, "total_items": total or count}, {})


def asked(path, name):
    found = re.search(rf"[?&]{name}=([^&]*)", path)
    return found and found[1]


def test_pages_of_recipients_go_on_where_they_stopped(answers, gateway):
    answers.next += [entries("emails", 500, 1800), entries("emails", 300, 1800)]
    pages = list(gateway.report_part("activity", "c1", offset=1000))
    assert [(len(items), more) for items, more in pages] == [(500, True), (300, False)]
    assert [asked(path, "offset") for path in answers.paths] == ["1000", "1500"]
    # Pages of 1000 run into Mailchimp's time limit.
    assert {asked(path, "count") for path in answers.paths} == {"500"}
    assert RECIPIENT_PAGE == 500


def test_nothing_is_asked_beyond_the_last_page(answers, gateway):
    answers.next.append(entries("sent_to", 500))
    pages = gateway.report_part("sent_to", "c1")
    assert next(pages)[1] is False
    assert list(pages) == []
    assert len(answers.paths) == 1


def test_only_what_is_needed_is_asked_for(answers, gateway):
    answers.set(200, {"emails": []})
    list(gateway.report_part("activity", "c1"))
    wanted = asked(answers.paths[0], "fields").replace("%2C", ",").split(",")
    assert "emails.activity" in wanted
    assert "total_items" in wanted
    assert "emails.merge_fields" not in wanted


@pytest.mark.parametrize("part", PARTS)
def test_every_part(part, answers, gateway):
    answers.set(200, {PARTS[part][1]: [{"id": 1}], "total_items": 1})
    assert list(gateway.report_part(part, "c1")) == [([{"id": 1}], False)]


@pytest.mark.parametrize("part", ["complaints", "variants"])
def test_what_has_no_pages_is_not_paged(part, answers, gateway):
    answers.set(200, {PARTS[part][1]: [{}] * 20, "total_items": 20})
    assert len(next(gateway.report_part(part, "c1", offset=5))[0]) == 20
    assert "count" not in answers.paths[0]
    assert "offset" not in answers.paths[0]


def test_since_is_utc(answers, gateway):
    answers.set(200, {"emails": [], "total_items": 0})
    list(gateway.report_part("activity", "c1", since=datetime(2026, 11, 21, 12)))
    assert asked(answers.paths[0], "since").startswith("2026-11-21T12%3A00%3A00%2B00")


def test_reports_go_on_where_they_stopped(answers, gateway):
    answers.next.append(entries("reports", 50, 250))
    [page] = gateway.reports(offset=200, fields="reports.id")
    assert len(page) == 50
    assert asked(answers.paths[0], "offset") == "200"
