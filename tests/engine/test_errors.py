"""Which error a refusal becomes: by status and title, by text only where it must."""

import pytest
from engine import errors

MEMBER = "/lists/l/members/0123"


def problem(title="Invalid Resource", detail="", field=None, message=""):
    found = {"title": title, "status": 400, "detail": detail, "instance": ""}
    if field is not None:
        found["errors"] = [{"field": field, "message": message}]
    return found


@pytest.mark.parametrize(
    ("status", "body", "error", "unknown"),
    [
        (401, problem("API Key Invalid"), errors.AuthLost, False),
        (401, None, errors.AuthLost, False),
        (403, problem("User Disabled"), errors.AuthLost, False),
        (403, problem("Wrong Datacenter"), errors.AuthLost, False),
        (403, problem("Forbidden"), errors.MemberForbidden, False),
        (403, problem("User action not permitted"), errors.MemberForbidden, False),
        (403, None, errors.Retryable, False),
        (404, problem("Resource Not Found"), errors.NotFound, False),
        (404, None, errors.Protocol, False),
        (400, None, errors.Protocol, False),
        (408, None, errors.Retryable, True),
        (414, problem("Resource Nesting Too Deep"), errors.Retryable, False),
        (429, problem("Too Many Requests"), errors.Retryable, False),
        (429, None, errors.Retryable, False),
        (500, problem("Internal Server Error"), errors.Retryable, True),
        (503, problem("Compliance Related"), errors.Forbidden, False),
        (504, None, errors.Retryable, True),
        (422, problem("Requested Fields Invalid"), errors.Rejected, False),
    ],
)
def test_what_to_do_follows_from_status_and_title(status, body, error, unknown):
    found = errors.classify(status, body, method="PATCH", path=MEMBER)
    assert type(found) is error
    assert found.outcome_unknown is unknown


def test_a_failed_read_leaves_nothing_unknown():
    assert not errors.classify(504, None, method="GET").outcome_unknown


@pytest.mark.parametrize(
    ("status", "body", "code"),
    [
        (400, problem("Member Exists", "Egal was."), "member_exists"),
        (400, problem("Member In Compliance State", "Egal was."), "compliance"),
        (400, problem("Forgotten Email Not Subscribed", "Egal was."), "forgotten"),
        (400, problem("Merge Max Limit Exceeded"), "merge_field_limit"),
        (400, problem(detail="x looks fake or invalid, please enter a"), "fake"),
        (
            400,
            problem(detail="Please provide a valid email address."),
            "invalid_address",
        ),
        (
            400,
            problem(detail="The domain portion of the email address is invalid (x)"),
            "invalid_address",
        ),
        (
            400,
            problem(detail="x has signed up to a lot of lists very recently; we're"),
            "too_many_signups",
        ),
        (400, problem(detail="Invalid interest ID: 'ab12cd34'."), "interest_gone"),
        (
            400,
            problem(detail='Recipient "x" has too many recent signup requests'),
            "too_many_signups",
        ),
        (
            400,
            problem(detail="The username portion of the email address is invalid"),
            "invalid_address",
        ),
        (
            400,
            problem(detail="An email address must contain a single @"),
            "invalid_address",
        ),
        (400, problem(detail="Your merge fields were invalid."), "merge_fields"),
        (
            400,
            problem(detail="Anders.", field="MMERGE6", message="Gib etwas ein."),
            "merge_fields",
        ),
        (
            400,
            problem(detail="See the array.", field="merge_fields.FNAME", message="?"),
            "merge_fields",
        ),
        (
            400,
            problem(
                "Bad Request",
                "Cannot have more than 60 interests per list (Across all categories)",
            ),
            "interest_limit",
        ),
        (400, problem("Bad Request", "Sorry, that tag already exists."), "tag_exists"),
        # Nothing is concluded from a text nobody knows.
        (400, problem(detail="Das sieht falsch aus."), "other"),
        (400, problem(detail="?", field="email address", message="Nein."), "other"),
        (400, problem(detail="?", field="email_address", message="Nein."), "other"),
    ],
)
def test_codes_of_refusals(status, body, code):
    found = errors.classify(status, body, method="POST", path="/lists/l")
    assert isinstance(found, errors.Rejected)
    assert found.code == code
    assert code in errors.REJECTED_CODES


