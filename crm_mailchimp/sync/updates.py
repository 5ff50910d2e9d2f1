from ..engine import errors, payload
from ..engine.address import member_hash
from ..engine.observe import observe, utc
from ..engine.plan import held
from .member_values import MemberValues
from .sending import SendingPhase


class Updates(SendingPhase):
    """Change the values of known members, never their status."""

    def work(self):
        planned = self.planned("update", limit=self.BATCH_FROM)
        if not planned:
            return
        account = self.account
        reader = MemberValues(account)
        if planned >= self.BATCH_FROM:
            return self.by_batches(
                reader,
                "update",
                lambda rows: [
                    (self.batched("PATCH", row, body), desired)
                    for row, desired, body in self.bodies(reader, rows)
                ],
            )

        def calls():
            for rows in self.walk(reader, "update", lambda: 100):
                updates = list(self.bodies(reader, rows))
                if account.sync_direction == "both":
                    # If an answer gets lost, the change must not look like somebody
                    # else's edit, which may win over what Odoo has by then.
                    self.env["crm.mailchimp.member"]._update_rows(
                        ("values_sending",),
                        [(row.id, desired) for row, desired, _body in updates],
                    )
                    self.commit()
                for row, desired, body in updates:
                    yield (
                        (row, desired),
                        self.gateway.patch_member,
                        account.audience_ref,
                        member_hash(row.email),
                        body,
                    )

        def record(tag, result):
            row, desired = tag
            self.record(reader, row, desired, result, row[reader.inputs])

        self.carry_out(calls(), record)

    def bodies(self, reader, rows):
        """Yield ``(row, desired, body)`` for the rows that still differ."""
        same = []
        for row in rows:
            known = reader.known(row)
            desired, vals, _complete = reader.target(row)
            if vals:
                # Edited in Mailchimp since the comparison: first update the contact.
                self.set_cursor(plan_again=True)
                same.append((row.id,))
                continue
            body = payload.difference(
                desired,
                held(reader.state(row)),
                reader.tags,
                reader.owned,
                reader.required,
            )
            if known["wanted"] and body:
                yield row, desired, body
            else:
                same.append((row.id,))
        self.env["crm.mailchimp.member"]._update_rows((), same, operation=None)

    def record(self, reader, row, desired, result, inputs=None):
        """Note what became of a changed member.

        :param dict desired: canonical values that were sent
        :param result: the member as the API returned it, or an error
        :param inputs: hash of what the values were made of, if known
        """
        Member = self.env["crm.mailchimp.member"]
        if isinstance(result, errors.NotFound):
            # Deleted, or its address was changed: a closer look tells.
            Member._update_rows((), [(row.id,)], operation="read", batch_ref=None)
            self.count(sent=1)
            return
        if isinstance(result, errors.MailchimpError):
            self.record_refusals([(row, desired, result)])
            return
        planned = reader.known(row)["operation"]
        stored = self.stored(desired, result, held(reader.state(row)))
        known = dict(
            reader.known(row), values_sent=stored, values_seen=None, operation=None
        )
        # The answer shows the member, which may have unsubscribed meanwhile.
        news = observe(known, result, reader.tags, reader.owned)
        as_sent = stored is desired and not news.keys() & {"status", "values_seen"}
        self.account._note_said([(known, result, news)])
        news.update(
            values_sent=stored,
            values_sending=None,
            values_seen=news.get("values_seen"),
            edited=False,
            # While a batch was under way, something else may have been planned.
            operation=planned if planned != "update" else None,
            sending=None,
            batch_ref=None,
            reason=None,
            reason_text=news.get("reason_text"),
            values_refused=None,
            next_try=None,
            last_changed=utc(result.get("last_changed")),
            origin="claimed" if known["origin"] == "foreign" else known["origin"],
            inputs=inputs if as_sent else None,
        )
        columns = tuple(news)
        Member._update_rows(columns, [(row.id, *news.values())])
        self.count(updated=1, sent=1)
