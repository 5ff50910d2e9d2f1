import tempfile
import zipfile

ARCHIVED = {
    "crm_mailchimp_consent": "consent.csv",
    "crm_mailchimp_suppression": "suppressions.csv",
    "crm_mailchimp_member": "members.csv",
    "crm_mailchimp_campaign": "campaigns.csv",
    "crm_mailchimp_recipient": "recipients.csv",
    "crm_mailchimp_recipient_event": "events.csv",
}


def post_init_hook(env):
    """Remember the addresses that are blacklisted already."""
    env["crm.mailchimp.suppression"]._note_blacklist()


def uninstall_hook(env):
    """Write consent, members and campaigns to one archive before they are dropped.

    Consent has to be provable for years. Nothing is done in Mailchimp, whose audience
    belongs to the company and not to the add-on, but for webhooks that lead here.
    """
    accounts = env["crm.mailchimp.account"].with_context(active_test=False)
    accounts.search([])._try_to_remove_webhooks()
    # Millions of rows go from PostgreSQL to the file without a stop in memory.
    with tempfile.TemporaryFile() as content:
        with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
            for table, name in ARCHIVED.items():
                with archive.open(name, "w", force_zip64=True) as member:
                    env.cr.copy_expert(
                        f"COPY (SELECT * FROM {table} ORDER BY id)"
                        " TO STDOUT WITH (FORMAT csv, HEADER)",
                        member,
                    )
        content.seek(0)
        env["ir.attachment"].create(
            {
                "name": "crm_mailchimp archive.zip",
                "raw": content.read(),
                "mimetype": "application/zip",
                "description": "Consent, members and campaigns of the Mailchimp add-on,"
                " written when it was uninstalled.",
            }
        )
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
