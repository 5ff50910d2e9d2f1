from operator import ge, gt, le, lt

from odoo import api, fields, models
from odoo.fields import Domain
from odoo.tools import SQL

from .crm_mailchimp_recipient import STILL_BOUNCES

BOUNCES = [("hard", "Hard bounce"), ("soft", "Soft bounce")]
ANY = SQL("TRUE")
AFTER = (">", ">=")
BEFORE = ("<", "<=")
# Of the recipients ``r`` of one record. Whoever clicked has opened, even if the
# tracking pixel was not loaded.
NEVER_OPENED = SQL(
    "(BOOL_OR(r.status = 'sent') AND MAX(GREATEST(r.last_open, r.last_click)) IS NULL)"
)
COMPARE = {"<": lt, "<=": le, ">": gt, ">=": ge}


class CrmMailchimpEngagement(models.AbstractModel):
    """What came of the campaigns that a contact or a lead received.

    Nothing is stored on the record: values are looked up among the recipients, and a
    search is a subquery, so that a saved filter on it works as a segment.
    """

    _name = "crm.mailchimp.engagement"
    _description = "Engagement with Mailchimp Campaigns"

    mailchimp_campaign_count = fields.Integer(
        string="Campaigns received",
        compute="_compute_mailchimp_engagement",
        search="_search_mailchimp_campaign_count",
        groups="sales_team.group_sale_salesman",
    )
    mailchimp_last_open = fields.Datetime(
        string="Last campaign open",
        compute="_compute_mailchimp_engagement",
        search="_search_mailchimp_last_open",
        groups="sales_team.group_sale_salesman",
    )
    mailchimp_last_click = fields.Datetime(
        string="Last campaign click",
        compute="_compute_mailchimp_engagement",
        search="_search_mailchimp_last_click",
        groups="sales_team.group_sale_salesman",
    )
    mailchimp_never_opened = fields.Boolean(
        string="Never opened a campaign",
        compute="_compute_mailchimp_engagement",
        search="_search_mailchimp_never_opened",
        groups="sales_team.group_sale_salesman",
    )
    mailchimp_bounced = fields.Selection(
        BOUNCES,
        string="Campaign email bounced",
        compute="_compute_mailchimp_engagement",
        search="_search_mailchimp_bounced",
        groups="sales_team.group_sale_salesman",
    )

    def _mailchimp_recipients(self):
        """Return where the recipients ``r`` of this model's records are found.

        :return: list of ``(id, tables)``, each ``SQL``; no record has recipients in
            more than one of them
        """
        raise NotImplementedError

    def _mailchimp_address_sql(self):
        """Return ``SQL``: whether recipient ``r`` has a current address of its record.

        It may use the tables of :meth:`_mailchimp_recipients`.
        """
        raise NotImplementedError

    def _mailchimp_bounces_sql(self, status):
        """Return aggregate ``SQL``: whether a mail to a current address bounced.

        :param str status: kind of bounce, ``hard`` or ``soft``
        """
        return SQL(
            "BOOL_OR(r.status = %s AND %s AND %s)",
            status,
            STILL_BOUNCES,
            self._mailchimp_address_sql(),
        )

    def _mailchimp_receivers(self, condition):
        """Return ``SQL``: ids of the records with a recipient that meets a condition.

        Ids may be repeated.

        :param condition: ``SQL`` over a recipient ``r``
        """
        raise NotImplementedError

    @api.depends_context("allowed_company_ids")
    def _compute_mailchimp_engagement(self):
        rows = self.env.execute_query(
            self._mailchimp_grouped(
                SQL(
                    """COUNT(DISTINCT r.campaign_id), MAX(r.last_open),
                       MAX(r.last_click), %s, %s, %s""",
                    self._mailchimp_bounces_sql("hard"),
                    self._mailchimp_bounces_sql("soft"),
                    NEVER_OPENED,
                ),
                ids=self.ids,
            )
        )
        found = {record_id: numbers for record_id, *numbers in rows}
        for record in self:
            count, opened, clicked, hard, soft, never = found.get(
                record._origin.id, (0, False, False, False, False, False)
            )
            record.mailchimp_campaign_count = count
            record.mailchimp_last_open = opened
            record.mailchimp_last_click = clicked
            record.mailchimp_never_opened = never
            record.mailchimp_bounced = "hard" if hard else "soft" if soft else False

    def _search_mailchimp_last_open(self, operator, value):
        return self._search_mailchimp_last("last_open", operator, value)

    def _search_mailchimp_last_click(self, operator, value):
        return self._search_mailchimp_last("last_click", operator, value)

    def _search_mailchimp_last(self, field, operator, value):
        column = SQL.identifier("r", field)
        ever = SQL("%s IS NOT NULL", column)
        if operator in AFTER:
            return self._mailchimp_received(
                SQL("%s %s %s", column, SQL(operator), value)
            )
        if operator in BEFORE:
            # Looks at the recipients once, not for who did and for who did later.
            return self._mailchimp_having(
                SQL("MAX(%s) %s %s", column, SQL(operator), value)
            )
        if operator in ("in", "not in") and set(value) == {False}:
            if operator == "in":
                return self._mailchimp_received_none(ever)
            return self._mailchimp_received(ever)
        return NotImplemented

    def _search_mailchimp_never_opened(self, operator, value):
        if set(value) != {True}:
            return NotImplemented
        if operator == "in":
            return self._mailchimp_having(NEVER_OPENED)
        return self._mailchimp_without(NEVER_OPENED)

    def _search_mailchimp_bounced(self, operator, value):
        if operator != "in":
            return NotImplemented
        hard, soft = map(self._mailchimp_bounces_sql, ("hard", "soft"))
        kind = SQL("CASE WHEN %s THEN 'hard' WHEN %s THEN 'soft' END", hard, soft)
        bounced = SQL("r.status <> 'sent'")
        kinds = list(filter(None, value))
        found = self._mailchimp_having(SQL("%s = ANY(%s)", kind, kinds), bounced)
        if False in value:
            without = self._mailchimp_without(SQL("%s IS NOT NULL", kind), bounced)
            found = found | without if kinds else without
        return found

    def _search_mailchimp_campaign_count(self, operator, value):
        count = SQL("COUNT(DISTINCT r.campaign_id)")
        if operator in ("in", "not in"):
            wanted = {int(number or 0) for number in value}
            some, none = list(wanted - {0}), 0 in wanted
            if not some:
                return (
                    self._mailchimp_received_none(ANY)
                    if operator == "in"
                    else self._mailchimp_received(ANY)
                )
            if operator == "not in":
                return NotImplemented
            found = self._mailchimp_having(SQL("%s = ANY(%s)", count, some))
        elif operator in COMPARE:
            value = value or 0
            condition = SQL("%s %s %s", count, SQL(operator), value)
            found = self._mailchimp_having(condition)
            none = COMPARE[operator](0, value)
        else:
            return NotImplemented
        if none:
            found |= self._mailchimp_received_none(ANY)
        return found

    # === SUBQUERIES === #

    def _mailchimp_received(self, condition):
        """Return a domain of the records with a recipient that meets a condition."""
        return self._mailchimp_among(self._mailchimp_received_sql(condition))

    def _mailchimp_received_none(self, condition):
        """Return a domain of the records without a recipient that meets it."""
        return self._mailchimp_among(self._mailchimp_received_sql(condition), False)

    def _mailchimp_received_sql(self, condition):
        self._mailchimp_flush()
        shown = self._mailchimp_shown_sql()
        return self._mailchimp_receivers(SQL("%s AND %s", shown, condition))

    def _mailchimp_having(self, condition, of=ANY):
        """Return a domain of the records whose recipients together meet a condition.

        :param condition: aggregate ``SQL`` over the recipients ``r`` of a record
        :param of: ``SQL``, which of the recipients to look at; all by default
        """
        return self._mailchimp_among(self._mailchimp_having_sql(condition, of))

    def _mailchimp_without(self, condition, of=ANY):
        """Return a domain of all records but those of :meth:`_mailchimp_having`."""
        return self._mailchimp_among(self._mailchimp_having_sql(condition, of), False)

    def _mailchimp_having_sql(self, condition, of):
        return SQL("(%s)", self._mailchimp_grouped(of=of, having=condition))

    def _mailchimp_grouped(self, columns=None, of=ANY, having=ANY, ids=None):
        """Return a query with a row for each record that has recipients.

        :param columns: ``SQL`` over the recipients ``r``, returned after the id
        :param of: ``SQL``, which of the recipients to look at
        :param having: ``SQL``, which of the records to return
        :param ids: look at these records only
        """
        self._mailchimp_flush()
        shown = self._mailchimp_shown_sql()
        return SQL(" UNION ALL ").join(
            SQL(
                "SELECT %s FROM %s WHERE %s AND %s AND %s GROUP BY %s HAVING %s",
                SQL("%s, %s", key, columns) if columns else key,
                tables,
                SQL("%s IS NOT NULL", key)
                if ids is None
                else SQL("%s = ANY(%s)", key, ids),
                shown,
                of,
                key,
                having,
            )
            for key, tables in self._mailchimp_recipients()
        )

    def _mailchimp_found(self, column, condition):
        """Return ``SQL``: a column of the recipients that meet a condition."""
        column = SQL.identifier("r", column)
        return SQL(
            "SELECT %s FROM crm_mailchimp_recipient r WHERE %s IS NOT NULL AND %s",
            column,
            column,
            condition,
        )

    def _mailchimp_flush(self):
        self.env["crm.mailchimp.recipient"].flush_model()
        self.flush_model()

    def _mailchimp_shown_sql(self):
        """Return ``SQL``: whether recipient ``r`` is of a campaign of these companies.

        PostgreSQL hashes a list of ids. With a join it took a third longer, as it
        looked the campaign of each of a million recipients up.
        """
        campaigns = self.env["crm.mailchimp.campaign"]._search(
            [("company_id", "in", self.env.companies.ids)], bypass_access=True
        )
        return SQL("r.campaign_id = ANY(%s)", list(campaigns.get_result_ids()))

    def _mailchimp_among(self, ids, among=True):
        """Return a domain of the records with one of these ids, or with none of them.

        For each record, PostgreSQL may read all rows of ``NOT IN``, and of an ``IN``
        beside an ``OR`` for which its memory is too small. ``EXISTS`` it can join, or
        look up in an index.
        """
        return Domain.custom(
            to_sql=lambda _model, alias, _query: SQL(
                "%s (SELECT FROM %s AS other (id) WHERE other.id = %s)",
                SQL("EXISTS" if among else "NOT EXISTS"),
                ids,
                SQL.identifier(alias, "id"),
            )
        )

    def _mailchimp_recipient_domain(self):
        """Return the domain of this record's recipients."""
        raise NotImplementedError

    def action_mailchimp_campaigns(self):
        """List the campaigns received, and what came of each."""
        self.ensure_one()
        action = self.env["ir.actions.act_window"]._for_xml_id(
            "crm_mailchimp.action_crm_mailchimp_recipient"
        )
        action["domain"] = self._mailchimp_recipient_domain()
        action["context"] = {}
        return action


