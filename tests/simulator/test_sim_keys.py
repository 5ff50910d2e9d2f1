"""Which keys open the account, and what each role may do."""

import pytest
import requests
from sim_members import new

ANN = new()


def refusal(sim, **options):
    reply = requests.get(sim.url + "/lists", timeout=5, **options)
    data = reply.json()
    return reply.status_code, data["title"]


def test_keys(sim):
    assert refusal(sim) == (401, "API Key Missing")
    assert refusal(sim, auth=("x", "nonsense")) == (401, "API Key Invalid")
    assert requests.get(sim.url + "/ping", auth=("", sim.api_key), timeout=5).ok
    bearer = {"Authorization": f"Bearer {sim.api_key}"}
    assert requests.get(sim.url + "/ping", headers=bearer, timeout=5).ok


def test_the_words_of_a_wrong_key(sim):
    data = requests.get(sim.url + "/", auth=("x", "y"), timeout=5).json()
    assert data["detail"] == (
        "Your API key may be invalid, or you've attempted to access the wrong "
        "datacenter."
    )


def test_a_revoked_key_and_back(sim, api):
    sim.revoke_key()
    assert api("GET", "/", status=401)["title"] == "API Key Invalid"
    sim.restore_key()
    api("GET", "/")
    sim.disable_user()
    assert api("GET", "/", status=403)["title"] == "User Disabled"


def test_a_key_that_is_back_has_its_role(sim):
    sim.add_key("viewer-us21", "viewer")
    sim.revoke_key("viewer-us21")
    sim.restore_key("viewer-us21")
    assert sim.account.keys["viewer-us21"].role == "viewer"


@pytest.mark.parametrize(
    ("status", "title"), [(401, "API Key Invalid"), (403, "Wrong Datacenter")]
)
def test_another_data_center(simulate, status, title):
    sim = simulate(wrong_data_center_status=status)
    key = sim.api_key.replace("us21", "us9")
    assert refusal(sim, auth=("x", key)) == (status, title)


def test_roles(sim, audience, api):
    sim.add_key("viewer-us21", "viewer")
    api.session.auth = ("x", "viewer-us21")
    assert api("GET", "/")["role"] == "viewer"
    api("GET", "/reports")
    api("GET", f"/lists/{audience.id}/members", status=403)
    sim.add_key("author-us21", "author")
    api.session.auth = ("x", "author-us21")
    api("GET", f"/lists/{audience.id}/members")
    api("POST", f"/lists/{audience.id}/members", ANN, status=403)
