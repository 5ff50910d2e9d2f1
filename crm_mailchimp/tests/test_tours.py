from odoo.tests import HttpCase, tagged


@tagged("post_install", "-at_install")
class TestTours(HttpCase):
    """What people click, in a browser."""

    def test_tick_the_opt_in(self):
        partner = self.env["res.partner"].create(
            {"name": "Tour contact", "email": "tour@firma.be"}
        )
        self.start_tour(
            f"/odoo/res.partner/{partner.id}", "crm_mailchimp_opt_in", login="admin"
        )
        self.assertTrue(partner.mailchimp_opt_in)
        self.assertEqual(partner.mailchimp_consent_ids.kind, "in")

    def test_flag_a_filter_while_saving_it(self):
        self.start_tour("/odoo/contacts", "crm_mailchimp_flag_filter", login="admin")
        record = self.env["ir.filters"].search([("name", "=", "Tour filter")])
        self.assertTrue(record.mailchimp_sync)
        self.assertEqual(record.mailchimp_owner_id, self.env.ref("base.user_admin"))

    def test_every_menu_opens(self):
        self.env["crm.mailchimp.account"].search([]).active = False
        self.start_tour("/odoo/crm", "crm_mailchimp_menus", login="admin")
