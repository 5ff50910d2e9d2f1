"""Logging in by OAuth 2: who gets a code, what it is good for, and how it ends."""

from urllib.parse import parse_qs, urlsplit

import pytest
import requests

from mailchimp_simulator import Simulator

URI = "http://127.0.0.1:1/back"
APP = {"client_id": "app", "client_secret": "hush", "redirect_uri": URI}


class Person:
    """Somebody who logs in, and the app that is told of it."""

    def __init__(self, sim):
        self.sim = sim
        sim.add_app(**APP)

    def page(self, method="GET", form=None, **query):
        query = {
            "response_type": "code",
            "client_id": "app",
            "redirect_uri": URI,
            "state": "s",
            **query,
        }
        return requests.request(
            method,
            f"{self.sim.root}/oauth2/authorize",
            params={name: value for name, value in query.items() if value is not None},
            data=form,
            allow_redirects=False,
            timeout=30,
        )

    def answer(self, do="allow", **form):
        form = {"do": do, "account": self.sim.account.id, **form}
        reply = self.page("POST", form)
        assert reply.status_code == 302
        address, _mark, query = reply.headers["Location"].partition("?")
        assert address == URI
        return {name: value for name, (value,) in parse_qs(query).items()}

    def token(self, code, status=200, **form):
        form = {"grant_type": "authorization_code", "code": code, **APP, **form}
        reply = requests.post(f"{self.sim.root}/oauth2/token", form, timeout=30)
        assert reply.status_code == status
        return reply.json()

    def metadata(self, token, kind="OAuth"):
        reply = requests.get(
            f"{self.sim.root}/oauth2/metadata",
            headers={"Authorization": f"{kind} {token}"},
            timeout=30,
        )
        assert reply.status_code == 200
        return reply.json()

    def root(self, token, kind="Bearer"):
        return requests.get(
            f"{self.sim.url}/",
            headers={"Authorization": f"{kind} {token}"},
            timeout=30,
        )


@pytest.fixture
def person(sim):
    return Person(sim)


def test_from_the_page_to_a_token(person, sim):
    assert "Log in and allow" in person.page().text
    answer = person.answer()
    assert answer["state"] == "s"
    reply = person.token(answer["code"])
    assert reply["expires_in"] == 0
    token = reply["access_token"]
    told = person.metadata(token)
    assert (told["dc"], told["accountname"]) == ("us21", sim.account.name)
    assert told["api_endpoint"] == "https://us21.api.mailchimp.com"
    assert person.root(token).json()["account_id"] == sim.account.id
    assert sim.logins("app") == 1


def test_a_token_is_no_password(person):
    token = person.token(person.answer()["code"])["access_token"]
    reply = requests.get(f"{person.sim.url}/", auth=("any", token), timeout=30)
    assert reply.status_code == 401
    assert person.metadata(token, "Bearer") == {"error": "invalid_token"}


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ({"client_id": "other"}, "no app"),
        ({"redirect_uri": "https://evil.example"}, "redirect_uri"),
        ({"redirect_uri": URI + "/"}, "redirect_uri"),
        ({"response_type": "token"}, "response_type"),
        ({"response_type": None}, "response_type"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_an_address_that_is_wrong_leads_nowhere(person, query, words, method):
    reply = person.page(method, {"do": "allow"}, **query)
    assert reply.status_code == 400
    assert "Location" not in reply.headers
    assert words in reply.text


@pytest.mark.parametrize("form", [{}, {"account": "nobody's"}])
def test_an_account_that_is_not_there(person, form):
    reply = person.page("POST", {"do": "allow", **form})
    assert reply.status_code == 400
    assert "no such account" in reply.text


def test_cancelled(person):
    assert person.answer("cancel") == {"error": "access_denied", "state": "s"}


def test_a_code_is_good_once(person):
    code = person.answer()["code"]
    person.token(code)
    assert person.token(code, 400) == {"error": "invalid_grant"}


@pytest.mark.parametrize(
    ("form", "status", "error"),
    [
        ({"client_secret": "wrong"}, 401, "invalid_client"),
        ({"client_id": "other"}, 401, "invalid_client"),
        ({"redirect_uri": "https://evil.example"}, 400, "invalid_grant"),
        ({"grant_type": "password"}, 400, "unsupported_grant_type"),
    ],
)
def test_a_code_is_for_its_app(person, form, status, error):
    assert person.token(person.answer()["code"], status, **form) == {"error": error}


@pytest.mark.parametrize("seconds", [30, 600])
def test_a_code_expires(simulate, seconds):
    sim = simulate(code_seconds=seconds)
    person = Person(sim)
    code, late = person.answer()["code"], person.answer()["code"]
    sim.advance(seconds - 1)
    person.token(code)
    sim.advance(2)
    assert person.token(late, 400) == {"error": "invalid_grant"}


@pytest.mark.parametrize("told", ["whole", "error"])
def test_a_revoked_app(simulate, told):
    person = Person(simulate(dead_token_metadata=told))
    token = person.token(person.answer()["code"])["access_token"]
    page = requests.post(
        f"{person.sim.root}/", {"act": "revoke_app", "client_id": "app"}, timeout=30
    )
    assert "may not use the account any more" in page.text
    assert person.root(token).status_code == 401
    assert ("dc" in person.metadata(token)) == (told == "whole")
    assert person.sim.logins() == 0


def test_the_role_is_that_of_who_logged_in(person, sim):
    token = person.token(person.answer(role="viewer")["code"])["access_token"]
    assert person.root(token).json()["role"] == "viewer"
    reply = requests.get(
        f"{sim.url}/lists", headers={"Authorization": f"Bearer {token}"}, timeout=30
    )
    assert reply.status_code == 403


def test_another_account_behind_the_same_server(person, sim):
    other = sim.add_account("Other company")
    audience = other.add_audience("Theirs")
    token = person.token(person.answer(account=other.id)["code"])["access_token"]
    (key,) = other.keys
    for kind, secret in (("Bearer", token), ("Bearer", key)):
        assert person.root(secret, kind).json()["account_id"] == other.id
        headers = {"Authorization": f"{kind} {secret}"}
        lists = requests.get(f"{sim.url}/lists", headers=headers, timeout=30).json()
        assert [entry["id"] for entry in lists["lists"]] == [audience.id]
    path = f"{sim.url}/lists/{audience.id}"
    reply = requests.get(path, auth=("any", sim.api_key), timeout=30)
    assert reply.status_code == 404


def test_by_control_and_with_the_state(tmp_path):
    state = tmp_path / "state.pickle"
    with Simulator(state=state) as sim:
        reply = requests.post(f"{sim.root}/control/apps", json=APP, timeout=30)
        assert reply.status_code == 200
        person = Person(sim)
        token = person.token(person.answer()["code"])["access_token"]
    with Simulator(state=state) as sim:
        person.sim = sim
        assert person.root(token).status_code == 200
        requests.delete(f"{sim.root}/control/apps?client_id=app", timeout=30)
        assert person.root(token).status_code == 401
        assert urlsplit(sim.account.apps["app"].redirect_uri).path == "/back"
