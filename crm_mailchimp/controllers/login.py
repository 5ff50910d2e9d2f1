from odoo.http import Controller, request, route

from ..models.crm_mailchimp_login import CALLBACK


class MailchimpLogin(Controller):
    @route(CALLBACK, type="http", auth="user", methods=["GET"])
    def mailchimp_login(self, state="", code="", error="", **_query):
        """Come back from Mailchimp's login, and go to where the user came from."""
        path = request.env["crm.mailchimp.login"]._come_back(state, code, error)
        return request.redirect(path)
