from odoo import api, fields, models
from odoo.exceptions import AccessError
from odoo.fields import Domain
from odoo.tools import SQL, LazyTranslate

from ..engine import stats
from .clock import short_moment

_lt = LazyTranslate(__name__)

# Rate -> what it is a share of, which is the campaign's weight in an average.
WEIGHTS = {
    **dict.fromkeys(("open_rate", "open_rate_no_proxy", "click_rate"), "delivered"),
    **{"unsubscribe_rate": "delivered", "bounce_rate": "sent"},
}


class CrmMailchimpCampaign(models.Model):
    """A campaign of the audience with the totals of its report.

    The mails of an RSS campaign or an automation have a parent whose totals include
    theirs: they are shown with it, never added to it.
    """

    _name = "crm.mailchimp.campaign"
    _inherit = ["crm.mailchimp.labelled", "crm.mailchimp.mirrored"]
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
        "crm.mailchimp.campaign", "parent_id", string="Emails", readonly=True
    )
    url = fields.Char(string="In Mailchimp", readonly=True)
    archive_url = fields.Char(string="Web version", readonly=True)
    is_counted = fields.Boolean(
        string="Included in totals",
        compute="_compute_is_counted",
        search="_search_is_counted",
        help="Of a campaign made up of others, either the whole or its parts count, "
        "whichever sent more.",
    )
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
        string="Type",
        readonly=True,
        falsy_value_label=_lt("Unknown"),
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
        falsy_value_label=_lt("Unknown"),
    )
    subject = fields.Char(readonly=True)
    send_time = fields.Datetime(
        string="Sent on", readonly=True, falsy_value_label=_lt("Not sent yet")
    )
    report_date = fields.Datetime(string="Results as of", readonly=True)
    next_poll = fields.Datetime(
        string="Next update",
        readonly=True,
        help="When Odoo updates the results again: every hour on the first day, then "
        "less and less often, for 90 days. Automations and RSS campaigns are updated "
        "at least once a week, without end.",
    )
    failure = fields.Selection(
        [
            ("refused", "Mailchimp refused the report"),
            ("missing", "Mailchimp does not have the report (yet)"),
            ("unanswered", "Mailchimp did not finish sending the report"),
            ("fault", "Odoo could not store the report; see the log"),
        ],
        string="Problem",
        readonly=True,
        falsy_value_label=_lt("No problem"),
    )
    failures = fields.Integer(string="Failed attempts", readonly=True)
    failure_note = fields.Char(compute="_compute_failure_note")
    # What the last reading of each part found: a part that has not changed is not read
    # again.
    read_marks = fields.Json(readonly=True)
    # Ids of the tags and groups it was addressed to.
    segment_refs = fields.Json(readonly=True)
    # How an A/B test was set up: winner and combinations, from the listing.
    test_settings = fields.Json(readonly=True)
    sent = fields.Integer(readonly=True)
    delivered = fields.Integer(
        readonly=True, help="How many of the sent emails did not bounce."
    )
    opens_total = fields.Integer(string="Opens", readonly=True)
    opens_unique = fields.Integer(string="Unique opens", readonly=True)
    open_rate = fields.Float(
        string="Open rate",
        readonly=True,
        aggregator="avg",
        help="The share of delivered emails that were opened, according to Mailchimp.",
    )
    # Mailchimp omits these for older mail: unknown is not zero.
    proxy_known = fields.Boolean(string="Apple Mail privacy opens known", readonly=True)
    opens_total_no_proxy = fields.Integer(
        string="Opens, excluding Apple Mail privacy", readonly=True
    )
    opens_unique_no_proxy = fields.Integer(
        string="Unique opens, excluding Apple Mail privacy", readonly=True
    )
    open_rate_no_proxy = fields.Float(
        string="Open rate, excluding Apple Mail privacy",
        readonly=True,
        aggregator="avg",
    )
    clicks_total = fields.Integer(string="Clicks", readonly=True)
    clicks_unique = fields.Integer(string="Unique clicks", readonly=True)
    click_rate = fields.Float(
        string="Click rate",
        readonly=True,
        aggregator="avg",
        help="The share of delivered emails in which a link was clicked, according to "
        "Mailchimp.",
    )
    last_open = fields.Datetime(string="Last open", readonly=True)
    last_click = fields.Datetime(string="Last click", readonly=True)
    unsubscribed = fields.Integer(readonly=True)
    unsubscribe_rate = fields.Float(
        string="Unsubscribe rate", readonly=True, aggregator="avg"
    )
    hard_bounces = fields.Integer(string="Hard bounces", readonly=True)
    soft_bounces = fields.Integer(string="Soft bounces", readonly=True)
    bounces = fields.Integer(readonly=True)
    bounce_rate = fields.Float(string="Bounce rate", readonly=True, aggregator="avg")
    complaints = fields.Integer(readonly=True)
    # Averages to compare with, as fractions like all rates here.
    industry_known = fields.Boolean(readonly=True)
    industry_name = fields.Char(string="Industry", readonly=True)
    industry_open_rate = fields.Float(
        string="Industry open rate", readonly=True, aggregator=None
    )
    industry_click_rate = fields.Float(
        string="Industry click rate", readonly=True, aggregator=None
    )
    industry_bounce_rate = fields.Float(
        string="Industry bounce rate", readonly=True, aggregator=None
    )
    industry_unsubscribe_rate = fields.Float(
        string="Industry unsubscribe rate", readonly=True, aggregator=None
    )
    list_known = fields.Boolean(readonly=True)
    list_open_rate = fields.Float(
        string="Audience open rate", readonly=True, aggregator=None
    )
    list_click_rate = fields.Float(
        string="Audience click rate", readonly=True, aggregator=None
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
        string="Recipients updated on",
        readonly=True,
        help="Empty until all recipients have been read once.",
    )
    # What the stored recipients and events add up to, counted at their last reading.
    accounted = fields.Json(readonly=True)
    google_analytics = fields.Char(string="Google Analytics campaign", readonly=True)
    utm_campaign_id = fields.Many2one(
        "utm.campaign",
        string="UTM campaign",
        ondelete="set null",
        index="btree_not_null",
        readonly=True,
    )

    _campaign_uniq = models.Constraint(
        "UNIQUE(account_id, campaign_ref)", "This campaign is already imported."
    )

    # === COMPUTES === #

    @api.depends("failure", "next_poll", "report_date")
    def _compute_failure_note(self):
        causes = dict(self._fields["failure"]._description_selection(self.env))
        _ = self.env._
        for campaign in self:
            campaign.failure_note = False
            if not campaign.failure:
                continue
            facts = {"cause": causes[campaign.failure]}
            if campaign.next_poll:
                facts["at"] = short_moment(self.env, campaign.next_poll)
            if campaign.report_date and campaign.next_poll:
                note = _("Recipients incomplete: %(cause)s; next try on %(at)s.")
            elif campaign.report_date:
                note = _(
                    "Recipients incomplete: %(cause)s; click “Refresh now” to try "
                    "again."
                )
            elif campaign.next_poll:
                note = _("Results incomplete: %(cause)s; next try on %(at)s.")
            else:
                note = _(
                    "Results incomplete: %(cause)s; click “Refresh now” to try again."
                )
            campaign.failure_note = note % facts

    @api.depends("parent_id.sent", "child_ids.sent", "sent", "status")
    def _compute_is_counted(self):
        counted = self.search([("id", "in", self.ids), ("is_counted", "=", True)])
        for campaign in self:
            campaign.is_counted = campaign._origin in counted

    def _search_is_counted(self, operator, value):
        if operator != "in" or set(value) != {True}:
            return NotImplemented
        self.flush_model(["parent_id", "sent", "status"])
        # A parent's totals include its children's. Some parents have no totals, or not
        # yet.
        return Domain(
            "id",
            "in",
            SQL(
                """(SELECT c.id FROM crm_mailchimp_campaign c
                 LEFT JOIN crm_mailchimp_campaign p ON p.id = c.parent_id
                 LEFT JOIN (SELECT parent_id, SUM(sent) AS sent
                              FROM crm_mailchimp_campaign GROUP BY parent_id) parts
                        ON parts.parent_id = COALESCE(c.parent_id, c.id)
                     WHERE (c.status <> ALL(%s) OR c.sent > 0)
                       AND CASE WHEN p.id IS NULL THEN c.sent >= COALESCE(parts.sent, 0)
                                ELSE p.sent < parts.sent END)""",
                list(stats.NOT_SENT),
            ),
        )

    def _read_group_select(self, aggregate_spec, query):
        """Weight each campaign in an average rate by the mails it is a share of."""
        name, _colon, func = aggregate_spec.partition(":")
        if func != "avg" or name not in WEIGHTS:
            return super()._read_group_select(aggregate_spec, query)
        rate = self._field_to_sql(self._table, name, query)
        weight = self._field_to_sql(self._table, WEIGHTS[name], query)
        return SQL(
            "SUM(%(rate)s * %(weight)s) / NULLIF(SUM(%(weight)s), 0)",
            rate=rate,
            weight=weight,
        )

    # === BUTTONS === #

    def action_refresh(self):
        """Read the results of these campaigns again, in a moment."""
        if not self.env.su and not self.env.user.has_group(
            "crm_mailchimp.group_mailchimp_user"
        ):
            raise AccessError(
                self.env._("You need the Mailchimp User access right to do this.")
            )
        self.check_access("read")
        self.sudo().next_poll = fields.Datetime.now()
        for account in self.account_id:
            account._check_ready()
            self.env["crm.mailchimp.run"].sudo()._get_or_create(account.sudo(), "stats")
        self.env.ref("crm_mailchimp.ir_cron_stats").sudo()._trigger()
        return self.account_id[:1]._toast(
            self.env._("The results are updated in a moment.")
        )

    def action_open_recipients(self):
        """List the recipients, filtered as the pressed button asks.

        An automation or an RSS campaign also has the recipients of its mails.
        """
        self.ensure_one()
        action = self.env["ir.actions.act_window"]._for_xml_id(
            "crm_mailchimp.action_crm_mailchimp_recipient"
        )
        action["domain"] = [("campaign_id", "in", (self | self.child_ids).ids)]
        action["context"] = {
            key: value
            for key, value in self.env.context.items()
            if key.startswith("search_default_")
        }
        return action

    def action_open_in_mailchimp(self):
        self.ensure_one()
        return {"type": "ir.actions.act_url", "url": self.url, "target": "new"}
