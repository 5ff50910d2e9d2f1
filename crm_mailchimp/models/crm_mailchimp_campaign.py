from odoo import fields, models


class CrmMailchimpCampaign(models.Model):
    """A campaign of the audience with the totals of its report."""

    _name = "crm.mailchimp.campaign"
    _description = "Mailchimp Campaign"
    _order = "send_time desc nulls last, id desc"

    name = fields.Char(required=True, readonly=True)
    account_id = fields.Many2one(
        "crm.mailchimp.account", required=True, ondelete="cascade", readonly=True
    )
    company_id = fields.Many2one(related="account_id.company_id", store=True)
    campaign_ref = fields.Char(string="Mailchimp ID", required=True, readonly=True)
    url = fields.Char(string="In Mailchimp", readonly=True)
    archive_url = fields.Char(string="Web version", readonly=True)
    campaign_type = fields.Selection(
        [
            ("regular", "Regular"),
            ("plaintext", "Plain text"),
            ("absplit", "A/B test (old)"),
            ("variate", "A/B test"),
            ("rss", "RSS"),
            ("automation", "Automation"),
            ("auto", "Automation"),
        ],
        readonly=True,
    )
    status = fields.Selection(
        [
            ("save", "Draft"),
            ("paused", "Paused"),
            ("schedule", "Scheduled"),
            ("sending", "Sending"),
            ("sent", "Sent"),
            ("canceling", "Being cancelled"),
            ("canceled", "Cancelled"),
            ("archived", "Archived"),
        ],
        readonly=True,
    )
    subject = fields.Char(readonly=True)
    send_time = fields.Datetime(string="Sent on", readonly=True)
    report_date = fields.Datetime(string="Results of", readonly=True)
    sent = fields.Integer(readonly=True)
    opens_total = fields.Integer(string="Opens", readonly=True)
    opens_unique = fields.Integer(string="Opened by", readonly=True)
    open_rate = fields.Float(readonly=True, aggregator="avg")
    # Mailchimp leaves these out for older mail: unknown is not zero.
    proxy_known = fields.Boolean(string="Apple opens known", readonly=True)
    opens_unique_no_proxy = fields.Integer(
        string="Opened by, without Apple", readonly=True
    )
    open_rate_no_proxy = fields.Float(
        string="Open rate without Apple", readonly=True, aggregator="avg"
    )
    clicks_total = fields.Integer(string="Clicks", readonly=True)
    clicks_unique = fields.Integer(string="Clicked by", readonly=True)
    click_rate = fields.Float(readonly=True, aggregator="avg")
    unsubscribed = fields.Integer(readonly=True)
    hard_bounces = fields.Integer(readonly=True)
    soft_bounces = fields.Integer(readonly=True)
    bounces = fields.Integer(readonly=True)
    complaints = fields.Integer(readonly=True)

    _campaign_uniq = models.Constraint(
        "UNIQUE(account_id, campaign_ref)", "This campaign is already imported."
    )

    def action_open_in_mailchimp(self):
        self.ensure_one()
        return {"type": "ir.actions.act_url", "url": self.url, "target": "new"}
