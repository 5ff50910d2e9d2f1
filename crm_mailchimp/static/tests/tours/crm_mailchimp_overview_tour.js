import {registry} from "@web/core/registry";

const openOverview = () => [
    {trigger: "[data-menu-xmlid='crm_mailchimp.crm_mailchimp_menu']", run: "click"},
    {
        trigger: "[data-menu-xmlid='crm_mailchimp.crm_mailchimp_menu_overview']",
        run: "click",
    },
];
const backToOverview = () => [
    {trigger: ".o_breadcrumb .o_back_button, .breadcrumb-item a", run: "click"},
    {trigger: ".o_mailchimp_overview"},
];

registry.category("web_tour.tours").add("crm_mailchimp_overview", {
    steps: () => [
        ...openOverview(),
        {
            content: "The last 90 days have one campaign",
            trigger:
                ".o_mailchimp_overview [data-figure=campaigns] .fw-bold:contains(/^1$/)",
        },
        {trigger: "[data-figure=open_rate] .fw-bold:contains(/^40/)"},
        {content: "Charts are drawn", trigger: ".o_mailchimp_overview canvas"},
        {
            content: "Of all time there are two",
            trigger: "[data-period=all]",
            run: "click",
        },
        {trigger: "[data-figure=campaigns] .fw-bold:contains(/^2$/)"},
        {trigger: "[data-figure=open_rate] .fw-bold:contains(/^30/)"},
        {trigger: "[data-ranking=best] button:first:contains(Tour new)"},
        {trigger: "[data-figure=unsubscribed]", run: "click"},
        {trigger: ".o_list_view .o_data_row:contains(Tour old)"},
        ...backToOverview(),
        {
            content: "The period is the one chosen before",
            trigger: "[data-period=all].active",
        },
        {
            trigger: ".o_mailchimp_statuses [data-key=subscribed]:contains(1)",
            run: "click",
        },
        {trigger: ".o_list_view .o_data_row:contains(tour@firma.be)"},
        ...backToOverview(),
        {trigger: ".o_mailchimp_runs", run: "click"},
        {trigger: ".o_list_view, .o_view_nocontent"},
    ],
});

registry.category("web_tour.tours").add("crm_mailchimp_overview_empty", {
    steps: () => [
        ...openOverview(),
        {
            trigger: ".o_mailchimp_overview [data-step=connect] .btn-primary",
            run: "click",
        },
        {trigger: ".modal .o_field_widget[name=api_key]"},
    ],
});
