from datetime import timedelta

from odoo import fields
from odoo.tests import HttpCase, tagged

from .common import long
from .test_engagement import MailingCase


@tagged("post_install", "-at_install")
class TestMailingTours(MailingCase, HttpCase):
    """The screens of mailing data, in a browser."""

    def tour(self, url, name):
        self.env.flush_all()
        self.start_tour(url, name, login="admin")
        self.env.invalidate_all()

    def test_lists_by_xmlrpc(self):
        """Its numbers have 32 bits, and those of a list are the same at every read."""
        self.flag("Everybody", "[]")
        self.push()
        self.env.flush_all()
        key = self.xmlrpc_common.login(self.env.cr.dbname, "admin", "admin")
        for model in ("contact.status", "segment.contact", "invalid.email"):
            call = (self.env.cr.dbname, key, "admin", f"crm.mailchimp.{model}")
            lines = self.xmlrpc_object.execute_kw(
                *call, "search_read", [[], ["partner_id"]]
            )
            self.assertTrue(lines, model)
            for line in lines[:3]:
                again = self.xmlrpc_object.execute_kw(
                    *call, "read", [[line["id"]], ["partner_id"]]
                )
                self.assertEqual(again, [line])

    @long
    def test_a_line_opens_its_contact(self):
        self.contact("Tour contact")
        self.tour(
            "/odoo/action-crm_mailchimp.action_crm_mailchimp_contact_status",
            "crm_mailchimp_contact_status",
        )

    @long
    def test_a_campaign(self):
        self.tour(
            "/odoo/action-crm_mailchimp.action_crm_mailchimp_campaign",
            "crm_mailchimp_campaign",
        )

    @long
    def test_the_calendar_opens_on_a_campaign(self):
        """The last one sent, the next one without any, today where there is one."""
        campaign = self.env["crm.mailchimp.campaign"].search([])
        url = "/odoo/action-crm_mailchimp.action_crm_mailchimp_campaign"
        now = fields.Datetime.now()
        for days in (-400, 0, 400):
            campaign.send_time = now + timedelta(days=days)
            self.tour(f"{url}?view_type=calendar", "crm_mailchimp_campaign_calendar")
        campaign.copy({"campaign_ref": "now", "name": "Today", "send_time": now})
        self.tour(f"{url}?view_type=calendar", "crm_mailchimp_campaign_calendar_today")

    @long
    def test_averages_of_campaigns(self):
        # One of one mail, that was opened: half of all campaigns, a fifth of all mails.
        small = self.audience.add_campaign(subject="Small", title="Small")
        self.audience.send_campaign(small, ["open@firma.be"])
        self.audience.open(small, "open@firma.be")
        self.push("stats")
        campaigns = self.env["crm.mailchimp.campaign"].search([])
        rates = {c.name: (c.delivered, c.open_rate) for c in campaigns}
        self.assertEqual(rates, {"November": (4, 0.25), "Small": (1, 1.0)})
        self.tour(
            "/odoo/action-crm_mailchimp.action_crm_mailchimp_campaign",
            "crm_mailchimp_campaign_averages",
        )

    def test_a_visit_by_mailchimps_own_mark(self):
        """Links have mc_cid even where nobody asked for Google Analytics."""
        ref = self.campaign.id

        def cookie(query):
            self.opener.cookies.clear()
            self.url_open(f"/web/login?{query}")
            return self.opener.cookies.get("odoo_utm_campaign")

        self.assertEqual(cookie(f"mc_cid={ref}&mc_eid=abc"), ref)
        self.assertEqual(cookie(f"mc_cid={ref}&utm_campaign=Own"), "Own")
        self.assertIsNone(cookie("mc_cid=<script>"))
        find = self.env["utm.mixin"]._find_or_create_record
        utm = find("utm.campaign", cookie(f"mc_cid={ref}"))
        lead = self.env["crm.lead"].create({"name": "L", "campaign_id": utm.id})
        record = self.env["crm.mailchimp.campaign"].search([])
        self.assertEqual(lead.search(record.action_open_leads()["domain"]), lead)

    @long
    def test_a_contact(self):
        self.tour(
            f"/odoo/res.partner/{self.people['Leaves'].id}",
            "crm_mailchimp_contact_card",
        )

    @long
    def test_invalid_emails(self):
        self.tour("/odoo/crm", "crm_mailchimp_invalid_emails")
        self.assertEqual(self.people["Hard"].email, "new@firma.be")
