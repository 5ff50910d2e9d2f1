from odoo import models
from odoo.exceptions import AccessError

LINES = 20


class ResPartner(models.Model):
    """What the *Marketing* page of a contact shows.

    It is read when somebody opens the page, not with the form, which is therefore
    hardly slower than without the add-on.
    """

    _inherit = "res.partner"

    def mailchimp_card(self):
        """Return what to show about this contact and Mailchimp.

        :return: dict with ``status``, ``reason``, ``remedy``, ``can_ask_again``,
            ``segments``, ``tags``, ``campaigns``, ``campaign_count`` and ``consent``,
            with labels in the user's language
        """
        self.ensure_one()
        self.check_access("read")
        if not self.env.user.has_group("sales_team.group_sale_salesman"):
            raise AccessError(self.env._("You need Sales access rights to see this."))
        return {
            "status": self._mailchimp_choice("mailchimp_status"),
            "reason": self._mailchimp_choice("mailchimp_reason"),
            "remedy": self._mailchimp_remedy(),
            "can_ask_again": bool(
                self.mailchimp_opt_in
                and self.mailchimp_reason
                in ("unsubscribed", "archived", "transactional", "not_confirmed")
                and self.env.user.has_group("crm_mailchimp.group_mailchimp_user")
            ),
            "segments": self.mailchimp_segment_ids.filtered(
                lambda segment: segment.company_id == self.env.company
            ).mapped("name"),
            "tags": [
                {
                    "id": tag.id,
                    "name": tag.name,
                    "state": tag.state,
                    "reason": tag.why or "",
                }
                for tag in self._mailchimp_latest_tags()[:LINES]
            ],
            "campaigns": self._mailchimp_card_campaigns(),
            "campaign_count": self.mailchimp_campaign_count,
            "consent": [
                {
                    "id": consent.id,
                    "kind": consent.kind,
                    "label": dict(
                        consent._fields["kind"]._description_selection(self.env)
                    )[consent.kind],
                    "date": consent.date,
                    "source": dict(
                        consent._fields["source"]._description_selection(self.env)
                    )[consent.source],
                    "by": consent.user_id.sudo().name or "",
                    "address": consent.email_normalized or "",
                    "note": consent.note or "",
                }
                for consent in self.mailchimp_consent_ids[:LINES]
            ],
        }

    def _mailchimp_latest_tags(self):
        """Return each tag once: the latest request for it."""
        latest = {}
        for tag in self.mailchimp_tag_ids.sorted("id", reverse=True):
            latest.setdefault((tag.account_id, tag.name.casefold()), tag.id)
        return self.mailchimp_tag_ids.browse(latest.values())

    def _mailchimp_remedy(self):
        account = self.env["crm.mailchimp.account"].sudo()._of_company()
        if not account:
            return ""
        # A new record instead of a search, which would evaluate everybody for one
        # contact.
        _status, reason, winner = account._contact_lines(self).get(self.id, (None,) * 3)
        line = self.env["crm.mailchimp.contact.status"].new(
            {"reason": reason, "winner_ref": winner}
        )
        return line.remedy or ""

    def _mailchimp_choice(self, name):
        """Return ``{"value", "label"}`` of a selection field, or ``False``."""
        value = self[name]
        labels = dict(self._fields[name]._description_selection(self.env))
        return value and {"value": value, "label": labels[value]}

    def _mailchimp_card_campaigns(self):
        recipients = self.env["crm.mailchimp.recipient"].search(
            [("partner_id", "=", self.id)], limit=LINES
        )
        return [
            {
                "id": recipient.id,
                "name": recipient.campaign_id.name,
                "date": recipient.send_time,
                "status": recipient.status,
                "opens": recipient.open_count,
                "clicks": recipient.click_count,
                "unsubscribed": bool(recipient.unsubscribed_date),
                "reason": recipient.unsubscribe_reason or "",
                "complained": bool(recipient.complaint_date),
            }
            for recipient in recipients
        ]
