from ast import literal_eval

from odoo.tests import tagged

from .common import MailchimpCase


@tagged("post_install", "-at_install")
class TestSavedFilters(MailchimpCase):
    """The list of saved filters: what can be flagged, and what became of it."""

    def test_the_list(self):
        self.link()
        self.contact("Corp", is_company=True)
        admin = self.env.ref("base.user_admin")
        country = self.env["ir.filters"].create(
            {"name": "No contact", "model_id": "res.country"}
        )
        companies = self.env.ref("crm_mailchimp.filter_companies").with_user(admin)
        self.assertFalse(companies.mailchimp_sync)
        action = self.env["ir.actions.act_window"]._for_xml_id(
            "crm_mailchimp.action_ir_filters"
        )
        found = (
            self.env["ir.filters"]
            .with_user(admin)
            .search(literal_eval(action["domain"]))
        )
        self.assertIn(companies, found)
        self.assertNotIn(country, found)
        companies.mailchimp_sync = True
        self.push()
        self.assertEqual(
            companies.mailchimp_matching_count,
            self.env["res.partner"].search_count([("is_company", "=", True)]),
        )
        opened = companies.action_mailchimp_open_segment()
        segment = self.env[opened["res_model"]].browse(opened["res_id"])
        self.assertEqual(segment.filter_id, companies)
