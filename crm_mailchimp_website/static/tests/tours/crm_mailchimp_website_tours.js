import {clickOnSave, registerWebsitePreviewTour} from "@website/js/tours/tour_utils";
import {registry} from "@web/core/registry";

// An editor makes the contact form one for leads, and keeps the opt-in it comes with.
registerWebsitePreviewTour(
    "crm_mailchimp_website_editor",
    {url: "/contactus", edition: true},
    () => [
        {
            content: "Select the contact form",
            trigger: ":iframe #wrap.o_editable section.s_website_form",
            run: "click",
        },
        {
            content: "Open what the form does",
            trigger:
                ".o-snippets-menu [data-container-title='Block'] [data-label='Action'] .dropdown-toggle",
            run: "click",
        },
        {
            content: "Let it create an opportunity",
            trigger:
                ".o_popover [data-action-id='selectAction']:contains('Create an Opportunity')",
            run: "click",
        },
        {
            content: "The opt-in is there, unticked",
            trigger:
                ":iframe form[data-model_name='crm.lead'] input[type=checkbox][name=mailchimp_opt_in]:not(:checked)",
        },
        ...clickOnSave(),
        {
            content: "It is on the page that was saved",
            trigger:
                ":iframe form[data-model_name='crm.lead'] input[name=mailchimp_opt_in]",
        },
    ]
);

const fillIn = (name, value) => ({
    trigger: `form[data-model_name='crm.lead'] [name=${name}]`,
    run: `edit ${value}`,
});

registry.category("web_tour.tours").add("crm_mailchimp_website_visitor", {
    steps: () => [
        fillIn("contact_name", "Ann"),
        fillIn("email_from", "ann@firma.be"),
        fillIn("partner_name", "Firma"),
        fillIn("name", "A question"),
        fillIn("description", "How are you?"),
        {
            content: "Agree",
            trigger: "input[name=mailchimp_opt_in]:not(:checked)",
            run: "click",
        },
        {
            trigger: ".s_website_form_send",
            run: "click",
            expectUnloadPage: true,
        },
        {trigger: "#wrap:has(h1:contains('Thank You!'))"},
    ],
});
