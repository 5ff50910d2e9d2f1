import {registry} from "@web/core/registry";

registry.category("web_tour.tours").add("crm_mailchimp_hostile", {
    steps: () => [
        {
            content: "Markup in a title is text",
            trigger: ".o_form_view:contains(<img src=x onerror=alert(1)>)",
        },
        {
            content: "A link that would run something is none",
            trigger: ".o_field_widget[name=link_ids] a:contains(javascript)",
            run() {
                if (this.anchor.protocol !== "http:") {
                    console.error(`The link leads to ${this.anchor.href}`);
                }
                if (document.querySelector("img[src=x]")) {
                    console.error("A title became an image");
                }
            },
        },
    ],
});
