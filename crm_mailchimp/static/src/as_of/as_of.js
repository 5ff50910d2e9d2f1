import {Component, onWillStart, useState} from "@odoo/owl";
import {deserializeDateTime, toLocaleDateTimeString} from "@web/core/l10n/dates";
import {ControlPanel} from "@web/search/control_panel/control_panel";
import {patch} from "@web/core/utils/patch";
import {useBus, useService} from "@web/core/utils/hooks";

const ACCOUNT = "crm.mailchimp.account";
const COUNTED = [
    "crm.mailchimp.contact.status",
    "crm.mailchimp.segment",
    "crm.mailchimp.segment.contact",
];

/** When contacts were counted, where they are too many to evaluate on each look. */
export class MailchimpAsOf extends Component {
    static template = "crm_mailchimp.AsOf";
    static props = {onCounted: Function, label: {type: String, optional: true}};

    setup() {
        this.orm = useService("orm");
        this.state = useState({at: false, counting: false});
        onWillStart(() => {
            this.ask("get_counted_at");
        });
    }

    async ask(method) {
        this.state.at = await this.orm.call(ACCOUNT, method, []);
    }

    get moment() {
        return toLocaleDateTimeString(deserializeDateTime(this.state.at));
    }

    async refresh() {
        this.state.counting = true;
        try {
            await this.ask("count_again");
            await this.props.onCounted();
        } finally {
            this.state.counting = false;
        }
    }
}

patch(ControlPanel, {
    components: {...ControlPanel.components, MailchimpAsOf},
});

patch(ControlPanel.prototype, {
    setup() {
        super.setup();
        if (this.env.searchModel?.resModel === "res.partner") {
            // Only some searches for contacts use a count.
            useBus(this.env.searchModel, "update", () => this.render());
        }
    },

    get mailchimpIsCounted() {
        const {resModel, globalContext, domain} = this.env.searchModel || {};
        if (resModel === "res.partner") {
            return /"mailchimp_(status|reason)"/.test(JSON.stringify(domain));
        }
        return (
            COUNTED.includes(resModel) && !globalContext.mailchimp_partner_ids?.length
        );
    },
});
