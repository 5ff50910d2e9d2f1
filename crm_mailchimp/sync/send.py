from datetime import timedelta

from odoo import fields

from .archives import Archives
from .batches import Batches
from .coming_back import Asks, Restores
from .consent import ConsentUpdate
from .contact_tags import ContactTags
from .creates import Creates
from .groups import Groups
from .members import MemberPhase
from .merge_fields import MergeFields
from .moves import Moves
from .permissions import Permissions
from .room import ADDING, Room
from .sending import SendingPhase
from .tags import Tags
from .updates import Updates

POLL = timedelta(minutes=1)
# Phases that send without an operation planned in the ledger.
UNPLANNED = (Tags, ContactTags, Permissions)
AGAIN = 3  # how often a run compares again; the next run does what is left then


class Send(SendingPhase):
    """Carry out what was planned.

    By construction, nobody can be resubscribed here by accident: only addresses that
    Mailchimp does not know are subscribed (and it is told not to touch others), known
    members are changed without their status, and members that come back are looked at
    first.
    """

    def work(self):
        # Set until every request has been answered, so that if this run dies or is
        # cancelled, the next one checks again.
        self.account.look_again = True
        self.commit()
        waiting, refusal = self.beside(Batches).work(), None
        room = self.beside(Room)
        for step, is_adding in self._steps():
            if self.is_lost():
                break
            if is_adding:
                refusal = room.try_adding(step) or refusal
            else:
                step()
            if self.is_over():
                break
        # Answers to changes and archives may have shown that somebody said no.
        self.beside(ConsentUpdate).work(whole=True)
        if refusal and not self.is_lost():
            room.conclude(refusal)
        self.account.look_again = False
        if self.is_lost():
            self._find_lost()
            return "diff"
        left = self.env["crm.mailchimp.member"].search_count(
            [
                ("account_id", "=", self.account.id),
                ("operation", "not in", self._not_for_now()),
                ("batch_ref", "=", False),
            ],
            limit=1,
        )
        if left or any(self.beside(phase).wait() for phase in UNPLANNED):
            return None
        if waiting or self.cursor.batches:
            at = fields.Datetime.now() + POLL
            self.run.write({"state": "waiting", "resume_at": at})
            self.env.ref("crm_mailchimp.ir_cron_push")._trigger(at=at)
            return "wait"
        return "verify"

    def _steps(self):
        """Return ``(step, whether it adds contacts the plan counts)``, in order."""
        restores = self.beside(Restores)
        return (
            (self.beside(Archives).work, False),
            # A "no" hidden by archiving also counts for the contact's other addresses:
            # those who may have said no are looked at before anybody is subscribed.
            (restores.inquire, False),
            (restores.restore, True),
            (self.beside(Moves).work, False),
            (self.beside(Creates).work, True),
            (self.beside(Updates).work, False),
            (restores.readmit, True),
            (self.beside(Asks).work, True),
            (self.beside(Tags).send, False),
            (self.beside(ContactTags).send, False),
            (self.beside(Permissions).send, False),
        )

    def _not_for_now(self):
        """Return the operations that no further step of this run carries out."""
        return (False, "read", *(ADDING if self.is_full() else ()))

    def _find_lost(self):
        """Recreate groups and merge fields that somebody deleted in Mailchimp."""
        merge_fields, groups = self.beside(MergeFields), self.beside(Groups)
        merge_fields.fetch()
        merge_fields.create_missing()
        groups.forget_missing()
        groups.create_missing()
        self.set_cursor(lost=None, looked=True, groups=None)
        self.commit()


class Verify(MemberPhase):
    """Look at what is uncertain; the next run checks whether the numbers agree."""

    def work(self):
        Member = self.env["crm.mailchimp.member"]
        account = self.account
        uncertain = Member.search(
            [("account_id", "=", account.id), ("operation", "=", "read")], limit=500
        )
        self.look_up(uncertain, self._settle)
        again = self.cursor.again
        if self.cursor.plan_again and again < AGAIN:
            self.set_cursor(again=again + 1, plan_again=None)
            return "diff"
        return "done"

    def _settle(self, looked):
        looked.filtered(lambda m: m.operation == "read").operation = False
        # What is known now was planned on a guess.
        self.set_cursor(plan_again=True)
