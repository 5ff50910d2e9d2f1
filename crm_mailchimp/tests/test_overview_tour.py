from odoo import fields
from odoo.tests import HttpCase, tagged

from .common import long


@tagged("post_install", "-at_install")
class TestOverviewTour(HttpCase):
    """The page Overview in a browser."""

    def setUp(self):
        super().setUp()
        Account = self.env["crm.mailchimp.account"]
        Account.search([]).active = False
        self.admin = self.env.ref("base.user_admin")
        self.admin.company_id = self.env.company

    @long
    def test_figures_lead_to_lists(self):
        account = self.env["crm.mailchimp.account"].create(
            {
                "name": "Tour",
                "company_id": self.env.company.id,
                "state": "linked",
                "audience_ref": "abc",
                "audience_name": "Tour audience",
            }
        )
        now = fields.Datetime.now()
        for name, days, rate in (("Tour new", 5, 0.4), ("Tour old", 200, 0.2)):
            self.env["crm.mailchimp.campaign"].create(
                {
                    "name": name,
                    "account_id": account.id,
                    "campaign_ref": name,
                    "campaign_type": "regular",
                    "status": "sent",
                    "send_time": fields.Datetime.subtract(now, days=days),
                    "sent": 100,
                    "delivered": 100,
                    "open_rate": rate,
                    "opens_unique": rate * 100,
                    "unsubscribed": days // 5,
                }
            )
        self.env["crm.mailchimp.member"].create(
            {
                "account_id": account.id,
                "email_normalized": "tour@firma.be",
                "status": "subscribed",
                "subscribed_at": now,
            }
        )
        self.start_tour("/odoo/crm", "crm_mailchimp_overview", login="admin")

    @long
    def test_without_account_it_says_what_to_do(self):
        self.start_tour("/odoo/crm", "crm_mailchimp_overview_empty", login="admin")
