from datetime import timedelta

from odoo import fields, models
from odoo.tools import float_compare

from ..engine.observe import utc

FOLLOW = timedelta(days=90)
REPORT_FIELDS = ",".join(
    f"reports.{name}"
    for name in (
        "id",
        "campaign_title",
        "type",
        "list_id",
        "subject_line",
        "emails_sent",
        "abuse_reports",
        "unsubscribed",
        "send_time",
        "bounces",
        "opens",
        "clicks",
    )
)


def _totals(report):
    """Return the totals of a report; what Mailchimp does not give stays unknown."""
    opens, clicks = report.get("opens") or {}, report.get("clicks") or {}
    bounces = report.get("bounces") or {}
    hard = bounces.get("hard_bounces") or 0
    soft = bounces.get("soft_bounces") or 0
    syntax = bounces.get("syntax_errors") or 0
    known = opens.get("proxy_excluded_unique_opens") is not None
    return {
        "sent": report.get("emails_sent") or 0,
        "opens_total": opens.get("opens_total") or 0,
        "opens_unique": opens.get("unique_opens") or 0,
        "open_rate": opens.get("open_rate") or 0.0,
        "proxy_known": known,
        "opens_unique_no_proxy": opens.get("proxy_excluded_unique_opens") or 0,
        "open_rate_no_proxy": opens.get("proxy_excluded_open_rate") or 0.0,
        "clicks_total": clicks.get("clicks_total") or 0,
        "clicks_unique": clicks.get("unique_subscriber_clicks") or 0,
        "click_rate": clicks.get("click_rate") or 0.0,
        "unsubscribed": report.get("unsubscribed") or 0,
        "hard_bounces": hard,
        "soft_bounces": soft,
        "bounces": hard + soft + syntax,
        "complaints": report.get("abuse_reports") or 0,
    }


class CrmMailchimpRun(models.Model):
    """Runs of kind *stats*: campaigns of the audience and their totals."""

    _inherit = "crm.mailchimp.run"

    def _phase_stats(self, gateway, deadline):
        """Read the campaigns, then the totals of those whose results still move.

        Automations are not among the campaigns Mailchimp lists, only among its
        reports. Numbers hardly move after three months; somebody who presses the
        button gets all of them again.
        """
        account = self.account_id
        Campaign = self.env["crm.mailchimp.campaign"]
        known = {
            campaign.campaign_ref: campaign
            for campaign in Campaign.search([("account_id", "=", account.id)])
        }
        asked = self.requested_by_id and self.requested_by_id != self.env.user
        first = not any(campaign.report_date for campaign in known.values())
        for page in gateway.campaigns(account.audience_ref):
            for remote in page:
                self._store_campaign(known, remote["id"], self._listed(remote))
            self._pause()
        now = fields.Datetime.now()
        since = None if asked or first else now - FOLLOW
        for page in gateway.reports(since=since, fields=REPORT_FIELDS):
            for report in page:
                if report.get("list_id") != account.audience_ref:
                    continue
                vals = _totals(report)
                if report["id"] not in known:
                    vals.update(self._reported(report))
                before = known.get(report["id"])
                if not before or not before.report_date or before._differs(vals):
                    vals["report_date"] = now
                self._store_campaign(known, report["id"], vals)
                self._count(reports=1)
            self._pause()
        self._count(campaigns=len(known))
        self._end("done")
        return True

    def _pause(self):
        self._notify()
        self.env["ir.cron"]._commit_progress()

    def _store_campaign(self, known, ref, vals):
        campaign = known.get(ref)
        if campaign is None:
            campaign = known[ref] = self.env["crm.mailchimp.campaign"].create(
                dict(vals, account_id=self.account_id.id, campaign_ref=ref)
            )
        elif campaign._differs(vals):
            campaign.write(vals)
        return campaign

    def _listed(self, remote):
        """Return the values of a campaign that its listing gives."""
        settings = remote.get("settings") or {}
        title = settings.get("title") or settings.get("subject_line") or remote["id"]
        return {
            "name": title,
            "campaign_type": remote.get("type"),
            "status": remote.get("status"),
            "subject": settings.get("subject_line") or False,
            "send_time": utc(remote.get("send_time")) or False,
            "archive_url": remote.get("long_archive_url")
            or remote.get("archive_url")
            or False,
            "url": remote.get("web_id") and self._report_url(remote["web_id"]),
        }

    def _reported(self, report):
        """Return the values of a campaign that only its report gives."""
        return {
            "name": report.get("campaign_title")
            or report.get("subject_line")
            or report["id"],
            "campaign_type": report.get("type"),
            "status": "sent",
            "subject": report.get("subject_line") or False,
            "send_time": utc(report.get("send_time")) or False,
        }

    def _report_url(self, web_id):
        center = self.account_id.data_center
        return f"https://{center}.admin.mailchimp.com/reports/summary?id={web_id}"


class CrmMailchimpCampaign(models.Model):
    _inherit = "crm.mailchimp.campaign"

    def _differs(self, vals):
        """Tell whether a value differs from what is stored."""
        return any(
            float_compare(self[name], value, precision_digits=6)
            if isinstance(value, float)
            else self[name] != value
            for name, value in vals.items()
        )
