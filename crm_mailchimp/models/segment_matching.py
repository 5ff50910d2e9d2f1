import logging

import psycopg2

from odoo import models
from odoo.exceptions import UserError
from odoo.tools import SQL, mute_logger, split_every

from .rights import is_of_database

_logger = logging.getLogger(__name__)

# A query has at most 1,664 columns: two for each segment.
AT_ONCE = 500


class CrmMailchimpSegment(models.Model):
    """Who matches the filter of a segment now."""

    _inherit = "crm.mailchimp.segment"

    def _unchanged(self):
        """Return the segments whose contacts are those noted already.

        One pass over the contacts looks at all conditions that need no other table. It
        only finds out that nothing changed: all other segments, those with a condition
        the database cannot apply among them, have to be evaluated one by one.
        """
        self.env.cr.execute("SET LOCAL jit = off")
        conditions = {}
        for segment in self.filtered(lambda segment: segment.state == "active"):
            condition = segment._condition_on_contacts()
            if condition is not None:
                conditions[segment.id] = condition
        unchanged = self.browse()
        for chunk in split_every(AT_ONCE, conditions.items(), dict):
            try:
                with mute_logger("odoo.sql_db"), self.env.cr.savepoint():
                    unchanged += self._compare_sums(chunk)
            except psycopg2.Error as error:
                if is_of_database(error):
                    raise
        return unchanged

    def _condition_on_contacts(self):
        """Return the condition on the row of a contact that is all of the filter.

        :return: ``SQL``, or ``None`` if the filter reads other tables, or cannot be
            evaluated
        """
        company = self.account_id.company_id
        try:
            # Fields of other add-ons may ask the database while a search is prepared.
            with mute_logger("odoo.sql_db"), self.env.cr.savepoint():
                query, column = self.filter_id._mailchimp_query(company)
        except UserError:
            return None  # evaluating it says why
        contacts = SQL.identifier("res_partner")
        condition = query.where_clause or SQL("TRUE")
        if (
            column != SQL.identifier("res_partner", "id")
            or query.from_clause != contacts
            or query.limit is not None
            or query.offset
            or "SELECT" in condition.code.upper()
        ):
            return None
        return condition

    def _compare_sums(self, conditions):
        """Compare who matches with who is noted, by number and sum of hashes of ids.

        :param dict conditions: ``{id of a segment: SQL}``
        :return: the segments where they are the same
        """
        [found] = self.env.execute_query(
            SQL(
                "SELECT %s FROM res_partner",
                SQL(", ").join(
                    SQL(
                        "COUNT(*) FILTER (WHERE %(condition)s),"
                        " SUM(HASHINT8EXTENDED(id, 0)) FILTER (WHERE %(condition)s)",
                        condition=condition,
                    )
                    for condition in conditions.values()
                ),
            )
        )
        noted = {
            segment_id: sums
            for segment_id, *sums in self.env.execute_query(
                SQL(
                    "SELECT segment_id, COUNT(*), SUM(HASHINT8EXTENDED(partner_id, 0))"
                    " FROM crm_mailchimp_segment_partner"
                    " WHERE segment_id = ANY(%s) GROUP BY segment_id",
                    list(conditions),
                )
            )
        }
        unchanged = self.browse()
        for segment, *sums in zip(
            self.browse(conditions), found[::2], found[1::2], strict=True
        ):
            if sums == noted.get(segment.id, [0, None]):
                segment._write_changes({"matching_count": sums[0]})
                unchanged += segment
        return unchanged

    def _evaluate(self):
        """Update the matching contacts inside the database, writing only differences.

        A segment whose filter cannot be evaluated keeps its last members and says why.
        """
        # JIT compilation would take longer than the queries themselves.
        self.env.cr.execute("SET LOCAL jit = off")
        for segment in self.filtered(lambda segment: segment.state != "withdrawn"):
            try:
                try:
                    segment._find_contacts()
                except psycopg2.errors.ForeignKeyViolation:
                    # Somebody has just deleted a contact that matched, which only
                    # another transaction sees.
                    self.env["ir.cron"]._commit_progress()
                    segment._find_contacts()
            except (UserError, psycopg2.Error) as error:
                if is_of_database(error):
                    raise
                message = (
                    str(error.args[0])
                    if isinstance(error, UserError)
                    else self.env._(
                        "The database cannot apply the condition of the filter."
                    )
                )
                _logger.info(
                    "Segment %s kept its last members: %s", segment.name, error
                )
                segment._write_changes({"state": "broken", "error_message": message})
                continue
            if segment.state == "broken":
                segment.write({"state": "active", "error_message": False})

    def _find_contacts(self):
        with mute_logger("odoo.sql_db"), self.env.cr.savepoint():
            contacts = self.filter_id._mailchimp_contacts(self.account_id.company_id)
            self._store_contacts(contacts)

    def _store_contacts(self, contacts):
        """Note who matches now; only what differs is written.

        :param SQL contacts: query with the ids of the contacts
        """
        cr = self.env.cr
        cr.execute("DROP TABLE IF EXISTS mailchimp_matching")
        # PostgreSQL reads with parallel workers here, but not in a statement that also
        # writes.
        cr.execute(
            SQL(
                """
                CREATE TEMPORARY TABLE mailchimp_matching AS
                SELECT found.id AS added_id, r.partner_id AS removed_id
                  FROM (SELECT DISTINCT id FROM %s AS query(id)
                         WHERE id IS NOT NULL) found
             FULL JOIN (SELECT partner_id FROM crm_mailchimp_segment_partner
                         WHERE segment_id = %s) r ON r.partner_id = found.id
                 WHERE found.id IS NULL OR r.partner_id IS NULL
                """,
                contacts,
                self.id,
            )
        )
        added = 0
        if cr.rowcount:
            cr.execute(
                SQL(
                    "DELETE FROM crm_mailchimp_segment_partner WHERE segment_id = %s"
                    " AND partner_id IN (SELECT removed_id FROM mailchimp_matching"
                    " WHERE removed_id IS NOT NULL)",
                    self.id,
                )
            )
            cr.execute(
                SQL(
                    "INSERT INTO crm_mailchimp_segment_partner (segment_id, partner_id)"
                    " SELECT %s, added_id FROM mailchimp_matching"
                    " WHERE added_id IS NOT NULL",
                    self.id,
                )
            )
            added = cr.rowcount
            self.invalidate_recordset(["partner_ids"])
        cr.execute("DROP TABLE mailchimp_matching")
        if added >= 1000:
            cr.execute("ANALYZE crm_mailchimp_segment_partner")
        [(total,)] = self.env.execute_query(
            SQL(
                "SELECT COUNT(*) FROM crm_mailchimp_segment_partner"
                " WHERE segment_id = %s",
                self.id,
            )
        )
        self._write_changes({"matching_count": total})
