from odoo import api, models


class MailBlacklist(models.Model):
    """A blacklist entry is a "no", which is remembered even after the entry is gone."""

    _inherit = "mail.blacklist"

    @api.model_create_multi
    def create(self, vals_list):
        entries = super().create(vals_list)
        # Odoo also returns entries that existed before; archived ones are no "no".
        entries.filtered("active")._mailchimp_note()
        return entries

    def write(self, vals):
        result = super().write(vals)
        if vals.get("active"):
            self._mailchimp_note()
        return result

    def _mailchimp_note(self):
        if not self:
            return
        account = self.env["crm.mailchimp.account"].sudo()
        now = account._mailchimp_now()
        self.env["crm.mailchimp.suppression"].sudo()._note(
            {
                "email": entry.email,
                "source": "blacklist",
                "kind": "blacklist",
                "date": now,
            }
            for entry in self
        )
        account._wake_opt_outs()
