import math

from odoo import fields

from ..engine import errors
from ..engine.json_columns import FormerAudience
from .members import NO_LISTINGS, OVERLAP, MemberPhase
from .phase import OutOfTime


class FormerAudiences(MemberPhase):
    """First step of the first pull: what was said in the former audience."""

    def work(self):
        """Read what was said in former audiences since their last run.

        Any that has not been read to its end is read before anything else in the new
        audience is looked at, so nobody is subscribed in the meantime. The new
        account's key is used, because an archived account has none.

        :raise OutOfTime: when it has to go on in another slice
        :raise MailchimpError: the next run tries again
        """
        for former in self.account._formers():
            if not former.is_last_reading_due:
                continue
            try:
                self._read_last_words(former)
            except errors.NotFound:
                self._confirm_gone(former)
            former.is_last_reading_due = False
            self.set_cursor(former=None)
            self.commit()

    def _read_last_words(self, former):
        """Read who unsubscribed or bounced in a former audience since its last run.

        A listing is read again if fewer members turned up than Mailchimp counts:
        members that leave it meanwhile move the others up, so some may be skipped.
        """
        since = former._pulled_until()
        since = since and since - OVERLAP
        state = self.cursor.former
        if not state or state.id != former.id:
            state = FormerAudience(id=former.id)
        for name in NO_LISTINGS:
            if name in state.done:
                continue
            for _attempt in range(3):
                first = offset = state.offset
                seen, total = set(), math.inf
                while offset < total:
                    # The first page shows how many there are.
                    pages = self.AT_ONCE if total < math.inf else 1
                    offsets = range(offset, offset + pages * self.PAGE, self.PAGE)
                    replies = self.together(
                        [
                            (start, self.page(former.audience_ref, name, since, start))
                            for start in offsets
                            if start < total
                        ],
                    )
                    for reply in replies.values():
                        total = reply["total_items"]
                        seen.update(
                            m["email_address"].lower() for m in reply["members"]
                        )
                        _news, said_no = former._apply_seen(reply["members"])
                        self.count(unsubscribed=said_no)
                    offset = offsets[-1] + self.PAGE
                    state.offset = offset if offset < total else 0
                    self.set_cursor(former=state)
                    self.commit()
                    if offset < total and self.is_over():
                        raise OutOfTime
                if first or len(seen) >= total:
                    break
            state.done.append(name)
            self.set_cursor(former=state)
            self.commit()
            if self.is_over():
                raise OutOfTime

    def _confirm_gone(self, former):
        """Make sure that a former audience was deleted, and log what that means.

        :raise Protocol: the audience still exists; the next run tries again
        """
        try:
            self.gateway.audience(former.audience_ref)
        except errors.NotFound:
            until = former._pulled_until()
            self.account._message_log(
                body=self.env._(
                    "The previous audience %(name)s is no longer in this Mailchimp "
                    "account. Odoo does not know who unsubscribed there after "
                    "%(date)s UTC.",
                    name=former.audience_name,
                    date=fields.Datetime.to_string(until or former.create_date),
                )
            )
            return
        raise errors.Protocol("Mailchimp has an audience, but not its members.")
