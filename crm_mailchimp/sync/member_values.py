"""Reading what the contacts of members hold, by chunk, in one SQL query a chunk."""

import hashlib
from operator import itemgetter

from odoo import release
from odoo.exceptions import AccessError
from odoo.modules.module import Manifest
from odoo.tools import SQL, Query, html2plaintext

from ..engine.payload import KEEP, reconcile, split_as, split_name, values
from ..engine.plan import Known, held
from ..engine.vocabulary import NOT_TAKEN

# Another version may decide otherwise on the same values.
VERSION = f"{release.version} {Manifest.for_addon('crm_mailchimp').version}"
HEAD = (
    "id",
    "email_normalized",
    "partner_id",
    "status",
    "status_before",
    "archived_by",
    "origin",
    "wanted",
    "operation",
    "reason",
    "next_try",
    "values_sent",
    "values_seen",
    "values_refused",
    "edited",
    "web_id",
    "subscribed_at",
    "moved_from_id",
    "values_sending",
    "sending",
    "sent_at",
    "batch_ref",
    "last_changed",
    "no_date",
)


NUMBERS = {name: number for number, name in enumerate(HEAD)}


class SlowPath(Exception):
    """The path has a field that only the ORM can read."""


class MemberRow(tuple):
    """A row of a chunk: the ledger's columns by name, the others by number.

    Which others there are depends on the mapping: their reader knows the numbers.
    """

    __slots__ = ()

    @property
    def email(self):
        return self.email_normalized

    def __getattr__(self, name):
        try:
            return self[NUMBERS[name]]
        except KeyError:
            raise AttributeError(name) from None


