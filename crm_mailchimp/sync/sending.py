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
    """A phase that carries out one kind of planned operation.

    The operations were committed beforehand; outcomes are committed as they arrive.
    Whatever gets lost in between is found by the next slice, which reads first.
    """

    # From this many on, changes and archives go through Mailchimp's batch operations:
    # slower to start, but without a request for each.
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

        Rows under way still have their operation, so the walk only goes forward; it
        ends when the time or the rows run out.

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
        """Carry out several calls at once; record and commit each outcome.

        An error that concerns the whole account stops the work, but only after the
        outcomes of the calls under way have been recorded.

        :param calls: iterator of ``(tag, function, *arguments)``, for the gateway's
            ``map``
        :param record: called with the tag and the result or the error of one member
        :param bool whole: whether to start all calls, even after the slice is over
        :param finish: as for the gateway's ``map``
        :raise MailchimpError: the first error that is not about a single member
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
        """Call ``act(reader, row)`` for each planned row and commit its outcome.

        :return: whether there were any
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

        Both can be repeated without harm: if the id of a batch gets lost, whatever the
        next reading does not show as done is simply sent again.

        :param make: function that turns a chunk of rows into ``[(operation for the
            API, values it sends)]``
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
        """Return a batch operation on the member of a row."""
        audience = self.account.audience_ref
        item = {
            "method": method,
            "path": f"/lists/{audience}/members/{member_hash(row.email)}",
            "operation_id": row.id,
        }
        return dict(item, body=body) if body else item

    def record_refusals(self, refusals):
        """Note why individual members were refused: ``[(row, desired, error)]``."""
        now = fields.Datetime.now()
        rows, exists = [], []
        for row, desired, error in refusals:
            code = getattr(error, "code", "other")
            if code == "interest_gone" and self.note_lost():
                continue  # it is sent again once the group exists again
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
        """Note on the do-not-email list the addresses that Mailchimp itself bars."""
        account = self.account
        now = account._mailchimp_now()
        self.env["crm.mailchimp.suppression"]._note(
            account._no_row(email, error.code, now, error.detail)
            for email, error in refusals
            if getattr(error, "code", None) in ABOUT_ADDRESS
        )

    # === WHAT SOMEBODY DELETED IN MAILCHIMP MEANWHILE === #

    def note_lost(self):
        """Note that a group or merge field that was sent no longer exists.

        :return: whether it has to be looked for; once per run is enough
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

        It accepts values of merge fields that it does not have, and drops them.

        :param dict desired: canonical values that were sent
        :param dict member: the member in the API's reply
        :param before: canonical values the member had before
        """
        kept = payload.stored(desired, member, before)
        return kept if kept is not desired and self.note_lost() else desired
