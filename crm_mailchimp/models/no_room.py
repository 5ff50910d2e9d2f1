from odoo import api, fields, models


class CrmMailchimpAccount(models.Model):
    _inherit = "crm.mailchimp.account"

    no_room_message = fields.Text(readonly=True, copy=False)

    @api.depends("no_room_message")
    def _compute_health_message(self):
        result = super()._compute_health_message()
        for account in self.filtered("no_room_message"):
            account.health_message = "\n".join(
                filter(None, [account.health_message, account.no_room_message])
            )
        return result

    def _set_no_room(self, sentence):
        """Note that Mailchimp takes nobody new, and notify managers once."""
        if not self.no_room_message:
            self._notify_managers(sentence)
        if self.no_room_message != sentence:
            self.no_room_message = sentence

    def _forget_attention(self):
        """Keep the managers' activities while nobody new can be added."""
        return super(
            CrmMailchimpAccount,
            self.filtered(lambda account: not account.sudo().no_room_message),
        )._forget_attention()


class CrmMailchimpRun(models.Model):
    _inherit = "crm.mailchimp.run"

    def _end(self, state, error=None):
        for run in self:
            account, no_room = run.account_id, run._get_cursor().no_room
            found_room = state == "done" and run.phase and no_room is None
            if found_room and account.no_room_message:
                # Everybody who had to be added was added.
                account.no_room_message = False
        return super()._end(state, error)
