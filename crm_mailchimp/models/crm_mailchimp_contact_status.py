from odoo import api, fields, models
from odoo.tools import SQL

from .crm_mailchimp_member import REFUSALS

STATUSES = [
    ("in", "In Mailchimp"),
    ("waiting", "Waiting for the next sync"),
    ("out", "Not in Mailchimp"),
]
REASONS = [
    ("no_opt_in", "No opt-in"),
    ("contact_archived", "Contact is archived"),
    ("no_address", "No email address"),
    ("invalid_address", "Email address is not valid"),
    ("blacklisted", "On Odoo's blacklist"),
    ("was_blacklisted", "Was blacklisted after the opt-in"),
    ("other_company", "Belongs to another company"),
    ("wrong_kind", "People or companies excluded"),
    ("out_of_scope", "Does not meet the account's conditions"),
    ("opted_out", "A contact with this address opted out"),
    ("shared_address", "Shares its email address with another contact"),
    ("unsubscribed", "Unsubscribed in Mailchimp"),
    ("cleaned", "Address bounced (cleaned)"),
    ("pending", "Waiting for confirmation"),
    ("transactional", "Not subscribed in Mailchimp"),
    ("segment_missing", "Group or tag not set yet"),
    # Listed above: an address Mailchimp refuses is as invalid as one that is never
    # sent.
    *(refusal for refusal in REFUSALS if refusal[0] != "invalid_address"),
]
# Reasons for which the explanation on the member says what to correct.
IN_WORDS = ("merge_fields", "required_field", "not_taken", "other", "renamed")


def id_bits(model):
    """Return how many bits the ids of a model need.

    A line's id combines the ids of its contact and of a record of that model in one
    number, so that it is the same at every read. No more bits than needed: XML-RPC has
    no integers above 32 bits.
    """
    last = model.sudo().with_context(active_test=False)
    return (last.search([], order="id desc", limit=1).id or 0).bit_length()


