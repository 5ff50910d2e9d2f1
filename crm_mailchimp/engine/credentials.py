"""What opens an account, and where it may be sent: keys, tokens and base URLs."""

import ipaddress
import re
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.auth import AuthBase

from .errors import InvalidKey, InvalidUrl

# No other host ever sees the key.
_MAILCHIMP = re.compile(r"[a-z][a-z0-9]{1,9}\.api\.mailchimp\.com")
_DATA_CENTER = re.compile(r"[a-z][a-z0-9]{1,9}")
# The characters of a bearer token (RFC 6750); nothing that could end a header.
_TOKEN = re.compile(r"[A-Za-z0-9._~+/=-]{8,1024}")


def check_key(api_key: str | None) -> str:
    """Return the data centre of an API key.

    :raise InvalidKey: unless the key reads like ``0123...cdef-us21``
    """
    api_key = api_key or ""
    if not re.fullmatch(r"[0-9A-Za-z]+-[a-z][a-z0-9]{1,9}", api_key):
        if re.fullmatch(r"[0-9A-Za-z]+-?", api_key):
            raise InvalidKey(
                "This is a key without a data centre: a complete key ends with a dash"
                " and the data centre, such as -us21."
            )
        raise InvalidKey(
            "This is not a Mailchimp API key: a key is letters and digits, a dash and"
            " the data centre, such as -us21."
        )
    return api_key.rpartition("-")[2]


def check_token(token: Any, data_center: Any) -> tuple[str, str]:
    """Return the token of a login and the data centre that it is for.

    :raise InvalidKey: the token or the data centre cannot be one of Mailchimp's
    """
    if not isinstance(token, str) or not _TOKEN.fullmatch(token):
        raise InvalidKey("This is not a token of Mailchimp.")
    if not isinstance(data_center, str) or not _DATA_CENTER.fullmatch(data_center):
        raise InvalidKey("This is not a data centre of Mailchimp.")
    return token, data_center


class Bearer(AuthBase):
    """The token of a login in the ``Authorization`` header.

    :param scheme: Mailchimp's API takes ``Bearer``, its metadata endpoint ``OAuth``
    """

    def __init__(self, token: str, scheme: str = "Bearer") -> None:
        self.header = f"{scheme} {token}"

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = self.header
        return request


def check_url(api_url: str | None) -> tuple[str, bool]:
    """Return a base URL without a slash at its end, and whether it is this machine's.

    :param api_url: full URL ending in ``/3.0``; plain http for loopback hosts only
    :raise InvalidUrl: with a sentence that says what is wrong
    """
    api_url = (api_url or "").rstrip("/")
    try:
        parts = urlsplit(api_url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise InvalidUrl("The Mailchimp API URL is not a URL.") from None
    wrong, loopback = None, is_loopback(host)
    if parts.scheme not in ("https", "http") or not host:
        wrong = "must be a full URL, such as https://us21.api.mailchimp.com/3.0"
    elif "@" in parts.netloc or re.search(r"[\s\\]", api_url):
        wrong = "must not contain a user name, blanks or backslashes"
    # Even an empty query or fragment would swallow every path that follows.
    elif not parts.path.endswith("/3.0") or re.search("[?#]", api_url):
        wrong = "must end in /3.0"
    elif loopback:
        pass
    elif parts.scheme == "http":
        wrong = "must begin with https: plain http would show the key to others"
    elif port or parts.path != "/3.0" or not _MAILCHIMP.fullmatch(host):
        wrong = "must be Mailchimp's own, such as https://us21.api.mailchimp.com/3.0"
    if wrong:
        raise InvalidUrl(f"The Mailchimp API URL {wrong}.")
    return api_url, loopback


def is_loopback(host: str | None) -> bool:
    """Return whether a host name or address is this machine's; ``None`` is not."""
    try:
        return host == "localhost" or ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return False
