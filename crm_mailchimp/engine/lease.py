"""Which database may write to an audience: a mark in Mailchimp, and what it means.

A database cannot tell by itself that it is an older backup of itself, or that its
twin talks to the same audience from elsewhere. All they share is the audience, so a
mark is kept there: a growing number, a word that nobody can guess (a new one from each
run that writes), and a hash of the place of the database that wrote it.

It is the title of a group category of type *hidden* that has no groups. Such a category
is on no sign-up form and no page a subscriber sees, uses up none of the 60 groups and
none of the merge fields an audience may have, adds no membership to anybody, and takes
one small request to read. A tag would be offered as the recipients of a campaign, and a
merge field would be a value of each member.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from datetime import date
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .gateway import Gateway

TITLE = "Odoo since {0.since}: do not delete ({0.count} {0.nonce} {0.place})"
PATTERN = re.compile(
    r"Odoo since (\d{4}-\d{2}-\d{2}): do not delete"
    r" \((\d+) ([0-9a-f]{8}) ([0-9a-f]{8})\)"
)


@dataclass(frozen=True)
class Mark:
    """What the title says.

    :param since: ISO date since when the database at that place has been writing
    :param count: how many times it was written
    :param nonce: eight random hexadecimal digits, new ones each time
    :param place: eight digits of a hash, see :func:`place_hash`
    """

    since: str
    count: int
    nonce: str
    place: str

    @property
    def title(self) -> str:
        """The title of the category in Mailchimp, at most 79 characters."""
        return TITLE.format(self)

    def next(self) -> Mark:
        """Return the mark the same database writes next."""
        return replace(self, count=self.count + 1, nonce=secrets.token_hex(4))


def read_mark(title: str | None) -> Mark | None:
    """Return the :class:`Mark` of a category's title, ``None`` if it is no mark."""
    found = PATTERN.fullmatch((title or "").strip())
    if not found:
        return None
    since, count, nonce, place = found.groups()
    try:
        date.fromisoformat(since)
    except ValueError:
        return None
    return Mark(since, int(count), nonce, place)


def place_hash(place: str) -> str:
    """Return what a mark says about a place: not which it is, only if it is ours."""
    return hashlib.sha256(place.encode()).hexdigest()[:8]


def judge(
    mark: Mark | None,
    place: str,
    known: Collection[str],
    proven: bool,
    seen: str | None,
) -> str:
    """Return whose mark it is.

    :param mark: the :class:`Mark` in Mailchimp, or ``None`` when there is none
    :param place: hash of the place this database is at
    :param known: the nonces this database wrote or was about to write
    :param proven: no other database can be at this place. If this one does not know
        the nonce, it has forgotten it: it is an older state of the database that wrote
        the mark.
    :param seen: the nonce that was there when this database was found to be older. A
        different one now shows that the database that wrote it is alive, elsewhere.
    :return: ``ours``, ``older`` or ``other``
    """
    if mark is None:
        return "ours"
    if mark.place != place:
        return "other"
    if mark.nonce in known:
        return "ours"
    if not proven or (seen and mark.nonce != seen):
        return "other"
    return "older"


class NotOurs(Exception):
    """Nothing may be written now.

    :param verdict: ``older``, ``other``, or ``unread`` when the whole audience
        has to be read first
    :param mark: the :class:`Mark` found in Mailchimp
    """

    def __init__(self, verdict: str, mark: Mark | None = None) -> None:
        super().__init__(verdict)
        self.verdict = verdict
        self.mark = mark


class Leased:
    """A gateway that makes sure of the lease before anything is written.

    Getting a writing call from it, whether to call it or to pass it to ``map``, first
    calls ``hold``, in the thread that gets it. Any call that is not known to be
    read-only counts as writing.

    :param gateway: a :class:`.gateway.Gateway`, which the caller has to close
    :param hold: called with :attr:`opt_outs_only`; raises :class:`NotOurs`
    """

    READS = frozenset(
        (
            *("abuse_reports", "account_ref", "activity_feed", "ahead"),
            *("audience", "audiences", "check_audience", "webhooks"),
            *("batch", "batch_results", "calls", "categories", "category", "clock"),
            *("close", "data_center", "find_member", "interests", "last_request_id"),
            *("map", "marks", "until", "uses"),
            *("max_in_flight", "member", "member_count", "members", "merge_fields"),
            *("patience", "recent_activity", "root", "static_segments"),
            *("campaign", "campaigns", "report", "report_part", "reports"),
        )
    )

    def __init__(self, gateway: Gateway, hold: Callable[[bool], None]) -> None:
        self._gateway = gateway
        self._hold = hold
        # While set, only members whose contacts opted out are archived.
        self.opt_outs_only = False

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._gateway, name)
        if name not in self.READS:
            self.hold()
        return found

    def hold(self) -> None:
        """Make sure of the lease now.

        :raise NotOurs: nothing may be written
        """
        self._hold(self.opt_outs_only)
