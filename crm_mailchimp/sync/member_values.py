"""Reading what the contacts of members hold, with one SQL query per chunk."""

import hashlib
from operator import itemgetter

from odoo import release
from odoo.modules.module import Manifest
from odoo.tools import SQL

from ..engine.payload import KEEP, reconcile, split_as, values
from ..engine.plan import Known, held
from ..engine.vocabulary import NOT_TAKEN
from .mapped_columns import MappedColumns

# Another version may decide differently on the same values.
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
    "contact_ref",
    "subscribed_at",
    "moved_from_id",
    "values_sending",
    "sending",
    "sent_at",
    "batch_ref",
    "last_changed",
    "no_date",
)


class MemberRow(tuple):
    """A row of a chunk: the ledger's columns by name, the others by number.

    Which others there are depends on the mapping: their :class:`MemberValues` knows the
    numbers.
    """

    __slots__ = ()


for number, name in enumerate(HEAD):
    setattr(MemberRow, name, property(itemgetter(number)))
MemberRow.email = MemberRow.email_normalized


class MemberValues(MappedColumns):
    """Reads rows of the ledger together with the mapped values of their contacts.

    A row that was compared and needed nothing keeps a *fingerprint*: a hash of
    everything that decision was based on. ``inputs`` is the hash of what comes from
    Odoo: the columns the mapping reads, the groups of the contact, and the rules by
    which they become values; the ledger's own columns are added to it, see
    ``crm.mailchimp.member``. As long as the database computes the same fingerprint,
    Python need not look at the row again.

    :param account: record of ``crm.mailchimp.account``
    """

    def __init__(self, account):
        super().__init__(account, HEAD)
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
        self.merge_fields, self.getters = [], []
        self.rules += [
            VERSION,
            account.lang,
            account.sync_direction,
            account.conflict_winner,
            sorted(self.groups.items()),
        ]
        # For each line, the columns that show whether its author may see what it reads.
        self.needed = []
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
        # The merge fields that Odoo's single name field is split into.
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

    def _segments(self):
        """Return ``SQL``: the segments with groups that the contact is in, in order."""
        return SQL(
            """ARRAY(SELECT r.segment_id FROM crm_mailchimp_segment_partner r
                      WHERE r.partner_id = m.partner_id AND r.segment_id = ANY(%s)
                   ORDER BY r.segment_id)""",
            list(self.groups),
        )

    def _inputs(self, segments):
        """Return ``SQL``: the hash of what comes from Odoo; ``NULL`` if unknown.

        :param SQL segments: sorted ids of the segments the contact is in
        """
        if self.slow:
            # Computed by the ORM: only computing it again shows whether it changed.
            return SQL("NULL::int8")
        rules = hashlib.sha256(repr(self.rules).encode()).digest()[:8]
        columns = []
        for index in range(self.first_input, self.last_input):
            column = segments if index == self.segments else self.columns[index]
            # Several lines of the mapping may read the same one.
            if column not in columns:
                columns.append(column)
        return SQL(
            "HASHTEXTEXTENDED(ROW(%s)::text, %s)",
            SQL(", ").join(columns),
            int.from_bytes(rules, "big", signed=True),
        )

    def _unchanged(self, inputs):
        """Return ``SQL``: whether the row needed nothing and is still the same.

        :param SQL inputs: as returned by :meth:`_inputs`
        """
        if self.slow:
            return SQL("FALSE")
        return SQL(
            "COALESCE(m.operation IS NULL AND m.values_sending IS NULL"
            " AND m.batch_ref IS NULL AND m.fingerprint = %s, FALSE)",
            self.account.env["crm.mailchimp.member"]._fingerprint(inputs),
        )

    def is_changed(self, now):
        """Return ``SQL``: whether the row of a chunk has to be compared again.

        :param now: temporary refusals due by this time are tried again
        """
        return SQL("(m.next_try <= %s OR NOT %s)", now, self.columns[self.unchanged])

    def changed(self, where, now):
        """Return a query of all rows that have to be compared again.

        :param SQL where: condition on the ledger, which is aliased ``m``
        :param now: as for :meth:`is_changed`
        :return: ``SQL`` of a query for ``id, email``
        """
        # One aggregate over all contacts instead of a subquery for each.
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

    def chunk(self, where, limit):
        """Return rows of the ledger in the order of their addresses.

        :param SQL where: condition on the ledger, which is aliased ``m``
        :param int limit: the most rows to return
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

    def known(self, row):
        """Return the ledger's part of a row as a dict."""
        return dict(zip(HEAD, row, strict=False))

    def state(self, row, now=None):
        """Return the ledger's part of a row as the engine's :class:`.Known`.

        :param now: temporary refusals due by this time are tried again
        """
        return Known(
            status=row.status,
            ours=row.origin != "foreign",
            status_before=row.status_before,
            by_odoo=row.archived_by == "odoo",
            # A refusal by Odoo is not one by Mailchimp.
            reason=None if row.reason == NOT_TAKEN else row.reason,
            sent=row.values_sent,
            seen=row.values_seen,
            edited=bool(row.edited),
            refused=row.values_refused,
            retry=bool(now and row.next_try and row.next_try <= now),
        )

    def interests(self, row):
        """Return the ids of those of our groups that a row's contact belongs to."""
        of_kind = bool(row[self.is_company])
        refs = [self.groups[segment][of_kind] for segment in row[self.segments]]
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
        present = held(self.state(row)) if row.status else {"m": {}}
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
            self._divide_as_there(row, desired["m"], present["m"], row.values_sent)
        return desired

    def _divide_as_there(self, row, merge, present, sent):
        """Keep a name split as it is in Mailchimp, or as it was when last sent."""
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
        """Return the tags of merge fields that cannot take the contact's value."""
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
            # Where Odoo cannot take Mailchimp's value, its own stays as it is.
            writable = writable - refused
        return target, vals, True
