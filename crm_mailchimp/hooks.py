from odoo.tools import sql

from .models.res_partner import ResPartner

#: Columns added to tables that salespeople use all day.
COLUMNS = {
    "res_partner": {
        "gender": "varchar",
        "mailchimp_opt_in": "bool",
        "mailchimp_opt_in_date": "timestamp",
    },
    "crm_lead": {
        "mailchimp_opt_in": "bool",
        "mailchimp_opt_in_date": "timestamp",
        "mailchimp_opt_in_note": "varchar",
    },
}


def pre_init_hook(env):
    """Add the columns and indexes of contacts and leads in transactions of their own.

    Odoo would add them in the one that installs the add-on, and adding a column locks
    the table: nobody could open a contact or a lead until everything is installed.
    """
    for table, columns in COLUMNS.items():
        for name, kind in columns.items():
            if not sql.column_exists(env.cr, table, name):
                sql.create_column(env.cr, table, name, kind)
        env.cr.commit()  # pylint: disable=invalid-commit
    for index in ResPartner._table_object_definitions:
        index.apply_to_database(env["res.partner"])
        env.cr.commit()  # pylint: disable=invalid-commit


def post_init_hook(env):
    """Note the addresses that are already blacklisted."""
    env["crm.mailchimp.suppression"]._note_blacklist()


def uninstall_hook(env):
    """Leave an archive of everything that is about to be dropped.

    Consent has to be provable for years. Nothing is changed in Mailchimp, whose
    audience belongs to the company and not to the add-on, except that webhooks that
    lead here are removed.
    """
    accounts = env["crm.mailchimp.account"].with_context(active_test=False)
    accounts.search([])._try_to_remove_webhooks()
    env["crm.mailchimp.archive"]._write_archive()
    env["ir.config_parameter"].search([("key", "=like", "crm_mailchimp.%")]).unlink()
    # Records that Odoo's own clean-up misses: those of foreign keys on Odoo's tables,
    # which go with their columns, and external ids that its modules gave to parts of
    # our models.
    env.cr.execute(
        "DELETE FROM ir_model_constraint WHERE type = 'f' AND module ="
        " (SELECT id FROM ir_module_module WHERE name = 'crm_mailchimp')"
    )
    env.cr.execute(
        "DELETE FROM ir_model_data WHERE module <> 'crm_mailchimp'"
        " AND model LIKE 'ir.model.%' AND STRPOS(name, '__crm_mailchimp_') > 0"
    )
