"""What the calls of a gateway have in common: the SDK's classes, and collections."""

from collections.abc import Callable, Iterator
from typing import Any

from mailchimp_marketing.api.batches_api import BatchesApi
from mailchimp_marketing.api.campaigns_api import CampaignsApi
from mailchimp_marketing.api.lists_api import ListsApi
from mailchimp_marketing.api.reports_api import ReportsApi
from mailchimp_marketing.api.root_api import RootApi

from .errors import NotFound, Protocol
from .transport import Transport
from .vocabulary import Json

PAGE = 1000  # the most Mailchimp gives at once


class Calls:
    """The classes of the SDK on one transport, and how collections are read."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._lists = ListsApi(transport)
        self._batches = BatchesApi(transport)
        self._campaigns = CampaignsApi(transport)
        self._reports = ReportsApi(transport)
        self._root = RootApi(transport)

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
            items = items_of(reply, key)
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
        return items_of(call(*args, **kwargs), key)

    def _all(
        self, key: str, call: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> list[Json]:
        return [
            item
            for items, _reply in self._pages(key, call, *args, **kwargs)
            for item in items
        ]


def names_of(fields: str | list[str] | None) -> list[str] | None:
    """Return names of fields as a list, given a list or a comma-separated text."""
    return fields.split(",") if isinstance(fields, str) else fields


def items_of(reply: Any, key: str) -> list[Json]:
    """Return a list from a reply.

    :raise Protocol: a reply without that list is not Mailchimp's
    """
    if isinstance(reply, dict) and isinstance(reply.get(key), list):
        return reply[key]
    raise Protocol(f"Mailchimp's reply has no list {key!r}.")


def gone_is_fine(delete: Callable[..., Any], *args: Any) -> bool:
    """Carry out a deletion; return whether there was anything to delete."""
    try:
        delete(*args)
    except NotFound:
        return False
    return True
