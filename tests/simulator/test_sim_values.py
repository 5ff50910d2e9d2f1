"""Merge field values, required fields, and the limits of fields and groups."""

import pytest

MERGE = "Your merge fields were invalid."
ADDRESS = {"addr1": "1 Main St", "city": "Gent", "state": "OV", "zip": "9000"}


@pytest.fixture
def write(audience, api):
    """Put one value into a field of a type; gives what reads back, or the problem."""
    audience.add_member("ann@firma.be")

    def call(kind, value, status=None, **options):
        field = audience.merge_field("X") or audience.add_merge_field(
            "X", "X", kind, options=options
        )
        assert field.type == kind
        path = f"/lists/{audience.id}/members/ann@firma.be"
        body = {"merge_fields": {"X": value}}
        done = api("PATCH", path, body, status=status)
        return done if status else done["merge_fields"]["X"]

    return call


@pytest.mark.parametrize(
    ("kind", "value", "kept"),
    [
        ("text", "x" * 255, "x" * 255),
        ("text", 7, "7"),
        ("number", 12, 12),
        ("number", "12.5", 12.5),
        ("date", "2024-02-29", "2024-02-29"),
        ("date", "2/29/2024", "2024-02-29"),
        ("birthday", "02/29", "02/29"),
        ("birthday", "2/9", "02/09"),
        ("zip", "30308", "30308"),
        ("url", "https://www.firma.be/x?y=1", "https://www.firma.be/x?y=1"),
        ("imageurl", "http://firma.be/a.png", "http://firma.be/a.png"),
        ("phone", "+32 9 123 45 67", "+32 9 123 45 67"),
        ("address", ADDRESS, {**ADDRESS, "addr2": "", "country": "US"}),
    ],
)
def test_values_that_are_taken(write, kind, value, kept):
    assert write(kind, value) == kept
    assert write(kind, "") == ""


@pytest.mark.parametrize(
    ("kind", "value", "message"),
    [
        ("number", "twelve", "Please enter a number"),
        ("date", "29.02.2024", None),
        ("date", "2023-02-29", None),
        ("date", "2024-02-29T00:00:00Z", None),
        ("birthday", "2001-02-03", None),
        ("birthday", "13/01", None),
        ("zip", "9000", None),
        ("url", "firma", None),
        ("text", "é" * 128, None),
        ("address", "1 Main St, Gent", "Please enter a complete address"),
        ("address", {**ADDRESS, "city": ""}, "Please enter a complete address"),
    ],
)
def test_values_that_are_refused(write, kind, value, message):
    refused = write(kind, value, status=400)
    assert (refused["title"], refused["detail"]) == ("Invalid Resource", MERGE)
    (error,) = refused["errors"]
    assert error["field"] == "X"
    assert message is None or error["message"] == message


def test_us_phones_have_ten_digits(write):
    assert write("phone", "(404) 555-1212", phone_format="US") == "404-555-1212"
    write("phone", "+32 9 123 45 67", status=400, phone_format="US")


def test_choices_are_exact(write):
    assert write("dropdown", "Red", choices=["Red", "Blue"]) == "Red"
    write("dropdown", "red", status=400)


def test_birthdays_the_other_way_round(write):
    assert write("birthday", "29/02", date_format="DD/MM") == "02/29"


def test_an_address_without_its_parts_has_the_wrong_shape(write):
    refused = write("address", {"addr1": "1 Main St"}, status=400)
    assert refused["errors"][0]["message"] == (
        "Data did not match any of the schemas described in anyOf."
    )


@pytest.mark.parametrize("needed", [True, False])
def test_an_address_without_state(world, needed):
    audience, api = world(address_needs_state=needed)
    audience.add_member("ann@firma.be")
    body = {"merge_fields": {"ADDRESS": {**ADDRESS, "state": ""}}}
    path = f"/lists/{audience.id}/members/ann@firma.be"
    api("PATCH", path, body, status=400 if needed else 200)


@pytest.mark.parametrize("how", ["refuse", "truncate"])
def test_long_text(world, how):
    audience, api = world(long_text=how)
    audience.add_member("ann@firma.be")
    body = {"merge_fields": {"FNAME": "é" * 200}}
    path = f"/lists/{audience.id}/members/ann@firma.be"
    api("PATCH", path, body, status=400 if how == "refuse" else 200)
    kept = audience.members["ann@firma.be"].merge_fields["FNAME"]
    assert kept == ("" if how == "refuse" else "é" * 127)


