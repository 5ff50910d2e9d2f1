"""A simulator per test, and a client that checks every answer it gets."""

import contextlib
import re

import pytest
import requests

from mailchimp_simulator import Simulator, spec

SPEC = spec.path()


class Api:
    """Plain HTTP calls; every JSON answer is held against the specification."""

    def __init__(self, simulator):
        self.simulator = simulator
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.auth = ("anybody", simulator.api_key)

    def __call__(self, method, path, json=None, status=None, **query):
        """:return: the data; a problem document when ``status`` says so."""
        reply = self.raw(method, path, json, **query)
        data = reply.json() if reply.content else None
        assert reply.status_code == (status or (204 if data is None else 200)), data
        if reply.status_code >= 400:
            assert reply.headers["Content-Type"].startswith("application/problem+json")
            assert data["status"] == reply.status_code
        check_answer(method, path, reply.status_code, data, query)
        return data

    def raw(self, method, path, json=None, **query):
        return self.session.request(
            method, self.simulator.url + path, json=json, params=query, timeout=30
        )


def check_answer(method, path, status, data, query):
    """Answers have the shape Mailchimp documents."""
    if SPEC is None or data is None or "fields" in query:
        return
    jsonschema = pytest.importorskip("jsonschema")
    known = spec.load(str(SPEC))
    template = template_of(known, path)
    if template is None or method.lower() not in known["paths"][template]:
        return
    code = "default" if status >= 400 else "200"
    schema = spec.response_schema(known, template, method.lower(), code)
    if schema is None:
        return
    if code == "default":
        # Real problem documents often lack "type".
        schema = {**schema, "required": ["title", "status", "detail", "instance"]}
    errors = list(jsonschema.Draft4Validator(schema).iter_errors(data))
    assert not errors, [f"{'/'.join(map(str, e.path))}: {e.message}" for e in errors]


def template_of(known, path):
    best = None
    for template in known["paths"]:
        pattern = re.sub(r"\{[^}]+\}", "[^/]+", template)
        if re.fullmatch(pattern, path):
            if best is None or template.count("{") < best.count("{"):
                best = template
    return best


@pytest.fixture
def simulate():
    """``simulate(**switches)`` starts a simulator that ends with the test."""
    with contextlib.ExitStack() as stack:

        def start(**switches):
            return stack.enter_context(Simulator(**switches))

        yield start


@pytest.fixture
def sim(simulate):
    return simulate()


@pytest.fixture
def audience(sim):
    return sim.add_audience("Customers")


@pytest.fixture
def api(sim):
    return Api(sim)


@pytest.fixture
def world(simulate):
    """``world(**switches)`` gives (audience, api) of a simulator with switches."""

    def make(**switches):
        simulator = simulate(**switches)
        return simulator.add_audience("Customers"), Api(simulator)

    return make


@pytest.fixture
def members(audience):
    """The path of the members of the audience."""
    return f"/lists/{audience.id}/members"
