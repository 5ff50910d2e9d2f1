"""Whose key a request carries, and what its user may do."""

import base64

from . import problems


def owner(account, header):
    """Return the account a request is for: the one its key or token opens."""
    key = _key_of(header)
    for other in account.others:
        if key in other.keys or key in other.tokens:
            return other
    return account


def authenticate(account, request, header):
    """Return the key of a request.

    :param header: the value of ``Authorization``: Basic with any user name, or Bearer;
        the token of a login works as Bearer only.
    :raise Problem: 401 or 403.
    """
    key = _key_of(header)
    if key is None:
        raise problems.key_missing()
    known = account.keys.get(key)
    if known is None and header.lower().startswith("bearer "):
        known = account.tokens.get(key)
    if known is None:
        own = {k.rpartition("-")[0] for k in account.keys}
        elsewhere = key.rpartition("-")[0] in own
        if elsewhere and account.switches.wrong_data_center_status == 403:
            raise problems.wrong_data_center()
        raise problems.key_invalid()
    if known.revoked:
        raise problems.key_invalid()
    if known.disabled:
        raise problems.user_disabled()
    if not _allowed(known.role, request.method, request.path):
        raise problems.forbidden()
    return known


def _key_of(header):
    """Return the key in an Authorization header, or None."""
    kind, _blank, value = header.strip().partition(" ")
    if kind.lower() == "bearer":
        return value.strip()
    if kind.lower() == "basic":
        try:
            return base64.b64decode(value).decode().partition(":")[2]
        except ValueError:
            return None
    return None


def _allowed(role, method, path):
    """Return whether a user's role allows a call.

    Viewers read campaigns and reports; authors read everything and write campaigns.
    """
    if role in ("owner", "admin", "manager"):
        return True
    if path.rstrip("/") in ("", "/ping"):
        return True
    if role == "author":
        return method == "GET" or path.startswith("/campaigns")
    return method == "GET" and path.startswith(("/reports", "/campaigns"))