class CrmMailchimpContactStatus(models.Model):
    """One contact and one account: is it in Mailchimp, and if not, why not.

    For an account with many contacts, the lines are those of its last count (see
    :mod:`contact_count`), unless the context names the contacts to evaluate
    (``mailchimp_partner_ids``) or asks for current lines whatever the cost
    (``mailchimp_live``).
    """

    _name = "crm.mailchimp.contact.status"
    _description = "Contact in Mailchimp"
    _auto = False
    # The order of an index, where the lines are counted.
    _order = "status, reason, email, id"
    _rec_name = "partner_id"

    partner_id = fields.Many2one("res.partner", string="Contact", readonly=True)
    account_id = fields.Many2one("crm.mailchimp.account", readonly=True)
    company_id = fields.Many2one("res.company", readonly=True)
    member_id = fields.Many2one("crm.mailchimp.member", readonly=True)
    email = fields.Char(string="Address", readonly=True)
    # A plain number, which reveals no name: the web client shows the name of any record
    # a line refers to.
    winner_ref = fields.Integer(readonly=True)
    winner_id = fields.Many2one(
        "res.partner",
        string="Contact in Mailchimp",
        compute="_compute_winner_id",
        compute_sudo=False,
    )
    status = fields.Selection(STATUSES, readonly=True)
    reason = fields.Selection(REASONS, readonly=True)
    outcome = fields.Selection(
        [*STATUSES, *REASONS],
        readonly=True,
        help="The reason, or the status where there is none.",
    )
    remedy = fields.Char(compute="_compute_remedy", string="What to do")
    guide_url = fields.Char(string="Guide", compute="_compute_guide_url")
    counted_at = fields.Datetime(
        string="As of",
        readonly=True,
        help="When the contacts were counted; empty if counted just now.",
    )

    def fields_get(self, allfields=None, attributes=None):
        """Offer to group by the outcome, whose groups all have a name."""
        result = super().fields_get(allfields, attributes)
        if "groupable" in result.get("reason", ()):
            result["reason"]["groupable"] = False
        return result

    def _field_to_sql(self, alias, field_expr, query=None):
        if field_expr != "outcome":
            return super()._field_to_sql(alias, field_expr, query)
        return SQL(
            "COALESCE(%s, %s)",
            self._field_to_sql(alias, "reason", query),
            self._field_to_sql(alias, "status", query),
        )

    @property
    def _table_query(self):
        accounts = self._accounts()
        counted = {} if self._wants_live() else accounts._counted_at()
        return self._lines_sql({account: counted.get(account) for account in accounts})

    def _lines_sql(self, accounts):
        """Return a query with the lines of accounts.

        :param accounts: ``{account: when it was counted}``; ``None`` to evaluate it now
        """
        queries = [
            self._counted_sql(account, counted_at)
            if counted_at
            else self._live_sql(account)
            for account, counted_at in accounts.items()
        ]
        if not queries:
            return SQL(
                "SELECT NULL::bigint AS id, NULL::int AS account_id,"
                " NULL::int AS company_id, NULL::int AS partner_id,"
                " NULL::varchar AS email, NULL::int AS winner_ref,"
                " NULL::int AS member_id, NULL::varchar AS status,"
                " NULL::varchar AS reason, NULL::timestamp AS counted_at WHERE FALSE"
            )
        return SQL(" UNION ALL ").join(queries)

    def _accounts(self):
        return (
            self.env["crm.mailchimp.account"]
            .sudo()
            .search([("audience_ref", "!=", False)])
        )

    def _wants_live(self):
        context = self.env.context
        return context.get("mailchimp_live") or "mailchimp_partner_ids" in context

    def _live_sql(self, account):
        """Return a query with the lines of an account, evaluated now."""
        account._flush_contacts()
        partner_ids = self.env.context.get("mailchimp_partner_ids")
        if partner_ids is None:
            lines = account._contact_lines_sql()
        else:
            partners = self.env["res.partner"].sudo().browse(partner_ids).exists()
            lines = SQL(
                "SELECT * FROM (%s) chosen WHERE partner_id = ANY(%s)",
                account._contact_lines_sql(
                    {email for p in partners for email in p._mailchimp_addresses()},
                    partners.ids,
                ),
                partners.ids,
            )
        return SQL(
            "SELECT %(id)s AS id, %(account)s AS account_id, %(company)s AS company_id,"
            " line.partner_id, line.email, line.winner_id AS winner_ref,"
            " line.member_id, line.status::varchar, line.reason::varchar,"
            " NULL::timestamp AS counted_at"
            " FROM (%(lines)s) line",
            id=self._id_sql(account),
            account=account.id,
            company=account.company_id.id,
            lines=lines,
        )

    def _id_sql(self, account):
        """Return ``SQL``: the id of a line of the account."""
        return SQL("(line.partner_id::bigint << %s) + %s", id_bits(account), account.id)

    def _counted_sql(self, account, counted_at):
        """Return a query with the lines of an account as of its last count."""
        return SQL(
            "SELECT line.id, %(account)s AS account_id, %(company)s AS company_id,"
            " line.partner_ref AS partner_id, line.email, line.winner_ref,"
            " m.id AS member_id, line.status, line.reason,"
            " %(counted_at)s::timestamp AS counted_at"
            " FROM crm_mailchimp_contact_line line"
            " LEFT JOIN crm_mailchimp_member m ON m.id = line.member_ref"
            " WHERE line.account_ref = %(account)s",
            account=account.id,
            company=account.company_id.id,
            counted_at=counted_at,
        )

    @api.depends_context("uid", "su", "allowed_company_ids")
    @api.depends("winner_ref")
    def _compute_winner_id(self):
        """Show the contact that stands for the address to users who may read it."""
        Partner = self.env["res.partner"].with_context(active_test=False)
        refs = [line.winner_ref for line in self if line.winner_ref]
        winners = set(Partner.browse(refs)._filtered_access("read").ids)
        for line in self:
            line.winner_id = line.winner_ref in winners and line.winner_ref

    @api.depends_context("uid", "su", "allowed_company_ids")
    @api.depends("reason", "winner_ref")
    def _compute_remedy(self):
        _ = self.env._
        # Suggest the button only to users who may press it.
        if self.env.user.has_group("crm_mailchimp.group_mailchimp_user"):
            ask = _("Use “Ask again”: Mailchimp sends an email to confirm.")
        else:
            ask = _(
                "Ask a Mailchimp user to use “Ask again”: Mailchimp sends an email to "
                "confirm."
            )
        remedies = {
            "no_opt_in": _("Tick the opt-in once the contact has agreed."),
            "contact_archived": _("Unarchive the contact."),
            "no_address": _("Enter an email address."),
            "invalid_address": _("Correct the email address."),
            "blacklisted": _(
                "If the person asks for it, remove the address from the blacklist and "
                "tick the opt-in again."
            ),
            "was_blacklisted": _(
                "If the person asks for your emails, untick the opt-in, save, and tick "
                "it again."
            ),
            "other_company": _("Only contacts of the account's company are sent."),
            "wrong_kind": _("The account sends only people, or only companies."),
            "out_of_scope": _(
                "Change the contact, or the conditions on the Mailchimp account."
            ),
            "opted_out": _(
                "If the person asks for your emails, untick the opt-in, save, and tick "
                "it again."
            ),
            "unsubscribed": _(
                "If the person asks for it, tick the opt-in again. %s", ask
            ),
            "cleaned": _("Correct the address; email to it bounced."),
            "pending": _("Wait until the person confirms in Mailchimp's email."),
            "transactional": ask,
            "forgotten": _("The person must sign up again with a Mailchimp form."),
            "renamed": _(
                "The person uses another address in Mailchimp: enter it here, too."
            ),
            "not_confirmed": ask,
            "fake": _("Correct the address."),
            "compliance": _("The person must sign up again with a Mailchimp form."),
            "too_many_signups": _("Odoo tries again in a few days."),
            "segment_missing": _(
                "Added with a sync; if it stays "
                "missing, see the problem on the segment."
            ),
            "merge_fields": _("Correct the value that Mailchimp refused."),
            "required_field": _("Fill in the fields that Mailchimp requires."),
            "archived": _("%s Or ask a Mailchimp manager to bring it back.", ask),
            "other": _("See Mailchimp's explanation on the member."),
            "not_taken": _(
                "Correct the contact, or the value in Mailchimp; every sync tries "
                "again."
            ),
        }
        for line in self:
            if line.reason == "shared_address":
                # A contact the user may not read is not named.
                line.remedy = (
                    _("%(name)s is in Mailchimp.", name=line.winner_id.display_name)
                    if line.winner_id
                    else _(
                        "Another contact, which you may not see, "
                        "is in Mailchimp with this address."
                    )
                )
            else:
                line.remedy = remedies.get(line.reason, "")
            if line.reason in IN_WORDS and line.member_id.reason_text:
                words = line.member_id.reason_text.rstrip(" .")
                line.remedy = f"{words}. {line.remedy}"

    @api.depends("reason")
    def _compute_guide_url(self):
        for line in self:
            line.guide_url = line.reason and (
                f"/crm_mailchimp/guide/troubleshooting#{line.reason}"
            )

    def action_open_contact(self):
        """Open the contact of the line."""
        return self.partner_id.get_formview_action()


