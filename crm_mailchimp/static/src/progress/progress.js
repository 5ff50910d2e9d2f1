import {Component, EventBus, useState} from "@odoo/owl";
import {_t} from "@web/core/l10n/translation";
import {registry} from "@web/core/registry";
import {useService} from "@web/core/utils/hooks";
import {user} from "@web/core/user";

const OPEN = ["queued", "running"];
const PUSHES = ["push", "full"];

/** What the run under way is doing, and a notification to whoever asked for it. */
export const mailchimpProgressService = {
    dependencies: ["action", "bus_service", "notification", "orm"],
    async start(env, {action, bus_service: busService, notification, orm}) {
        const state = {accountId: false, open: false, label: ""};
        // Triggers "run" for every message, and "state" when the systray has to change.
        const progress = {state, bus: new EventBus(), async sync() {}};
        if (!(await user.hasGroup("crm_mailchimp.group_mailchimp_user"))) {
            return progress;
        }
        const update = (values) => {
            Object.assign(state, values);
            progress.bus.trigger("state", state);
        };
        const look = (run) =>
            action.doActionButton({
                type: "object",
                name: "action_open_result",
                resModel: "crm.mailchimp.run",
                resId: run.run_id,
                context: user.context,
            });
        const tell = (run) => {
            const close = notification.add(run.error || run.summary, {
                title: run.name,
                type: run.error ? "warning" : "success",
                sticky: run.kind === "preview",
                buttons: [
                    {
                        name: _t("View"),
                        onClick: () => {
                            close();
                            look(run);
                        },
                    },
                ],
            });
        };
        busService.subscribe("crm_mailchimp/progress", (run) => {
            progress.bus.trigger("run", run);
            const open = OPEN.includes(run.state);
            if (run.company_id === user.activeCompany.id && PUSHES.includes(run.kind)) {
                // The button appears with the first run that sends, and goes with a
                // pause.
                const accountId = run.started ? run.account_id : false;
                update({accountId, open, label: run.label});
            }
            // Nobody asked for nightly runs: the account and its activity report on
            // them.
            if (!open && run.state !== "cancelled" && run.asked_by === user.userId) {
                tell(run);
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
            const toast = await orm.call("crm.mailchimp.account", "action_sync_now", [
                [state.accountId],
            ]);
            update({open: true, label: _t("Queued")});
            notification.add(toast.params.message, {title: "Mailchimp", type: "info"});
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
        this.progress.bus.addEventListener("state", ({detail}) =>
            Object.assign(this.state, detail)
        );
    }

    get title() {
        return this.state.open ? this.state.label : _t("Sync with Mailchimp");
    }
}
registry
    .category("systray")
    .add("crm_mailchimp.sync", {Component: MailchimpSystray}, {sequence: 60});
