import {Component, useState} from "@odoo/owl";
import {_t} from "@web/core/l10n/translation";
import {registry} from "@web/core/registry";
import {useService} from "@web/core/utils/hooks";
import {user} from "@web/core/user";

/** What the run under way is doing, and a word when it is over. */
export const mailchimpProgressService = {
    dependencies: ["bus_service", "notification", "orm"],
    async start(env, {bus_service: bus, notification, orm}) {
        const state = {accountId: false, open: false, label: "", progress: 0};
        const progress = {state, async sync() {}};
        if (!(await user.hasGroup("crm_mailchimp.group_mailchimp_user"))) {
            return progress;
        }
        const listeners = new Set();
        progress.listen = (listener) => {
            listeners.add(listener);
            return () => listeners.delete(listener);
        };
        const update = (values) => {
            Object.assign(state, values);
            listeners.forEach((listener) => listener(state));
        };
        bus.subscribe("crm_mailchimp/progress", (run) => {
            if (run.account_id !== state.accountId) {
                return;
            }
            const open = ["queued", "running"].includes(run.state);
            update({open, label: run.label, progress: run.progress});
            if (!open && run.error) {
                notification.add(run.error, {title: "Mailchimp", type: "warning"});
            } else if (run.state === "done") {
                notification.add(run.summary, {title: "Mailchimp", type: "success"});
            }
        });
        // Read once: the websocket may be absent, or the run older than the page.
        const accounts = await orm.searchRead(
            "crm.mailchimp.account",
            [
                ["state", "=", "linked"],
                ["push_enabled", "=", true],
                ["company_id", "=", user.activeCompany.id],
            ],
            ["id"],
            {limit: 1}
        );
        update({accountId: accounts.length ? accounts[0].id : false});
        progress.sync = async () => {
            const action = await orm.call("crm.mailchimp.account", "action_sync_now", [
                [state.accountId],
            ]);
            update({open: true, label: _t("Queued")});
            notification.add(action.params.message, {
                title: "Mailchimp",
                type: "info",
            });
        };
        return progress;
    },
};
registry.category("services").add("crm_mailchimp.progress", mailchimpProgressService);

export class MailchimpSystray extends Component {
    static template = "crm_mailchimp.Systray";
    static props = {};

    setup() {
        this.progress = useService("crm_mailchimp.progress");
        this.state = useState({...this.progress.state});
        this.progress.listen?.((state) => Object.assign(this.state, state));
    }

    get title() {
        return this.state.open ? this.state.label : _t("Synchronise with Mailchimp");
    }
}
registry
    .category("systray")
    .add("crm_mailchimp.sync", {Component: MailchimpSystray}, {sequence: 60});
