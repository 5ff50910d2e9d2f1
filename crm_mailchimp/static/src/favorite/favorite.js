import {onWillStart} from "@odoo/owl";
import {patch} from "@web/core/utils/patch";
import {user} from "@web/core/user";
import {useService} from "@web/core/utils/hooks";
import {CustomFavoriteItem} from "@web/search/custom_favorite_item/custom_favorite_item";
import {SearchModel} from "@web/search/search_model";

// A filter becomes a segment if its records are contacts or have one.
function hasContact({resModel, searchViewFields}) {
    const field = searchViewFields.partner_id;
    return (
        resModel === "res.partner" ||
        Boolean(field?.store && field.relation === "res.partner")
    );
}

patch(CustomFavoriteItem.prototype, {
    setup() {
        super.setup();
        this.state.mailchimpSync = false;
        this.mailchimpOrm = useService("orm");
        onWillStart(async () => {
            this.canSyncToMailchimp =
                hasContact(this.env.searchModel) &&
                (await user.hasGroup("crm_mailchimp.group_mailchimp_user"));
        });
    },

    async saveFavorite() {
        // The flag travels in the call that creates the filter.
        const sync = this.state.mailchimpSync;
        this.env.searchModel.mailchimpSyncNext = sync;
        let id = false;
        try {
            id = await super.saveFavorite(...arguments);
        } finally {
            this.env.searchModel.mailchimpSyncNext = false;
            this.state.mailchimpSync = false;
        }
        if (id && sync) {
            // Show how many match and are sent, with a button to do so now.
            const args = [[id]];
            this.actionService.doAction(
                await this.mailchimpOrm.call(
                    "ir.filters",
                    "action_mailchimp_outlook",
                    args
                )
            );
        }
        return id;
    },
});

patch(SearchModel.prototype, {
    _getIrFilterDescription() {
        const description = super._getIrFilterDescription(...arguments);
        if (this.mailchimpSyncNext) {
            description.irFilter.mailchimp_sync = true;
        }
        return description;
    },
});
