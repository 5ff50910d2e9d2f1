from datetime import timedelta
from functools import partial
from itertools import chain

from ..engine import errors
from ..engine.address import member_hash
from .phase import Phase

# Nobody documents whether the boundary belongs to the window, nor how soon a change
# shows in a listing.
OVERLAP = timedelta(minutes=10)
FIELDS = (
    "total_items,members.email_address,members.status,members.last_changed,"
    "members.merge_fields,members.interests,members.language,members.web_id,"
    "members.unsubscribe_reason,members.timestamp_opt,members.timestamp_signup"
)
# Listings by name; the one without a status leaves archived members out.
CURRENT = "current"
NO_LISTINGS = ("unsubscribed", "cleaned")


class MemberPhase(Phase):
    """A phase that reads members and notes in the ledger what it sees."""

    PAGE = 1000
    AT_ONCE = 4  # pages asked for together

    def page(self, audience, name, since=None, offset=0, more=""):
        """Return a call of the gateway: one page of a listing, newest first.

        :param str audience: its id
        :param str name: a status, or :data:`CURRENT`
        :param since: datetime by Mailchimp's clock: only members changed after it
        :param str more: further fields to read, each after a comma
        """
        return partial(
            self.gateway.members,
            audience,
            status=None if name == CURRENT else name,
            since=since,
            count=self.PAGE,
            offset=offset,
            fields=FIELDS + more,
        )

    def together(self, calls):
        """Ask several things at once.

        :param calls: ``(key, function, *arguments)``
        :return: ``{key: reply}`` in the order of the calls
        :raise MailchimpError: the first error
        """
        replies = {key: None for key, *_call in calls}
        for key, reply in chain.from_iterable(self.gateway.map(calls)):
            if isinstance(reply, errors.MailchimpError):
                raise reply
            replies[key] = reply
        return replies

    def apply_seen(self, entries, mark=None):
        """Bring the ledger up to date; return the number of members with news."""
        news, unsubscribed = self.account._apply_seen(entries, mark)
        self.count(unsubscribed=unsubscribed)
        self.env["crm.mailchimp.webhook.delivery"]._note_seen(self.account, entries)
        return news

    def look_up(self, members, keep=None):
        """Read single members, as many as there is time for.

        :param keep: called with those that were read, before that is committed
        :raise OutOfTime: when others are left for another slice
        """
        Member = self.env["crm.mailchimp.member"]

        def note(replies):
            self._note_looks(replies)
            if keep:
                keep(Member.union(*replies))

        self.ask_each([(member, *self._look(member)) for member in members], note)

    def look_at(self, member):
        """Read a single member now; what it shows is for the caller to commit."""
        find, *arguments = self._look(member)
        self._note_looks({member: find(*arguments)})

    def _look(self, member):
        audience = self.account.audience_ref
        digest = member_hash(member.email_normalized)
        return self.gateway.find_member, audience, digest

    def _note_looks(self, replies):
        """Note what looks at members showed; one that is gone was deleted for good.

        A deleted address cannot come back by us: Mailchimp refuses it, and a person
        who wants to must sign up again.

        :param dict replies: member of the API by record, ``None`` when it is not there
        """
        account = self.account
        Member = self.env["crm.mailchimp.member"]
        members = Member.union(*replies)
        gone = [member for member, reply in replies.items() if reply is None]
        self.apply_seen([reply for reply in replies.values() if reply])
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
        self.count(deleted_in_mailchimp=len(forgotten))
