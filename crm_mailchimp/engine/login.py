"""Logging in to Mailchimp: OAuth 2, by authorization code.

The browser is sent to :meth:`Login.authorize_url` and comes back with a single-use
code. :meth:`Login.token` exchanges it for a token, which does not expire, and
:meth:`Login.data_center` asks where the account is (Mailchimp's guide "Access user
data with OAuth 2").

There is no PKCE: Mailchimp documents no ``code_challenge``, so it would protect
nothing, and a server may refuse a parameter that it does not know. Mailchimp's own
checks serve the same purpose: the code is bound to the client, whose secret never
leaves this server, and to the registered redirect URI.
"""

import json
import re
from urllib.parse import urlencode

import requests

from .credentials import Bearer, check_token, check_url
from .errors import LoginRefused, Protocol, Retryable
from .session import Auth, bounded, new_session
from .transport import network_error
from .vocabulary import Json

HOST = "https://login.mailchimp.com"
# Short, because a user is waiting.
TIMEOUT = 5, 10
MAX_BYTES = 64 * 1024
CHUNK_BYTES = 8 * 1024
_CODE = re.compile(r"[a-z_]{1,40}")


def login_url(api_url: str | None = None) -> tuple[str, bool]:
    """Return where people log in, and whether that is on this machine.

    The host cannot be chosen: it is Mailchimp's own, or that of the API if the API is
    on this machine.

    :param api_url: base URL that replaces Mailchimp's, see :func:`.check_url`
    :raise InvalidUrl: as :func:`.check_url` does
    """
    if api_url:
        api_url, loopback = check_url(api_url)
        if loopback:
            return f"{api_url.removesuffix('/3.0')}/oauth2", True
    return f"{HOST}/oauth2", False


class Login:
    """The OAuth calls of a registered app.

    :param client_id: the app's id, as Mailchimp shows it
    :param client_secret: the app's secret
    :param redirect_uri: exactly as registered
    :param api_url: base URL of the API that replaces Mailchimp's
    :param timeout: seconds for a connection, and for a reply
    :raise InvalidUrl: that ``api_url`` is unusable
    """

    def __init__(
        self,
        client_id: str,
        client_secret: str,
        redirect_uri: str,
        api_url: str | None = None,
        timeout: tuple[float, float] = TIMEOUT,
    ) -> None:
        self.url, self.loopback = login_url(api_url)
        self.timeout = timeout
        self._client_id, self._secret = client_id, client_secret
        self._redirect_uri = redirect_uri

    def __repr__(self) -> str:
        return f"<Login {self.url}>"

    def authorize_url(self, state: str) -> str:
        """Return where to send the browser; it comes back with ``state``."""
        query = {
            "response_type": "code",
            "client_id": self._client_id,
            "redirect_uri": self._redirect_uri,
            "state": state,
        }
        return f"{self.url}/authorize?{urlencode(query)}"

    def token(self, code: str) -> str | None:
        """Exchange a code for a token; never retried, because a code works only once.

        :return: the token as Mailchimp sent it, unchecked; ``None`` if there is none
        :raise LoginRefused: the code or the client is not accepted
        :raise Retryable, Protocol: there is no answer, or not a sensible one
        """
        reply = self._ask(
            "POST",
            "/token",
            data={
                "grant_type": "authorization_code",
                "client_id": self._client_id,
                "client_secret": self._secret,
                "redirect_uri": self._redirect_uri,
                "code": code,
            },
        )
        return reply.get("access_token")

    def data_center(self, token: str | None) -> str:
        """Return the data centre of a token's account.

        Mailchimp answers 200 even for a dead token, so success proves nothing: the API
        has to accept the token as well.

        :raise LoginRefused: the token is not accepted
        :raise InvalidKey: the token or the data centre is malformed
        :raise Retryable, Protocol: there is no answer, or not a sensible one
        """
        token, _center = check_token(token, "us1")
        reply = self._ask("GET", "/metadata", auth=Bearer(token, "OAuth"))
        token, data_center = check_token(token, reply.get("dc"))
        endpoint = reply.get("api_endpoint")
        if endpoint and endpoint != f"https://{data_center}.api.mailchimp.com":
            raise Protocol("Mailchimp named an API that is not its own.")
        return data_center

    def _ask(
        self,
        method: str,
        path: str,
        data: dict[str, str] | None = None,
        auth: Auth | None = None,
    ) -> Json:
        # Without one, requests would use credentials from the machine's .netrc.
        auth = auth or (lambda request: request)
        try:
            with (
                new_session(self.loopback, 1, auth) as session,
                session.request(
                    method,
                    self.url + path,
                    data=data,
                    timeout=self.timeout,
                    stream=True,
                    # A redirect would carry the secret elsewhere.
                    allow_redirects=False,
                ) as response,
            ):
                content = self._read(response)
        except requests.RequestException as error:
            # The cause holds the request with its secrets.
            raise network_error(error, method, path, self._scrub) from None
        return _result(response.status_code, content)

    def _read(self, response: requests.Response) -> bytes:
        content = bytearray()
        with bounded(response, self.timeout[1]):
            for chunk in response.iter_content(CHUNK_BYTES):
                content += chunk
                if len(content) > MAX_BYTES:
                    raise Protocol("The reply is too long.")
        return bytes(content)

    def _scrub(self, text: str) -> str:
        return text.replace(self._secret, "***")


def _result(status: int, content: bytes) -> Json:
    """Return a reply as a dict, or raise the error it amounts to."""
    try:
        reply = json.loads(content)
    except (ValueError, RecursionError):
        reply = None
    if status == 429 or status >= 500 or (status == 403 and reply is None):
        raise Retryable("Mailchimp is overloaded or down.", status=status)
    if not isinstance(reply, dict):
        raise Protocol("Mailchimp answered something other than JSON.", status=status)
    error = reply.get("error")
    if error or status >= 400:
        # Only the code: the description may repeat what was sent.
        code = error if isinstance(error, str) and _CODE.fullmatch(error) else ""
        raise LoginRefused("Mailchimp refused the login.", code=code, status=status)
    if status >= 300:
        raise Protocol("Mailchimp answered a redirect.", status=status)
    return reply
