def post_init_hook(env):
    """Remember the addresses that are blacklisted already."""
    env["crm.mailchimp.suppression"]._note_blacklist()


def uninstall_hook(env):
    """Leave an archive of all that is about to be dropped.

    Consent has to be provable for years. Nothing is done in Mailchimp, whose audience
    belongs to the company and not to the add-on, but for webhooks that lead here.
    """
    accounts = env["crm.mailchimp.account"].with_context(active_test=False)
    accounts.search([])._try_to_remove_webhooks()
    env["crm.mailchimp.archive"]._write_archive()
    env["ir.config_parameter"].search([("key", "=like", "crm_mailchimp.%")]).unlink()
    # Bookkeeping that Odoo's own clean-up passes over: foreign keys on its tables,
    # which go with their columns, and names its modules gave to parts of our models.
    env.cr.execute(
        "DELETE FROM ir_model_constraint WHERE type = 'f' AND module ="
        " (SELECT id FROM ir_module_module WHERE name = 'crm_mailchimp')"
    )
    env.cr.execute(
        "DELETE FROM ir_model_data WHERE module <> 'crm_mailchimp'"
        " AND model LIKE 'ir.model.%' AND STRPOS(name, '__crm_mailchimp_') > 0"
    )
