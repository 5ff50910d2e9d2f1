import json
import logging

import psycopg2

from odoo.exceptions import UserError
from odoo.tools import SQL, mute_logger

from ..engine.vocabulary import NOT_TAKEN
from .phase import Phase

_logger = logging.getLogger(__name__)

# Contacts written in one transaction: few, so that nobody waits to save a contact.
CONTACTS = 100


class ContactPhase(Phase):
    """A phase that writes contacts in such a way that one that refuses stops no other.

    A value may be too large for its field, a constraint or a required field of another
    add-on may forbid it, an automation rule or an overridden ``write`` may raise.
    Something that somebody typed in Mailchimp must not stop everybody else.
    """

    def each(self, items, act):
        """Do something to several contacts at once or, if that fails, one by one.

        :param items: what to call ``act`` with; hashable
        :param act: takes a list of items; if it raises, everything it did is undone,
            and it is called again for each item alone
        :return: ``{item: sentence}`` for those that refused; the sentence says why
        """
        items = list(items)
        if not items:
            return {}
        # An error in what was already waiting to be written is not the items' fault.
        self.env.cr.flush()
        try:
            with mute_logger("odoo.sql_db"), self.env.cr.savepoint(flush=True):
                act(items)
            return {}
        except (psycopg2.OperationalError, psycopg2.InterfaceError):
            raise  # the database's fault, not a contact's: the slice is repeated
        except Exception as error:
            if len(items) == 1:
                return {items[0]: self._why_refused(error)}
        refused = {}
        for item in items:
            refused.update(self.each([item], act))
        return refused

    def _why_refused(self, error):
        """Return why a contact refused a change, in words."""
        if isinstance(error, UserError):
            _logger.info("A contact refuses a change: %s", error)
            return " ".join(str(error.args[0]).split())
        if isinstance(error, psycopg2.IntegrityError):
            _logger.info("The database refuses a change of a contact: %s", error)
            sentence = self.env["res.partner"]._sql_error_to_message(error)
            return " ".join(sentence.split())
        if isinstance(error, psycopg2.Error):
            _logger.info("The database refuses a change of a contact: %s", error)
            return self.env._("The value does not fit the field in Odoo.")
        # A fault in other code: the log has the details.
        _logger.warning("A contact cannot be changed", exc_info=error)
        return self.env._(
            "An automation rule or another app failed (%s). Ask your administrator to "
            "check the log.",
            type(error).__name__,
        )

    def note_not_taken(self, found):
        """Note on members what Odoo refused, for the status list and the export.

        :param dict found: member id -> ``(sentence, what was refused)``
        """
        if not found:
            return
        members = self.env["crm.mailchimp.member"].browse(found)
        rows = []
        for member in members:
            sentence, refused = found[member.id]
            refused = json.loads(json.dumps(refused, default=str))
            before = (member.reason, member.reason_text, member.values_refused or None)
            if before != (NOT_TAKEN, sentence, refused):
                rows.append((member.id, NOT_TAKEN, sentence, refused))
        members._update_rows(("reason", "reason_text", "values_refused"), rows)
        self.count(not_taken=len(rows))

    def forget_not_taken(self):
        """Clear the reason on members where nothing is left to take over."""
        account = self.account
        account._flush_contacts()
        importing = account.foreign_members == "import"
        ids = [
            row[0]
            for row in self.env.execute_query(
                SQL(
                    """SELECT m.id FROM crm_mailchimp_member m
                        WHERE m.account_id = %(account)s AND m.reason = %(reason)s
                          AND NOT (m.wanted IS TRUE
                                   AND m.status IS NOT DISTINCT FROM 'subscribed'
                                   AND %(back)s)
                          AND NOT (m.origin = 'foreign'
                                   AND m.status IS NOT DISTINCT FROM 'subscribed'
                                   AND m.wanted IS NOT TRUE AND %(importing)s)
                          AND NOT (COALESCE(m.status, 'subscribed')
                                   NOT IN ('subscribed', 'pending')
                                   AND EXISTS (
                              SELECT FROM res_partner p
                               WHERE p.mailchimp_opt_in
                                 AND (p.id = m.partner_id
                                      OR p.email_normalized = m.email_normalized)))""",
                    account=account.id,
                    reason=NOT_TAKEN,
                    back=account.sync_direction != "push",
                    importing=importing,
                )
            )
        ]
        self.settle(ids)

    def settle(self, member_ids):
        """Clear the reason on members that Odoo no longer refuses."""
        self.env["crm.mailchimp.member"]._update_rows(
            ("reason", "reason_text", "values_refused"),
            [(member_id, None, None, None) for member_id in member_ids],
        )

    def write_contacts(self, changes):
        """Write values that were changed in Mailchimp; leave locked contacts alone.

        :param dict changes: ``{contact id: field values}``, for a few contacts
        :return: ``(written, refused)``: ids of the contacts that were written, and
            ``{contact id: sentence}`` of those that refuse their values
        """
        Partner = self.env["res.partner"]
        partners = Partner.browse(changes).try_lock_for_update(allow_referencing=True)

        def write(ids):
            for partner in Partner.browse(ids):
                partner.write(changes[partner.id])

        refused = self.each(partners.ids, write)
        written = set(partners.ids) - refused.keys()
        self.count(brought_back=len(written))
        self.commit()
        return written, refused
