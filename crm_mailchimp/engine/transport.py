"""The official SDK's transport, replaced: how one request becomes data or an error.

The generated classes of ``mailchimp-marketing`` call :meth:`Transport.call_api`. The
SDK's own returns a raw response for every reply without a body, errors included,
replaces each "server" in a URL by the data centre, leaves ``/`` in path values alone,
sends ``True`` instead of ``true``, opens a connection per call and waits up to 120
seconds, which is Mailchimp's own limit.
"""

import json
import math
import random
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta, timezone
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import quote

import requests
from mailchimp_marketing.api_client import ApiClient
from requests.auth import AuthBase, HTTPBasicAuth
from urllib3.exceptions import ConnectTimeoutError, NewConnectionError

from .credentials import Bearer, check_key, check_token, check_url
from .errors import OtherAccount, Protocol, Retryable, classify
from .pace import Slots
from .session import bounded, new_session
from .storable import is_suspect, storable
from .vocabulary import Json

CONNECT_SECONDS = 10
READ_SECONDS = 90  # Mailchimp itself gives up after 120
MAX_BYTES = 64 * 1024 * 1024
CHUNK_BYTES = 64 * 1024
TRIES = 3
PATIENCE_SECONDS = 30  # no retry starts later than this after the first try
MAX_IN_FLIGHT = 8  # of the 10 that all applications of a Mailchimp user share
_WHO = "account_id,account_name"

#: Names and values of a URL's query.
Query = Sequence[tuple[str, Any]]


def utc_text(moment: datetime) -> str:
    """Return a datetime as ISO 8601 in UTC, to the second.

    Mailchimp was seen (in 2021) to ignore the offset in its time filters, so only UTC
    is ever sent.

    :param moment: aware, or naive and in UTC, as every datetime in Odoo is
    """
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=timezone.utc)
    return moment.astimezone(timezone.utc).isoformat(timespec="seconds")


