from odoo.exceptions import UserError
from odoo.tests import tagged

from .common_webhooks import DeliveryCase


@tagged("post_install", "-at_install")
class TestKeeping(DeliveryCase):
    """How long deliveries are kept."""

    def test_erased_and_forgotten(self):
        self.audience.add_member("zoe@firma.be")
        self.audience.edit("zoe@firma.be", merge_fields={"FNAME": "Zoe"})
        self.deliver()
        self.process()
        self.assertEqual(len(self.received()), 2)
        self.env["crm.mailchimp.erasure"]._request(
            self.account, ["zoe@firma.be"], in_mailchimp=True
        )
        self.send_opt_outs()
        self.assertFalse(
            self.received().filtered(lambda d: d.email_normalized == "zoe@firma.be")
        )

    def test_how_long_they_are_kept(self):
        self.audience.unsubscribe("ann@firma.be")
        self.deliver()
        self.process()
        self.account.keep_deliveries_days = 9
        self.env.cr.execute(
            "UPDATE crm_mailchimp_webhook_delivery"
            " SET processed_at = processed_at - INTERVAL '8 days'"
        )
        self.env.invalidate_all()
        self.Delivery._gc_deliveries()
        self.assertTrue(self.received())
        self.account.keep_deliveries_days = 7
        self.Delivery._gc_deliveries()
        self.assertFalse(self.received())
        # What it told is known all the same.
        self.assertEqual(self.account.webhook_state, "receiving")

    def test_what_waits_is_kept(self):
        self.audience.unsubscribe("ann@firma.be")
        self.deliver()
        self.env.cr.execute(
            "UPDATE crm_mailchimp_webhook_delivery"
            " SET create_date = create_date - INTERVAL '2 years',"
            " received_at = received_at - INTERVAL '2 years'"
        )
        self.env.invalidate_all()
        self.Delivery._gc_deliveries()
        self.assertTrue(self.received())

    def test_at_least_for_a_day(self):
        with self.assertRaises(UserError):
            self.account.keep_deliveries_days = 0
