from contextlib import suppress

from odoo.tools import SQL

from ..engine import errors
from ..engine.address import member_hash
from ..engine.observe import utc
from .archives import Archives
from .member_values import MemberValues
from .phase import OutOfTime
from .sending import BATCH, SendingPhase
from .updates import Updates


class Batches(SendingPhase):
    """Results of changes and archives that were sent as batch operations."""

    def work(self):
        """Take in the results of finished batches, as far as there is time.

        :return: whether any are still under way
        """
        batches = self.cursor.batches
        with suppress(OutOfTime):
            self.ask_each([(ref, self._find, ref) for ref in batches], self._take_in)
        return bool(self.cursor.batches)

    def _find(self, ref):
        try:
            return self.gateway.batch(ref)
        except errors.NotFound:
            return None

    def _take_in(self, found):
        for ref, batch in found.items():
            left = [other for other in self.cursor.batches if other != ref]
            if batch and batch["status"] != "finished":
                # The next slice asks for the others first.
                self.set_cursor(batches=[*left, ref])
                continue
            if batch:
                self._record(ref, batch)
            self._release(ref)
            self.set_cursor(batches=left or None)
            self.checkpoint()

    def _record(self, ref, batch):
        reader = MemberValues(self.account)
        updates, archives = self.beside(Updates), self.beside(Archives)
        rows = {
            str(row.id): row
            for row in reader.chunk(SQL("m.batch_ref = %s", ref), BATCH)
        }
        looks, not_ours = [], []
        when = utc(batch.get("completed_at")) or self.gateway.clock()
        results = self.gateway.batch_results(batch["response_body_url"])
        for operation_id, result in results:
            row = rows.get(str(operation_id))
            if row is None or isinstance(result, errors.PASSING):
                continue
            if not row.sending:
                # A reading has already shown what became of it; only the result says
                # whose doing it was.
                if row.archived_by == "odoo":
                    if not isinstance(result, errors.MailchimpError):
                        self.count(archived=1, sent=1)
                    elif getattr(result, "code", None) == "not_archivable":
                        not_ours.append((row.id, "mailchimp"))
                continue
            # By what was sent, not by what is planned or what the contact holds by now.
            if row.sending == "archive":
                if getattr(result, "code", None) == "not_archivable":
                    looks.append(row)
                elif isinstance(result, errors.NotFound):
                    archives.record(reader, row, (None, None), when)
                elif isinstance(result, errors.MailchimpError):
                    archives.record(reader, row, result, when)
                else:
                    archives.record(reader, row, ("archived", None), when)
            else:
                updates.record(reader, row, row.values_sending, result)
        self.env["crm.mailchimp.member"]._update_rows(("archived_by",), not_ours)
        calls = (
            (
                row,
                self.gateway.archive_member,
                self.account.audience_ref,
                member_hash(row.email),
            )
            for row in looks
        )
        self.carry_out(
            calls,
            lambda row, result: archives.record(
                reader, row, result, self.gateway.clock()
            ),
            whole=True,
        )

    def _release(self, ref):
        """Release the rows that a batch did not settle, so that they are sent again."""
        self.env["crm.mailchimp.member"].search([("batch_ref", "=", ref)]).write(
            {"batch_ref": False, "sending": False}
        )
