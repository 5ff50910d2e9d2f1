from odoo.tests import RecordCapturer, tagged

from .common import WebsiteFormCase


@tagged("post_install", "-at_install")
class TestWebsiteTours(WebsiteFormCase):
    """An editor and a visitor, in a browser."""

    def test_an_editor_keeps_the_opt_in_and_a_visitor_ticks_it(self):
        url = self.website.get_client_action_url("/contactus")
        self.start_tour(url, "crm_mailchimp_website_editor", login="admin")
        with RecordCapturer(self.env["crm.lead"]) as leads:
            self.start_tour("/contactus", "crm_mailchimp_website_visitor")
        lead = leads.records
        self.assertTrue(lead.mailchimp_opt_in)
        self.assertEqual(
            lead.mailchimp_opt_in_note,
            "/contactus: “Yes, send me news and offers by email. I can unsubscribe at"
            " any time.”",
        )
        self.assertEqual(lead.mailchimp_opt_in_page, "/contactus")
