import {reactive, useState} from "@odoo/owl";
import {registry} from "@web/core/registry";
import {user} from "@web/core/user";
import {NavBar} from "@web/webclient/navbar/navbar";
import {patch} from "@web/core/utils/patch";
import {useService} from "@web/core/utils/hooks";

const COUNTED = "crm_mailchimp.crm_mailchimp_menu_invalid_email";

/** How many invalid addresses wait for somebody to act, shown in the menu. */
export const mailchimpInvalidService = {
    dependencies: ["bus_service", "orm"],
    async start(env, {bus_service: bus, orm}) {
        const state = reactive({count: 0});
        if (!(await user.hasGroup("sales_team.group_sale_salesman"))) {
            return state;
        }
        const read = async () => {
            state.count = await orm.silent.searchCount("crm.mailchimp.invalid.email", [
                ["kind", "!=", "soft"],
            ]);
        };
        bus.subscribe("crm_mailchimp/progress", (run) => {
            if (run.state === "done") {
                read();
            }
        });
        env.bus.addEventListener("MENUS:APP-CHANGED", read);
        return state;
    },
};
registry.category("services").add("crm_mailchimp.invalid", mailchimpInvalidService);

patch(NavBar.prototype, {
    setup() {
        super.setup();
        this.mailchimpInvalid = useState(useService("crm_mailchimp.invalid"));
    },
    mailchimpLabel(menu) {
        const count = menu.xmlid === COUNTED ? this.mailchimpInvalid.count : 0;
        return count ? `${menu.name} (${count})` : menu.name;
    },
});
