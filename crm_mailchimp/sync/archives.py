from ..engine import errors
from ..engine.address import member_hash
from .member_values import MemberValues
from .sending import SendingPhase

AT_ONCE = 10  # archived per noted time: the last one must not be long after it


class Archives(SendingPhase):
    """Archive members that Odoo no longer wants; nobody is ever erased."""

    def work(self):
        planned = self.planned("archive", limit=self.BATCH_FROM)
        if not planned:
            return
        account = self.account
        reader = MemberValues(account)
        if planned >= self.BATCH_FROM:
            return self.by_batches(
                reader,
                "archive",
                lambda rows: [(self.batched("DELETE", row), None) for row in rows],
            )

        def calls():
            for rows in self.walk(reader, "archive", lambda: AT_ONCE):
                # If an answer gets lost, this shows whose doing it was.
                self.env["crm.mailchimp.member"]._update_rows(
                    ("sending", "sent_at"),
                    [(row.id, "archive", account._mailchimp_now()) for row in rows],
                )
                self.commit()
                for row in rows:
                    yield (
                        row,
                        self.gateway.archive_member,
                        account.audience_ref,
                        member_hash(row.email),
                    )

        def record(row, result):
            self.record(reader, row, result, self.gateway.clock())

        self.carry_out(calls(), record)

    def record(self, reader, row, result, when):
        """Note what became of a member that was to leave.

        :param result: what :meth:`.Gateway.archive_member` returned, or an error
        :param datetime when: when it left, by Mailchimp's clock; a later change is
            somebody else's
        """
        Member = self.env["crm.mailchimp.member"]
        if isinstance(result, errors.MailchimpError):
            self.record_refusals([(row, None, result)])
            Member._update_rows(("sending", "batch_ref"), [(row.id, None, None)])
            return
        status, member = result
        done = {"operation": None, "sending": None, "batch_ref": None, "wanted": False}
        if status is None:
            # Deleted, or its address was changed: a closer look tells.
            done.update(operation="read")
        elif member is None:
            done.update(
                status=status,
                status_before=row.status,
                archived_by="odoo",
                last_changed=when,
                # An earlier refusal must not keep it from coming back.
                reason=None,
                reason_text=None,
                values_refused=None,
            )
        else:
            if member["status"] == "archived":
                # Not archived by this call, which was refused, but perhaps by an
                # earlier one.
                Member._update_rows(
                    ("sending", "sent_at", "batch_ref"),
                    [(row.id, None, None, None)]
                    if row.batch_ref
                    else [(row.id, row.sending, row.sent_at, None)],
                )
            self.apply_seen([member])
        Member._update_rows(tuple(done), [(row.id, *done.values())])
        self.count(archived=1, sent=1)
