import csv
import io
import zipfile

ARCHIVED = {
    "crm_mailchimp_consent": "consent.csv",
    "crm_mailchimp_member": "members.csv",
    "crm_mailchimp_campaign": "campaigns.csv",
}


def uninstall_hook(env):
    """Write consent, members and campaigns to one archive before they are dropped.

    Consent has to be provable for years. Nothing is done in Mailchimp: its audience
    belongs to the company, not to the add-on.
    """
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for table, name in ARCHIVED.items():
            text = io.StringIO()
            writer = csv.writer(text)
            env.cr.execute(f"SELECT * FROM {table} ORDER BY id")  # pylint: disable=sql-injection
            writer.writerow(column.name for column in env.cr.description)
            writer.writerows(env.cr.fetchall())
            archive.writestr(name, text.getvalue())
    env["ir.attachment"].create(
        {
            "name": "crm_mailchimp archive.zip",
            "raw": content.getvalue(),
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
