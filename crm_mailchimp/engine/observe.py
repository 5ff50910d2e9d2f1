"""What a member as read from Mailchimp means for the ledger."""

from collections.abc import Collection, Iterable
from datetime import datetime, timedelta, timezone

from .payload import same_values, seen_values
from .plan import NO, REACHABLE
from .vocabulary import Json, Period

# What gives a member a status again because somebody in Odoo wants it.
ASKED_FOR = ("restore", "readmit", "ask")
# What makes a member subscribed without the person doing anything.
OURS = ("create", "restore", "readmit")
MAX_ID = 2**31 - 1
# How long after a call that got no answer its change may be dated, and how much
# before: times of Mailchimp are known to the second or two.
ON_ITS_WAY = timedelta(minutes=1)
BEFORE = timedelta(seconds=5)
# How the reason begins where an application or a user unsubscribed a member.
BY_ADMIN = "N/A (Unsubscribed by"


def utc(stamp: str | None) -> datetime | None:
    """Return a time of the API as a naive UTC datetime; ``None`` if there is none.

    :param stamp: ISO 8601 with an offset, or ``""`` as Mailchimp writes "never"
    """
    if not stamp:
        return None
    try:
        moment = datetime.fromisoformat(stamp.replace("Z", "+00:00"))
        if moment.tzinfo:
            moment = moment.astimezone(timezone.utc).replace(tzinfo=None)
    except (ValueError, OverflowError):
        return None  # one odd time must not stop the reading of all members
    return moment


def link_id(entry: Json) -> int | None:
    """Return the number Mailchimp's own pages know a member or audience by.

    Only a link is made of it: one that no column can hold is done without.

    :param entry: of the API
    :return: a number, or ``None``
    """
    number = entry.get("web_id")
    return number if isinstance(number, int) and 0 < number <= MAX_ID else None


def observe(
    known: Json | None,
    member: Json,
    tags: Collection[str],
    owned: Collection[str],
    removals: Iterable[Period] = (),
) -> Json:
    """Compare a member as Mailchimp shows it with the ledger.

    :param known: dict with the ledger's ``status, status_before, archived_by,
        operation, sending, sent_at, batch_ref, last_changed, no_date, values_sent,
        values_sending, values_seen, edited, partner_id``; ``None`` for an address the
        ledger does not have
    :param member: the member of the API
    :param tags: the mapped merge tags
    :param owned: ids of our groups
    :param removals: as for :func:`is_removal`
    :return: a dict of ledger columns that changed; empty when there is no news
    """
    status, changed = member["status"], utc(member.get("last_changed"))
    known = known or {"partner_id": None}
    news = _status_news(known, member, changed, removals)
    if member.get("unsubscribe_reason") and status == "unsubscribed" and news:
        # "N/A (Unsubscribed)" is Mailchimp's word for "gave no reason".
        if not member["unsubscribe_reason"].startswith("N/A"):
            news["reason_text"] = member["unsubscribe_reason"]
    sent = known.get("values_sent")
    held = known.get("values_seen") or sent
    seen = seen_values(member, tags, owned, held)
    if held is None or not same_values(seen, held, owned):
        sending = known.get("values_sending")
        if sent is not None and same_values(seen, sent, owned):
            news.update(values_seen=None, edited=False)
        elif sending is not None and same_values(seen, sending, owned):
            # Our own change, carried out without an answer, is nobody's edit.
            news.update(values_sent=sending, values_seen=None, edited=False)
            if not known.get("batch_ref"):  # whose result is still to come
                news["values_sending"] = None
        else:
            news.update(values_seen=seen, edited=sent is not None)
    if news and changed:
        news["last_changed"] = changed
    if news and link_id(member) and not known.get("web_id"):
        news["web_id"] = link_id(member)
    return news


def is_ours(known: Json, changed: datetime | None) -> bool:
    """Return whether an archiving of ours that got no answer explains a change.

    The call may never have arrived, and somebody else archived the member later, after
    a "no" perhaps: only a change at the time of the call is ours. When a batch that is
    under way gets to a member nobody knows; its result tells.

    :param known: as for :func:`observe`
    :param changed: naive UTC datetime, or ``None``
    """
    if known.get("sending") != "archive":
        return False
    sent_at = known.get("sent_at")
    return bool(known.get("batch_ref")) or bool(
        sent_at and changed and sent_at - BEFORE <= changed <= sent_at + ON_ITS_WAY
    )


