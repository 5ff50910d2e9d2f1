"""The only way to Mailchimp: its calls by name, on plain dicts.

Every method returns what Mailchimp answered or raises a typed error (see
:mod:`.errors`); none sees a recordset. Two things cannot be expressed here, whatever
the caller does: setting the status of a known member other than by
:meth:`Gateway.restore_member`, and updating an existing member by a batch subscribe.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from datetime import datetime
from typing import Any, TypeVar

from mailchimp_marketing.api.batches_api import BatchesApi
from mailchimp_marketing.api.campaigns_api import CampaignsApi
from mailchimp_marketing.api.lists_api import ListsApi
from mailchimp_marketing.api.reports_api import ReportsApi
from mailchimp_marketing.api.root_api import RootApi

from . import batches, webhooks
from .errors import MailchimpError, NotFound, Protocol, Rejected, classify_member
from .lease import Mark, read_mark
from .report_calls import ReportCalls
from .transport import Transport
from .vocabulary import Json

PAGE = 1000  # the most Mailchimp gives at once
SUBSCRIBE_LIMIT = 500
SEGMENT_LIMIT = 500

Page = TypeVar("Page")


class Gateway(ReportCalls):
    """The calls of one Mailchimp account.

    Make one per run and close it at the end: its connections are kept open and shared
    by all calls, also by those of :meth:`map`.

    :param api_key: complete API key, or the token of a login
    :param api_url: base URL ending in ``/3.0`` instead of that of the data centre
    :param options: ``data_center`` of a token, ``account`` that it has to be,
        ``max_in_flight`` (default 4, at most 8), ``timeout`` (a pair of seconds),
        ``sleep`` and ``max_bytes``, see :class:`.transport.Transport`
    :raise InvalidKey, InvalidUrl: before anything is sent
    """

    def __init__(
        self, api_key: str, api_url: str | None = None, **options: Any
    ) -> None:
        self._transport = Transport(api_key, api_url, **options)
        self._executor: ThreadPoolExecutor | None = None
        self._lists = ListsApi(self._transport)
        self._batches = BatchesApi(self._transport)
        self._campaigns = CampaignsApi(self._transport)
        self._reports = ReportsApi(self._transport)
        self._root = RootApi(self._transport)

    def __repr__(self) -> str:
        return f"<Gateway {self._transport.host}>"

    def __enter__(self) -> Gateway:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    @property
    def data_center(self) -> str:
        """Where the account is at Mailchimp, such as ``us21``."""
        return self._transport.data_center

    @property
    def account_ref(self) -> str | None:
        """The ``account_id`` that was found, if it had to be (see Transport)."""
        return self._transport.account_ref

    def uses(self, key: str) -> bool:
        """Return whether this is the gateway's API key or token."""
        return self._transport.uses(key)

    @property
    def max_in_flight(self) -> int:
        """Requests that are sent at once by now: see :class:`.pace.Slots`."""
        return self._transport.slots.allowed

    @property
    def calls(self) -> int:
        """Requests sent so far, retries included."""
        return self._transport.calls

    @property
    def last_request_id(self) -> str | None:
        """What Mailchimp's support can find the last request by."""
        return self._transport.last_request_id

    def until(self, end: float) -> None:
        """Set a moment that no request outlasts, a monotonic time (see Transport)."""
        self._transport.until(end)

    def patience(self) -> float:
        """Return how many seconds a reply to a request of now may take."""
        return self._transport.patience()

    def clock(self) -> datetime:
        """Return Mailchimp's time now, a naive UTC datetime (see Transport)."""
        return self._transport.clock()

    def close(self) -> None:
        """Wait for the requests in flight and close the connections."""
        if self._executor:
            self._executor.shutdown()
            self._executor = None
        self._transport.close()

    def _submit(self, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        if self._executor is None:
            self._executor = ThreadPoolExecutor(
                self._transport.slots.limit, "mailchimp"
            )
        return self._executor.submit(function, *arguments)

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
    ) -> Iterator[list[tuple[Any, Any]]]:
        """Carry out calls several at once.

        The iterator and the body of the caller's loop run in the caller's thread only:
        what is about to be sent can be committed in the one, and what came of it in the
        other. While nothing is done yet, calls are taken from the iterator ahead, as
        many as go at once, so that each begins at the very moment another is done.
        Leaving the loop waits for the calls in flight and drops what they answered.

        :param calls: iterable of ``(tag, function, *arguments)``, with methods of this
            gateway as functions
        :param enough: tells, without arguments, that no further call is to be begun;
            what comes of those in flight is still told
        :return: generator of ``[(tag, result or MailchimpError), ...]``: those that are
            done by then
        """
        calls, more = iter(calls), True
        ahead: deque[tuple[Any, ...]] = deque()
        running: dict[Future[Any], Any] = {}

        def begin() -> None:
            while ahead and len(running) < self.max_in_flight:
                tag, function, *arguments = ahead.popleft()
                if not enough():
                    running[self._submit(function, *arguments)] = tag

        try:
            while True:
                while more and (
                    len(running) < self.max_in_flight
                    or len(ahead) < self.max_in_flight
                    and not any(future.done() for future in running)
                ):
                    call = None if enough() else next(calls, None)
                    more = call is not None
                    if call is not None:
                        ahead.append(call)
                        begin()
                if not running:
                    return
                done, _pending = wait(running, return_when=FIRST_COMPLETED)
                outcomes = [(running.pop(future), _outcome(future)) for future in done]
                begin()
                yield outcomes
        finally:
            wait(running)

    def ahead(
        self, pages: Iterable[Page], deadline: float = math.inf
    ) -> Iterator[Page]:
        """Yield pages of a generator of this gateway, the next fetched meanwhile.

        :param deadline: monotonic time after which none is fetched before it is
            asked for
        """
        pages = iter(pages)

        def fetch() -> Future[Any]:
            return self._submit(next, pages, None)

        future = fetch()
        try:
            while (page := future.result()) is not None:
                if time.monotonic() < deadline:
                    future = fetch()
                    yield page
                else:
                    yield page
                    future = fetch()
        finally:
            wait([future])

    def _pages(
        self,
        key: str,
        call: Callable[..., Any],
        *args: Any,
        start: int = 0,
        **kwargs: Any,
    ) -> Iterator[tuple[list[Json], Json]]:
        """Yield ``(items, reply)`` of each page of a collection."""
        offset = start
        kwargs.setdefault("count", PAGE)
        while True:
            reply = call(*args, offset=offset, **kwargs)
            items = _list(reply, key)
            yield items, reply
            offset += len(items)
            total = reply.get("total_items")
            more = len(items) == kwargs["count"] if total is None else offset < total
            if not items or not more:
                return

    def _whole(
        self, key: str, call: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> list[Json]:
        """Return the list of a collection that has no pages."""
        return _list(call(*args, **kwargs), key)

    def _all(
        self, key: str, call: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> list[Json]:
        return [
            item
            for items, _reply in self._pages(key, call, *args, **kwargs)
            for item in items
        ]

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
        """Return one audience. Its ``stats`` are some minutes old."""
        return self._lists.get_list(ref, exclude_fields=["_links"])

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
        """Return all group categories of an audience; marks of ours are none."""
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
        """Rename a group category. Mailchimp wants its kind, too, also unchanged."""
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
        """Delete a group; one that is gone already is fine."""
        return _gone_is_fine(
            self._lists.delete_interest_category_interest, ref, category, interest
        )

    # === MEMBERS === #

    def members(
        self,
        ref: str,
        *,
        status: str | None = None,
        since: datetime | None = None,
        sort: str = "desc",
        count: int = PAGE,
        offset: int = 0,
        fields: str | list[str] | None = None,
        **filters: Any,
    ) -> Json:
        """Return one page of members: ``{"members": [...], "total_items": n}``.

        Without a status, archived members seem to be left out: ask for them.

        :param status: only members with this status
        :param since: datetime (UTC, or with its zone); only members changed after it
        :param sort: by ``last_changed``, ``desc`` or ``asc``; an order has to be given
            or pages overlap
        :param fields: names such as ``members.id``, in a list or separated by commas;
            everything if ``None``
        :param filters: other filters of the SDK's ``get_list_members_info``
        """
        if fields:
            filters["fields"] = sorted({"total_items", *(_names(fields) or ())})
        else:
            filters["exclude_fields"] = ["_links", "members._links"]
        reply = self._lists.get_list_members_info(
            ref,
            status=status,
            since_last_changed=since,
            sort_field="last_changed",
            sort_dir=sort.upper(),
            count=count,
            offset=offset,
            **filters,
        )
        _list(reply, "members")
        return reply

    def member_count(self, ref: str, status: str | None = None) -> int:
        """Return the number of members, as counted now (the audience's is cached)."""
        reply = self._lists.get_list_members_info(
            ref, status=status, count=1, fields=["total_items"]
        )
        if not isinstance(reply.get("total_items"), int):
            raise Protocol("Mailchimp did not tell the number of members.")
        return reply["total_items"]

    def member(
        self, ref: str, email_hash: str, fields: str | list[str] | None = None
    ) -> Json:
        """Return one member, archived ones included.

        :raise NotFound: also for a permanently deleted one; they cannot be told apart
        """
        return self._lists.get_list_member(ref, email_hash, fields=_names(fields))

    def find_member(self, ref: str, email_hash: str) -> Json | None:
        """Return one member, archived ones included, or ``None``."""
        try:
            return self.member(ref, email_hash)
        except NotFound:
            return None

    def subscribe_batch(
        self, ref: str, members: Iterable[Json]
    ) -> tuple[list[Json], list[tuple[str, MailchimpError]]]:
        """Subscribe addresses that Mailchimp does not know; touch no existing member.

        :param members: at most 500 dicts with ``email_address`` in lower case, each
            once, ``status`` (``subscribed`` or ``pending``) and values
        :return: ``(created, errors)``: the new members, and pairs of the lower-cased
            address and its :class:`.errors.MailchimpError`. A sent address that is in
            neither was not created.
        """
        members = list(members)
        if not 0 < len(members) <= SUBSCRIBE_LIMIT:
            raise ValueError(f"subscribe 1 to {SUBSCRIBE_LIMIT} members at once")
        if len({item["email_address"].lower() for item in members}) < len(members):
            raise ValueError("an address may be sent once in a call only")
        if any(
            item.get("status") not in ("subscribed", "pending")
            or "status_if_new" in item
            for item in members
        ):
            raise ValueError("new members are subscribed or pending")
        # Never sync_tags: it would take away the tags people set in Mailchimp.
        body = {"members": members, "update_existing": False}
        reply = self._lists.batch_list_members(ref, body)
        errors = [
            (
                (entry.get("email_address") or "").lower(),
                classify_member(entry, path=f"/lists/{ref}"),
            )
            for entry in _list(reply, "errors")
        ]
        return _list(reply, "new_members"), errors

    def patch_member(self, ref: str, email_hash: str, body: Json) -> Json:
        """Change values or the address of a known member, never its status.

        :raise ValueError: for a body with a status
        :raise NotFound: the member is not there; nothing is created
        """
        batches.check_update(body)
        return self._lists.update_list_member(ref, email_hash, body)

    def restore_member(self, ref: str, email_hash: str, status: str) -> Json:
        """Give a known member a status again: the caller has checked that it may.

        :param status: ``subscribed`` or ``pending``
        :raise Rejected: as ``compliance`` when the person said no
        """
        if status not in ("subscribed", "pending"):
            raise ValueError(f"a member cannot be restored to {status!r}")
        return self._lists.update_list_member(ref, email_hash, {"status": status})

    def archive_member(
        self, ref: str, email_hash: str
    ) -> tuple[str | None, Json | None]:
        """Archive a member, or unsubscribe it while it is pending.

        Mailchimp refuses to archive pending, cleaned and archived members with the same
        405, so a refusal is no proof that the member is gone: it is looked at. A person
        who was asked to confirm and is left pending could still subscribe by the mail.
        This is the one other status ever written; it stops mail, it never starts it.

        :return: ``(status, member)``: the status it has now, ``None`` when Mailchimp
            does not have it, and the member, where it was looked at
        """
        try:
            self._lists.delete_list_member(ref, email_hash)
        except NotFound:
            return None, None
        except Rejected as error:
            if error.code != "not_archivable":
                raise
        else:
            return "archived", None
        try:
            member = self.member(ref, email_hash)
            if member["status"] == "pending":
                member = self._lists.update_list_member(
                    ref, email_hash, {"status": "unsubscribed"}
                )
        except NotFound:
            return None, None
        if member["status"] in ("subscribed", "pending"):
            raise Protocol(f"Mailchimp keeps a member {member['status']}.")
        return member["status"], member

    def let_go(
        self, ref: str, email_hash: str, stays: Callable[[Json], bool] | None = None
    ) -> tuple[Json | None, Json | None]:
        """Look at a member, archive it if it said nothing, and look whether it left.

        An unsubscribe that no reading has seen yet must not be hidden by archiving: a
        member that said no, or bounced, is left as it is.

        :param stays: tells of the member that is looked at whether it is left as it is
        :return: ``(seen, left)``: the member before and afterwards, ``None`` where
            Mailchimp does not have it
        """
        seen = self.find_member(ref, email_hash)
        if seen is None or seen["status"] not in ("subscribed", "pending"):
            return seen, seen
        if stays and stays(seen):
            return seen, seen
        _status, left = self.archive_member(ref, email_hash)
        try:
            return seen, left or self.find_member(ref, email_hash)
        except MailchimpError as error:
            error.outcome_unknown = True  # it was asked to leave before
            raise

    def activity_feed(
        self, ref: str, email_hash: str, filters: Sequence[str] | None = None
    ) -> list[Json]:
        """Return all events of a member, the latest first.

        :param filters: kinds such as ``unsub``, ``bounce``; all if ``None``
        """
        return self._all(
            "activity",
            self._lists.get_list_member_activity_feed,
            ref,
            email_hash,
            activity_filters=filters,
        )

    def recent_activity(self, ref: str, email_hash: str) -> list[Json]:
        """Return the last 50 events of a member.

        A complaint may show here and not in the activity feed.
        """
        return _list(self._lists.get_list_member_activity(ref, email_hash), "activity")

    def abuse_reports(self, ref: str) -> list[Json]:
        """Return all complaints of an audience."""
        return self._all(
            "abuse_reports",
            self._lists.get_list_abuse_reports,
            ref,
            exclude_fields=["abuse_reports._links"],
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
        """Delete a tag; one that is gone already is fine."""
        return _gone_is_fine(self._lists.delete_segment, ref, segment)

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
        :return: dict with ``total_added``, ``total_removed``, ``errors``, a list of
            ``{"email_addresses": [...], "error": text}``, and the members changed
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
        """Return all webhooks of an audience, those of others included."""
        return self._whole("webhooks", self._lists.get_list_webhooks, ref)

    def create_webhook(
        self, ref: str, url: str, events: Collection[str], sources: Collection[str]
    ) -> Json:
        """Register a webhook; Mailchimp first asks the URL, which has to answer.

        :param events: names of those to listen to, likewise ``sources``
        :return: dict with ``id`` and, this once, ``signing_secret``
        :raise Rejected: the URL does not answer, or another webhook has it
        """
        body = {
            "url": url,
            "events": {name: name in events for name in webhooks.EVENTS},
            "sources": {name: name in sources for name in webhooks.SOURCES},
        }
        return self._lists.create_list_webhook(ref, body)

    def delete_webhook(self, ref: str, webhook: str) -> bool:
        """Delete a webhook; one that is gone already is fine."""
        return _gone_is_fine(self._lists.delete_list_webhook, ref, webhook)

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
        return batches.results(url, loopback=self._transport.loopback)


def _outcome(future: Future[Any]) -> Any:
    try:
        return future.result()
    except MailchimpError as error:
        return error


def _names(fields: str | list[str] | None) -> list[str] | None:
    return fields.split(",") if isinstance(fields, str) else fields


def _list(reply: Any, key: str) -> list[Json]:
    """Return a list of a reply: one that lacks it is not Mailchimp's."""
    if isinstance(reply, dict) and isinstance(reply.get(key), list):
        return reply[key]
    raise Protocol(f"Mailchimp's reply has no list {key!r}.")


def _gone_is_fine(delete: Callable[..., Any], *args: Any) -> bool:
    try:
        delete(*args)
    except NotFound:
        return False
    return True
