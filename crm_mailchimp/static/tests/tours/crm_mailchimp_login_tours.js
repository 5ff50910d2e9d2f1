import {registry} from "@web/core/registry";

const tours = registry.category("web_tour.tours");
const KEY_OF_ANOTHER = "00000000000000000000000000000007-us21";

tours.add("crm_mailchimp_guided_login", {
    steps: () => [
        {
            trigger: "[data-menu-xmlid='crm_mailchimp.crm_mailchimp_menu']",
            run: "click",
        },
        {
            trigger: "[data-menu-xmlid='crm_mailchimp.crm_mailchimp_menu_overview']",
            run: "click",
        },
        {
            trigger: "[data-step=connect][data-state=next] .btn-primary",
            run: "click",
        },
        {
            content: "Through Mailchimp's page and back",
            trigger: ".modal [name=action_setup_login]",
            run: "click",
            expectUnloadPage: true,
        },
        {trigger: "[data-step=connect][data-state=done]"},
        {
            trigger: "[data-step=audience][data-state=next] .btn-primary",
            run: "click",
        },
        {trigger: ".modal [name=line_id] input:checked"},
        {trigger: ".modal footer [name=action_link]", run: "click"},
        {trigger: "[data-step=audience][data-state=done]"},
    ],
});

const refused = (words) => () => [
    {
        trigger: ".o_form_statusbar [name=action_login]:contains(Log in to Mailchimp)",
        run: "click",
        expectUnloadPage: true,
    },
    {trigger: `.o_form_view .alert [name=login_message]:contains(${words})`},
    {
        content: "One can try again at once",
        trigger: ".o_form_statusbar [name=action_login]",
    },
];

tours.add("crm_mailchimp_login_cancelled", {
    steps: refused("The login was cancelled in Mailchimp. Nothing was changed."),
});

tours.add("crm_mailchimp_login_refused", {
    steps: refused("has the role viewer, which may not manage contacts"),
});

tours.add("crm_mailchimp_login_again", {
    steps: () => [
        {trigger: ".alert [name=health_message]:contains(Click “Log in again”)"},
        {
            trigger: ".o_form_statusbar [name=action_login]:contains(Log in again)",
            run: "click",
            expectUnloadPage: true,
        },
        {trigger: ".o_form_statusbar [name=action_sync_now]"},
        {trigger: "body:not(:has(.alert [name=health_message]))"},
    ],
});

tours.add("crm_mailchimp_key_of_another", {
    steps: () => [
        {
            trigger: ".o_field_widget[name=api_key] input",
            run: `edit ${KEY_OF_ANOTHER}`,
        },
        {trigger: ".o_form_button_save", run: "click"},
        {
            trigger:
                ".o_form_statusbar [name=action_reauthorize]:contains(Check the new key)",
            run: "click",
        },
        {
            trigger:
                ".modal:contains(is in the Mailchimp account Simulated account):contains(of the account Other company)",
        },
        {trigger: ".modal footer button", run: "click"},
        {trigger: "body:not(:has(.modal))"},
    ],
});

tours.add("crm_mailchimp_app", {
    steps: () => [
        {trigger: ".settings_tab .tab[data-key=crm]", run: "click"},
        {
            trigger:
                "#mailchimp_login [name=mailchimp_redirect_uri]:contains(/crm_mailchimp/login)",
        },
        {trigger: "[name=mailchimp_client_id] input", run: "edit tour"},
        {trigger: "[name=mailchimp_client_secret] input", run: "edit tour-secret"},
        {trigger: ".o_form_button_save", run: "click"},
        {trigger: "#mailchimp_login:contains(client secret is stored)"},
    ],
});
