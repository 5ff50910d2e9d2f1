from odoo import fields, models
from odoo.exceptions import UserError


class CrmMailchimpConsent(models.Model):
    """Who opted in or out, when, from where, by whom. Append-only.

    The line keeps the address the contact had, and survives the contact.
    """

    _name = "crm.mailchimp.consent"
    _description = "Marketing Consent"
    _order = "date desc, id desc"
    _rec_name = "email_normalized"

    partner_id = fields.Many2one("res.partner", ondelete="set null", index=True)
    email_normalized = fields.Char(string="Address")
    kind = fields.Selection([("in", "Opt-in"), ("out", "Opt-out")], required=True)
    date = fields.Datetime(required=True, default=fields.Datetime.now)
    source = fields.Selection(
        [
            ("user", "Odoo"),
            ("import", "Import"),
            ("mailchimp", "Mailchimp"),
            ("merge", "Contacts merged"),
        ],
        required=True,
        default="user",
    )
    user_id = fields.Many2one("res.users", ondelete="set null", string="By")
    note = fields.Char(help="The reason or the text that was agreed to.")

    # The diff looks for the newest opt-out of an address.
    _opt_out_idx = models.Index("(email_normalized, date) WHERE kind = 'out'")

    def write(self, vals):  # pylint: disable=method-required-super
        raise UserError(self.env._("A consent line is a record; it cannot be changed."))
