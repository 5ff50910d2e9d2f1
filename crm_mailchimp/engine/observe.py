"""What a member as read from Mailchimp means for the ledger."""

from collections.abc import Collection, Iterable
from datetime import datetime, timedelta, timezone

from .payload import same_values, seen_values
from .plan import NO, REACHABLE
from .vocabulary import Json, Period

# Operations that give a member a status again because somebody in Odoo wants it.
ASKED_FOR = ("restore", "readmit", "ask")
# Operations that subscribe a member without the person doing anything.
OURS = ("create", "restore", "readmit")
MAX_ID = 2**31 - 1
# How long after an unanswered call its change may be dated, and how long before:
# Mailchimp's times are only known to within a second or two.
ON_ITS_WAY = timedelta(minutes=1)
BEFORE = timedelta(seconds=5)
# How the reason begins when an application or a user unsubscribed a member.
BY_ADMIN = "N/A (Unsubscribed by"


def utc(stamp: str | None) -> datetime | None:
    """Return a time from the API as a naive UTC datetime; ``None`` if there is none.

    :param stamp: ISO 8601 with an offset, or ``""``, Mailchimp's way to write "never"
    """
    if not stamp:
        return None
    try:
        # As Mailchimp writes it: a report has hundreds of thousands of times.
        moment = datetime.fromisoformat(
            stamp.removesuffix("+00:00").replace("Z", "+00:00")
        )
        if moment.tzinfo:
            moment = moment.astimezone(timezone.utc).replace(tzinfo=None)
    except (ValueError, OverflowError):
        return None  # one odd time must not stop the reading of all members
    return moment


def link_id(entry: Json) -> int | None:
    """Return the number by which Mailchimp's own pages know a member or audience.

    It is only used for a link, so a number that no column can hold is dropped.

    :param entry: the member or audience as the API returns it
    :return: a number, or ``None``
    """
    number = entry.get("web_id")
    return number if isinstance(number, int) and 0 < number <= MAX_ID else None


def contact_ref(member: Json) -> str | None:
    """Return Mailchimp's id of the person, which outlasts a change of the address.

    :param member: the member as the API returns it
    """
    ref = member.get("contact_id")
    return ref if isinstance(ref, str) and ref else None


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
        values_sending, values_seen, edited, partner_id, contact_ref``; ``None`` for
        an address the ledger does not have
    :param member: the member as the API returns it
    :param tags: the mapped merge tags
    :param owned: ids of our groups
    :param removals: as for :func:`is_removal`
    :return: a dict of the ledger columns that changed; empty when there is no news
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
            # Our own change, whose answer got lost, is nobody's edit.
            news.update(values_sent=sending, values_seen=None, edited=False)
            if not known.get("batch_ref"):  # a batch's result is still to come
                news["values_sending"] = None
        else:
            news.update(values_seen=seen, edited=sent is not None)
    if news and changed:
        news["last_changed"] = changed
    if news and link_id(member) and not known.get("web_id"):
        news["web_id"] = link_id(member)
    if news and contact_ref(member):
        news["contact_ref"] = contact_ref(member)
    return news


def is_ours(known: Json, changed: datetime | None) -> bool:
    """Return whether an unanswered archive call of ours explains a change.

    The call may never have arrived and somebody else may have archived the member
    later, perhaps after a "no": only a change at the time of the call is ours. A batch
    under way may get to the member at any time; its result shows whose change it was.

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

    Mailchimp may date that as a change to everybody who was in the group or tag,
    archived members included.

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
            # It was changed since, so the person may have said no in between.
            by_odoo = is_removal(changed, removals)
            return {"archived_by": "odoo" if by_odoo else "mailchimp"}
        if status == "unsubscribed" and not known.get("no_date"):
            # Odoo had let a pending member leave; now the person may have said no too.
            reason = member.get("unsubscribe_reason") or BY_ADMIN
            if not reason.startswith(BY_ADMIN):
                return {"no_date": changed}
        return {}
    news = {"status": status}
    if known.get("archived_by"):
        # Whoever archived it before, that no longer holds.
        news.update(archived_by=None, status_before=None)
    asked_for = known.get("operation") in ASKED_FOR
    if status in REACHABLE and asked_for and known.get("origin") == "foreign":
        # We brought it back, so it must count as ours if the contact opts out in Odoo.
        news["origin"] = "claimed"
    if status == "archived":
        # It may be our own call, whose answer got lost. That an archiving was planned
        # does not prove that it was sent.
        news["archived_by"] = "odoo" if is_ours(known, changed) else "mailchimp"
        if before:
            news["status_before"] = before
    elif status == "unsubscribed" and not is_ours(known, changed):
        news["no_date"] = changed
    elif status in REACHABLE and known.get("no_date"):
        news["no_date"] = None
    if status == "subscribed":
        if before in (*NO, "archived") and not asked_for:
            # The person signed up again on their own: that is not our doing.
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
    """Return what the person said in Mailchimp, given what :func:`observe` found.

    :param known: as for :func:`observe`, before the news
    :param member: the member as the API returns it
    :param news: what :func:`observe` returned
    :return: ``(what, when)``: ``unsubscribed`` or ``cleaned``, ``yes`` for a sign-up or
        a confirmation, or ``None``; and a naive UTC datetime
    """
    status, known = news.get("status"), known or {}
    changed = utc(member.get("last_changed"))
    if status in NO or news.get("no_date"):
        if status == "unsubscribed" and is_ours(known, changed):
            # Odoo let a pending member leave: the "no" is Odoo's and already listed.
            return None, None
        return member["status"], changed
    if status == "subscribed" and known.get("operation") not in OURS:
        signed_up = utc(member.get("timestamp_opt") or member.get("timestamp_signup"))
        if signed_up or known:
            return "yes", signed_up or changed
        # First seen when already subscribed, nobody knows since when: the person has
        # said nothing, and the last change may be anybody's.
    return None, None


def agreed_since(status: str | None, member: Json, no_at: datetime) -> bool:
    """Return whether the person said yes in Mailchimp, unknown to the ledger so far.

    :param status: the status in the ledger
    :param member: the member as the API returns it
    :param no_at: time of the "no" (naive UTC); a yes in the same second is not later
    """
    if member["status"] != "subscribed" or status == "subscribed":
        return False
    signed_up = utc(member.get("timestamp_opt") or member.get("timestamp_signup"))
    return bool(signed_up and signed_up > no_at)
