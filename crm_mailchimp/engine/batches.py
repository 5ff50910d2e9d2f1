"""Batch operations: many requests that Mailchimp carries out in its own time.

A batch is for known members only: it can update and archive, never create, and no
operation may carry a status (Mailchimp API reference, "Batch operations").
"""

import gzip
import json
import re
import tarfile
import tempfile
import zlib
from collections.abc import Iterable, Iterator
from typing import IO, Any
from urllib.parse import urlsplit

import requests
from requests.exceptions import InvalidSchema, InvalidURL, MissingSchema
from urllib3.exceptions import HTTPError

from .errors import Protocol, Retryable, classify
from .session import bounded, new_session
from .transport import CHUNK_BYTES, network_error
from .vocabulary import Json

MAX_OPERATIONS = 500
MAX_DOWNLOAD_BYTES = 64 * 1024 * 1024
MAX_UNPACKED_BYTES = 256 * 1024 * 1024
MAX_FILE_BYTES = 32 * 1024 * 1024
MAX_FILES = 10_000
# What may be in an archive: files, and metadata about them.
FILES = (tarfile.REGTYPE, tarfile.AREGTYPE)
REMARKS = (
    *(tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE),
    *(tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK),
)
CONNECT_SECONDS = 10
DOWNLOAD_SECONDS = 30

_MEMBER = re.compile(r"/lists/[^/?]+/members/[^/?]+")


def check_update(body: Json) -> None:
    """Refuse an update of a known member that could change its subscription.

    :raise ValueError: for an empty body or one with a status
    """
    if not body or {"status", "status_if_new"} & body.keys():
        raise ValueError("an update of a member has values and no status")


def encode(operations: Iterable[Json]) -> Json:
    """Return the body of ``POST /batches``.

    :param operations: at most 500 dicts with ``method``, ``path`` (of a member, as
        ``/lists/ID/members/HASH``), ``operation_id`` and, for a PATCH, a ``body``
        dict without status
    :raise ValueError: for anything else; nothing that subscribes can be batched
    """
    operations = list(operations)
    if not 0 < len(operations) <= MAX_OPERATIONS:
        raise ValueError(f"a batch takes 1 to {MAX_OPERATIONS} operations")
    encoded = []
    for operation in operations:
        method, path = operation["method"], operation["path"]
        if method not in ("PATCH", "DELETE", "GET") or not _MEMBER.fullmatch(path):
            raise ValueError(f"a batch may not {method} {path}")
        item = {
            "method": method,
            "path": path,
            "operation_id": str(operation["operation_id"]),
        }
        if method == "PATCH":
            check_update(operation["body"])
            # The body travels as a JSON string inside the JSON.
            item["body"] = json.dumps(
                operation["body"],
                separators=(",", ":"),
                ensure_ascii=False,
                allow_nan=False,
            )
        encoded.append(item)
    return {"operations": encoded}


def results(
    url: str, *, loopback: bool = False, patience: float = DOWNLOAD_SECONDS
) -> Iterator[tuple[Any, Any]]:
    """Download the results of a finished batch, then yield its outcomes one by one.

    :param url: ``response_body_url`` of a batch that was just read; it is valid for
        some ten minutes, and the host is whatever Mailchimp's storage is at the time
    :param loopback: accept this machine's plain http (for tests)
    :param patience: seconds the download may take at most
    :return: generator of ``(operation_id, data or MailchimpError)`` in any order
    :raise Retryable: they cannot be downloaded now; read the batch again for a new URL
    :raise Protocol: this is not an archive of results, or it is unsafe or too large
    """
    with tempfile.TemporaryFile() as archive:
        # Complete before the first outcome: once one has been applied, the rest must
        # not be missing because the connection broke.
        _download(url, archive, loopback, max(min(DOWNLOAD_SECONDS, patience), 1))
        archive.seek(0)
        try:
            yield from _outcomes(archive)
        except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
            raise Protocol(f"The batch results are no sound archive: {error}") from None


