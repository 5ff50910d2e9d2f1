from odoo import fields, models
from odoo.tools import SQL, split_every

from .crm_mailchimp_consent import Grounds

# Contacts written in one transaction: few, so that nobody waits for a contact form.
CONTACTS = 100


class CrmMailchimpRun(models.Model):
    """What people said in Mailchimp takes the opt-in of their contacts."""

    _inherit = "crm.mailchimp.run"

    def _apply_no(self):
        """Take the opt-in from contacts whose address said no in Mailchimp later.

        Set-based on the ledger, not on the events: a contact that somebody holds
        locked, or a tick that dies, is simply found again by the next tick.

        :return: whether an opt-in was taken
        """
        taken = False
        for chunk in split_every(CONTACTS, self._said_no()):
            details = {row[0]: row[1:] for row in chunk}
            partners = (
                self.env["res.partner"]
                .browse(details)
                .try_lock_for_update(allow_referencing=True)
            )
            partners = partners.filtered("mailchimp_opt_in")
            taken |= self._opt_out(partners, details)
            self._commit()
        self._forget_not_taken()
        return taken

    def _said_no(self):
        """Return ``[(contact id, address, date, reason)]`` of contacts to opt out."""
        account = self.account_id
        account._flush_contacts()
        return self.env.execute_query(
            SQL(
                "SELECT DISTINCT ON (partner_id) partner_id, email, date, note"
                " FROM (%s) said ORDER BY partner_id, date DESC",
                account._said_no_sql(),
            )
        )

    def _opt_out(self, partners, details):
        """Take the opt-in of contacts; one that refuses keeps nobody else's.

        :param dict details: contact id -> ``(address, date, reason)``
        :return: whether an opt-in was taken
        """
        Partner = self.env["res.partner"]
        refused = self._each(
            partners.ids, lambda ids: self._take_opt_in(Partner.browse(ids), details)
        )
        self._note_opt_in_kept(refused, details)
        done = partners.filtered(lambda partner: partner.id not in refused)
        if self.account_id.blacklist_on_unsubscribe:
            self._blacklist({details[partner.id][0] for partner in done})
        self._count(opted_out=len(done))
        return bool(done)

    def _note_opt_in_kept(self, refused, details):
        emails = {details[partner_id][0]: partner_id for partner_id in refused}
        members = self.env["crm.mailchimp.member"].search(
            [
                ("account_id", "=", self.account_id.id),
                ("email_normalized", "in", list(emails)),
            ]
        )
        self._note_not_taken(
            {
                member.id: (
                    self.env._(
                        "The person unsubscribed, but the opt-in could not be "
                        "removed: %s",
                        refused[emails[member.email_normalized]],
                    ),
                    {"opt_out": str(details[emails[member.email_normalized]][1])},
                )
                for member in members
            }
        )

    def _take_opt_in(self, partners, details):
        account = self.account_id
        partners = partners.with_context(
            mailchimp_grounds=Grounds("mailchimp", details),
            mail_notrack=not account.log_to_chatter,
        )
        if account.log_to_chatter:
            for partner in partners:
                email, moment, reason = details[partner.id]
                partner._track_set_log_message(
                    self.env._(
                        "%(email)s unsubscribed in Mailchimp on %(date)s UTC."
                        " %(reason)s",
                        email=email,
                        date=fields.Datetime.to_string(moment),
                        reason=reason or "",
                    )
                )
        partners.write({"mailchimp_opt_in": False})

    def _blacklist(self, emails):
        """Blacklist addresses; one that Odoo does not take keeps no other off."""
        Blacklist = self.env["mail.blacklist"].with_context(active_test=False)

        def blacklist(emails):
            entries = Blacklist.create([{"email": email} for email in emails])
            # ``create`` returns archived entries as they are.
            entries.filtered(lambda entry: not entry.active).action_unarchive()

        refused = self._each(sorted(emails), blacklist)
        self._count(not_blacklisted=len(refused))
