"""The HTTP server: threads, keep-alive connections, and ways to misbehave.

Built on the standard library, because werkzeug's server closes each connection after
its answer, and because faults need the socket.
"""

import contextlib
import select
import socket
import sys
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Reply:
    """An answer to send.

    :param drop: close the connection without answering.
    :param truncate: promise the whole body, send half, close.
    :param hang: seconds to send nothing, after which the connection is closed.
    :param trickle: seconds between two bytes of the answer.
    :param ended: set to end hanging or trickling early.
    :param after: called once the answer has been sent (or dropped).
    """

    status: int = 200
    headers: dict = field(default_factory=dict)
    body: bytes = b""
    drop: bool = False
    truncate: bool = False
    hang: float = 0
    trickle: float = 0
    ended: threading.Event = field(default_factory=threading.Event)
    after: object = None


@dataclass
class Received:
    """A request as it came in; ``path`` is still percent-encoded."""

    method: str
    path: str
    query: str
    headers: object
    body: bytes
    ip: str


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "MailchimpSimulator"
    sys_version = ""
    # Answers go out in one piece; Nagle's algorithm could delay each by 40 ms.
    disable_nagle_algorithm = True
    timeout = 300

    def __getattr__(self, name):
        if name.startswith("do_"):
            return self._serve
        raise AttributeError(name)

    def _serve(self):
        path, _mark, query = self.path.partition("?")
        received = Received(
            self.command,
            path,
            query,
            self.headers,
            self._read_body(),
            self.client_address[0],
        )
        reply = self.server.answer(received)
        try:
            self._send(reply)
        finally:
            if reply.after:
                reply.after()

    def _read_body(self):
        if "chunked" in self.headers.get("Transfer-Encoding", "").lower():
            chunks = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                chunks.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(chunks)
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _send(self, reply):
        if reply.hang:
            self._hang(reply)
        if reply.drop or reply.hang:
            self.close_connection = True
            # The client may be gone already.
            with contextlib.suppress(OSError):
                self.connection.shutdown(socket.SHUT_RDWR)
            return
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        if reply.status != 204:
            self.send_header("Content-Length", str(len(reply.body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        body = b"" if self.command == "HEAD" else reply.body
        if reply.truncate:
            body = body[: len(body) // 2]
            self.close_connection = True
        if self.request_version != "HTTP/0.9":
            self._headers_buffer.append(b"\r\n")
        head = b"".join(self._headers_buffer)
        self._headers_buffer = []
        raw = head + body
        sent = 0
        while reply.trickle and sent < len(raw) and not reply.ended.wait(reply.trickle):
            self.wfile.write(raw[sent : sent + 1])
            sent += 1
        self.wfile.write(raw[sent:])

    def _hang(self, reply):
        """Wait until the time is up, somebody ends it, or the client goes away."""
        until = time.monotonic() + reply.hang
        while time.monotonic() < until and not reply.ended.wait(0.02):
            readable, _w, _x = select.select([self.connection], [], [], 0)
            if readable and not self._peek():
                return

    def _peek(self):
        try:
            return self.connection.recv(1, socket.MSG_PEEK)
        except OSError:
            return b""

    def send_response(self, code, message=None):
        """Send no ``Date`` of the real time: the simulator adds one from its clock."""
        self.send_response_only(code, message)
        self.send_header("Server", self.version_string())

    def log_message(self, *_args):
        """Print nothing: the simulator keeps its own log, with the outcomes."""


class Server(ThreadingHTTPServer):
    """:param answer: called with a ``Received``, returns a ``Reply``."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, host, port, answer):
        self.answer = answer
        self._open = set()
        self._open_lock = threading.Lock()
        super().__init__((host, port), _Handler)

    @property
    def port(self):
        return self.server_address[1]

    @property
    def connections(self):
        """The number of connections that are open now."""
        with self._open_lock:
            return len(self._open)

    def process_request(self, request, client_address):
        with self._open_lock:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request):
        with self._open_lock:
            self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request, client_address):
        """Ignore clients that go away: that is part of what is tested."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)

    def close(self):
        """Stop, and close the connections that clients keep open."""
        self.shutdown()
        self.server_close()
        with self._open_lock:
            for connection in self._open:
                try:
                    connection.shutdown(socket.SHUT_RDWR)
                except OSError:
                    continue
