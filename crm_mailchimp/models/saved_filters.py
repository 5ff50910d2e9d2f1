from odoo import api, fields, models


class IrFilters(models.Model):
    """What the list of saved filters shows of their segments."""

    _inherit = "ir.filters"

    mailchimp_segment_ids = fields.One2many(
        "crm.mailchimp.segment", "filter_id", groups="sales_team.group_sale_salesman"
    )
    mailchimp_matching_count = fields.Integer(
        string="Matching contacts",
        compute="_compute_mailchimp_matching_count",
        groups="sales_team.group_sale_salesman",
    )

    @api.depends("mailchimp_segment_ids.matching_count")
    def _compute_mailchimp_matching_count(self):
        for record in self:
            record.mailchimp_matching_count = max(
                record.mailchimp_segment_ids.mapped("matching_count"), default=0
            )

    def action_mailchimp_open_segment(self):
        """Open what became of the filter in Mailchimp."""
        self.ensure_one()
        action = self.env["ir.actions.act_window"]._for_xml_id(
            "crm_mailchimp.action_crm_mailchimp_segment"
        )
        segments = self.mailchimp_segment_ids
        if len(segments) == 1:
            action.update(res_id=segments.id, views=[(False, "form")])
        else:
            action["domain"] = [("filter_id", "=", self.id)]
        return action
