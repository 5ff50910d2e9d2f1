import logging
from typing import NamedTuple

from odoo import fields
from odoo.tools import SQL, split_every

from ..engine.json_columns import Comparison
from ..engine.plan import decide
from ..engine.vocabulary import NOT_TAKEN
from .contacts import CONTACTS, ContactPhase
from .member_values import MemberValues

_logger = logging.getLogger(__name__)

CHUNK = 2000
MANY = 1000
MANY_CHANGED = 20000
# Operations that the comparison neither plans nor cancels: a look, and what somebody
# asked for, which is checked once more when it is carried out.
BY_HAND = ("read", "ask", "readmit")


class Change(NamedTuple):
    """What to write to a contact, and the member it comes from."""

    member_id: int
    vals: dict


class Compare(ContactPhase):
    """Phase *diff*: find out what has to be done to make the audience right."""

    def work(self):
        """Note in the ledger what Odoo wants, then walk it and plan each difference."""
        state = self.cursor.diff or Comparison()
        if state.after is None:
            self._release_foreign_batches()
            self._note_wanted()
            state.after = ""
            self.set_cursor(diff=state)
            self.commit()
        reader = MemberValues(self.account)
        condition = self._to_compare(reader, state)
        while state.after is not None:
            rows = reader.chunk(condition(state.after), CHUNK)
            self._plan(reader, rows)
            state.after = rows[-1].email if len(rows) == CHUNK else None
            if state.after is not None:
                self.set_cursor(diff=state)
                self.commit()
                if self.is_over():
                    return None
        self.set_cursor(diff=None)
        return "brake"

    def _release_foreign_batches(self):
        """Release the rows that a batch of an earlier run did not settle."""
        self.env["crm.mailchimp.member"].search(
            [
                ("account_id", "=", self.account.id),
                ("batch_ref", "not in", [False, *self.cursor.batches]),
            ]
        ).write({"batch_ref": False, "sending": False})

    def _to_compare(self, reader, state):
        """Find the rows of the ledger to look at.

        The database compares fingerprints; a full comparison looks at every row, and so
        does any comparison with values that only the ORM can compute.

        :param state: the :class:`Comparison`, whose ``many`` is set
        :return: function that takes an address and returns the condition (``SQL``) for
            the rows after it
        """
        ours = SQL(
            "(m.wanted OR m.origin <> 'foreign')"
            # Addresses that Mailchimp does not know are planned by _note_wanted, and so
            # are the members whose address they replace.
            " AND NOT (m.status IS NULL AND COALESCE(m.operation, '') IN"
            " ('create', 'move'))"
            " AND NOT EXISTS (SELECT FROM crm_mailchimp_member n"
            " WHERE n.moved_from_id = m.id AND n.operation = 'move')"
        )
        now, cr = fields.Datetime.now(), self.env.cr
        cr.execute("SET LOCAL jit = off")
        if not (self.run.kind == "full" or reader.slow or state.many):
            cr.execute("DROP TABLE IF EXISTS mailchimp_changed")
            cr.execute(
                SQL(
                    "CREATE TEMPORARY TABLE mailchimp_changed AS %s",
                    reader.changed(
                        SQL("m.email_normalized > %s AND %s", state.after, ours),
                        now,
                    ),
                )
            )
            # Finding so many again in each slice would take longer than walking past
            # the rows that did not change.
            state.many = cr.rowcount >= MANY_CHANGED
        if self.run.kind == "full" or reader.slow:
            return lambda after: SQL("m.email_normalized > %s AND %s", after, ours)
        if state.many:
            return lambda after: SQL(
                "m.email_normalized > %s AND %s AND %s",
                *(after, ours, reader.is_changed(now)),
            )
        cr.execute("CREATE INDEX ON mailchimp_changed (email)")
        cr.execute("ANALYZE mailchimp_changed")
        return lambda after: SQL(
            "m.id = ANY(ARRAY(SELECT id FROM mailchimp_changed WHERE email > %s"
            " ORDER BY email LIMIT %s))",
            *(after, CHUNK),
        )

    def _note_wanted(self):
        """Note in the ledger which addresses Odoo wants, and for which contact.

        It works on sets, and only rows that differ are written.
        """
        account = self.account
        account._flush_contacts()
        cr, now = self.env.cr, account._mailchimp_now()
        # JIT compilation of these queries would take longer than running them.
        cr.execute("SET LOCAL jit = off")
        self._find_difference()
        self._note_who_stays(now)
        self._note_who_leaves(now)
        if self._note_who_comes(now) >= MANY:
            # The query plans of the walks that follow need statistics, which the
            # database may not gather by itself until minutes later.
            cr.execute("ANALYZE crm_mailchimp_member")
        self._plan_moves()
        self._ask_about_foreign()
        cr.execute("DROP TABLE mailchimp_difference")
        self.env["crm.mailchimp.member"].invalidate_model(flush=False)

    def _find_difference(self):
        """Make a table of the addresses where ledger and wish differ.

        Most are noted as they should be. Who stands for an address is only found out
        where a contact claims one that is not noted as its own: sorting all of them
        would take as long as the rest. Members leave whose address no contact claims;
        as long as there are as many of them as claims, there are none.

        A table with statistics, not a CTE: without statistics, the database compares
        every difference with every member.
        """
        account, cr = self.account, self.env.cr
        cr.execute("DROP TABLE IF EXISTS mailchimp_difference")
        cr.execute(
            SQL(
                """
                CREATE TEMPORARY TABLE mailchimp_difference AS
                WITH contact AS MATERIALIZED (
                    SELECT partner_id, email, is_company, opt_in_date, member_id,
                           former_id, is_noted, NULL AS reason
                      FROM (%(contacts)s) claim WHERE reason IS NULL
                ), contested AS (
                    SELECT * FROM contact
                     WHERE email IN (SELECT email FROM contact WHERE NOT is_noted)
                )
                SELECT member_id, former_id, email, partner_id, opt_in_date
                  FROM (%(winners)s) claim
                 WHERE winner_id = partner_id AND NOT is_noted
             UNION ALL
                SELECT id, partner_id, NULL, NULL, NULL
                  FROM (
                    SELECT id, partner_id FROM crm_mailchimp_member
                     WHERE account_id = %(account)s AND wanted
                       AND (SELECT COUNT(*) FROM contact WHERE is_noted)
                           <> (SELECT COUNT(*) FROM crm_mailchimp_member
                                WHERE account_id = %(account)s AND wanted)
                    -- Not a join: without statistics, it would compare each with each.
                    EXCEPT
                    SELECT member_id, former_id FROM contact
                  ) leaving
                """,
                contacts=account._reasons_sql(opted_in_only=True),
                winners=account._winners_sql(SQL("contested")),
                account=account.id,
            )
        )
        cr.execute("ANALYZE mailchimp_difference")

    def _note_who_stays(self, now):
        """Note who is wanted, and for which contact, where the ledger differs."""
        self.env.cr.execute(
            SQL(
                """
                UPDATE crm_mailchimp_member m
                   SET partner_id = d.partner_id, wanted = TRUE, cause = NULL,
                       left_at = NULL, opt_in_seen = d.opt_in_date,
                       opt_in_seen_at = %(now)s,
                       -- Ours from now on, whatever comes of the calls.
                       origin = CASE WHEN m.origin = 'foreign' THEN 'claimed'
                                     ELSE m.origin END
                  FROM mailchimp_difference d
                 WHERE m.id = d.member_id AND d.partner_id IS NOT NULL
                """,
                now=now,
            )
        )

    def _note_who_leaves(self, now):
        """Note members that are wanted no more, and why."""
        self.env.cr.execute(
            SQL(
                """
                UPDATE crm_mailchimp_member m
                   SET wanted = FALSE,
                       left_at = %(now)s,
                       operation = CASE WHEN m.status IS NOT NULL THEN m.operation END,
                       moved_from_id = NULL,
                       cause = CASE
                           WHEN m.partner_id IS NULL THEN 'deleted'
                           WHEN NOT p.active THEN 'contact_archived'
                           WHEN p.mailchimp_opt_in IS NOT TRUE
                                OR %(said_no)s THEN 'opt_out'
                           WHEN NOT EXISTS (
                               SELECT FROM (%(addresses)s) a
                                WHERE a.email = m.email_normalized)
                           THEN 'address'
                           ELSE 'scope' END
                  FROM mailchimp_difference d
             LEFT JOIN res_partner p ON p.id = d.former_id
                 WHERE m.id = d.member_id AND d.partner_id IS NULL
                """,
                now=now,
                addresses=self.account._addresses_sql(),
                said_no=self.account._address_said_no_condition(),
            )
        )

    def _note_who_comes(self, now):
        """Note addresses the ledger does not know, and return how many."""
        self.env.cr.execute(
            SQL(
                """
                INSERT INTO crm_mailchimp_member
                       (account_id, email_normalized, partner_id, wanted, origin,
                        operation, opt_in_seen, opt_in_seen_at, create_date)
                SELECT %(account)s, d.email, d.partner_id, TRUE, 'odoo', 'create',
                       d.opt_in_date, %(now)s, NOW() AT TIME ZONE 'UTC'
                  FROM mailchimp_difference d
                 WHERE d.member_id IS NULL
              ORDER BY d.email
                """,
                account=self.account.id,
                now=now,
            )
        )
        return self.env.cr.rowcount

    def _plan_moves(self):
        """Plan to replace a contact's former address with its new one.

        Changing the address of the member keeps its history in Mailchimp.
        """
        self.env.cr.execute(
            SQL(
                """
                UPDATE crm_mailchimp_member new
                   SET operation = 'move', moved_from_id = pair.old_id
                  FROM (SELECT DISTINCT ON (new.id) new.id AS new_id, old.id AS old_id
                          FROM crm_mailchimp_member old
                          JOIN crm_mailchimp_member new
                            ON new.account_id = old.account_id
                           AND new.partner_id = old.partner_id
                         WHERE old.account_id = %s AND old.cause = 'address'
                           AND NOT old.wanted AND old.status = 'subscribed'
                           AND old.origin <> 'foreign'
                           AND old.operation IS DISTINCT FROM 'read'
                           AND new.wanted AND new.status IS NULL
                           AND new.reason IS NULL AND new.operation = 'create'
                           AND NOT EXISTS (SELECT FROM crm_mailchimp_member other
                                            WHERE other.moved_from_id = old.id)
                      ORDER BY new.id, old.id) pair
                 WHERE new.id = pair.new_id
                   -- Two addresses of a contact cannot both replace the same one.
                   AND NOT EXISTS (
                       SELECT FROM crm_mailchimp_member twin
                        WHERE twin.account_id = new.account_id
                          AND twin.partner_id = new.partner_id AND twin.wanted
                          AND twin.status IS NULL AND twin.operation = 'create'
                          AND twin.id < new.id)
                """,
                self.account.id,
            )
        )

    def _ask_about_foreign(self):
        """Mark the foreign members somebody has to decide about, or remove the mark."""
        ask = self.account.foreign_members == "archive"
        self.env.cr.execute(
            SQL(
                """
                UPDATE crm_mailchimp_member m
                   SET cause = %(cause)s, operation = NULL
                 WHERE account_id = %(account)s AND origin = 'foreign'
                   AND status IN ('subscribed', 'pending') AND wanted IS NOT TRUE
                   AND %(differs)s AND NOT %(is_renamed)s
                """,
                account=self.account.id,
                cause="foreign" if ask else None,
                is_renamed=self.account._is_renamed_condition(),
                # The cause may stem from an opt-in that came and went without being
                # sent.
                differs=SQL(
                    "cause IS DISTINCT FROM 'foreign'" if ask else "cause = 'foreign'"
                ),
            )
        )

    def _plan(self, reader, rows):
        """Write the operation of each row that needs a different one."""
        now = fields.Datetime.now()
        planned, adopted, arrived, settled = [], [], [], []
        targets, unsettled = self._bring_back(reader, rows)
        for row in rows:
            state = reader.state(row, now)
            desired = targets.get(row.id)
            if row.wanted and desired is None:
                continue  # the contact is locked, or refuses the values: the next run
            operation, _body = decide(
                state,
                bool(row.wanted),
                desired,
                reader.tags,
                reader.owned,
                reader.required,
            )
            if row[reader.unchanged] and not state.retry:
                self._check_fingerprint(row, operation)
            if operation == "adopt":
                origin = "claimed" if row.origin == "foreign" else row.origin
                adopted.append((row.id, desired, origin, None, False))
                operation = None
            if row.values_sending and operation is None and not row.batch_ref:
                # They never arrived: if somebody enters them later, it is an edit.
                arrived.append((row.id, None))
            if row.operation in BY_HAND:
                continue
            if operation != row.operation:
                planned.append((row.id, operation))
            if not (operation or row[reader.unchanged] or row.id in unsettled):
                settled.append((row.id, row[reader.inputs]))
        Member = self.env["crm.mailchimp.member"]
        Member._update_rows(("operation",), planned)
        Member._update_rows(("values_sent", "origin", "values_seen", "edited"), adopted)
        Member._update_rows(("values_sending",), arrived)
        if not reader.slow:
            # Last, so that the fingerprint covers what the statements above changed.
            Member._update_rows(("inputs",), settled)

    def _check_fingerprint(self, row, operation):
        """Report a row that needs work although its fingerprint is the same.

        Only a full comparison can find such a row, and it repairs it.
        """
        if operation and operation != row.operation and not row.batch_ref:
            _logger.warning(
                "Member %s: %s, although its fingerprint is the same.",
                *(row.id, operation),
            )
            self.count(repaired=1)

    def _bring_back(self, reader, rows):
        """Write what was changed in Mailchimp to the contacts, if the account says so.

        :return: ``{row id: values both sides should hold}`` for the wanted rows, except
            those whose contact is locked or refuses its values; and the ids of rows
            with something for Odoo to take, which it may become able to do without any
            change to them
        """
        targets, changes, refusing, unsettled = {}, {}, set(), set()
        for row in rows:
            if not row.wanted:
                continue
            if row.reason == NOT_TAKEN:
                refusing.add(row.id)
            targets[row.id], vals, complete = reader.target(row)
            if vals or not complete:
                unsettled.add(row.id)
            if vals:
                changes[row.partner_id] = Change(row.id, vals)
        # Those that refused last time come last, so that they spoil few groups.
        ordered = sorted(
            changes.items(), key=lambda item: item[1].member_id in refusing
        )
        held_up = set()
        for chunk in split_every(CONTACTS, ordered, dict):
            written, refused = self.write_contacts(
                {partner_id: change.vals for partner_id, change in chunk.items()}
            )
            for partner_id, change in chunk.items():
                if partner_id not in written:
                    # Neither side takes anything from the other until they agree.
                    del targets[change.member_id]
                    held_up.add(change.member_id)
            self.note_not_taken(
                {
                    chunk[partner_id].member_id: (
                        sentence,
                        {"back": chunk[partner_id].vals},
                    )
                    for partner_id, sentence in refused.items()
                }
            )
        self.settle(refusing - held_up)
        return targets, unsettled
