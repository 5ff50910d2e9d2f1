from odoo import api, fields, models


class CrmMailchimpApp(models.Model):
    """The app registered in Mailchimp, through which people log in there.

    There is one for the whole database, as there is one redirect URI: whoever may log
    in with it connects their own company's account. Administrators enter it in the
    settings, and no interface reads it.
    """

    _name = "crm.mailchimp.app"
    _description = "Registered Mailchimp App"

    client_id = fields.Char(string="Client ID", required=True)
    # Superuser only, like the key of an account.
    client_secret = fields.Char(groups=fields.NO_ACCESS, copy=False, prefetch=False)

    @api.model
    def _get(self):
        """Return the app with its secret, or no record."""
        return self.sudo().search([], order="id", limit=1)

    @api.model
    def _set(self, **values):
        """Set ``client_id`` or ``client_secret``; without an id there is no app."""
        app = self._get()
        if app and values.get("client_id", app.client_id):
            app.write(values)
        elif app:
            app.unlink()
        elif values.get("client_id"):
            app = self.sudo().create(values)


class ResConfigSettings(models.TransientModel):
    """Where administrators enter the app. Nothing of it is stored here."""

    _inherit = "res.config.settings"

    mailchimp_client_id = fields.Char(
        string="Mailchimp client ID",
        compute="_compute_mailchimp_app",
        inverse="_inverse_mailchimp_client_id",
    )
    mailchimp_client_secret = fields.Char(
        string="Mailchimp client secret",
        compute="_compute_mailchimp_app",
        inverse="_inverse_mailchimp_client_secret",
        help="It can be set and replaced here, but nobody can read it again.",
    )
    mailchimp_has_secret = fields.Boolean(compute="_compute_mailchimp_app")
    mailchimp_redirect_uri = fields.Char(compute="_compute_mailchimp_app")

    def _compute_mailchimp_app(self):
        app = self.env["crm.mailchimp.app"]._get()
        for settings in self:
            settings.mailchimp_client_id = app.client_id
            settings.mailchimp_client_secret = False
            settings.mailchimp_has_secret = bool(app.client_secret)
            settings.mailchimp_redirect_uri = self.env[
                "crm.mailchimp.login"
            ]._redirect_uri()

    def _inverse_mailchimp_client_id(self):
        for settings in self:
            client_id = (settings.mailchimp_client_id or "").strip()
            self.env["crm.mailchimp.app"]._set(client_id=client_id)

    def _inverse_mailchimp_client_secret(self):
        for settings in self:
            secret = (settings.mailchimp_client_secret or "").strip()
            if secret:
                self.env["crm.mailchimp.app"]._set(client_secret=secret)
        # The web client reads the record after saving it.
        self.invalidate_recordset(["mailchimp_client_secret"], flush=False)
