import logging

from odoo import api, fields, models
from odoo.exceptions import UserError
from odoo.tools import SQL

from ..engine.vocabulary import PUSHES
from .crm_mailchimp_contact_status import id_bits

_logger = logging.getLogger(__name__)

# With fewer contacts, lists are evaluated whenever somebody opens them; with more, that
# would take seconds, so they are counted beforehand.
COUNTED_FROM = 50_000


class CrmMailchimpContactLine(models.Model):
    """A line of the status list of an account with many contacts, as last counted.

    SQL writes millions of these rows, so there are no foreign keys to check row by row:
    deleting a contact, or merging it into another, deletes its lines (``unlink``).
    """

    _name = "crm.mailchimp.contact.line"
    _description = "Counted Contact in Mailchimp"
    _log_access = False

    account_ref = fields.Integer(readonly=True)
    partner_ref = fields.Integer(readonly=True)
    winner_ref = fields.Integer(readonly=True)
    member_ref = fields.Integer(readonly=True)
    email = fields.Char(readonly=True)
    status = fields.Char(readonly=True)
    reason = fields.Char(readonly=True)

    _partner_idx = models.Index("(partner_ref)")
    # In the order of the list.
    _list_idx = models.Index("(account_ref, status, reason, email, id)")

    def init(self):
        # Ids are those of the status list, which combine contact and account in one
        # number.
        self.env.cr.execute(
            SQL(
                """SELECT FROM information_schema.columns
                    WHERE table_name = %s AND column_name = 'id'
                      AND data_type <> 'bigint'""",
                self._table,
            )
        )
        if self.env.cr.rowcount:
            self.env.cr.execute(
                SQL(
                    "ALTER TABLE %s ALTER COLUMN id TYPE bigint",
                    SQL.identifier(self._table),
                )
            )


class CrmMailchimpSegmentGap(models.Model):
    """A matching contact whose member lacked the group or tag when it was counted.

    Once a segment is in Mailchimp there are few of them, however large it is.
    """

    _name = "crm.mailchimp.segment.gap"
    _description = "Counted Contact Missing in a Mailchimp Segment"
    _log_access = False

    segment_id = fields.Many2one(
        "crm.mailchimp.segment", required=True, ondelete="cascade", readonly=True
    )
    partner_ref = fields.Integer(readonly=True)
    status = fields.Char(readonly=True)
    reason = fields.Char(readonly=True)

    _gap_uniq = models.UniqueIndex("(segment_id, partner_ref)")
    _list_idx = models.Index("(segment_id, status, reason)")
    _partner_idx = models.Index("(partner_ref)")


class CrmMailchimpGrowth(models.Model):
    """A quarter of an hour: how many joined and left a counted account's audience.

    In every time zone, days begin on a quarter of an hour.
    """

    _name = "crm.mailchimp.growth"
    _description = "Counted Growth of a Mailchimp Audience"
    _log_access = False

    account_id = fields.Many2one(
        "crm.mailchimp.account", required=True, ondelete="cascade", readonly=True
    )
    date = fields.Datetime(required=True, readonly=True)
    joined = fields.Integer(readonly=True)
    gone = fields.Integer(readonly=True)

    _date_uniq = models.UniqueIndex("(account_id, date)")


class CrmMailchimpContactCount(models.Model):
    """The last count of an account's contacts: when, and for which audience."""

    _name = "crm.mailchimp.contact.count"
    _description = "Count of the Contacts of a Mailchimp Account"
    _log_access = False

    account_id = fields.Many2one(
        "crm.mailchimp.account", required=True, ondelete="cascade", readonly=True
    )
    audience_ref = fields.Char(readonly=True)
    # What the ids of the lines were made with.
    bits = fields.Integer(readonly=True)
    counted_at = fields.Datetime(readonly=True)

    _account_uniq = models.Constraint(
        "UNIQUE(account_id)", "The contacts of this account are already counted."
    )


