import json
import os
from pathlib import Path

from odoo.tests import HttpCase, new_test_user, tagged

from .common import long
from .test_engagement import MailingCase

AXE = os.environ.get("AXE")
# ``{name: (action or model, what shows that it is there)}``: lists, and forms.
LISTS = {
    "overview": ("overview", ".o_mailchimp_lists"),
    "campaigns": ("crm_mailchimp_campaign", ".o_list_view .o_data_row"),
    "opens and clicks": ("crm_mailchimp_recipient", ".o_list_view .o_data_row"),
    "segments": ("crm_mailchimp_segment", ".o_list_view .o_data_row"),
    "contacts": ("crm_mailchimp_contact_status", ".o_list_view .o_data_row"),
    "members": ("crm_mailchimp_member", ".o_list_view .o_data_row"),
    "invalid emails": ("crm_mailchimp_invalid_email", ".o_list_view .o_data_row"),
    "do-not-email list": ("crm_mailchimp_suppression", ".o_list_view .o_data_row"),
    "sync history": ("crm_mailchimp_run", ".o_list_view .o_data_row"),
    "saved filters": ("ir_filters", ".o_list_view .o_data_row"),
    "data shared": ("crm_mailchimp_disclosure", ".o_list_view .o_data_row"),
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
    ".o_select_menu",
    ".o_select_menu_toggler",
    ".o_progress",
    ".o_list_renderer .o-checkbox",
    ".o_tag",
    ".o-autocomplete--input",
    ".o_m2o_avatar",
    ".o_data_cell.o_boolean_toggle_cell",
    ".o_field_boolean_toggle",
    ".o_field_boolean",
    ".o_field_image",
    ".o_avatar",
]
CHECK = """
(async () => {
    const {action} = odoo.__WOWL_DEBUG__.root.env.services;
    const wait = (ms) => new Promise((done) => setTimeout(done, ms));
    // A page that fades in has colours it does not have once it is there.
    const still = document.createElement("style");
    still.textContent = "* {animation: none !important; transition: none !important}";
    document.head.append(still);
    // Until nothing was drawn for half a second.
    const settle = () =>
        new Promise((done) => {
            let timer;
            const again = () => {
                clearTimeout(timer);
                timer = setTimeout(() => {
                    observer.disconnect();
                    done();
                }, 500);
            };
            const observer = new MutationObserver(again);
            observer.observe(document.body, {
                attributes: true,
                childList: true,
                subtree: true,
            });
            again();
        });
    const problems = [];
    for (const [name, target, ready] of %(screens)s) {
        // A dialog that is open, as before a page is left.
        await action.doAction({type: "ir.actions.act_window_close"});
        if (target) {
            await action.doAction(target, {clearBreadcrumbs: true});
        }
        for (let tries = 0; !document.querySelector(ready); tries++) {
            if (tries > 100) {
                throw new Error(`${name} does not show ${ready}`);
            }
            await wait(200);
        }
        await settle();
        const page = document.querySelector(".o_notebook .nav-link[name=mailchimp]");
        if (page) {
            page.click();
            await settle();
        }
        const shown = document.querySelector(".modal") ? ".modal" : ".o_action_manager";
        const {violations} = await axe.run({include: [[shown]], exclude: %(core)s}, {
            resultTypes: ["violations"],
            runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"],
        });
        for (const {id, impact, nodes} of violations) {
            if (["serious", "critical"].includes(impact)) {
                for (const {html} of nodes) {
                    problems.push(`${name}: ${id}: ${html.slice(0, 300)}`);
                }
            }
        }
    }
    if (problems.length) {
        throw new Error(problems.join("\\n"));
    }
})().then(
    () => console.log("test successful"),
    (error) => console.error(String(error))
);
"""


@long
@tagged("post_install", "-at_install")
class TestAccessibility(MailingCase, HttpCase):
    """axe finds nothing serious on our screens."""

    def prepare(self):
        if not AXE or not Path(AXE).exists():
            self.skipTest("axe-core is not there: it comes with npm.")
        super().prepare()
        self.flag("Everybody", "[]")
        self.audience.clean("hard@firma.be")
        self.push()
        self.axe = Path(AXE).read_text()

    def check(self, screens, login="admin"):
        """Show screens one after another, and let axe look at each.

        :param screens: list of ``(name, action, selector)``; without an action the page
            is looked at as it opens
        """
        self.env.flush_all()
        code = CHECK % {
            "screens": json.dumps(screens),
            "core": json.dumps([[selector] for selector in CORE]),
        }
        self.browser_js(
            "/odoo/mailing-overview",
            f"{self.axe}\n;{code}",
            ready="!!document.querySelector('.o_mailchimp_overview')",
            login=login,
            timeout=300,
        )

    def test_every_screen(self):
        forms = {
            "campaign": self.env["crm.mailchimp.campaign"].search([], limit=1),
            "segment": self.account.segment_ids[:1],
            "member": self.ledger("open@firma.be"),
            "sync": self.account.last_run_id,
            "account": self.account,
            "contact": self.people["Leaves"],
        }
        screens = [
            (name, f"crm_mailchimp.action_{target}", ready)
            if target.startswith(("crm", "ir"))
            else (name, False, ready)
            for name, (target, ready) in LISTS.items()
        ]
        screens += [
            (
                name,
                {
                    "type": "ir.actions.act_window",
                    "res_model": record._name,
                    "res_id": record.id,
                    "views": [[False, "form"]],
                },
                ".o_form_view .o_form_sheet",
            )
            for name, record in forms.items()
        ]
        self.check(screens)

    def test_every_dialog(self):
        # Nobody reads what somebody else was asked.
        env = self.env(user=self.env.ref("base.user_admin"))
        account = self.account.with_env(env)
        contact = self.people["Open"].with_env(env)
        other = self.simulator.add_audience("Other")
        member = other.add_member("never@firma.be")
        member.timestamp_opt = member.timestamp_signup = self.simulator.clock.now() - 9
        self.people["Never"].mailchimp_opt_in = False
        Choose = env["crm.mailchimp.choose.audience"]
        choose, confirm = Choose.create([{"account_id": account.id}] * 2)
        confirm.line_id = confirm.line_ids.filtered(
            lambda line: line.audience_ref == other.id
        )
        question = confirm.action_link()
        self.assertTrue(confirm.opted_out_ids)
        dialogs = {
            "add tags": contact.action_mailchimp_add_tag(),
            "erase": contact.action_mailchimp_erase(),
            "correct addresses": env["crm.mailchimp.invalid.email"]
            .search([])
            .action_correct(),
            "connect": account.action_setup_connect(),
            "choose an audience": choose._reopen(),
            "confirm an audience": question,
            "create an audience": account.action_create_audience(),
            "restore": {
                "type": "ir.actions.act_window",
                "res_model": "crm.mailchimp.restore",
                "target": "new",
            },
        }
        self.check(
            [
                (name, {"views": [[False, "form"]], **action}, ".modal .o_form_view")
                for name, action in dialogs.items()
            ]
        )

    def test_the_set_up(self):
        self.account.active = False
        self.check([("set-up", False, ".o_mailchimp_setup li")])

    def test_the_overview_of_a_salesperson(self):
        sam = new_test_user(self.env, "sam", groups="sales_team.group_sale_salesman")
        for person in self.people.values():
            person.user_id = sam
        self.check([("own contacts", False, ".o_mailchimp_mine")], "sam")
