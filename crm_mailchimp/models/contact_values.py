"""The way back: from values of Mailchimp's merge fields to those of a contact."""

from odoo import fields, models

# Nothing typed in Mailchimp may ever change who may see a contact, or whether and where
# it is sent.
NEVER = {
    *("active", "company_id", "email", "mailchimp_opt_in", "parent_id", "user_id"),
    *("is_company", "company_type", "type", "is_published", "website_published"),
}
# Nor may it change which records belong together, with the rights that follow from it.
NEVER_LINKED = {"res.partner", "res.users", "res.company", "res.groups"}
ADDRESS_FIELDS = {"addr1": "street", "addr2": "street2", "city": "city", "zip": "zip"}


class CrmMailchimpMergeField(models.Model):
    _inherit = "crm.mailchimp.merge.field"

    def _is_writable(self):
        """Return whether a value of this line may be written to a contact.

        The one rule of the way back, for existing contacts and for new ones.
        """
        self.ensure_one()
        if self.source != "field":
            return self.source in ("first_name", "last_name", "address")
        first, *rest = (self.field_path or "").split(".")
        field = self.env["res.partner"]._fields.get(first)
        if (
            not field
            or first in NEVER
            or field.comodel_name in NEVER_LINKED
            or field.readonly
            or not field.store
            # Hidden from some users, or one company's terms with the contact, such as
            # those of payment: not data about the person.
            or field.groups
            or (field.company_dependent and field.type != "char")
            or len(rest) > 1
        ):
            return False
        if field.type == "many2one":
            return True
        return not rest and field.type in (
            *("char", "text", "selection", "boolean"),
            *("integer", "float", "monetary", "date"),
        )

    def _contact_vals(self, value):
        """Return the field values of a contact for a value of this merge field.

        :param value: text, number, address or ``None``
        :return: dict of values, or ``None`` when Odoo has no such value
        """
        if self.source == "address":
            return self._address_vals(value or {})
        first, *rest = self.field_path.split(".")
        field = self.env["res.partner"]._fields[first]
        if value is None:
            return {first: False}
        if field.type == "many2one":
            found = self._find_record(
                field.comodel_name, rest[0] if rest else "", value
            )
            return found and {first: found.id}
        if field.type == "selection":
            labels = dict(field._description_selection(self.env))
            keys = [key for key, label in labels.items() if label == value]
            return {first: keys[0]} if keys else None
        if field.type == "boolean":
            answers = {self.env._("Yes"): True, self.env._("No"): False}
            return {first: answers[value]} if value in answers else None
        try:
            if field.type == "date":
                return {first: fields.Date.to_date(value)}
            if field.type == "integer":
                return {first: int(value)}
            if field.type in ("float", "monetary"):
                return {first: float(value)}
        except ValueError:
            return None
        return {first: str(value)}

    def _find_record(self, model_name, field_name, value):
        """Return the only record with that name, or ``None``."""
        model = self.env[model_name].sudo()
        name = field_name or model._rec_name
        if not name or not model._fields[name]._description_searchable:
            return None
        found = model.search([(name, "=", value)], limit=2)
        return found if len(found) == 1 else None

    def _address_vals(self, value):
        vals = {name: value.get(part) or False for part, name in ADDRESS_FIELDS.items()}
        country = value.get("country")
        country = country and self._find_record("res.country", "code", country.upper())
        state = value.get("state")
        if country and state:
            state = (
                self.env["res.country.state"]
                .sudo()
                .search(
                    [
                        ("country_id", "=", country.id),
                        "|",
                        ("name", "=ilike", state),
                        ("code", "=ilike", state),
                    ],
                    limit=1,
                )
            )
            vals["state_id"] = state.id
        if country:
            vals["country_id"] = country.id
        return vals


class CrmMailchimpAccount(models.Model):
    _inherit = "crm.mailchimp.account"

    def _contact_vals(self, back, merge, is_company):
        """Return what to write to a contact for values changed in Mailchimp.

        :param dict back: ``{tag: value}`` to bring back; ``None`` empties the field
        :param dict merge: all merge values of the member, as a name takes two of them
        :param bool is_company: whether it is a company, whose name is all in the first
            name
        :return: ``(values, tags)``: the field values, and the tags of ``back`` whose
            values Odoo cannot represent or that may not be written
        """
        self = self.with_context(lang=self.lang)
        vals, refused = {}, set()
        names = {}
        for line in self.merge_field_ids.filtered(lambda line: line.tag in back):
            if not line._is_writable():
                refused.add(line.tag)
                continue
            if line.source in ("first_name", "last_name"):
                names[line.source] = line.tag
                continue
            found = line._contact_vals(back[line.tag])
            if found is None:
                refused.add(line.tag)
            else:
                vals.update(found)
        if names:
            name_vals = self._name_vals(merge, is_company)
            if name_vals:
                vals.update(name_vals)
            else:
                refused.update(names.values())
        return vals, refused

    def _name_vals(self, merge, is_company):
        parts = {
            line.source: merge.get(line.tag) or ""
            for line in self.merge_field_ids
            if line.source in ("first_name", "last_name")
        }
        first, last = parts.get("first_name", ""), parts.get("last_name", "")
        if is_company:
            return {"name": first} if first and not last else None
        if not first and not last:
            return None  # a contact keeps its name
        if "firstname" in self.env["res.partner"]._fields:
            return {"firstname": first or False, "lastname": last or False}
        return {"name": f"{first} {last}".strip()}
