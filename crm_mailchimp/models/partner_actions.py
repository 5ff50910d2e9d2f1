from collections import Counter

from odoo import models
from odoo.exceptions import UserError


class ResPartner(models.Model):
    """What people, server actions and automation rules can ask for on contacts.

    All of it writes what is wanted and wakes the scheduled action, nothing else: a
    button or a rule must neither wait for Mailchimp nor fail because of it.
    """

    _inherit = "res.partner"

    def _mailchimp_account(self):
        account = self.env["crm.mailchimp.account"].sudo()._of_company()
        if not account:
            raise UserError(
                self.env._(
                    "No Mailchimp audience is linked to %(company)s.",
                    company=self.env.company.name,
                )
            )
        account.with_user(self.env.user)._check_ready()
        return account

    def action_mailchimp_push_now(self):
        """Push what changed, these contacts included, and say which do not go."""
        account = self._mailchimp_account()
        if not account.push_enabled:
            raise UserError(
                self.env._(
                    "The first push was not started yet: a Mailchimp manager does so on"
                    " the account."
                )
            )
        account._request_run("push")
        lines = account._contact_lines(self)
        reasons = Counter(
            reason for status, reason in lines.values() if status == "out" and reason
        )
        labels = dict(
            self.env["crm.mailchimp.contact.status"]
            ._fields["reason"]
            ._description_selection(self.env)
        )
        message = self.env._(
            "%(count)s of %(chosen)s contacts are in Mailchimp after the run that"
            " starts in a moment.",
            count=sum(status != "out" for status, _reason in lines.values()),
            chosen=len(self),
        )
        if reasons:
            message += " " + self.env._(
                "The others are not: %(reasons)s.",
                reasons=", ".join(
                    f"{labels[reason]} ({count})"
                    for reason, count in reasons.most_common()
                ),
            )
        toast = account._toast(message)
        toast["params"].update(
            type="warning" if reasons else "success", sticky=bool(reasons)
        )
        return toast

    def action_mailchimp_add_tag(self):
        """Ask which tag to add."""
        self._mailchimp_account()
        wizard = self.env["crm.mailchimp.add.tag"].create(
            {"name": "", "partner_ids": self.ids}
        )
        return {
            "type": "ir.actions.act_window",
            "name": self.env._("Add a Mailchimp tag"),
            "res_model": wizard._name,
            "res_id": wizard.id,
            "view_mode": "form",
            "target": "new",
        }

    def mailchimp_add_tag(self, names):
        """Ask for tags on these contacts; also for automation rules.

        :param str names: one tag, or several separated by commas
        """
        account = self._mailchimp_account()
        tags = {
            " ".join(name.split())[:100] for name in names.split(",") if name.strip()
        }
        if not tags:
            raise UserError(self.env._("Enter the name of a tag."))
        Tag = self.env["crm.mailchimp.contact.tag"].sudo()
        for name in sorted(tags):
            waiting = Tag.search(
                [
                    ("account_id", "=", account.id),
                    ("name", "=ilike", name),
                    ("state", "=", "waiting"),
                    ("partner_id", "in", self.ids),
                ]
            ).partner_id
            Tag.create(
                [
                    {
                        "account_id": account.id,
                        "partner_id": partner.id,
                        "name": name,
                        "requested_by_id": self.env.uid,
                    }
                    for partner in self - waiting
                ]
            )
        account._request_run("push")
        return account._toast(
            self.env._("The tags are given with the run that starts in a moment.")
        )

    def action_mailchimp_ask_again(self):
        """Let Mailchimp ask contacts who said no whether they want to come back.

        Only for contacts with an opt-in that is newer than their "no". Mailchimp sends
        them its own mail to confirm; nobody is subscribed by it.
        """
        account = self._mailchimp_account()
        members = account._members_to_ask(self)
        if not members:
            raise UserError(
                self.env._(
                    "There is nobody to ask: asking again is for contacts with an"
                    " opt-in that is newer than their unsubscribe, or whose member was"
                    " archived in Mailchimp. Addresses that bounced or were permanently"
                    " deleted cannot come back."
                )
            )
        members.write({"operation": "ask"})
        account._request_run("push")
        return account._toast(
            self.env._(
                "Mailchimp sends %(count)s of %(chosen)s contacts a mail to confirm,"
                " with the run that starts in a moment.",
                count=len(members.partner_id),
                chosen=len(self),
            )
        )
