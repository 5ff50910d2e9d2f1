from odoo import api, fields, models

from odoo.addons.crm_mailchimp.engine.address import member_hash


class CrmLead(models.Model):
    """The opt-in that a visitor ticked on a website form.

    Anybody can enter anybody's address. So the lead says what was ticked, where, and
    beside which text, and the opt-in does not lift a "no" of the address.
    """

    _inherit = "crm.lead"

    mailchimp_opt_in_page = fields.Char(
        string="Opt-in on page",
        copy=False,
        readonly=True,
        help="Page of the website on whose form the opt-in was ticked.",
    )

    @api.model
    def _mailchimp_own_fields(self):
        own = super()._mailchimp_own_fields()
        return own if self.env.su else own | {"mailchimp_opt_in_page"}

    def write(self, vals):
        """Keep what a form brought in; what a user ticks is the user's own word."""
        evidence = {"mailchimp_opt_in", "mailchimp_opt_in_note"}
        if self.env.su or not evidence & vals.keys():
            return super().write(vals)
        of_form = self.filtered("mailchimp_opt_in_page")
        super(CrmLead, self - of_form).write(vals)
        if vals.get("mailchimp_opt_in", True):
            kept = {name: value for name, value in vals.items() if name not in evidence}
            return super(CrmLead, of_form).write(kept)
        super(CrmLead, of_form).write({"mailchimp_opt_in_note": False, **vals})
        of_form.sudo().mailchimp_opt_in_page = False
        return True

    def _mailchimp_passes_on_opt_in(self, partner):
        passes = super()._mailchimp_passes_on_opt_in(partner)
        if not passes or not self.mailchimp_opt_in_page:
            return passes
        hashes = [member_hash(email) for email in partner._mailchimp_addresses()]
        said_no = (
            self.env["crm.mailchimp.suppression"]
            .sudo()
            .search_count(
                [("email_hash", "in", hashes), ("lifted_at", "=", False)], limit=1
            )
        )
        if said_no:
            self._message_log(
                body=self.env._(
                    "The contact was created without the opt-in of the form: its"
                    " address is on the do-not-email list, and a form does not prove"
                    " who filled it in. Ask the person, then tick the opt-in on the"
                    " contact."
                )
            )
        return not said_no
