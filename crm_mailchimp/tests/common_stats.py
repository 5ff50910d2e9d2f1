"""Campaigns sent to some contacts, and what Odoo knows of them."""

from .common import MailchimpCase


class StatsCase(MailchimpCase):
    # By default Mailchimp calculates the audience's rates only after a day.
    switches = {"list_stats_seconds": 0}
    contacts = 20

    def prepare(self):
        super().prepare()
        self.link()
        for number in range(self.contacts):
            self.contact(f"C{number}")
        self.push()

    def send(self, **values):
        values = {"subject": "News", "title": "November", **values}
        campaign = self.audience.add_campaign(**values)
        self.audience.send_campaign(campaign)
        return campaign

    def record(self, campaign):
        return self.env["crm.mailchimp.campaign"].search(
            [("campaign_ref", "=", campaign.id)]
        )
