from odoo import fields, models


class AddTag(models.TransientModel):
    """Ask for a Mailchimp tag on the selected contacts."""

    _name = "crm.mailchimp.add.tag"
    _description = "Add a Mailchimp Tag"

    name = fields.Char(
        string="Tag",
        required=True,
        help="Several tags are separated by commas. Tags that Mailchimp does not have"
        " yet are created.",
    )
    partner_ids = fields.Many2many("res.partner", string="Contacts")

    def action_add(self):
        self.ensure_one()
        notice = self.partner_ids.mailchimp_add_tag(self.name)
        # Any other client action than this one leaves the dialog open.
        notice["params"]["next"] = {"type": "ir.actions.act_window_close"}
        return notice
