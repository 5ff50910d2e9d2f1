from odoo import SUPERUSER_ID, api


def migrate(cr, version):
    env = api.Environment(cr, SUPERUSER_ID, {})
    _rename_the_push(env)


def _rename_the_push(env):
    """Give the scheduled action its new name, unless somebody gave it another.

    An upgrade leaves scheduled actions as they are.
    """
    cron = env.ref("crm_mailchimp.ir_cron_push", raise_if_not_found=False)
    if cron and cron.name == "Mailchimp: synchronise contacts":
        cron.name = "Mailchimp: sync contacts"
