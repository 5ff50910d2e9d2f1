from odoo import api, fields, models
from odoo.tools import SQL


class IrFilters(models.Model):
    """What users see of flagged filters: what they match, and what becomes of it.

    Ready-made filters are archived until somebody flags them, so that they are not
    among everybody's favourites.
    """

    _inherit = "ir.filters"

    mailchimp_segment_ids = fields.One2many(
        "crm.mailchimp.segment", "filter_id", groups="sales_team.group_sale_salesman"
    )
    mailchimp_matching_count = fields.Integer(
        string="Matching contacts",
        compute="_compute_mailchimp_matching_count",
        groups="sales_team.group_sale_salesman",
    )

    @api.depends("mailchimp_segment_ids.matching_count")
    def _compute_mailchimp_matching_count(self):
        for record in self:
            record.mailchimp_matching_count = max(
                record.mailchimp_segment_ids.mapped("matching_count"), default=0
            )

    def write(self, vals):
        if vals.get("mailchimp_sync"):
            vals = {"active": True, **vals}
        return super().write(vals)

    def action_mailchimp_flag(self):
        """Make the filter a segment, and show at once who is in it."""
        self.ensure_one()
        self.check_access("write")
        self._check_mailchimp_right()
        self.mailchimp_sync = True
        notice = self.action_mailchimp_outlook()
        notice["params"]["next"] = {"type": "ir.actions.client", "tag": "soft_reload"}
        return notice

    def action_mailchimp_unflag(self):
        """Withdraw the group or tag; the saved filter stays."""
        self.ensure_one()
        self.check_access("write")
        self._check_mailchimp_right()
        self.mailchimp_sync = False
        return self.env["crm.mailchimp.account"]._toast(
            self.env._(
                "The group or tag is removed from Mailchimp with the next sync. The "
                "contacts and the saved filter stay."
            )
        )

    def action_mailchimp_outlook(self):
        """Show how many contacts match a flagged filter, and how many are sent.

        :return: a notification, with a button for what comes next
        :raise AccessError: if the user may not synchronise
        """
        self.ensure_one()
        self.check_access("read")
        self.env["crm.mailchimp.run"]._check_sync_right()
        _ = self.env._
        account = self.env["crm.mailchimp.account"].sudo()._overview_account()
        matching, going = self._mailchimp_count(account)
        words = {"matching": matching, "going": going}
        xmlid = "crm_mailchimp.action_crm_mailchimp_overview"
        if account.state == "linked" and account.push_enabled:
            message = _(
                "Matching contacts: %(matching)s. In Mailchimp after the next sync: "
                "%(going)s.",
                **words,
            )
            button, xmlid = _("Sync now"), "crm_mailchimp.action_sync_now"
        elif account.is_paused:
            message = _(
                "Matching contacts: %(matching)s. In Mailchimp once syncing is "
                "resumed: %(going)s.",
                **words,
            )
            button = _("Open the overview")
        else:
            message = _(
                "Matching contacts: %s. They become a group or tag once Mailchimp is "
                "set up and syncing is started.",
                matching,
            )
            button = _("Open the overview")
        return {
            "type": "ir.actions.client",
            "tag": "crm_mailchimp.notice",
            "params": {
                "title": self.name,
                "message": message,
                "type": "info",
                "sticky": True,
                "button": button,
                "action": xmlid,
            },
        }

    def _mailchimp_count(self, account):
        """Count the contacts that match now, and those of them that may be sent.

        :return: ``(matching, going)``
        :raise UserError: if the filter cannot be evaluated, in one sentence
        """
        contacts = self.sudo()._mailchimp_contacts(self.env.company)
        [(matching,)] = self.env.execute_query(
            SQL("SELECT COUNT(DISTINCT id) FROM %s AS query(id)", contacts)
        )
        if not account.audience_ref:
            return matching, 0
        account._flush_contacts()
        [(going,)] = self.env.execute_query(
            SQL(
                "SELECT COUNT(DISTINCT partner_id) FROM (%s) line"
                " WHERE status <> 'out' AND partner_id IN %s",
                account._contact_lines_sql(),
                contacts,
            )
        )
        return matching, going

    def action_mailchimp_open_segment(self):
        """Open the segments of the filter in Mailchimp."""
        self.ensure_one()
        action = self.env["ir.actions.act_window"]._for_xml_id(
            "crm_mailchimp.action_crm_mailchimp_segment"
        )
        segments = self.mailchimp_segment_ids
        if len(segments) == 1:
            action.update(res_id=segments.id, views=[(False, "form")])
        else:
            action["domain"] = [("filter_id", "=", self.id)]
        return action
