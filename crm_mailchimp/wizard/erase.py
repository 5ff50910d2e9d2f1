from odoo import fields, models
from odoo.exceptions import AccessError, UserError
from odoo.fields import Domain

from ..engine.address import is_address


class Erase(models.TransientModel):
    """Erase a person: what names them in the add-on and, if asked for, in Mailchimp.

    An existing contact stays: deleting it is up to Odoo. A deleted one is known by its
    address.
    """

    _name = "crm.mailchimp.erase"
    _description = "Erase in Mailchimp and Odoo"

    partner_ids = fields.Many2many("res.partner", string="Contacts")
    addresses = fields.Text(
        required=True,
        help="One per line. You can add the addresses of "
        "a person whose contact was deleted.",
    )
    in_mailchimp = fields.Boolean(string="Also delete permanently in Mailchimp")

    def action_erase(self):
        """Erase the addresses: what can be at once, the rest in a moment."""
        self.ensure_one()
        if not self.env.user.has_group("crm_mailchimp.group_mailchimp_manager"):
            raise AccessError(
                self.env._("Only a Mailchimp manager may erase a person.")
            )
        partners = self.partner_ids
        partners.check_access("write")
        emails = self._emails()
        accounts = (
            self.env["crm.mailchimp.account"]
            .with_context(active_test=False)
            .search([("company_id", "in", self.env.companies.ids)])
            .sudo()
        )
        # Before the lines lose the address: this adds a line and a "no" with it.
        partners.filtered("mailchimp_opt_in").mailchimp_opt_in = False
        now = accounts._mailchimp_now()
        self.env["crm.mailchimp.suppression"].sudo()._note(
            {"email": email, "source": "odoo", "kind": "opt_out", "date": now}
            for email in emails
        )
        accounts._let_go_of(emails)
        partners.sudo().mailchimp_tag_ids.unlink()
        self.env["crm.mailchimp.consent"].sudo()._anonymise(
            Domain("partner_id", "in", partners.ids)
            | Domain("email_normalized", "in", emails)
            & Domain("partner_id", "=", False)
            & Domain("company_id", "in", [*self.env.companies.ids, False])
        )
        self.env["crm.mailchimp.erasure"].sudo()._request(
            accounts, emails, self.in_mailchimp
        )
        return self.env["crm.mailchimp.account"]._toast(
            self.env._(
                "Addresses to be erased as soon as Mailchimp has removed them: %s.",
                len(emails),
            )
        )

    def _emails(self):
        emails = [word.strip().lower() for word in (self.addresses or "").split()]
        emails = list(dict.fromkeys(emails))
        wrong = [email for email in emails if not is_address(email)]
        if wrong or not emails:
            raise UserError(
                self.env._(
                    "Enter the addresses to erase, one per line. These are not email "
                    "addresses: %(addresses)s",
                    addresses=", ".join(wrong) or "–",
                )
            )
        return emails
