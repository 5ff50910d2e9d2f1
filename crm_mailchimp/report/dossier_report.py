import json

from odoo import api, models
from odoo.exceptions import AccessError
from odoo.fields import Domain

from ..engine.address import member_hash

# Fields that say nothing about the person.
BOOKKEEPING = {
    *("id", "write_date", "write_uid", "fingerprint", "seen_in_run", "partner_id"),
    *("recipient_id", "display_name"),
}
CONTACT = (
    *("name", "email", "company_id", "mailchimp_opt_in", "mailchimp_opt_in_date"),
    *("gender", "mailchimp_status", "mailchimp_reason", "mailchimp_segment_ids"),
)


class DossierReport(models.AbstractModel):
    """Everything the add-on stores about a person, as one file to hand over.

    The data is found, not listed: every stored model of the add-on that has a contact,
    an address or the hash of one is searched, so that none added later is forgotten.
    Users see what record rules let them see, and no secret.
    """

    _name = "report.crm_mailchimp.report_dossier"
    _description = "Everything Stored About a Person"

    @api.model
    def _get_report_values(self, docids, data=None):
        if not self.env.user.has_group("crm_mailchimp.group_mailchimp_manager"):
            raise AccessError(
                self.env._("Only a Mailchimp manager may print everything stored.")
            )
        partners = (
            self.env["res.partner"].with_context(active_test=False).browse(docids)
        )
        partners.check_access("read")
        return {
            "doc_ids": docids,
            "doc_model": "res.partner",
            "docs": partners,
            "sections": {partner.id: self._sections(partner) for partner in partners},
        }

    def _sections(self, partner):
        """Return ``[(title, [columns], [[cells]])]``, all of them texts."""
        emails = partner._mailchimp_known_addresses()
        hashes = [member_hash(email) for email in emails]
        sections = [
            (
                self.env._("Contact"),
                [self._label(partner, name) for name in CONTACT],
                [[self._text(partner, name) for name in CONTACT]],
            )
        ]
        recipients = self.env["crm.mailchimp.recipient"]
        for name in sorted(self.env.registry):
            Model = self.env[name]
            if (
                not name.startswith("crm.mailchimp.")
                or Model._abstract
                or Model._transient
                or not Model._auto
                or not Model.has_access("read")
            ):
                continue
            domains = [
                Domain(field, "in", values)
                for field, values in (
                    ("partner_id", partner.ids),
                    ("email_normalized", emails),
                    ("email", emails),
                    ("new_email", emails),
                    ("email_hash", hashes),
                )
                if field in Model._fields and Model._fields[field].store
            ]
            if name == "crm.mailchimp.recipient.event":
                domains = [Domain("recipient_id", "in", recipients.ids)]
            if not domains:
                continue
            found = Model.with_context(active_test=False).search(Domain.OR(domains))
            if name == recipients._name:
                recipients = found
            if found:
                sections.append(self._section(found))
        return sections

    def _section(self, records):
        names = [
            name
            for name, field in records._fields.items()
            if field.store
            and name not in BOOKKEEPING
            and field.type not in ("one2many", "many2many", "binary")
            and records._has_field_access(field, "read")
            and any(record[name] for record in records)
        ]
        return (
            records._description,
            [self._label(records, name) for name in names],
            [[self._text(record, name) for name in names] for record in records],
        )

    def _label(self, records, name):
        return records._fields[name]._description_string(self.env)

    def _text(self, record, name):
        field, value = record._fields[name], record[name]
        if field.type == "boolean":
            return self.env._("yes") if value else self.env._("no")
        if not value and field.type not in ("integer", "float"):
            return ""
        if field.relational:
            return ", ".join(value.sudo().mapped("display_name"))
        if field.type == "selection":
            return dict(field._description_selection(self.env)).get(value, value)
        if field.type == "json":
            return json.dumps(value, ensure_ascii=False)
        return str(value)
