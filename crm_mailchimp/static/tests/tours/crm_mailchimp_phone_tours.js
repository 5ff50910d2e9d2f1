import {registry} from "@web/core/registry";

const tours = registry.category("web_tour.tours");

// In a narrow window: what is a list elsewhere is cards, from which nothing is cut.
tours.add("crm_mailchimp_phone_opted_out", {
    steps: () => [
        {trigger: "button[name=action_choose_audience]", run: "click"},
        {trigger: ".modal [name=line_id] input:checked"},
        {trigger: ".modal footer [name=action_link]", run: "click"},
        {
            trigger:
                ".modal .o_kanban_record:contains(ann@firma.be):contains(Opted out)",
        },
        {trigger: ".modal footer [name=action_back]", run: "click"},
        {trigger: ".modal footer [name=action_create_audience]"},
        {trigger: ".modal footer [name=action_link]", run: "click"},
        {trigger: ".modal .o_kanban_record:contains(bob@firma.be):contains(Blacklist)"},
        {trigger: ".modal footer [name=action_link]", run: "click"},
        {trigger: ".o_mailchimp_overview"},
        {content: "The dialog is gone", trigger: "body:not(:has(.modal))"},
    ],
});

tours.add("crm_mailchimp_phone_preview", {
    steps: () => [
        {
            content: "Unfold what would be added",
            trigger: ".o_kanban_group:contains(Add)",
        },
        {trigger: ".o_kanban_record:contains(ann@firma.be):contains(Ann)"},
    ],
});

tours.add("crm_mailchimp_phone_correct", {
    steps: () => [
        {
            trigger: ".o_kanban_record:contains(hard@firma.be) [name=action_correct]",
            run: "click",
        },
        {trigger: ".modal .o_kanban_record:contains(hard@firma.be)", run: "click"},
        {trigger: ".modal [name=new_email] input", run: "edit better@firma.be"},
        {trigger: ".modal .o_form_button_save", run: "click"},
        {
            trigger:
                ".modal .o_kanban_record:contains(hard@firma.be):contains(better@firma.be)",
        },
        {trigger: ".modal footer [name=action_correct]", run: "click"},
        {trigger: ".o_notification:contains(Addresses corrected: 1)"},
        {content: "The dialog is gone", trigger: "body:not(:has(.modal))"},
    ],
});
