from odoo import models

from ..sync.grounds import Grounds

MERGED = Grounds("merge")


# Extends a wizard of the base module; there is nothing to show here.
class MergePartnerAutomatic(models.TransientModel):  # pylint: disable=no-wizard-in-models
    _inherit = "base.partner.merge.automatic.wizard"

    def _merge(self, partner_ids, dst_partner=None, extra_checks=True):
        """Keep an opt-out: Odoo's merge takes any value that is set, so an opt-in wins.

        A contact has opted out if it has no opt-in and its latest consent line says so.
        One that was never asked has no line, and takes nothing away from the other's
        opt-in.
        """
        partners = self.env["res.partner"].browse(partner_ids).exists()
        Consent = self.env["crm.mailchimp.consent"].sudo()
        opted_out = partners.filtered(
            lambda partner: (
                not partner.mailchimp_opt_in
                and Consent.search([("partner_id", "=", partner.id)], limit=1).kind
                == "out"
            )
        )
        result = super()._merge(partner_ids, dst_partner, extra_checks)
        if opted_out:
            merged = partners.exists().filtered("mailchimp_opt_in")
            merged.with_context(mailchimp_grounds=MERGED).write(
                {"mailchimp_opt_in": False}
            )
        return result

    def _update_values(self, src_partners, dst_partner):
        # The opt-in that the merge takes over keeps its date.
        return super()._update_values(
            src_partners, dst_partner.with_context(mailchimp_grounds=MERGED)
        )
