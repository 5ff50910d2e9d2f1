"""What the field mapping reads, as columns of one query over the ledger."""

from operator import itemgetter

from odoo.exceptions import AccessError
from odoo.tools import SQL, Query, html2plaintext

from ..engine.payload import KEEP, split_name


class SlowPath(Exception):
    """The path has a field that only the ORM can read."""


class MappedColumns:
    """Columns of a query over the ledger, which is aliased ``m``, and its contacts.

    Each line of the mapping is read with the rights of the user who wrote it: if that
    user may not see a contact, or a record behind it, no value of it goes to Mailchimp,
    and the value already there is left alone. What SQL cannot read is read by the ORM,
    the *slow* way.

    :param account: record of ``crm.mailchimp.account``
    :param head: names of the ledger columns that come first
    """

    def __init__(self, account, head=()):
        self.writer = account
        self.account = account.sudo().with_context(
            lang=account.lang, active_test=False, prefetch_fields=False
        )
        env = self.account.env
        self.partners = env["res.partner"]
        self.query = Query(env, "m", SQL.identifier("crm_mailchimp_member"))
        self.alias = self.query.left_join(
            "m", "partner_id", "res_partner", "id", "partner_id"
        )
        self.columns = [SQL.identifier("m", name) for name in head]
        # What, besides the columns, the values depend on.
        self.rules = []
        # Columns that show whether an author may see a record.
        self.seen = {}
        # Paths that the ORM reads, each for one author.
        self.slow = {}

    def as_author(self, line):
        """Read what follows with the rights of the user who wrote a mapping line."""
        self.author, self.need = None, set()
        if not line._trouble():
            self.author = line._author_env()
            self._note_seen(self.partners, self.alias)

    def _note_seen(self, model, alias):
        """Read whether the author's record rules, if any, allow reading the record."""
        key = self.author.uid, alias
        if key not in self.seen and not self.author.su:
            rules = self.author["ir.rule"]._compute_domain(model._name, "read")
            model = self.author[model._name].sudo().with_context(active_test=False)
            rules = rules.optimize_full(model)
            if rules.is_true():
                return
            self.seen[key] = self._add(
                SQL(
                    "(%s IS NULL OR COALESCE(%s, FALSE))",
                    SQL.identifier(alias, "id"),
                    rules._to_sql(model, alias, self.query),
                )
            )
        if key in self.seen:
            self.need.add(self.seen[key])

    def _add(self, column):
        self.columns.append(column)
        return len(self.columns) - 1

    def _getter(self, line):
        """Return a function that takes a row and returns a mapping line's raw value."""
        if line.source == "field":
            path = self._path(line.field_path)
            return self._american(path) if line._is_american_phone() else path
        if line.source == "address":
            parts = {
                "addr1": self._path("street"),
                "addr2": self._path("street2"),
                "city": self._path("city"),
                "state": self._path("state_id.name"),
                "zip": self._path("zip"),
                "country": self._path("country_id.code"),
            }
            return lambda row: {part: get(row) for part, get in parts.items()}
        oca_field = {"first_name": "firstname", "last_name": "lastname"}[line.source]
        index = 0 if line.source == "first_name" else 1
        name, company = self._path("name"), self._path("is_company", raw=True)
        if oca_field not in self.partners._fields:
            return lambda row: split_name(name(row), company(row))[index]
        part = self._path(oca_field)
        return lambda row: (
            split_name(name(row), True)[index] if company(row) else part(row)
        )

    def _american(self, number):
        """Return a getter of phone numbers that adds the code of another country.

        A number without a country code belongs to the contact's country: the same ten
        digits may be somebody else's number in America.
        """
        code = self._path("country_id.phone_code")

        def get(row):
            text, country = str(number(row) or "").strip(), str(code(row) or 1)
            # The countries of the North American plan have codes from 1 to 1939.
            if not text or text.startswith("+") or country.startswith("1"):
                return text
            return f"+{country} {text}"

        return get

    def _path(self, path, raw=False):
        try:
            column, convert = self._column(path)
        except SlowPath:
            key = path, self.author.uid
            self.slow[key] = self.author, self._slow_converter(path)
            return lambda row: row[-1][key]
        index = self._add(column)
        if convert is None or raw:
            return itemgetter(index)
        return lambda row: convert(row[index])

    def _column(self, path):
        model, alias = self.partners, self.alias
        *hops, last = path.split(".")
        for hop in hops:
            field = model._fields[hop]
            if field.type != "many2one" or not field.store:
                raise SlowPath(path)
            model, alias = field.join(model, alias, self.query)
            self._note_seen(model, alias)
        field = model._fields[last]
        if field.type == "many2one" and field.store:
            model, alias = field.join(model, alias, self.query)
            self._note_seen(model, alias)
            field = model._fields.get(model._rec_name or "")
        if field is None or not field.store or not field.column_type:
            raise SlowPath(path)
        return model._field_to_sql(alias, field.name, self.query), self._converter(
            field
        )

    def _converter(self, field):
        env = self.account.env
        if field.type == "selection":
            labels = dict(field._description_selection(env))
            self.rules.append(labels)
            return labels.get
        if field.type == "boolean":
            answers = {True: env._("Yes"), False: env._("No"), None: env._("No")}
            self.rules.append(answers)
            return answers.get
        if field.type == "html":
            return lambda html: html2plaintext(html or "")
        return None

    def _slow_converter(self, path):
        """Return a function that turns an ORM value into what a column would give."""
        field, model = None, self.partners
        for name in path.split("."):
            field = model._fields[name]
            model = self.account.env[field.comodel_name] if field.relational else None
        if field.relational or field.type == "reference":
            return lambda record: record.display_name if record else None
        return self._converter(field)

    def _read_slow(self, rows):
        ids = [row.partner_id for row in rows if row.partner_id]
        partners = self.partners.browse(ids).exists()
        context = self.partners.env.context
        result = [{} for _row in rows]
        for (path, uid), (author, convert) in self.slow.items():
            readable = partners.with_env(author).with_context(
                **{**context, **author.context, "lang": self.account.lang}
            )
            readable = readable._filtered_access("read")
            by_id = {partner.id: partner for partner in readable}
            for row, found in zip(rows, result, strict=True):
                found[path, uid] = self._slow_value(
                    by_id.get(row.partner_id), path, convert
                )
        self.account.env.invalidate_all(flush=False)
        return result

    def _slow_value(self, value, path, convert):
        try:
            for name in path.split("."):
                value = value[:1][name] if value else None
            return convert(value) if convert and value is not None else value
        except AccessError:
            return KEEP
