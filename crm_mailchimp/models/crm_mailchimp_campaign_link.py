from odoo import fields, models


class CrmMailchimpCampaignLink(models.Model):
    """A link of a campaign and how often it was clicked, as Mailchimp counts it."""

    _name = "crm.mailchimp.campaign.link"
    _inherit = ["crm.mailchimp.labelled", "crm.mailchimp.mirrored"]
    _description = "Mailchimp Campaign Link"
    _order = "campaign_id desc, clicks_total desc, id"
    _rec_name = "url"

    campaign_id = fields.Many2one(
        "crm.mailchimp.campaign", required=True, ondelete="cascade", readonly=True
    )
    link_ref = fields.Char(string="Mailchimp ID", required=True, readonly=True)
    url = fields.Char(string="Link", readonly=True)
    clicks_total = fields.Integer(string="Clicks", readonly=True)
    clicks_unique = fields.Integer(string="Unique clicks", readonly=True)
    click_share = fields.Float(
        string="Share of clicks", readonly=True, aggregator=None, help="0 to 1"
    )
    last_click = fields.Datetime(string="Last click", readonly=True)

    _link_uniq = models.Constraint(
        "UNIQUE(campaign_id, link_ref)", "This link is already imported."
    )

    def action_open_clickers(self):
        """List the recipients who clicked the link."""
        self.ensure_one()
        action = self.env["ir.actions.act_window"]._for_xml_id(
            "crm_mailchimp.action_crm_mailchimp_recipient"
        )
        # The children of a campaign have its recipients.
        action["domain"] = [
            ("campaign_id", "child_of", self.campaign_id.id),
            ("event_ids", "any", [("kind", "=", "click"), ("url", "=", self.url)]),
        ]
        action["name"] = action["display_name"] = self.env._("Who clicked %s", self.url)
        return action
