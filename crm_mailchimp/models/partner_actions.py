from collections import Counter

from odoo import models
from odoo.exceptions import UserError

from ..engine.address import member_hash


class ResPartner(models.Model):
    """What users, server actions and automation rules can ask for on contacts.

    Each of them only writes what is wanted and wakes the scheduled action: a button or
    a rule must neither wait for Mailchimp nor fail because of it.
    """

    _inherit = "res.partner"

    def _mailchimp_accounts(self):
        """Return ``{account: contacts}``: linked accounts of the contacts' companies.

        A contact without a company belongs to the accounts of the current companies.
        Users can ask only for contacts they may read, and only in companies they work
        in.

        :raise UserError: if a user may not ask, or it makes no sense now; a rule, which
            runs as the superuser, gets an empty result instead: it must not keep a
            contact from being saved
        """
        self.check_access("read")
        accounts, domain = {}, [("audience_ref", "!=", False)]
        if not self.env.su:
            domain.append(("company_id", "in", self.env.companies.ids))
        for account in self.env["crm.mailchimp.account"].sudo().search(domain):
            partners = self.filtered(
                lambda partner, company=account.company_id: (
                    partner.company_id == company
                    or (not partner.company_id and company in self.env.companies)
                )
            )
            if partners:
                accounts[account] = partners
        if not accounts and not self.env.su:
            raise UserError(
                self.env._(
                    "No Mailchimp audience is linked to %(company)s.",
                    company=(self.company_id[:1] or self.env.company).name,
                )
            )
        if not self.env.su:
            for account in accounts:
                account.with_user(self.env.user)._check_ready()
        return accounts

    def action_mailchimp_push_now(self):
        """Push what changed, these contacts included, and report who is left out."""
        accounts = self._mailchimp_accounts()
        started = [account for account in accounts if account.push_enabled]
        if not started and not self.env.su:
            raise UserError(self.env["crm.mailchimp.account"]._not_sending_sentence())
        waits = False
        for account in started:
            if account.state == "linked":
                run, _created = account._request_run("push")
                waits |= run.state == "brake"
        going, reasons = self._mailchimp_outlook(accounts)
        if waits:
            return self._mailchimp_notice(
                self.env._(
                    "The sync is waiting for a manager: see the Mailchimp account. "
                    "Selected contacts in Mailchimp afterwards: %(count)s of "
                    "%(chosen)s.",
                    count=going,
                    chosen=len(self),
                ),
                reasons,
            )
        return self._mailchimp_notice(
            self.env._(
                "The sync starts in a moment. Selected contacts in Mailchimp "
                "afterwards: %(count)s of %(chosen)s.",
                count=going,
                chosen=len(self),
            ),
            reasons,
        )

    def _mailchimp_outlook(self, accounts):
        """Return how many are in an audience after the next run, and why not others.

        :return: ``(count, {reason: count})``
        """
        outlook = dict.fromkeys(self.ids, "other_company")
        for account, partners in accounts.items():
            lines = account._contact_lines(partners)
            for partner_id, (status, reason, _winner) in lines.items():
                if outlook[partner_id] != "goes":
                    outlook[partner_id] = "goes" if status != "out" else reason
        reasons = Counter(outlook.values())
        return reasons.pop("goes", 0), reasons

    def _mailchimp_notice(self, message, reasons):
        """Return a notification, with a button to see those who are left out."""
        params = {"message": message, "type": "warning" if reasons else "success"}
        if reasons:
            labels = dict(
                self.env["crm.mailchimp.contact.status"]
                ._fields["reason"]
                ._description_selection(self.env)
            )
            params["message"] += " " + self.env._(
                "Not included: %(reasons)s.",
                reasons=", ".join(
                    f"{labels.get(reason, reason)} ({count})"
                    for reason, count in reasons.most_common()
                ),
            )
            params["sticky"] = True
            params["button"] = self.env._("View list")
            params["action"] = dict(
                self.env["ir.actions.act_window"]._for_xml_id(
                    "crm_mailchimp.action_crm_mailchimp_contact_status"
                ),
                domain=[("partner_id", "in", self.ids), ("status", "=", "out")],
                # Evaluate these few now, to agree with the message.
                context={"mailchimp_partner_ids": self.ids},
                help=False,
            )
        return {
            "type": "ir.actions.client",
            "tag": "crm_mailchimp.notice",
            "params": params,
        }

    def action_mailchimp_add_tag(self):
        """Open the dialog that asks which tag to add."""
        self._mailchimp_accounts()
        return {
            "type": "ir.actions.act_window",
            "name": self.env._("Add Mailchimp tags"),
            "res_model": "crm.mailchimp.add.tag",
            "view_mode": "form",
            "target": "new",
            "context": {"default_partner_ids": self.ids},
        }

    def mailchimp_add_tag(self, names):
        """Request tags on these contacts; automation rules may call this, too.

        :param str names: one tag, or several separated by commas
        """
        accounts = self._mailchimp_accounts()
        tags = {}
        for name in names.split(","):
            # Mailchimp takes 100 characters, and treats Vip and VIP as the same.
            name = " ".join(name.split())[:100]
            if name:
                tags.setdefault(name.casefold(), name)
        if not tags and not self.env.su:
            raise UserError(self.env._("Enter the name of a tag."))
        for account, partners in accounts.items():
            self.env["crm.mailchimp.contact.tag"]._request(
                account, partners, list(tags.values())
            )
            if account.state == "linked":
                account._request_run("push")
        _going, reasons = self._mailchimp_outlook(accounts)
        message = self.env._("The sync starts in a moment and adds the tags.")
        if reasons:
            wait = self.env._(
                "Contacts that are not in Mailchimp yet get them once they are."
            )
            message = f"{message} {wait}"
        return self._mailchimp_notice(message, reasons)

    def action_mailchimp_ask_again(self):
        """Have Mailchimp ask contacts who said no whether they want to come back.

        Only for contacts with an opt-in that is newer than their "no". Mailchimp sends
        them its own mail to confirm, which in itself subscribes nobody.
        """
        return self._mailchimp_ask(self._mailchimp_accounts())

    def _mailchimp_ask(self, accounts):
        """Plan to ask the contacts again.

        :param dict accounts: account -> contacts
        """
        members = self.env["crm.mailchimp.member"].sudo()
        for account in () if self.env.su else accounts:
            account.with_env(self.env)._check_ready()
        for account, partners in accounts.items():
            members |= account.sudo()._members_to_ask(partners)
        if self.env.su:
            # A rule must not keep a contact from being saved.
            members = members.filtered(
                lambda member: (
                    member.account_id.push_enabled
                    and member.account_id.state == "linked"
                )
            )
            if not members:
                return None
        if not members:
            raise UserError(
                self.env._(
                    "There is nobody to ask. “Ask again” is for contacts with an "
                    "opt-in that is newer than their unsubscribe, or whose member was "
                    "archived in Mailchimp. Addresses that bounced or were "
                    "permanently deleted cannot come back."
                )
            )
        if not self.env.su:
            members.account_id.with_env(self.env)._check_pushing()
        members.write({"operation": "ask"})
        for account in members.account_id:
            account._request_run("push")
        return members.account_id[0]._toast(
            self.env._(
                "The sync starts in a moment. Contacts Mailchimp will ask to confirm: "
                "%(count)s of %(chosen)s.",
                count=len(members.partner_id),
                chosen=len(self),
            )
        )

    def action_mailchimp_said_no(self):
        """List every "no" of the contact's addresses, former ones included."""
        self.ensure_one()
        emails = [
            *self._mailchimp_addresses(),
            *filter(None, self.mailchimp_consent_ids.mapped("email_normalized")),
        ]
        action = self.env["ir.actions.act_window"]._for_xml_id(
            "crm_mailchimp.action_crm_mailchimp_suppression"
        )
        action["domain"] = [("email_hash", "in", list(map(member_hash, emails)))]
        action["context"] = {}
        return action
