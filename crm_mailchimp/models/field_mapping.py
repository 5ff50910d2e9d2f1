import json

from odoo import api, fields, models
from odoo.exceptions import UserError
from odoo.tools import SQL

from ..engine.payload import TEXT_BYTES
from ..engine.vocabulary import MERGE_FIELDS, PREMIUM_MERGE_FIELDS
from ..sync.mapped_columns import MappedColumns, SlowPath

NUMBERS = ("integer", "float", "monetary")
DATES = ("date", "datetime")


class CrmMailchimpMergeField(models.Model):
    """What a mapping line is in Odoo, how Mailchimp stores it, and what is wrong."""

    _inherit = "crm.mailchimp.merge.field"

    is_slow = fields.Boolean(
        string="Slow",
        compute="_compute_is_slow",
        help="Not stored in the database: computed contact by contact at every sync.",
    )
    warning = fields.Char(compute="_compute_warning")
    # The model the web client's field selector starts from.
    path_model = fields.Char(compute="_compute_path_model")

    def _compute_path_model(self):
        self.path_model = "res.partner"

    def write(self, vals):
        if vals.get("create_missing"):
            # Somebody made room and wants another try.
            vals = dict(vals, error_message=False)
        result = super().write(vals)
        if "source" in vals:
            # The line moved from the list of unused fields to the mapping, or back.
            self.account_id.invalidate_recordset(
                ["merge_field_ids", "unmapped_field_ids"], flush=False
            )
        return result

    def _odoo_field(self):
        """Return the field at the end of the path, or ``None``."""
        self.ensure_one()
        if self.source != "field":
            return None
        model, field = self.env["res.partner"], None
        for name in (self.field_path or "").split("."):
            field = model is not None and model._fields.get(name)
            if not field:
                return None
            model = self.env.get(field.comodel_name) if field.relational else None
        return field

    @api.depends("source", "field_path")
    def _compute_is_slow(self):
        readers = {}
        for line in self:
            line.is_slow = False
            account = line.account_id._origin
            if not account or not line._odoo_field():
                continue
            if account not in readers:
                readers[account] = MappedColumns(account)
            readers[account].as_author(line)
            if readers[account].author is None:
                continue
            try:
                readers[account]._column(line.field_path)
            except SlowPath:
                line.is_slow = True

    # === HOW MAILCHIMP SHOULD KEEP IT === #

    def _creation_body(self):
        """Return the body that creates the merge field, with a type that suits it."""
        self.ensure_one()
        kind, options = self._suitable_kind()
        body = {"tag": self.tag, "name": self.name, "type": kind}
        return dict(body, options=options) if options else body

    def _suitable_kind(self):
        if self.source == "address":
            return "address", {}
        field = self._odoo_field()
        if field is None:
            return "text", {}
        choices = self._odoo_choices()
        if choices:
            return "dropdown", {"choices": choices}
        if field.type in NUMBERS:
            return "number", {}
        if field.type in DATES:
            # Mailchimp's birthday mails need this type, which has no year.
            return ("birthday" if "birth" in field.name else "date"), {}
        if field.name == "phone":
            return "phone", {"phone_format": "none"}
        if field.name == "website":
            return "url", {}
        # Mailchimp's own type for postal codes takes five digits only.
        return "text", {}

    def _odoo_choices(self):
        """Return the texts Odoo sends for this line if they are few and known."""
        field = self._odoo_field()
        env = self.with_context(lang=self.account_id.lang or self.env.lang).env
        if field is not None and field.type == "boolean":
            return [env._("Yes"), env._("No")]
        if field is not None and field.type == "selection":
            return [label for _value, label in field._description_selection(env)]
        return []

    # === WHAT IS AMISS === #

    @api.depends(
        *("source", "field_path", "kind", "required", "options", "remote_ref"),
        *("is_slow", "author_id.active", "author_id.company_ids"),
    )
    def _compute_warning(self):
        for line in self:
            line.warning = " ".join(line._warnings()) if line.source else False

    def _warnings(self):
        _ = self.env._
        trouble = self._trouble()
        if trouble:
            return [_("Not sent: %s", trouble)]
        if self.error_message:
            return [self.error_message]
        found = []
        if self.is_slow:
            found.append(_("Slow: computed contact by contact at every sync."))
        if not self.remote_ref:
            return found
        kind, field = self.kind, self._odoo_field()
        type_ = field.type if field is not None else "char"
        if (kind == "address") != (self.source == "address"):
            found.append(
                _("Never sent: a postal address needs a merge field of type address.")
            )
        elif kind == "number" and type_ not in NUMBERS:
            found.append(_("Mailchimp expects a number: other values are left out."))
        elif kind in ("date", "birthday") and type_ not in DATES:
            found.append(_("Mailchimp expects a date: other values are left out."))
        elif kind in ("url", "imageurl") and getattr(field, "name", "") != "website":
            found.append(
                _(
                    "Mailchimp expects a complete web "
                    "address: other values are left out."
                )
            )
        elif kind == "zip":
            found.append(
                _("Mailchimp expects five digits: other postal codes are left out.")
            )
        elif kind == "phone" and (self.options or {}).get("phone_format") == "US":
            found.append(
                _(
                    "Mailchimp expects US numbers with ten digits: numbers of other "
                    "countries are left out. Choose another phone format in Mailchimp "
                    "to send them all."
                )
            )
        elif kind in ("dropdown", "radio"):
            found += self._choice_warnings()
        elif kind == "text" and type_ in ("text", "html"):
            found.append(_("Cut off after %(limit)s bytes.", limit=TEXT_BYTES))
        if self.required and not self._always_has_value():
            found.append(
                _(
                    "Required in Mailchimp but not in Odoo: contacts without a value "
                    "are not sent."
                )
            )
        return found

    def _choice_warnings(self):
        choices = (self.options or {}).get("choices") or []
        ours = self._odoo_choices()
        if not ours:
            return [
                self.env._(
                    "Only the choices known to Mailchimp are sent: %(choices)s.",
                    choices=", ".join(choices[:10])
                    + ("…" if len(choices) > 10 else ""),
                )
            ]
        lacking = [label for label in ours if label not in choices]
        if not lacking:
            return []
        return [
            self.env._(
                "These choices do not exist in Mailchimp, so they are left out: "
                "%(choices)s. Add them to the merge field in Mailchimp.",
                choices=", ".join(lacking),
            )
        ]

    def _always_has_value(self):
        if self.source == "first_name":
            return True
        path = self.field_path or ""
        field = self._odoo_field()
        return bool(
            field is not None
            and "." not in path
            and (field.required or field.type in ("boolean", *NUMBERS))
        )


