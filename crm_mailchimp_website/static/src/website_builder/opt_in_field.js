import "@website_crm/js/website_crm_editor";
import {_t} from "@web/core/l10n/translation";
import {registry} from "@web/core/registry";

// Where a form is made one for leads, the opt-in is among its fields, unticked. Whoever
// edits the page rewords or removes it.
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
