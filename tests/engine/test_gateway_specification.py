"""What is sent fits Mailchimp's specification."""

import json
import re

import jsonschema
import pytest

CALLS = [
    (
        "post",
        "/lists/{list_id}",
        "subscribe_batch",
        [
            [
                {
                    "email_address": "a@b.be",
                    "status": "subscribed",
                    "merge_fields": {"FNAME": "A"},
                    "interests": {"i": True},
                    "language": "fr",
                    "timestamp_signup": "2026-03-01T15:41:36+00:00",
                }
            ]
        ],
    ),
    (
        "patch",
        "/lists/{list_id}/members/{subscriber_hash}",
        "patch_member",
        ["h", {"merge_fields": {"FNAME": ""}, "interests": {"i": False}}],
    ),
    (
        "patch",
        "/lists/{list_id}/members/{subscriber_hash}",
        "restore_member",
        ["h", "pending"],
    ),
    (
        "post",
        "/lists/{list_id}/merge-fields",
        "create_merge_field",
        [{"tag": "CITY", "name": "City", "type": "text"}],
    ),
    (
        "post",
        "/lists/{list_id}/interest-categories",
        "create_category",
        ["CRM contacts"],
    ),
    (
        "post",
        "/lists/{list_id}/interest-categories",
        "create_category",
        ["Odoo since 2026-10-03: do not delete (1 0a1b2c3d 4e5f6071)", "hidden"],
    ),
    (
        "patch",
        "/lists/{list_id}/interest-categories/{interest_category_id}",
        "rename_category",
        ["c", "Odoo since 2026-10-03: do not delete (2 1a1b2c3d 4e5f6071)", "hidden"],
    ),
    (
        "post",
        "/lists/{list_id}/interest-categories/{interest_category_id}/interests",
        "create_interest",
        ["c", "Customers"],
    ),
    (
        "patch",
        "/lists/{list_id}/interest-categories/{interest_category_id}"
        "/interests/{interest_id}",
        "update_interest",
        ["c", "i", "Clients"],
    ),
    ("post", "/lists/{list_id}/segments", "create_static_segment", ["VIP"]),
    (
        "patch",
        "/lists/{list_id}/segments/{segment_id}",
        "rename_static_segment",
        [7, "VIPs"],
    ),
    (
        "post",
        "/lists/{list_id}/segments/{segment_id}",
        "change_static_segment",
        [7, ["a@b.be"], ["c@d.be"]],
    ),
]


@pytest.mark.parametrize(
    ("method", "path", "name", "arguments"), CALLS, ids=[call[2] for call in CALLS]
)
def test_bodies_fit_the_specification(
    answers, gateway, spec, method, path, name, arguments
):
    answers.set(200, {"new_members": [], "errors": []})
    getattr(gateway, name)("l", *arguments)
    assert answers.requests[-1][0].lower() == method
    pattern = re.sub(r"{\w+}", "[^/]+", path)
    assert re.fullmatch(pattern, answers.paths[-1])
    check_body(spec, method, path, answers.body)


def test_a_batch_fits_the_specification(answers, gateway, spec):
    path = f"/lists/l/members/{'0' * 32}"
    values = {"merge_fields": {"FNAME": "A"}}
    gateway.create_batch(
        [
            {"method": "PATCH", "path": path, "operation_id": "1", "body": values},
            {"method": "DELETE", "path": path, "operation_id": "2"},
        ]
    )
    check_body(spec, "post", "/batches", answers.body)
    assert json.loads(answers.body["operations"][0]["body"]) == values


def check_body(spec, method, path, body):
    (schema,) = (
        parameter["schema"]
        for parameter in spec["paths"][path][method]["parameters"]
        if parameter["in"] == "body"
    )
    assert list(jsonschema.Draft4Validator(schema).iter_errors(body)) == []
    assert not body.keys() - schema["properties"].keys()
