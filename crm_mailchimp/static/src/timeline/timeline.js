/* global Chart */
import {Component, onWillStart, onWillUnmount, useEffect, useRef} from "@odoo/owl";
import {loadBundle} from "@web/core/assets";
import {getColor} from "@web/core/colors/colors";
import {cookie} from "@web/core/browser/cookie";
import {deserializeDateTime} from "@web/core/l10n/dates";
import {_t} from "@web/core/l10n/translation";
import {registry} from "@web/core/registry";
import {standardWidgetProps} from "@web/views/widgets/standard_widget_props";

/** Opens and clicks of the first 24 hours after a campaign was sent. */
export class MailchimpTimeline extends Component {
    static template = "crm_mailchimp.Timeline";
    static props = {...standardWidgetProps};

    setup() {
        this.canvas = useRef("canvas");
        this.chart = null;
        onWillStart(() => loadBundle("web.chartjs_lib"));
        useEffect(
            () => this.draw(),
            () => [this.props.record.resId, this.hours.length]
        );
        onWillUnmount(() => this.chart?.destroy());
    }

    get hours() {
        return this.props.record.data.timeseries || [];
    }

    draw() {
        this.chart?.destroy();
        this.chart = null;
        if (!this.canvas.el) {
            return;
        }
        const scheme = cookie.get("color_scheme");
        const line = (label, name, index) => ({
            label,
            data: this.hours.map((hour) => hour[name] || 0),
            borderColor: getColor(index, scheme, "odoo"),
            backgroundColor: getColor(index, scheme, "odoo"),
            tension: 0.3,
            pointRadius: 2,
        });
        this.chart = new Chart(this.canvas.el, {
            type: "line",
            data: {
                labels: this.hours.map((hour) =>
                    deserializeDateTime(
                        hour.time.slice(0, 19).replace("T", " ")
                    ).toFormat("ccc HH:mm")
                ),
                datasets: [
                    line(_t("Opened by"), "opens", 0),
                    line(_t("Clicked by"), "clicks", 1),
                ],
            },
            options: {
                maintainAspectRatio: false,
                interaction: {mode: "index", intersect: false},
                scales: {
                    y: {beginAtZero: true, ticks: {precision: 0}},
                    x: {grid: {display: false}, ticks: {maxTicksLimit: 8}},
                },
                plugins: {legend: {position: "bottom"}},
            },
        });
    }
}

registry.category("view_widgets").add("mailchimp_timeline", {
    component: MailchimpTimeline,
    fieldDependencies: [{name: "timeseries", type: "json"}],
});
