"""Conditions and mapped fields get somebody who answers for them; consent lines know
their company."""

from odoo import SUPERUSER_ID, api

CONSENT_RULE = (
    "['|', '&', ('partner_id', '!=', False),"
    " ('partner_id.company_id', 'in', company_ids + [False]),"
    " '&', ('partner_id', '=', False), ('company_id', 'in', company_ids + [False])]"
)


def migrate(cr, version):
    env = api.Environment(cr, SUPERUSER_ID, {})
    # Nobody knows who wrote the condition. Whoever made the account was a manager.
    cr.execute(
        """UPDATE crm_mailchimp_account
              SET partner_domain_user_id = CASE WHEN create_uid <> %(root)s
                      THEN create_uid ELSE COALESCE(sync_user_id, create_uid) END,
                  partner_domain_date = COALESCE(create_date, NOW() AT TIME ZONE 'UTC')
            WHERE partner_domain_user_id IS NULL""",
        {"root": SUPERUSER_ID},
    )
    cr.execute(
        """UPDATE crm_mailchimp_merge_field f
              SET author_id = CASE WHEN f.create_uid <> %(root)s THEN f.create_uid
                                   ELSE a.partner_domain_user_id END,
                  authored_at = f.create_date
             FROM crm_mailchimp_account a
            WHERE a.id = f.account_id AND f.author_id IS NULL""",
        {"root": SUPERUSER_ID},
    )
    cr.execute(
        """UPDATE crm_mailchimp_consent c SET company_id = p.company_id
             FROM res_partner p WHERE p.id = c.partner_id"""
    )
    # Rules are not updated by an upgrade.
    rule = env.ref("crm_mailchimp.crm_mailchimp_consent_rule", False)
    if rule:
        rule.domain_force = CONSENT_RULE
