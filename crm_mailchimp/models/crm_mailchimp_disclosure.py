from odoo import api, fields, models
from odoo.exceptions import UserError
from odoo.tools import SQL, LazyTranslate

from .crm_mailchimp_contact_status import id_bits
from .crm_mailchimp_merge_field import SOURCES

_lt = LazyTranslate(__name__)


class CrmMailchimpDisclosure(models.Model):
    """One line of *Data shared with Mailchimp*: what is sent, and who decided so.

    Conditions and paths are shown as written: that is what an auditor reads.
    """

    _name = "crm.mailchimp.disclosure"
    _description = "Data Shared with Mailchimp"
    _auto = False
    _order = "account_id, kind, id"

    account_id = fields.Many2one("crm.mailchimp.account", readonly=True)
    company_id = fields.Many2one("res.company", readonly=True)
    kind = fields.Selection(
        [
            ("1_who", "Which contacts"),
            ("2_field", "Contact data"),
            ("3_filter", "Groups and tags"),
        ],
        string="Type",
        readonly=True,
    )
    name = fields.Char(string="What", compute="_compute_name")
    label = fields.Char(readonly=True)
    detail = fields.Char(string="Source", compute="_compute_name")
    expression = fields.Text(readonly=True)
    user_id = fields.Many2one(
        "res.users",
        string="Uses the access rights of",
        readonly=True,
        falsy_value_label=_lt("No particular user"),
    )
    changed_by_id = fields.Many2one(
        "res.users", string="Last changed by", readonly=True
    )
    changed_at = fields.Datetime(string="Last changed on", readonly=True)
    problem = fields.Char(compute="_compute_problem")
    field_id = fields.Many2one("crm.mailchimp.merge.field", readonly=True)
    filter_id = fields.Many2one("ir.filters", readonly=True)
    # Whether this is the account's condition, or what is sent of every contact.
    is_condition = fields.Boolean(readonly=True)

    can_take_over = fields.Boolean(compute="_compute_can_take_over")

    @property
    def _table_query(self):
        for model in ("crm.mailchimp.account", "crm.mailchimp.merge.field"):
            self.env[model].flush_model()
        self.env["ir.filters"].flush_model()
        self.env["crm.mailchimp.segment"].flush_model()
        return SQL(
            """
            SELECT a.id::bigint * 4 AS id, a.id AS account_id, a.company_id,
                   '1_who' AS kind, NULL AS label, NULL AS expression,
                   NULL::int4 AS user_id, NULL::int4 AS changed_by_id,
                   NULL::timestamp AS changed_at, NULL::int4 AS field_id,
                   NULL::int4 AS filter_id, FALSE AS is_condition
              FROM crm_mailchimp_account a WHERE a.active
             UNION ALL
            SELECT a.id::bigint * 4 + 1, a.id, a.company_id, '1_who', NULL,
                   a.partner_domain, a.partner_domain_user_id,
                   a.partner_domain_user_id, a.partner_domain_date, NULL, NULL, TRUE
              FROM crm_mailchimp_account a
             WHERE a.active AND a.partner_domain <> '[]'
             UNION ALL
            SELECT f.id::bigint * 4 + 2, a.id, a.company_id, '2_field',
                   f.tag || ' (' || f.name || ')',
                   CASE WHEN f.source = 'field' THEN f.field_path ELSE f.source END,
                   f.author_id, f.author_id, f.authored_at, f.id, NULL, FALSE
              FROM crm_mailchimp_merge_field f
              JOIN crm_mailchimp_account a ON a.id = f.account_id
             WHERE a.active AND f.source IS NOT NULL
             UNION ALL
            SELECT ((f.id::bigint << %(bits)s) + a.id) * 4 + 3, a.id, a.company_id,
                   '3_filter', f.name, f.model_id || ': ' || f.domain,
                   f.mailchimp_owner_id, f.write_uid, f.write_date, NULL, f.id, FALSE
              FROM ir_filters f
              JOIN crm_mailchimp_account a ON a.active
             WHERE f.mailchimp_sync AND f.active
               AND (EXISTS (SELECT FROM res_company_users_rel r
                             WHERE r.user_id = f.mailchimp_owner_id
                               AND r.cid = a.company_id)
                    OR EXISTS (SELECT FROM crm_mailchimp_segment s
                                WHERE s.filter_id = f.id AND s.account_id = a.id
                                  AND s.state <> 'withdrawn'))
            """,
            bits=id_bits(self.env["crm.mailchimp.account"]),
        )

    @api.depends("kind", "label", "expression", "is_condition")
    def _compute_name(self):
        _ = self.env._
        sources = dict(SOURCES)
        for line in self:
            if line.kind != "1_who":
                line.name, line.detail = line.label, line.expression
                if line.kind == "2_field":
                    line.detail = sources.get(line.expression, line.expression)
            elif line.is_condition:
                line.name = _("Only contacts matching")
                line.detail = line.expression
            else:
                line.name = _("Address, language and time of the opt-in")
                line.detail = _(
                    "All contacts with an opt-in that "
                    "meet the conditions of the account"
                )

    @api.depends("field_id", "filter_id", "is_condition")
    def _compute_problem(self):
        for line in self:
            problem = False
            if line.field_id:
                problem = line.field_id._trouble()
            else:
                try:
                    if line.filter_id:
                        line.filter_id.sudo()._mailchimp_contacts(line.company_id)
                    elif line.is_condition:
                        line.account_id._scope_domain()
                except UserError as error:
                    problem = str(error.args[0])
            line.problem = problem

    @api.depends_context("uid")
    @api.depends("user_id", "field_id", "filter_id", "is_condition")
    def _compute_can_take_over(self):
        for line in self:
            written = line.field_id or line.filter_id.id or line.is_condition
            line.can_take_over = bool(written) and line.user_id != self.env.user

    def action_take_over(self):
        """Have these lines use the rights of the manager who presses the button.

        :raise UserError: if that user may not read what they use
        """
        self.check_access("read")
        self.account_id._check_manager()
        self.field_id.action_take_over()
        # Also filters of users who are gone: those can no longer share them.
        filters = self.filter_id.sudo()
        filters.mailchimp_owner_id = self.env.uid
        filters._check_mailchimp_usable()
        for line in self.filtered("is_condition"):
            line.account_id._sign_as_mine()
        self.env.flush_all()
        self.invalidate_model()


class CrmMailchimpAccount(models.Model):
    _inherit = "crm.mailchimp.account"

    def _sign_as_mine(self):
        """Have the account's condition use the rights of the current user."""
        self._check_manager()
        self.sudo().write(
            {
                "partner_domain_user_id": self.env.uid,
                "partner_domain_date": fields.Datetime.now(),
            }
        )

    def action_open_disclosures(self):
        """Show what is shared with Mailchimp, and who decided so."""
        self.check_access("read")
        return self._open("crm_mailchimp.action_crm_mailchimp_disclosure")
