import {onWillStart} from "@odoo/owl";
import {patch} from "@web/core/utils/patch";
import {user} from "@web/core/user";
import {CustomFavoriteItem} from "@web/search/custom_favorite_item/custom_favorite_item";
import {SearchModel} from "@web/search/search_model";

// Models whose records have a contact, as far as the CRM shows them.
const MODELS = ["res.partner", "crm.lead"];

patch(CustomFavoriteItem.prototype, {
    setup() {
        super.setup();
        this.state.mailchimpSync = false;
        onWillStart(async () => {
            this.canSyncToMailchimp =
                MODELS.includes(this.env.searchModel.resModel) &&
                (await user.hasGroup("crm_mailchimp.group_mailchimp_user"));
        });
    },

    async saveFavorite() {
        // The flag travels in the call that creates the filter.
        this.env.searchModel.mailchimpSyncNext = this.state.mailchimpSync;
        try {
            return await super.saveFavorite(...arguments);
        } finally {
            this.env.searchModel.mailchimpSyncNext = false;
            this.state.mailchimpSync = false;
        }
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
