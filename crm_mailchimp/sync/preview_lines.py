import json
from collections import Counter
from typing import NamedTuple

from odoo.tools import SQL

from ..engine.plan import REACHABLE, held
from ..engine.vocabulary import NOT_TAKEN
from .compare import Compare
from .consent import ConsentUpdate
from .contact_tags import ContactTags
from .creates import Creates
from .imports import MemberImport
from .member_values import MemberValues
from .permissions import Permissions
from .phase import OutOfTime, Phase
from .segments import Segments
from .tags import Tags
from .updates import Updates

CHUNK = 2000


class Line(NamedTuple):
    """What a preview says about one contact: the columns of its line."""

    partner_id: int | None
    email_normalized: str
    action: str
    detail: str = ""
    entering: str = ""
    leaving: str = ""


class PreviewLines(Phase):
    """What the phases of a real run would do, contact by contact.

    They really plan, in a transaction that the preview rolls back.
    """

    def __init__(self, run, gateway, deadline):
        super().__init__(run, gateway, deadline)
        # Whether there was no time for all of it.
        self.is_partial = False
        # How many contacts have a value that Mailchimp would not take, by merge tag.
        self.left_out = Counter()
        self.merge_fields = self.account._merge_field_names()

    def all(self):
        """Go through the phases and yield what they would do.

        :return: generator of :class:`Line`
        """
        account = self.account
        listed = account.blacklist_on_unsubscribe and self.env._("blacklisted")
        said_no = self.beside(ConsentUpdate).said_no()
        self._expect_opt_outs(said_no)
        for partner_id, no in said_no.items():
            detail = "; ".join(filter(None, [no.note, listed]))
            yield Line(partner_id, no.email, "opt_out", detail)
        importing = ()
        if account.foreign_members == "import":
            importing = self.beside(MemberImport).to_import()
        self.env["crm.mailchimp.segment"]._sync_with_filters(account)
        leaving = self._leaving_with_their_segment()
        refusing = self._refusing()
        self._plan(self.beside(Segments))
        yield from self._imports(importing)
        comparison = self.beside(DryCompare)
        self._plan(comparison)
        for partner_id, values in comparison.brought_back:
            partner = self.env["res.partner"].browse(partner_id)
            detail, action = self._describe_vals(partner, values), "bring_back"
            values = json.loads(json.dumps(values, default=str))
            refused, words = refusing.get(partner_id, (None, None))
            if refused == {"back": values}:
                detail, action = words, "not_taken"
            yield Line(partner_id, partner.email_normalized, action, detail)
        reader = MemberValues(account)
        names = {
            segment[f"{kind}_ref"]: segment.name
            for segment in account.segment_ids
            for kind in ("person", "company")
            if segment[f"{kind}_ref"]
        }
        tags = self._tags_of_contacts()
        causes = dict(
            self.env["crm.mailchimp.member"]
            ._fields["cause"]
            ._description_selection(self.env)
        )
        after = ""
        while True:
            rows = reader.chunk(
                SQL("m.operation IS NOT NULL AND m.email_normalized > %s", after), CHUNK
            )
            if not rows:
                break
            after = rows[-1].email
            yield from self._rows(reader, rows, names, tags, causes)
            self.env.invalidate_all()
        yield from self._lane(causes)
        yield from self._tags(leaving)
        yield from self._permissions()

    def _plan(self, phase):
        """Let a phase plan, as far as there is time."""
        try:
            self.is_partial |= phase.work() is None
        except OutOfTime:
            self.is_partial = True

    def _expect_opt_outs(self, said_no):
        """Note the "no" for other addresses of contacts that said no, as a run does.

        The contacts themselves are left alone, not even locked.

        :param dict said_no: :class:`.Said` by contact id
        """
        self.env["crm.mailchimp.suppression"]._note(
            {
                "email": email,
                "source": "odoo",
                "kind": "opt_out",
                "date": said_no[partner.id].date,
            }
            for partner in self.env["res.partner"].browse(said_no)
            for email in partner._mailchimp_addresses()
            if email != said_no[partner.id].email
        )

    def _refusing(self):
        """Return ``{contact id: (what, words)}`` of contacts that refuse a change."""
        members = self.env["crm.mailchimp.member"].search(
            [("account_id", "=", self.account.id), ("reason", "=", NOT_TAKEN)]
        )
        return {
            member.partner_id.id: (member.values_refused, member.reason_text)
            for member in members
        }

    def _imports(self, rows):
        """Yield the outcome of trying to create contacts for members."""
        for member_id, partner_id in rows:
            member = self.env["crm.mailchimp.member"].browse(member_id)
            detail, action = "", "opt_in" if partner_id else "import"
            if member.reason == NOT_TAKEN:
                detail, action = member.reason_text, "not_taken"
            yield Line(partner_id, member.email_normalized, action, detail)

    def _lane(self, causes):
        """Yield the opt-outs that only the lane knows about."""
        Member = self.env["crm.mailchimp.member"]
        for leaving in self.account._opt_outs_to_send():
            member = Member.browse(leaving.id)
            if leaving.status and member.operation != "archive":
                partner = member.partner_id.id or None
                yield Line(partner, leaving.email, "archive", causes["opt_out"])

    def _permissions(self):
        """Yield members of the audience that wait for marketing permissions."""
        permitting = self.beside(Permissions)
        permissions = permitting.to_give()
        if not permissions:
            return
        Member = self.env["crm.mailchimp.member"]
        for member_id, email in permitting.members(permissions, limit=None):
            given = permissions.filtered(
                lambda one, id=member_id: one.after_member < id
            )
            if given:
                partner = Member.browse(member_id).partner_id.id or None
                yield Line(partner, email, "permit", _join(given.mapped("name")))

    def _rows(self, reader, rows, names, tags, causes):
        creates = [row for row in rows if row.operation == "create"]
        permissions = _join(self.beside(Permissions).to_give().mapped("name"))
        items = self.beside(Creates).items(reader, creates, "subscribed")
        for item, row, desired in items:
            entering = [names[ref] for ref in desired["i"]]
            entering += tags.get(row.partner_id, ())
            email = item["email_address"]
            left_out = self._note_left_out(reader, row)
            detail = "; ".join(filter(None, [permissions, left_out]))
            yield Line(row.partner_id, email, "create", detail, _join(entering))
        for row in self._held_rows(reader, creates):
            yield row
        for row in rows:
            operation = row.operation
            if operation == "update":
                for _row, _desired, body in self.beside(Updates).bodies(reader, [row]):
                    self._note_left_out(reader, row)
                    yield self._update(reader, row, body, names)
            elif operation in ("move", "restore", "readmit", "ask", "inquire"):
                old = self.env["crm.mailchimp.member"].browse(row.moved_from_id)
                detail = old.email_normalized if operation == "move" else ""
                yield Line(row.partner_id, row.email, operation, detail)
            elif operation == "archive":
                cause = causes.get(self._cause(row.id), "")
                yield Line(row.partner_id, row.email, "archive", cause)

    def _note_left_out(self, reader, row):
        """Count and name the values of a contact that Mailchimp would not take."""
        tags = reader.unfit(row)
        self.left_out.update(tags)
        names = _join(self.merge_fields.get(tag, tag) for tag in tags)
        return names and self.env._("Left out: %s", names)

    def _held_rows(self, reader, rows):
        ids = [row.id for row in rows]
        for member in self.env["crm.mailchimp.member"].search(
            [("id", "in", ids), ("reason", "=", "required_field")]
        ):
            yield Line(
                member.partner_id.id or None,
                member.email_normalized,
                "held",
                member.reason_text,
            )

    def _cause(self, member_id):
        return self.env["crm.mailchimp.member"].browse(member_id).cause

    def _update(self, reader, row, body, names):
        before = held(reader.state(row))["m"]
        changes = [
            f"{self.merge_fields.get(tag, tag)}:"
            f" {_text(before.get(tag))} → {_text(value)}"
            for tag, value in (body.get("merge_fields") or {}).items()
        ]
        if body.get("language"):
            changes.append(f"{self.env._('Language')}: {body['language']}")
        interests = body.get("interests") or {}
        entering = [names.get(ref, ref) for ref, inside in interests.items() if inside]
        leaving = [
            names.get(ref, ref) for ref, inside in interests.items() if not inside
        ]
        action = "update" if changes else "segment"
        return Line(
            row.partner_id,
            row.email,
            action,
            "; ".join(changes),
            _join(entering),
            _join(leaving),
        )

    def _describe_vals(self, partner, values):
        return "; ".join(
            f"{partner._fields[name]._description_string(self.env)}: {value or ''}"
            for name, value in values.items()
        )

    def _tags_of_contacts(self):
        """Return ``{contact id: names of tags}`` for contacts that are not members."""
        return dict(
            self.env.execute_query(
                SQL(
                    """SELECT m.partner_id, ARRAY_AGG(t.name ORDER BY t.name)
                         FROM crm_mailchimp_member m
                         JOIN (SELECT r.partner_id, s.name
                                 FROM crm_mailchimp_segment_partner r
                                 JOIN crm_mailchimp_segment s ON s.id = r.segment_id
                                WHERE s.account_id = %(account)s
                                  AND s.tag_ref IS NOT NULL
                                UNION
                               SELECT t.partner_id, t.name
                                 FROM crm_mailchimp_contact_tag t
                                WHERE t.account_id = %(account)s
                                  AND t.state = 'waiting') t
                           ON t.partner_id = m.partner_id
                        WHERE m.account_id = %(account)s AND m.operation = 'create'
                     GROUP BY m.partner_id""",
                    account=self.account.id,
                )
            )
        )

    def _leaving_with_their_segment(self):
        """Return ``{(member id, address): names}`` of groups and tags to be deleted.

        Called before the phases, because deleting one forgets who was in it.
        """
        account, found = self.account, {}
        self.env["crm.mailchimp.member"].flush_model()
        for segment in account.segment_ids:
            gone = segment.state == "withdrawn"
            groups = [segment.person_ref, segment.company_ref]
            if not gone and account.segment_target != "tag":
                groups = []
            tagged = segment.tag_ref and (gone or account.segment_target == "group")
            if not any(groups) and not tagged:
                continue
            rows = self.env.execute_query(
                SQL(
                    """SELECT m.id, m.email_normalized FROM crm_mailchimp_member m
                        WHERE m.account_id = %s AND m.status IN %s
                          AND (COALESCE(m.values_seen, m.values_sent)->'i' ?| %s
                               OR %s AND EXISTS (
                                   SELECT FROM crm_mailchimp_segment_tagged t
                                    WHERE t.segment_id = %s AND t.member_id = m.id))
                     ORDER BY m.id""",
                    account.id,
                    REACHABLE,
                    [ref for ref in groups if ref],
                    bool(tagged),
                    segment.id,
                )
            )
            for member_id, email in rows:
                found.setdefault((member_id, email), []).append(segment.name)
        return found

    def _tags(self, leaving):
        """Yield a line for each member of the audience that enters or leaves tags.

        :param dict leaving: as returned by :meth:`_leaving_with_their_segment`
        """
        Member = self.env["crm.mailchimp.member"]
        found = {key: ([], names) for key, names in leaving.items()}
        ids = {}
        for _row_id, name, email in self.beside(ContactTags).to_give(limit=None):
            member = ids.setdefault(
                email,
                Member.search(
                    [
                        ("account_id", "=", self.account.id),
                        ("email_normalized", "=", email),
                    ]
                ),
            )
            found.setdefault((member.id, email), ([], []))[0].append(name)
        tags = self.beside(Tags)
        for segment in tags.segments().filtered("tag_ref"):
            for index, rows in enumerate(tags.to_change(segment, limit=None)):
                for member_id, email in rows:
                    entry = found.setdefault((member_id, email), ([], []))
                    entry[index].append(segment.name)
        for (member_id, email), (entering, leaving) in found.items():
            member = Member.browse(member_id)
            yield Line(
                member.partner_id.id or None,
                email,
                "segment",
                "",
                _join(entering),
                _join(leaving),
            )


class DryCompare(Compare):
    """The comparison of a preview, which does not write to contacts."""

    def __init__(self, run, gateway, deadline):
        super().__init__(run, gateway, deadline)
        #: ``(contact id, field values)`` of what would be written
        self.brought_back = []

    def write_contacts(self, changes):
        self.brought_back.extend(changes.items())
        return set(changes), {}


def _join(names):
    return ", ".join(sorted(names))


def _text(value):
    if isinstance(value, dict):
        return ", ".join(str(part) for part in value.values() if part)
    return "" if value is None else str(value)
