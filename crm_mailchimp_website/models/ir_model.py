from odoo import api, models

from ..evidence import OPT_IN


class IrModel(models.Model):
    _inherit = "ir.model"

    @api.model
    def get_authorized_fields(self, model_name, property_origins):
        """Offer editors of forms the opt-in of leads, and nothing else of Mailchimp.

        A form that makes contacts would opt in whoever's address a stranger enters; a
        date or wording that visitors send would be no evidence.
        """
        found = super().get_authorized_fields(model_name, property_origins)
        return {
            name: field
            for name, field in found.items()
            if not name.startswith("mailchimp_")
            or (model_name, name) == ("crm.lead", OPT_IN)
        }

    def _get_form_writable_fields(self, property_origins=None):
        """Let no form write the opt-in by itself: see the controller.

        Odoo would take any text for a tick, and an uploaded file as well.
        """
        found = super()._get_form_writable_fields(property_origins)
        found.pop(OPT_IN, None)
        return found
