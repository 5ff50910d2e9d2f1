import json
from urllib.parse import urlencode

from odoo import fields, models

from ..engine.vocabulary import NOT_TAKEN

COLUMNS = (
    *("partner_id", "email_normalized", "reason", "reason_text"),
    *("refused_at", "next_try", "status", "account_id"),
)


class CrmMailchimpAccount(models.Model):
    """A file of the records that were refused, to work through."""

    _inherit = "crm.mailchimp.account"

    def action_export_failed(self):
        """Download a CSV of the members Mailchimp or Odoo refuses, and why.

        Odoo's own export creates it, so that the right to export applies, and a name
        that looks like a formula is none in the file.
        """
        return self._export_failed([])

    def _export_failed(self, domain):
        Member = self.env["crm.mailchimp.member"]
        domain = [
            ("account_id", "in", self.ids),
            ("reason", "!=", False),
            # Leave out addresses that nobody has any more.
            "|",
            ("wanted", "=", True),
            ("reason", "=", NOT_TAKEN),
            *domain,
        ]
        if not Member.search_count(domain, limit=1):
            toast = self._toast(self.env._("There are no failed records."))
            toast["params"].pop("next")
            return toast
        labels = Member.fields_get(COLUMNS, ["string"])
        data = {
            "model": Member._name,
            "fields": [
                {"name": name, "label": labels[name]["string"]} for name in COLUMNS
            ],
            "ids": False,
            "domain": domain,
            "import_compat": False,
        }
        return {
            "type": "ir.actions.act_url",
            "url": "/web/export/csv?" + urlencode({"data": json.dumps(data)}),
            "target": "download",
        }


class CrmMailchimpRun(models.Model):
    _inherit = "crm.mailchimp.run"

    has_failed = fields.Boolean(compute="_compute_has_failed")

    def _compute_has_failed(self):
        for run in self:
            counters = run.counters or {}
            run.has_failed = bool(
                counters.get("refused")
                or counters.get("lacking")
                or counters.get("not_taken")
            )

    def action_export_failed(self):
        """Download a CSV of those refused during this run who still are."""
        self.ensure_one()
        since = self.started_at or self.create_date
        domain = [("refused_at", ">=", fields.Datetime.to_string(since))]
        if self.ended_at:
            domain.append(
                ("refused_at", "<=", fields.Datetime.to_string(self.ended_at))
            )
        return self.account_id._export_failed(domain)
