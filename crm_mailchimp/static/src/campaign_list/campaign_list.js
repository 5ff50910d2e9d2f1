import {ListRenderer} from "@web/views/list/list_renderer";
import {formatPercentage} from "@web/views/fields/formatters";
import {listView} from "@web/views/list/list_view";
import {registry} from "@web/core/registry";

const RATES = ["open_rate", "click_rate"];
// What the rates are shares of, and so the weight of a campaign in an average.
const WEIGHT = "delivered";

/** Return the average of values by weights; null when nothing has a weight. */
export function weightedAverage(values, weights) {
    let [sum, total] = [0, 0];
    values.forEach((value, index) => {
        sum += (value || 0) * (weights[index] || 0);
        total += weights[index] || 0;
    });
    return total ? sum / total : null;
}

export class CampaignListRenderer extends ListRenderer {
    computeAggregates() {
        const aggregates = super.computeAggregates();
        const {groups, isGrouped, records, selection} = this.props.list;
        const rows = selection.length
            ? selection.map(({data}) => data)
            : isGrouped
              ? groups.map((group) => group.aggregates)
              : records.map(({data}) => data);
        for (const name of RATES.filter((rate) => rate in aggregates)) {
            const average = weightedAverage(
                rows.map((row) => row[name]),
                rows.map((row) => row[WEIGHT])
            );
            aggregates[name].rawValue = average;
            aggregates[name].value = average === null ? "" : formatPercentage(average);
        }
        return aggregates;
    }
}

registry.category("views").add("crm_mailchimp_campaign_list", {
    ...listView,
    Renderer: CampaignListRenderer,
});
