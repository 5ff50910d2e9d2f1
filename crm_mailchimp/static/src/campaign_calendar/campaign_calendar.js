import {deserializeDateTime, serializeDateTime} from "@web/core/l10n/dates";
import {CalendarModel} from "@web/views/calendar/calendar_model";
import {Domain} from "@web/core/domain";
import {calendarView} from "@web/views/calendar/calendar_view";
import {registry} from "@web/core/registry";

const {DateTime} = luxon;

/** Opens on the last campaign, or else the next one, if today's period shows none. */
export class CampaignCalendarModel extends CalendarModel {
    async load(params = {}) {
        let {date} = {...this.meta, ...params};
        if (!date) {
            date = await this.findOpeningDate(params.domain || this.meta.domain);
        }
        return super.load({...params, date});
    }

    /** Return the day to open on; null for today. */
    async findOpeningDate(domain) {
        const field = this.fieldMapping.date_start;
        const [start, end] = [
            DateTime.local().startOf(this.meta.scale),
            DateTime.local().endOf(this.meta.scale),
        ];
        const find = async (operator, order) => {
            const bound = [[field, operator, serializeDateTime(end)]];
            const [found] = await this.orm.searchRead(
                this.resModel,
                Domain.and([domain, bound]).toList(),
                [field],
                {order: `${field} ${order}`, limit: 1}
            );
            return found && deserializeDateTime(found[field]);
        };
        const found = (await find("<=", "desc")) || (await find(">", "asc"));
        const isShown = !found || (start <= found && found <= end);
        return isShown ? null : found.startOf("day");
    }
}

registry.category("views").add("crm_mailchimp_campaign_calendar", {
    ...calendarView,
    Model: CampaignCalendarModel,
});
