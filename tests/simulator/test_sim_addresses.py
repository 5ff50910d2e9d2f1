"""Which addresses a member can have, and who gets another one."""

import pytest
from sim_members import ANN, md5, new, path, problem

SINGLE = "An email address must contain a single @"
USERNAME = (
    "The username portion of the email address is invalid "
    "(the portion before the @: {})"
)
GENERIC = "Please provide a valid email address."


@pytest.mark.parametrize("precise", [True, False])
@pytest.mark.parametrize(
    ("email", "detail"),
    [
        ("ann", SINGLE),
        ("ann@@firma.be", SINGLE),
        ("@firma.be", USERNAME.format("")),
        ("a nn@firma.be", USERNAME.format("a nn")),
        (".ann@firma.be", USERNAME.format(".ann")),
        ("änn@x.de", GENERIC),
    ],
)
def test_addresses_without_syntax(world, precise, email, detail):
    audience, api = world(address_words_precise=precise)
    refused = api("POST", f"/lists/{audience.id}/members", new(email), status=400)
    expected = detail if precise else GENERIC
    assert problem(refused) == (400, "Invalid Resource", expected)


@pytest.mark.parametrize("email", ["ann@firma", "ann@", "ann@fir ma.be"])
def test_a_domain_without_syntax(api, members, email):
    refused = api("POST", members, new(email), status=400)
    assert "domain portion of the email address is invalid" in refused["detail"]


def test_non_ascii_addresses_by_switch(world):
    audience, api = world(accept_non_ascii=True)
    api("POST", f"/lists/{audience.id}/members", new("änn@x.de"))
    assert "änn@x.de" in audience.members


def test_throw_away_domains_and_fakes(world):
    audience, api = world(fake_addresses=["alex@gmail.com"])
    members = f"/lists/{audience.id}/members"
    for email in ("ann@yopmail.com", "alex@gmail.com"):
        refused = api("POST", members, new(email), status=400)
        assert problem(refused) == (
            400,
            "Invalid Resource",
            f"{email} looks fake or invalid, please enter a real email address.",
        )
    api("POST", members, new("ann@gmail.com"))


def test_throw_away_domains_are_a_switch(world):
    audience, api = world(throw_away_domains=["spam.example"])
    members = f"/lists/{audience.id}/members"
    api("POST", members, new("ann@yopmail.com"))
    api("POST", members, new("ann@spam.example"), status=400)


@pytest.mark.parametrize("refused", [False, True])
def test_example_domains_by_switch(world, refused):
    audience, api = world(refuse_example_domains=refused)
    status = 400 if refused else 200
    api("POST", f"/lists/{audience.id}/members", new("ann@example.com"), status=status)


@pytest.mark.parametrize("refused", [False, True])
def test_role_addresses_by_switch(world, refused):
    audience, api = world(refuse_role_addresses=refused)
    status = 400 if refused else 200
    api("POST", f"/lists/{audience.id}/members", new("info@firma.be"), status=status)


@pytest.mark.parametrize(
    ("words", "detail"),
    [
        ("requests", f'Recipient "{ANN}" has too many recent signup requests'),
        (
            "lists",
            f"{ANN} has signed up to a lot of lists very recently; we're not allowing "
            "more signups for now",
        ),
    ],
)
def test_too_many_signups(world, words, detail):
    audience, api = world(busy_addresses=[ANN], busy_words=words)
    refused = api("POST", f"/lists/{audience.id}/members", new(), status=400)
    assert problem(refused) == (400, "Invalid Resource", detail)


# --- a new address ---------------------------------------------------------------


def test_a_subscribed_member_changes_its_address(audience, api, members):
    audience.add_member(ANN, merge_fields={"FNAME": "Ann"})
    contact = api("GET", path(audience))["contact_id"]
    moved = api("PATCH", path(audience), {"email_address": "Ann@new.be"})
    assert (moved["id"], moved["email_address"]) == (md5("ann@new.be"), "Ann@new.be")
    assert moved["contact_id"] == contact
    assert moved["merge_fields"]["FNAME"] == "Ann"
    api("GET", path(audience), status=404)
    assert api("GET", f"{members}/{contact}")["id"] == moved["id"]
    assert api("GET", f"{members}/ann@new.be")["id"] == moved["id"]


@pytest.mark.parametrize("status", ["cleaned", "unsubscribed", "pending"])
def test_others_cannot_change_their_address(audience, api, status):
    audience.add_member(ANN, status)
    refused = api("PATCH", path(audience), {"email_address": "a@new.be"}, status=400)
    assert refused["errors"] == [
        {
            "field": "email address",
            "message": f'This member\'s status is "{status}." You can only update '
            'email addresses for members with a status of "subscribed."',
        }
    ]


def test_a_new_address_that_is_taken(audience, api):
    audience.add_member(ANN)
    audience.add_member("bob@firma.be", "archived")
    body = {"email_address": "bob@firma.be"}
    refused = api("PATCH", path(audience), body, status=400)
    assert refused["errors"] == [
        {
            "field": "email address",
            "message": '"bob@firma.be" is already in this list with a status of '
            '"Deleted".',
        }
    ]
