"""The only way to Mailchimp: its calls by name, on plain dicts.

Every method returns what Mailchimp answered or raises a typed error (see
:mod:`.errors`); none sees a recordset. Two things no call with a method of its own can
do, whatever the caller passes: make a known member subscribed or pending other than by
:meth:`Gateway.restore_member`, and update an existing member by a batch subscribe.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from datetime import datetime
from typing import Any

from . import batches, webhooks
from .calls import gone_is_fine
from .lease import Mark, read_mark
from .member_calls import MemberCalls
from .parallel import Page, Parallel
from .report_calls import ReportCalls
from .transport import Transport
from .vocabulary import Json

SEGMENT_LIMIT = 500
#: How long a look at an audience shows that it is there.
SEEN_SECONDS = 30


class Gateway(MemberCalls, ReportCalls):
    """The calls of one Mailchimp account.

    Make one per run and close it at the end: its connections are kept open and shared
    by all calls, including those of :meth:`map`.

    :param api_key: complete API key, or the token of a login
    :param api_url: base URL ending in ``/3.0`` to use instead of the data centre's
    :param options: ``data_center`` of a token, ``account`` that the key has to open,
        ``max_in_flight`` (default 4, at most 8), ``timeout`` (a pair of seconds),
        ``sleep`` and ``max_bytes``, see :class:`.transport.Transport`
    :raise InvalidKey, InvalidUrl: before anything is sent
    """

    def __init__(
        self, api_key: str, api_url: str | None = None, **options: Any
    ) -> None:
        super().__init__(Transport(api_key, api_url, **options))
        self._parallel = Parallel(self._transport.slots)
        self._audiences_seen: dict[str, float] = {}

    def __repr__(self) -> str:
        return f"<Gateway {self._transport.host}>"

    def __enter__(self) -> Gateway:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    @property
    def data_center(self) -> str:
        """The data centre of the account, such as ``us21``."""
        return self._transport.data_center

    @property
    def account_ref(self) -> str | None:
        """The ``account_id`` that was found, if it was checked (see Transport)."""
        return self._transport.account_ref

    def uses(self, key: str) -> bool:
        """Return whether this is the gateway's API key or token."""
        return self._transport.uses(key)

    @property
    def max_in_flight(self) -> int:
        """Requests that may currently be sent at once: see :class:`.pace.Slots`."""
        return self._transport.slots.allowed

    @property
    def calls(self) -> int:
        """Requests sent so far, retries included."""
        return self._transport.calls

    @property
    def last_request_id(self) -> str | None:
        """The id by which Mailchimp's support can find the last request."""
        return self._transport.last_request_id

    def until(self, end: float) -> None:
        """Set a deadline for all requests, a monotonic time (see Transport)."""
        self._transport.until(end)

    def patience(self) -> float:
        """Return how many seconds the reply to a request sent now may take."""
        return self._transport.patience()

    def clock(self) -> datetime:
        """Return Mailchimp's time now, a naive UTC datetime (see Transport)."""
        return self._transport.clock()

    def close(self) -> None:
        """Wait for the requests in flight and close the connections."""
        self._parallel.close()
        self._transport.close()

    # === ANY CALL === #

    def request(
        self,
        method: str,
        path: str,
        values: Json | None = None,
        query: Json | None = None,
        body: Json | None = None,
    ) -> Any:
        """Carry out a call that has no method of its own.

        :param path: path below ``/3.0``, with ``{names}`` for ``values``
        :param values: dict of the values in the path
        :param query: dict; booleans, datetimes and lists are written as
            Mailchimp reads them, ``None`` is left out
        :param body: what to send as JSON
        """
        return self._transport.call_api(path, method, values, query, body=body)

    def map(
        self,
        calls: Iterable[tuple[Any, ...]],
        enough: Callable[[], Any] = lambda: False,
        finish: Callable[..., tuple[Any, ...] | None] | None = None,
    ) -> Iterator[list[tuple[Any, Any]]]:
        """Carry out several calls at once: see :meth:`.parallel.Parallel.map`."""
        return self._parallel.map(calls, enough, finish)

    def ahead(
        self, pages: Iterable[Page], deadline: float = math.inf
    ) -> Iterator[Page]:
        """Fetch pages ahead of their reader: see :meth:`.parallel.Parallel.ahead`."""
        return self._parallel.ahead(pages, deadline)

    # === ACCOUNT AND AUDIENCES === #

    def root(self) -> Json:
        """Return the account: ``account_id``, ``account_name``, ``role`` and more."""
        return self._root.get_root(exclude_fields=["_links"])

    def audiences(self) -> Json:
        """Return ``{"lists": [...], "constraints": {...}}`` with all audiences."""
        lists: list[Json] = []
        constraints: Json = {}
        for items, reply in self._pages(
            "lists", self._lists.get_all_lists, exclude_fields=["lists._links"]
        ):
            lists += items
            constraints = reply.get("constraints") or constraints
        return {"lists": lists, "constraints": constraints}

    def audience(self, ref: str) -> Json:
        """Return one audience. Its ``stats`` are a few minutes old."""
        return self._lists.get_list(ref, exclude_fields=["_links"])

    def check_audience(self, ref: str) -> None:
        """Make sure that an audience is there, unless that was seen a moment ago.

        :raise NotFound: when it is not
        """
        if time.monotonic() - self._audiences_seen.get(ref, -math.inf) > SEEN_SECONDS:
            self.audience(ref)
            self._audiences_seen[ref] = time.monotonic()

    def create_audience(self, body: Json) -> Json:
        """Create an audience; ``Forbidden`` when the plan has no room for it."""
        return self._lists.create_list(body)

    # === MERGE FIELDS AND GROUPS === #

    def merge_fields(self, ref: str) -> list[Json]:
        """Return all merge fields of an audience."""
        return self._all(
            "merge_fields",
            self._lists.get_list_merge_fields,
            ref,
            exclude_fields=["merge_fields._links"],
        )

    def create_merge_field(self, ref: str, body: Json) -> Json:
        """Create a merge field from ``tag``, ``name``, ``type`` and more."""
        return self._lists.add_list_merge_field(ref, body)

    def categories(self, ref: str) -> list[Json]:
        """Return all group categories of an audience, except the marks of a lease."""
        return [
            category
            for category in self._categories(ref)
            if not read_mark(category["title"])
        ]

    def _categories(self, ref: str) -> list[Json]:
        return self._all(
            "categories",
            self._lists.get_list_interest_categories,
            ref,
            exclude_fields=["categories._links"],
        )

    def create_category(self, ref: str, title: str, kind: str = "checkboxes") -> Json:
        """Create a group category.

        :param kind: ``checkboxes``, ``dropdown``, ``radio`` or ``hidden``
        """
        body = {"title": title, "type": kind}
        return self._lists.create_list_interest_category(ref, body)

    def category(self, ref: str, category: str) -> Json:
        """Return one group category; ``NotFound`` when it is gone."""
        return self._lists.get_interest_category(
            ref, category, exclude_fields=["_links"]
        )

    def rename_category(self, ref: str, category: str, title: str, kind: str) -> Json:
        """Rename a group category. Mailchimp wants its kind, too, even if unchanged."""
        return self._lists.update_interest_category(
            ref, category, {"title": title, "type": kind}
        )

    def marks(self, ref: str) -> list[tuple[str, Mark]]:
        """Return ``[(category id, mark)]`` of all marks of :mod:`.lease`."""
        found = [
            (category["id"], read_mark(category["title"]))
            for category in self._categories(ref)
        ]
        return [(category, mark) for category, mark in found if mark]

    def interests(self, ref: str, category: str) -> list[Json]:
        """Return all groups of a category."""
        return self._all(
            "interests",
            self._lists.list_interest_category_interests,
            ref,
            category,
            exclude_fields=["interests._links"],
        )

    def create_interest(self, ref: str, category: str, name: str) -> Json:
        """Create a group; ``Rejected`` as ``interest_limit`` after the 60th."""
        body = {"name": name}
        return self._lists.create_interest_category_interest(ref, category, body)

    def update_interest(
        self, ref: str, category: str, interest: str, name: str
    ) -> Json:
        """Rename a group."""
        return self._lists.update_interest_category_interest(
            ref, category, interest, {"name": name}
        )

    def delete_interest(self, ref: str, category: str, interest: str) -> bool:
        """Delete a group if it still exists; return whether it did."""
        return gone_is_fine(
            self._lists.delete_interest_category_interest, ref, category, interest
        )

    # === TAGS: STATIC SEGMENTS === #

    def static_segments(self, ref: str) -> list[Json]:
        """Return all static segments, which are the tags of an audience."""
        return self._all(
            "segments",
            self._lists.list_segments,
            ref,
            type="static",
            exclude_fields=["segments._links"],
        )

    def create_static_segment(self, ref: str, name: str) -> Json:
        """Create a tag without members; ``Rejected`` as ``tag_exists``."""
        return self._lists.create_segment(ref, {"name": name, "static_segment": []})

    def rename_static_segment(self, ref: str, segment: str, name: str) -> Json:
        """Rename a tag."""
        # Without "static_segment": an empty one would remove all members.
        return self._lists.update_segment(ref, segment, {"name": name})

    def delete_static_segment(self, ref: str, segment: str) -> bool:
        """Delete a tag if it still exists; return whether it did."""
        return gone_is_fine(self._lists.delete_segment, ref, segment)

    def change_static_segment(
        self,
        ref: str,
        segment: str,
        add: Iterable[str] = (),
        remove: Iterable[str] = (),
    ) -> Json:
        """Tag and untag members; addresses the audience does not have are ignored.

        :param add: at most 500 addresses
        :param remove: at most 500 addresses
        :return: dict with ``total_added``, ``total_removed``, ``errors`` (a list of
            ``{"email_addresses": [...], "error": text}``) and the members changed
        """
        body = {"members_to_add": list(add), "members_to_remove": list(remove)}
        if any(len(addresses) > SEGMENT_LIMIT for addresses in body.values()):
            raise ValueError(f"tag or untag at most {SEGMENT_LIMIT} members at once")
        return self._lists.batch_segment_members(
            {name: addresses for name, addresses in body.items() if addresses},
            ref,
            segment,
        )

    # === WEBHOOKS === #

    def webhooks(self, ref: str) -> list[Json]:
        """Return all webhooks of an audience, other people's included."""
        return self._whole("webhooks", self._lists.get_list_webhooks, ref)

    def create_webhook(
        self, ref: str, url: str, events: Collection[str], sources: Collection[str]
    ) -> Json:
        """Register a webhook; Mailchimp first requests the URL, which has to answer.

        :param events: names of the events to listen to
        :param sources: names of the sources to listen to
        :return: dict with ``id`` and, only this once, ``signing_secret``
        :raise Rejected: the URL does not answer, or another webhook has it
        """
        body = {
            "url": url,
            "events": {name: name in events for name in webhooks.EVENTS},
            "sources": {name: name in sources for name in webhooks.SOURCES},
        }
        return self._lists.create_list_webhook(ref, body)

    def delete_webhook(self, ref: str, webhook: str) -> bool:
        """Delete a webhook if it still exists; return whether it did."""
        return gone_is_fine(self._lists.delete_list_webhook, ref, webhook)

    # === BATCHES === #

    def create_batch(self, operations: Iterable[Json]) -> Json:
        """Start a batch; see :func:`.batches.encode` for what it may hold."""
        return self._batches.start(batches.encode(operations))

    def batch(self, ref: str) -> Json:
        """Return a batch: ``status`` (in the end ``finished``), counters, results URL.

        ``finished`` says nothing about success: read the results.
        """
        return self._batches.status(ref)

    def batch_results(self, url: str) -> Iterator[tuple[Any, Any]]:
        """Yield ``(operation_id, data or error)``; see :func:`.batches.results`."""
        return batches.results(
            url, loopback=self._transport.loopback, patience=self.patience()
        )
