import time
from datetime import timedelta
from functools import partial

from odoo import fields, models
from odoo.tools import SQL

from ..engine import errors, payload
from ..engine.address import member_hash
from ..engine.observe import link_id, observe, utc
from ..engine.pace import LARGEST, Portion
from ..engine.plan import FINAL, held
from .crm_mailchimp_suppression import ABOUT_ADDRESS
from .member_values import MemberValues
from .run_batches import BATCH_FROM, POLL

AGAIN = 3  # times a run compares once more; what is left then, the next one does
AT_ONCE = 10  # archived after one note of the time: the last must not be long after it
# "Signed up to many lists recently" passes after some days.
PASSING = timedelta(days=3)


class CrmMailchimpRun(models.Model):
    """Phases *send* and *verify*.

    Nobody can be resubscribed here by construction: only addresses Mailchimp does not
    know are subscribed (and it is told not to touch others), known members are changed
    without their status, and ``restore`` looks at the member before it writes.

    The planned operations were committed before; outcomes are committed when they are
    there. What gets lost in between is seen by the next tick, which reads first.
    """

    _inherit = "crm.mailchimp.run"

    def _phase_send(self, gateway, deadline):
        # Until all that is sent has its answer: a run that dies in between, or is
        # cancelled, leaves it to the next one to look again.
        self.account_id.look_again = True
        self._commit()
        waiting = self._poll_batches(gateway)
        for step in (
            self._send_archives,
            # What an archiving hid counts for the contact's other addresses, too:
            # those who may have said no are looked at before anybody is subscribed.
            self._send_inquiries,
            self._send_restores,
            self._send_moves,
            self._send_creates,
            self._send_updates,
            self._send_readmits,
            self._send_asks,
            self._send_tags,
            self._send_contact_tags,
            self._send_permissions,
        ):
            if self._is_lost():
                break
            step(gateway, deadline)
            if time.monotonic() >= deadline:
                break
        self.account_id.look_again = False
        if self._is_lost():
            self._find_lost(gateway)
            return "diff"
        left = self.env["crm.mailchimp.member"].search_count(
            [
                ("account_id", "=", self.account_id.id),
                ("operation", "not in", (False, "read")),
                ("batch_ref", "=", False),
            ],
            limit=1,
        )
        if left or self._tags_wait():
            return None
        if waiting or (self.cursor or {}).get("batches"):
            at = fields.Datetime.now() + POLL
            self.write({"state": "waiting", "resume_at": at})
            self.env.ref("crm_mailchimp.ir_cron_push")._trigger(at=at)
            return "wait"
        return "verify"

    def _phase_verify(self, gateway, deadline):
        """Look at what is uncertain; whether the numbers agree the next run sees."""
        Member = self.env["crm.mailchimp.member"]
        account = self.account_id
        uncertain = Member.search(
            [("account_id", "=", account.id), ("operation", "=", "read")], limit=500
        )
        if uncertain:
            self._look_up(gateway, uncertain)
            # What is known now was planned on a guess: plan again.
            uncertain.filtered(lambda m: m.operation == "read").operation = False
        cursor = self.cursor or {}
        again = cursor.get("again", 0)
        if (uncertain or cursor.get("plan_again")) and again < AGAIN:
            self._set_cursor(again=again + 1, plan_again=None)
            return "diff"
        return "done"

    def _carry_out(self, gateway, calls, record, deadline):
        """Carry out calls several at once; record and commit each outcome.

        An error that concerns the whole account ends it, but not before the calls
        that are under way have told what came of them.

        :param calls: iterator of ``(tag, function, *arguments)`` for ``gateway.map``
        :param record: called with the tag and the result or ``Rejected``/``NotFound``
        :param float deadline: monotonic time after which none is begun
        :raise MailchimpError: the first one that is not about a single member
        """
        trouble, told = [], None

        def enough():
            return trouble or self._is_lost() or time.monotonic() >= deadline

        for outcomes in gateway.map(calls, enough):
            for tag, result in outcomes:
                if isinstance(result, errors.MailchimpError) and not isinstance(
                    result, (errors.Rejected, errors.NotFound)
                ):
                    trouble.append(result)
                else:
                    record(tag, result)
            told = self._pause(told)
        if trouble:
            raise trouble[0]

    def _walk(self, reader, operation, size, deadline, where=None):
        """Yield chunks of planned rows in the order of their addresses.

        :param size: function that returns how many rows the next chunk should have

        Rows that are under way still have their operation, so the walk goes forward
        only; it ends with the time or the rows.
        """
        after = ""
        while time.monotonic() < deadline:
            rows = reader.chunk(
                SQL(
                    "m.operation = %s AND m.email_normalized > %s"
                    " AND m.batch_ref IS NULL AND %s",
                    operation,
                    after,
                    where or SQL("TRUE"),
                ),
                size(),
            )
            if not rows:
                return
            after = rows[-1][1]
            yield rows

    # === SUBSCRIBE NEW ADDRESSES === #

    def _send_creates(self, gateway, deadline):
        account = self.account_id
        reader = MemberValues(account)
        status = "pending" if account.double_opt_in else "subscribed"
        size = (self.cursor or {}).get("portion", LARGEST)
        portion, subscribe, halves = Portion(size), gateway.subscribe_batch, []

        def calls():
            walk = self._walk(reader, "create", lambda: portion.size, deadline)
            for rows in walk:
                batch = self._creation_items(reader, rows, status)
                if batch:
                    yield call(batch)
                while halves:
                    yield call(halves.pop())

        def call(batch):
            items = [item for item, _row, _desired in batch]
            send = partial(subscribe, account.audience_ref)
            return batch, portion.carry, send, items, gateway.patience()

        def record(batch, result):
            if isinstance(result, errors.MailchimpError):
                if (
                    getattr(result, "code", None) == "interest_gone"
                    and self._note_lost()
                ):
                    return
                # The whole call was refused because of somebody in it: find out whom.
                if len(batch) > 1:
                    middle = len(batch) // 2
                    halves.extend((batch[:middle], batch[middle:]))
                else:
                    self._record_refusals([(batch[0][1], batch[0][2], result)])
                return
            self._record_creations(reader, batch, *result)

        def learn():
            if portion.size != size:
                # Whoever got no answer is not sent again among as many.
                self._set_cursor(portion=portion.size)
                self._commit()

        try:
            self._carry_out(gateway, calls(), record, deadline)
            while halves:
                pending = [call(halves.pop()) for _ in range(len(halves))]
                self._carry_out(gateway, iter(pending), record, deadline)
        except errors.MailchimpError:
            learn()
            raise
        learn()

    def _creation_items(self, reader, rows, status):
        """Return ``[(item, row, desired)]`` of rows whose contact is eligible now.

        Contacts may have changed since the diff: nobody is sent who has no opt-in when
        the call is prepared, which is while those before it are under way.
        """
        account = self.account_id
        winners = account._winners([row[1] for row in rows])
        batch, dropped, lacking = [], [], []
        for row in rows:
            if winners.get(row[1]) != row[2]:
                dropped.append((row[0], None, False))
                continue
            desired = reader.desired(row)
            tags = payload.missing(desired, reader.required)
            if tags:
                # Mailchimp would refuse it: told before the call.
                reason = self.env._("No value for: %s", ", ".join(tags))
                lacking.append((row[0], None, "required_field", reason, desired))
                continue
            item = payload.creation(row[1], desired, status, row[reader.opt_in_date])
            batch.append((item, row, desired))
        Member = self.env["crm.mailchimp.member"]
        Member._update_rows(("operation", "wanted"), dropped)
        Member._update_rows(
            ("operation", "reason", "reason_text", "values_refused"), lacking
        )
        self._count(lacking=len(lacking))
        return batch

    def _record_creations(self, reader, batch, created, refused):
        sent = {row[1]: (row, desired) for _item, row, desired in batch}
        done = []
        for entry in created:
            row, desired = sent.pop(entry["email_address"].lower(), (None, None))
            if row is None:
                continue
            stored = self._stored(desired, entry)
            seen = payload.seen_values(entry, reader.tags, reader.owned, stored)
            same = payload.same_values(seen, stored, reader.owned)
            done.append(
                (
                    row[0],
                    entry["status"],
                    "odoo",
                    None,
                    stored,
                    None if same else seen,
                    False,
                    None,
                    None,
                    None,
                    None,
                    utc(entry.get("last_changed")),
                    link_id(entry),
                    utc(entry.get("last_changed"))
                    if entry["status"] == "subscribed"
                    else None,
                    # Nothing is left to compare until something changes.
                    row[reader.inputs] if same and stored is desired else None,
                )
            )
        self.env["crm.mailchimp.member"]._update_rows(
            (
                "status",
                "origin",
                "operation",
                "values_sent",
                "values_seen",
                "edited",
                "values_refused",
                "reason",
                "reason_text",
                "next_try",
                "last_changed",
                "web_id",
                "subscribed_at",
                "inputs",
            ),
            done,
        )
        refusals = []
        for email, error in refused:
            row, desired = sent.pop(email, (None, None))
            if row is not None:
                refusals.append((row, desired, error))
        self._record_refusals(refusals)
        # Neither created nor refused: look before anything is repeated.
        self.env["crm.mailchimp.member"]._update_rows(
            ("operation",), [(row[0], "read") for row, _desired in sent.values()]
        )
        self._count(created=len(done), sent=len(done))

    def _record_refusals(self, refusals):
        """Note why single members were refused: ``[(row, desired, error)]``."""
        now = fields.Datetime.now()
        rows, exists = [], []
        for row, desired, error in refusals:
            code = getattr(error, "code", "other")
            if code == "interest_gone" and self._note_lost():
                continue  # it is sent again when the group is there again
            if code == "member_exists":
                exists.append((row[0], "read"))
                continue
            known = dict(self.env["crm.mailchimp.member"]._fields["reason"].selection)
            rows.append(
                (
                    row[0],
                    None,
                    code if code in known else "other",
                    error.words,
                    None if code in FINAL else desired,
                    now + PASSING if code == "too_many_signups" else None,
                )
            )
        Member = self.env["crm.mailchimp.member"]
        Member._update_rows(
            ("operation", "reason", "reason_text", "values_refused", "next_try"), rows
        )
        Member._update_rows(("operation",), exists)
        self._note_barred(
            [(row[1], error) for row, _desired, error in refusals],
        )
        self._count(refused=len(rows), sent=len(rows))

    def _note_barred(self, refusals):
        """Remember addresses Mailchimp will not take because of what they once said."""
        account = self.account_id
        now = account._mailchimp_now()
        self.env["crm.mailchimp.suppression"]._note(
            account._no_row(email, error.code, now, error.detail)
            for email, error in refusals
            if getattr(error, "code", None) in ABOUT_ADDRESS
        )

    # === CHANGE KNOWN MEMBERS === #

    def _send_updates(self, gateway, deadline):
        account = self.account_id
        reader = MemberValues(account)
        if self._planned("update") >= BATCH_FROM:
            return self._send_batches(gateway, reader, "update", deadline)

        def calls():
            for rows in self._walk(reader, "update", lambda: 100, deadline):
                updates = list(self._update_bodies(reader, rows))
                if account.sync_direction == "both":
                    # Should an answer get lost, the change must not look like an edit
                    # of somebody else that may win over what Odoo has by then.
                    self.env["crm.mailchimp.member"]._update_rows(
                        ("values_sending",),
                        [(row[0], desired) for row, desired, _body in updates],
                    )
                    self._commit()
                for row, desired, body in updates:
                    yield (
                        (row, desired),
                        gateway.patch_member,
                        account.audience_ref,
                        member_hash(row[1]),
                        body,
                    )

        def record(tag, result):
            row, desired = tag
            self._record_update(reader, row, desired, result, row[reader.inputs])

        self._carry_out(gateway, calls(), record, deadline)

    def _update_bodies(self, reader, rows):
        """Yield ``(row, desired, body)`` of rows that still differ."""
        same = []
        for row in rows:
            known = reader.known(row)
            desired, vals, _complete = self._target(reader, row)
            if vals:
                # Edited in Mailchimp since the comparison: its contact comes first.
                self._set_cursor(plan_again=True)
                same.append((row[0], None))
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
                same.append((row[0], None))
        self.env["crm.mailchimp.member"]._update_rows(("operation",), same)

    def _record_update(self, reader, row, desired, result, inputs=None):
        """Note what became of a changed member.

        :param dict desired: canonical values that were sent
        :param result: the member of the API, or an error
        :param inputs: hash of what the values were made of, if it is known
        """
        Member = self.env["crm.mailchimp.member"]
        if isinstance(result, errors.NotFound):
            Member._update_rows(
                ("status", "operation", "reason", "batch_ref"),
                [(row[0], None, None, "forgotten", None)],
            )
            self.account_id._note_forgotten([row[1]])
            self._count(deleted_in_mailchimp=1, sent=1)
            return
        if isinstance(result, errors.MailchimpError):
            self._record_refusals([(row, desired, result)])
            return
        planned = reader.known(row)["operation"]
        stored = self._stored(desired, result, held(reader.state(row)))
        known = dict(
            reader.known(row), values_sent=stored, values_seen=None, operation=None
        )
        # The answer shows the member: somebody may have unsubscribed meanwhile.
        news = observe(known, result, reader.tags, reader.owned)
        as_sent = stored is desired and not news.keys() & {"status", "values_seen"}
        self.account_id._note_said([(known, result, news)])
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
        Member._update_rows(columns, [(row[0], *news.values())])
        self._count(updated=1, sent=1)

    # === ARCHIVE === #

    def _send_archives(self, gateway, deadline):
        account = self.account_id
        reader = MemberValues(account)
        if self._planned("archive") >= BATCH_FROM:
            return self._send_batches(gateway, reader, "archive", deadline)

        def calls():
            for rows in self._walk(reader, "archive", lambda: AT_ONCE, deadline):
                # Should an answer get lost, it is known whose doing it was.
                self.env["crm.mailchimp.member"]._update_rows(
                    ("sending", "sent_at"),
                    [(row[0], "archive", account._mailchimp_now()) for row in rows],
                )
                self._commit()
                for row in rows:
                    yield (
                        row,
                        gateway.archive_member,
                        account.audience_ref,
                        member_hash(row[1]),
                    )

        def record(row, result):
            self._record_archive(reader, row, result, gateway.clock())

        self._carry_out(gateway, calls(), record, deadline)

    def _record_archive(self, reader, row, result, when):
        """Note what became of a member that was to leave.

        :param result: of :meth:`.Gateway.archive_member`, or an error
        :param datetime when: by Mailchimp's clock; a later change is somebody else's
        """
        Member = self.env["crm.mailchimp.member"]
        if isinstance(result, errors.MailchimpError):
            self._record_refusals([(row, None, result)])
            Member._update_rows(("sending", "batch_ref"), [(row[0], None, None)])
            return
        status, member = result
        done = {"operation": None, "sending": None, "batch_ref": None, "wanted": False}
        if status is None:
            done.update(status=None, reason="forgotten")
            self.account_id._note_forgotten([row[1]])
        elif member is None:
            done.update(
                status=status,
                status_before=reader.known(row)["status"],
                archived_by="odoo",
                last_changed=when,
                # What was refused before must not keep it from coming back.
                reason=None,
                reason_text=None,
                values_refused=None,
            )
        else:
            if member["status"] == "archived":
                # Not by this call, which was refused; by an earlier one perhaps.
                known = reader.known(row)
                Member._update_rows(
                    ("sending", "sent_at", "batch_ref"),
                    [(row[0], None, None, None)]
                    if known["batch_ref"]
                    else [(row[0], known["sending"], known["sent_at"], None)],
                )
            self._apply_seen([member])
        Member._update_rows(tuple(done), [(row[0], *done.values())])
        self._count(archived=1, sent=1)

    def _planned(self, operation):
        return self.env["crm.mailchimp.member"].search_count(
            [
                ("account_id", "=", self.account_id.id),
                ("operation", "=", operation),
                ("batch_ref", "=", False),
            ]
        )
