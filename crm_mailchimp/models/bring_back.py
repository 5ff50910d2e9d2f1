from odoo import fields, models
from odoo.exceptions import UserError
from odoo.fields import Domain

# Reasons that do not keep an archived member out for good.
OPEN_REASONS = (False, "archived")


class CrmMailchimpAccount(models.Model):
    """Contacts with an opt-in whose members somebody archived in Mailchimp.

    They may have asked for it; Mailchimp cannot tell. They stay out until they are
    asked again, or until a manager looks through the list and brings them back.
    """

    _inherit = "crm.mailchimp.account"

    archived_count = fields.Integer(
        string="Archived in Mailchimp", compute="_compute_archived_count"
    )

    def _compute_archived_count(self):
        Member = self.env["crm.mailchimp.member"]
        for account in self:
            account.archived_count = Member.search_count(
                [*self._archived_domain(), ("account_id", "=", account.id)]
            )

    def _archived_domain(self):
        """Return the domain of members that stay out although they are wanted."""
        return [
            ("status", "=", "archived"),
            ("wanted", "=", True),
            ("operation", "=", False),
            ("reason", "in", OPEN_REASONS),
        ]

    def action_open_archived(self):
        """List the contacts with an opt-in that were archived in Mailchimp."""
        action = self._open("crm_mailchimp.action_crm_mailchimp_member")
        action["domain"] += self._archived_domain()
        name = self.env._("Archived in Mailchimp, with an opt-in in Odoo")
        action.update(name=name, display_name=name)
        action["context"] = {"mailchimp_buttons": "return"}
        return action

    def _check_pushing(self):
        """Refuse an action that only a push carries out, where pushing is not enabled.

        :raise UserError: says what to do
        :raise AccessError: if the user may not synchronise
        """
        for account in self:
            account._check_ready()
        if not all(account.push_enabled for account in self.sudo()):
            raise UserError(self.env["crm.mailchimp.account"]._not_sending_sentence())


class CrmMailchimpMember(models.Model):
    _inherit = "crm.mailchimp.member"

    def action_bring_back(self):
        """Subscribe archived members again, after a manager looked at them.

        The run checks each of them once more: nobody comes back who has since said no,
        or whose contact no longer has an opt-in.
        """
        self.check_access("read")
        self.account_id._check_manager()
        back = self.browse()
        for account in self.account_id:
            members = self.filtered_domain(
                Domain("status", "=", "archived")
                & Domain("reason", "in", OPEN_REASONS)
                & Domain("account_id", "=", account.id)
            )
            eligible = account.sudo()._winners(members.mapped("email_normalized"))
            back |= members.filtered(lambda m, e=eligible: m.email_normalized in e)
        if not back:
            raise UserError(
                self.env._(
                    "There is nobody to bring back. “Bring back” is for members who "
                    "are archived in Mailchimp and whose contact has an opt-in. "
                    "People who unsubscribed can only be asked again."
                )
            )
        back.account_id._check_pushing()
        back.sudo().write({"operation": "readmit", "reason": False})
        for account in back.account_id:
            count = len(back.filtered(lambda m, a=account: m.account_id == a))
            account.sudo()._message_log(
                body=self.env._(
                    "%(user)s brings back members who were archived in Mailchimp: "
                    "%(count)s.",
                    user=self.env.user.name,
                    count=count,
                )
            )
            account._request_run("push")
        return back.account_id[:1]._toast(
            self.env._(
                "The sync starts in a moment. Members to subscribe again: %(count)s of "
                "%(chosen)s.",
                count=len(back),
                chosen=len(self),
            )
        )

    def action_ask_again(self):
        """Have Mailchimp ask the contacts of these members whether to come back."""
        self.check_access("read")
        return self.partner_id._mailchimp_ask(_by_account(self))


class CrmMailchimpContactStatus(models.Model):
    _inherit = "crm.mailchimp.contact.status"

    def action_ask_again(self):
        """Have Mailchimp ask the contacts of these lines whether to come back."""
        self.check_access("read")
        return self.partner_id._mailchimp_ask(_by_account(self))

    def action_bring_back(self):
        """Subscribe archived members of these lines again (managers)."""
        self.check_access("read")
        return self.member_id.action_bring_back()


def _by_account(records):
    """Return ``{account: contacts}`` for members, or for lines of the status list."""
    return {
        account: records.filtered(lambda r, a=account: r.account_id == a).partner_id
        for account in records.account_id
    }