def _download(url: str, archive: IO[bytes], loopback: bool, seconds: float) -> None:
    path = urlsplit(url).path  # the query of a storage URL is a secret
    # The storage refuses requests with two authorizations, and the key is none of its
    # business: hence a separate session, whose auth adds nothing (not even .netrc).
    with new_session(loopback, 1, auth=lambda request: request) as session:
        session.max_redirects = 3
        timeout = min(CONNECT_SECONDS, seconds), seconds
        try:
            with session.get(url, timeout=timeout, stream=True) as response:
                if response.status_code != 200:
                    raise Retryable(
                        "The batch results cannot be had at this address any more.",
                        status=response.status_code,
                        method="GET",
                        path=path,
                    )
                with bounded(response, seconds):
                    # As sent: some storages declare the archive's gzip an encoding.
                    for chunk in response.raw.stream(CHUNK_BYTES, decode_content=False):
                        archive.write(chunk)
                        if archive.tell() > MAX_DOWNLOAD_BYTES:
                            raise Protocol(
                                "The batch results are too large to download."
                            )
        except (InvalidSchema, InvalidURL, MissingSchema):
            raise Protocol("The batch results are at no https address.") from None
        # The raw stream of a response raises urllib3's errors.
        except (requests.RequestException, HTTPError) as error:
            raise network_error(error, "GET", path) from None


class _Bounded:
    """A file that raises an error before it can fill the memory."""

    def __init__(self, file: gzip.GzipFile, size: int) -> None:
        self._file, self._left = file, size

    def read(self, size: int) -> bytes:  # pylint: disable=method-required-super
        """Return up to so many bytes, fewer only at the end of the file."""
        data = self._file.read(min(size, self._left + 1))
        self._left -= len(data)
        if self._left < 0:
            raise Protocol("The batch results are too large to unpack.")
        return data


def _outcomes(archive: IO[bytes]) -> Iterator[tuple[Any, Any]]:
    unpacked = _Bounded(gzip.GzipFile(fileobj=archive), MAX_UNPACKED_BYTES)
    for content in _files(unpacked):
        if content.strip():
            yield from _file_outcomes(content)
    while unpacked.read(CHUNK_BYTES):
        pass  # to the end, where gzip keeps its checksum


def _files(unpacked: _Bounded) -> Iterator[bytes]:
    """Yield the content of each file of a tar.

    Parsed by hand: the standard library reads long names and remarks (PAX) into memory
    whole, however large they claim to be, and the maps of sparse files likewise.
    Nothing is written to disk, so none of them are needed here.
    """
    for _number in range(MAX_FILES):
        block = unpacked.read(tarfile.BLOCKSIZE)
        if block == bytes(tarfile.BLOCKSIZE):
            return
        item = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
        names = item.name.split("/")
        # Mailchimp does not make archives with upward paths or links.
        if item.name.startswith("/") or ".." in names:
            raise Protocol("The batch results hold an unsafe path.")
        if item.type not in (*REMARKS, *FILES, tarfile.DIRTYPE):
            raise Protocol("The batch results hold something that is no file.")
        if not 0 <= item.size <= MAX_FILE_BYTES:
            raise Protocol("The batch results hold too large a file.")
        content = unpacked.read(item.size)
        if len(content) < item.size:
            raise EOFError("it ends in the middle of a file")
        unpacked.read(-item.size % tarfile.BLOCKSIZE)
        if item.type in FILES:
            yield content
    raise Protocol("The batch results hold too many files.")


def _file_outcomes(content: bytes) -> Iterator[tuple[Any, Any]]:
    try:
        items = json.loads(content)
    except (ValueError, RecursionError):
        items = None
    if not isinstance(items, list):
        raise Protocol("The batch results hold a file that is no list.")
    for item in items:
        if not isinstance(item, dict):
            raise Protocol("The batch results hold something that is no result.")
        yield item.get("operation_id"), _outcome(item)


def _outcome(item: Json) -> Any:
    status, text = item.get("status_code"), item.get("response")
    try:
        data = json.loads(text) if text else {}
    except (ValueError, TypeError, RecursionError):
        data = None
    if not isinstance(status, int) or status < 200:
        return Protocol("A batch operation has no status.", outcome_unknown=True)
    if status >= 400:
        return classify(status, data if text else None)
    if status >= 300 or not isinstance(data, dict | list):
        return Protocol(
            "A batch operation has no sensible reply.",
            status=status,
            outcome_unknown=True,
        )
    return data
