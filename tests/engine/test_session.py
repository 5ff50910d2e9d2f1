"""Replies that come drop by drop, in the clear and over TLS."""

import datetime
import ipaddress
import socket
import ssl
import threading
import time

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from engine import batches, errors
from engine import session as session_module
from engine.gateway import Gateway
from keys import KEY

REPLY = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
    b'Content-Length: 18\r\n\r\n{"account_id":"a"}'
)
PAUSE = 0.02  # of each byte: 18 bytes take less than the time to read, the head more
SECONDS = 0.5


def certificate(folder):
    """Write a certificate of this machine, and return the files of it and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.timezone.utc)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    cert = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .sign(key, hashes.SHA256())
    )
    cert_file, key_file = folder / "cert.pem", folder / "key.pem"
    cert_file.write_bytes(cert.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return cert_file, key_file


@pytest.fixture(params=["http", "https"])
def dripping(request, tmp_path):
    """A gateway, and the list of ``(reply, bytes before, bytes that drip)``."""
    listener = socket.create_server(("127.0.0.1", 0))
    replies, verify = [], True
    if request.param == "https":
        verify, key_file = certificate(tmp_path)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(verify, key_file)
        listener = context.wrap_socket(listener, server_side=True)

    def serve():
        for _connection in range(3):
            try:
                client, _address = listener.accept()
            except OSError:
                return
            with client:
                client.recv(65536)
                try:
                    reply, before, drops = replies.pop(0)
                    client.sendall(reply[:before])
                    for number in range(before, before + drops):
                        client.sendall(reply[number : number + 1])
                        time.sleep(PAUSE)
                    client.sendall(reply[before + drops :])
                except OSError:
                    pass  # the client has enough

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    url = f"{request.param}://127.0.0.1:{listener.getsockname()[1]}/3.0"
    with Gateway(KEY, url, timeout=(SECONDS, SECONDS), sleep=lambda _s: None) as found:
        found._transport._session.verify = str(verify) if verify is not True else True
        yield found, replies
    listener.close()


def test_a_reply_at_once(dripping):
    gateway, replies = dripping
    replies.append((REPLY, 0, 0))
    assert gateway.root()["account_id"] == "a"


def test_headers_that_come_drop_by_drop_are_given_up(dripping):
    gateway, replies = dripping
    replies += [(REPLY, 0, len(REPLY))] * 3
    started = time.monotonic()
    with pytest.raises(errors.Retryable, match="did not answer in time"):
        gateway.root()
    # Three attempts; one reply alone takes longer.
    assert time.monotonic() - started < 3 * (SECONDS + 0.5) < len(REPLY) * PAUSE * 3


def test_of_a_write_it_is_not_known_what_came(dripping):
    gateway, replies = dripping
    replies.append((REPLY, 0, len(REPLY)))
    with pytest.raises(errors.Retryable) as caught:
        gateway.create_audience({"name": "A"})
    assert caught.value.outcome_unknown


# A reply whose headers come at once, and whose body would take four seconds.
LONG = REPLY.replace(b"18", b"200") + b" " * 182
HEAD = LONG.index(b"{")


def test_a_body_that_comes_drop_by_drop_is_given_up(dripping):
    gateway, replies = dripping
    replies += [(LONG, HEAD, 200)] * 3
    started = time.monotonic()
    with pytest.raises(errors.Retryable, match="did not answer in time"):
        gateway.root()
    assert time.monotonic() - started < 3 * (SECONDS + 0.5)


def test_batch_results_that_come_drop_by_drop_are_given_up(dripping, monkeypatch):
    gateway, replies = dripping
    session = gateway._transport._session
    monkeypatch.setattr(batches, "DOWNLOAD_SECONDS", SECONDS)

    def new_session(*args, **kwargs):
        found = session_module.new_session(*args, **kwargs)
        found.verify = session.verify
        return found

    monkeypatch.setattr(batches, "new_session", new_session)
    replies.append((LONG, HEAD, 200))
    started = time.monotonic()
    with pytest.raises(errors.Retryable):
        list(gateway.batch_results(gateway._transport.host + "/results"))
    assert time.monotonic() - started < SECONDS + 1
