import json
import os
from pathlib import Path

from odoo.tests import HttpCase, new_test_user, tagged

from .test_engagement import MailingCase

AXE = os.environ.get("AXE")
ACTION = "/odoo/action-crm_mailchimp.action_"
SCREENS = {
    "overview": ("/odoo/mailing-overview", ".o_mailchimp_lists"),
    "campaigns": (f"{ACTION}crm_mailchimp_campaign", ".o_list_view .o_data_row"),
    "campaign": (
        f"{ACTION}crm_mailchimp_campaign/%(campaign)s",
        ".o_mailchimp_figures",
    ),
    "opens and clicks": (f"{ACTION}crm_mailchimp_recipient", ".o_data_row"),
    "segments": (f"{ACTION}crm_mailchimp_segment", ".o_list_view .o_data_row"),
    "segment": (f"{ACTION}crm_mailchimp_segment/%(segment)s", ".o_form_sheet"),
    "contacts": (f"{ACTION}crm_mailchimp_contact_status", ".o_data_row"),
    "members": (f"{ACTION}crm_mailchimp_member", ".o_list_view .o_data_row"),
    "member": (f"{ACTION}crm_mailchimp_member/%(member)s", ".o_form_sheet"),
    "invalid emails": (f"{ACTION}crm_mailchimp_invalid_email", ".o_list_view"),
    "do-not-email list": (f"{ACTION}crm_mailchimp_suppression", ".o_data_row"),
    "sync history": (f"{ACTION}crm_mailchimp_run", ".o_list_view .o_data_row"),
    "sync": (f"{ACTION}crm_mailchimp_run/%(run)s", ".o_form_sheet"),
    "saved filters": (f"{ACTION}ir_filters", ".o_list_view .o_data_row"),
    "account": (f"{ACTION}crm_mailchimp_account/%(account)s", ".o_form_sheet"),
    "data shared": (f"{ACTION}crm_mailchimp_disclosure", ".o_data_row"),
    "contact": ("/odoo/res.partner/%(partner)s", ".o_form_sheet"),
}
# What Odoo's own parts put on a page is not looked at.
CORE = [
    ".o_control_panel",
    ".o-mail-Form-chatter",
    ".o-mail-Chatter",
    ".o_notebook_headers",
    ".o_optional_columns_dropdown",
    ".o_list_actions_header",
    ".o_list_record_selector",
    ".o_field_badge",
    ".o_field_domain",
    ".o_statusbar_status",
    ".o_select_menu_toggler",
    ".o-autocomplete--input",
    ".o_m2o_avatar",
    ".o_data_cell.o_boolean_toggle_cell",
    ".o_field_boolean_toggle",
    ".o_field_boolean",
    ".o_field_image",
    ".o_avatar",
]
CHECK = """
const screen = %(screen)s;
for (const tab of document.querySelectorAll(".o_notebook .nav-link[name=mailchimp]")) {
    tab.click();
}
new Promise((done) => setTimeout(done, 800))
    .then(() => axe.run(%(context)s, {
        resultTypes: ["violations"],
        runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"],
    }))
    .then(({violations}) => {
        const found = violations
            .filter(({impact}) => ["serious", "critical"].includes(impact))
            .flatMap(({id, nodes}) =>
                nodes.map(({html}) => `${id}: ${html.slice(0, 300)}`)
            );
        if (found.length) {
            console.error(`${screen}: ${found.join("\\n")}`);
        } else {
            console.log("test successful");
        }
    })
    .catch((error) => console.error(`${screen}: ${error}`));
"""


@tagged("post_install", "-at_install")
class TestAccessibility(MailingCase, HttpCase):
    """axe finds nothing serious on our screens."""

    def setUp(self):
        super().setUp()
        if not AXE or not Path(AXE).exists():
            self.skipTest("axe-core is not there: it comes with npm.")
        self.flag("Everybody", "[]")
        self.audience.clean("hard@firma.be")
        self.push()
        self.axe = Path(AXE).read_text()

    def check(self, screens, login="admin"):
        self.env.flush_all()
        ids = {
            "campaign": self.env["crm.mailchimp.campaign"].search([], limit=1).id,
            "segment": self.account.segment_ids[:1].id,
            "member": self.ledger("open@firma.be").id,
            "run": self.account.last_run_id.id,
            "account": self.account.id,
            "partner": self.people["Leaves"].id,
        }
        for name, (url, ready) in screens.items():
            code = CHECK % {
                "screen": json.dumps(name),
                "context": json.dumps(
                    {
                        "include": [[".o_action_manager"]],
                        "exclude": [[selector] for selector in CORE],
                    }
                ),
            }
            with self.subTest(screen=name):
                self.browser_js(
                    url % ids,
                    f"{self.axe}\n;{code}",
                    ready=f"!!document.querySelector({json.dumps(ready)})",
                    login=login,
                )

    def test_every_screen(self):
        self.check(SCREENS)

    def test_the_set_up(self):
        self.account.active = False
        self.check({"set-up": ("/odoo/mailing-overview", ".o_mailchimp_setup li")})

    def test_the_overview_of_a_salesperson(self):
        sam = new_test_user(self.env, "sam", groups="sales_team.group_sale_salesman")
        for person in self.people.values():
            person.user_id = sam
        self.check(
            {"own contacts": ("/odoo/mailing-overview", ".o_mailchimp_mine")}, "sam"
        )
