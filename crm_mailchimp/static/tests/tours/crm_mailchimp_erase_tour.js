import {registry} from "@web/core/registry";

registry.category("web_tour.tours").add("crm_mailchimp_erase", {
    steps: () => [
        {
            content: "The actions of the contact",
            trigger: ".o_cp_action_menus .dropdown-toggle:has(.fa-cog)",
            run: "click",
        },
        {
            trigger: ".o-dropdown--menu .o_menu_item:contains(Erase in Mailchimp and here)",
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
        {trigger: ".o_notification:contains(Addresses erased)"},
    ],
});
