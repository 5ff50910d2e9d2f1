import logging
import math
import time
from datetime import timedelta

from odoo import fields

from ..engine.json_columns import Changes, WholeAudience
from ..engine.vocabulary import PUSHES
from .former import FormerAudiences
from .members import CURRENT, NO_LISTINGS, OVERLAP, MemberPhase
from .merge_fields import MergeFields
from .phase import OutOfTime
from .tags import Tags

_logger = logging.getLogger(__name__)

OUT = (False, "archived")
# Whoever unsubscribes, bounces, is archived or deleted no longer counts among these.
COUNTED = "subscribed"


class Pull(MemberPhase):
    """First step of every slice: what changed in Mailchimp since the ledger was right.

    Unless a listing is read to its end, the mark (``pulled_until``) stays where it was:
    an unsubscribe can lie below any number of newer changes. What takes longer than a
    slice goes on in the next one.
    """

    def work(self):
        """Bring the ledger up to date with what Mailchimp holds.

        :raise OutOfTime: when it has to go on in another slice
        """
        account = self.account
        self.beside(FormerAudiences).work()
        if not account._refs().merge_fields_read:
            self.beside(MergeFields).fetch()
        since = account._pulled_until()
        whole = self.run.kind == "full" and not self.cursor.full_read
        # What was begun is brought to its end, whatever the numbers say by now.
        whole = whole or bool(self.cursor.read_all)
        if since is not None:
            drifted = self._read_changes(since)
            if drifted and not whole:
                self.commit()
                # Somebody may have changed a member between the two calls.
                drifted = self._read_changes(since)
                if drifted:
                    _logger.info("Audience and ledger differ: reading everything.")
                    self.count(full_reads=1)
            whole = whole or drifted
        if since is None or whole:
            # What the changes explain does not count as a difference.
            self.commit()
            self._read_all(compare=since is not None)
        if account.look_again and self.run.kind in PUSHES:
            # Requests got lost: what was planned may be done by now. A push has to
            # know; a run that reads because of webhooks has planned nothing.
            account.look_again = False
            if self.run.phase in ("send", "verify"):
                self.run.phase = "diff"
        account._note_clock(self.gateway)
        self.commit()

    # === CHANGES === #

    def _read_changes(self, since):
        """Read members changed since a time, those who said no first.

        Our own writes are among the changes, and can be many. If there are exactly as
        many changes as the ledger knows of, and the newest of them are no news, the
        rest is left to the weekly comparison and the mark stays, unless requests got
        lost.

        If little changed, this takes three calls: the changes, the archived members,
        which are not among them, and the number of subscribed members. Archived members
        are always read: a batch subscribe would bring back one that the ledger does not
        know. The number of all members would not reveal a missed unsubscribe.

        :param datetime since: by Mailchimp's clock
        :return: whether the number shows that something was missed
        """
        state = self.cursor.changes or Changes()
        state.since = state.since or fields.Datetime.to_string(since - OVERLAP)
        since = fields.Datetime.to_datetime(state.since)
        many = self._written_since(since) >= self.PAGE
        # When current members are counted, those that left must not make up for new
        # ones.
        names = [*NO_LISTINGS, "archived", CURRENT] if many else ["archived", CURRENT]
        names = [name for name in names if name not in state.done]
        started, audience = time.monotonic(), self.account.audience_ref
        calls = [self._page_call(name, since) for name in names]
        if not many:
            calls.append(("count", self.gateway.member_count, audience, COUNTED))
        replies = self.together(calls)
        asked = self.gateway.clock() - timedelta(seconds=time.monotonic() - started + 1)
        state.mark = state.mark or fields.Datetime.to_string(asked)
        if not many and replies.get(CURRENT, {}).get("total_items", 0) > self.PAGE:
            # Those who said no may be below the first page.
            more = [name for name in NO_LISTINGS if name not in state.done]
            calls = [self._page_call(name, since) for name in more]
            replies.update(self.together(calls))
            names = [*more, *names]
        for name in names:
            self._read_listing(name, since, replies[name], state)
        if not state.skipped:
            self.run.pulled_until = fields.Datetime.to_datetime(state.mark)
        self.set_cursor(changes=None)
        return not many and self._has_drifted(replies["count"])

    def _read_listing(self, name, since, page, state):
        """Read a listing of changes to its end, given its first page.

        Members that leave the listing meanwhile move the others up, so that some may be
        skipped: it is read again if fewer turned up than Mailchimp counts.
        """
        first = state.offset.get(name, 0)
        seen = {member["email_address"].lower() for member in page["members"]}
        news, total = self.apply_seen(page["members"]), page["total_items"]
        if seen:
            self.commit()
        own = name == CURRENT and not news and not self.account.look_again
        if own and total > self.PAGE and total == self._written_since(since):
            state.skipped = True
            return
        for _attempt in range(3):
            offset = max(first, self.PAGE)
            while offset < total:
                offsets = range(
                    offset, min(total, offset + self.AT_ONCE * self.PAGE), self.PAGE
                )
                pages = self.together(
                    [self._page_call(name, since, start) for start in offsets],
                )
                for page in pages.values():
                    seen.update(m["email_address"].lower() for m in page["members"])
                    self.apply_seen(page["members"])
                    total = page["total_items"]
                offset = offsets[-1] + self.PAGE
                self.commit()
                # Only after a step forward, so that a slow Mailchimp is read at last.
                if offset < total and self.is_over():
                    state.offset = {name: offset}
                    self.set_cursor(changes=state)
                    self.commit()
                    raise OutOfTime
            if first or len(seen) >= total:
                break
        state.done.append(name)
        state.offset = {}

    def _written_since(self, since):
        """Return how many members the ledger knows to have changed since a time."""
        return self.env["crm.mailchimp.member"].search_count(
            [
                ("account_id", "=", self.account.id),
                ("last_changed", ">=", since),
                ("status", "not in", OUT),
            ]
        )

    def _has_drifted(self, number):
        """Return whether Mailchimp has a different number of subscribed members.

        :param int number: how many Mailchimp has
        """
        if self.run.kind == "webhook":
            # While many members change, numbers taken a moment apart differ. A push
            # checks whether something was missed, and reads everything if so.
            return False
        return number != self.env["crm.mailchimp.member"].search_count(
            [("account_id", "=", self.account.id), ("status", "=", COUNTED)]
        )

    def _page_call(self, name, since=None, offset=0, more=""):
        """Return a call for :meth:`together`: one page of a listing."""
        key = name if not offset else (name, offset)
        audience = self.account.audience_ref
        return key, self.page(audience, name, since, offset, more)

    # === EVERYTHING === #

    def _read_all(self, compare=False):
        """Read the whole audience, archived members included, into the ledger.

        Paging over a moving set can skip members, so it is read again if fewer turned
        up than Mailchimp counts. Members still missing afterwards are looked up one by
        one: those not found were permanently deleted.

        :param bool compare: the ledger should already hold all of it: count what
            differs
        """
        state = self.cursor.read_all or WholeAudience()
        known_tags = self.beside(Tags)
        for name in (CURRENT, "archived"):
            if getattr(state, name) == "done":
                continue
            for _attempt in range(3):
                seen, first = set(), getattr(state, name)
                offset, total = first, math.inf
                while offset < total:
                    last = min(
                        total,
                        offset + self.AT_ONCE * self.PAGE if offset else self.PAGE,
                    )
                    offsets = range(offset, last, self.PAGE)
                    tags = ",members.tags" if known_tags.exist() else ""
                    started = time.monotonic()
                    pages = self.together(
                        [self._page_call(name, None, start, tags) for start in offsets],
                    )
                    passed = timedelta(seconds=time.monotonic() - started + 1)
                    mark = fields.Datetime.to_string(self.gateway.clock() - passed)
                    state.mark = state.mark or mark
                    for page in pages.values():
                        total = page["total_items"]
                        seen.update(m["email_address"].lower() for m in page["members"])
                        news = self.apply_seen(page["members"], mark=self.run.id)
                        news += known_tags.compare(page["members"])
                        self.count(repaired=news if compare else 0)
                    offset = offsets[-1] + self.PAGE
                    setattr(state, name, offset)
                    self.set_cursor(read_all=state)
                    self.checkpoint()
                    if offset < total and self.is_over():
                        raise OutOfTime
                setattr(state, name, 0)
                if first or len(seen) >= total:
                    break
            setattr(state, name, "done")
            self.set_cursor(read_all=state)
        self._look_up_vanished()
        self.set_cursor(read_all=None, full_read=True)
        self.run.read_all = True
        # What changed during the reading is read once more.
        self.run.pulled_until = fields.Datetime.to_datetime(state.mark)
        self.commit()

    def _look_up_vanished(self):
        """Find out what became of members that reading the audience did not show."""
        Member = self.env["crm.mailchimp.member"]
        while True:
            vanished = Member.search(
                [
                    ("account_id", "=", self.account.id),
                    ("status", "!=", False),
                    ("seen_in_run", "!=", self.run.id),
                ],
                limit=100,
            )
            if not vanished:
                return
            self.look_up(
                vanished, lambda looked: looked.write({"seen_in_run": self.run.id})
            )
            if self.is_over():
                raise OutOfTime
