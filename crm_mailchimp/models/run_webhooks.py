import math
import time
from functools import partial

from odoo import fields, models

from ..engine import webhooks
from ..engine.address import member_hash
from .crm_mailchimp_run import PUSHES, OutOfTime
from .crm_mailchimp_webhook_delivery import DROPPED

# With more addresses than this to look at, reading the changes takes fewer calls.
FEW = 3
# Deliveries settled in one transaction.
CHUNK = 1000
# Addresses asked for together, of those that no listing shows.
UNSEEN = 20


class CrmMailchimpAccount(models.Model):
    _inherit = "crm.mailchimp.account"

    def _due_runs(self, kind, now):
        """Add the run that reads what webhooks told, unless a push does so anyway."""
        due = super()._due_runs(kind, now)
        if kind == "stats" or self.state != "linked":
            return due
        Run = self.env["crm.mailchimp.run"]
        open_runs = Run.search(
            [("account_id", "=", self.id), ("state", "in", Run.OPEN_STATES)]
        )
        run = open_runs.filtered(lambda run: run.kind == "webhook")
        pushing = open_runs.filtered(
            lambda run: run.kind in PUSHES and run.state in ("queued", "running")
        )
        waiting = self.env["crm.mailchimp.webhook.delivery"]._last_waiting(self)
        if not (run or waiting) or self._is_copy():
            return due
        if not run and not pushing:
            run, _created = Run._get_or_create(self, "webhook")
        return due | run.filtered(lambda run: run._is_due(now))


class CrmMailchimpRun(models.Model):
    """What webhooks told: a look at the members, then what only a delivery tells.

    Runs are entered by one scheduled action only, so no other reading of members or
    push of the account is at work meanwhile. A push begins with a reading of changes
    itself and settles the deliveries after it.
    """

    _inherit = "crm.mailchimp.run"

    def _work_webhook(self, gateway, deadline):
        """Work on a run of kind *webhook*; see ``_run_slice``."""
        Delivery = self.env["crm.mailchimp.webhook.delivery"]
        account = self.account_id
        last = Delivery._last_waiting(account)
        try:
            if last:
                emails = Delivery._addresses(account, last, FEW + 1)
                many = len(emails) > FEW or Delivery.search_count(
                    [
                        ("account_id", "=", account.id),
                        ("processed_at", "=", False),
                        ("kind", "=", DROPPED),
                    ],
                    limit=1,
                )
                if many or account._pulled_until() is None:
                    self._pull(gateway, deadline)
                else:
                    self._look_at(gateway, emails)
            self._settle_deliveries(gateway, deadline, last)
            self._apply_no(deadline)
        except OutOfTime:
            return False
        self._end("done")
        return True

    def _pull(self, gateway, deadline=math.inf):
        """Settle deliveries after the reading that a push begins with."""
        if self.kind not in PUSHES:
            return super()._pull(gateway, deadline)
        last = self.env["crm.mailchimp.webhook.delivery"]._last_waiting(self.account_id)
        super()._pull(gateway, deadline)
        return self._settle_deliveries(gateway, deadline, last)

    def _has_drifted(self, number):
        # While many members change, numbers taken a moment apart differ. A push looks
        # whether something was missed, and reads all if it was.
        return self.kind != "webhook" and super()._has_drifted(number)

    def _apply_seen(self, entries, mark=None):
        news = super()._apply_seen(entries, mark)
        self.env["crm.mailchimp.webhook.delivery"]._note_seen(self.account_id, entries)
        return news

    def _look_at(self, gateway, emails):
        """Read single members by their addresses, whether the ledger has them or not.

        :param list emails: a few
        """
        account = self.account_id
        Member = self.env["crm.mailchimp.member"]
        known = Member.search(
            [
                ("account_id", "=", account.id),
                ("email_normalized", "in", emails),
                ("status", "!=", False),
            ]
        )
        others = set(emails) - set(known.mapped("email_normalized"))
        replies = self._together(
            gateway,
            [
                (
                    email,
                    partial(
                        gateway.find_member, account.audience_ref, member_hash(email)
                    ),
                )
                for email in sorted(others)
            ],
        )
        # The new address first: it says what became of the former one.
        self._apply_seen([reply for reply in replies.values() if reply])
        self._look_up(gateway, known)
        gone = [email for email, reply in replies.items() if reply is None]
        gone += known.filtered(lambda m: not m.status).mapped("email_normalized")
        self.env["crm.mailchimp.webhook.delivery"]._note_seen(
            account, [{"email_address": email, "status": None} for email in gone]
        )
        self._commit()

    def _settle_deliveries(self, gateway, deadline, last):
        """Do what only deliveries tell, and note that they are processed.

        Members that no reading has shown since their "no" was delivered are looked at
        first: what Mailchimp shows of them decides.

        :param last: id of the newest delivery to settle, ``None`` if there is none
        :raise OutOfTime: when it has to go on in another slice
        """
        if not last:
            return
        Delivery = self.env["crm.mailchimp.webhook.delivery"]
        account = self.account_id
        looked_at = set()
        while emails := Delivery._addresses(account, last, UNSEEN, unseen=True):
            if looked_at.issuperset(emails):
                break  # an answer about somebody else
            looked_at.update(emails)
            self._look_at(gateway, emails)
            if time.monotonic() >= deadline:
                raise OutOfTime
        while rows := Delivery._waiting(account, last, CHUNK):
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
            self._count(told_no=len({row["email"] for row in no}))
            self._wake_campaigns(
                {row["campaign_ref"] for row in rows if row["kind"] == "campaign"}
            )
            Delivery._settle(outcomes)
            account._note_delivery(max(row["received_at"] for row in rows))
            self._commit()

    def _wake_campaigns(self, refs):
        """Have the results of campaigns read soon that Mailchimp told about."""
        if not refs:
            return
        self.env["crm.mailchimp.campaign"].search(
            [
                ("account_id", "=", self.account_id.id),
                ("campaign_ref", "in", list(refs)),
            ]
        ).write({"next_poll": fields.Datetime.now()})
        # Which also finds campaigns that Odoo does not know yet.
        self.env.ref("crm_mailchimp.ir_cron_stats")._trigger()
