from odoo import fields, models


class CrmMailchimpRecipient(models.Model):
    """One campaign and one address it was sent to, with what came of it.

    Filled by set-based SQL, page by page, in millions of rows: no chatter, no stored
    computes, and no uniqueness over ``partner_id`` (a merge of contacts would crash).
    """

    _name = "crm.mailchimp.recipient"
    _description = "Mailchimp Campaign Recipient"
    _order = "campaign_id desc, email_normalized"
    _rec_name = "email_normalized"

    campaign_id = fields.Many2one(
        "crm.mailchimp.campaign", required=True, ondelete="cascade", readonly=True
    )
    account_id = fields.Many2one(related="campaign_id.account_id")
    company_id = fields.Many2one(related="campaign_id.company_id")
    send_time = fields.Datetime(related="campaign_id.send_time", string="Sent on")
    # MD5 of the address: what Mailchimp still knows of somebody who was erased.
    email_hash = fields.Char(required=True, readonly=True)
    email_normalized = fields.Char(string="Address", readonly=True)
    partner_id = fields.Many2one(
        "res.partner",
        string="Contact",
        ondelete="set null",
        index="btree_not_null",
        readonly=True,
    )
    member_id = fields.Many2one(
        "crm.mailchimp.member",
        ondelete="set null",
        index="btree_not_null",
        readonly=True,
    )
    status = fields.Selection(
        [("sent", "Sent"), ("hard", "Hard bounce"), ("soft", "Soft bounce")],
        readonly=True,
    )
    variant = fields.Char(readonly=True, help="Group of an A/B test.")
    bounce_date = fields.Datetime(string="Bounced on", readonly=True)
    open_count = fields.Integer(string="Opens", readonly=True)
    first_open = fields.Datetime(string="First opened on", readonly=True)
    last_open = fields.Datetime(string="Last opened on", readonly=True)
    click_count = fields.Integer(string="Clicks", readonly=True)
    first_click = fields.Datetime(string="First clicked on", readonly=True)
    last_click = fields.Datetime(string="Last clicked on", readonly=True)
    unsubscribed_date = fields.Datetime(string="Unsubscribed on", readonly=True)
    unsubscribe_reason = fields.Char(readonly=True)
    complaint_date = fields.Datetime(string="Complained on", readonly=True)
    event_ids = fields.One2many("crm.mailchimp.recipient.event", "recipient_id")

    _recipient_uniq = models.Constraint(
        "UNIQUE(campaign_id, email_hash)", "This recipient is already imported."
    )
