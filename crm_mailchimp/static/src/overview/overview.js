import {Component, onWillStart, status, useState} from "@odoo/owl";
import {_t} from "@web/core/l10n/translation";
import {
    deserializeDate,
    deserializeDateTime,
    toLocaleDateString,
    toLocaleDateTimeString,
} from "@web/core/l10n/dates";
import {formatInteger, formatPercentage} from "@web/views/fields/formatters";
import {KeepLast} from "@web/core/utils/concurrency";
import {Layout} from "@web/search/layout";
import {MailchimpAsOf} from "../as_of/as_of";
import {MailchimpChart} from "../chart/chart";
import {registry} from "@web/core/registry";
import {standardActionServiceProps} from "@web/webclient/actions/action_service";
import {useBus, useService} from "@web/core/utils/hooks";
import {useDebounced} from "@web/core/utils/timing";
import {useSetupAction} from "@web/search/action_hook";

const ACCOUNT = "crm.mailchimp.account";
const [BLUE, RED, TEAL] = [0, 1, 2];

/** CRM > Mailing > Overview: how campaigns and the audience are doing. */
export class MailchimpOverview extends Component {
    static template = "crm_mailchimp.Overview";
    static components = {Layout, MailchimpAsOf, MailchimpChart};
    static props = {...standardActionServiceProps};

    setup() {
        this.action = useService("action");
        this.orm = useService("orm");
        this.keepLast = new KeepLast();
        this.display = {controlPanel: {}};
        this.periods = [
            {key: "30", label: _t("30 days")},
            {key: "90", label: _t("90 days")},
            {key: "365", label: _t("12 months")},
            {key: "all", label: _t("All")},
        ];
        this.state = useState({
            period: this.props.state?.period || "90",
            data: null,
            audience: null,
            mine: null,
            steps: null,
        });
        // The checklist is checked again while a run goes on, and when it ends.
        const refresh = useDebounced(() => this.refresh(), 300);
        useBus(useService("crm_mailchimp.progress").bus, "run", () => {
            if (this.state.data.setup) {
                refresh();
            }
        });
        useSetupAction({getLocalState: () => ({period: this.state.period})});
        onWillStart(() => this.refresh());
    }

    async refresh() {
        await this.load(this.state.period);
        const {linked, setup} = this.state.data;
        // These look at every contact with an opt-in: the page does not wait for them.
        if (linked) {
            this.orm.call(ACCOUNT, "get_overview_audience", []).then((audience) => {
                this.state.audience = audience;
            });
        }
        if (setup) {
            this.orm.call(ACCOUNT, "get_setup", []).then((steps) => {
                this.state.steps = steps;
            });
        }
    }

    async load(period) {
        const [data, mine] = await this.keepLast.add(
            Promise.all([
                this.orm.call(ACCOUNT, "get_overview", [period]),
                this.orm.call(ACCOUNT, "get_overview_mine", [period]),
            ])
        );
        Object.assign(this.state, {period, data, mine});
    }

    // === WHAT IS SHOWN === //

    /** Whether to show numbers, possibly beside a checklist of what is left to do. */
    get hasResults() {
        const {linked, setup, figures} = this.state.data;
        return linked && (!setup || figures.campaigns > 0);
    }

    count(value) {
        return formatInteger(value);
    }

    percent(value) {
        // A rate of no mails at all is unknown, not 0.
        return value === null || value === false
            ? "–"
            : formatPercentage(value, {digits: [16, 1]});
    }

    day(value) {
        return value ? toLocaleDateString(deserializeDateTime(value)) : "";
    }

    moment(value) {
        return value ? toLocaleDateTimeString(deserializeDateTime(value)) : "";
    }

    get tiles() {
        const figures = this.state.data.figures;
        const industry = (rate) =>
            rate === null ? "" : _t("Industry: %s", this.percent(rate));
        return [
            {
                name: "campaigns",
                label: _t("Campaigns sent"),
                value: this.count(figures.campaigns),
            },
            {
                name: "sent",
                label: _t("Emails sent"),
                value: this.count(figures.sent),
            },
            {
                name: "open_rate",
                label: _t("Open rate"),
                value: this.percent(figures.open_rate),
                note: industry(figures.industry_open_rate),
            },
            {
                name: "click_rate",
                label: _t("Click rate"),
                value: this.percent(figures.click_rate),
                note: industry(figures.industry_click_rate),
            },
            {
                name: "unsubscribed",
                label: _t("Unsubscribes"),
                value: this.count(figures.unsubscribed),
                leaf: ["unsubscribed", ">", 0],
            },
            {
                name: "bounces",
                label: _t("Bounces"),
                value: this.count(figures.bounces),
                leaf: ["bounces", ">", 0],
            },
            {
                name: "complaints",
                label: _t("Complaints"),
                value: this.count(figures.complaints),
                leaf: ["complaints", ">", 0],
            },
        ];
    }

    /** What the user's own contacts did: each number opens the list behind it. */
    get mine() {
        const {opened, clicked, unsubscribed, invalid} = this.state.mine;
        return [
            {name: "opened", label: _t("Opened"), count: opened, field: "last_open"},
            {
                name: "clicked",
                label: _t("Clicked"),
                count: clicked,
                field: "last_click",
            },
            {
                name: "unsubscribed",
                label: _t("Unsubscribed"),
                count: unsubscribed,
                field: "unsubscribed_date",
            },
            {name: "invalid", label: _t("Invalid emails"), count: invalid},
        ];
    }

