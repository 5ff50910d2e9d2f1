from odoo import fields, models


class CrmMailchimpCampaignVariant(models.Model):
    """One variant of an A/B test; its numbers are part of the campaign's."""

    _name = "crm.mailchimp.campaign.variant"
    _inherit = ["crm.mailchimp.labelled", "crm.mailchimp.mirrored"]
    _description = "Mailchimp Campaign Variant"
    _order = "campaign_id desc, sequence, id"

    campaign_id = fields.Many2one(
        "crm.mailchimp.campaign", required=True, ondelete="cascade", readonly=True
    )
    # A campaign of its own (variate), or the group "a" or "b" (absplit).
    variant_ref = fields.Char(string="Mailchimp ID", required=True, readonly=True)
    sequence = fields.Integer(readonly=True)
    name = fields.Char(required=True, readonly=True)
    subject = fields.Char(readonly=True)
    sent = fields.Integer(readonly=True)
    opens_total = fields.Integer(string="Opens", readonly=True)
    opens_unique = fields.Integer(string="Unique opens", readonly=True)
    open_rate = fields.Float(string="Open rate", readonly=True, aggregator=None)
    clicks_unique = fields.Integer(string="Unique clicks", readonly=True)
    click_rate = fields.Float(string="Click rate", readonly=True, aggregator=None)
    unsubscribed = fields.Integer(readonly=True)
    bounces = fields.Integer(readonly=True)
    is_winner = fields.Boolean(string="Winner", readonly=True)

    _variant_uniq = models.Constraint(
        "UNIQUE(campaign_id, variant_ref)", "This variant is already imported."
    )
