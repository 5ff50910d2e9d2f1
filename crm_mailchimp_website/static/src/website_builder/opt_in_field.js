import "@website_crm/js/website_crm_editor";
import {_t} from "@web/core/l10n/translation";
import {registry} from "@web/core/registry";

// When a form is changed to create leads, the opt-in is among its fields, unticked.
// Editors of the page can reword or remove it.
registry
    .category("website.form_editor_actions")
    .get("create_lead")
    .formFields.push({
        type: "boolean",
        name: "mailchimp_opt_in",
        string: _t(
            "Yes, send me news and offers by email. I can unsubscribe at any time."
        ),
    });
