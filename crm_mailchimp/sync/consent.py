import random

from odoo import fields
from odoo.tools import SQL, split_every

from .contacts import CONTACTS, ContactPhase
from .grounds import Grounds, Said
from .phase import OutOfTime


class ConsentUpdate(ContactPhase):
    """Removes the opt-in from contacts of people who said no in Mailchimp."""

    def work(self, whole=False):
        """Remove the opt-in from contacts whose address later said no in Mailchimp.

        This goes by what is stored, not by events: a contact that somebody holds
        locked, or that a killed slice left behind, is simply found again by the next.

        :param bool whole: whether to process all, even after the slice is over
        :raise OutOfTime: when it has to go on in another slice: notes in the chatter
            of thousands of contacts take longer than Odoo lets a job take
        """
        rows = list(self.said_no().items())
        if len(rows) > CONTACTS:
            # Contacts that refuse must not always come first and use up the time.
            random.shuffle(rows)
        for number, chunk in enumerate(split_every(CONTACTS, rows)):
            if number and not whole and self.is_over():
                raise OutOfTime
            details = dict(chunk)
            partners = (
                self.env["res.partner"]
                .browse(details)
                .try_lock_for_update(allow_referencing=True)
            )
            partners = partners.filtered("mailchimp_opt_in")
            self._opt_out(partners, details)
            self.commit()
        self.forget_not_taken()

    def said_no(self):
        """Return the contacts to opt out: :class:`.Said` by contact id."""
        account = self.account
        account._flush_contacts()
        rows = self.env.execute_query(
            SQL(
                "SELECT DISTINCT ON (partner_id) partner_id, email, date, note"
                " FROM (%s) said ORDER BY partner_id, date DESC",
                account._said_no_sql(),
            )
        )
        return {partner_id: Said(*said) for partner_id, *said in rows}

    def _opt_out(self, partners, details):
        """Remove the opt-in from contacts; one that refuses holds up no other.

        :param dict details: :class:`.Said` by contact id
        """
        Partner = self.env["res.partner"]
        refused = self.each(
            partners.ids, lambda ids: self._take_opt_in(Partner.browse(ids), details)
        )
        self._note_opt_in_kept(refused, details)
        done = partners.filtered(lambda partner: partner.id not in refused)
        if self.account.blacklist_on_unsubscribe:
            self._blacklist({details[partner.id].email for partner in done})
        self.count(opted_out=len(done))

    def _note_opt_in_kept(self, refused, details):
        emails = {details[partner_id].email: partner_id for partner_id in refused}
        members = self.env["crm.mailchimp.member"].search(
            [
                ("account_id", "=", self.account.id),
                ("email_normalized", "in", list(emails)),
            ]
        )
        self.note_not_taken(
            {
                member.id: (
                    self.env._(
                        "The person unsubscribed, but the opt-in could not be "
                        "removed: %s",
                        refused[emails[member.email_normalized]],
                    ),
                    {"opt_out": str(details[emails[member.email_normalized]].date)},
                )
                for member in members
            }
        )

    def _take_opt_in(self, partners, details):
        account = self.account
        partners = partners.with_context(
            mailchimp_grounds=Grounds("mailchimp", details),
            mail_notrack=not account.log_to_chatter,
        )
        if account.log_to_chatter:
            for partner in partners:
                no = details[partner.id]
                partner._track_set_log_message(
                    self.env._(
                        "%(email)s unsubscribed in Mailchimp on %(date)s UTC."
                        " %(reason)s",
                        email=no.email,
                        date=fields.Datetime.to_string(no.date),
                        reason=no.note or "",
                    )
                )
        partners.write({"mailchimp_opt_in": False})

    def _blacklist(self, emails):
        """Blacklist addresses; one that Odoo refuses does not hold up the others."""
        Blacklist = self.env["mail.blacklist"].with_context(active_test=False)

        def blacklist(emails):
            entries = Blacklist.create([{"email": email} for email in emails])
            # ``create`` returns archived entries as they are.
            entries.filtered(lambda entry: not entry.active).action_unarchive()

        refused = self.each(sorted(emails), blacklist)
        self.count(not_blacklisted=len(refused))
