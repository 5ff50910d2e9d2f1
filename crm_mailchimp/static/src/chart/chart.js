/* global Chart */
import {Component, onWillStart, useEffect, useRef} from "@odoo/owl";
import {cookie} from "@web/core/browser/cookie";
import {getColor, getCustomColor, hexToRGBA} from "@web/core/colors/colors";
import {loadBundle} from "@web/core/assets";

/** A chart drawn by Odoo's own Chart.js: series of numbers over labels. */
export class MailchimpChart extends Component {
    static template = "crm_mailchimp.Chart";
    static props = {
        type: {validate: (type) => ["line", "bar"].includes(type)},
        label: String,
        labels: {type: Array, element: String},
        // Headings of the tooltips, where labels are not enough.
        titles: {type: Array, element: String, optional: true},
        // {label, values, color, dashed}
        series: {type: Array, element: Object},
        format: Function,
        onClick: {type: Function, optional: true},
    };

    setup() {
        this.canvas = useRef("canvas");
        onWillStart(() => loadBundle("web.chartjs_lib"));
        useEffect(
            () => {
                const chart = new Chart(this.canvas.el, this.config);
                return () => chart.destroy();
            },
            () => [this.props.labels, this.props.series]
        );
    }

    get config() {
        const scheme = cookie.get("color_scheme");
        const text = getCustomColor(scheme, "#111827", "#E4E4E4");
        const grid = getCustomColor(scheme, "#d8dadd", "#3C3E4B");
        const {type, labels, titles, series, format, onClick} = this.props;
        return {
            type,
            data: {
                labels,
                datasets: series.map(({label, values, color, dashed}) => {
                    const shade = getColor(color, scheme, "sm");
                    return {
                        label,
                        data: values,
                        borderColor: shade,
                        backgroundColor: dashed ? "transparent" : hexToRGBA(shade, 0.6),
                        borderWidth: type === "line" ? 2 : 0,
                        borderDash: dashed ? [6, 4] : [],
                        pointRadius: dashed ? 0 : 4,
                        pointHitRadius: dashed ? 0 : 12,
                    };
                }),
            },
            options: {
                animation: false,
                maintainAspectRatio: false,
                interaction: {mode: "index", intersect: false},
                plugins: {
                    legend: {
                        position: "bottom",
                        labels: {color: text, boxWidth: 14},
                    },
                    tooltip: {
                        callbacks: {
                            title: ([{dataIndex}]) => (titles || labels)[dataIndex],
                            label: ({dataset, parsed}) =>
                                `${dataset.label}: ${format(parsed.y)}`,
                        },
                    },
                },
                scales: {
                    x: {
                        ticks: {
                            color: text,
                            maxRotation: 45,
                            autoSkipPadding: 8,
                        },
                        grid: {display: false},
                    },
                    y: {
                        beginAtZero: true,
                        ticks: {
                            color: text,
                            precision: type === "bar" ? 0 : undefined,
                            callback: format,
                        },
                        grid: {color: grid},
                        border: {display: false},
                    },
                },
                onClick: (event, elements) =>
                    elements.length && onClick?.(elements[0].index),
                onHover: (event, elements) => {
                    event.native.target.style.cursor =
                        onClick && elements.length ? "pointer" : "default";
                },
            },
        };
    }
}
