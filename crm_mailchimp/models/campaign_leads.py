from odoo import api, fields, models
from odoo.fields import Domain
from odoo.tools import SQL, escape_psql

from ..engine import stats


class CrmMailchimpCampaign(models.Model):
    """The leads that the links of a campaign brought in."""

    _inherit = "crm.mailchimp.campaign"

    lead_count = fields.Integer(string="Leads", compute="_compute_lead_count")

    # === LEADS === #

    @api.depends("utm_campaign_id", "send_time")
    def _compute_lead_count(self):
        Lead = self.env["crm.lead"].with_context(active_test=False)
        for campaign in self:
            campaign.lead_count = Lead.search_count(campaign._lead_domain())

    def _lead_domain(self):
        """Return the domain of the leads that links of these campaigns brought in."""
        return list(Domain.OR(campaign._own_leads() for campaign in self))

    def _own_leads(self):
        """Return the domain of this campaign's leads; no other campaign has them too.

        Mailchimp's own ``utm_campaign`` begins with the campaign's id, and ``mc_cid``
        is just that id. Where a link carries a name, which several campaigns may share,
        the lead belongs to the last of them sent before the lead was created.
        """
        self.ensure_one()
        ref = escape_psql(self.campaign_ref)
        found = Domain("campaign_id.name", "=ilike", ref)
        found |= Domain("campaign_id.name", "=ilike", f"{ref}-%")
        if not self.utm_campaign_id:
            return found
        named = Domain("campaign_id", "=", self.utm_campaign_id.id)
        others = self.sudo().search(
            [("utm_campaign_id", "=", self.utm_campaign_id.id), ("id", "!=", self.id)]
        )
        own = self._place_in_time()
        for other in others:
            if other._place_in_time() > own:
                named &= Domain("create_date", "<", other._place_in_time()[0])
        if any(other._place_in_time() < own for other in others):
            named &= Domain("create_date", ">=", own[0])
        return found | named

    def _place_in_time(self):
        return self.send_time or self.create_date, self.id

    def _link_utm(self):
        """Set the UTM campaign of sent campaigns by name, creating missing ones.

        Mailchimp puts the Google Analytics name, or else the title, into links as
        ``utm_campaign``, and Odoo looks that up for the leads those links bring in.
        """
        for campaign in self:
            if campaign.utm_campaign_id or campaign.status in stats.NOT_SENT:
                continue
            name = (campaign.google_analytics or campaign.name).strip()
            Utm = self.env["utm.campaign"].sudo()
            Utm.flush_model(["name", "title"])
            found = self.env.execute_query(
                SQL(
                    """SELECT u.id FROM utm_campaign u
                        WHERE LOWER(u.name) = LOWER(%(name)s)
                           OR EXISTS (SELECT FROM JSONB_EACH_TEXT(u.title) t
                                       WHERE LOWER(t.value) = LOWER(%(name)s))
                     ORDER BY LOWER(u.name) <> LOWER(%(name)s), u.id LIMIT 1""",
                    name=name,
                )
            )
            campaign.utm_campaign_id = (
                Utm.browse(found[0])
                if found
                else Utm.create(
                    {
                        "name": name,
                        "title": campaign.name,
                        "is_auto_campaign": True,
                        "user_id": campaign.account_id.sync_user_id.id or self.env.uid,
                    }
                )
            )

    def action_open_leads(self):
        """List the leads that the links of these campaigns brought in."""
        return {
            "type": "ir.actions.act_window",
            "name": self.env._("Leads"),
            "res_model": "crm.lead",
            "view_mode": "list,kanban,form",
            "domain": self._lead_domain(),
            "context": {"active_test": False, "create": False},
        }
