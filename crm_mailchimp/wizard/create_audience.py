from odoo import api, fields, models
from odoo.exceptions import UserError

from ..engine.address import is_address
from ..engine.payload import language


class CreateAudience(models.TransientModel):
    """What Mailchimp wants to know about a new audience.

    The scheduled action creates it, not the button: Odoo repeats a request that
    conflicts with another one, and a repeated call would create a second audience.
    """

    _name = "crm.mailchimp.create.audience"
    _description = "Create a Mailchimp Audience"

    account_id = fields.Many2one(
        "crm.mailchimp.account", required=True, ondelete="cascade"
    )
    name = fields.Char(required=True)
    company = fields.Char()
    street = fields.Char()
    street2 = fields.Char()
    city = fields.Char()
    state_id = fields.Many2one(
        "res.country.state",
        string="State or province",
        domain="[('country_id', '=', country_id)]",
    )
    zip = fields.Char()
    country_id = fields.Many2one("res.country")
    phone = fields.Char()
    from_name = fields.Char(string="Sender's name")
    from_email = fields.Char(
        string="Sender's address",
        help="Mailchimp asks you to verify the address if it does not know the domain.",
    )
    lang = fields.Selection(
        lambda self: self.env["res.lang"].get_installed(), string="Campaign language"
    )
    permission_reminder = fields.Char(
        string="Permission reminder",
        help="Printed below every campaign, so that people remember why they get it.",
    )
    double_opt_in = fields.Boolean(
        string="Double opt-in in Mailchimp's own forms",
        help="For people who sign up with a Mailchimp form. Whether contacts from Odoo "
        "are asked to confirm is an option of the account.",
    )
    choose_format = fields.Boolean(
        string="Let subscribers choose plain text",
        help="Mailchimp's forms then ask whether somebody wants HTML or plain text.",
    )

    @api.model
    def _company_values(self, account):
        """Return the values the account's company suggests."""
        company = account.company_id
        partner = company.partner_id
        return {
            "account_id": account.id,
            "name": company.name,
            "company": company.name,
            "street": partner.street,
            "street2": partner.street2,
            "city": partner.city,
            "state_id": partner.state_id.id,
            "zip": partner.zip,
            "country_id": partner.country_id.id,
            "phone": partner.phone,
            "from_name": company.name,
            "from_email": company.email,
            "lang": account.lang or self.env.lang,
            "permission_reminder": self.env._(
                "You receive this email because you agreed to hear from %(company)s.",
                company=company.name,
            ),
        }

    @api.model_create_multi
    def create(self, vals_list):
        wizards = super().create(vals_list)
        for wizard in wizards:
            wizard._check_plan()
        return wizards

    def _check_plan(self):
        """Refuse before anything is typed if the plan has no room."""
        account = self.account_id
        account._check_manager()
        account._check_no_audience_under_way()
        with account._asking(account._gateway(account=None)) as gateway:
            constraints = gateway.audiences()["constraints"]
        sentence = account._no_room_sentence(constraints)
        if sentence:
            raise UserError(sentence)

    def _check_complete(self):
        required = [
            *("name", "company", "street", "city", "country_id"),
            *("from_name", "from_email", "permission_reminder"),
        ]
        missing = [
            self._fields[name]._description_string(self.env)
            for name in required
            if not (self[name].strip() if isinstance(self[name], str) else self[name])
        ]
        if missing:
            raise UserError(
                self.env._(
                    "Mailchimp prints the sender's postal address below every "
                    "campaign. Fill in: %(fields)s.",
                    fields=", ".join(missing),
                )
            )
        if not is_address(self.from_email.strip().lower()):
            raise UserError(
                self.env._(
                    "%(address)s is not a complete email address.",
                    address=self.from_email,
                )
            )

    def action_create(self):
        """Have the scheduled action create the audience."""
        self.ensure_one()
        account = self.account_id
        account._check_manager()
        self._check_complete()
        run, created = account._request_run("audience")
        if created:
            run._set_cursor(audience=self._body())
        else:
            account._check_no_audience_under_way(self._body())
        return account._open_overview()

    def _body(self):
        return {
            "name": self.name.strip(),
            "contact": {
                "company": self.company,
                "address1": self.street,
                "address2": self.street2 or "",
                "city": self.city,
                "state": self.state_id.code or self.state_id.name or "",
                "zip": self.zip or "",
                "country": self.country_id.code,
                "phone": self.phone or "",
            },
            "permission_reminder": self.permission_reminder,
            "campaign_defaults": {
                "from_name": self.from_name,
                "from_email": self.from_email.strip(),
                "subject": self.name.strip(),
                "language": language(self.lang) or "en",
            },
            "email_type_option": self.choose_format,
            "double_optin": self.double_opt_in,
        }