class CrmMailchimpAccount(models.Model):
    """Long lists of contacts are counted after each run, and on request."""

    _inherit = "crm.mailchimp.account"

    def _counted_at(self):
        """Return when the lists and numbers of these accounts were counted.

        :return: ``{account: time}``, without accounts that are evaluated on each look
        """
        counts = (
            self.env["crm.mailchimp.contact.count"]
            .sudo()
            .search([("account_id", "in", self.ids)])
        )
        bits = counts and id_bits(self)
        return {
            count.account_id: count.counted_at
            for count in counts
            if count.audience_ref == count.account_id.audience_ref
            and count.bits == bits
        }

    @api.model
    def get_counted_at(self):
        """Return when the contacts of the current companies were counted.

        :return: the earliest time, as text; ``False`` if lists are evaluated live
        """
        self._check_sales()
        accounts = self.sudo().search([("company_id", "in", self.env.companies.ids)])
        times = accounts._counted_at().values()
        return fields.Datetime.to_string(min(times)) if times else False

    @api.model
    def count_again(self):
        """Count the contacts of the current companies now.

        :return: as :meth:`get_counted_at`
        :raise UserError: while they are being counted
        """
        self._check_sales()
        for account in (
            self.sudo()
            .search([("company_id", "in", self.env.companies.ids)])
            ._counted_at()
        ):
            account._count_contacts()
        return self.get_counted_at()

    def _check_sales(self):
        self.env["crm.mailchimp.contact.status"].check_access("read")

    def _count_soon(self):
        """Schedule a count of the lists for after this run."""
        if self._has_many_contacts():
            self.env.ref("crm_mailchimp.ir_cron_count").sudo()._trigger()

    @api.model
    def _cron_count_contacts(self):
        """Count the contacts of the accounts that had a run since their last count."""
        for account in self.search([("audience_ref", "!=", False)]):
            try:
                with self.env.cr.savepoint():
                    if not self._has_many_contacts():
                        account._forget_count()
                    elif account._count_is_due():
                        account._count_contacts()
            except Exception:
                # One account must never stop the others.
                _logger.exception("Contacts of account %s are not counted", account.id)
            self.env["ir.cron"]._commit_progress(1)

    @api.model
    def _has_many_contacts(self):
        [[contacts]] = self.env.execute_query(
            SQL("SELECT reltuples FROM pg_class WHERE oid = 'res_partner'::regclass")
        )
        return contacts >= COUNTED_FROM

    def _count_is_due(self):
        counted_at = self._counted_at().get(self)
        last = self.env["crm.mailchimp.run"].search(
            [
                ("account_id", "=", self.id),
                ("kind", "in", PUSHES),
                ("ended_at", "!=", False),
            ],
            order="ended_at desc",
            limit=1,
        )
        return not counted_at or bool(last) and last.ended_at >= counted_at

    def _forget_count(self):
        """Go back to evaluating lists on each look."""
        if self.env["crm.mailchimp.contact.count"].search(
            [("account_id", "=", self.id)]
        ):
            self.env.cr.execute(
                SQL(
                    """WITH line AS (DELETE FROM crm_mailchimp_contact_line
                                      WHERE account_ref = %(account)s),
                            gap AS (DELETE FROM crm_mailchimp_segment_gap
                                     WHERE segment_id = ANY(%(segments)s)),
                            growth AS (DELETE FROM crm_mailchimp_growth
                                        WHERE account_id = %(account)s)
                       DELETE FROM crm_mailchimp_contact_count
                        WHERE account_id = %(account)s""",
                    account=self.id,
                    segments=self.segment_ids.ids,
                )
            )

    def _count_contacts(self):
        """Evaluate every contact and write what differs from the last count.

        :raise UserError: while another process is counting
        """
        self.ensure_one()
        cr = self.env.cr
        cr.execute(
            SQL(
                "SELECT pg_try_advisory_xact_lock(HASHTEXT(%s), %s)",
                "crm_mailchimp_contact_line",
                self.id,
            )
        )
        if not cr.fetchone()[0]:
            raise UserError(
                self.env._("Contacts are being counted. Check again in a moment.")
            )
        # PostgreSQL overestimates these queries and would first spend time on compiling
        # each.
        cr.execute("SET LOCAL jit = off")
        now = fields.Datetime.now()
        self._flush_contacts()
        self._count_lines()
        self._count_gaps()
        self._count_growth()
        cr.execute(
            SQL(
                """INSERT INTO crm_mailchimp_contact_count
                          (account_id, audience_ref, bits, counted_at)
                   VALUES (%s, %s, %s, %s)
                   ON CONFLICT (account_id)
                   DO UPDATE SET audience_ref = EXCLUDED.audience_ref,
                                 bits = EXCLUDED.bits,
                                 counted_at = EXCLUDED.counted_at""",
                self.id,
                self.audience_ref,
                id_bits(self),
                now,
            )
        )
        self.env.invalidate_all()

    def _count_lines(self):
        columns = {
            "account_ref": SQL("%s", self.id),
            "partner_ref": SQL("line.partner_id"),
            "email": SQL("line.email"),
            "winner_ref": SQL("line.winner_id"),
            "member_ref": SQL("line.member_id"),
            "status": SQL("line.status::varchar"),
            "reason": SQL("line.reason::varchar"),
        }
        self._count_rows(
            "crm_mailchimp_contact_line",
            SQL(
                "SELECT %s AS id, %s FROM (%s) line",
                self.env["crm.mailchimp.contact.status"]._id_sql(self),
                _named(columns),
                self._contact_lines_sql(),
            ),
            ("id",),
            [*columns],
            SQL("old.account_ref = %s", self.id),
        )

    def _count_gaps(self):
        self._count_rows(
            "crm_mailchimp_segment_gap",
            SQL(
                """SELECT r.segment_id, r.partner_id AS partner_ref,
                          CASE WHEN l.status = 'out' THEN 'out' ELSE 'waiting' END
                              AS status,
                          CASE WHEN l.status = 'in' THEN 'segment_missing'
                               ELSE l.reason END AS reason
                     FROM crm_mailchimp_segment_partner r
                     JOIN crm_mailchimp_segment s
                       ON s.id = r.segment_id AND s.account_id = %(account)s
                     JOIN crm_mailchimp_account account ON account.id = s.account_id
                LEFT JOIN crm_mailchimp_contact_line l
                       ON l.account_ref = %(account)s AND l.partner_ref = r.partner_id
                    WHERE NOT %(is_holder)s""",
                account=self.id,
                is_holder=self.env["crm.mailchimp.segment"]._is_holder_sql(),
            ),
            ("segment_id", "partner_ref"),
            ("status", "reason"),
            SQL("old.segment_id = ANY(%s)", self.segment_ids.ids),
        )

    def _count_growth(self):
        self._count_rows(
            "crm_mailchimp_growth",
            SQL(
                """SELECT %s AS account_id, SUM(joined)::int AS joined,
                          SUM(gone)::int AS gone,
                          DATE_BIN('15 minutes', date, '2000-01-01') AS date
                     FROM (%s) dated WHERE date IS NOT NULL GROUP BY 4""",
                self.id,
                self._growth_sql(),
            ),
            ("account_id", "date"),
            ("joined", "gone"),
            SQL("old.account_id = %s", self.id),
        )

    def _count_rows(self, table, query, key, columns, mine):
        """Make a table hold the rows of a query, without rewriting unchanged ones.

        :param str table: name of the table
        :param SQL query: the rows it should hold
        :param key: names of the columns that identify a row
        :param columns: names of the other columns
        :param SQL mine: condition for the rows of the table (``old``) to compare
        """

        def tuple_of(alias, names):
            return SQL(", ").join(SQL.identifier(alias, name) for name in names)

        def list_of(names):
            return SQL(", ").join(map(SQL.identifier, names))

        cr = self.env.cr
        # A table, for its statistics: without them PostgreSQL compares every pair of
        # rows.
        cr.execute("DROP TABLE IF EXISTS mailchimp_counted")
        cr.execute(SQL("CREATE TEMPORARY TABLE mailchimp_counted AS %s", query))
        cr.execute("ANALYZE mailchimp_counted")
        same = SQL("(%s) = (%s)", tuple_of("old", key), tuple_of("new", key))
        cr.execute(
            SQL(
                """DELETE FROM %s old WHERE %s AND NOT EXISTS (
                        SELECT FROM mailchimp_counted new WHERE %s)""",
                SQL.identifier(table),
                mine,
                same,
            )
        )
        cr.execute(
            SQL(
                """INSERT INTO %(table)s (%(names)s)
                   SELECT %(news)s FROM mailchimp_counted new
                LEFT JOIN %(table)s old ON %(same)s
                    WHERE old.id IS NULL OR (%(before)s) IS DISTINCT FROM (%(after)s)
                   ON CONFLICT (%(key)s) DO UPDATE SET %(changes)s""",
                table=SQL.identifier(table),
                names=list_of([*key, *columns]),
                news=tuple_of("new", [*key, *columns]),
                same=same,
                before=tuple_of("old", columns),
                after=tuple_of("new", columns),
                key=list_of(key),
                changes=SQL(", ").join(
                    SQL(
                        "%s = %s",
                        SQL.identifier(name),
                        SQL.identifier("excluded", name),
                    )
                    for name in columns
                ),
            )
        )
        if cr.rowcount >= COUNTED_FROM:
            cr.execute(SQL("ANALYZE %s", SQL.identifier(table)))
        cr.execute("DROP TABLE mailchimp_counted")


def _named(columns):
    return SQL(", ").join(
        SQL("%s AS %s", value, SQL.identifier(name)) for name, value in columns.items()
    )


class ResPartner(models.Model):
    _inherit = "res.partner"

    def unlink(self):
        """Remove the contacts from the counted lists too; merging also ends up here."""
        ids = self.ids
        result = super().unlink()
        if ids:
            for table in ("crm_mailchimp_contact_line", "crm_mailchimp_segment_gap"):
                self.env.cr.execute(
                    SQL(
                        "DELETE FROM %s WHERE partner_ref = ANY(%s)",
                        SQL.identifier(table),
                        ids,
                    )
                )
        return result
