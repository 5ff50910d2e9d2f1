from odoo import fields, models


class CrmMailchimpAccount(models.Model):
    _inherit = "crm.mailchimp.account"

    show_groups = fields.Boolean(
        string="Show groups to subscribers",
        help="Groups are named after your filters, which are internal. If shown, they "
        "appear on Mailchimp's sign-up forms and on the pages where subscribers "
        "change their preferences, and subscribers can tick them.",
    )

    def _group_kind(self):
        """Return Mailchimp's type of our categories."""
        return "checkboxes" if self.show_groups else "hidden"

    def _refs(self):
        return self.remote_refs or {}

    def _set_refs(self, **values):
        """Change keys of ``remote_refs``; ``None`` removes one."""
        refs = dict(self._refs(), **values)
        refs = {key: value for key, value in refs.items() if value is not None}
        if refs != self._refs():
            self.sudo().remote_refs = refs
