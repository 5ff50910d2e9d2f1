from functools import partial

from odoo import fields

from ..engine import webhooks
from ..engine.address import member_hash
from ..engine.vocabulary import DROPPED
from .consent import ConsentUpdate
from .members import MemberPhase
from .phase import OutOfTime
from .pull import Pull

# With more addresses than this to look at, reading the changes takes fewer calls.
FEW = 3
# Deliveries settled in one transaction.
CHUNK = 1000
# Addresses looked up together, among those that no listing shows.
UNSEEN = 20


class Deliveries(MemberPhase):
    """Webhook deliveries: looks at the members, then at what only deliveries say."""

    def __init__(self, run, gateway, deadline):
        super().__init__(run, gateway, deadline)
        self.deliveries = self.env["crm.mailchimp.webhook.delivery"]

    def last_waiting(self):
        """Return the id of the newest waiting delivery, ``None`` if there is none."""
        return self.deliveries._last_waiting(self.account)

    def look_at(self, last):
        """Read the members that the deliveries up to ``last`` are about.

        :raise OutOfTime: when it has to go on in another slice
        """
        account = self.account
        emails = self.deliveries._addresses(account, last, FEW + 1)
        many = len(emails) > FEW or self.deliveries.search_count(
            [
                ("account_id", "=", account.id),
                ("processed_at", "=", False),
                ("kind", "=", DROPPED),
            ],
            limit=1,
        )
        if many or account._pulled_until() is None:
            self.beside(Pull).work()
        else:
            self._look_at(emails)

    def _look_at(self, emails):
        """Read individual members by address, whether the ledger has them or not.

        :param list emails: a few
        :raise OutOfTime: when others are left for another slice
        """
        account = self.account
        Member = self.env["crm.mailchimp.member"]
        known = Member.search(
            [
                ("account_id", "=", account.id),
                ("email_normalized", "in", emails),
                ("status", "!=", False),
            ]
        )
        others = set(emails) - set(known.mapped("email_normalized"))
        # The new address first: it shows what became of the former one.
        self.ask_each(
            [
                (
                    email,
                    partial(
                        self.gateway.find_member,
                        account.audience_ref,
                        member_hash(email),
                    ),
                )
                for email in sorted(others)
            ],
            self._note_others,
        )
        self.look_up(
            known,
            lambda looked: self._note_gone(
                looked.filtered(lambda m: not m.status).mapped("email_normalized")
            ),
        )

    def _note_others(self, replies):
        """Note what addresses showed that were no members by the ledger."""
        self.apply_seen([reply for reply in replies.values() if reply])
        self._note_gone([email for email, reply in replies.items() if reply is None])

    def _note_gone(self, emails):
        self.deliveries._note_seen(
            self.account, [{"email_address": email, "status": None} for email in emails]
        )

    def settle(self, last):
        """Act on what only deliveries say, and note that they are processed.

        Members that no reading has shown since their "no" was delivered are looked at
        first: what Mailchimp shows about them decides.

        :param last: id of the newest delivery to settle, ``None`` if there is none
        :raise OutOfTime: when it has to go on in another slice
        """
        if not last:
            return
        account = self.account
        looked_at = set()
        while emails := self.deliveries._addresses(account, last, UNSEEN, unseen=True):
            if looked_at.issuperset(emails):
                break  # still not shown: the answer was about somebody else
            looked_at.update(emails)
            self._look_at(emails)
            if self.is_over():
                raise OutOfTime
        while rows := self.deliveries._waiting(account, last, CHUNK):
            outcomes, no = {}, []
            for row in rows:
                email = row["email_normalized"]
                found = email and webhooks.verdict(
                    row,
                    {
                        "status": row["seen_status"] or None,
                        "agreed_at": row["agreed_at"],
                    },
                    {"sent_at": row["sent_at"]},
                )
                if found:
                    no.append(account._no_row(email, *found))
                handled = email or row["kind"] in ("campaign", DROPPED)
                handled = handled and row["kind"] in (*webhooks.EVENTS, DROPPED)
                outcome = "no" if found else "read" if handled else "ignored"
                outcomes[row["id"]] = outcome
            self.env["crm.mailchimp.suppression"]._note(no)
            self.count(told_no=len({row["email"] for row in no}))
            self._wake_campaigns(
                {row["campaign_ref"] for row in rows if row["kind"] == "campaign"}
            )
            self.deliveries._settle(outcomes)
            account._note_delivery(max(row["received_at"] for row in rows))
            self.commit()

    def _wake_campaigns(self, refs):
        """Schedule the reading of campaigns that Mailchimp sent a delivery about."""
        if not refs:
            return
        self.env["crm.mailchimp.campaign"].search(
            [
                ("account_id", "=", self.account.id),
                ("campaign_ref", "in", list(refs)),
            ]
        ).write({"next_poll": fields.Datetime.now()})
        # This also finds campaigns that Odoo does not know yet.
        self.env.ref("crm_mailchimp.ir_cron_stats")._trigger()


class WebhookReading(MemberPhase):
    """A run of kind *webhook*: read and settle what webhooks delivered.

    Only one scheduled action works on runs, so no other reading of the account's
    members and no push is going on meanwhile. A push settles deliveries after its own
    reading.
    """

    def work(self):
        """Work until all is settled or the time is up.

        :return: ``False`` when work remains that can go on at once
        """
        deliveries = self.beside(Deliveries)
        last = deliveries.last_waiting()
        try:
            if last:
                deliveries.look_at(last)
            deliveries.settle(last)
            self.beside(ConsentUpdate).work()
        except OutOfTime:
            return False
        self.run._end("done")
        return True
