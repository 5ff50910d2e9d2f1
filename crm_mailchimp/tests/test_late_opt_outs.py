from datetime import timedelta

from odoo import fields
from odoo.tests import tagged
from odoo.tools import SQL

from .common import MailchimpCase


@tagged("post_install", "-at_install")
class TestLateOptOuts(MailchimpCase):
    """The account tells how opt-outs go, and when they do not."""

    def prepare(self):
        super().prepare()
        self.link()
        self.ann = self.contact("Ann")
        self.push()

    def opted_out_before(self, **ago):
        """Let what was said so far have been said earlier."""
        date = fields.Datetime.now() - timedelta(**ago)
        self.env.flush_all()
        for table in ("crm_mailchimp_consent", "crm_mailchimp_suppression"):
            self.env.cr.execute(SQL("UPDATE %s SET date = %s", SQL(table), date))
        self.env.invalidate_all()

    def test_asked_and_confirmed(self):
        self.ann.mailchimp_opt_in = False
        self.assertEqual(self.account.opt_out_waiting, 1)
        self.assertFalse(self.account.health_message)
        self.send_opt_outs()
        self.account.invalidate_recordset()
        self.assertFalse(self.account.opt_out_waiting)
        self.assertIn("In the last 30 days: 1;", self.account.opt_out_summary)
        self.assertIn("confirmed by Mailchimp: 1;", self.account.opt_out_summary)

    def test_late_ones_are_told_even_if_the_lane_never_ran(self):
        self.ann.mailchimp_opt_in = False
        self.opted_out_before(hours=1)
        self.assertEqual(self.account.opt_out_waiting, 1)
        self.assertIn(
            "Opt-outs not sent to Mailchimp yet: 1;", self.account.health_message
        )
        self.assertIn("scheduled action", self.account.health_message)
        self.send_opt_outs()
        self.account.invalidate_recordset()
        self.assertFalse(self.account.health_message)

    def test_what_keeps_them_is_told(self):
        self.ann.mailchimp_opt_in = False
        self.opted_out_before(hours=1)
        self.simulator.fault("**", "status", status=503, times=None)
        self.send_opt_outs()
        self.account.invalidate_recordset()
        self.assertIn("cannot be reached", self.account.health_message)

    def test_an_earlier_opt_out_is_not_the_one_that_waits(self):
        self.ann.mailchimp_opt_in = False
        self.send_opt_outs()
        self.opted_out_before(days=9)
        self.ann.mailchimp_opt_in = True
        self.push()
        self.ann.mailchimp_opt_in = False
        self.assertFalse(self.account.health_message)
        self.send_opt_outs()
        self.assertIn("slowest: 1 min", self.account.opt_out_summary)
