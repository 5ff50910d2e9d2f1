import math
import time
from functools import partial

from odoo import fields, models

from ..engine import errors
from .crm_mailchimp_run import OutOfTime
from .run_pull import AT_ONCE, FIELDS, NO_LISTINGS, OVERLAP, PAGE


class CrmMailchimpAccount(models.Model):
    """Another audience was linked: what people said in the former one still counts.

    The former audience stays with its account, which is archived with its ledger.
    Nothing is written to it any more, but who unsubscribed there after its last run
    must not be subscribed to the new one.
    """

    _inherit = "crm.mailchimp.account"

    former_id = fields.Many2one(
        "crm.mailchimp.account",
        string="Account of the previous audience",
        readonly=True,
        copy=False,
        ondelete="set null",
    )
    # Of an archived account: since when another audience is linked, by Mailchimp's
    # clock, and whether what was said in its own until then has still to be read.
    replaced_at = fields.Datetime(string="Replaced on", readonly=True, copy=False)
    is_last_reading_due = fields.Boolean(readonly=True, copy=False)

    def _replaced_by(self, account):
        """Note that another audience is linked now, by ``account``."""
        self.ensure_one()
        self.sudo().write(
            {"replaced_at": self._mailchimp_now(), "is_last_reading_due": True}
        )
        account.sudo().former_id = self

    def _formers(self):
        """Return the accounts of the audiences before this one, the last one first."""
        found, account = self.browse(), self.with_context(active_test=False)
        while (account := account.former_id) and account not in found:
            found += account
        return found


class CrmMailchimpRun(models.Model):
    """First of the first pull: what was said in the former audience."""

    _inherit = "crm.mailchimp.run"

    def _read_formers(self, gateway, deadline=math.inf):
        """Read what was said in former audiences since their last run.

        Each that was not read to its end is, before anything else of the new audience
        is looked at, so nobody is subscribed meanwhile. It takes the key of the new
        account, as an archived one has none.

        :raise OutOfTime: when it has to go on in another slice
        :raise MailchimpError: it is tried again with the next run
        """
        for former in self.account_id._formers():
            if not former.is_last_reading_due:
                continue
            try:
                self._read_last_words(gateway, former, deadline)
            except errors.NotFound:
                self._confirm_gone(gateway, former)
            former.is_last_reading_due = False
            self._set_cursor(former=None)
            self._commit()

    def _read_last_words(self, gateway, former, deadline):
        """Read who unsubscribed or bounced in a former audience since its last run.

        A listing is read again while fewer members turned up than Mailchimp counts:
        members that leave it meanwhile move the others up.
        """
        since = former._pulled_until()
        since = since and since - OVERLAP
        state = (self.cursor or {}).get("former") or {}
        if state.get("id") != former.id:
            state = {"id": former.id, "done": [], "offset": 0}
        for name in NO_LISTINGS:
            if name in state["done"]:
                continue
            for _attempt in range(3):
                first = offset = state["offset"]
                seen, total = set(), math.inf
                while offset < total:
                    # The first page tells how many there are.
                    pages = AT_ONCE if total < math.inf else 1
                    offsets = range(offset, offset + pages * PAGE, PAGE)
                    replies = self._together(
                        gateway,
                        [
                            (
                                start,
                                partial(
                                    gateway.members,
                                    former.audience_ref,
                                    status=name,
                                    since=since,
                                    count=PAGE,
                                    offset=start,
                                    fields=FIELDS,
                                ),
                            )
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
                        self._count(unsubscribed=said_no)
                    offset = offsets[-1] + PAGE
                    state["offset"] = offset if offset < total else 0
                    self._set_cursor(former=state)
                    self._commit()
                    if offset < total and time.monotonic() >= deadline:
                        raise OutOfTime
                if first or len(seen) >= total:
                    break
            state["done"] = [*state["done"], name]
            self._set_cursor(former=state)
            self._commit()
            if time.monotonic() >= deadline:
                raise OutOfTime

    def _confirm_gone(self, gateway, former):
        """Make sure that a former audience was deleted, and tell what that means.

        :raise Protocol: when it is there all the same: it is tried again
        """
        try:
            gateway.audience(former.audience_ref)
        except errors.NotFound:
            until = former._pulled_until()
            self.account_id._message_log(
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
