from odoo import api, fields, models
from odoo.tools import SQL

from .crm_mailchimp_member import REFUSALS

REASONS = [
    ("no_opt_in", "No opt-in"),
    ("contact_archived", "Contact is archived"),
    ("no_address", "No e-mail address"),
    ("invalid_address", "E-mail address is not valid"),
    ("blacklisted", "On the blacklist of Odoo"),
    ("other_company", "Belongs to another company"),
    ("wrong_kind", "People or companies left out"),
    ("out_of_scope", "Outside the account's conditions"),
    ("opted_out", "A contact with this address opted out"),
    ("shared_address", "Shares its address with another contact"),
    ("unsubscribed", "Unsubscribed in Mailchimp"),
    ("cleaned", "Address bounced (cleaned)"),
    ("pending", "Has not confirmed yet"),
    ("transactional", "Not subscribed in Mailchimp"),
    # An address Mailchimp refuses is as invalid as one that is never sent.
    *(refusal for refusal in REFUSALS if refusal[0] != "invalid_address"),
]


class CrmMailchimpContactStatus(models.Model):
    """One line a contact and account: is it in Mailchimp, and if not, why not."""

    _name = "crm.mailchimp.contact.status"
    _description = "Contact in Mailchimp"
    _auto = False
    _order = "status, reason, partner_id"
    _rec_name = "partner_id"

    partner_id = fields.Many2one("res.partner", string="Contact", readonly=True)
    account_id = fields.Many2one("crm.mailchimp.account", readonly=True)
    company_id = fields.Many2one("res.company", readonly=True)
    member_id = fields.Many2one("crm.mailchimp.member", readonly=True)
    email = fields.Char(string="Address", readonly=True)
    winner_id = fields.Many2one(
        "res.partner", string="Contact in Mailchimp", readonly=True
    )
    status = fields.Selection(
        [
            ("in", "In Mailchimp"),
            ("waiting", "Goes with the next run"),
            ("out", "Not in Mailchimp"),
        ],
        readonly=True,
    )
    reason = fields.Selection(REASONS, readonly=True)
    remedy = fields.Char(compute="_compute_remedy", string="What to do")

    @property
    def _table_query(self):
        accounts = (
            self.env["crm.mailchimp.account"]
            .sudo()
            .search([("audience_ref", "!=", False)])
        )
        accounts._flush_contacts()
        # An id that is the same at every read: account and contact in one number.
        queries = [
            SQL(
                "SELECT %(account)s::bigint * 2147483648 + line.partner_id AS id,"
                " %(account)s AS account_id, %(company)s AS company_id, line.*"
                " FROM (%(lines)s) line",
                account=account.id,
                company=account.company_id.id,
                lines=account._contact_lines_sql(),
            )
            for account in accounts
        ]
        if not queries:
            return SQL(
                "SELECT NULL::bigint AS id, NULL::int AS account_id,"
                " NULL::int AS company_id, NULL::int AS partner_id,"
                " NULL::varchar AS email, NULL::int AS winner_id,"
                " NULL::int AS member_id, NULL::varchar AS status,"
                " NULL::varchar AS reason WHERE FALSE"
            )
        return SQL(" UNION ALL ").join(queries)

    @api.depends("reason", "winner_id")
    def _compute_remedy(self):
        _ = self.env._
        remedies = {
            "no_opt_in": _("Tick the opt-in once the contact has agreed."),
            "contact_archived": _("Unarchive the contact."),
            "no_address": _("Enter an e-mail address."),
            "invalid_address": _("Correct the e-mail address."),
            "blacklisted": _("Take the address off the blacklist."),
            "other_company": _("Only contacts of the account's company are sent."),
            "wrong_kind": _("The account sends only people, or only companies."),
            "out_of_scope": _("Change the contact or the account's conditions."),
            "opted_out": _("Opt in again, later than the opt-out, if the person asks."),
            "unsubscribed": _(
                "If the person asks, opt in again and press Ask again: Mailchimp sends"
                " a mail to confirm."
            ),
            "cleaned": _("Correct the address; mail to it bounced."),
            "pending": _("Wait until the person confirms Mailchimp's mail."),
            "transactional": _("Press Ask again: Mailchimp sends a mail to confirm."),
            "forgotten": _("The person must sign up again by a Mailchimp form."),
            "fake": _("Correct the address."),
            "compliance": _("The person must sign up again by a Mailchimp form."),
            "too_many_signups": _("It is tried again after some days."),
            "merge_fields": _("Correct the value that Mailchimp refused."),
            "required_field": _("Fill in the fields that Mailchimp requires."),
            "archived": _("Press Ask again: Mailchimp sends a mail to confirm."),
            "other": _("Read the words of Mailchimp on the member."),
        }
        for line in self:
            if line.reason == "shared_address":
                line.remedy = _("%s is in Mailchimp.", line.winner_id.display_name)
            else:
                line.remedy = remedies.get(line.reason, "")
