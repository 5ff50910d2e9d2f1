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

    def report(self, campaign):
        gateway = self.account._gateway()
        try:
            return gateway.report(campaign.id)
        finally:
            gateway.close()

    def test_totals(self):
        campaign = self.send(type="regular", subject="News", title="November")
        self.audience.generate(
            campaign,
            opens=0.5,
            clicks=0.2,
            hard_bounces=0.1,
            soft_bounces=0.1,
            unsubscribes=0.1,
            complaints=0.1,
            seed=1,
        )
        self.push("stats")
        record = self.env["crm.mailchimp.campaign"].search(
            [("campaign_ref", "=", campaign.id)]
        )
        report = self.report(campaign)
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

    def test_a_second_import_is_cheap_and_writes_nothing(self):
        self.send(type="regular", subject="News", title="November")
        self.push("stats")
        record = self.env["crm.mailchimp.campaign"].search([])
        before = record.read(["write_date", "report_date"])
        self.simulator.clear_calls()
        self.push("stats")
        self.assertLessEqual(len(self.simulator.calls), 2)
        self.assertEqual(record.read(["write_date", "report_date"]), before)

    def test_numbers_move_until_they_rest(self):
        campaign = self.send(type="regular", subject="News", title="November")
        self.push("stats")
        record = self.env["crm.mailchimp.campaign"].search([])
        self.assertEqual(record.opens_unique, 0)
        self.audience.open(campaign, "c1@firma.be")
        self.push("stats")
        self.assertEqual(record.opens_unique, 1)
