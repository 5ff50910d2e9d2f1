import {registry} from "@web/core/registry";

const KEY = "0123456789abcdef0123456789abcdef-us21";
const MOST_CLICKS = 8;

registry.category("web_tour.tours").add("crm_mailchimp_guided_start", {
    steps: () => {
        const steps = [
            {
                trigger: "[data-menu-xmlid='crm_mailchimp.crm_mailchimp_menu']",
                run: "click",
            },
            {
                trigger:
                    "[data-menu-xmlid='crm_mailchimp.crm_mailchimp_menu_overview']",
                run: "click",
            },
            {
                content: "What to do now is the key",
                trigger: "[data-step=connect][data-state=next] .btn-primary",
                run: "click",
            },
            {trigger: ".modal [name=api_key] input", run: `edit ${KEY}`},
            {trigger: ".modal footer [name=action_setup_key]", run: "click"},
            {
                content: "The only audience is chosen already",
                trigger: ".modal [name=line_id] input:checked",
            },
            {trigger: ".modal footer [name=action_link]", run: "click"},
            {trigger: "[data-step=audience][data-state=done]"},
            {
                content: "Live counts, in any language",
                trigger: "[data-step=contacts]:contains(: 1)",
            },
            {
                trigger: "[data-step=start][data-state=next] .btn-primary",
                run: "click",
            },
            {trigger: "[data-step=start][data-state=busy]"},
        ];
        const clicks = steps.filter(({run}) => run === "click").length;
        if (clicks > MOST_CLICKS) {
            throw new Error(`${clicks} clicks are more than ${MOST_CLICKS}`);
        }
        return steps;
    },
});

registry.category("web_tour.tours").add("crm_mailchimp_empty_screen", {
    steps: () => [
        {
            content: "What is true, and one button",
            trigger: ".o_view_nocontent:contains(for the linked audience) a.btn",
            run: "click",
        },
        {trigger: ".o_mailchimp_overview [data-step=connect][data-state=next]"},
    ],
});

registry.category("web_tour.tours").add("crm_mailchimp_add_tag", {
    steps: () => [
        {trigger: ".o_form_view .o_cp_action_menus button", run: "click"},
        {trigger: ".o-dropdown-item:contains(Add Mailchimp tags)", run: "click"},
        {trigger: ".modal [name=name] input", run: "edit VIP"},
        {trigger: ".modal footer [name=action_add]", run: "click"},
        {trigger: ".o_notification:contains(adds the tags)"},
        {content: "The dialog is gone", trigger: "body:not(:has(.modal))"},
    ],
});

const pick = (address) => ({
    trigger: `.o_data_row:contains(${address}) .o_list_record_selector input`,
    run: "click",
});

registry.category("web_tour.tours").add("crm_mailchimp_member_buttons", {
    steps: () => [
        pick("open@firma.be"),
        {
            content: "Nothing can be done with a member of ours here",
            trigger:
                ".o_control_panel:has(.o_selection_box):not(:has([name=action_archive_foreign], [name=action_ask_again], [name=action_bring_back]))",
        },
        {trigger: ".o_unselect_all", run: "click"},
        {trigger: ".o_searchview_dropdown_toggler", run: "click"},
        {
            trigger:
                ".o_filter_menu .o_menu_item:contains(Only in Mailchimp, awaiting a decision)",
            run: "click",
        },
        {trigger: ".o_searchview_facet:contains(awaiting a decision)"},
        {trigger: "body:not(:has(.o_data_row:contains(open@firma.be)))"},
        pick("foreign@firma.be"),
        {
            trigger: ".o_control_panel [name=action_archive_foreign]",
            run: "click",
        },
        {trigger: ".modal footer .btn-primary", run: "click"},
        {trigger: ".o_notification:contains(Members to archive)"},
    ],
});

registry.category("web_tour.tours").add("crm_mailchimp_group_names", {
    steps: () => [
        {trigger: ".o_searchview_dropdown_toggler", run: "click"},
        {
            trigger: ".o_group_by_menu .o_menu_item:contains(Rejection reason)",
            run: "click",
        },
        {trigger: ".o_group_name:contains(Not refused)"},
        {
            trigger: ".o_group_by_menu .o_menu_item:contains(Rejection reason)",
            run: "click",
        },
        {trigger: "body:not(:has(.o_group_name))"},
        {
            trigger: ".o_group_by_menu .o_menu_item:contains(Reason for leaving)",
            run: "click",
        },
        {trigger: ".o_group_name:contains(No reason in Odoo)"},
    ],
});

registry.category("web_tour.tours").add("crm_mailchimp_ask_again", {
    steps: () => [
        {trigger: ".o_notebook .nav-link[name=mailchimp]", run: "click"},
        {trigger: ".o_mailchimp_card button:contains(Ask again)", run: "click"},
        {trigger: ".o_notification:contains(will ask to confirm)"},
    ],
});

registry.category("web_tour.tours").add("crm_mailchimp_pause", {
    steps: () => [
        {trigger: ".o_mailchimp_standing:contains(Everything is running smoothly)"},
        {trigger: "button[name=action_pause]", run: "click"},
        {trigger: ".modal footer .btn-primary", run: "click"},
        {trigger: ".alert:contains(Paused: no contacts)"},
        {
            trigger: "button[name=action_sync_now]:contains(Resume)",
            run: "click",
        },
        {trigger: "button[name=action_pause]"},
    ],
});
