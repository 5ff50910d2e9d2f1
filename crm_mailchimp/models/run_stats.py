from datetime import timedelta

from odoo import fields, models

from ..engine.observe import utc

# Results move quickly on the first day and hardly after three months.
FOLLOW = timedelta(days=90)
DENSE = timedelta(days=1)


def _values(campaign):
    """Return the fields of a campaign that its listing gives."""
    settings = campaign.get("settings") or {}
    title = settings.get("title") or settings.get("subject_line") or campaign["id"]
    return {
        "name": title,
        "campaign_type": campaign.get("type"),
        "status": campaign.get("status"),
        "subject": settings.get("subject_line") or False,
        "send_time": utc(campaign.get("send_time")) or False,
        "archive_url": campaign.get("long_archive_url")
        or campaign.get("archive_url")
        or False,
    }


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
        account = self.account_id
        Campaign = self.env["crm.mailchimp.campaign"]
        known = {
            campaign.campaign_ref: campaign
            for campaign in Campaign.search([("account_id", "=", account.id)])
        }
        now = fields.Datetime.now()
        asked = bool(self.requested_by_id and self.requested_by_id != self.env.user)
        for page in gateway.campaigns(account.audience_ref):
            for remote in page:
                vals = _values(remote)
                vals["url"] = (
                    f"https://{account.data_center}.admin.mailchimp.com/reports/"
                    f"summary?id={remote['web_id']}"
                    if remote.get("web_id")
                    else False
                )
                campaign = known.get(remote["id"])
                if campaign is None:
                    campaign = Campaign.create(
                        dict(vals, account_id=account.id, campaign_ref=remote["id"])
                    )
                    self._count(campaigns_new=1)
                else:
                    campaign._write_changes(vals)
                if campaign._report_due(now, asked):
                    totals = _totals(gateway.report(remote["id"]))
                    campaign._write_changes(totals)
                    campaign.report_date = now
                    self._count(reports=1)
                self._count(campaigns=1)
            self._notify()
            self.env["ir.cron"]._commit_progress()
        self._end("done")
        return True


class CrmMailchimpCampaign(models.Model):
    _inherit = "crm.mailchimp.campaign"

    def _report_due(self, now, asked):
        """Tell whether the results are worth a call: often at first, then daily."""
        if self.status not in ("sent", "sending", "archived") or not self.send_time:
            return False
        if not self.report_date or asked:
            return True
        age = now - self.send_time
        if age > FOLLOW:
            return self.report_date < self.send_time + FOLLOW
        pause = timedelta(minutes=50) if age < DENSE else timedelta(hours=23)
        return now - self.report_date > pause

    def _write_changes(self, vals):
        changed = {name: value for name, value in vals.items() if self[name] != value}
        if changed:
            self.write(changed)
