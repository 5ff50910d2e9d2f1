from odoo import api, fields, models


class CrmMailchimpCampaign(models.Model):
    """Which recipients and events of a campaign are known, and why the others are not.

    What Mailchimp counts differs from what it lists; the difference is shown in
    numbers.
    """

    _inherit = "crm.mailchimp.campaign"

    recipient_count = fields.Integer(
        string="Recipients shown", compute="_compute_attribution"
    )
    recipients_unattributed = fields.Integer(
        string="Recipients not shown", compute="_compute_attribution"
    )
    opens_unattributed = fields.Integer(
        string="Opens without a recipient", compute="_compute_attribution"
    )
    clicks_unattributed = fields.Integer(
        string="Clicks without a recipient", compute="_compute_attribution"
    )
    attribution_note = fields.Text(
        string="What is missing", compute="_compute_attribution"
    )

    @api.depends(
        *("accounted", "sent", "opens_total", "opens_total_no_proxy", "proxy_known"),
        *("clicks_total", "child_ids.accounted", "failure"),
    )
    def _compute_attribution(self):
        for campaign in self:
            known = campaign.accounted or {}
            read = bool(known) and not campaign.child_ids
            campaign.recipient_count = known.get("recipients", 0) + sum(
                (child.accounted or {}).get("recipients", 0)
                for child in campaign.child_ids
            )
            for field, total, name in (
                ("recipients_unattributed", campaign.sent, "recipients"),
                ("opens_unattributed", campaign.opens_total, "opens"),
                ("clicks_unattributed", campaign.clicks_total, "clicks"),
            ):
                campaign[field] = max(total - known[name], 0) if read else 0
            campaign.attribution_note = "\n".join(campaign._attribution()) or False

    def _attribution(self):
        """Return sentences on what cannot be attributed to a recipient, and why."""
        self.ensure_one()
        _ = self.env._
        known = self.accounted or {}
        if self.child_ids:
            return [_("See the recipients of the emails it sent.")]
        if self.failure:
            # The report could not be read in full: ``failure_note`` says so.
            return []
        if not known:
            return [_("The recipients are not read yet.")] if self.sent else []
        sentences = []
        if self.recipients_unattributed:
            sentences.append(
                _(
                    "Recipients not shown: %(count)s of %(total)s. Mailchimp no longer"
                    " lists people who were permanently deleted there.",
                    count=self.recipients_unattributed,
                    total=self.sent,
                )
            )
        if known["recipients"] > self.sent:
            sentences.append(
                _(
                    "Recipients shown twice because their address was changed in "
                    "Mailchimp after the campaign was sent: %s.",
                    known["recipients"] - self.sent,
                )
            )
        if known["nameless"]:
            sentences.append(
                _(
                    "Recipients without an address because they were permanently "
                    "deleted in Mailchimp: %s.",
                    known["nameless"],
                )
            )
        why = self._why_events_lack()
        if self.opens_unattributed:
            sentences.append(
                _(
                    "Opens that cannot be attributed to a recipient: %(count)s of"
                    " %(total)s; %(why)s.",
                    count=self.opens_unattributed,
                    total=self.opens_total,
                    why=why,
                )
            )
        if self.clicks_unattributed:
            sentences.append(
                _(
                    "Clicks that cannot be attributed to a recipient: %(count)s of"
                    " %(total)s; %(why)s.",
                    count=self.clicks_unattributed,
                    total=self.clicks_total,
                    why=why,
                )
            )
        by_proxy = self.opens_total - self.opens_total_no_proxy
        if self.opens_total and not self.proxy_known:
            sentences.append(
                _(
                    "Mailchimp does not say how many opens came from Apple Mail's "
                    "privacy protection instead of a person."
                )
            )
        elif by_proxy > 0:
            sentences.append(
                _(
                    "Opens that came from Apple Mail's privacy protection instead of "
                    "a person: %s. Mailchimp does not say which ones.",
                    by_proxy,
                )
            )
        return sentences

    def _why_events_lack(self):
        _ = self.env._
        reasons = []
        if self.recipients_unattributed:
            reasons.append(_("they belong to recipients who are not shown"))
        if self.accounted["capped"]:
            reasons.append(
                _("Mailchimp lists no more than 1000 opens and clicks of a recipient")
            )
        if not reasons:
            reasons.append(_("Mailchimp does not list them, or not yet"))
        return _("; ").join(reasons)
