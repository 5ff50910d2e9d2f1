"""Give conditions and mapped fields a user who answers for them, and consent lines
their company."""

from odoo import SUPERUSER_ID, api

CONSENT_RULE = (
    "['|', '&', ('partner_id', '!=', False),"
    " ('partner_id.company_id', 'in', company_ids + [False]),"
    " '&', ('partner_id', '=', False), ('company_id', 'in', company_ids + [False])]"
)


def migrate(cr, version):
    env = api.Environment(cr, SUPERUSER_ID, {})
    # Nobody knows who wrote a condition. Whoever created the record was a manager then;
    # if that user can no longer answer for it, the user the account synchronises as
    # does.
    answers = """EXISTS (SELECT FROM res_users u
                           JOIN res_company_users_rel r ON r.user_id = u.id
                          WHERE u.id = %s.create_uid AND u.id <> %s AND u.active
                            AND r.cid = a.company_id)"""
    cr.execute(
        f"""UPDATE crm_mailchimp_account a
               SET partner_domain_user_id = CASE WHEN {answers % ("a", SUPERUSER_ID)}
                       THEN create_uid ELSE COALESCE(sync_user_id, create_uid) END,
                   partner_domain_date = create_date
             WHERE partner_domain_user_id IS NULL"""
    )
    cr.execute(
        f"""UPDATE crm_mailchimp_merge_field f
               SET author_id = CASE WHEN {answers % ("f", SUPERUSER_ID)}
                       THEN f.create_uid ELSE a.partner_domain_user_id END,
                   authored_at = f.create_date
              FROM crm_mailchimp_account a
             WHERE a.id = f.account_id AND f.author_id IS NULL"""
    )
    cr.execute(
        """UPDATE crm_mailchimp_consent c SET company_id = p.company_id
             FROM res_partner p WHERE p.id = c.partner_id"""
    )
    # An upgrade does not update this rule.
    rule = env.ref("crm_mailchimp.crm_mailchimp_consent_rule", False)
    if rule:
        rule.domain_force = CONSENT_RULE
