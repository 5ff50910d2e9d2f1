"""The calls of :class:`.gateway.Gateway` about members.

Only two of them can make somebody get mail: :meth:`MemberCalls.subscribe_batch`, which
touches no member that Mailchimp knows, and :meth:`MemberCalls.restore_member`. Others
let a member leave, or change its values or address.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any

from . import batches
from .address import member_hash
from .calls import PAGE, Calls, items_of, names_of
from .errors import MailchimpError, NotFound, Protocol, Rejected, classify_member
from .vocabulary import Json

SUBSCRIBE_LIMIT = 500


class MemberCalls(Calls):
    """What the gateway can ask and change about members."""

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

        Without a status, archived members seem to be left out: ask for them separately.

        :param status: only members with this status
        :param since: datetime (UTC, or with its zone); only members changed after it
        :param sort: ``desc`` or ``asc``, by ``last_changed``; pages overlap unless an
            order is given
        :param fields: names such as ``members.id``, in a list or separated by commas;
            everything if ``None``
        :param filters: other filters of the SDK's ``get_list_members_info``
        """
        if fields:
            filters["fields"] = sorted({"total_items", *(names_of(fields) or ())})
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
        items_of(reply, "members")
        return reply

    def member_count(self, ref: str, status: str | None = None) -> int:
        """Return the number of members as of now (the audience's own one is cached)."""
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

        :raise NotFound: also if it was permanently deleted: the two look the same
        """
        return self._lists.get_list_member(ref, email_hash, fields=names_of(fields))

    def find_member(
        self, ref: str, email_hash: str, contact_ref: str | None = None
    ) -> Json | None:
        """Return one member, archived ones included, or ``None``.

        :param contact_ref: Mailchimp's id of the person, who is found by it if the
            address was changed there; the member returned then has another one
        """
        try:
            return self.member(ref, email_hash)
        except NotFound:
            return self.find_member(ref, contact_ref) if contact_ref else None

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
            for entry in items_of(reply, "errors")
        ]
        return items_of(reply, "new_members"), errors

    def patch_member(self, ref: str, email_hash: str, body: Json) -> Json:
        """Change values or the address of a known member, never its status.

        :raise ValueError: for a body with a status
        :raise NotFound: the member is not there; nothing is created
        """
        batches.check_update(body)
        return self._lists.update_list_member(ref, email_hash, body)

    def restore_member(self, ref: str, email_hash: str, status: str) -> Json:
        """Give a known member a status again; the caller has checked that this is fine.

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
        405, so a refusal does not prove that the member is gone: it is looked at. If it
        were left pending, the person could still subscribe by the confirmation mail.
        This is the only other status ever written; it stops mail and never starts it.

        :return: ``(status, member)``: the status it has now, ``None`` when Mailchimp
            does not have it, and the member, if it was looked at
        :raise Protocol: the member is still subscribed or pending afterwards
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
        self,
        ref: str,
        email_hash: str,
        stays: Callable[[Json], bool] | None = None,
        contact_ref: str | None = None,
    ) -> tuple[Json | None, Json | None]:
        """Look at a member, archive it unless it said no, and check that it left.

        Archiving must not hide an unsubscribe that no reading has seen yet: a member
        that said no, or bounced, is left as it is.

        :param stays: called with the member that was found; true if it is to be left
            as it is
        :param contact_ref: as of :meth:`find_member`
        :return: ``(seen, left)``: the member before and afterwards, ``None`` where
            Mailchimp does not have it
        """
        seen = self.find_member(ref, email_hash, contact_ref)
        if seen is None or seen["status"] not in ("subscribed", "pending"):
            return seen, seen
        if stays and stays(seen):
            return seen, seen
        email_hash = member_hash(seen["email_address"])
        _status, left = self.archive_member(ref, email_hash)
        try:
            return seen, left or self.find_member(ref, email_hash)
        except MailchimpError as error:
            error.outcome_unknown = True  # the archiving was already requested
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
        return items_of(
            self._lists.get_list_member_activity(ref, email_hash), "activity"
        )

    def abuse_reports(self, ref: str) -> list[Json]:
        """Return all complaints of an audience."""
        return self._all(
            "abuse_reports",
            self._lists.get_list_abuse_reports,
            ref,
            exclude_fields=["abuse_reports._links"],
        )
