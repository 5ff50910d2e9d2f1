from odoo.tests import HttpCase, tagged


@tagged("post_install", "-at_install")
class TestGuide(HttpCase):
    """The guide is read inside Odoo, without internet."""

    def open_guide(self, page):
        return self.url_open(f"/crm_mailchimp/guide/{page}")

    def test_in_the_language_of_the_user(self):
        self.env["res.lang"]._activate_lang("nl_NL")
        self.env.ref("base.user_admin").lang = "nl_NL"
        self.authenticate("admin", "admin")
        reply = self.open_guide("setup")
        self.assertEqual(reply.status_code, 200)
        self.assertTrue(reply.url.endswith("/static/guide/nl/setup.html"), reply.url)
        self.assertIn("Instellen", reply.text)

    def test_in_english_where_there_is_no_translation(self):
        self.env["res.lang"]._activate_lang("nl_NL")
        self.env.ref("base.user_admin").lang = "nl_NL"
        self.authenticate("admin", "admin")
        reply = self.open_guide("limits")
        self.assertTrue(reply.url.endswith("/static/guide/limits.html"), reply.url)

    def test_the_index_for_a_page_that_is_not_there(self):
        self.authenticate("admin", "admin")
        for page in ("unknown", "..%2f..%2f__manifest__", "nl"):
            reply = self.open_guide(page)
            self.assertTrue(
                reply.status_code == 404 or reply.url.endswith("/guide/index.html"),
                reply.url,
            )

    def test_each_reason_leads_to_its_place(self):
        lines = self.env["crm.mailchimp.contact.status"].new({"reason": "cleaned"})
        self.assertEqual(
            lines.guide_url, "/crm_mailchimp/guide/troubleshooting#cleaned"
        )
        lines.reason = False
        self.assertFalse(lines.guide_url)
