from odoo.http import Controller, request, route

from ..models.crm_mailchimp_login import CALLBACK


class MailchimpLogin(Controller):
    @route(CALLBACK, type="http", auth="user", methods=["GET"])
    def mailchimp_login(self, state="", code="", error="", **_query):
        """Take a user back from Mailchimp's login to where they came from."""
        path = request.env["crm.mailchimp.login"]._come_back(state, code, error)
        return request.redirect(path)
