from odoo import api, fields, models


class CrmMailchimpCampaign(models.Model):
    """A campaign of the audience with the totals of its report.

    The mails of an RSS campaign or an automation have a parent, whose totals include
    theirs: they are shown with it, never added to it.
    """

    _name = "crm.mailchimp.campaign"
    _description = "Mailchimp Campaign"
    _order = "send_time desc nulls last, id desc"

    name = fields.Char(required=True, readonly=True)
    account_id = fields.Many2one(
        "crm.mailchimp.account", required=True, ondelete="cascade", readonly=True
    )
    company_id = fields.Many2one(related="account_id.company_id", store=True)
    campaign_ref = fields.Char(string="Mailchimp ID", required=True, readonly=True)
    parent_id = fields.Many2one(
        "crm.mailchimp.campaign",
        string="Part of",
        ondelete="set null",
        index="btree_not_null",
        readonly=True,
    )
    child_ids = fields.One2many(
        "crm.mailchimp.campaign", "parent_id", string="Consists of", readonly=True
    )
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
    next_poll = fields.Datetime(
        string="Next reading",
        readonly=True,
        help="When Mailchimp is asked for results again: every hour on the first day,"
        " then ever less often, for 90 days.",
    )
    # What the last reading of each part found: nothing is read again that stayed so.
    read_marks = fields.Json(readonly=True)
    # How an A/B test was set up: winner and combinations, from the listing.
    test_settings = fields.Json(readonly=True)
    sent = fields.Integer(readonly=True)
    delivered = fields.Integer(readonly=True)
    opens_total = fields.Integer(string="Opens", readonly=True)
    opens_unique = fields.Integer(string="Opened by", readonly=True)
    open_rate = fields.Float(readonly=True, aggregator="avg")
    # Mailchimp leaves these out for older mail: unknown is not zero.
    proxy_known = fields.Boolean(string="Apple opens known", readonly=True)
    opens_total_no_proxy = fields.Integer(string="Opens, without Apple", readonly=True)
    opens_unique_no_proxy = fields.Integer(
        string="Opened by, without Apple", readonly=True
    )
    open_rate_no_proxy = fields.Float(
        string="Open rate without Apple", readonly=True, aggregator="avg"
    )
    clicks_total = fields.Integer(string="Clicks", readonly=True)
    clicks_unique = fields.Integer(string="Clicked by", readonly=True)
    click_rate = fields.Float(readonly=True, aggregator="avg")
    last_open = fields.Datetime(string="Last opened on", readonly=True)
    last_click = fields.Datetime(string="Last clicked on", readonly=True)
    forwards = fields.Integer(readonly=True)
    unsubscribed = fields.Integer(readonly=True)
    unsubscribe_rate = fields.Float(readonly=True, aggregator="avg")
    hard_bounces = fields.Integer(readonly=True)
    soft_bounces = fields.Integer(readonly=True)
    bounces = fields.Integer(readonly=True)
    bounce_rate = fields.Float(readonly=True, aggregator="avg")
    complaints = fields.Integer(readonly=True)
    # Averages to compare with, as fractions like all rates here.
    industry_known = fields.Boolean(readonly=True)
    industry_name = fields.Char(string="Industry", readonly=True)
    industry_open_rate = fields.Float(readonly=True, aggregator=None)
    industry_click_rate = fields.Float(readonly=True, aggregator=None)
    industry_bounce_rate = fields.Float(readonly=True, aggregator=None)
    industry_unsubscribe_rate = fields.Float(readonly=True, aggregator=None)
    list_known = fields.Boolean(readonly=True)
    list_open_rate = fields.Float(
        string="Open rate of the audience", readonly=True, aggregator=None
    )
    list_click_rate = fields.Float(
        string="Click rate of the audience", readonly=True, aggregator=None
    )
    timeseries = fields.Json(
        readonly=True,
        help="The first 24 hours: a list of time (ISO 8601, UTC), sent, opens and"
        " clicks (by how many recipients).",
    )
    link_ids = fields.One2many(
        "crm.mailchimp.campaign.link", "campaign_id", string="Links", readonly=True
    )
    variant_ids = fields.One2many(
        "crm.mailchimp.campaign.variant",
        "campaign_id",
        string="Variants",
        readonly=True,
    )
    recipient_ids = fields.One2many(
        "crm.mailchimp.recipient", "campaign_id", string="Recipients", readonly=True
    )
    recipients_date = fields.Datetime(
        string="Recipients read on",
        readonly=True,
        help="Empty until all recipients were read once.",
    )
    # What the stored recipients and events add up to, counted at their last reading.
    accounted = fields.Json(readonly=True)
    recipient_count = fields.Integer(
        string="Recipients shown", compute="_compute_attribution"
    )
    recipients_unattributed = fields.Integer(
        string="Recipients not shown", compute="_compute_attribution"
    )
    opens_unattributed = fields.Integer(
        string="Opens not attributable", compute="_compute_attribution"
    )
    clicks_unattributed = fields.Integer(
        string="Clicks not attributable", compute="_compute_attribution"
    )
    attribution_note = fields.Text(
        string="What is not attributable", compute="_compute_attribution"
    )
    google_analytics = fields.Char(string="Google Analytics campaign", readonly=True)
    utm_campaign_id = fields.Many2one(
        "utm.campaign",
        string="UTM campaign",
        ondelete="set null",
        index="btree_not_null",
        readonly=True,
    )
    lead_count = fields.Integer(string="Leads", compute="_compute_lead_count")

    _campaign_uniq = models.Constraint(
        "UNIQUE(account_id, campaign_ref)", "This campaign is already imported."
    )

    # === COMPUTES === #

    @api.depends("accounted", "sent", "opens_total", "clicks_total")
    def _compute_attribution(self):
        for campaign in self:
            campaign.recipient_count = 0
            campaign.recipients_unattributed = 0
            campaign.opens_unattributed = 0
            campaign.clicks_unattributed = 0
            campaign.attribution_note = False

    @api.depends("utm_campaign_id")
    def _compute_lead_count(self):
        self.lead_count = 0

    # === BUTTONS === #

    def action_refresh(self):
        """Read the results of these campaigns again, in a moment."""

    def action_open_leads(self):
        """List the leads that came by links of this campaign."""

    def action_open_in_mailchimp(self):
        self.ensure_one()
        return {"type": "ir.actions.act_url", "url": self.url, "target": "new"}
