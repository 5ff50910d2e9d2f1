"""What to do about one member: the rules of consent, in one place.

Nothing here can subscribe somebody who said no. Only an address that Mailchimp does
not know is created; a known member is updated without its status; and the one
operation that writes a status to a known address, ``restore``, is only proposed for
members that Odoo itself archived while they were subscribed, and is checked again,
against Mailchimp itself, before it is carried out (see :func:`may_restore`). Whether
an address said no is checked before any of this: such an address is not ``wanted``.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from typing import Any

from .payload import Values, difference, missing
from .vocabulary import Json

# The statuses in which a member receives campaigns or is being asked to.
REACHABLE = ("subscribed", "pending")
# The statuses that mean a "no" from the person or from their mail server. A member in
# one of them is never written to: archiving it would hide the "no".
NO = ("unsubscribed", "cleaned")
# Refusals that stand until the address changes or the person signs up again.
FINAL = (
    *("forgotten", "renamed", "not_confirmed"),
    *("fake", "invalid_address", "compliance"),
)
# Events in a member's activity that forbid subscribing it again. That there are none
# proves nothing: unsubscribes outside campaigns may not be listed.
NO_EVENTS = ("unsub", "bounce", "abuse")

# What comes next for an address that an eligible contact stands for: the first line
# whose conditions all hold. A condition names an attribute of :class:`Known` and the
# values it may have. The comparison decides by this table and the status list
# translates it to SQL, so that the list cannot promise what no run does.
NEXT: tuple[tuple[str, dict[str, tuple[Any, ...]]], ...] = (
    ("keep", {"status": REACHABLE}),
    # Only the person can change it.
    ("leave_alone", {"status": (*NO, "transactional")}),
    ("refused", {"reason": FINAL}),
    ("refused", {"is_refused": (True,)}),
    ("create", {"status": (None,)}),
    # It was already looked at, or is not Odoo's to bring back.
    ("stay_out", {"reason": ("archived",)}),
    ("restore", {"status_before": ("subscribed",), "by_odoo": (True,)}),
    # A member that somebody else archived may have unsubscribed before. It stays out,
    # but what its activity shows counts.
    ("inquire", {"status_before": ("subscribed",)}),
    ("stay_out", {}),
)
# The steps that make an address subscribed, or pending until the person confirms.
COMING = ("create", "restore")


@dataclass(frozen=True)
class Known:
    """What the ledger knows about an address.

    :param status: Mailchimp's status, ``None`` when it is not known there
    :param ours: we created the member, or an eligible contact claimed it
    :param status_before: the status it had when it was archived
    :param by_odoo: Odoo archived it, not somebody in Mailchimp
    :param reason: why the last attempt was refused
    :param sent: canonical values last sent, or ``None``
    :param seen: canonical values Mailchimp holds where they differ from ``sent``
    :param edited: somebody changed ``seen`` in Mailchimp since it was last sent
    :param refused: canonical values Mailchimp refused last
    :param retry: the refusal was temporary and the wait is over
    """

    status: str | None = None
    ours: bool = True
    status_before: str | None = None
    by_odoo: bool = False
    reason: str | None = None
    sent: Values | None = None
    seen: Values | None = None
    edited: bool = False
    refused: Values | None = None
    retry: bool = False

    @property
    def is_refused(self) -> bool:
        """Whether Mailchimp refused the last values and must not be asked again yet."""
        return bool(self.reason and not self.retry and self.refused is not None)


def next_step(known: Known) -> str:
    """Return what comes next for an address that an eligible contact stands for.

    :param known: what the ledger holds
    :return: the name of one of the steps in ``NEXT``
    """
    return next(
        step
        for step, conditions in NEXT
        if all(getattr(known, name) in values for name, values in conditions.items())
    )


def held(known: Known) -> Values:
    """Return the canonical values to compare the desired ones with.

    What Mailchimp made of our own last write (a trimmed text, say) does not count as a
    difference; what somebody changed there does.
    """
    if known.sent is None or (known.edited and known.seen):
        return known.seen or {"m": {}, "i": []}
    return known.sent


def decide(
    known: Known,
    wanted: bool,
    desired: Values | None,
    tags: Iterable[str],
    owned: Iterable[str],
    required: Collection[str] = (),
) -> tuple[str | None, Json | None]:
    """Return ``(operation, body)`` for one address.

    :param known: what the ledger holds
    :param wanted: the address belongs to an eligible contact
    :param desired: canonical values wanted, or ``None``
    :param tags: the mapped merge tags
    :param owned: ids of our groups
    :param required: tags of merge fields that must have a value
    :return: ``create``, ``update``, ``adopt`` (nothing to send, but the member is ours
        from now on), ``restore``, ``inquire`` (find out what an archived member said),
        ``archive`` or ``None``; and the body of an update
    """
    if not wanted:
        if known.ours and known.status in REACHABLE:
            return "archive", None
        return None, None
    if desired is None:
        raise ValueError("an address that is wanted has values")
    if known.reason in FINAL:
        return None, None
    if known.is_refused:
        # Refused as it is: only a changed value or the end of the wait is worth a call.
        # What was never sent because a required value is missing may go once Mailchimp
        # no longer requires it.
        is_same = known.refused == desired
        if is_same and (known.reason != "required_field" or missing(desired, required)):
            return None, None
        known = replace(known, refused=None)
    step = next_step(known)
    if step != "keep":
        return (step if step in (*COMING, "inquire") else None), None
    body = difference(desired, held(known), tags, owned, required)
    if body:
        return "update", body
    if known.sent is None or not known.ours or known.edited:
        # It is already as it should be, through somebody else or a call of ours whose
        # answer got lost: from now on this counts as sent.
        return "adopt", None
    return None, None


def may_restore(
    member: Json,
    events: Iterable[Json],
    since: str | None,
    unchanged_since: str | None = None,
) -> Json | bool:
    """Return whether an archived member may be subscribed again.

    :param member: the member as just read from Mailchimp
    :param events: its activity, with ``activity_type`` and ``created_at_timestamp``
    :param since: ISO time (UTC) when it was last seen subscribed
    :param unchanged_since: its ``last_changed`` after Odoo archived it; a later one
        shows that somebody changed it since
    :return: the event that forbids it (a "no" of the person rather than a bounce);
        ``True`` if it may, ``False`` if its status, or a change by somebody else,
        forbids it
    """
    if member.get("status") != "archived":
        return False
    found = [
        event
        for event in events
        if event.get("activity_type") in NO_EVENTS
        and event.get("bounce_type") != "soft"  # passes by itself
        and (not since or (event.get("created_at_timestamp") or "9") >= since)
    ]
    # The person's "no" counts for the contact; a bounce must not hide it.
    found.sort(key=lambda event: event["activity_type"] == "bounce")
    if found:
        return found[0]
    return not unchanged_since or (member.get("last_changed") or "9") <= unchanged_since


def brake(archives: int, members: int, percent: float) -> bool:
    """Return whether a run must wait for a person before it archives.

    :param archives: number of members that would leave because of scope, deletion or
        address; opt-outs never wait
    :param members: number of our members; those only in Mailchimp do not count
    :param percent: the share of them that may leave at once
    """
    return archives > 50 and archives * 100 > percent * members
