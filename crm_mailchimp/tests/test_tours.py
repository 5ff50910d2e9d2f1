from odoo.tests import HttpCase, tagged

from .common import long

OFFERED = """
(async () => {
    const shown = async (selector) => {
        for (let tries = 0; !document.querySelector(selector); tries++) {
            if (tries > 100) {
                throw new Error(`${selector} does not show`);
            }
            await new Promise((done) => setTimeout(done, 100));
        }
        return document.querySelector(selector);
    };
    (await shown(".o_searchview_dropdown_toggler")).click();
    (await shown(".o_add_favorite")).click();
    await shown(".o_favorite_menu .o_save_favorite");
    const box = document.querySelector(".o_favorite_menu .o_mailchimp_sync");
    const offered = Boolean(box);
    if (offered !== %s) {
        throw new Error(`Sync to Mailchimp is offered: ${offered}`);
    }
})().then(
    () => console.log("test successful"),
    (error) => console.error(String(error))
);
"""


@tagged("post_install", "-at_install")
class TestTours(HttpCase):
    """What people click, in a browser."""

    @long
    def test_tick_the_opt_in(self):
        partner = self.env["res.partner"].create(
            {"name": "Tour contact", "email": "tour@firma.be"}
        )
        self.start_tour(
            f"/odoo/res.partner/{partner.id}", "crm_mailchimp_opt_in", login="admin"
        )
        self.assertTrue(partner.mailchimp_opt_in)
        self.assertEqual(partner.mailchimp_consent_ids.kind, "in")

    @long
    def test_flag_a_filter_while_saving_it(self):
        self.start_tour("/odoo/contacts", "crm_mailchimp_flag_filter", login="admin")
        record = self.env["ir.filters"].search([("name", "=", "Tour filter")])
        self.assertTrue(record.mailchimp_sync)
        self.assertEqual(record.mailchimp_owner_id, self.env.ref("base.user_admin"))

    @long
    def test_a_filter_can_be_flagged_wherever_records_have_a_contact(self):
        for model, has_contact in (("res.partner.bank", True), ("res.country", False)):
            action = self.env["ir.actions.act_window"].create(
                {"name": model, "res_model": model, "view_mode": "list"}
            )
            with self.subTest(model=model):
                self.browser_js(
                    f"/odoo/action-{action.id}",
                    OFFERED % ("true" if has_contact else "false"),
                    ready="!!document.querySelector('.o_searchview_dropdown_toggler')",
                    login="admin",
                )

    def test_every_menu_opens(self):
        self.env["crm.mailchimp.account"].search([]).active = False
        self.start_tour("/odoo/crm", "crm_mailchimp_menus", login="admin")
