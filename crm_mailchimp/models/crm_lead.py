from odoo import api, fields, models

from ..sync.grounds import Grounds, Said


class CrmLead(models.Model):
    """The opt-in of somebody who is a lead and not a contact yet.

    It has no effect by itself: only contacts are sent to Mailchimp. A contact created
    from the lead gets the opt-in with its date, so that a "no" from the address in the
    meantime still counts. An existing contact keeps what it has: its own consent is
    newer knowledge than a lead's.
    """

    _inherit = "crm.lead"

    mailchimp_opt_in = fields.Boolean(
        string="Opt-in marketing mails",
        copy=False,
        tracking=True,
        help="The person agreed to receive marketing mails. The contact created from "
        "this lead is opted in.",
    )
    mailchimp_opt_in_date = fields.Datetime(
        string="Opt-in date",
        copy=False,
        readonly=True,
        help="When the current opt-in was given, by Mailchimp's clock.",
    )
    mailchimp_opt_in_note = fields.Char(
        string="Opt-in wording",
        copy=False,
        help="Where the person agreed, and to which text: kept as evidence of consent.",
    )

    @api.model
    def default_get(self, fields):
        """Ignore context and user defaults for fields that only Odoo itself writes."""
        own = self._mailchimp_own_fields()
        return super().default_get([name for name in fields if name not in own])

    @api.model_create_multi
    def create(self, vals_list):
        # An opt-in set by a default gets its date, too.
        default = self.default_get(["mailchimp_opt_in"])
        return super().create(
            [self._mailchimp_dated({**default, **vals}) for vals in vals_list]
        )

    def write(self, vals):
        return super().write(self._mailchimp_dated(vals))

    @api.model
    def _mailchimp_own_fields(self):
        """Return the names of the fields that nobody may enter or import."""
        return {"mailchimp_opt_in_date"}

    def _mailchimp_dated(self, vals):
        """Return the values, with the opt-in dated now and no date entered by users."""
        own = self._mailchimp_own_fields()
        vals = {name: value for name, value in vals.items() if name not in own}
        if "mailchimp_opt_in" in vals:
            now = self.env["crm.mailchimp.account"].sudo()._mailchimp_now()
            vals["mailchimp_opt_in_date"] = now if vals["mailchimp_opt_in"] else False
        return vals

    def _create_customer(self, with_parent=None):
        known = self.partner_id | (with_parent or self.env["res.partner"])
        partner = super()._create_customer(with_parent=with_parent)
        if partner not in known and self._mailchimp_passes_on_opt_in(partner):
            said = Said(
                partner.email_normalized,
                self.mailchimp_opt_in_date,
                self.mailchimp_opt_in_note,
            )
            partner.with_context(
                mailchimp_grounds=Grounds("lead", {partner.id: said})
            ).write(
                {
                    "mailchimp_opt_in": True,
                    "mailchimp_opt_in_date": self.mailchimp_opt_in_date,
                }
            )
        return partner

    def _mailchimp_passes_on_opt_in(self, partner):
        """Return whether the contact created from the lead gets its opt-in."""
        return self.mailchimp_opt_in
