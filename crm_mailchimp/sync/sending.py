from datetime import timedelta

from odoo import fields
from odoo.tools import SQL

from ..engine import errors, payload
from ..engine.address import member_hash
from ..engine.plan import FINAL
from ..engine.vocabulary import ABOUT_ADDRESS
from .member_values import MemberValues
from .members import MemberPhase

BATCH = 500
# "Signed up to many lists recently" passes after some days.
PASSING = timedelta(days=3)


class SendingPhase(MemberPhase):
    """A phase that carries out planned operations, one kind of them.

    The operations were committed before; outcomes are committed when they are there.
    What gets lost in between is seen by the next tick, which reads first.
    """

    # From so many on, changes and archives go through Mailchimp's batch operations:
    # slower to start, but no request each.
    BATCH_FROM = 1000
    # So many members in a row for which Mailchimp does not allow it are no coincidence.
    FORBIDDEN = 8
    forbidden = 0  # in a row until now
    trouble = None  # what a second look found then, if there was one

    def planned(self, operation, limit=None):
        """Return how many rows have an operation planned, up to a limit."""
        return self.env["crm.mailchimp.member"].search_count(
            [
                ("account_id", "=", self.account.id),
                ("operation", "=", operation),
                ("batch_ref", "=", False),
            ],
            limit=limit,
        )

    def walk(self, reader, operation, size):
        """Yield chunks of planned rows in the order of their addresses.

        Rows that are under way still have their operation, so the walk goes forward
        only; it ends with the time or the rows.

        :param size: function that returns how many rows the next chunk should have
        """
        after = ""
        while not self.is_over():
            rows = reader.chunk(
                SQL(
                    "m.operation = %s AND m.email_normalized > %s"
                    " AND m.batch_ref IS NULL",
                    operation,
                    after,
                ),
                size(),
            )
            if not rows:
                return
            after = rows[-1].email
            yield rows

    def carry_out(self, calls, record, whole=False, finish=None):
        """Carry out calls several at once; record and commit each outcome.

        An error that concerns the whole account ends it, but not before the calls
        that are under way have told what came of them.

        :param calls: iterator of ``(tag, function, *arguments)``, for the gateway's
            ``map``
        :param record: called with the tag and the result or the error of one member
        :param bool whole: whether all are begun, even when the slice is over
        :param finish: as for the gateway's ``map``
        :raise MailchimpError: the first one that is not about a single member
        """
        trouble = []

        def should_stop():
            return trouble or self.is_lost() or not whole and self.is_over()

        def is_trouble(result):
            try:
                return not self.is_of_member(result)
            except errors.PASSING:
                return True  # nobody can say yet

        for outcomes in self.gateway.map(calls, should_stop, finish):
            for tag, result in outcomes:
                if is_trouble(result):
                    trouble.append(result)
                else:
                    record(tag, result)
            self.checkpoint()
        if trouble:
            raise trouble[0]

    def is_of_member(self, result):
        """Return whether it is a result, or an error that is about one member only.

        What Mailchimp does not allow for one member it may not allow for any: that
        shows when the account is looked at, or by several of them in a row.

        :raise Retryable, Protocol: there is no answer to that look
        """
        if not isinstance(result, errors.MemberForbidden):
            self.forbidden = 0
            return not isinstance(result, errors.MailchimpError) or isinstance(
                result, (errors.Rejected, errors.NotFound)
            )
        self.forbidden += 1
        if self.trouble is None:
            self.trouble = self.account._second_look() or False
        return not self.trouble and self.forbidden < self.FORBIDDEN

    def one_by_one(self, operation, act):
        """Call ``act`` with each planned row and commit what came of it.

        :return: whether there was any
        """
        if not self.planned(operation, limit=1):
            return False
        reader = MemberValues(self.account)
        for rows in self.walk(reader, operation, lambda: 20):
            # A transaction goes on seeing what was there when it began.
            self.commit()
            for row in rows:
                try:
                    act(reader, row)
                except errors.MemberForbidden as error:
                    if not self.is_of_member(error):
                        raise
                    self.record_refusals([(row, None, error)])
                else:
                    self.forbidden = 0
                self.commit()
                if self.is_over():
                    return True
        return True

    def by_batches(self, reader, operation, make):
        """Hand planned changes or archives to Mailchimp's batch operations.

        Both can be repeated without harm, so a batch whose number got lost is simply
        sent again for what the next read does not show as done.

        :param make: makes of a chunk of rows ``[(operation of the API, values it
            sends)]``
        """
        for rows in self.walk(reader, operation, lambda: BATCH):
            made = make(rows)
            if not made:
                continue
            batch = self.gateway.create_batch([item for item, _values in made])
            self.env["crm.mailchimp.member"]._update_rows(
                ("batch_ref", "sending", "values_sending"),
                [
                    (item["operation_id"], batch["id"], operation, values)
                    for item, values in made
                ],
            )
            self.set_cursor(batches=[*self.cursor.batches, batch["id"]])
            self.commit()

    def batched(self, method, row, body=None):
        """Return an operation on the member of a row for a batch."""
        audience = self.account.audience_ref
        item = {
            "method": method,
            "path": f"/lists/{audience}/members/{member_hash(row.email)}",
            "operation_id": row.id,
        }
        return dict(item, body=body) if body else item

    def record_refusals(self, refusals):
        """Note why single members were refused: ``[(row, desired, error)]``."""
        now = fields.Datetime.now()
        rows, exists = [], []
        for row, desired, error in refusals:
            code = getattr(error, "code", "other")
            if code == "interest_gone" and self.note_lost():
                continue  # it is sent again when the group is there again
            if code == "member_exists":
                exists.append((row.id,))
                continue
            # What is forbidden may be allowed once somebody changes a role or the plan.
            passes = code == "too_many_signups" or isinstance(error, errors.Forbidden)
            known = dict(self.env["crm.mailchimp.member"]._fields["reason"].selection)
            rows.append(
                (
                    row.id,
                    code if code in known else "other",
                    error.words,
                    None if code in FINAL else desired,
                    now + PASSING if passes else None,
                )
            )
        Member = self.env["crm.mailchimp.member"]
        Member._update_rows(
            ("reason", "reason_text", "values_refused", "next_try"),
            rows,
            operation=None,
        )
        Member._update_rows((), exists, operation="read")
        self._note_barred(
            [(row.email, error) for row, _desired, error in refusals],
        )
        self.count(refused=len(rows), sent=len(rows))

    def _note_barred(self, refusals):
        """Remember addresses Mailchimp will not take because of what they once said."""
        account = self.account
        now = account._mailchimp_now()
        self.env["crm.mailchimp.suppression"]._note(
            account._no_row(email, error.code, now, error.detail)
            for email, error in refusals
            if getattr(error, "code", None) in ABOUT_ADDRESS
        )

    # === WHAT SOMEBODY DELETED IN MAILCHIMP MEANWHILE === #

    def note_lost(self):
        """Note that a group or merge field that was sent is not there any more.

        :return: whether it has to be looked for; once in a run is enough
        """
        if self.cursor.looked:
            return False
        if not self.is_lost():
            self.set_cursor(lost=True)
        return True

    def is_lost(self):
        return self.cursor.lost

    def stored(self, desired, member, before=None):
        """Return what Mailchimp kept of the values sent, going by its reply.

        It takes values of merge fields that it does not have, and drops them.

        :param dict desired: canonical values that were sent
        :param dict member: the member of the API in the reply
        :param before: canonical values the member had before
        """
        kept = payload.stored(desired, member, before)
        return kept if kept is not desired and self.note_lost() else desired
