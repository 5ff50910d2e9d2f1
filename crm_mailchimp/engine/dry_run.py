"""A gateway that really reads but writes nothing, for previews."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

from .vocabulary import Json

if TYPE_CHECKING:
    from .gateway import Gateway


class DryRun:
    """Wraps a gateway; only the calls named here exist, so nothing else can be sent.

    Calls that would create something return what Mailchimp would, with a made-up id
    that starts with :attr:`PREFIX`, or a negative one for a merge field.

    :param gateway: a :class:`.gateway.Gateway`, which the caller has to close
    """

    PREFIX = "preview-"
    READS = (
        *("map", "clock", "audience", "check_audience", "merge_fields"),
        *("categories", "interests"),
        "patience",
        *("members", "member_count", "find_member", "static_segments"),
    )

    def __init__(self, gateway: Gateway) -> None:
        self._numbers = count(1)
        for name in self.READS:
            setattr(self, name, getattr(gateway, name))

    def _id(self) -> str:
        return f"{self.PREFIX}{next(self._numbers)}"

    def create_merge_field(self, ref: str, body: Json) -> Json:
        """Return the merge field as if it had been created."""
        return dict(body, merge_id=-next(self._numbers))

    def create_category(self, ref: str, title: str, kind: str = "checkboxes") -> Json:
        """Return the category as if it had been created."""
        return {"id": self._id(), "title": title}

    def rename_category(self, ref: str, category: str, title: str, kind: str) -> Json:
        """Return the category as if it had been changed."""
        return {"id": category, "title": title, "type": kind}

    def create_interest(self, ref: str, category: str, name: str) -> Json:
        """Return the group as if it had been created."""
        return {"id": self._id(), "name": name}

    def create_static_segment(self, ref: str, name: str) -> Json:
        """Return the tag as if it had been created."""
        return {"id": self._id(), "name": name}

    def update_interest(
        self, ref: str, category: str, interest: str, name: str
    ) -> Json:
        """Return the group as if it had been renamed."""
        return {"id": interest, "name": name}

    def rename_static_segment(self, ref: str, segment: str, name: str) -> Json:
        """Return the tag as if it had been renamed."""
        return {"id": segment, "name": name}

    def delete_interest(self, ref: str, category: str, interest: str) -> bool:
        """Return ``True``, as if the group had been deleted."""
        return True

    def delete_static_segment(self, ref: str, segment: str) -> bool:
        """Return ``True``, as if the tag had been deleted."""
        return True