@pytest.mark.parametrize(
    ("message", "code", "status"),
    [
        (
            'This member\'s status is "cleaned." You can only update email addresses'
            ' for members with a status of "subscribed."',
            "address_change_status",
            "cleaned",
        ),
        (
            'This member\'s status is "unsubscribed." You can only update email'
            ' addresses for members with a status of "subscribed."',
            "address_change_status",
            "unsubscribed",
        ),
        (
            '"x@y.be" is already in this list with a status of "Deleted".',
            "address_taken",
            "archived",
        ),
        (
            '"x@y.be" is already in this list with a status of "Subscribed".',
            "address_taken",
            "subscribed",
        ),
    ],
)
def test_who_is_in_the_way_of_a_new_address(message, code, status):
    body = problem(detail="See the array.", field="email address", message=message)
    found = errors.classify(400, body, method="PATCH", path=MEMBER)
    assert (found.code, found.member_status) == (code, status)


def test_archiving_twice_is_told_from_other_wrong_methods():
    text = "This list member cannot be removed.  Please contact support."
    refusal = problem("Method Not Allowed", text)

    def code(body, **request):
        return errors.classify(405, body, **request).code

    assert code(refusal, method="DELETE", path=MEMBER) == "not_archivable"
    german = problem("Method Not Allowed", "Das geht nicht.")
    assert code(german, method="DELETE", path=MEMBER) == "not_archivable"
    assert code(refusal) == "not_archivable"  # in the results of a batch
    assert code(german, method="PATCH", path=MEMBER) == "other"
    assert code(german, method="DELETE", path="/lists/l") == "other"


def test_the_line_for_the_log_has_no_address_and_an_end():
    body = problem(
        detail='"ann@example.com" is wrong. ' + "x" * 5000,
        field="email address",
        message="bob@example.com\nis taken",
    )
    found = errors.classify(400, body, method="PATCH", path=MEMBER)
    line = str(found)
    assert line.startswith(f"PATCH {MEMBER}: 400 Invalid Resource: ")
    assert "example.com" not in line + repr(found)
    assert "\n" not in line and len(line) <= 400
    # The administrator sees what Mailchimp said, but not all of a book.
    assert "ann@example.com" in found.detail
    assert len(found.detail) <= errors.DETAIL_LENGTH


@pytest.mark.parametrize(
    "body", [[], "text", 7, {}, {"errors": 1}, {"title": 5, "errors": [1, {}]}]
)
def test_a_strange_problem_document_is_still_an_error(body):
    assert isinstance(errors.classify(400, body), errors.Protocol | errors.Rejected)
    assert isinstance(errors.classify(500, body), errors.Retryable)


@pytest.mark.parametrize(
    ("entry", "code"),
    [
        (
            {
                "error": "x is already a list member",
                "error_code": "ERROR_CONTACT_EXISTS",
            },
            "member_exists",
        ),
        (
            {
                "error": "x looks fake or invalid, please enter a real email address.",
                "error_code": "ERROR_GENERIC",
            },
            "fake",
        ),
        (
            {
                "error": "x was permanently deleted and cannot be re-imported. The"
                " contact must re-subscribe to get back on the list.",
                "error_code": "ERROR_GENERIC",
            },
            "forgotten",
        ),
        (
            {
                "error": "x has signed up to a lot of lists very recently; we're not"
                " allowing more signups for now",
                "error_code": "ERROR_GENERIC",
            },
            "too_many_signups",
        ),
        (
            {
                "error": "x is in a compliance state due to unsubscribe, bounce, or"
                " compliance review and cannot be subscribed.",
                "error_code": "ERROR_GENERIC",
            },
            "compliance",
        ),
        (
            {
                "error": "Ungültig.",
                "error_code": "ERROR_GENERIC",
                "field": "MMERGE6",
                "field_message": "Bitte gib einen Wert ein.",
            },
            "merge_fields",
        ),
        (
            {"error": "Noch nie gehört", "error_code": "ERROR_GENERIC"},
            "other",
        ),
    ],
)
def test_member_errors(entry, code):
    assert errors.classify_member(dict(entry, email_address="x@y.be")).code == code


@pytest.mark.parametrize(
    ("method", "path", "subject"),
    [
        ("GET", "/", "account"),
        ("GET", "/lists", "audience"),
        ("GET", "/lists/l", "audience"),
        ("GET", "/lists/l/", "audience"),
        ("GET", "/lists/l/webhooks", "audience"),
        ("POST", "/lists/l", "members"),
        ("GET", "/lists/l/members", "members"),
        ("PATCH", MEMBER, "members"),
        ("POST", "/lists/l/interest-categories/c/interests", "groups"),
        ("POST", "/lists/l/merge-fields", "fields"),
        ("POST", "/lists/l/segments/1", "tags"),
        ("POST", "/batches", "members"),
        ("GET", "/campaigns", "campaigns"),
        ("GET", "/reports/c/sent-to", "reports"),
        (None, None, "account"),
    ],
)
def test_what_an_error_is_about(method, path, subject):
    assert errors.subject(errors.Forbidden("no", method=method, path=path)) == subject


