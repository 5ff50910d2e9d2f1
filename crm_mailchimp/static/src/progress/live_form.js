import {useBus, useService} from "@web/core/utils/hooks";
import {FormController} from "@web/views/form/form_controller";
import {formView} from "@web/views/form/form_view";
import {registry} from "@web/core/registry";
import {useDebounced} from "@web/core/utils/timing";

/** The form of a run or an account, which follows the run's progress. */
export class LiveFormController extends FormController {
    setup() {
        super.setup();
        const reload = useDebounced(() => this.reload(), 300);
        const {bus} = useService("crm_mailchimp.progress");
        useBus(bus, "run", ({detail: run}) => {
            const shown = [run.run_id, run.account_id];
            const models = ["crm.mailchimp.run", "crm.mailchimp.account"];
            const {resId, resModel} = this.model.root;
            if (resId && shown[models.indexOf(resModel)] === resId) {
                reload();
            }
        });
    }

    async reload() {
        // What somebody is typing matters more than the latest number.
        if (!(await this.model.root.isDirty())) {
            await this.model.root.load();
        }
    }
}
registry
    .category("views")
    .add("crm_mailchimp_live_form", {...formView, Controller: LiveFormController});
