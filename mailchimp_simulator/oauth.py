"""Logging in with OAuth 2: the login page, the token, and where its account is.

As in Mailchimp's guide "Access user data with OAuth 2". Errors in the address of the
login page are shown on that page; the browser is only ever sent back to the redirect
URI that the app registered.
"""

import json
import secrets
from dataclasses import dataclass
from urllib.parse import parse_qs, urlencode, urlsplit

from .problems import Problem
from .server import Reply
from .state import DATA_CENTER, ApiKey


@dataclass
class App:
    client_id: str
    client_secret: str
    redirect_uri: str
    name: str = "App"


@dataclass
class Code:
    client_id: str
    redirect_uri: str
    account_id: str
    role: str
    until: float


@dataclass
class Token(ApiKey):
    """The key of a login; ``revoked`` once the user has revoked the app's access."""

    client_id: str = ""


class Refusal(Exception):
    """A refusal by OAuth, answered with ``{"error": code}`` (RFC 6749)."""

    def __init__(self, status, code):
        super().__init__(code)
        self.status, self.code = status, code


def accounts(account):
    """Return the accounts somebody can log in to."""
    return [account, *account.others]


def authorize(simulator, received, render):
    """The login page, and what the person does there.

    :param render: called as ``(status, template, **values)``
    """
    query = _form(received.query)
    account = simulator.account
    app = account.apps.get(query.get("client_id"))
    if app is None:
        return render(400, "login.html", wrong="There is no app with this client_id.")
    uri = query.get("redirect_uri", app.redirect_uri)
    if uri != app.redirect_uri:
        wrong = "The redirect_uri is not the one that is registered."
        return render(400, "login.html", wrong=wrong)
    if query.get("response_type") != "code":
        return render(400, "login.html", wrong="The response_type has to be code.")
    if received.method != "POST":
        return render(200, "login.html", app=app, accounts=accounts(account))
    form = _form(received.body.decode())
    answer = {"state": query["state"]} if "state" in query else {}
    if form.get("do") == "allow":
        code = secrets.token_hex(16)
        chosen = {a.id: a for a in accounts(account)}.get(form.get("account"))
        if chosen is None:
            return render(400, "login.html", wrong="There is no such account.")
        until = account.clock.exact() + simulator.switches.code_seconds
        role = form.get("role", "owner")
        account.codes[code] = Code(app.client_id, uri, chosen.id, role, until)
        answer["code"] = code
    else:
        answer["error"] = "access_denied"
    mark = "&" if urlsplit(uri).query else "?"
    return Reply(302, {"Location": f"{uri}{mark}{urlencode(answer)}"})


def call(account, received, path):
    """Answer a request for a token, or for where a token's account is.

    :return: the data of the answer
    :raise Refusal: for a wrong app, code or token
    :raise Problem: 405
    """
    if (received.method, path) == ("POST", "/oauth2/token"):
        return _token(account, _form(received.body.decode()))
    if (received.method, path) == ("GET", "/oauth2/metadata"):
        return _metadata(account, received.headers.get("Authorization", ""))
    raise Problem(405, "Method Not Allowed", "")


def _token(account, form):
    app = account.apps.get(form.get("client_id"))
    if app is None or form.get("client_secret") != app.client_secret:
        raise Refusal(401, "invalid_client")
    if form.get("grant_type") != "authorization_code":
        raise Refusal(400, "unsupported_grant_type")
    # A code can be used once, whatever the outcome.
    code = account.codes.pop(form.get("code"), None)
    if (
        code is None
        or code.client_id != app.client_id
        or code.redirect_uri != form.get("redirect_uri")
        or code.until < account.clock.exact()
    ):
        raise Refusal(400, "invalid_grant")
    owner = next(a for a in accounts(account) if a.id == code.account_id)
    token = secrets.token_hex(16)
    owner.tokens[token] = Token(code.role, client_id=app.client_id)
    return {"access_token": token, "expires_in": 0, "scope": None}


def _metadata(account, header):
    kind, _blank, token = header.partition(" ")
    for owner in accounts(account):
        known = owner.tokens.get(token)
        if kind == "OAuth" and known:
            break
    else:
        raise Refusal(200, "invalid_token")
    if known.revoked and account.switches.dead_token_metadata == "error":
        raise Refusal(200, "invalid_token")
    return {
        "dc": DATA_CENTER,
        "role": known.role,
        "accountname": owner.name,
        "user_id": owner.login_id,
        "login": {
            "email": "owner@example.com",
            "avatar": None,
            "login_id": owner.login_id,
            "login_name": "owner",
            "login_email": "owner@example.com",
        },
        "login_url": "https://login.mailchimp.com",
        "api_endpoint": f"https://{DATA_CENTER}.api.mailchimp.com",
    }


def revoke(account, client_id=None):
    """The user revokes the access of an app, or of all apps."""
    for owner in accounts(account):
        for token in owner.tokens.values():
            if client_id in (None, token.client_id):
                token.revoked = True


def refusal_reply(refusal):
    body = json.dumps({"error": refusal.code}).encode()
    return Reply(refusal.status, {"Content-Type": "application/json"}, body)


def _form(text):
    form = parse_qs(text, keep_blank_values=True)
    return {name: values[-1] for name, values in form.items()}
