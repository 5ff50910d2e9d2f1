from odoo import api, fields, models
from odoo.exceptions import ValidationError

from ..engine.payload import MergeField

SOURCES = [
    ("first_name", "First name"),
    ("last_name", "Last name"),
    ("address", "Postal address"),
    ("field", "Contact field"),
]


class CrmMailchimpMergeField(models.Model):
    """One line of the field mapping: a merge tag of the audience <- an Odoo value."""

    _name = "crm.mailchimp.merge.field"
    _description = "Mailchimp Merge Field"
    _order = "sequence, id"

    account_id = fields.Many2one(
        "crm.mailchimp.account", required=True, ondelete="cascade", index=True
    )
    company_id = fields.Many2one(related="account_id.company_id")
    sequence = fields.Integer(default=10)
    tag = fields.Char(
        required=True,
        help="The merge tag in Mailchimp: up to 10 of A-Z, 0-9 and _.",
    )
    name = fields.Char(required=True, translate=False)
    # Empty for a merge field of the audience that nothing in Odoo fills.
    source = fields.Selection(SOURCES, default="field")
    field_path = fields.Char(
        help="A field of the contact, or a path such as country_id.name.",
    )
    create_missing = fields.Boolean(
        default=True,
        help="Create the merge field in Mailchimp when the audience does not have it."
        " When off, the line is used only if it does.",
    )
    # What Mailchimp says of the field, read at every run that pushes.
    remote_ref = fields.Integer(readonly=True, copy=False)
    kind = fields.Char(string="Type", readonly=True, copy=False)
    required = fields.Boolean(readonly=True, copy=False)
    options = fields.Json(readonly=True, copy=False)
    error_message = fields.Char(string="Problem", readonly=True, copy=False)

    _tag_uniq = models.Constraint(
        "UNIQUE(account_id, tag)", "This merge tag has a line already."
    )

    @api.model
    def _default_lines(self):
        """Return the mapping a new audience starts with."""
        partner_fields = self.env["res.partner"]._fields
        lines = [
            {"tag": "FNAME", "name": "First Name", "source": "first_name"},
            {"tag": "LNAME", "name": "Last Name", "source": "last_name"},
            {"tag": "CITY", "name": "City", "field_path": "city"},
            {"tag": "COUNTRY", "name": "Country", "field_path": "country_id.name"},
            {"tag": "GENDER", "name": "Gender", "field_path": "gender"},
            {
                "tag": "ADDRESS",
                "name": "Address",
                "source": "address",
                "create_missing": False,
            },
            {
                "tag": "PHONE",
                "name": "Phone Number",
                "field_path": "phone",
                "create_missing": False,
            },
        ]
        return [
            dict({"source": "field"}, sequence=index, **line)
            for index, line in enumerate(lines)
            if line.get("field_path", "name").split(".")[0] in partner_fields
        ]

    @api.model
    def _is_tag(self, tag):
        valid = set("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")
        return 0 < len(tag) <= 10 and not set(tag) - valid and tag != "EMAIL"

    @api.constrains("tag")
    def _check_tag(self):
        for line in self:
            if not line._is_tag(line.tag):
                raise ValidationError(
                    self.env._(
                        "%(tag)s is no merge tag for a value: use up to 10 of A-Z, 0-9"
                        " and _, and not EMAIL.",
                        tag=line.tag,
                    )
                )

    @api.constrains("source", "field_path")
    def _check_field_path(self):
        for line in self.filtered(lambda line: line.source == "field"):
            model = self.env["res.partner"]
            for name in (line.field_path or "").split("."):
                field = model is not None and model._fields.get(name)
                if not field or field.type in ("one2many", "many2many", "binary"):
                    raise ValidationError(
                        self.env._(
                            "%(tag)s: %(path)s is no field of a contact that has one"
                            " value.",
                            tag=line.tag,
                            path=line.field_path or "",
                        )
                    )
                model = self.env.get(field.comodel_name) if field.relational else None

    @api.model_create_multi
    def create(self, vals_list):
        lines = super().create(vals_list)
        lines.account_id._set_refs(merge_fields_read=None)
        return lines

    def write(self, vals):
        result = super().write(vals)
        if {"tag", "source", "field_path", "create_missing"} & set(vals):
            # The next run reads the audience's merge fields again.
            self.account_id._set_refs(merge_fields_read=None)
        return result

    def _is_american_phone(self):
        """Tell whether it takes American numbers of contacts only."""
        return (
            self.kind == "phone"
            and (self.options or {}).get("phone_format") == "US"
            and "." not in (self.field_path or "")
        )

    def _engine_field(self):
        """Return the line as the engine knows it."""
        options = self.options or {}
        return MergeField(
            tag=self.tag,
            kind=self.kind or "text",
            choices=tuple(options.get("choices") or ()),
            phone_format=options.get("phone_format") or "none",
        )
