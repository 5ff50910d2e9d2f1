import {Component, onWillStart, onWillUpdateProps, useState} from "@odoo/owl";
import {deserializeDateTime, toLocaleDateTimeString} from "@web/core/l10n/dates";
import {_t} from "@web/core/l10n/translation";
import {registry} from "@web/core/registry";
import {useService} from "@web/core/utils/hooks";
import {user} from "@web/core/user";
import {standardWidgetProps} from "@web/views/widgets/standard_widget_props";

/** The Marketing page of a contact: read when it is opened, not with the form. */
export class MailchimpCard extends Component {
    static template = "crm_mailchimp.Card";
    static props = {...standardWidgetProps};

    setup() {
        this.orm = useService("orm");
        this.action = useService("action");
        this.state = useState({card: null});
        this.shown = null;
        onWillStart(() => this.load(this.props.record));
        onWillUpdateProps((props) => this.load(props.record));
    }

    /** Read again when another contact is shown or this one was saved. */
    async load(record) {
        const saved = `${record.resId}/${record.data.mailchimp_opt_in_date}/${record.data.write_date}`;
        if (!record.resId || saved === this.shown) {
            return;
        }
        this.shown = saved;
        this.state.card = await this.orm.call("res.partner", "mailchimp_card", [
            [record.resId],
        ]);
    }

    date(value) {
        return value ? toLocaleDateTimeString(deserializeDateTime(value)) : "";
    }

    tagTitle(tag) {
        const titles = {
            done: _t("Tag in Mailchimp"),
            waiting: _t("Tag, added with the next sync"),
        };
        return tag.reason || titles[tag.state] || "";
    }

    async askAgain() {
        await this.press("action_mailchimp_ask_again");
        this.shown = null;
        await this.load(this.props.record);
    }

    showAll() {
        return this.press("action_mailchimp_campaigns");
    }

    press(name) {
        const {resId, resModel} = this.props.record;
        return this.action.doActionButton({
            type: "object",
            name,
            resId,
            resModel,
            context: user.context,
        });
    }

    open(id) {
        this.action.doAction({
            type: "ir.actions.act_window",
            res_model: "crm.mailchimp.recipient",
            res_id: id,
            views: [[false, "form"]],
        });
    }
}

registry.category("view_widgets").add("mailchimp_card", {
    component: MailchimpCard,
    fieldDependencies: [
        {name: "mailchimp_opt_in_date", type: "datetime"},
        {name: "write_date", type: "datetime"},
    ],
});
