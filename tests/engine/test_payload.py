from datetime import date, datetime

import pytest
from engine.payload import (
    MergeField,
    creation,
    difference,
    language,
    same_values,
    seen_values,
    split_name,
    values,
)


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        ("text", "  Ann \n Lee ", "Ann Lee"),
        ("text", "", None),
        ("text", False, None),
        ("text", "é" * 200, "é" * 127),
        ("number", "12.50", 12.5),
        ("number", 3.0, 3),
        ("number", 0, 0),
        ("number", "many", None),
        ("date", date(2026, 1, 31), "2026-01-31"),
        ("date", datetime(2026, 1, 31, 23, 59), "2026-01-31"),
        ("date", "soon", None),
        ("birthday", date(1980, 2, 9), "02/09"),
        ("zip", "90210", "90210"),
        ("zip", "B-1000", None),
    ],
)
def test_values_by_type(kind, value, expected):
    assert MergeField("X", kind).format(value) == expected


def test_choices_are_sent_to_the_letter_or_not_at_all():
    field = MergeField("GENDER", "dropdown", choices=("Male", "Female"))
    assert field.format("Male") == "Male"
    assert field.format("male") is None


def test_us_phone_fields_get_the_us_format():
    field = MergeField("PHONE", "phone", phone_format="US")
    assert field.format("+1 (404) 555-0123") == "404-555-0123"
    assert field.format("555-0123") is None
    assert MergeField("PHONE", "phone").format("+32 2 123 45 67") == "+32 2 123 45 67"


def test_an_incomplete_address_is_left_out():
    field = MergeField("ADDRESS", "address")
    whole = {"addr1": "Main 1", "city": "Ghent", "state": "VOV", "zip": "9000"}
    assert field.format(dict(whole, addr2="", country="BE")) == {
        **whole,
        "country": "BE",
    }
    assert field.format(dict(whole, zip=None)) is None


@pytest.mark.parametrize(
    ("name", "is_company", "expected"),
    [
        ("Ann van der Lee", False, ("Ann", "van der Lee")),
        ("Cher", False, ("Cher", "")),
        ("Big Corp Ltd", True, ("Big Corp Ltd", "")),
        (None, False, ("", "")),
    ],
)
def test_split_name(name, is_company, expected):
    assert split_name(name, is_company) == expected


@pytest.mark.parametrize(
    ("code", "expected"),
    [("nl_BE", "nl"), ("fr_CA", "fr_CA"), ("sr@latin", "sr"), (None, None)],
)
def test_language(code, expected):
    assert language(code) == expected


FIELDS = [MergeField("FNAME"), MergeField("CITY")]


def test_no_difference_sends_nothing():
    desired = values(FIELDS, ["Ann", "Ghent"], ["g2", "g1"], "nl_BE")
    assert difference(desired, desired, ["FNAME", "CITY"], ["g1", "g2"]) == {}


def test_only_differing_keys_are_sent():
    held = {"m": {"FNAME": "Ann", "CITY": "Ghent"}, "i": ["g1", "foreign"], "l": "nl"}
    desired = {"m": {"FNAME": "Ann"}, "i": ["g2"], "l": "nl"}
    assert difference(desired, held, ["FNAME", "CITY"], ["g1", "g2"]) == {
        "merge_fields": {"CITY": ""},
        "interests": {"g1": False, "g2": True},
    }


def test_what_is_not_mapped_or_not_ours_is_left_alone():
    held = {"m": {"OTHER": "x"}, "i": ["foreign"]}
    assert difference({"m": {}, "i": []}, held, ["FNAME"], ["g1"]) == {}


def test_an_address_is_not_cleared_and_extra_parts_are_no_difference():
    address = {"addr1": "Main 1", "city": "Ghent", "state": "VOV", "zip": "9000"}
    held = {"m": {"ADDRESS": dict(address, country="US", addr2="")}, "i": []}
    assert not difference({"m": {}, "i": []}, held, ["ADDRESS"], [])
    assert not difference({"m": {"ADDRESS": address}, "i": []}, held, ["ADDRESS"], [])


def test_a_language_mailchimp_chose_is_no_difference():
    assert same_values({"m": {}, "i": [], "l": "en"}, {"m": {}, "i": []}, [])
    assert not same_values(
        {"m": {}, "i": [], "l": "en"}, {"m": {}, "i": [], "l": "fr"}, []
    )


def test_seen_values_keep_to_what_is_ours():
    member = {
        "merge_fields": {"FNAME": "Ann", "CITY": "", "OTHER": "x"},
        "interests": {"g1": True, "g2": False, "foreign": True},
        "language": "nl",
    }
    assert seen_values(member, ["FNAME", "CITY"], ["g1", "g2"]) == {
        "m": {"FNAME": "Ann"},
        "i": ["g1"],
        "l": "nl",
    }


def test_creation_carries_the_proof_of_consent():
    desired = {"m": {"FNAME": "Ann"}, "i": ["g1"], "l": "nl"}
    moment = datetime(2026, 1, 2, 3, 4, 5)
    item = creation("ann@firma.be", desired, "subscribed", moment)
    assert item == {
        "email_address": "ann@firma.be",
        "status": "subscribed",
        "merge_fields": {"FNAME": "Ann"},
        "interests": {"g1": True},
        "language": "nl",
        "timestamp_signup": "2026-01-02T03:04:05+00:00",
        "timestamp_opt": "2026-01-02T03:04:05+00:00",
    }
    # Who still has to confirm has not opted in with Mailchimp yet.
    assert "timestamp_opt" not in creation("a@b.be", desired, "pending", moment)