def is_removal(changed: datetime | None, removals: Iterable[Period]) -> bool:
    """Return whether Odoo's own removal of a group or tag explains a change.

    Mailchimp may date a change of everybody who was in it, archived members included.

    :param changed: naive UTC datetime, or ``None``
    :param removals: ``(first, last)`` moment of each such call, by Mailchimp's clock
    """
    if changed is None:
        return False
    return any(first <= changed <= last for first, last in removals)


def _status_news(
    known: Json, member: Json, changed: datetime | None, removals: Iterable[Period]
) -> Json:
    """Return what the status of a member, or a change of it, means for the ledger."""
    status, before = member["status"], known.get("status")
    if status == before:
        left_at = known.get("last_changed")
        if not (changed and left_at and changed > left_at):
            return {}
        if status == "archived" and known.get("archived_by") == "odoo":
            # It was changed since, so it may have said no in between.
            by_odoo = is_removal(changed, removals)
            return {"archived_by": "odoo" if by_odoo else "mailchimp"}
        if status == "unsubscribed" and not known.get("no_date"):
            # Odoo had let a pending member leave; now the person may say it itself.
            reason = member.get("unsubscribe_reason") or BY_ADMIN
            if not reason.startswith(BY_ADMIN):
                return {"no_date": changed}
        return {}
    news = {"status": status}
    if known.get("archived_by"):
        # Whoever archived it before: that is over.
        news.update(archived_by=None, status_before=None)
    asked_for = known.get("operation") in ASKED_FOR
    if status in REACHABLE and asked_for and known.get("origin") == "foreign":
        # Brought back by us: an opt-out in Odoo must find it to be ours.
        news["origin"] = "claimed"
    if status == "archived":
        # Our own call may have been carried out without an answer. That an archiving
        # was planned is no proof that it was sent.
        news["archived_by"] = "odoo" if is_ours(known, changed) else "mailchimp"
        if before:
            news["status_before"] = before
    elif status == "unsubscribed" and not is_ours(known, changed):
        news["no_date"] = changed
    elif status in REACHABLE and known.get("no_date"):
        news["no_date"] = None
    if status == "subscribed":
        if before in (*NO, "archived") and not asked_for:
            # The person signed up again by itself: that is not our doing.
            news["origin"] = "foreign"
        elif before is None and known.get("origin") and not known.get("operation"):
            # Likewise after the member was deleted, or got another address.
            news["origin"] = "foreign"
        news["opt_in_date"] = utc(
            member.get("timestamp_opt") or member.get("timestamp_signup")
        )
    return news


def said(
    known: Json | None, member: Json, news: Json
) -> tuple[str | None, datetime | None]:
    """Return what a person said in Mailchimp, of what :func:`observe` found.

    :param known: as for :func:`observe`, before the news
    :param member: the member of the API
    :param news: what :func:`observe` returned
    :return: ``(what, when)``: ``unsubscribed`` or ``cleaned``, ``yes`` for a sign-up or
        a confirmation, or ``None``; and a naive UTC datetime
    """
    status, known = news.get("status"), known or {}
    changed = utc(member.get("last_changed"))
    if status in NO or news.get("no_date"):
        if status == "unsubscribed" and is_ours(known, changed):
            # Odoo let a pending member leave: the "no" is Odoo's and on the list.
            return None, None
        return member["status"], changed
    if status == "subscribed" and known.get("operation") not in OURS:
        signed_up = utc(member.get("timestamp_opt") or member.get("timestamp_signup"))
        if signed_up or known:
            return "yes", signed_up or changed
        # Who is first seen subscribed, nobody knows since when, has said nothing: its
        # last change may be anybody's.
    return None, None


def agreed_since(status: str | None, member: Json, no_at: datetime) -> bool:
    """Return whether a person said yes in Mailchimp that the ledger does not know yet.

    :param status: the ledger's
    :param member: the member of the API
    :param no_at: naive UTC; a yes of the same second is not a later one
    """
    if member["status"] != "subscribed" or status == "subscribed":
        return False
    signed_up = utc(member.get("timestamp_opt") or member.get("timestamp_signup"))
    return bool(signed_up and signed_up > no_at)
