"""The archive left behind when the add-on is uninstalled.

A zip file of CSV files, one per model. People can read it (names stand beside ids, and
no cell is a formula to a spreadsheet), and :mod:`restore` can load it again. As it is
evidence of consent, it is signed with the database's secret, so that nobody can pass
off an archive of their own making.
"""

import hashlib
import io
import json
import mmap
import tempfile
import zipfile
import zlib

from odoo import api, fields, models, release
from odoo.exceptions import UserError
from odoo.tools import SQL, consteq
from odoo.tools.misc import hmac

from .labelled import RUNS
from .rights import is_secret

NAME = "crm_mailchimp archive.zip"
FORMAT = 1
MANIFEST = "manifest.json"
SIGNATURE = "signature.txt"
# The manifest and the signature are read into memory before we know who wrote them.
MANIFEST_BYTES = 100_000
BLOCK = 1_000_000
# Each of our stored models and the name of its file, or None if its rows are not kept,
# mostly because they can be computed again from the others.
FILES = {
    "crm.mailchimp.account": "accounts",
    "crm.mailchimp.merge.field": "field_mapping",
    "crm.mailchimp.permission": "permissions",
    "crm.mailchimp.segment": "segments",
    "crm.mailchimp.consent": "consent",
    "crm.mailchimp.suppression": "suppressions",
    "crm.mailchimp.erasure": "erasures",
    "crm.mailchimp.member": "members",
    "crm.mailchimp.contact.tag": "tags",
    "crm.mailchimp.campaign": "campaigns",
    "crm.mailchimp.campaign.link": "links",
    "crm.mailchimp.campaign.variant": "variants",
    "crm.mailchimp.recipient": "recipients",
    "crm.mailchimp.recipient.event": "events",
    "crm.mailchimp.growth": "growth",
    "crm.mailchimp.run": "runs",
    # What a delivery changed is in the other files, and it is kept for some days only.
    "crm.mailchimp.webhook.delivery": None,
    # Nothing but secrets: register the app, and log in, again.
    "crm.mailchimp.app": None,
    "crm.mailchimp.login": None,
    "crm.mailchimp.preview.line": None,
    "crm.mailchimp.contact.line": None,
    "crm.mailchimp.contact.count": None,
    "crm.mailchimp.segment.gap": None,
}
# Columns of other models: ours, which are dropped with the add-on, and those that
# identify the row.
CONTACTS = {
    "id": "int4",
    "name": "varchar",
    "email": "varchar",
    "company_id": "int4",
    "company_id/name": "varchar",
    "mailchimp_opt_in": "bool",
    "mailchimp_opt_in_date": "timestamp",
    "gender": "varchar",
    "create_date": "timestamp",
}
LEADS = {
    "id": "int4",
    "name": "varchar",
    "email_from": "varchar",
    "mailchimp_opt_in": "bool",
    "mailchimp_opt_in_date": "timestamp",
    "mailchimp_opt_in_note": "varchar",
    "create_date": "timestamp",
}
FILTERS = {
    "id": "int4",
    "name": "varchar",
    "model_id": "varchar",
    "domain": "text",
    "users": "varchar",
    "mailchimp_owner_id": "int4",
    "mailchimp_owner_id/name": "varchar",
}
OTHERS = {"contacts": CONTACTS, "leads": LEADS, "filters": FILTERS}
# A spreadsheet reads a cell that begins with one of these as a formula, or strips the
# character and looks again. A leading apostrophe makes it text. A value that already
# begins with one gets another, so that reading always removes exactly one.
FORMULA = "'" + "".join(RUNS)
README = """\
What the add-on "CRM Mailchimp" knew when it was uninstalled on {date} (UTC).

Each file is a table: comma-separated, UTF-8, the first line names the columns. A column
"partner_id" holds the id of a contact, "partner_id/name" its name at that time. Times
are in UTC. A cell that begins with an apostrophe (') had something a spreadsheet could
run; take one apostrophe away to have the value as it was.

contacts.csv       opt-in, its date and gender of each contact the add-on knew of
leads.csv          opt-in of each lead, its date and wording
consent.csv        each opt-in and opt-out: who, when, from where, by whom, which words
suppressions.csv   the do-not-email list
erasures.csv       hashes of addresses that were erased
accounts.csv       accounts, audiences and settings, without keys
field_mapping.csv  which field was sent as which merge field
permissions.csv    marketing permissions
filters.csv        saved filters that were synchronised
segments.csv       the groups and tags of these filters
members.csv        each address of the audience as it was last seen
tags.csv           tags somebody asked for
campaigns.csv      campaigns and their totals; by campaign: links.csv, variants.csv,
                   recipients.csv; by recipient: events.csv
growth.csv         how many joined and left
runs.csv           every synchronisation

To bring it back, install the add-on again in this database and choose
CRM > Mailing > Configuration > Restore an archive.
"""


