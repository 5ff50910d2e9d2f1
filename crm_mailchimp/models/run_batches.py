import math
from datetime import timedelta

from odoo import models
from odoo.tools import SQL

from ..engine import errors
from ..engine.address import member_hash
from ..engine.observe import utc
from .member_values import MemberValues

# From so many on, changes and archives go through Mailchimp's batch operations:
# slower to start, but no request each.
BATCH_FROM = 1000
BATCH = 500
POLL = timedelta(minutes=1)


class CrmMailchimpRun(models.Model):
    """Changes and archives of many members at once, by Mailchimp's batch operations."""

    _inherit = "crm.mailchimp.run"

    def _send_batches(self, gateway, reader, operation, deadline):
        """Hand planned changes or archives to Mailchimp's batch operations.

        Both can be repeated without harm, so a batch whose number got lost is simply
        sent again for what the next read does not show as done.
        """
        audience = self.account_id.audience_ref
        for rows in self._walk(reader, operation, lambda: BATCH, deadline):
            operations, sending = [], {}
            if operation == "archive":
                operations = [
                    {
                        "method": "DELETE",
                        "path": f"/lists/{audience}/members/{member_hash(row[1])}",
                        "operation_id": row[0],
                    }
                    for row in rows
                ]
            else:
                for row, desired, body in self._update_bodies(reader, rows):
                    sending[row[0]] = desired
                    operations.append(
                        {
                            "method": "PATCH",
                            "path": f"/lists/{audience}/members/{member_hash(row[1])}",
                            "operation_id": row[0],
                            "body": body,
                        }
                    )
            if not operations:
                continue
            batch = gateway.create_batch(operations)
            self.env["crm.mailchimp.member"]._update_rows(
                ("batch_ref", "sending", "values_sending"),
                [
                    (
                        item["operation_id"],
                        batch["id"],
                        operation,
                        sending.get(item["operation_id"]),
                    )
                    for item in operations
                ],
            )
            batches = (self.cursor or {}).get("batches") or []
            self._set_cursor(batches=[*batches, batch["id"]])
            self._commit()

    def _poll_batches(self, gateway):
        """Take in the results of finished batches; tell whether others are going on."""
        waiting = []
        batches = (self.cursor or {}).get("batches") or []
        for ref in batches:
            try:
                batch = gateway.batch(ref)
            except errors.NotFound:
                self._release_batch(ref)
                continue
            if batch["status"] != "finished":
                waiting.append(ref)
                continue
            self._record_batch(gateway, ref, batch)
            self._release_batch(ref)
            self._notify()
            self._commit()
        if batches != waiting:
            self._set_cursor(batches=waiting or None)
            self._commit()
        return bool(waiting)

    def _record_batch(self, gateway, ref, batch):
        reader = MemberValues(self.account_id)
        rows = {
            row[0]: row for row in reader.chunk(SQL("m.batch_ref = %s", ref), BATCH)
        }
        looks, not_ours = [], []
        when = utc(batch.get("completed_at")) or gateway.clock()
        results = gateway.batch_results(batch["response_body_url"])
        for operation_id, result in results:
            row = rows.get(int(operation_id or 0))
            if row is None or isinstance(result, errors.PASSING):
                continue
            known = reader.known(row)
            if not known["sending"]:
                # A reading has shown meanwhile what came of it; whose doing it was only
                # the result tells.
                if known["archived_by"] == "odoo":
                    if not isinstance(result, errors.MailchimpError):
                        self._count(archived=1, sent=1)
                    elif getattr(result, "code", None) == "not_archivable":
                        not_ours.append((row[0], "mailchimp"))
                continue
            # What was sent, not what is planned by now, nor what the contact holds.
            if known["sending"] == "archive":
                if getattr(result, "code", None) == "not_archivable":
                    looks.append(row)
                elif isinstance(result, errors.NotFound):
                    self._record_archive(reader, row, (None, None), when)
                elif isinstance(result, errors.MailchimpError):
                    self._record_archive(reader, row, result, when)
                else:
                    self._record_archive(reader, row, ("archived", None), when)
            else:
                self._record_update(reader, row, known["values_sending"], result)
        self.env["crm.mailchimp.member"]._update_rows(("archived_by",), not_ours)
        calls = (
            (row, gateway.archive_member, self._audience(), member_hash(row[1]))
            for row in looks
        )
        self._carry_out(
            gateway,
            calls,
            lambda row, result: self._record_archive(
                reader, row, result, gateway.clock()
            ),
            math.inf,
        )

    def _release_foreign_batches(self):
        """Let be sent again what a batch of a run that is over did not settle."""
        own = (self.cursor or {}).get("batches") or []
        self.env["crm.mailchimp.member"].search(
            [
                ("account_id", "=", self.account_id.id),
                ("batch_ref", "not in", [False, *own]),
            ]
        ).write({"batch_ref": False, "sending": False})

    def _release_batch(self, ref):
        """Let what a batch did not settle be sent again."""
        self.env["crm.mailchimp.member"].search([("batch_ref", "=", ref)]).write(
            {"batch_ref": False, "sending": False}
        )
