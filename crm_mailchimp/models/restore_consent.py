from odoo import models
from odoo.tools import SQL

from .restore import OF_ACCOUNT


class CrmMailchimpArchive(models.AbstractModel):
    """Restoring what people said; what they have said since is newer and stays."""

    _inherit = "crm.mailchimp.archive"

    def _restore_erasures(self):
        return self._copy(
            "erasures",
            "crm.mailchimp.erasure",
            {"account_id": SQL("am.id")},
            SQL(OF_ACCOUNT),
            SQL(
                "NOT EXISTS (SELECT FROM crm_mailchimp_erasure e"
                " WHERE e.account_id = am.id AND e.email_hash = a.email_hash)"
            ),
        )

    def _forget_erased(self):
        """Remove from the loaded archive whoever was erased since it was written."""
        self._query(
            "CREATE TEMP TABLE archive_erased ON COMMIT DROP AS SELECT DISTINCT"
            " email_hash FROM crm_mailchimp_erasure WHERE state = 'done'"
        )
        erased = SQL(
            "MD5(LOWER(a.email_normalized)) IN (SELECT email_hash FROM archive_erased)"
        )
        for table, lost in (
            ("consent", "note = NULL"),
            ("suppressions", "note = NULL"),
            ("recipients", "partner_id = NULL, unsubscribe_reason = NULL"),
        ):
            self._query(
                "UPDATE %s a SET email_normalized = NULL, %s WHERE %s",
                SQL.identifier(f"archive_{table}"),
                SQL(lost),
                erased,
            )
        self._query("DELETE FROM archive_members a WHERE %s", erased)

    def _restore_suppressions(self):
        """Put every "no" back, and lift those followed by a later yes."""
        self._query(
            """CREATE TEMP TABLE archive_no ON COMMIT DROP AS
               SELECT a.* FROM archive_suppressions a
                WHERE NOT EXISTS (
                      SELECT FROM crm_mailchimp_suppression s
                       WHERE (s.email_hash, s.source, s.kind, s.date)
                             = (a.email_hash, a.source, a.kind, a.date)
                         AND s.audience_ref IS NOT DISTINCT FROM a.audience_ref)"""
        )
        names = [n for n in self._names("no", "crm.mailchimp.suppression") if n != "id"]
        columns = SQL(", ").join(map(SQL.identifier, names))
        count = self._query(
            """INSERT INTO crm_mailchimp_suppression AS s (%(columns)s)
               SELECT %(columns)s FROM archive_no
               ON CONFLICT (email_hash, source, kind, (COALESCE(audience_ref, '')))
                     WHERE lifted_at IS NULL
               DO UPDATE SET date = EXCLUDED.date, note = EXCLUDED.note
                     WHERE s.date < EXCLUDED.date""",
            columns=columns,
        )
        # An opt-in in Odoo, or a sign-up in Mailchimp, since the archive was written.
        for source, yes in (
            (
                SQL("s.source <> 'mailchimp'"),
                SQL(
                    "SELECT MD5(LOWER(c.email_normalized)) AS email_hash,"
                    " MAX(c.date) AS date, 'opt_in' AS by FROM crm_mailchimp_consent c"
                    " WHERE c.kind = 'in' AND c.email_normalized IS NOT NULL GROUP BY 1"
                ),
            ),
            (
                SQL("TRUE"),
                SQL(
                    "SELECT MD5(LOWER(m.email_normalized)) AS email_hash,"
                    " MAX(m.opt_in_date) AS date, 'mailchimp' AS by"
                    " FROM crm_mailchimp_member m WHERE m.status = 'subscribed'"
                    " AND m.origin <> 'odoo' AND m.opt_in_date IS NOT NULL GROUP BY 1"
                ),
            ),
        ):
            self._query(
                """UPDATE crm_mailchimp_suppression s
                      SET lifted_at = yes.date, lifted_by = yes.by
                     FROM (%s) yes
                    WHERE yes.email_hash = s.email_hash AND yes.date > s.date
                      AND s.lifted_at IS NULL AND %s
                      AND EXISTS (SELECT FROM archive_no n
                                   WHERE n.email_hash = s.email_hash)""",
                yes,
                source,
            )
        return count

    def _restore_consent(self):
        """Put the lines back before those written since: they are ordered by id.

        :return: ``(number of lines restored, id of the last archived line)``
        """
        cr = self.env.cr
        self._query("LOCK TABLE crm_mailchimp_consent IN SHARE ROW EXCLUSIVE MODE")
        cr.execute(
            "SELECT COALESCE((SELECT MAX(id) FROM archive_consent), 0),"
            " COALESCE((SELECT MAX(id) FROM crm_mailchimp_consent), 0)"
        )
        last, present = cr.fetchone()
        self._query(
            """CREATE TEMP TABLE archive_kept ON COMMIT DROP AS
               SELECT c.id FROM crm_mailchimp_consent c
                 JOIN archive_consent a USING (id, create_date, kind)"""
        )
        self._query(
            "UPDATE crm_mailchimp_consent c SET id = id + %s WHERE id <= %s"
            " AND NOT EXISTS (SELECT FROM archive_kept k WHERE k.id = c.id)",
            max(last, present),
            last,
        )
        count = self._copy(
            "consent",
            "crm.mailchimp.consent",
            {"id": SQL("a.id")},
            where=SQL("NOT EXISTS (SELECT FROM archive_kept k WHERE k.id = a.id)"),
        )
        self._query(
            "SELECT SETVAL('crm_mailchimp_consent_id_seq', GREATEST(%s,"
            " (SELECT MAX(id) FROM crm_mailchimp_consent), 1))",
            last,
        )
        return count, last

    def _restore_contacts(self, last):
        """Switch the opt-in on again for contacts nothing was said about since.

        Any line since, even an opt-in, is newer than the archive; so is a "no" of one
        of the addresses that is later than the archived opt-in.

        :param int last: id of the last archived consent line
        """
        said = SQL("('unsubscribed', 'complained', 'opt_out')")
        count = self._query(
            r"""UPDATE res_partner p
                   SET mailchimp_opt_in = TRUE,
                       mailchimp_opt_in_date = a.mailchimp_opt_in_date
                  FROM archive_contacts a
                 WHERE p.id IN (SELECT id FROM archive_people) AND p.id = a.id
                   AND a.mailchimp_opt_in AND p.mailchimp_opt_in IS NOT TRUE
                   AND NOT EXISTS (
                       SELECT FROM crm_mailchimp_consent c
                        WHERE c.partner_id = p.id AND c.id > %s)
                   AND NOT EXISTS (
                       SELECT FROM REGEXP_MATCHES(
                                  LOWER(CONCAT(p.email_normalized, ' ', p.email)),
                                  '[^\s,;<>"]+@[^\s,;<>"]+', 'g') AS found(word)
                         JOIN crm_mailchimp_suppression s
                           ON s.email_hash = MD5(found.word[1])
                        WHERE s.kind IN %s AND s.date > a.mailchimp_opt_in_date
                          AND s.lifted_by IS DISTINCT FROM 'mailchimp')""",
            last,
            said,
        )
        self._query(
            "UPDATE res_partner p SET gender = a.gender FROM archive_contacts a"
            " WHERE p.id IN (SELECT id FROM archive_people) AND p.id = a.id"
            " AND p.gender IS NULL AND a.gender IS NOT NULL"
        )
        return count

    def _restore_leads(self):
        """Switch the opt-in of leads on again.

        It keeps its date: a "no" since then counts when the lead becomes a contact.
        """
        return self._query(
            """UPDATE crm_lead l
                  SET mailchimp_opt_in = TRUE,
                      mailchimp_opt_in_date = a.mailchimp_opt_in_date,
                      mailchimp_opt_in_note = a.mailchimp_opt_in_note
                 FROM archive_leads a
                WHERE l.id = a.id AND l.create_date = a.create_date
                  AND a.mailchimp_opt_in AND l.mailchimp_opt_in IS NOT TRUE"""
        )
