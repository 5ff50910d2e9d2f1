import {Group} from "@web/model/relational_model/group";
import {patch} from "@web/core/utils/patch";

// Odoo shows the label for an empty value in pivots and graphs, and in lists for all
// types of fields but selections: there, the group without a value would have no name.
patch(Group.prototype, {
    setup(config, data) {
        super.setup(...arguments);
        const {type, falsy_value_label: label} = this.groupByField;
        if (type === "selection" && !data.rawValue && label) {
            this.displayName = label;
        }
    },
});