class MemberValues:
    """Reads rows of the ledger together with the mapped values of their contacts.

    A row that was compared and needed nothing keeps a *fingerprint*: a hash of all that
    this was decided on. ``inputs`` is the hash of what comes from Odoo: the columns the
    mapping reads, the groups of the contact, and the rules by which they become values;
    the ledger's own columns are added to it, see ``crm.mailchimp.member``. As long as
    the database computes the same fingerprint, Python need not look at the row again.

    Each line of the mapping is read with the rights of who wrote it: of contacts, and
    of records behind them, that this user may not see, no value goes to Mailchimp, and
    none that is there is touched.

    :param account: record of ``crm.mailchimp.account``
    """

    def __init__(self, account):
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
        self.columns = [SQL.identifier("m", name) for name in HEAD]
        # Not one of the inputs: it is sent to Mailchimp once, with a new member.
        self.opt_in_date = self._add(
            SQL.identifier(self.alias, "mailchimp_opt_in_date")
        )
        self.first_input = len(self.columns)
        self.lang = self._add(SQL.identifier(self.alias, "lang"))
        self.is_company = self._add(SQL.identifier(self.alias, "is_company"))
        self.groups = {
            segment.id: (segment.person_ref, segment.company_ref)
            for segment in account.segment_ids
            if segment.state != "withdrawn"
            and (segment.person_ref or segment.company_ref)
        }
        self.segments = self._add(self._segments())
        self.merge_fields, self.getters, self.slow = [], [], {}
        # Of what, besides columns, the values are made.
        self.rules = [
            VERSION,
            account.lang,
            account.sync_direction,
            account.conflict_winner,
            sorted(self.groups.items()),
        ]
        # Columns that tell whether somebody may see a record, and those of each line.
        self.seen, self.needed = {}, []
        halves = {}
        for line in account.merge_field_ids.filtered("remote_ref"):
            self.merge_fields.append(line._engine_field())
            self.as_author(line)
            if self.author is None:
                self.getters.append(lambda row: KEEP)
            else:
                self.getters.append(self._getter(line))
            self.needed.append(frozenset(self.need))
            self.rules += [
                *(line.source, line.field_path, line._is_american_phone()),
                self.author and self.author.uid,
            ]
            if self.author is None:
                continue
            if line.source in ("first_name", "last_name"):
                halves[line.source] = line.tag
        # The merge fields that Odoo's one name is divided over.
        self.halves = ()
        if len(halves) == 2 and "firstname" not in self.partners._fields:
            self.halves = (halves["first_name"], halves["last_name"])
            self.name = self._path("name")
        self.checked = sorted(set(self.seen.values()))
        self.tags = [merge_field.tag for merge_field in self.merge_fields]
        self.owned = account._owned_interests()
        self.required = account._refs().required_tags
        self.writable = {
            line.tag
            for line in account.merge_field_ids.filtered("remote_ref")
            if line._is_writable()
        }
        self.rules += [
            self.merge_fields,
            self.halves,
            sorted(self.owned),
            self.required,
            sorted(self.writable),
        ]
        self.last_input = len(self.columns)
        self.inputs = self._add(self._inputs(self.columns[self.segments]))
        self.unchanged = self._add(self._unchanged(self.columns[self.inputs]))

    def as_author(self, line):
        """Read what follows with the rights of who wrote a line of the mapping."""
        self.author, self.need = None, set()
        if not line._trouble():
            self.author = line._author_env()
            self._note_seen(self.partners, self.alias)

    def _note_seen(self, model, alias):
        """Read whether the author's record rules show the record, if there are any."""
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

    def _segments(self):
        """Return ``SQL``: the segments with groups that the contact is in, in order."""
        return SQL(
            """ARRAY(SELECT r.segment_id FROM crm_mailchimp_segment_partner r
                      WHERE r.partner_id = m.partner_id AND r.segment_id = ANY(%s)
                   ORDER BY r.segment_id)""",
            list(self.groups),
        )

    def _inputs(self, segments):
        """Return ``SQL``: the hash of what comes from Odoo; ``NULL`` if not known.

        :param SQL segments: sorted ids of the segments the contact is in
        """
        if self.slow:
            # Computed by the ORM: nothing but computing it tells whether it changed.
            return SQL("NULL::int8")
        rules = hashlib.sha256(repr(self.rules).encode()).digest()[:8]
        columns = [
            segments if index == self.segments else self.columns[index]
            for index in range(self.first_input, self.last_input)
        ]
        return SQL(
            "HASHTEXTEXTENDED(ROW(%s)::text, %s)",
            SQL(", ").join(columns),
            int.from_bytes(rules, "big", signed=True),
        )

    def _unchanged(self, inputs):
        """Return ``SQL``: the row needed nothing, and what was looked at is the same.

        :param SQL inputs: as of :meth:`_inputs`
        """
        if self.slow:
            return SQL("FALSE")
        return SQL(
            "COALESCE(m.operation IS NULL AND m.values_sending IS NULL"
            " AND m.batch_ref IS NULL AND m.fingerprint = %s, FALSE)",
            self.account.env["crm.mailchimp.member"]._fingerprint(inputs),
        )

    def is_changed(self, now):
        """Return ``SQL``: the row of a chunk has to be compared again.

        :param now: time after which refusals that pass are tried again
        """
        return SQL("(m.next_try <= %s OR NOT %s)", now, self.columns[self.unchanged])

    def changed(self, where, now):
        """Return a query of all rows that have to be compared again.

        :param SQL where: condition on the ledger, which is aliased ``m``
        :param now: as for :meth:`is_changed`
        :return: ``SQL``: ``id, email``
        """
        # One aggregate over all contacts, not a subquery for each.
        segments = SQL("COALESCE(g.ids, '{}'::int[])")
        groups = SQL(
            """LEFT JOIN (SELECT r.partner_id,
                                 ARRAY_AGG(r.segment_id ORDER BY r.segment_id) AS ids
                            FROM crm_mailchimp_segment_partner r
                           WHERE r.segment_id = ANY(%s)
                        GROUP BY r.partner_id) g ON g.partner_id = m.partner_id""",
            list(self.groups),
        )
        return SQL(
            """SELECT m.id, m.email_normalized AS email FROM %s %s
                WHERE m.account_id = %s AND %s AND (m.next_try <= %s OR NOT %s)""",
            self.query.from_clause,
            groups,
            self.account.id,
            where,
            now,
            self._unchanged(self._inputs(segments)),
        )

    def _getter(self, line):
        """Return a function of a row that gives the raw value of a mapping line."""
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
        """Return a getter of phones that says of which country a number is.

        A number without the code of a country is one of the contact's country: ten
        digits there may be somebody else's in America.
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
        """Return what makes of a value read by the ORM what a column would give."""
        field, model = None, self.partners
        for name in path.split("."):
            field = model._fields[name]
            model = self.account.env[field.comodel_name] if field.relational else None
        if field.relational or field.type == "reference":
            return lambda record: record.display_name if record else None
        return self._converter(field)

    def chunk(self, where, limit):
        """Return rows of the ledger in the order of their addresses.

        :param SQL where: condition on the ledger, which is aliased ``m``
        :param int limit: number of rows
        :return: list of :class:`MemberRow`
        """
        rows = self.account.env.execute_query(
            SQL(
                "SELECT %s FROM %s WHERE m.account_id = %s AND %s"
                " ORDER BY m.email_normalized LIMIT %s",
                SQL(", ").join(self.columns),
                self.query.from_clause,
                self.account.id,
                where,
                limit,
            )
        )
        rows = [MemberRow(row) for row in rows]
        if not self.slow:
            return rows
        return [
            MemberRow((*row, slow))
            for row, slow in zip(rows, self._read_slow(rows), strict=True)
        ]

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

    def known(self, row):
        """Return the ledger's part of a row as a dict."""
        return dict(zip(HEAD, row, strict=False))

    def state(self, row, now=None):
        """Return the ledger's part of a row as the engine knows it.

        :param now: time after which refusals that pass are tried again
        """
        return Known(
            status=row.status,
            ours=row.origin != "foreign",
            status_before=row.status_before,
            by_odoo=row.archived_by == "odoo",
            # What Odoo refuses is no refusal of Mailchimp.
            reason=None if row.reason == NOT_TAKEN else row.reason,
            sent=row.values_sent,
            seen=row.values_seen,
            edited=bool(row.edited),
            refused=row.values_refused,
            retry=bool(now and row.next_try and row.next_try <= now),
        )

    def interests(self, row):
        """Return the ids of our groups the contact of a row belongs to."""
        groups = (self.groups[segment] for segment in row[self.segments])
        refs = (group[bool(row[self.is_company])] for group in groups)
        return [ref for ref in refs if ref]

    def _raw(self, row):
        hidden = {index for index in self.checked if not row[index]}
        if not hidden:
            return [getter(row) for getter in self.getters]
        return [
            KEEP if hidden & needed else getter(row)
            for getter, needed in zip(self.getters, self.needed, strict=True)
        ]

    def desired(self, row):
        """Return the canonical values the member of a row should have."""
        state = self.state(row)
        present = held(state) if state.status else {"m": {}}
        raw = self._raw(row)
        desired = values(
            self.merge_fields,
            raw,
            self.interests(row),
            row[self.lang],
            present,
        )
        if (
            self.halves
            and present["m"]
            and not row[self.is_company]
            and not any(value is KEEP for value in raw)
        ):
            self._divide_as_there(row, desired["m"], present["m"], state.sent)
        return desired

    def _divide_as_there(self, row, merge, present, sent):
        """Leave a name divided as it is in Mailchimp, or was when it was last sent."""
        first, last = self.halves
        pairs = [
            (there.get(first), there.get(last))
            for there in (present, (sent or {}).get("m") or {})
        ]
        for tag, half in zip(
            self.halves, split_as(self.name(row), *pairs) or (), strict=False
        ):
            merge.pop(tag, None)
            if half:
                merge[tag] = half

    def unfit(self, row):
        """Return the tags of which the contact has a value that does not suit."""
        return {
            merge_field.tag
            for merge_field, value in zip(
                self.merge_fields, self._raw(row), strict=True
            )
            if value is not KEEP and merge_field.is_unfit(value)
        }

    def target(self, row):
        """Settle the values of a wanted row between Odoo and Mailchimp.

        :return: ``(values both sides should hold, field values to write in Odoo,
            whether Odoo can take everything)``
        """
        account, desired = self.account, self.desired(row)
        if account.sync_direction == "push" or row.status != "subscribed":
            return desired, {}, True
        writable, refused, unfit = self.writable, True, self.unfit(row)
        while refused:
            target, back = reconcile(
                desired,
                row.values_sent,
                held(self.state(row)),
                self.tags,
                writable,
                account.sync_direction,
                account.conflict_winner,
                unfit,
            )
            if not back:
                return target, {}, writable == self.writable
            vals, refused = self.writer._contact_vals(
                back, target["m"], row[self.is_company]
            )
            # What Odoo has no value for stays as it is in Odoo.
            writable = writable - refused
        return target, vals, True
