from odoo import api, fields, models
from odoo.exceptions import UserError
from odoo.tools import SQL


class CrmMailchimpConsent(models.Model):
    """One opt-in or opt-out: whose, when, from where and by whom. Append-only.

    The line keeps the address the contact had, and survives the contact. It has two
    times: ``date`` by Mailchimp's clock, which all comparisons use, and ``noted_at`` by
    Odoo's own.
    """

    _name = "crm.mailchimp.consent"
    _inherit = ["crm.mailchimp.labelled"]
    _description = "Marketing Consent"
    # Clocks can be set back; the order of the lines cannot.
    _order = "id desc"
    _rec_name = "email_normalized"

    partner_id = fields.Many2one(
        "res.partner", string="Contact", ondelete="set null", index=True
    )
    # The contact's company, which decides who sees the line once the contact is gone.
    company_id = fields.Many2one("res.company", ondelete="set null", readonly=True)
    email_normalized = fields.Char(string="Address")
    kind = fields.Selection(
        [("in", "Opt-in"), ("out", "Opt-out")], string="Type", required=True
    )
    date = fields.Datetime(
        required=True,
        default=lambda self: self.env["crm.mailchimp.account"].sudo()._mailchimp_now(),
        help="By Mailchimp's clock.",
    )
    noted_at = fields.Datetime(
        string="Recorded on",
        default=fields.Datetime.now,
        help="By Odoo's clock.",
    )
    source = fields.Selection(
        [
            ("user", "Odoo"),
            ("import", "Import"),
            ("lead", "Lead"),
            ("mailchimp", "Mailchimp"),
            ("merge", "Contacts merged"),
        ],
        required=True,
        default="user",
    )
    user_id = fields.Many2one("res.users", ondelete="set null", string="By")
    note = fields.Char(help="The reason or the text that was agreed to.")

    # The lane of opt-outs looks for members whose contact opted out.
    _opt_out_idx = models.Index("(partner_id) WHERE kind = 'out'")

    def write(self, vals):  # pylint: disable=method-required-super
        raise UserError(
            self.env._("Consent lines are kept as evidence and cannot be changed.")
        )

    @api.model
    def _stay_with_company(self, partners):
        """Note, on their lines, the company of contacts about to be deleted."""
        self.flush_model()
        partners.flush_recordset(["company_id"])
        self.env.cr.execute(
            SQL(
                """UPDATE crm_mailchimp_consent c SET company_id = p.company_id
                     FROM res_partner p
                    WHERE p.id = c.partner_id AND p.id = ANY(%s)
                      AND c.company_id IS DISTINCT FROM p.company_id""",
                partners.ids,
            )
        )
        self.invalidate_model(["company_id"], flush=False)

    @api.model
    def _anonymise(self, domain):
        """Remove addresses and texts from lines; whether it was a yes or a no stays."""
        lines = self.search(domain)
        vals = {"email_normalized": False, "note": False}
        # Our own ``write`` refuses any change to a line.
        # pylint: disable-next=super-method-mismatch
        return super(CrmMailchimpConsent, lines).write(vals)
