from odoo.tests import tagged

from .common import long
from .common_webhooks import RequestCase


@tagged("post_install", "-at_install")
class TestWebhookTour(RequestCase):
    """What the form shows of a delivery, in a browser."""

    @long
    def test_in_a_browser(self):
        self.post()
        self.process()
        self.env.flush_all()
        action = "crm_mailchimp.action_crm_mailchimp_account"
        self.start_tour(
            f"/odoo/action-{action}/{self.account.id}",
            "crm_mailchimp_webhook",
            login="admin",
        )
