from odoo import api, models

from ..evidence import OPT_IN


class IrModel(models.Model):
    _inherit = "ir.model"

    @api.model
    def get_authorized_fields(self, model_name, property_origins):
        """Offer form editors the opt-in of leads, and no other field of the add-on.

        A form that creates contacts would opt in anybody whose address a stranger
        enters; a date or wording sent by visitors would be no evidence.
        """
        found = super().get_authorized_fields(model_name, property_origins)
        return {
            name: field
            for name, field in found.items()
            if not name.startswith("mailchimp_")
            or (model_name, name) == ("crm.lead", OPT_IN)
        }

    def _get_form_writable_fields(self, property_origins=None):
        """Let no form write the opt-in directly: see the controller.

        Odoo would take any text for a tick, and even an uploaded file.
        """
        found = super()._get_form_writable_fields(property_origins)
        found.pop(OPT_IN, None)
        return found