class Hashed:
    """A file to write to, with the hash of what was written."""

    def __init__(self, file):
        self.file, self.digest = file, hashlib.sha256()

    def write(self, data):  # pylint: disable=method-required-super
        self.digest.update(data)
        return self.file.write(data)


class CrmMailchimpArchive(models.AbstractModel):
    _name = "crm.mailchimp.archive"
    _description = "Archive of the Mailchimp Add-on"

    # === WRITING === #

    @api.model
    def _write_archive(self):
        """Write everything to one attachment, which only administrators can open.

        Rows go from PostgreSQL to the file, and the file to the file store, without
        ever being in memory as a whole; only an attachment stored in the database is.
        """
        self.env.flush_all()
        with tempfile.TemporaryFile() as content:
            with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
                self._write_files(archive)
            content.seek(0)
            Attachment = self.env["ir.attachment"].sudo()
            values = {
                "name": NAME,
                "mimetype": "application/zip",
                "description": "What the Mailchimp add-on knew when it was uninstalled:"
                " consent, members, campaigns and settings. README.txt in it says more."
                " It can be restored after the add-on was installed again.",
            }
            if Attachment._storage() == "db":
                return Attachment.create({**values, "raw": content.read()})
            with mmap.mmap(content.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
                attachment = Attachment.create({**values, "raw": mapped})
                attachment.invalidate_recordset(flush=False)
        return attachment

    def _write_files(self, archive):
        now = fields.Datetime.now()
        manifest = {
            "format": FORMAT,
            "written_at": fields.Datetime.to_string(now),
            "odoo": release.version,
            "files": {},
        }
        archive.writestr("README.txt", README.format(date=manifest["written_at"]))
        for name, query in self._queries().items():
            with archive.open(f"{name}.csv", "w", force_zip64=True) as member:
                hashed = Hashed(member)
                copy = SQL("COPY (%s) TO STDOUT WITH (FORMAT csv, HEADER)", query)
                cr = self.env.cr
                cr.copy_expert(cr.mogrify(copy.code, copy.params).decode(), hashed)
                manifest["files"][name] = {
                    "rows": cr.rowcount,
                    "sha256": hashed.digest.hexdigest(),
                }
        text = json.dumps(manifest, indent=1, sort_keys=True)
        archive.writestr(MANIFEST, text)
        archive.writestr(SIGNATURE, self._signature(text))

    def _signature(self, manifest):
        return hmac(self.env(su=True), "crm_mailchimp.archive", manifest)

    def _queries(self):
        """Return ``{file: SQL}``, a query for each file; no cell is a formula."""
        queries = {
            name: self._model_query(self.env[model])
            for model, name in FILES.items()
            if name
        }
        company = SQL("(SELECT name FROM res_company WHERE id = t.company_id)")
        known = SQL(" UNION ALL ").join(
            SQL("SELECT partner_id FROM %s", SQL.identifier(self.env[model]._table))
            for model in FILES
            if "partner_id" in self.env[model]._fields and FILES[model]
            if self.env[model]._fields["partner_id"].store
        )
        # Not with OR: the database would read all that are known for each contact.
        queries["contacts"] = SQL(
            "SELECT %s FROM res_partner t WHERE t.id IN ("
            " SELECT id FROM res_partner WHERE mailchimp_opt_in OR gender IS NOT NULL"
            " UNION ALL %s) ORDER BY t.id",
            self._cells(CONTACTS, {"company_id/name": company}),
            known,
        )
        queries["leads"] = SQL(
            "SELECT %s FROM crm_lead t WHERE t.mailchimp_opt_in ORDER BY t.id",
            self._cells(LEADS, {}),
        )
        queries["filters"] = SQL(
            "SELECT %s FROM ir_filters t WHERE t.mailchimp_sync ORDER BY t.id",
            self._cells(
                FILTERS,
                {
                    "users": self._filter_users(),
                    "mailchimp_owner_id/name": SQL(
                        "(SELECT login FROM res_users WHERE id = t.mailchimp_owner_id)"
                    ),
                },
            ),
        )
        return queries

    def _filter_users(self):
        """Return ``SQL`` for the ids of the users of the filter ``t``, as text."""
        field = self.env["ir.filters"]._fields["user_ids"]
        return SQL(
            "(SELECT STRING_AGG(u.%(user)s::text, ' ' ORDER BY u.%(user)s)"
            " FROM %(relation)s u WHERE u.%(filter)s = t.id)",
            user=SQL.identifier(field.column2),
            filter=SQL.identifier(field.column1),
            relation=SQL.identifier(field.relation),
        )

    def _model_query(self, model):
        columns, others = dict(self._columns(model)), {}
        for name in list(columns):
            field = model._fields.get(name)
            if field is not None and field.type == "many2one":
                comodel = self.env[field.comodel_name]
                label = "login" if comodel._name == "res.users" else comodel._rec_name
                columns[f"{name}/name"] = "varchar"
                others[f"{name}/name"] = SQL(
                    "(SELECT o.%s::text FROM %s o WHERE o.id = t.%s)",
                    SQL.identifier(label or "id"),
                    SQL.identifier(comodel._table),
                    SQL.identifier(name),
                )
        return SQL(
            "SELECT %s FROM %s t ORDER BY t.id",
            self._cells(columns, others),
            SQL.identifier(model._table),
        )

    def _columns(self, model):
        """Return ``{column: type}`` of a model, leaving out secret columns."""
        return {
            name: field.column_type[0]
            for name, field in model._fields.items()
            if field.store and field.column_type and not is_secret(field)
        }

    def _cells(self, columns, others):
        """Return ``SQL``: a list of cells, none of which is a formula."""
        return SQL(", ").join(
            SQL(
                "REGEXP_REPLACE(%s::text, %s, %s) AS %s",
                others.get(name) or SQL.identifier("t", name),
                f"^([{FORMULA}])",
                r"'\1",
                # Odoo's SQL.identifier refuses a label such as "partner_id/name".
                SQL(f'"{name}"'),
            )
            for name in columns
        )

    # === READING === #

    @api.model
    def _found(self):
        """Return the attachments that hold an archive, latest first."""
        return (
            self.env["ir.attachment"]
            .sudo()
            .search(
                [
                    ("name", "=", NAME),
                    ("mimetype", "=", "application/zip"),
                    ("res_model", "=", False),
                ],
                order="id desc",
            )
        )

    @api.model
    def _open_attachment(self, attachment):
        """Return an open binary file with the content of an attachment.

        A file in the file store is not read into memory.
        """
        if attachment.store_fname:
            return open(attachment._full_path(attachment.store_fname), "rb")
        return io.BytesIO(attachment.raw or b"")

    @api.model
    def _read_manifest(self, archive):
        """Return the manifest of an archive that this database wrote.

        :param archive: an open ``zipfile.ZipFile``
        :raise UserError: if it is incomplete, was changed, or was written by another
            database or a later version of the add-on
        """
        _ = self.env._
        try:
            text, signature = (
                archive.open(name).read(MANIFEST_BYTES).decode()
                for name in (MANIFEST, SIGNATURE)
            )
        except (KeyError, ValueError, RuntimeError, zipfile.BadZipFile) as error:
            raise UserError(
                _(
                    "This file is not a complete archive of the Mailchimp add-on."
                    " Choose the file “%s” as it was written when the add-on was"
                    " uninstalled.",
                    NAME,
                )
            ) from error
        if not consteq(self._signature(text), signature.strip()):
            raise UserError(
                _(
                    "This archive was changed, or written by another database. An"
                    " archive holds evidence of consent, so only an unchanged one of"
                    " this database can be restored."
                )
            )
        manifest = json.loads(text)
        if manifest["format"] > FORMAT:
            raise UserError(
                _(
                    "This archive was written by a later version of the add-on. Update"
                    " the add-on, then restore it."
                )
            )
        return manifest

    def _load(self, archive, manifest):
        """Load the files into temporary tables ``archive_NAME`` with typed columns."""
        for name, facts in manifest["files"].items():
            self._check_file(archive, name, facts)
        models_of = {name: model for model, name in FILES.items() if name}
        for name in manifest["files"]:
            if name in models_of:
                types = self._columns(self.env[models_of[name]])
            elif name in OTHERS:
                types = OTHERS[name]
            else:
                continue  # its model no longer exists
            self._load_file(archive, name, types)

    def _check_file(self, archive, name, facts):
        """Refuse a file that is missing or was changed, before any of it is loaded.

        :raise UserError: names the file
        """
        digest = hashlib.sha256()
        try:
            with archive.open(f"{name}.csv") as member:
                while block := member.read(BLOCK):
                    digest.update(block)
        except (KeyError, EOFError, zlib.error, zipfile.BadZipFile):
            digest = None
        if digest is None or digest.hexdigest() != facts["sha256"]:
            raise UserError(
                self.env._(
                    "The file %s.csv of this archive was changed or is missing.", name
                )
            )

    def _load_file(self, archive, name, types):
        cr, table = self.env.cr, SQL.identifier(f"archive_{name}")
        with archive.open(f"{name}.csv") as member:
            header = member.readline().decode().strip().split(",")
        columns = [column.strip('"') for column in header]
        quoted = {column: SQL(f'"{column}"') for column in columns}
        cr.execute(
            SQL(
                "CREATE TEMP TABLE archive_raw (%s) ON COMMIT DROP",
                SQL(", ").join(SQL("%s text", quoted[c]) for c in columns),
            )
        )
        with archive.open(f"{name}.csv") as member:
            cr.copy_expert(
                "COPY archive_raw FROM STDIN WITH (FORMAT csv, HEADER)", member
            )
        kept = {
            column: types.get(column, "varchar" if "/" in column else None)
            for column in columns
        }
        cr.execute(
            SQL(
                "CREATE TEMP TABLE %s ON COMMIT DROP AS SELECT %s FROM archive_raw",
                table,
                SQL(", ").join(
                    SQL(
                        "(CASE WHEN LEFT(%(c)s, 1) = '''' THEN SUBSTR(%(c)s, 2)"
                        " ELSE %(c)s END)::%(type)s AS %(c)s",
                        c=quoted[column],
                        type=SQL(kind),
                    )
                    for column, kind in kept.items()
                    if kind
                ),
            )
        )
        cr.execute("DROP TABLE archive_raw")
        if "id" in columns:
            cr.execute(SQL("CREATE INDEX ON %s (id)", table))
        cr.execute(SQL("ANALYZE %s", table))

    def _unload(self):
        """Drop the temporary tables, which would otherwise last until the commit."""
        self.env.cr.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = pg_my_temp_schema()"
            " AND relkind = 'r' AND relname LIKE 'archive\\_%'"
        )
        for (table,) in self.env.cr.fetchall():
            self.env.cr.execute(SQL("DROP TABLE %s", SQL.identifier(table)))
