import {registry} from "@web/core/registry";

registry.category("web_tour.tours").add("crm_mailchimp_erase", {
    steps: () => [
        {
            content: "The actions of the contact",
            trigger: ".o_form_view .o_cp_action_menus button",
            run: "click",
        },
        {
            trigger: ".o-dropdown-item:contains(Erase in Mailchimp and Odoo)",
            run: "click",
        },
        {
            content: "It says what happens, and knows the address",
            trigger: ".modal .o_field_widget[name=addresses] textarea",
        },
        {trigger: ".modal .alert:contains(The contact stays)"},
        {
            content: "For good, in Mailchimp: a warning of its own",
            trigger: ".modal .o_field_widget[name=in_mailchimp] input",
            run: "click",
        },
        {
            trigger: ".modal .alert-danger:contains(cannot be undone)",
        },
        {
            trigger: ".modal .o_field_widget[name=in_mailchimp] input",
            run: "click",
        },
        {trigger: ".modal button[name=action_erase]", run: "click"},
        {
            content: "It is asked once more",
            trigger: ".modal:contains(cannot be brought back) .btn-primary",
            run: "click",
        },
        {trigger: ".o_notification:contains(Addresses to be erased)"},
    ],
});

registry.category("web_tour.tours").add("crm_mailchimp_webhook", {
    steps: () => [
        {
            content: "Both ends of the way can be tested",
            trigger: "button[name=action_test_webhook]",
            run: "click",
        },
        {trigger: ".o_notification .bg-success, .o_notification.border-success"},
        {
            content: "Deliveries arrive",
            trigger: "button[name=action_open_deliveries]",
            run: "click",
        },
        {
            content: "What Mailchimp told, and what came of it",
            trigger:
                ".o_data_row:contains(ann@firma.be):contains(Changes read) .o_data_cell",
            run: "click",
        },
        {trigger: ".o_form_view .o_field_widget[name=kind]:contains(unsubscribe)"},
    ],
});

registry.category("web_tour.tours").add("crm_mailchimp_restore", {
    steps: () => [
        {
            content: "The latest archive is chosen",
            trigger: ".modal .o_field_widget[name=archive]",
        },
        {trigger: ".modal button[name=action_preview]", run: "click"},
        {
            content: "What it would bring back",
            trigger: ".modal .o_field_widget[name=preview] td:contains(Consent lines)",
        },
        {trigger: ".modal button[name=action_restore]", run: "click"},
        {trigger: ".o_notification:contains(is here already)"},
    ],
});

registry.category("web_tour.tours").add("crm_mailchimp_hostile", {
    steps: () => [
        {
            content: "Markup in a title is text",
            trigger: ".o_form_view:contains(onerror)",
        },
        {
            content: "A link that would run something is none",
            trigger: ".o_field_widget[name=link_ids] a:contains(javascript)",
            run() {
                if (!this.anchor.getAttribute("href").startsWith("http://")) {
                    console.error(`The link leads to ${this.anchor.href}`);
                }
                if (document.querySelector("img[src=x]")) {
                    console.error("A title became an image");
                }
            },
        },
    ],
});
