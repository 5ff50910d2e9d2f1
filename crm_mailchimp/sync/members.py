from datetime import timedelta
from functools import partial
from itertools import chain

from ..engine import errors
from ..engine.address import member_hash
from .phase import Phase

# Mailchimp documents neither whether the boundary belongs to the window nor how soon a
# change shows in a listing.
OVERLAP = timedelta(minutes=10)
FIELDS = (
    "total_items,members.email_address,members.status,members.last_changed,"
    "members.merge_fields,members.interests,members.language,members.web_id,"
    "members.contact_id,members.unsubscribe_reason,members.timestamp_opt,"
    "members.timestamp_signup"
)
# Listings by name; the one without a status leaves archived members out.
CURRENT = "current"
NO_LISTINGS = ("unsubscribed", "cleaned")


class MemberPhase(Phase):
    """A phase that reads members and notes in the ledger what it sees."""

    PAGE = 1000
    AT_ONCE = 4  # pages requested together

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
        """Carry out several reading calls at once.

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
        """Read individual members, as many as there is time for.

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
        return self.gateway.find_member, audience, digest, member.contact_ref or None

    def _note_looks(self, replies):
        """Note what looks at members showed.

        :param dict replies: member of the API by record, ``None`` when it is not there
        """
        self.apply_seen([reply for reply in replies.values() if reply])
        missing = {
            member: reply and reply["email_address"].lower()
            for member, reply in replies.items()
            if not reply or reply["email_address"].lower() != member.email_normalized
        }
        if missing:
            self._conclude(missing)

    def _conclude(self, missing):
        """Note what became of members that are not under their address any more.

        :param dict missing: ``{member: the address it has now, None if it has none}``
        :raise NotFound: when the audience itself is gone, which says nothing of them
        """
        account, Member = self.account, self.env["crm.mailchimp.member"]
        members = Member.union(*missing)
        # If the answer to a change of address got lost, the member has its new one.
        moved = Member.search(
            [("moved_from_id", "in", members.ids), ("status", "!=", False)]
        )
        told = self.env["crm.mailchimp.webhook.delivery"]._new_addresses(
            account, [member.email_normalized for member in members]
        )
        rows, renamed, deleted = [], [], []
        for member, address in missing.items():
            address = address or told.get(member.email_normalized)
            if member in moved.moved_from_id:
                rows.append((member.id, None, None))
            elif address:
                renamed.append((member.id, address))
            elif member.status:
                deleted.append((member.id, member.email_normalized, member.status))
            else:
                rows.append((member.id, member.reason or None, "create"))
        Member._update_rows(
            ("reason", "operation"), rows, status=None, values_seen=None
        )
        self.env["crm.mailchimp.segment"]._move_tagged(
            [(m.moved_from_id.id, m.id) for m in moved]
        )
        Member._update_rows(("moved_from_id",), [(m.id, None) for m in moved])
        account._note_renamed(renamed)
        self.count(deleted_in_mailchimp=account._note_gone(self.gateway, deleted))
