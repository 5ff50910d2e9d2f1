"""Convert the note of what is about to be created in Mailchimp: now several things."""

from odoo.tools import SQL


def migrate(cr, version):
    cr.execute(
        SQL(
            """UPDATE crm_mailchimp_account
                  SET remote_refs = JSONB_SET(
                      remote_refs, '{creating}', JSONB_BUILD_OBJECT(
                          'names', JSONB_BUILD_OBJECT(
                              remote_refs->'creating'->>'key',
                              remote_refs->'creating'->'name'),
                          'known', COALESCE(remote_refs->'creating'->'known', '[]')))
                WHERE JSONB_EXISTS(remote_refs->'creating', 'key')"""
        )
    )
