"""Connections to Mailchimp's hosts: https only, without cookies, bounded in time."""

import contextlib
import http.client
import socket
import threading
from collections.abc import Callable, Iterator
from http.cookiejar import DefaultCookiePolicy
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError
from urllib3.poolmanager import ProxyManager

USER_AGENT = "crm_mailchimp (Odoo add-on)"
#: Adds the authorization to a request.
Auth = Callable[[requests.PreparedRequest], requests.PreparedRequest]


def new_session(
    loopback: bool, pool_size: int, auth: Auth | None = None
) -> requests.Session:
    """Return a session for Mailchimp's hosts: https only, except on this machine."""
    session = requests.Session()
    adapter = _Adapter(pool_connections=2, pool_maxsize=pool_size)
    session.adapters.clear()
    session.mount("https://", adapter)
    if loopback:
        session.mount("http://", adapter)
        session.trust_env = False  # a proxy would carry the key off the machine
    session.auth = auth
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    session.hooks["response"].append(_enforce_length)
    session.headers["User-Agent"] = USER_AGENT
    session.headers["Accept"] = "application/json, application/problem+json"
    return session


def _enforce_length(response: requests.Response, **_kwargs: Any) -> None:
    # urllib3 1.26, which Odoo runs with on Python 3.10 and 3.11, takes a truncated
    # reply for a complete one unless told otherwise.
    response.raw.enforce_content_length = True


@contextlib.contextmanager
def bounded(response: requests.Response, seconds: float) -> Iterator[None]:
    """Stop reading the body of a reply after so many seconds.

    A read waits for as many bytes as it asked for, and each byte restarts the socket's
    timeout: a server that sends one now and then could hold it for hours.

    :param response: of a session of :func:`new_session`, with ``stream``
    :raise requests.ReadTimeout: when the time is up
    """
    # Where urllib3 has given the connection back, nothing is left to read.
    connection = getattr(response.raw, "connection", None)
    sock, over = getattr(connection, "reading", None), threading.Event()
    timer = _Alarm(sock, seconds, over)
    timer.start()
    try:
        yield
    except (OSError, http.client.HTTPException, HTTPError):
        if not over.is_set():
            raise
    finally:
        timer.cancel()
    if over.is_set():  # what was cut off may look complete
        raise requests.ReadTimeout("The reply took too long to arrive.")


class _Alarm(threading.Timer):
    """Ends, from another thread, whatever has waited for a socket for too long."""

    def __init__(
        self, sock: socket.socket | None, seconds: float, over: threading.Event
    ) -> None:
        super().__init__(seconds, self._ring, (sock, over))
        self.daemon = True

    @staticmethod
    def _ring(sock: socket.socket | None, over: threading.Event) -> None:
        over.set()
        if sock is not None:
            with contextlib.suppress(OSError):
                # Bypasses TLS, which another thread is reading from.
                socket.socket.shutdown(sock, socket.SHUT_RDWR)


class _Connection(HTTPConnection):
    """Bounds the time until the status and headers of a reply have arrived.

    A socket's own timeout restarts with each byte, so headers that trickle in would
    hold a worker until Odoo kills it.
    """

    def getresponse(self, *args: Any, **kwargs: Any) -> Any:
        over = threading.Event()
        # Kept, because a connection that closes after the reply forgets its socket.
        self.reading = sock = self.sock
        # Where the read timeout is kept depends on urllib3's version.
        limits = [self.timeout, sock.gettimeout()]
        seconds = max(limit for limit in limits if isinstance(limit, int | float))
        timer = _Alarm(sock, seconds, over)
        timer.start()
        try:
            response = super().getresponse(*args, **kwargs)
        except (OSError, http.client.HTTPException):
            if not over.is_set():
                raise
            response = None
        finally:
            timer.cancel()
        if over.is_set():  # headers that were cut off may look complete
            raise TimeoutError("The headers of the reply took too long to arrive.")
        return response


class _SecureConnection(_Connection, HTTPSConnection):
    pass


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = _SecureConnection


class _Adapter(HTTPAdapter):
    POOLS = {"http": _Pool, "https": _SecurePool}

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        result = super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = self.POOLS
        return result

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> ProxyManager:
        manager = super().proxy_manager_for(*args, **kwargs)
        manager.pool_classes_by_scheme = self.POOLS
        return manager