class Transport(ApiClient):
    """One account's connection to Mailchimp: pooled, bounded, typed.

    :param api_key: complete API key, or the token of a login
    :param api_url: base URL to use instead of the data centre's
    :param data_center: the token's, such as ``us21``; an API key names its own
    :param account: ``account_id`` that the key has to open. Before the first request,
        Mailchimp is asked which account it is; nothing is sent to another one. With an
        empty text any account is fine, and with ``None`` nothing is asked.
    :param max_in_flight: requests at once, at most :data:`MAX_IN_FLIGHT`
    :param timeout: seconds to wait for a connection, and for each part of a reply
    :param sleep: called with the seconds to wait before a retry
    :param max_bytes: the longest body of a reply that is accepted
    :raise InvalidKey, InvalidUrl: the key, the token or the URL is unusable
    """

    def __init__(
        self,
        api_key: str,
        api_url: str | None = None,
        *,
        data_center: str | None = None,
        account: str | None = None,
        max_in_flight: int = 4,
        timeout: tuple[float, float] = (CONNECT_SECONDS, READ_SECONDS),
        sleep: Callable[[float], Any] = time.sleep,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        super().__init__({})  # the SDK keeps no key; the session does
        auth: AuthBase
        if data_center is None:
            self.data_center = check_key(api_key)
            # Mailchimp accepts any user name.
            auth = HTTPBasicAuth("odoo", api_key)
        else:
            check_token(api_key, data_center)
            self.data_center, auth = data_center, Bearer(api_key)
        self.host, self.loopback = check_url(
            api_url or f"https://{self.data_center}.api.mailchimp.com/3.0"
        )
        self.slots = Slots(max(1, min(int(max_in_flight), MAX_IN_FLIGHT)))
        self.timeout = timeout
        self.max_bytes = max_bytes
        self.calls = 0
        self.last_request_id: str | None = None
        # Mailchimp's time in its last reply, and the monotonic time when it came.
        self._told: tuple[datetime, float] | None = None
        self._end = math.inf
        self._sleep = sleep
        self._lock = threading.Lock()
        self._secret = api_key
        self._session = new_session(self.loopback, self.slots.limit)
        # Also keeps requests from using the machine's .netrc instead.
        self._session.auth = auth
        self.account_ref: str | None = None
        self._account, self._account_lock = account, threading.Lock()
        self._other: str | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.host}>"

    def uses(self, key: str) -> bool:
        """Return whether requests are sent with this API key or token."""
        return key == self._secret

    def close(self) -> None:
        """Close the connections; the transport can still be used afterwards."""
        self._session.close()

    def clock(self) -> datetime:
        """Return Mailchimp's time now, by the ``Date`` header of its last reply.

        :return: naive UTC datetime; this machine's time until there was such a reply
        """
        if self._told is None:
            return datetime.now(timezone.utc).replace(tzinfo=None, microsecond=0)
        moment, then = self._told
        passed = timedelta(seconds=int(time.monotonic() - then))
        return moment + passed

    def until(self, end: float) -> None:
        """Set a deadline for all requests, retries and waiting included.

        :param end: monotonic time
        """
        self._end = end

    def patience(self) -> float:
        """Return how many seconds the reply to a request sent now may take."""
        return min(self.timeout[1], self._end - time.monotonic())

    def _limits(self, method: str, path: str) -> tuple[float, float]:
        """Return how long to wait for a connection, and for a reply, in seconds."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise Retryable("There is no time left to ask.", method=method, path=path)
        connect, read = self.timeout
        return min(connect, max(left, 1)), min(read, max(left, 1))

    def call_api(
        self,
        resource_path: str,
        method: str,
        path_params: Json | None = None,
        query_params: Query | Json | None = None,
        header_params: Json | None = None,
        body: Any = None,
        collection_formats: Any = None,
        **kwargs: Any,
    ) -> Any:
        """Carry out one call of the generated classes, or of our own.

        :param resource_path: path below ``/3.0`` with ``{names}`` for its values
        :param path_params: dict of those values
        :param query_params: dict or list of pairs; those with ``None`` are left out
        :param body: what to send as JSON
        :return: dict or list; ``{}`` for a 204. Any other reply without a body is an
            error, because it leaves open what happened.
        :raise MailchimpError: see :mod:`errors`
        """
        path = resource_path
        for name, value in (path_params or {}).items():
            path = path.replace(f"{{{name}}}", _path_value(name, value))
        if isinstance(query_params, dict):
            query_params = list(query_params.items())
        query = [
            (name, _query_value(value))
            for name, value in query_params or ()
            if value is not None
        ]
        return self.request(method, self.host + path, query, body=body)

    def request(
        self,
        method: str,
        url: str,
        query_params: Query | None = None,
        headers: Json | None = None,
        body: Any = None,
    ) -> Any:
        """Send one request, and retry it where that is safe.

        A GET changes nothing and a 429 was not carried out; before anything else is
        repeated, the caller has to find out what happened.

        :raise OtherAccount: before anything is sent, see the class
        """
        self._check_account()
        return self._send(method, url, query_params, body)

    def _check_account(self) -> None:
        """Make sure, once, that the key opens the expected account."""
        if self._account is None:
            return
        with self._account_lock:
            if self._account is None:
                return
            if self._other is None:
                root = self._send("GET", f"{self.host}/", [("fields", _WHO)])
                found = root.get("account_id") if isinstance(root, dict) else None
                if not found or not isinstance(found, str):
                    raise Protocol("Mailchimp did not tell which account it is.")
                if self._account in ("", found):
                    self.account_ref, self._account = found, None
                    return
                self._other = str(root.get("account_name") or "")
            raise OtherAccount(
                "The key or token opens another Mailchimp account.", name=self._other
            )

    def _send(
        self, method: str, url: str, query_params: Query | None, body: Any = None
    ) -> Any:
        data = None
        if body is not None:
            data = json.dumps(
                body, separators=(",", ":"), ensure_ascii=False, allow_nan=False
            ).encode("utf-8", "replace")
        started = time.monotonic()
        for attempt in range(1, TRIES + 1):
            try:
                return self._attempt(method, url, query_params, data)
            except Retryable as error:
                delay = 2 ** (attempt - 1) * random.uniform(0.5, 1.5)
                delay = max(delay, error.after or 0)
                waited = time.monotonic() - started
                if (
                    attempt == TRIES
                    or not (method == "GET" or error.status == 429)
                    or waited + delay > PATIENCE_SECONDS
                    or time.monotonic() + delay > self._end
                ):
                    raise
            self._sleep(delay)

    def _attempt(
        self, method: str, url: str, query: Query | None, data: bytes | None
    ) -> Any:
        path = url.removeprefix(self.host)
        headers = {"Content-Type": "application/json"} if data is not None else None
        with self.slots.one():
            limits = self._limits(method, path)
            started = time.monotonic()
            with self._lock:
                self.calls += 1
            try:
                with self._session.request(
                    method,
                    url,
                    params=query,
                    data=data,
                    headers=headers,
                    timeout=limits,
                    stream=True,
                    # A redirect would carry the key, or turn a POST into a GET.
                    allow_redirects=False,
                ) as response:
                    content = self._read(response, method, path, limits[1])
            except requests.RequestException as error:
                # The cause holds the request with its Authorization header.
                raise network_error(error, method, path, self._scrub) from None
            took = time.monotonic() - started
        try:
            result = self._result(response, content, method, path)
        except Retryable as error:
            if error.status in (403, 429):
                self.slots.refused(started)
            raise
        self.slots.answered(took, limits[1])
        return result

    def _read(
        self, response: requests.Response, method: str, path: str, seconds: float
    ) -> bytes:
        content = bytearray()
        with bounded(response, seconds):
            for chunk in response.iter_content(CHUNK_BYTES):
                content += chunk
                if len(content) > self.max_bytes:
                    raise Protocol(
                        f"The reply is longer than {self.max_bytes} bytes.",
                        status=response.status_code,
                        method=method,
                        path=path,
                        outcome_unknown=method != "GET",
                    )
        return bytes(content)

    def _result(
        self, response: requests.Response, content: bytes, method: str, path: str
    ) -> Any:
        status = response.status_code
        request_id = response.headers.get("X-Request-Id")
        self.last_request_id = request_id or self.last_request_id
        moment = _http_date(response.headers.get("Date"))
        if moment:
            self._told = moment.replace(tzinfo=None), time.monotonic()
        if status == 204:
            return {}
        suspect = is_suspect(content)
        text: str | bytes = content
        if status >= 300:
            text = self._scrub(content.decode("utf-8", "replace"))  # may echo the key
        try:
            # Whatever the content type says: problem documents have one of their own.
            data = json.loads(text)
            if suspect:
                data = storable(data)
        except (ValueError, RecursionError):
            data = None
        if 200 <= status < 300 and isinstance(data, dict | list):
            return data
        if status < 400:
            what = "a redirect" if status >= 300 else "something other than JSON"
            raise Protocol(
                f"Mailchimp answered {what}.",
                status=status,
                request_id=request_id,
                method=method,
                path=path,
                outcome_unknown=method != "GET",
            )
        raise classify(
            status,
            data,
            method=method,
            path=path,
            request_id=request_id,
            after=_retry_after(response.headers.get("Retry-After")),
        )

    def _scrub(self, text: str) -> str:
        return text.replace(self._secret, "***")


def network_error(
    error: BaseException, method: str, path: str, scrub: Callable[[str], str] = str
) -> Retryable:
    """Return a ``Retryable`` for an exception raised by requests.

    Its ``outcome_unknown`` says whether the request may have been carried out.

    :param error: the ``requests.RequestException``
    :param scrub: removes secrets from a text
    """
    # Not __context__: it may belong to another error that the caller is handling.
    causes, refused = [error], False
    for cause in causes:
        # An unknown host is a NewConnectionError, too.
        refused = refused or isinstance(
            cause,
            NewConnectionError | ConnectTimeoutError | ssl.SSLCertVerificationError,
        )
        inner = (*cause.args, getattr(cause, "reason", None))
        causes += [item for item in inner if isinstance(item, BaseException)]
    if refused:
        detail = "Mailchimp cannot be reached"
    elif isinstance(error, requests.Timeout):
        detail = "Mailchimp did not answer in time"
    else:
        detail = "The connection to Mailchimp was lost"
    return Retryable(
        f"{detail} ({type(causes[-1]).__name__}: {scrub(str(causes[-1]))})",
        method=method,
        path=path,
        outcome_unknown=not refused and method != "GET",
    )


def _path_value(name: str, value: Any) -> str:
    value = str(value)
    if value in ("", ".", "..") or "\x00" in value:
        # Would address the collection, or another audience.
        raise ValueError(f"{name} cannot be {value!r} in a path")
    return quote(value, safe="")


def _query_value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        return utc_text(value)
    if isinstance(value, list | tuple | set):
        return ",".join(str(item) for item in value)
    return str(value)


def _retry_after(value: str | None) -> int | None:
    if not value:
        return None
    if value.strip().isdecimal():
        return int(value)
    moment = _http_date(value)
    if not moment:
        return None
    return max(0, int((moment - datetime.now(timezone.utc)).total_seconds()))


def _http_date(value: str | None) -> datetime | None:
    """Return the date of a header as an aware datetime in UTC, or ``None``."""
    try:
        moment = parsedate_to_datetime(value or "")
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=timezone.utc)
        return moment.astimezone(timezone.utc)
    except (TypeError, ValueError, OverflowError):
        return None
