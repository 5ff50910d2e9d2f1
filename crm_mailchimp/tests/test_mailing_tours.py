from odoo.tests import HttpCase, tagged

from .test_engagement import MailingCase


@tagged("post_install", "-at_install")
class TestMailingTours(MailingCase, HttpCase):
    """The screens of mailing data, in a browser."""

    def tour(self, url, name):
        self.env.flush_all()
        self.start_tour(url, name, login="admin")
        self.env.invalidate_all()

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