    get rates() {
        const {series, figures} = this.state.data;
        const lines = [
            {
                label: _t("Open rate"),
                values: series.map((campaign) => campaign.open_rate),
                color: BLUE,
            },
            {
                label: _t("Click rate"),
                values: series.map((campaign) => campaign.click_rate),
                color: TEAL,
            },
        ];
        if (figures.industry_open_rate !== null) {
            lines.push({
                label: _t("Industry open rate"),
                values: series.map(() => figures.industry_open_rate),
                color: BLUE,
                dashed: true,
            });
        }
        return {
            labels: series.map((campaign) => this.day(campaign.send_time)),
            titles: series.map(
                (campaign) => `${campaign.name}, ${this.day(campaign.send_time)}`
            ),
            series: lines,
        };
    }

    get growth() {
        const {growth, growth_unit: unit} = this.state.data;
        return {
            labels: growth.map(({start}) =>
                unit === "month"
                    ? deserializeDate(start).toLocaleString({
                          month: "short",
                          year: "numeric",
                      })
                    : toLocaleDateString(deserializeDate(start))
            ),
            series: [
                {
                    label: _t("Joined"),
                    values: growth.map(({joined}) => joined),
                    color: TEAL,
                },
                {
                    label: _t("Left"),
                    values: growth.map(({left}) => left),
                    color: RED,
                },
            ],
        };
    }

    get rankings() {
        const {best, worst} = this.state.data;
        return [
            {name: "best", label: _t("Highest open rates"), campaigns: best},
            {name: "worst", label: _t("Lowest open rates"), campaigns: worst},
        ].filter(({campaigns}) => campaigns.length);
    }

    get joined() {
        return this.state.data.growth.reduce((sum, {joined}) => sum + joined, 0);
    }

    get left() {
        return this.state.data.growth.reduce((sum, {left}) => sum + left, 0);
    }

    // === SETTING UP === //

    /** Do what the button of a step says, then check which steps are done. */
    async doStep({method}) {
        const id = this.state.data.account_id;
        const action = await this.orm.call(ACCOUNT, method, [id ? [id] : []]);
        // The dialog may have led to another page.
        const onClose = () => status(this) !== "destroyed" && this.refresh();
        await this.action.doAction(action, {onClose});
    }

    icon({state}) {
        return {
            done: "fa-check-circle text-success",
            busy: "fa-refresh fa-spin",
            next: "fa-circle-o text-primary",
            later: "fa-circle-o o_mailchimp_muted",
        }[state];
    }

    stateLabel({state}) {
        return {
            done: _t("Done"),
            busy: _t("In progress"),
            next: _t("To do now"),
            later: _t("To do"),
        }[state];
    }

    // === WHERE CLICKS LEAD === //

    open(name, res_model, domain, views = ["list", "kanban", "form"]) {
        return this.action.doAction({
            type: "ir.actions.act_window",
            name,
            res_model,
            domain,
            views: views.map((view) => [false, view]),
        });
    }

    openCampaigns({label, leaf}) {
        const domain = [...this.state.data.campaign_domain, ...(leaf ? [leaf] : [])];
        return this.open(label, "crm.mailchimp.campaign", domain);
    }

    openCampaign({id}) {
        return this.action.doAction({
            type: "ir.actions.act_window",
            res_model: "crm.mailchimp.campaign",
            res_id: id,
            views: [[false, "form"]],
        });
    }

    openMembers({status, label}) {
        return this.open(label, "crm.mailchimp.member", [
            ["account_id", "=", this.state.data.account_id],
            ["status", "=", status],
        ]);
    }

    openSkipped({reason, label}) {
        return this.open(
            label,
            "crm.mailchimp.contact.status",
            [
                ["account_id", "=", this.state.data.account_id],
                ["reason", "=", reason],
            ],
            ["list", "kanban"]
        );
    }

    /** Open what the user's own contacts did, or their invalid addresses. */
    openMine({label, field}) {
        if (!field) {
            return this.action.doAction(
                "crm_mailchimp.action_crm_mailchimp_invalid_email",
                {
                    additionalContext: {
                        search_default_invalid: 1,
                        search_default_mine: 1,
                    },
                }
            );
        }
        const {since} = this.state.mine;
        return this.action.doAction({
            type: "ir.actions.act_window",
            name: label,
            res_model: "crm.mailchimp.recipient",
            domain: since ? [[field, ">=", since]] : [[field, "!=", false]],
            context: {search_default_mine: 1},
            views: [
                [false, "list"],
                [false, "kanban"],
                [false, "form"],
            ],
        });
    }

    openContact({id}) {
        return this.action.doAction({
            type: "ir.actions.act_window",
            res_model: "res.partner",
            res_id: id,
            views: [[false, "form"]],
        });
    }

    openInvalid() {
        return this.action.doAction("crm_mailchimp.action_crm_mailchimp_invalid_email");
    }

    openRuns() {
        return this.open(_t("Sync history"), "crm.mailchimp.run", [
            ["account_id", "=", this.state.data.account_id],
        ]);
    }

    openAccount() {
        return this.action.doAction({
            type: "ir.actions.act_window",
            name: _t("Mailchimp account"),
            res_model: ACCOUNT,
            res_id: this.state.data.account_id,
            views: [[false, "form"]],
        });
    }
}
registry.category("actions").add("crm_mailchimp.overview", MailchimpOverview);
