from odoo import fields, models

ACTIONS = [
    ("create", "Add"),
    ("update", "Update"),
    ("segment", "Update groups or tags"),
    ("move", "Change address"),
    ("restore", "Subscribe again"),
    ("readmit", "Bring back"),
    ("ask", "Ask again"),
    ("inquire", "Check why it was archived"),
    ("permit", "Set marketing permissions"),
    ("archive", "Archive"),
    ("held", "Skip: a required value is missing"),
    ("opt_out", "Remove the opt-in in Odoo"),
    ("bring_back", "Update the contact in Odoo"),
    ("import", "Create a contact in Odoo"),
    ("opt_in", "Opt the contact in"),
    ("not_taken", "Not imported: refused by Odoo"),
]


class CrmMailchimpPreviewLine(models.Model):
    """What the next run would do about one address."""

    _name = "crm.mailchimp.preview.line"
    _description = "Mailchimp Preview Line"
    _order = "action, email_normalized, id"
    _rec_name = "email_normalized"

    run_id = fields.Many2one(
        "crm.mailchimp.run", required=True, ondelete="cascade", index=True
    )
    company_id = fields.Many2one(related="run_id.account_id.company_id")
    partner_id = fields.Many2one(
        "res.partner", string="Contact", ondelete="set null", index="btree_not_null"
    )
    email_normalized = fields.Char(string="Address")
    action = fields.Selection(ACTIONS, required=True)
    detail = fields.Char(string="What")
    entering = fields.Char(string="Added to")
    leaving = fields.Char(string="Removed from")

    def action_open_contact(self):
        """Open the contact of the line; members only in Mailchimp have none."""
        return bool(self.partner_id) and self.partner_id.get_formview_action()
