from collections import Counter

from odoo import api, fields, models


class CrmMailchimpRun(models.Model):
    """What a run of kind *preview* found: see :class:`..sync.preview.Preview`."""

    _inherit = "crm.mailchimp.run"

    left_out = fields.Char(compute="_compute_left_out")

    @api.depends("cursor", "kind")
    def _compute_left_out(self):
        for run in self:
            counts = run._get_cursor().left_out
            names = run.account_id._merge_field_names()
            run.left_out = bool(counts) and self.env._(
                "Left out because the value is incomplete or Mailchimp does not "
                "accept it: %s.",
                ", ".join(
                    f"{names.get(tag, tag)} ({count})"
                    for tag, count in sorted(counts.items())
                ),
            )

    def action_open_result(self):
        if self.kind == "preview" and self.state == "done":
            return self.action_open_preview()
        return super().action_open_result()

    def action_open_preview(self):
        """List what the next run would do, contact by contact."""
        self.ensure_one()
        action = self.env["ir.actions.act_window"]._for_xml_id(
            "crm_mailchimp.action_crm_mailchimp_preview_line"
        )
        action["domain"] = [("run_id", "=", self.id)]
        return action


class CrmMailchimpAccount(models.Model):
    _inherit = "crm.mailchimp.account"

    def _merge_field_names(self):
        """Return ``{merge tag: the name people know it by}``."""
        lines = self.merge_field_ids
        count = Counter(lines.mapped("name"))
        return {
            line.tag: line.name
            if count[line.name] == 1
            else f"{line.name} ({line.tag})"
            for line in lines
        }

    def action_preview(self):
        """Find out what the next run would do; nothing is sent, no contact changed."""
        self.ensure_one()
        self._check_ready()
        run, _created = self._request_run("preview")
        return run.action_open_result()
