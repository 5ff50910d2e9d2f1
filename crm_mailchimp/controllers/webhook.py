from odoo import http
from odoo.http import request

from ..engine.webhooks import MAX_BODY
from ..models.webhooks import PATH


class MailchimpWebhook(http.Controller):
    """Where Mailchimp delivers: inserts a row, and wakes the scheduled action.

    Every refusal gets the same answer, which reveals neither what was wrong nor which
    tokens there are. Mailchimp signs the raw body: see ``ir.http``.
    """

    @http.route(
        [f"{PATH}<string:token>", f"{PATH}<string:token>/<string:hook>"],
        type="http",
        auth="public",
        methods=["GET", "POST"],
        csrf=False,
        save_session=False,
        max_content_length=MAX_BODY,
        sitemap=False,
    )
    def deliver(self, token, hook="people", **_form):
        account = request.env["crm.mailchimp.account"]._of_webhook(token)
        if request.httprequest.method != "POST":
            # Mailchimp calls the URL before it registers it.
            return self._answer(200 if account else 404)
        taken = account and account._receive_delivery(
            hook,
            request.httprequest.get_data(),
            request.httprequest.mimetype,
            request.httprequest.headers.get("X-Mailchimp-Signature"),
        )
        # None: not now. Mailchimp tries again for 75 minutes.
        return self._answer(200 if taken else 503 if taken is None else 404)

    def _answer(self, status):
        return request.make_response(
            "", [("Content-Type", "text/plain")], status=status
        )