class CrmMailchimpSegmentContact(models.Model):
    """One segment and matching contact: has it the group, and if not, why not.

    What Mailchimp holds decides whether a contact is in, so the lines add up to the
    numbers the segment shows.
    """

    _name = "crm.mailchimp.segment.contact"
    _inherit = "crm.mailchimp.contact.status"
    _description = "Contact of a Mailchimp Segment"
    _auto = False
    _order = "segment_id, status, reason, email, id"

    segment_id = fields.Many2one("crm.mailchimp.segment", readonly=True)

    @property
    def _table_query(self):
        counted = {} if self._wants_live() else self._accounts()._counted_at()
        live = self._accounts().filtered(lambda account: account not in counted)
        queries = [self._gaps_now_sql(live)] if live or not counted else []
        for account, counted_at in counted.items():
            queries += self._gaps_counted_sql(account, counted_at)
        return SQL(" UNION ALL ").join(queries)

    def _gaps_now_sql(self, accounts):
        """Return a query with the lines of these accounts, evaluated now."""
        # Materialized: PostgreSQL may otherwise evaluate everybody for each contact of
        # a segment, if its statistics know of none.
        return SQL(
            """
            (WITH line AS MATERIALIZED (%(lines)s)
            SELECT %(id)s AS id, r.segment_id, s.account_id, line.company_id,
                   r.partner_id, line.email, line.winner_ref, line.member_id,
                   CASE WHEN h.holds THEN 'in'
                        WHEN line.status = 'out' THEN 'out'
                        ELSE 'waiting' END::varchar AS status,
                   CASE WHEN h.holds THEN NULL
                        WHEN line.status = 'in' THEN 'segment_missing'
                        ELSE line.reason END::varchar AS reason,
                   NULL::timestamp AS counted_at
              FROM crm_mailchimp_segment_partner r
              JOIN crm_mailchimp_segment s ON s.id = r.segment_id
              JOIN crm_mailchimp_account account
                ON account.id = s.account_id AND account.id = ANY(%(accounts)s)
CROSS JOIN LATERAL (SELECT %(is_holder)s AS holds) h
         LEFT JOIN line
                ON line.account_id = s.account_id AND line.partner_id = r.partner_id)
            """,
            lines=self._lines_sql({account: None for account in accounts}),
            id=self._pair_id_sql(),
            accounts=accounts.ids,
            is_holder=self.env["crm.mailchimp.segment"]._is_holder_sql(),
        )

    def _gaps_counted_sql(self, account, counted_at):
        """Return queries with the lines of an account, as of its last count.

        Missing contacts come from the count; those that are in and were not missing
        then are looked up, a page of them at a time.
        """
        shown = SQL(
            """%s AS account_id, %s AS company_id, r.partner_id, line.email,
               line.winner_ref, m.id AS member_id, r.status, r.reason,
               %s::timestamp AS counted_at""",
            account.id,
            account.company_id.id,
            counted_at,
        )
        pairs = (
            SQL(
                """SELECT segment_id, partner_ref AS partner_id, status, reason
                     FROM crm_mailchimp_segment_gap
                    WHERE segment_id = ANY(%s)""",
                account.segment_ids.ids,
            ),
            SQL(
                """SELECT r.segment_id, r.partner_id, 'in'::varchar AS status,
                          NULL::varchar AS reason
                     FROM crm_mailchimp_segment_partner r
                     JOIN crm_mailchimp_segment s ON s.id = r.segment_id
                     JOIN crm_mailchimp_account account
                       ON account.id = s.account_id AND account.id = %s
                    WHERE %s AND NOT EXISTS (
                          SELECT FROM crm_mailchimp_segment_gap g
                           WHERE g.segment_id = r.segment_id
                             AND g.partner_ref = r.partner_id)""",
                account.id,
                self.env["crm.mailchimp.segment"]._is_holder_sql(),
            ),
        )
        return [
            SQL(
                """SELECT %s AS id, r.segment_id, %s
                     FROM (%s) r
                LEFT JOIN crm_mailchimp_contact_line line
                       ON line.account_ref = %s AND line.partner_ref = r.partner_id
                LEFT JOIN crm_mailchimp_member m ON m.id = line.member_ref""",
                self._pair_id_sql(),
                shown,
                pair,
                account.id,
            )
            for pair in pairs
        ]

    def _pair_id_sql(self):
        """Return ``SQL``: the id of the line for contact and segment of ``r``."""
        return SQL(
            "(r.partner_id::bigint << %s) + r.segment_id",
            id_bits(self.env["crm.mailchimp.segment"]),
        )
