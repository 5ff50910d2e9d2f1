from odoo import api, fields, models
from odoo.exceptions import UserError

from ..engine.address import is_address


class CorrectEmail(models.TransientModel):
    """New addresses for contacts whose address is invalid."""

    _name = "crm.mailchimp.correct.email"
    _description = "Correct Email Addresses"

    line_ids = fields.One2many("crm.mailchimp.correct.email.line", "wizard_id")

    def action_correct(self):
        """Write the addresses that were entered; lines left empty stay as they are."""
        self.ensure_one()
        lines = self.line_ids.filtered("new_email")
        if not lines:
            raise UserError(self.env._("Enter at least one new address."))
        wrong = [
            f"{line.new_email.strip()}: {line._problem()}"
            for line in lines
            if line._problem()
        ]
        if wrong:
            raise UserError("\n".join(wrong))
        for line in lines:
            line.partner_id._mailchimp_replace_address(
                line.old_email, line.new_email.strip()
            )
        return self.env["crm.mailchimp.account"]._toast(
            self.env._(
                "Addresses corrected: %s. They go to Mailchimp with the next sync.",
                len(lines),
            )
        )


class CorrectEmailLine(models.TransientModel):
    _name = "crm.mailchimp.correct.email.line"
    _description = "Email Address to Correct"

    wizard_id = fields.Many2one("crm.mailchimp.correct.email", ondelete="cascade")
    partner_id = fields.Many2one("res.partner", string="Contact", readonly=True)
    old_email = fields.Char(string="Invalid address", readonly=True)
    new_email = fields.Char(string="New address")
    warning = fields.Char(compute="_compute_warning")

    def _problem(self):
        """Return a sentence that says why the new address cannot be used, or None."""
        email = (self.new_email or "").strip().lower()
        _ = self.env._
        if not is_address(email):
            return _("Enter a complete email address, such as name@company.com.")
        if email == self.old_email:
            return _("This is the address that bounced.")
        # No matter whose it is, but only in audiences of the user's companies.
        given_up = self.env["crm.mailchimp.member"].sudo()
        if given_up.search_count(
            [
                ("email_normalized", "=", email),
                ("status", "=", "cleaned"),
                ("account_id.company_id", "in", self.env.companies.ids),
            ],
            limit=1,
        ):
            return _("Mailchimp has stopped using this address too.")
        return None

    @api.depends("new_email")
    def _compute_warning(self):
        for line in self:
            email = (line.new_email or "").strip().lower()
            line.warning = email and line._problem()
            if not email or line.warning:
                continue
            other = line.env["res.partner"].search(
                [
                    ("email_normalized", "=", email),
                    ("id", "!=", line.partner_id.id),
                ],
                limit=1,
            )
            if other:
                line.warning = line.env._(
                    "%(name)s has this address too.", name=other.display_name
                )
