import {Component} from "@odoo/owl";
import {_t} from "@web/core/l10n/translation";
import {deserializeDateTime} from "@web/core/l10n/dates";
import {formatInteger} from "@web/views/fields/formatters";
import {MailchimpChart} from "../chart/chart";
import {registry} from "@web/core/registry";
import {standardWidgetProps} from "@web/views/widgets/standard_widget_props";

const NONE = [];

/** Opens and clicks of the first 24 hours after a campaign was sent. */
export class MailchimpTimeline extends Component {
    static template = "crm_mailchimp.Timeline";
    static components = {MailchimpChart};
    static props = {...standardWidgetProps};

    get chart() {
        const hours = this.props.record.data.timeseries || NONE;
        if (hours !== this.drawn) {
            // The same arrays at every rendering: new ones would redraw the chart.
            this.drawn = hours;
            this.config = {
                labels: hours.map(({time}) =>
                    deserializeDateTime(time.slice(0, 19).replace("T", " ")).toFormat(
                        "ccc HH:mm"
                    )
                ),
                series: [
                    {
                        label: _t("Unique opens"),
                        values: this.values(hours, "opens"),
                        color: 0,
                    },
                    {
                        label: _t("Unique clicks"),
                        values: this.values(hours, "clicks"),
                        color: 2,
                    },
                ],
            };
        }
        return this.config;
    }

    values(hours, name) {
        return hours.map((hour) => hour[name] || 0);
    }

    count(value) {
        return formatInteger(value);
    }
}

registry.category("view_widgets").add("mailchimp_timeline", {
    component: MailchimpTimeline,
    fieldDependencies: [{name: "timeseries", type: "json"}],
});
