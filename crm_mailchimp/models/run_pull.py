import logging
import math
import time
from datetime import timedelta
from functools import partial
from itertools import chain

from odoo import fields, models

from ..engine import errors
from ..engine.address import member_hash
from .crm_mailchimp_run import OutOfTime

_logger = logging.getLogger(__name__)

# Nobody documents whether the boundary belongs to the window, nor how soon a change
# shows in a listing.
OVERLAP = timedelta(minutes=10)
PAGE = 1000
AT_ONCE = 4  # pages asked for together
FIELDS = (
    "total_items,members.email_address,members.status,members.last_changed,"
    "members.merge_fields,members.interests,members.language,members.web_id,"
    "members.unsubscribe_reason,members.timestamp_opt,members.timestamp_signup"
)
# Listings by name; the one without a status leaves archived members out.
CURRENT = "current"
NO_LISTINGS = ("unsubscribed", "cleaned")
OUT = (False, "archived")
# Whoever unsubscribes, bounces, is archived or deleted lacks in their number.
COUNTED = "subscribed"


class CrmMailchimpRun(models.Model):
    """First of every tick: what changed in Mailchimp since the ledger was right.

    A listing is read to its end, or the mark (``pulled_until``) stays where it was: an
    unsubscribe can lie below any number of newer changes. What takes longer than a
    slice goes on with the next one.
    """

    _inherit = "crm.mailchimp.run"

    def _pull(self, gateway, deadline=math.inf):
        """Bring the ledger up to what Mailchimp holds.

        :raise OutOfTime: when it has to go on in another slice
        """
        account = self.account_id
        self._read_formers(gateway, deadline)
        if not account._refs().get("merge_fields_read"):
            self._read_merge_fields(gateway)
        since = account._pulled_until()
        whole = self.kind == "full" and not (self.cursor or {}).get("full_read")
        if since is not None:
            drifted = self._read_changes(gateway, since, deadline)
            if drifted and not whole:
                # Somebody may have changed a member between the two calls.
                drifted = self._read_changes(gateway, since, deadline)
                if drifted:
                    _logger.info("Audience and ledger differ: reading everything.")
                    self._count(full_reads=1)
            whole = whole or drifted
        if since is None or whole:
            # What the changes explain is no difference.
            self._read_all(gateway, deadline, compare=since is not None)
        if account.look_again and self.kind != "webhook":
            # Requests got lost: what was planned may be done by now. A push has to
            # know; a run that reads what webhooks told has planned nothing.
            account.look_again = False
            if self.phase in ("send", "verify"):
                self.phase = "diff"
        account._note_clock(gateway)
        self._commit()

    # === CHANGES === #

    def _read_changes(self, gateway, since, deadline):
        """Read members changed since a time, those who said no first.

        Our own writes are among the changes, and can be many. When there are exactly
        as many as the ledger knows of, and the newest of them are no news, the rest is
        left for the weekly comparison, and the mark stays; not when requests got lost.

        Three calls when little changed: the changes, those archived, which are not
        among them, and the number of members that are subscribed. Archived members are
        read in any case: a batch subscribe would bring back one that the ledger does
        not know. The total would not show an unsubscribe that was missed.

        :param datetime since: by Mailchimp's clock
        :return: whether the number shows that something was missed
        """
        state = dict((self.cursor or {}).get("changes") or {})
        state.setdefault("since", fields.Datetime.to_string(since - OVERLAP))
        state.setdefault("done", [])
        since = fields.Datetime.to_datetime(state["since"])
        many = self._written_since(since) >= PAGE
        # Who left the current ones must not stand for somebody new when they are
        # counted.
        names = [*NO_LISTINGS, "archived", CURRENT] if many else ["archived", CURRENT]
        names = [name for name in names if name not in state["done"]]
        started = time.monotonic()
        calls = [self._page_call(gateway, name, since) for name in names]
        if not many:
            calls.append(("count", gateway.member_count, self._audience(), COUNTED))
        replies = self._together(gateway, calls)
        asked = gateway.clock() - timedelta(seconds=time.monotonic() - started + 1)
        state.setdefault("mark", fields.Datetime.to_string(asked))
        if not many and replies.get(CURRENT, {}).get("total_items", 0) > PAGE:
            # Who said no may lie below the first page.
            more = [name for name in NO_LISTINGS if name not in state["done"]]
            calls = [self._page_call(gateway, name, since) for name in more]
            replies.update(self._together(gateway, calls))
            names = [*more, *names]
        for name in names:
            self._read_listing(gateway, name, since, replies[name], state, deadline)
        if not state.get("skipped"):
            self.pulled_until = fields.Datetime.to_datetime(state["mark"])
        self._set_cursor(changes=None)
        self._commit()
        return not many and self._has_drifted(replies["count"])

    def _read_listing(self, gateway, name, since, page, state, deadline):
        """Read a listing of changes to its end, given its first page.

        Members that leave the listing meanwhile move the others up, so that some may be
        skipped: it is read again while fewer turned up than Mailchimp counts.
        """
        first = state.get("offset", {}).get(name, 0)
        seen = {member["email_address"].lower() for member in page["members"]}
        news, total = self._apply_seen(page["members"]), page["total_items"]
        self._commit()
        own = name == CURRENT and not news and not self.account_id.look_again
        if own and total > PAGE and total == self._written_since(since):
            state["skipped"] = True
            return
        for _attempt in range(3):
            offset = max(first, PAGE)
            while offset < total:
                offsets = range(offset, min(total, offset + AT_ONCE * PAGE), PAGE)
                pages = self._together(
                    gateway,
                    [self._page_call(gateway, name, since, start) for start in offsets],
                )
                for page in pages.values():
                    seen.update(m["email_address"].lower() for m in page["members"])
                    self._apply_seen(page["members"])
                    total = page["total_items"]
                offset = offsets[-1] + PAGE
                self._commit()
                # After a step forward, however slow Mailchimp is.
                if offset < total and time.monotonic() >= deadline:
                    state["offset"] = {name: offset}
                    self._set_cursor(changes=state)
                    self._commit()
                    raise OutOfTime
            if first or len(seen) >= total:
                break
        state["done"].append(name)
        state.pop("offset", None)

    def _written_since(self, since):
        """Return how many members the ledger knows to have changed since a time."""
        return self.env["crm.mailchimp.member"].search_count(
            [
                ("account_id", "=", self.account_id.id),
                ("last_changed", ">=", since),
                ("status", "not in", OUT),
            ]
        )

    def _has_drifted(self, number):
        """Tell whether Mailchimp has another number of subscribed members."""
        return number != self.env["crm.mailchimp.member"].search_count(
            [("account_id", "=", self.account_id.id), ("status", "=", COUNTED)]
        )

    # === CALLS === #

    def _audience(self):
        return self.account_id.audience_ref

    def _page_call(self, gateway, name, since=None, offset=0, more=""):
        """Return a call for ``gateway.map``: one page of a listing, newest first."""
        key = name if not offset else (name, offset)
        return key, partial(
            gateway.members,
            self._audience(),
            status=None if name == CURRENT else name,
            since=since,
            count=PAGE,
            offset=offset,
            fields=FIELDS + more,
        )

    def _together(self, gateway, calls):
        """Ask several things at once.

        :param calls: ``(key, function, *arguments)``
        :return: ``{key: reply}`` in the order of the calls
        :raise MailchimpError: the first error
        """
        replies = {key: None for key, *_call in calls}
        for key, reply in chain.from_iterable(gateway.map(calls)):
            if isinstance(reply, errors.MailchimpError):
                raise reply
            replies[key] = reply
        return replies

    # === EVERYTHING === #

    def _read_all(self, gateway, deadline, compare=False):
        """Read the whole audience, archived members included, into the ledger.

        Paging over a moving set can skip members, so it is read again while fewer
        turned up than Mailchimp counts. Members that are gone afterwards are looked
        up one by one: they were deleted for good.

        :param bool compare: the ledger should hold all of it already: count what
            differs
        """
        state = dict((self.cursor or {}).get("read_all") or {})
        for name in (CURRENT, "archived"):
            if state.get(name) == "done":
                continue
            for _attempt in range(3):
                seen, first = set(), state.get(name) or 0
                offset, total = first, math.inf
                while offset < total:
                    last = min(total, offset + AT_ONCE * PAGE if offset else PAGE)
                    offsets = range(offset, last, PAGE)
                    tags = ",members.tags" if self._tags_known() else ""
                    started = time.monotonic()
                    pages = self._together(
                        gateway,
                        [
                            self._page_call(gateway, name, None, start, tags)
                            for start in offsets
                        ],
                    )
                    passed = timedelta(seconds=time.monotonic() - started + 1)
                    mark = fields.Datetime.to_string(gateway.clock() - passed)
                    state.setdefault("mark", mark)
                    for page in pages.values():
                        total = page["total_items"]
                        seen.update(m["email_address"].lower() for m in page["members"])
                        news = self._apply_seen(page["members"], mark=self.id)
                        news += self._compare_tags(page["members"])
                        self._count(repaired=news if compare else 0)
                    offset = offsets[-1] + PAGE
                    state[name] = offset
                    self._set_cursor(read_all=state)
                    self._notify()
                    self._commit()
                    if offset < total and time.monotonic() >= deadline:
                        raise OutOfTime
                state[name] = 0
                if first or len(seen) >= total:
                    break
            state[name] = "done"
            self._set_cursor(read_all=state)
        self._look_up_vanished(gateway, deadline)
        self._set_cursor(read_all=None, full_read=True)
        self.read_all = True
        # What changed while it was read is read once more.
        self.pulled_until = fields.Datetime.to_datetime(state["mark"])
        self._commit()

    def _look_up_vanished(self, gateway, deadline):
        """Find out what became of members the whole audience did not show."""
        Member = self.env["crm.mailchimp.member"]
        while True:
            vanished = Member.search(
                [
                    ("account_id", "=", self.account_id.id),
                    ("status", "!=", False),
                    ("seen_in_run", "!=", self.id),
                ],
                limit=100,
            )
            if not vanished:
                return
            self._look_up(gateway, vanished)
            vanished.write({"seen_in_run": self.id})
            self._commit()
            if time.monotonic() >= deadline:
                raise OutOfTime

    # === SINGLE MEMBERS === #

    def _look_up(self, gateway, members):
        """Read single members; one that is not there was deleted for good.

        A deleted address cannot come back by us: Mailchimp refuses it, and a person
        who wants to must sign up again.
        """
        account = self.account_id
        replies = self._together(
            gateway,
            [
                (
                    member,
                    gateway.find_member,
                    account.audience_ref,
                    member_hash(member.email_normalized),
                )
                for member in members
            ],
        )
        gone = [member for member, reply in replies.items() if reply is None]
        self._apply_seen([reply for reply in replies.values() if reply])
        Member = self.env["crm.mailchimp.member"]
        # The answer to a change of address got lost: the member is under its new one.
        moved = Member.search(
            [("moved_from_id", "in", members.ids), ("status", "!=", False)]
        )
        moved_from = moved.moved_from_id
        rows, forgotten = [], []
        for member in gone:
            if member in moved_from:
                rows.append((member.id, None, None, None, None))
            elif member.status:
                rows.append((member.id, None, "forgotten", None, None))
                forgotten.append(member.email_normalized)
            else:
                rows.append((member.id, None, member.reason or None, "create", None))
        Member._update_rows(("status", "reason", "operation", "values_seen"), rows)
        self.env["crm.mailchimp.segment"]._move_tagged(
            [(m.moved_from_id.id, m.id) for m in moved if m.moved_from_id in gone]
        )
        Member._update_rows(("moved_from_id",), [(m.id, None) for m in moved])
        account._note_forgotten(forgotten)
        self._count(deleted_in_mailchimp=len(forgotten))

    def _apply_seen(self, entries, mark=None):
        """Bring the ledger up to date; return the number of members with news."""
        news, unsubscribed = self.account_id._apply_seen(entries, mark)
        self._count(unsubscribed=unsubscribed)
        return news
