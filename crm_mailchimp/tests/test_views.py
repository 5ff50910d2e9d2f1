from odoo import Command
from odoo.tests import TransactionCase, tagged

MODELS = {
    "crm.mailchimp.account": ("list", "form"),
    "crm.mailchimp.campaign": ("list", "form", "graph", "pivot", "calendar"),
    "crm.mailchimp.contact.status": ("list", "kanban", "search"),
    "crm.mailchimp.member": ("list", "form", "search"),
    "crm.mailchimp.recipient": ("list", "form", "search"),
    "crm.mailchimp.invalid.email": ("list", "kanban", "search"),
    "crm.mailchimp.segment.contact": ("list", "search"),
    "crm.mailchimp.preview.line": ("list", "search"),
    "crm.lead": ("form", "search"),
    "crm.mailchimp.run": ("list", "form", "search"),
    "crm.mailchimp.segment": ("list", "form", "search"),
    "crm.mailchimp.consent": ("list", "kanban", "search"),
    "res.partner": ("list", "form", "search"),
    "ir.filters": ("form",),
}


@tagged("post_install", "-at_install")
class TestViews(TransactionCase):
    """Every view loads for everybody who has it, and no one sees another's menus."""

    def user(self, group):
        return self.env["res.users"].create(
            {
                "name": group,
                "login": f"views-{group}",
                "group_ids": [Command.link(self.env.ref(group).id)],
            }
        )

    def test_views_and_menus(self):
        account_menu = self.env.ref("crm_mailchimp.crm_mailchimp_menu_account")
        mailing_menu = self.env.ref("crm_mailchimp.crm_mailchimp_menu")
        for group, has_account in (
            ("sales_team.group_sale_salesman", False),
            # They sync, preview and export there, and change nothing.
            ("crm_mailchimp.group_mailchimp_user", True),
            ("crm_mailchimp.group_mailchimp_manager", True),
        ):
            user = self.user(group)
            for model, kinds in MODELS.items():
                records = self.env[model].with_user(user)
                for kind in kinds:
                    self.assertTrue(records.get_view(view_type=kind)["arch"])
            visible = self.env["ir.ui.menu"].with_user(user)._visible_menu_ids()
            self.assertIn(mailing_menu.id, visible)
            self.assertEqual(account_menu.id in visible, has_account)

    def test_an_employee_without_sales_rights_sees_nothing(self):
        user = self.user("base.group_user")
        visible = self.env["ir.ui.menu"].with_user(user)._visible_menu_ids()
        self.assertNotIn(self.env.ref("crm_mailchimp.crm_mailchimp_menu").id, visible)
        arch = (
            self.env["res.partner"].with_user(user).get_view(view_type="form")["arch"]
        )
        self.assertNotIn("mailchimp_opt_in", arch)

    def test_contacts_stay_readable_and_writable_without_sales_rights(self):
        user = self.user("base.group_partner_manager")
        user.group_ids += self.env.ref("base.group_user")
        partner = self.env["res.partner"].create(
            {"name": "Ann", "email": "ann@firma.be", "mailchimp_opt_in": True}
        )
        records = partner.with_user(user)
        self.assertEqual(records.read()[0]["name"], "Ann")
        records.write({"city": "Ghent"})
        records.copy().unlink()