def test_words_for_people_say_which_field_and_why():
    schema = problem(
        detail="The resource submitted could not be validated. For field-specific"
        " details, see the 'errors' array.",
        field="contact.zip",
        message="Schema describes string, boolean found instead",
    )
    words = "contact.zip: Schema describes string, boolean found instead"
    assert errors.classify(400, schema).words == words
    values = problem(
        detail="Your merge fields were invalid.",
        field="MMERGE6",
        message="Please enter a value",
    )
    assert errors.classify(400, values).words == (
        "Your merge fields were invalid. MMERGE6: Please enter a value"
    )
    assert errors.classify(400, problem(detail="No.")).words == "No."
    assert errors.classify(400, problem("Bad Request")).words == "Bad Request"


ADD = "/lists/l"


@pytest.mark.parametrize(
    ("status", "title", "detail"),
    [
        (403, "User action not permitted", "User does not have access to it"),
        (400, "Bad Request", "You have reached the contact limit of your plan."),
        (400, "Invalid Resource", "Adding them would exceed the limit of your plan."),
        (403, "Forbidden", "Please upgrade your plan to add more subscribers."),
    ],
)
def test_the_plan_has_no_room(status, title, detail):
    refusal = problem(title, detail)
    found = errors.classify(status, refusal, method="POST", path=ADD)
    assert type(found) is errors.NoRoom
    # Of something else it says nothing about contacts.
    for method, path in (("POST", "/lists"), ("GET", ADD), ("POST", f"{ADD}/segments")):
        found = errors.classify(status, refusal, method=method, path=path)
        assert not isinstance(found, errors.NoRoom)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, problem(detail="x@y.be has signed up to a lot of lists very recently")),
        (400, problem("Member Exists", "x@y.be is already a list member.")),
        (403, problem("Forbidden", "You may not do this.")),
        (429, problem("Too Many Requests", "exceeded the limit of 10 connections")),
        (
            400,
            problem(detail="See the 'errors' array.", field="FNAME", message="limit"),
        ),
    ],
)
def test_other_refusals_are_not_the_plan(status, body):
    found = errors.classify(status, body, method="POST", path=ADD)
    assert not isinstance(found, errors.NoRoom)


def test_what_may_be_forbidden_for_one_member_only():
    refusal = problem("User action not permitted", "You may not do this.")
    one = "/lists/l/members/0123"
    for method, path, kind in (
        ("PATCH", one, errors.MemberForbidden),
        ("DELETE", one, errors.MemberForbidden),
        ("POST", f"{one}/tags", errors.Forbidden),
        ("GET", "/lists/l/members", errors.Forbidden),
    ):
        found = errors.classify(403, refusal, method=method, path=path)
        assert type(found) is kind
    # Of the account, whatever it was about.
    review = problem("Compliance Related", "The account is under review.")
    found = errors.classify(403, review, method="PATCH", path=one)
    assert type(found) is errors.Forbidden


@pytest.mark.parametrize(
    ("kind", "is_refused", "passes"),
    [
        (errors.Rejected, True, False),
        (errors.Forbidden, True, False),
        (errors.MemberForbidden, True, False),
        (errors.NoRoom, True, False),
        (errors.NotFound, True, False),
        (errors.Retryable, False, True),
        (errors.Protocol, False, True),
        # About the account, and not about what was asked for.
        (errors.AuthLost, False, False),
        (errors.OtherAccount, False, False),
        (errors.InvalidKey, False, False),
        (errors.InvalidUrl, False, False),
        (errors.LoginRefused, False, False),
    ],
)
def test_what_a_refusal_says_of_others_and_what_passes(kind, is_refused, passes):
    assert issubclass(kind, errors.REFUSED) is is_refused
    assert issubclass(kind, errors.PASSING) is passes


@pytest.mark.parametrize(
    "title",
    ["API Key Invalid", "api key missing ", "User Disabled", "Wrong Datacenter"],
)
def test_a_403_may_mean_that_the_key_is_lost(title):
    assert type(errors.classify(403, problem(title))) is errors.AuthLost


def test_every_code_is_explained():
    """What the members' reasons and sentences are made of."""
    assert set(errors.REJECTED_CODES) == {
        *("member_exists", "compliance", "forgotten", "fake", "invalid_address"),
        *("too_many_signups", "merge_fields", "not_archivable", "interest_gone"),
        *("interest_limit", "merge_field_limit", "tag_exists", "other"),
        *("address_change_status", "address_taken"),
    }


