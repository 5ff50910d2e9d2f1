from odoo.tests import tagged

from .common import MailchimpCase


@tagged("post_install", "-at_install")
class TestStats(MailchimpCase):
    """Campaign totals in Odoo are Mailchimp's."""

    def setUp(self):
        super().setUp()
        self.link()
        for number in range(20):
            self.contact(f"C{number}")
        self.push()

    def send(self, **values):
        campaign = self.audience.add_campaign(**values)
        self.audience.send_campaign(campaign)
        return campaign

    def test_totals(self):
        campaign = self.send(type="regular", subject="News", title="November")
        self.audience.generate(
            campaign, opens=8, clicks=4, bounces=2, unsubscribes=1, complaints=1, seed=1
        )
        self.push("stats")
        record = self.env["crm.mailchimp.campaign"].search(
            [("campaign_ref", "=", campaign.id)]
        )
        report = self.simulator.report(campaign.id)
        self.assertEqual(record.name, "November")
        self.assertEqual(record.subject, "News")
        self.assertEqual(record.status, "sent")
        for field, value in {
            "sent": report["emails_sent"],
            "opens_total": report["opens"]["opens_total"],
            "opens_unique": report["opens"]["unique_opens"],
            "open_rate": report["opens"]["open_rate"],
            "clicks_total": report["clicks"]["clicks_total"],
            "clicks_unique": report["clicks"]["unique_subscriber_clicks"],
            "unsubscribed": report["unsubscribed"],
            "hard_bounces": report["bounces"]["hard_bounces"],
            "soft_bounces": report["bounces"]["soft_bounces"],
            "complaints": report["abuse_reports"],
        }.items():
            self.assertEqual(record[field], value, field)
        self.assertEqual(record.sent, 20)
        self.assertGreater(record.opens_unique, 0)

    def test_every_type(self):
        types = ("regular", "plaintext", "absplit", "variate", "rss", "automation")
        for kind in types:
            self.send(type=kind, subject=kind, title=kind)
        self.push("stats")
        records = self.env["crm.mailchimp.campaign"].search(
            [("account_id", "=", self.account.id)]
        )
        self.assertEqual(set(records.mapped("campaign_type")), set(types))

    def test_asking_often_costs_few_reports(self):
        self.send(type="regular", subject="News", title="November")
        self.push("stats")
        self.simulator.clear_calls()
        self.tick("ir_cron_stats")
        self.assertFalse(self.simulator.count("GET", "/3.0/reports/*"))
