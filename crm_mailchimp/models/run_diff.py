import time

from odoo import fields, models
from odoo.tools import SQL

from ..engine.plan import Known, brake, decide
from .member_values import MemberValues

CHUNK = 2000
MANY = 1000


class CrmMailchimpRun(models.Model):
    """Phases *diff* and *brake*: what has to be done so that the audience is right."""

    _inherit = "crm.mailchimp.run"

    def _phase_diff(self, gateway, deadline):
        """Note in the ledger what Odoo wants, then walk it and plan each difference."""
        cursor = dict((self.cursor or {}).get("diff") or {})
        if "after" not in cursor:
            self._note_wanted()
            cursor["after"] = ""
            self._set_cursor(diff=cursor)
            self.env["ir.cron"]._commit_progress()
        reader = MemberValues(self.account_id)
        while cursor["after"] is not None:
            rows = reader.chunk(
                SQL(
                    "m.email_normalized > %s AND (m.wanted OR m.origin <> 'foreign')"
                    # An address Mailchimp does not know is planned by _note_wanted.
                    " AND NOT (m.status IS NULL AND m.operation IS NOT DISTINCT FROM"
                    " 'create')",
                    cursor["after"],
                ),
                CHUNK,
            )
            self._plan(reader, rows)
            cursor["after"] = rows[-1][1] if len(rows) == CHUNK else None
            if cursor["after"] is not None:
                self._set_cursor(diff=cursor)
                self.env["ir.cron"]._commit_progress()
                if time.monotonic() >= deadline:
                    return None
        self._set_cursor(diff=None)
        return "brake"

    def _note_wanted(self):
        """Note in the ledger which addresses Odoo wants, and for which contact.

        Set-based, and only rows that differ are written.
        """
        account = self.account_id
        account._flush_contacts()
        cr = self.env.cr
        # A table with statistics, not a CTE: without them the database compares
        # every winner with every member.
        cr.execute("DROP TABLE IF EXISTS mailchimp_winner")
        cr.execute(
            SQL(
                "CREATE TEMPORARY TABLE mailchimp_winner AS"
                " SELECT email, partner_id FROM (%s) c WHERE winner_id = partner_id",
                account._contacts_sql(opted_in_only=True),
            )
        )
        cr.execute("CREATE UNIQUE INDEX ON mailchimp_winner (email)")
        cr.execute("ANALYZE mailchimp_winner")
        cr.execute(
            SQL(
                """
                UPDATE crm_mailchimp_member m
                   SET partner_id = w.partner_id, wanted = TRUE, cause = NULL
                  FROM mailchimp_winner w
                 WHERE m.account_id = %s AND m.email_normalized = w.email
                   AND (m.wanted IS NOT TRUE
                        OR m.partner_id IS DISTINCT FROM w.partner_id)
                """,
                account.id,
            )
        )
        cr.execute(
            SQL(
                """
                UPDATE crm_mailchimp_member m
                   SET wanted = FALSE,
                       operation = CASE WHEN m.status IS NOT NULL THEN m.operation END,
                       cause = CASE
                           WHEN m.partner_id IS NULL THEN 'deleted'
                           WHEN NOT p.active THEN 'contact_archived'
                           WHEN p.mailchimp_opt_in IS NOT TRUE THEN 'opt_out'
                           WHEN p.email_normalized IS DISTINCT FROM m.email_normalized
                           THEN 'address'
                           ELSE 'scope' END
                  FROM crm_mailchimp_member m2
             LEFT JOIN res_partner p ON p.id = m2.partner_id
                 WHERE m2.id = m.id AND m2.account_id = %s AND m2.wanted
                   AND NOT EXISTS (
                       SELECT FROM mailchimp_winner w
                        WHERE w.email = m2.email_normalized)
                """,
                account.id,
            )
        )
        cr.execute(
            SQL(
                """
                INSERT INTO crm_mailchimp_member
                       (account_id, email_normalized, partner_id, wanted, origin,
                        operation, create_date)
                SELECT %(account)s, w.email, w.partner_id, TRUE, 'odoo', 'create',
                       NOW() AT TIME ZONE 'UTC'
                  FROM mailchimp_winner w
             LEFT JOIN crm_mailchimp_member m
                    ON m.account_id = %(account)s AND m.email_normalized = w.email
                 WHERE m.id IS NULL
                """,
                account=account.id,
            )
        )
        if cr.rowcount >= MANY:
            # The walks that follow are planned on statistics; the database's own
            # turn to gather them may come minutes later.
            cr.execute("ANALYZE crm_mailchimp_member")
        cr.execute("DROP TABLE mailchimp_winner")
        self.env["crm.mailchimp.member"].invalidate_model(flush=False)

    def _plan(self, reader, rows):
        """Write the operation of each row that needs another one than it has."""
        now = fields.Datetime.now()
        planned, adopted = [], []
        for row in rows:
            known = reader.known(row)
            desired = reader.desired(row) if known["wanted"] else None
            operation, _body = decide(
                Known(
                    status=known["status"],
                    ours=known["origin"] != "foreign",
                    status_before=known["status_before"],
                    reason=known["reason"],
                    said_no=bool(known["no_date"]),
                    sent=known["values_sent"],
                    seen=known["values_seen"],
                    edited=bool(known["edited"]),
                    refused=known["values_refused"],
                    retry=bool(known["next_try"] and known["next_try"] <= now),
                ),
                bool(known["wanted"]),
                desired,
                reader.tags,
                reader.owned,
            )
            if operation == "adopt":
                adopted.append(
                    (
                        known["id"],
                        desired,
                        "claimed" if known["origin"] == "foreign" else known["origin"],
                        None,
                        False,
                    )
                )
                operation = None
            if known["operation"] == "read":
                continue
            if operation != known["operation"]:
                planned.append((known["id"], operation))
        Member = self.env["crm.mailchimp.member"]
        Member._update_rows(("operation",), planned)
        Member._update_rows(("values_sent", "origin", "values_seen", "edited"), adopted)

    def _phase_brake(self, gateway, deadline):
        """Wait for a manager when a run would archive unusually many members.

        An opt-out never waits; but when a filter, a scope or an import goes wrong, many
        members would leave at once, and in Mailchimp that cannot simply be undone.
        """
        account = self.account_id
        Member = self.env["crm.mailchimp.member"]
        domain = [("account_id", "=", account.id), ("operation", "=", "archive")]
        archives = Member.search_count([*domain, ("cause", "!=", "opt_out")])
        members = Member.search_count(
            [("account_id", "=", account.id), ("status", "=", "subscribed")]
        )
        confirmed = (self.cursor or {}).get("brake_confirmed")
        if not confirmed and brake(archives, members, account.archive_brake_percent):
            sentence = self.env._(
                "This run would archive %(archives)s of %(members)s members for other"
                " reasons than an opt-out. Look at the list, then confirm or correct"
                " the cause.",
                archives=archives,
                members=members,
            )
            if not self.error_message:
                account._notify_managers(sentence)
            self.write({"state": "brake", "error_message": sentence})
            self._notify()
            return "wait"
        self.error_message = False
        to_send = Member.search_count(
            [("account_id", "=", account.id), ("operation", "!=", False)]
        )
        counters = self.counters or {}
        self.counters = dict(counters, to_send=to_send + counters.get("sent", 0))
        return "send" if to_send else "verify"
