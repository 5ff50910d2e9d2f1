"""By which hash a member is found."""

import hashlib

import pytest
from sim_members import (
    ANN,
    md5,
    new,
    path,
    put,
)


def test_the_hash_is_of_the_lowercased_address(api, members):
    assert api("POST", members, new("Ann@Firma.BE"))["id"] == md5("ann@firma.be")
    assert api("POST", members, new("ann+x@firma.be"))["id"] == md5("ann+x@firma.be")


def test_a_put_to_the_hash_of_another_spelling(audience, api, members):
    audience.add_member(ANN)
    mixed = hashlib.md5(b"Ann@firma.be", usedforsecurity=False).hexdigest()
    refused = api("PUT", f"{members}/{mixed}", put("Ann@firma.be"), status=400)
    assert refused["title"] == "Member Exists"


def test_a_put_to_the_hash_of_somebody_else(audience, api, members):
    # Unknown hash, unknown address: created under the address of the body.
    made = api("PUT", f"{members}/{md5('who@firma.be')}", put())
    assert (made["id"], list(audience.members)) == (md5(ANN), [ANN])
    # Unknown hash, known address.
    refused = api("PUT", f"{members}/{md5('who@firma.be')}", put(), status=400)
    assert refused["title"] == "Member Exists"
    # Known hash, unknown address: the member gets it.
    moved = api("PUT", path(audience), put("anna@firma.be"))
    assert (moved["id"], list(audience.members)) == (
        md5("anna@firma.be"),
        ["anna@firma.be"],
    )


@pytest.mark.parametrize(
    ("method", "rest", "body"),
    [
        ("POST", "/actions/delete-permanent", None),
        ("POST", "/tags", {"tags": []}),
    ],
)
def test_some_paths_take_the_hash_only(audience, api, members, method, rest, body):
    audience.add_member(ANN)
    api(method, f"{members}/{ANN}{rest}", body, status=404)
    api(method, f"{members}/{md5(ANN)}{rest}", body, status=204)


def test_an_encoded_slash_stays_in_its_segment(audience, api, members):
    audience.add_member("a/b@firma.be")
    found = api("GET", f"{members}/a%2Fb%40firma.be")
    assert found["email_address"] == "a/b@firma.be"
