from odoo import fields, models


class AddTag(models.TransientModel):
    """Request Mailchimp tags on the selected contacts."""

    _name = "crm.mailchimp.add.tag"
    _description = "Add Mailchimp Tags"

    name = fields.Char(
        string="Tag",
        required=True,
        help="Separate several tags with commas. New tags are created in Mailchimp.",
    )
    partner_ids = fields.Many2many("res.partner", string="Contacts")

    def action_add(self):
        self.ensure_one()
        notice = self.partner_ids.mailchimp_add_tag(self.name)
        # Without this, the client action would leave the dialog open.
        notice["params"]["next"] = {"type": "ir.actions.act_window_close"}
        return notice
