from odoo import api, models
from odoo.exceptions import AccessError


class CrmMailchimpGuarded(models.AbstractModel):
    """Fields that are read-only on screen are read-only for every user.

    In Odoo, ``readonly`` only concerns views: by RPC, an import or a default, anybody
    who may write the record may write such a field. Here, only the add-on itself writes
    it, as the superuser: a made-up state, audience or time would decide who is sent to
    Mailchimp.
    """

    _name = "crm.mailchimp.guarded"
    _description = "Record With Fields Only Odoo Writes"

    # Read-only fields that the model itself guards by signing them.
    _signed = ()

    @api.model
    def _own_fields(self):
        """Return the names of the fields that only the add-on writes."""
        return {
            name
            for name, field in self._fields.items()
            if field.readonly
            and field.store
            and name not in self._signed
            and name not in models.MAGIC_COLUMNS
        }

    @api.model
    def default_get(self, fields):
        """Ignore context and user defaults for fields that only the add-on writes."""
        if self.env.su:
            return super().default_get(fields)
        own = self._own_fields().intersection(fields)
        values = super().default_get([name for name in fields if name not in own])
        for name in own:
            field = self._fields[name]
            if field.default and not field.compute:
                values[name] = field.default(self)
        return values

    @api.model_create_multi
    def create(self, vals_list):
        if not self.env.su:
            for name in self._own_fields():
                field = self._fields[name]
                default = field.default and field.default(self)
                for vals in vals_list:
                    if vals.get(name) and vals[name] != default:
                        self._refuse_own(name)
        return super().create(vals_list)

    def write(self, vals):
        if not self.env.su:
            for name in self._own_fields().intersection(vals):
                field = self._fields[name]
                # A form may send back the value it has.
                if any(
                    (field.convert_to_write(record[name], record) or False)
                    != (vals[name] or False)
                    for record in self
                ):
                    self._refuse_own(name)
        return super().write(vals)

    def _refuse_own(self, name):
        raise AccessError(
            self.env._(
                "Odoo itself sets “%(field)s”; it cannot be entered or imported. Leave"
                " it out.",
                field=self._fields[name]._description_string(self.env),
            )
        )
