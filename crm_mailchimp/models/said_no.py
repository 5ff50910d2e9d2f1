from odoo import models
from odoo.tools import SQL

from ..engine.vocabulary import ABOUT_ADDRESS, SAID
from .eligibility import SEVERAL

# Days for which a "no" of an address still counts for a contact that left it.
LEFT_DAYS = 30
EMPTY = SQL()


class CrmMailchimpAccount(models.Model):
    """What a "no" does to contacts, as SQL: whom it bars, who loses the opt-in."""

    _inherit = "crm.mailchimp.account"

    def _said_no_condition(self, asking):
        """Return ``SQL``: the person said no in Mailchimp, here or elsewhere.

        Somebody whom Mailchimp's mail has asked and who has not answered yet is kept.
        """
        if asking:
            return SQL("n.said_at >= COALESCE(p.mailchimp_opt_in_date, '-infinity')")
        return SQL(
            "n.said_at IS NOT NULL"
            " AND (m.status = 'pending' AND m.asked_at >= n.said_at) IS NOT TRUE"
        )

    def _address_said_no_condition(self):
        """Return ``SQL``: contact ``p`` of member ``m`` leaves because of a "no"."""
        return SQL(
            """EXISTS (
                   SELECT FROM crm_mailchimp_suppression s
                    WHERE s.email_hash = MD5(LOWER(m.email_normalized))
                      AND s.kind NOT IN %s
                      AND (s.lifted_at IS NULL OR s.lifted_by = 'opt_in'
                           AND s.date > p.mailchimp_opt_in_date))
               OR EXISTS (
                   SELECT FROM mail_blacklist b
                    WHERE b.email = m.email_normalized AND b.active)""",
            ABOUT_ADDRESS,
        )

    def _opt_in_to_take_condition(self, few):
        """Return ``SQL``: a "no" in Mailchimp still has to take the opt-in of ``p``."""
        if few:
            return SQL(
                "EXISTS (%s AND m.partner_id = p.id)", self._said_no_by_member_sql()
            )
        return SQL(
            "p.id IN (%s)",
            self._said_no_by_member_sql(
                SQL("JOIN res_partner p ON p.id = m.partner_id")
            ),
        )

    def _said_no_sql(self):
        """Return a query with the contacts whose opt-in a "no" in Mailchimp takes.

        A "no" is the contact's if the contact has the address, or left it less than
        ``LEFT_DAYS`` days before: mail to a former address is read for some time, but
        later the address may be a stranger's. The ledgers of former audiences count,
        too.

        :return: ``SQL``: ``partner_id, email, date, note``
        """
        by_address = SQL(
            """LEFT JOIN crm_mailchimp_member m
                      ON m.account_id = ANY(%s) AND m.partner_id = p.id
                     AND m.email_normalized = s.email_normalized
                   WHERE p.mailchimp_opt_in AND %s""",
            (self + self._formers()).ids,
            self._takes_opt_in_condition(),
        )
        return SQL(
            """%(by_member)s
         UNION SELECT p.id, s.email_normalized, s.date, s.note
                 FROM crm_mailchimp_suppression s
                 JOIN res_partner p ON p.email_normalized = s.email_normalized
                 %(by_address)s
         UNION SELECT p.id, s.email_normalized, s.date, s.note
                 FROM res_partner p
                 JOIN LATERAL (%(addresses)s) a ON a.place > 0
                 JOIN crm_mailchimp_suppression s ON s.email_normalized = a.email
                 %(by_address)s AND %(several)s""",
            by_member=self._said_no_by_member_sql(
                SQL("JOIN res_partner p ON p.id = m.partner_id"),
                SQL(", s.email_normalized AS email, s.date, s.note"),
            ),
            by_address=by_address,
            addresses=self._addresses_sql(),
            several=SQL(SEVERAL) if self.email_scope == "all" else SQL("FALSE"),
        )

    def _said_no_by_member_sql(self, join=EMPTY, columns=EMPTY):
        """Return the part of :meth:`_said_no_sql` that comes from the ledger.

        :param SQL join: join of contact ``p``, unless an outer query has it
        :param SQL columns: further columns, with a comma in front
        """
        return SQL(
            """SELECT m.partner_id %(columns)s
                 FROM crm_mailchimp_suppression s
                 JOIN crm_mailchimp_member m
                   ON m.account_id = ANY(%(accounts)s)
                  AND m.email_normalized = s.email_normalized
                 JOIN crm_mailchimp_account l ON l.id = m.account_id %(join)s
                WHERE p.mailchimp_opt_in AND %(takes)s
                  -- What a contact did after another audience was linked is not in
                  -- the former ledger.
                  AND COALESCE(s.date < COALESCE(m.left_at, l.replaced_at)
                                        + MAKE_INTERVAL(days => %(days)s), TRUE)""",
            columns=columns,
            accounts=(self + self._formers()).ids,
            join=join,
            takes=self._takes_opt_in_condition(),
            days=LEFT_DAYS,
        )

    def _takes_opt_in_condition(self):
        """Return ``SQL``: the "no" ``s`` is not older than the opt-in of ``p``.

        An opt-in that a run has seen cannot be later than that run, whatever Odoo's
        clock said when it was ticked.
        """
        return SQL(
            "s.lifted_at IS NULL AND s.kind IN %s AND s.date >="
            " CASE WHEN m.opt_in_seen = p.mailchimp_opt_in_date"
            " THEN LEAST(m.opt_in_seen, m.opt_in_seen_at)"
            " ELSE COALESCE(p.mailchimp_opt_in_date, '-infinity') END",
            SAID,
        )
