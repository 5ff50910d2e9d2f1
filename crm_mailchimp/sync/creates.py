from functools import partial
from itertools import islice

from ..engine import errors, payload
from ..engine.observe import link_id, utc
from ..engine.pace import LARGEST, Portion
from .member_values import MemberValues
from .sending import SendingPhase


class Creates(SendingPhase):
    """Subscribe addresses that Mailchimp does not know, by batch subscribe.

    Mailchimp is told not to touch existing members, so this call cannot subscribe
    anybody who ever was a member.
    """

    def work(self):
        if self.planned("create", limit=1):
            self._subscribe()

    def _subscribe(self):
        account = self.account
        reader = MemberValues(account)
        status = "pending" if account.double_opt_in else "subscribed"
        size = self.cursor.portion or LARGEST
        portion, halves = Portion(size), []
        send = partial(self.gateway.subscribe_batch, account.audience_ref)
        call = partial(self._call, partial(portion.carry, send))

        def calls():
            walk = self.walk(reader, "create", lambda: portion.size)
            for rows in walk:
                if self.is_full():
                    return
                batch = self.items(reader, rows, status)
                if batch:
                    yield (batch,)
                while halves:
                    yield (halves.pop(),)

        def record(batch, result):
            if isinstance(result, errors.MailchimpError):
                if (
                    getattr(result, "code", None) == "interest_gone"
                    and self.note_lost()
                ):
                    return
                # The whole call was refused because of somebody in it: find out who.
                if len(batch) > 1:
                    middle = len(batch) // 2
                    halves.extend((batch[:middle], batch[middle:]))
                else:
                    self.record_refusals([(batch[0][1], batch[0][2], result)])
                return
            self._record(reader, batch, *result)

        def learn():
            if portion.size != size:
                # Those without an answer are not sent again in a call as large.
                self.set_cursor(portion=portion.size)
                self.commit()

        try:
            if account.no_room_message:
                # One call shows whether there is room again.
                self.carry_out(islice(calls(), 1), record, finish=call)
            self.carry_out(calls(), record, finish=call)
            while halves:
                pending = [(halves.pop(),) for _ in range(len(halves))]
                self.carry_out(iter(pending), record, finish=call)
        except errors.MailchimpError:
            learn()
            raise
        learn()

    def items(self, reader, rows, status):
        """Return ``[(item, row, desired)]`` of rows that Mailchimp may take."""
        account = self.account
        batch, lacking = [], []
        for row in rows:
            desired = reader.desired(row)
            tags = payload.missing(desired, reader.required)
            if tags:
                # Mailchimp would refuse it: this is reported without a call.
                names = account._merge_field_names()
                lacking_names = ", ".join(names.get(tag, tag) for tag in tags)
                reason = self.env._("No value for: %s", lacking_names)
                lacking.append((row.id, reason, desired))
                continue
            since = row[reader.opt_in_date]
            item = payload.creation(row.email, desired, status, since)
            batch.append((item, row, desired))
        self.env["crm.mailchimp.member"]._update_rows(
            ("reason_text", "values_refused"),
            lacking,
            operation=None,
            reason="required_field",
        )
        self.count(lacking=len(lacking))
        return batch

    def _call(self, carry, batch):
        """Return the call for those whose contact is eligible at this moment.

        It was prepared while others were under way: somebody may have opted out since.
        """
        # A transaction goes on seeing what was there when it began.
        self.commit()
        winners = self.account._winners([row.email for _item, row, _desired in batch])
        eligible, dropped = [], []
        for entry in batch:
            _item, row, _desired = entry
            if winners.get(row.email) == row.partner_id:
                eligible.append(entry)
            else:
                dropped.append((row.id,))
        self.env["crm.mailchimp.member"]._update_rows(
            (), dropped, operation=None, wanted=False
        )
        if not eligible:
            return None
        items = [item for item, _row, _desired in eligible]
        return eligible, carry, items, self.gateway.patience()

    def _record(self, reader, batch, created, refused):
        sent = {row.email: (row, desired) for _item, row, desired in batch}
        done = []
        for entry in created:
            row, desired = sent.pop(entry["email_address"].lower(), (None, None))
            if row is None:
                continue
            stored = self.stored(desired, entry)
            seen = payload.seen_values(entry, reader.tags, reader.owned, stored)
            same = payload.same_values(seen, stored, reader.owned)
            changed = utc(entry.get("last_changed"))
            done.append(
                (
                    row.id,
                    entry["status"],
                    stored,
                    None if same else seen,
                    changed,
                    link_id(entry),
                    changed if entry["status"] == "subscribed" else None,
                    # Nothing is left to compare until something changes.
                    row[reader.inputs] if same and stored is desired else None,
                )
            )
        Member = self.env["crm.mailchimp.member"]
        Member._update_rows(
            (
                *("status", "values_sent", "values_seen", "last_changed", "web_id"),
                *("subscribed_at", "inputs"),
            ),
            done,
            origin="odoo",
            operation=None,
            edited=False,
            values_refused=None,
            reason=None,
            reason_text=None,
            next_try=None,
        )
        refusals = []
        for email, error in refused:
            row, desired = sent.pop(email, (None, None))
            if isinstance(error, errors.NoRoom):
                # This says nothing about the person, who waits for room.
                self.set_cursor(no_room=error.words)
            elif row is not None:
                refusals.append((row, desired, error))
        self.record_refusals(refusals)
        # Neither created nor refused: look before anything is repeated.
        Member._update_rows(
            (), [(row.id,) for row, _desired in sent.values()], operation="read"
        )
        self.count(created=len(done), sent=len(done))
