from odoo.tests import HttpCase, tagged

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

    def test_a_line_opens_its_contact(self):
        self.contact("Tour contact")
        self.tour(
            "/odoo/action-crm_mailchimp.action_crm_mailchimp_contact_status",
            "crm_mailchimp_contact_status",
        )

    def test_a_campaign(self):
        self.tour(
            "/odoo/action-crm_mailchimp.action_crm_mailchimp_campaign",
            "crm_mailchimp_campaign",
        )

    def test_a_contact(self):
        self.tour(
            f"/odoo/res.partner/{self.people['Leaves'].id}",
            "crm_mailchimp_contact_card",
        )

    def test_invalid_emails(self):
        self.tour("/odoo/crm", "crm_mailchimp_invalid_emails")
        self.assertEqual(self.people["Hard"].email, "new@firma.be")
