import {registry} from "@web/core/registry";

/** A notification like that of "display_notification", with a button for more. */
function notice(env, {params}) {
    const options = {type: params.type, sticky: params.sticky, title: params.title};
    if (params.action) {
        const close = () => remove();
        options.buttons = [
            {
                name: params.button,
                onClick: () => {
                    close();
                    env.services.action.doAction(params.action);
                },
            },
        ];
    }
    const remove = env.services.notification.add(params.message, options);
    return params.next;
}

registry.category("actions").add("crm_mailchimp.notice", notice);