@pytest.mark.parametrize(
    ("language", "message"),
    [("en", "Please enter a value"), ("de", "Bitte gib einen Wert ein.")],
)
def test_required_fields(world, language, message):
    audience, api = world(language=language)
    audience.add_merge_field("Customer number", "NUMBER", required=True)
    members = f"/lists/{audience.id}/members"
    body = {"email_address": "ann@firma.be", "status": "subscribed"}
    refused = api("POST", members, body, status=400)
    assert refused["detail"] == MERGE
    assert refused["errors"] == [{"field": "NUMBER", "message": message}]
    api("POST", members, body, skip_merge_validation="true")


def test_skipping_skips_no_types(audience, api, members):
    audience.add_merge_field("Birthday", "BIRTHDAY", "birthday")
    body = {
        "email_address": "ann@firma.be",
        "status": "subscribed",
        "merge_fields": {"BIRTHDAY": "nonsense"},
    }
    api("POST", members, body, status=400, skip_merge_validation="true")


@pytest.mark.parametrize("checked", [True, False])
def test_required_fields_on_updates(world, checked):
    audience, api = world(required_fields_on_update=checked)
    audience.add_member("ann@firma.be")
    audience.add_merge_field("Customer number", "NUMBER", required=True)
    path = f"/lists/{audience.id}/members/ann@firma.be"
    body = {"merge_fields": {"FNAME": "Ann"}}
    api("PATCH", path, body, status=400 if checked else 200)
    api("PATCH", path, {"merge_fields": {"NUMBER": ""}}, status=400)


# --- fields ----------------------------------------------------------------------


def test_merge_fields_of_a_new_audience(audience, api):
    found = api("GET", f"/lists/{audience.id}/merge-fields", count=100)
    assert [f["tag"] for f in found["merge_fields"]] == [
        "FNAME",
        "LNAME",
        "ADDRESS",
        "PHONE",
    ]
    stats = api("GET", f"/lists/{audience.id}")["stats"]
    assert stats["merge_field_count"] == 4


def test_merge_fields_come_and_go(audience, api):
    fields = f"/lists/{audience.id}/merge-fields"
    made = api("POST", fields, {"name": "Shoe size", "type": "number"})
    assert (made["tag"], made["options"]) == ("MMERGE5", {})
    audience.add_member("ann@firma.be", merge_fields={"MMERGE5": 42})
    one = f"{fields}/{made['merge_id']}"
    api("PATCH", one, {"name": "Shoes", "tag": "SHOE"})
    assert audience.members["ann@firma.be"].merge_fields["SHOE"] == 42
    assert api("DELETE", one) is None
    assert "SHOE" not in audience.members["ann@firma.be"].merge_fields
    api("GET", one, status=404)


@pytest.mark.parametrize("tag", ["ELEVENCHARS", "lower", "A-B", "EMAIL", "FNAME"])
def test_merge_tags_that_are_refused(audience, api, tag):
    body = {"name": "X", "type": "text", "tag": tag}
    api("POST", f"/lists/{audience.id}/merge-fields", body, status=400)


@pytest.mark.parametrize("limit", [30, 80])
def test_the_number_of_merge_fields(world, limit):
    audience, api = world(merge_field_limit=limit)
    fields = f"/lists/{audience.id}/merge-fields"
    body = {"name": "X", "type": "text"}
    # EMAIL and the four defaults count.
    for _number in range(limit - 5):
        api("POST", fields, body)
    refused = api("POST", fields, body, status=400)
    assert refused["title"] == "Merge Max Limit Exceeded"


# --- groups ----------------------------------------------------------------------


def test_groups_come_and_go(audience, api):
    base = f"/lists/{audience.id}/interest-categories"
    category = api("POST", base, {"title": "CRM", "type": "checkboxes"})
    interests = f"{base}/{category['id']}/interests"
    made = api("POST", interests, {"name": "Customers"})
    audience.add_member("ann@firma.be", interests=[made["id"]])
    assert api("GET", interests)["interests"][0]["subscriber_count"] == "1"
    one = f"{interests}/{made['id']}"
    assert api("PATCH", one, {"name": "Clients"})["name"] == "Clients"
    refused = api("POST", interests, {"name": "clients"}, status=400)
    assert "already exists" in refused["detail"]
    assert api("DELETE", one) is None
    assert audience.members["ann@firma.be"].interests == set()
    assert api("DELETE", f"{base}/{category['id']}") is None
    assert api("GET", base)["total_items"] == 0


@pytest.mark.parametrize("limit", [60, 3])
def test_the_number_of_interests(world, limit):
    audience, api = world(interest_limit=limit)
    first, second = audience.add_category("A"), audience.add_category("B")
    for number in range(limit):
        audience.add_interest((first, second)[number % 2], f"interest {number}")
    path = f"/lists/{audience.id}/interest-categories/{first.id}/interests"
    refused = api("POST", path, {"name": "one more"}, status=400)
    assert refused["detail"] == (
        f"Cannot have more than {limit} interests per list (Across all categories)"
    )
