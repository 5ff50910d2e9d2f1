"""Fill the list of those who said no from the ledger, the consent lines and the
blacklist; the ledger itself stays as it is."""

from odoo import SUPERUSER_ID, api
from odoo.tools import SQL

FROM_LEDGER = """
    SELECT DISTINCT ON (email_hash, kind, audience_ref) * FROM (
        SELECT MD5(LOWER(m.email_normalized)) AS email_hash, m.email_normalized,
               'mailchimp' AS source,
               CASE WHEN m.status = 'cleaned' THEN 'cleaned'
                    WHEN m.no_date IS NOT NULL THEN 'unsubscribed'
                    ELSE m.reason END AS kind,
               COALESCE(m.no_date, m.last_changed, m.refused_at, m.create_date) AS date,
               m.reason_text AS note, a.audience_ref, a.audience_name
          FROM crm_mailchimp_member m
          JOIN crm_mailchimp_account a ON a.id = m.account_id
         WHERE COALESCE(m.status, '') NOT IN ('subscribed', 'pending')
           AND (m.status = 'cleaned' OR m.no_date IS NOT NULL
                OR m.reason IN ('forgotten', 'compliance'))) no
     ORDER BY email_hash, kind, audience_ref, date DESC
"""
FROM_CONSENT = """
    SELECT DISTINCT ON (email_normalized)
           MD5(LOWER(email_normalized)) AS email_hash, email_normalized,
           'odoo' AS source, 'opt_out' AS kind, date, note, NULL AS audience_ref,
           NULL AS audience_name
      FROM crm_mailchimp_consent
     WHERE kind = 'out' AND email_normalized IS NOT NULL
  ORDER BY email_normalized, date DESC
"""


def migrate(cr, version):
    env = api.Environment(cr, SUPERUSER_ID, {})
    suppression = env["crm.mailchimp.suppression"]
    suppression._upsert(SQL(FROM_LEDGER))
    suppression._upsert(SQL(FROM_CONSENT))
    suppression._note_blacklist()
    # An opt-in after a "no" said in Odoo lifts it, as it always did.
    cr.execute(
        """UPDATE crm_mailchimp_suppression s
              SET lifted_at = p.date, lifted_by = 'opt_in'
             FROM (SELECT MD5(LOWER(email_normalized)) AS email_hash,
                          MAX(mailchimp_opt_in_date) AS date
                     FROM res_partner WHERE mailchimp_opt_in GROUP BY 1) p
            WHERE p.email_hash = s.email_hash AND p.date >= s.date
              AND s.source = 'odoo' AND s.lifted_at IS NULL"""
    )
    cr.execute("UPDATE crm_mailchimp_consent SET noted_at = create_date")
    # Anybody who has been eligible since the first run and opts out is ours to archive.
    cr.execute(
        """UPDATE crm_mailchimp_account a
              SET linked_at = COALESCE(
                      (SELECT MIN(create_date) FROM crm_mailchimp_run r
                        WHERE r.account_id = a.id AND r.kind IN ('push', 'full')),
                      a.create_date)
            WHERE a.audience_ref IS NOT NULL AND a.linked_at IS NULL"""
    )
    # Read again and to the end, whatever a run left behind.
    cr.execute(
        "UPDATE crm_mailchimp_account SET look_again = TRUE"
        " WHERE audience_ref IS NOT NULL"
    )
    # An account that already pushes is set up: from now on, a change of its scope can
    # be recognised.
    cr.execute(
        """UPDATE crm_mailchimp_account
              SET scope_sent = JSONB_BUILD_OBJECT(
                      'partner_kind', partner_kind, 'email_scope', email_scope,
                      'partner_domain', partner_domain)
            WHERE push_enabled AND scope_sent IS NULL"""
    )