def test_what_support_finds_a_request_by():
    body = problem("Bad Request")
    assert errors.classify(400, body, request_id="header").request_id == "header"
    named = {**body, "instance": "document"}
    assert errors.classify(400, named, request_id="header").request_id == "document"
    assert errors.classify(400, body).request_id is None


def test_what_is_kept_of_a_book():
    entry = {"field": "F", "message": "m" * 5000}
    found = errors.classify(
        400, {"title": "t" * 5000, "detail": "d" * 5000, "errors": [entry] * 50}
    )
    assert len(found.detail) == len(found.title) == 1000
    assert found.detail.endswith("…")
    assert len(found.field_errors) == 20
    assert len(found.field_errors[0]["message"]) == 1000
    assert len(str(found)) == 400
    whole = "d" * 1000
    assert errors.classify(400, {"detail": whole}).detail == whole


def test_a_refused_member_says_so_in_the_log_with_field_or_message():
    found = errors.classify_member({"error": "Nein.", "field": "MMERGE6"})
    assert "Member not subscribed" in str(found)
    assert found.field_errors == [{"field": "MMERGE6", "message": ""}]
    found = errors.classify_member({"error": "Nein.", "field_message": "Leer."})
    assert found.field_errors == [{"field": "", "message": "Leer."}]
    assert errors.classify_member({"error": "Nein."}).field_errors == []


def test_an_error_of_our_own_needs_no_words():
    found = errors.Retryable()
    assert (found.detail, found.title, found.field_errors) == ("", "", [])
    assert (found.status, found.request_id, found.after) == (None, None, None)
    assert found.outcome_unknown is False
    assert str(found) == "Retryable"
    assert errors.Rejected().code == "other"
    assert errors.LoginRefused().code == errors.OtherAccount().name == ""


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("x@y.be is already a list member. Use PUT.", "member_exists"),
        ("x@y.be is in a compliance state due to bounce.", "compliance"),
        ("x@y.be was permanently deleted and cannot be reimported.", "forgotten"),
        ("x@y.be was permanently deleted and cannot be re-imported.", "forgotten"),
        ("x@y.be has too many recent signup requests", "too_many_signups"),
        ("Invalid interest ID: 'a' does not exist", "interest_gone"),
        ("The domain portion of the email address is invalid", "invalid_address"),
        ("The username portion of the email address is invalid", "invalid_address"),
        ("An email address must contain a single @.", "invalid_address"),
        ("Your merge fields were invalid.", "merge_fields"),
    ],
)
def test_a_text_alone_is_enough(text, code):
    """Where title and code say nothing: in a batch, or of a field."""
    assert errors.classify(400, problem(detail=text)).code == code
    in_field = problem(detail="Nein.", field="email address", message=text)
    assert errors.classify(400, in_field).code == code


def test_the_line_for_the_log_names_the_field():
    body = problem(detail="Nein.", field="MMERGE6", message="Leer.")
    assert str(errors.classify(400, body)).endswith("Nein.: MMERGE6: Leer.")


def test_a_member_that_is_there_is_told_by_its_code_alone():
    entry = {"error": "Nein.", "error_code": "ERROR_CONTACT_EXISTS"}
    assert errors.classify_member(entry).code == "member_exists"


def test_a_refusal_may_say_no_more_than_which_field():
    found = errors.classify(400, {"errors": [{"field": "F", "message": "m"}]})
    assert (type(found), found.words) == (errors.Rejected, "F: m")


def test_a_member_of_a_batch_may_find_no_room():
    entry = {"error": "You have reached the contact limit of your plan."}
    assert type(errors.classify_member(entry, path=ADD)) is errors.NoRoom


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
def test_any_write_of_a_member_may_find_no_room(method):
    body = problem(detail="You have reached the contact limit of your plan.")
    found = errors.classify(400, body, method=method, path=MEMBER)
    assert type(found) is errors.NoRoom
    found = errors.classify(400, body, method="DELETE", path=MEMBER)
    assert type(found) is errors.Rejected


def test_the_address_itself_is_no_merge_field():
    body = problem(detail="Nein.", field="EMAIL", message="Nein.")
    assert errors.classify(400, body).code == "other"


def test_an_overloaded_mailchimp_has_its_own_words_or_ours():
    assert errors.classify(429, problem(detail="Langsam.")).detail == "Langsam."
    assert errors.classify(500, problem(detail="Kaputt.")).detail == "Kaputt."
    assert errors.classify(429, None).detail and errors.classify(500, None).detail


def test_an_address_in_the_log_is_named_so():
    line = str(errors.Rejected('"ann@firma.be", no.'))
    assert line == '"<address>", no.'
