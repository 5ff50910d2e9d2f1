from odoo import models
from odoo.tools import format_datetime

from ..engine.observe import utc


class CrmMailchimpCampaign(models.Model):
    """What the printed report of a campaign shows."""

    _inherit = "crm.mailchimp.campaign"

    def _report_figures(self):
        """Return the boxes at the top of the printed report.

        Built here, because text in a template's expressions would not be translated.

        :return: list of dicts with ``title``, ``figure`` and ``lines``
        """
        _, percent = self.env._, self._report_percent
        industry = _("Industry: %s")
        opens = [_("Unique opens: %s", self.opens_unique)]
        clicks = [_("Unique clicks: %s", self.clicks_unique)]
        if self.industry_known:
            opens.append(industry % percent(self.industry_open_rate))
            clicks.append(industry % percent(self.industry_click_rate))
        if self.proxy_known:
            opens.append(
                _(
                    "Excluding Apple Mail privacy: %s",
                    percent(self.open_rate_no_proxy),
                )
            )
        return [
            {
                "title": _("Sent"),
                "figure": self.sent,
                "lines": [_("Delivered: %s", self.delivered)],
            },
            {
                "title": _("Open rate"),
                "figure": percent(self.open_rate),
                "lines": opens,
            },
            {
                "title": _("Click rate"),
                "figure": percent(self.click_rate),
                "lines": clicks,
            },
            {
                "title": _("Unsubscribed"),
                "figure": self.unsubscribed,
                "lines": [
                    _("Hard bounces: %s", self.hard_bounces),
                    _("Soft bounces: %s", self.soft_bounces),
                    _("Complaints: %s", self.complaints),
                ],
            },
        ]

    def _report_percent(self, rate):
        """Return a rate formatted for the printed report."""
        return f"{100 * rate:.1f} %"

    def _report_hours(self):
        """Return the first 24 hours for the printed report.

        :return: list of dicts with ``label``, ``opens``, ``clicks``, and their heights
            in percent of the highest of them
        """
        hours = self.timeseries or []
        counts = [hour.get(name) or 0 for hour in hours for name in ("opens", "clicks")]
        top = max([*counts, 1])
        return [
            {
                "label": format_datetime(
                    self.env, utc(hour["time"]), str(self.env.tz), "HH:mm"
                ),
                "opens": hour.get("opens") or 0,
                "clicks": hour.get("clicks") or 0,
                "height": 100 * (hour.get("opens") or 0) // top,
                "click_height": 100 * (hour.get("clicks") or 0) // top,
            }
            for hour in hours
        ]
