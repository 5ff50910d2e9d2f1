import {
    FieldSelectorField,
    fieldSelectorField,
} from "@web/views/fields/field_selector/field_selector_field";
import {registry} from "@web/core/registry";
import {xml} from "@odoo/owl";

/** Odoo's field selector, with labels in read-only lines, too, not country_id.name. */
export class FieldPathField extends FieldSelectorField {
    static template = xml`<ModelFieldSelector t-props="selectorProps" />`;
}

registry.category("fields").add("crm_mailchimp_field_path", {
    ...fieldSelectorField,
    component: FieldPathField,
});