class ResPartner(models.Model):
    _name = "res.partner"
    _inherit = ["res.partner", "crm.mailchimp.engagement"]

    def _mailchimp_recipients(self):
        return [(SQL("r.partner_id"), SQL("crm_mailchimp_recipient r"))]

    def _mailchimp_address_sql(self):
        return SQL(
            """EXISTS (
                SELECT FROM res_partner o
                 WHERE o.id = r.partner_id
                   AND (r.email_normalized = o.email_normalized OR EXISTS (
                        SELECT FROM (SELECT o.email, o.email_normalized) p
                 CROSS JOIN LATERAL (%s) a WHERE a.email = r.email_normalized)))""",
            self.env["crm.mailchimp.account"]._further_addresses_sql(),
        )

    def _mailchimp_receivers(self, condition):
        return SQL("(%s)", self._mailchimp_found("partner_id", condition))

    def _mailchimp_recipient_domain(self):
        return [("partner_id", "in", self.ids)]


class CrmLead(models.Model):
    """A lead's engagement: that of its contact, or without one, of its address."""

    _name = "crm.lead"
    _inherit = ["crm.lead", "crm.mailchimp.engagement"]

    mailchimp_contact_opt_in = fields.Boolean(
        string="Opt-in of the contact",
        related="partner_id.mailchimp_opt_in",
        readonly=True,
        groups="sales_team.group_sale_salesman",
    )
    mailchimp_contact_status = fields.Selection(
        string="Contact in Mailchimp",
        related="partner_id.mailchimp_status",
        groups="sales_team.group_sale_salesman",
    )

    def _mailchimp_recipients(self):
        # Two joins, each by an index: with an OR, PostgreSQL reads all recipients.
        return [
            (
                SQL("o.id"),
                SQL(
                    """crm_lead o JOIN crm_mailchimp_recipient r
                         ON r.partner_id = o.partner_id"""
                ),
            ),
            (
                SQL("o.id"),
                SQL(
                    """crm_lead o JOIN crm_mailchimp_recipient r
                         ON r.email_normalized = o.email_normalized
                        AND o.partner_id IS NULL"""
                ),
            ),
        ]

    def _mailchimp_address_sql(self):
        return SQL("r.email_normalized = o.email_normalized")

    def _mailchimp_receivers(self, condition):
        return SQL(
            """(SELECT o.id FROM crm_lead o WHERE o.partner_id IN (%s)
                 UNION ALL
                SELECT o.id FROM crm_lead o
                 WHERE o.partner_id IS NULL AND o.email_normalized IN (%s))""",
            self._mailchimp_found("partner_id", condition),
            self._mailchimp_found("email_normalized", condition),
        )

    def _mailchimp_recipient_domain(self):
        if self.partner_id:
            return [("partner_id", "in", self.partner_id.ids)]
        return [("email_normalized", "in", self.mapped("email_normalized"))]
