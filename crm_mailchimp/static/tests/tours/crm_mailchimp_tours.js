import {registry} from "@web/core/registry";

registry.category("web_tour.tours").add("crm_mailchimp_opt_in", {
    steps: () => [
        {
            content: "Tick the opt-in",
            trigger: ".o_form_view .o_field_widget[name=mailchimp_opt_in] input",
            run: "click",
        },
        {trigger: ".o_form_button_save:visible", run: "click"},
        {
            content: "Open the marketing page",
            trigger: ".o_notebook .nav-link[name=mailchimp]",
            run: "click",
        },
        {
            content: "The consent line is there",
            trigger: ".o_mailchimp_card .badge:contains(Opt-in)",
        },
    ],
});

registry.category("web_tour.tours").add("crm_mailchimp_flag_filter", {
    steps: () => [
        {trigger: ".o_searchview_dropdown_toggler", run: "click"},
        {trigger: ".o_add_favorite", run: "click"},
        {trigger: ".o_favorite_menu input.o_input", run: "edit Tour filter"},
        {
            content: "Tick the flag",
            trigger: ".o_favorite_menu .o_mailchimp_sync input",
            run: "click",
        },
        {trigger: ".o_favorite_menu .o_save_favorite", run: "click"},
        {trigger: ".o_searchview_facet:contains(Tour filter)"},
    ],
});

registry.category("web_tour.tours").add("crm_mailchimp_menus", {
    steps: () =>
        [
            ["overview", ".o_mailchimp_overview"],
            ["campaign", ".o_list_view"],
            ["member", ".o_list_view"],
            ["contact_status", ".o_list_view"],
            ["segment", ".o_list_view"],
            ["run", ".o_list_view"],
            ["account", ".o_list_view"],
        ].flatMap(([name, page]) => [
            {
                trigger: "[data-menu-xmlid='crm_mailchimp.crm_mailchimp_menu']",
                run: "click",
            },
            {
                trigger: `[data-menu-xmlid='crm_mailchimp.crm_mailchimp_menu_${name}']`,
                run: "click",
            },
            {trigger: page},
        ]),
});

registry.category("web_tour.tours").add("crm_mailchimp_contact_status", {
    steps: () => [
        {
            content: "A line opens its contact",
            trigger: ".o_data_cell:contains(Tour contact)",
            run: "click",
        },
        {trigger: ".o_form_view .o_field_widget[name=mailchimp_opt_in]"},
    ],
});
