from odoo import api, fields, models
from odoo.exceptions import AccessError, ValidationError

from ..engine.payload import MergeField
from .rights import acting_as, is_kept

SOURCES = [
    ("first_name", "First name"),
    ("last_name", "Last name"),
    ("address", "Postal address"),
    ("field", "Contact field"),
]
# Where a value comes from: whoever sets these answers for it.
SIGNED = {"source", "field_path"}
NEVER_SENT = (
    *("one2many", "many2many", "binary", "json"),
    *("properties", "properties_definition"),
)


def _may_not_read(env, path):
    return env._(
        "%(user)s, whose access rights it uses, may not read “%(path)s”.",
        user=env.user.sudo().name,
        path=path,
    )


class CrmMailchimpMergeField(models.Model):
    """One line of the field mapping: a merge tag of the audience <- an Odoo value."""

    _name = "crm.mailchimp.merge.field"
    _inherit = ["crm.mailchimp.guarded", "crm.mailchimp.mirrored"]
    _description = "Mailchimp Merge Field"
    _order = "sequence, id"
    _signed = ("author_id", "authored_at")

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
        help="Create the merge field in Mailchimp if the audience does not have it. "
        "When off, the line is used only if it does.",
    )
    author_id = fields.Many2one(
        "res.users",
        string="Uses the access rights of",
        readonly=True,
        ondelete="set null",
        help="The user who mapped the field: values this user may not see are not "
        "sent.",
    )
    authored_at = fields.Datetime(string="Mapped on", readonly=True)
    # What Mailchimp says about the field, as of the last reading.
    remote_ref = fields.Integer(readonly=True, copy=False)
    kind = fields.Char(string="Type", readonly=True, copy=False)
    required = fields.Boolean(readonly=True, copy=False)
    options = fields.Json(readonly=True, copy=False)
    error_message = fields.Char(string="Problem", readonly=True, copy=False)

    _tag_uniq = models.Constraint(
        "UNIQUE(account_id, tag)", "This merge tag is already mapped."
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
                        "%(tag)s is not a valid merge tag: use up to 10 of A-Z, 0-9 "
                        "and _, and not EMAIL.",
                        tag=line.tag,
                    )
                )

    @api.constrains("source", "field_path", "author_id")
    def _check_field_path(self):
        for line in self.filtered(lambda line: line.source == "field"):
            trouble = line._trouble()
            if trouble:
                raise ValidationError(
                    self.env._("%(tag)s: %(trouble)s", tag=line.tag, trouble=trouble)
                )

    def _author_env(self):
        """Return an environment with the rights of the user who mapped the field.

        :raise AccessError: if that user can no longer answer for it
        """
        # Old lines have no author until they are signed: see the migration.
        return acting_as(self.env, self.author_id, self.account_id.company_id)

    def _trouble(self):
        """Return a sentence that says why no value may be sent, or ``None``.

        Fields hidden from some employees, and secrets, are never sent, no matter who
        maps them: everybody with access to Mailchimp sees what is there, and every
        export of it contains it.
        """
        self.ensure_one()
        _ = self.env._
        try:
            env = self._author_env()
        except AccessError as error:
            return _(
                "%s Somebody else must take over the line under “Data shared with "
                "Mailchimp”.",
                error.args[0],
            )
        if self.source != "field":
            return None
        path = self.field_path or ""
        model = env["res.partner"]
        for name in path.split("."):
            field = model._fields.get(name) if model is not None else None
            if field is None or field.type in NEVER_SENT:
                return _(
                    "“%(path)s” is not a contact field with a single value.", path=path
                )
            if is_kept(field):
                return _(
                    "“%(path)s” holds a secret, or data that Odoo hides from some "
                    "employees, and cannot be sent.",
                    path=path,
                )
            if not model._has_field_access(field, "read"):
                return _may_not_read(env, path)
            model = env.get(field.comodel_name) if field.relational else None
            if model is not None and not model.has_access("read"):
                return _may_not_read(env, path)
        return None

    def _sign(self, vals, new):
        """Note who maps a field; nobody can do so in another user's name.

        :param dict vals: values of lines, changed in place
        :param bool new: whether they change where a value comes from
        """
        # When Odoo itself copies lines, the signature is kept.
        if not (self.env.su and vals.get("author_id")):
            for name in self._signed:
                vals.pop(name, None)
            if new:
                vals.update(author_id=self.env.uid, authored_at=fields.Datetime.now())
        return vals

    def action_take_over(self):
        """Have lines use the rights of the manager who presses the button."""
        self.account_id._check_manager()
        self.check_access("write")
        self.sudo().write(
            {"author_id": self.env.uid, "authored_at": fields.Datetime.now()}
        )

    @api.model_create_multi
    def create(self, vals_list):
        lines = super().create([self._sign(dict(vals), True) for vals in vals_list])
        lines.account_id._set_refs(merge_fields_read=None)
        return lines

    def write(self, vals):
        new = any(
            vals[name] != line[name] for name in SIGNED & vals.keys() for line in self
        )
        result = super().write(self._sign(dict(vals), new))
        if {"tag", "source", "field_path", "create_missing"} & set(vals):
            # The next run reads the audience's merge fields again.
            self.account_id._set_refs(merge_fields_read=None)
        # The line must not end up in an account of another company.
        self.check_access("write")
        return result

    def _is_american_phone(self):
        """Return whether a contact's own value must be an American phone number."""
        return (
            self.kind == "phone"
            and (self.options or {}).get("phone_format") == "US"
            and "." not in (self.field_path or "")
        )

    def _engine_field(self):
        """Return the line as the engine's :class:`.MergeField`."""
        options = self.options or {}
        return MergeField(
            tag=self.tag,
            kind=self.kind or "text",
            choices=tuple(options.get("choices") or ()),
            phone_format=options.get("phone_format") or "none",
        )

    def _refuse(self, sentence):
        """Note that Mailchimp did not create the merge fields; the user may retry."""
        self.write({"create_missing": False, "error_message": sentence})

    def _write_remote(self, found):
        """Note what Mailchimp says about the merge field; ``{}`` if it is missing."""
        options = found.get("options") or {}
        vals = {
            "remote_ref": found.get("merge_id") or 0,
            "kind": found.get("type") or False,
            "required": bool(found.get("required")),
            "options": {
                key: options[key]
                for key in ("choices", "phone_format", "date_format")
                if options.get(key)
            }
            or False,
        }
        if found:
            vals["error_message"] = False
        self._write_changes(vals)
