import {registry} from "@web/core/registry";

registry.category("web_tour.tours").add("crm_mailchimp_campaign", {
    steps: () => [
        {trigger: ".o_data_cell:contains(November)", run: "click"},
        {
            content: "The figures of the campaign",
            trigger: ".o_mailchimp_figures .o_field_widget[name=sent]:contains(6)",
        },
        {content: "The first 24 hours", trigger: ".o_mailchimp_timeline canvas"},
        {
            content: "The link that was clicked",
            trigger: ".o_field_widget[name=link_ids] td:contains(firma.be/x)",
        },
        {
            content: "Who clicked",
            trigger: ".oe_stat_button:contains(Clicked)",
            run: "click",
        },
        {trigger: ".o_searchview_facet:contains(Clicked)"},
        {trigger: ".o_data_cell:contains(click@firma.be)", run: "click"},
        {
            content: "What the person did, and when",
            trigger: ".o_field_widget[name=event_ids] td:contains(Click)",
        },
    ],
});

registry.category("web_tour.tours").add("crm_mailchimp_campaign_averages", {
    steps: () => [
        {
            content: "Of all campaigns, by the mails that arrived",
            trigger: ".o_list_footer .o_list_number:contains(/^40%$/)",
        },
        {content: "Grouped", trigger: ".o_searchview_dropdown_toggler", run: "click"},
        {trigger: ".o_group_by_menu .o_menu_item:contains(Type)", run: "click"},
        {trigger: ".o_group_header .o_list_number:contains(/^40%$/)"},
        {trigger: ".o_list_footer .o_list_number:contains(/^40%$/)"},
    ],
});

registry.category("web_tour.tours").add("crm_mailchimp_campaign_calendar", {
    steps: () => [{trigger: ".o_calendar_view .fc-event:contains(November)"}],
});

registry.category("web_tour.tours").add("crm_mailchimp_campaign_calendar_today", {
    steps: () => [
        {trigger: ".o_calendar_view .fc-day-today"},
        {trigger: ".o_calendar_view:not(:has(.fc-event:contains(November)))"},
    ],
});

registry.category("web_tour.tours").add("crm_mailchimp_contact_card", {
    steps: () => [
        {trigger: ".oe_stat_button:contains(Campaigns)"},
        {trigger: ".o_notebook .nav-link[name=mailchimp]", run: "click"},
        {
            content: "Why the contact is not in Mailchimp",
            trigger: ".o_mailchimp_card strong:contains(Unsubscribed in Mailchimp)",
        },
        {trigger: ".o_mailchimp_campaign .badge:contains(Unsubscribed)"},
        {trigger: ".o_mailchimp_campaign:contains(November)", run: "click"},
        {
            trigger: ".o_field_widget[name=unsubscribe_reason]:contains(too many)",
        },
    ],
});

registry.category("web_tour.tours").add("crm_mailchimp_invalid_emails", {
    steps: () => [
        {
            trigger: "[data-menu-xmlid='crm_mailchimp.crm_mailchimp_menu']",
            run: "click",
        },
        {
            content: "The menu says how many there are",
            trigger:
                "[data-menu-xmlid='crm_mailchimp.crm_mailchimp_menu_invalid_email']:contains((1))",
            run: "click",
        },
        {
            trigger:
                ".o_data_row:contains(hard@firma.be) .o_list_record_selector input",
            run: "click",
        },
        {
            trigger: ".o_control_panel button[name=action_correct]",
            run: "click",
        },
        {
            trigger: ".modal .o_data_row td[name=new_email]",
            run: "click",
        },
        {
            trigger: ".modal .o_data_row td[name=new_email] input",
            run: "edit new@firma.be",
        },
        {trigger: ".modal footer button[name=action_correct]", run: "click"},
        {trigger: ".o_notification:contains(Addresses corrected: 1)"},
        {trigger: ".o_view_nocontent:contains(No invalid addresses)"},
    ],
});
