import {_t} from "@web/core/l10n/translation";
import {registry} from "@web/core/registry";

const tours = registry.category("web_tour.tours");
const SYNC = "crm_mailchimp.crm_mailchimp_menu_account";

// A search becomes a segment, and is sent from the top bar.
tours.add("crm_mailchimp_search_to_segment", {
    steps: () => [
        {trigger: ".o_searchview_input", run: "edit Tour"},
        {trigger: ".o_searchview_autocomplete .o-dropdown-item:first", run: "click"},
        {trigger: ".o_searchview_facet:contains(Tour)"},
        {trigger: ".o_searchview_dropdown_toggler", run: "click"},
        {trigger: ".o_add_favorite", run: "click"},
        {trigger: ".o_favorite_menu input.o_input", run: "edit Tour segment"},
        {trigger: ".o_favorite_menu .o_mailchimp_sync input", run: "click"},
        {trigger: ".o_favorite_menu .o_save_favorite", run: "click"},
        {
            content: "How many match, and how many are sent",
            trigger: ".o_notification:contains(Matching contacts: 2)",
        },
        {
            content: "The top bar starts it",
            trigger: ".o_mailchimp_systray button",
            run: "click",
        },
        {
            content: "... and shows that it goes on",
            trigger: ".o_mailchimp_systray .fa-spin",
        },
    ],
});

tours.add("crm_mailchimp_brake", {
    steps: () => [
        {
            content: "What would happen, and why",
            trigger: ".alert:contains(Companies only):contains(60)",
        },
        {trigger: ".alert [name=action_undo_scope]", run: "click"},
        {
            trigger: ".o_notification:contains(The change was undone)",
        },
    ],
});

tours.add("crm_mailchimp_new_key", {
    steps: () => [
        {trigger: ".alert-danger:contains(Create a new key)"},
        {
            trigger: ".o_field_widget[name=api_key] input",
            run: `edit ${"d".repeat(32)}-us21`,
        },
        {
            content: "The button saves the key before it tries it",
            trigger: "[name=action_reauthorize]",
            run: "click",
        },
        {trigger: ".o_notification:contains(Connected again)"},
        {trigger: "body:not(:has(.alert-danger:contains(Create a new key)))"},
    ],
});

tours.add("crm_mailchimp_salesperson", {
    steps: () => [
        {
            trigger: "[data-menu-xmlid='crm_mailchimp.crm_mailchimp_menu']",
            run: "click",
        },
        {
            content: "Daily work, and nothing to configure",
            trigger: `.o-dropdown--menu:not(:has([data-menu-xmlid='${SYNC}']))`,
        },
        {
            trigger: "[data-menu-xmlid='crm_mailchimp.crm_mailchimp_menu_overview']",
            run: "click",
        },
        {
            content: "What the own contacts did comes first",
            trigger: ".o_mailchimp_mine [data-mine=clicked] .fw-bold:contains(/^1$/)",
        },
        {trigger: "body:not(:has(.o_mailchimp_systray))"},
        {trigger: ".o_mailchimp_mine [data-mine=clicked]", run: "click"},
        {
            content: "Those of others are not in the list",
            trigger:
                ".o_list_view:has(.o_data_row:contains(click@firma.be)):not(:has(.o_data_row:contains(open@firma.be)))",
        },
        {trigger: ".o_searchview_facet:contains(My contacts)"},
    ],
});

tours.add("crm_mailchimp_salesperson_opt_in", {
    steps: () => [
        {trigger: ".o_form_view .o_field_widget[name=mailchimp_opt_in] input:checked"},
        {trigger: ".o_notebook .nav-link[name=mailchimp]", run: "click"},
        {
            content: "Why the contact is not in Mailchimp, without a button to sync",
            trigger: ".o_mailchimp_card:not(:has(button:contains(Ask again)))",
        },
    ],
});

tours.add("crm_mailchimp_several_opt_ins", {
    steps: () => [
        {trigger: ".o_list_view .o_data_row:contains(Several 1)"},
        {
            trigger: ".o_data_row:contains(Several 1) .o_list_record_selector input",
            run: "click",
        },
        {
            trigger: ".o_data_row:contains(Several 2) .o_list_record_selector input",
            run: "click",
        },
        {
            trigger: ".o_data_row:contains(Several 1) [name=mailchimp_opt_in] input",
            run: "click",
        },
        {trigger: ".modal footer .btn-primary", run: "click"},
        {trigger: "body:not(:has(.modal))"},
    ],
});

// The words of the page are those of the language it is in: what the server and the
// templates show is compared with the translations the browser has.
tours.add("crm_mailchimp_translated", {
    steps: () => [
        {
            trigger: ".o_mailchimp_setup h4",
            run() {
                const shown = document.querySelector(".o_mailchimp_setup h4");
                const wanted = _t("Set up Mailchimp").toString();
                if (shown.textContent.trim() !== wanted) {
                    throw new Error(`“${shown.textContent}” instead of “${wanted}”`);
                }
            },
        },
    ],
});
