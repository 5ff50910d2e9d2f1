from datetime import timedelta

from odoo import fields
from odoo.tests import tagged

from .common import MailchimpCase


@tagged("post_install", "-at_install")
class TestLateOptOuts(MailchimpCase):
    """The account tells how opt-outs go, and when they do not."""

    def setUp(self):
        super().setUp()
        self.link()
        self.ann = self.contact("Ann")
        self.push()

    def test_asked_and_confirmed(self):
        self.ann.mailchimp_opt_in = False
        self.assertEqual(self.account.opt_out_waiting, 1)
        self.assertFalse(self.account.health_message)
        self.send_opt_outs()
        self.account.invalidate_recordset()
        self.assertFalse(self.account.opt_out_waiting)
        self.assertIn("1 asked", self.account.opt_out_summary)
        self.assertIn("1 confirmed", self.account.opt_out_summary)

    def test_late_ones_are_told_even_if_the_lane_never_ran(self):
        self.ann.mailchimp_opt_in = False
        late = fields.Datetime.now() - timedelta(hours=1)
        self.env["crm.mailchimp.suppression"].search([]).date = late
        self.env.cr.execute("UPDATE crm_mailchimp_consent SET date = %s", (late,))
        self.env.invalidate_all()
        # The clock of the member's reading is of no matter here.
        self.account.linked_at = late - timedelta(hours=1)
        self.assertEqual(self.account.opt_out_waiting, 1)
        self.assertIn("1 opt-outs are not delivered", self.account.health_message)
        self.assertIn("scheduled action", self.account.health_message)
        self.send_opt_outs()
        self.account.invalidate_recordset()
        self.assertFalse(self.account.health_message)

    def test_what_keeps_them_is_told(self):
        self.ann.mailchimp_opt_in = False
        late = fields.Datetime.now() - timedelta(hours=1)
        self.env["crm.mailchimp.suppression"].search([]).date = late
        self.simulator.fault("**", "status", status=503, times=None)
        self.send_opt_outs()
        self.account.invalidate_recordset()
        self.assertIn("cannot be reached", self.account.health_message)

    def test_an_earlier_opt_out_is_not_the_one_that_waits(self):
        self.ann.mailchimp_opt_in = False
        self.send_opt_outs()
        self.env.cr.execute(
            """UPDATE crm_mailchimp_consent SET date = date - INTERVAL '9 days';
               UPDATE crm_mailchimp_suppression SET date = date - INTERVAL '9 days'"""
        )
        self.env.invalidate_all()
        self.ann.mailchimp_opt_in = True
        self.push()
        self.ann.mailchimp_opt_in = False
        self.assertFalse(self.account.health_message)
        self.send_opt_outs()
        self.assertIn("slowest 1 minutes", self.account.opt_out_summary)
