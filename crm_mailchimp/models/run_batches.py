from datetime import timedelta

from odoo import models
from odoo.tools import SQL

from ..engine import errors
from ..engine.address import member_hash
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
        for rows in self._walk(reader, operation, BATCH, deadline):
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
                ("batch_ref", "values_sending"),
                [
                    (
                        item["operation_id"],
                        batch["id"],
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
            self._record_batch(gateway, ref, batch["response_body_url"])
            self._release_batch(ref)
            self._notify()
            self._commit()
        if batches != waiting:
            self._set_cursor(batches=waiting or None)
            self._commit()
        return bool(waiting)

    def _record_batch(self, gateway, ref, url):
        reader = MemberValues(self.account_id)
        rows = {
            row[0]: row for row in reader.chunk(SQL("m.batch_ref = %s", ref), BATCH)
        }
        for operation_id, result in gateway.batch_results(url):
            row = rows.get(int(operation_id or 0))
            if row is None or isinstance(result, (errors.Retryable, errors.Protocol)):
                continue
            if reader.known(row)["operation"] == "archive":
                gone = isinstance(result, errors.NotFound) or (
                    isinstance(result, errors.Rejected)
                    and result.code == "already_archived"
                )
                self._record_archive(reader, row, {} if gone else result)
            else:
                # What was sent, not what the contact holds by now.
                desired = reader.known(row)["values_sending"]
                self._record_update(reader, row, desired, result)

    def _release_batch(self, ref):
        """Let what a batch did not settle be sent again."""
        self.env["crm.mailchimp.member"].search([("batch_ref", "=", ref)]).write(
            {"batch_ref": False}
        )