class CrmMailchimpAccount(models.Model):
    _inherit = "crm.mailchimp.account"

    # Only lines with a source are the mapping; the others are merge fields that nothing
    # in Odoo fills, and nothing may touch.
    merge_field_ids = fields.One2many(domain=[("source", "!=", False)])
    unmapped_field_ids = fields.One2many(
        "crm.mailchimp.merge.field",
        "account_id",
        string="Not mapped",
        domain=[("source", "=", False)],
    )
    mapping_message = fields.Text(compute="_compute_mapping_message")

    @api.depends(
        "remote_refs",
        "merge_field_ids.remote_ref",
        "merge_field_ids.create_missing",
        "merge_field_ids.field_path",
        "merge_field_ids.author_id.active",
        "unmapped_field_ids.required",
    )
    def _compute_mapping_message(self):
        for account in self:
            account.mapping_message = "\n".join(account._mapping_messages()) or False

    def _mapping_messages(self):
        _ = self.env._
        messages = []
        for limit, words in (
            (
                PREMIUM_MERGE_FIELDS,
                _("Mailchimp allows %(limit)s merge fields in an audience."),
            ),
            (
                MERGE_FIELDS,
                _(
                    "Mailchimp allows %(limit)s merge fields in an audience, more on"
                    " the Premium plan only."
                ),
            ),
        ):
            names = self._merge_fields_beyond(limit).mapped("name")
            if names:
                messages.append(
                    words % {"limit": limit}
                    + " "
                    + _(
                        "These would not fit: %(names)s. Remove lines from the mapping,"
                        " or delete fields in Mailchimp.",
                        names=", ".join(names),
                    )
                )
                break
        stopped = self.merge_field_ids.filtered(lambda line: line._trouble())
        if stopped:
            messages.append(
                _(
                    "No longer sent: %(names)s. See why below and under “Data shared "
                    "with Mailchimp”.",
                    names=", ".join(stopped.mapped("name")),
                )
            )
        required = self.unmapped_field_ids.filtered("required")
        if required:
            messages.append(
                _(
                    "Mailchimp requires %(names)s, but no Odoo field is mapped to it,"
                    " so no contact can be added. Map it below, or make it optional in"
                    " Mailchimp.",
                    names=", ".join(required.mapped("name")),
                )
            )
        return messages

    def _merge_fields_beyond(self, limit):
        """Return the lines whose merge fields are to be created but have no room."""
        count = self._refs().merge_field_count
        if not count:  # never read: there is always EMAIL
            return self.merge_field_ids.browse()
        missing = self.merge_field_ids.filtered(
            lambda line: not line.remote_ref and line.create_missing
        )
        return missing[max(limit - count, 0) :]

    def _note_merge_fields(self, found):
        """Note types, choices and limits of the audience's merge fields.

        :param list found: merge fields as the API returns them
        """
        remote = {field["tag"]: field for field in found}
        self._follow_merge_fields(found)
        for line in self.merge_field_ids:
            line._write_remote(remote.get(line.tag) or {})
        self._set_refs(
            merge_fields_read=True,
            # EMAIL is not listed, but counts.
            merge_field_count=len(remote) + 1,
            required_tags=sorted(tag for tag in remote if remote[tag].get("required"))
            or None,
        )

    def _follow_merge_fields(self, found):
        """Follow merge fields that were renamed or deleted in Mailchimp.

        A merge field keeps its number when its tag changes. When one was deleted, so
        were the values of all members, even if another one has its tag by now.
        """
        numbers = {field["merge_id"]: field["tag"] for field in found}
        lines = self.merge_field_ids.filtered("remote_ref")
        gone = lines.filtered(lambda line: line.remote_ref not in numbers)
        renamed = (lines - gone).filtered(
            lambda line: numbers[line.remote_ref] != line.tag
        )
        while renamed:
            stays = set((self.merge_field_ids - renamed).mapped("tag"))
            unusable = renamed.filtered(
                lambda line, stays=stays: (
                    numbers[line.remote_ref] in stays
                    or not line._is_tag(numbers[line.remote_ref])
                )
            )
            if not unusable:
                break
            # Another line already fills it, or its tag cannot be used: this one starts
            # over.
            gone |= unusable
            renamed -= unusable
        if not gone and not renamed:
            return
        tags = {line: numbers[line.remote_ref] for line in renamed}
        self._retag_members(
            {line.tag: tag for line, tag in tags.items()}, gone.mapped("tag")
        )
        self.unmapped_field_ids.filtered(
            lambda line: line.tag in tags.values()
        ).unlink()
        # Two may have swapped tags, and only one line may have a tag.
        for line in renamed:
            line.tag = f"_{line.id}"[-10:]
        self.env.flush_all()
        for line, tag in tags.items():
            line.tag = tag
        gone.write({"remote_ref": False})

    def _retag_members(self, renamed, gone):
        """Keep the ledger in step with merge fields that changed in Mailchimp.

        :param dict renamed: ``{old tag: new tag}``
        :param gone: tags whose values are gone
        """
        Member = self.env["crm.mailchimp.member"]
        Member.flush_model()
        columns = ("values_sent", "values_seen", "values_refused", "values_sending")
        tags = [*renamed, *gone]
        self.env.cr.execute(
            SQL(
                "UPDATE crm_mailchimp_member SET %s WHERE account_id = %s AND (%s)",
                SQL(", ").join(
                    SQL(
                        """%(column)s = CASE
                           WHEN jsonb_typeof(%(column)s->'m') = 'object'
                           THEN jsonb_set(%(column)s, '{m}', (
                                SELECT COALESCE(jsonb_object_agg(
                                       COALESCE(%(renamed)s::jsonb->>key, key), value
                                       ), '{}')
                                  FROM jsonb_each(%(column)s->'m')
                                 WHERE key <> ALL(%(gone)s)))
                           ELSE %(column)s END""",
                        column=SQL.identifier(column),
                        renamed=json.dumps(renamed),
                        gone=list(gone),
                    )
                    for column in columns
                ),
                self.id,
                SQL(" OR ").join(
                    SQL("%s->'m' ?| %s", SQL.identifier(column), tags)
                    for column in columns
                ),
            )
        )
        Member.invalidate_model(flush=False)

    def action_read_merge_fields(self):
        """Read the audience's merge fields and list those that are not mapped."""
        self.ensure_one()
        self._check_manager()
        if not self.audience_ref:
            raise UserError(self.env._("Choose an audience first."))
        with self._asking() as gateway:
            found = gateway.merge_fields(self.audience_ref)
        account = self.sudo()
        account._note_merge_fields(found)
        remote = {field["tag"]: field for field in found}
        account.unmapped_field_ids.filtered(
            lambda line: line.tag not in remote
        ).unlink()
        for line in account.unmapped_field_ids:
            line.name = remote[line.tag]["name"]
            line._write_remote(remote[line.tag])
        known = {
            line.tag for line in account.merge_field_ids + account.unmapped_field_ids
        }
        lines = account.unmapped_field_ids.create(
            [
                {
                    "account_id": account.id,
                    "tag": tag,
                    "name": remote[tag]["name"],
                    "source": False,
                    "sequence": 100,
                }
                for tag in remote
                if tag not in known
            ]
        )
        for line in lines:
            line._write_remote(remote[line.tag])
        # New lines make the next run read merge fields again; these were read just now.
        account._set_refs(merge_fields_read=True)
        return self._toast(
            self.env._(
                "Merge fields found: %(count)s; not mapped: %(new)s.",
                count=len(remote),
                new=len(account.unmapped_field_ids),
            )
        )
