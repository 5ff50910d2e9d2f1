from odoo.tests import RecordCapturer, tagged

from odoo.addons.crm_mailchimp.tests.common import long

from .common import WebsiteFormCase


@tagged("post_install", "-at_install")
class TestWebsiteTours(WebsiteFormCase):
    """An editor and a visitor, in a browser."""

    @long
    def test_an_editor_keeps_the_opt_in_and_a_visitor_ticks_it(self):
        # The step that waits for the editor allows 30 s: compiling what it loads takes
        # most of that on a busy machine.
        self.authenticate("admin", "admin")
        for name in ("website_builder_assets", "assets_inside_builder_iframe"):
            bundle = self.url_open(f"/web/bundle/website.{name}", timeout=120)
            for file in bundle.json():
                self.url_open(file["src"], timeout=120).raise_for_status()
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
