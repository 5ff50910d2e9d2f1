from typing import NamedTuple

from odoo import fields
from odoo.tools import SQL

from ..engine import errors
from ..engine.vocabulary import TAGGED_AT_ONCE
from .phase import Phase


class ToGive(NamedTuple):
    """A tag that can be given now, to one of the addresses of its contact."""

    id: int
    name: str
    email: str


class ContactTags(Phase):
    """Tags that somebody asked for on single contacts, as opposed to segments' tags."""

    def to_give(self, name=None, limit=TAGGED_AT_ONCE):
        """Return :class:`ToGive` for the tags that can be given now.

        A tag waits until its contact is subscribed in the audience.
        """
        self.env["crm.mailchimp.contact.tag"].flush_model()
        rows = self.env.execute_query(
            SQL(
                """SELECT t.id, t.name, m.email_normalized
                     FROM crm_mailchimp_contact_tag t
                     JOIN crm_mailchimp_member m
                       ON m.partner_id = t.partner_id AND m.account_id = t.account_id
                    WHERE t.account_id = %s AND t.state = 'waiting'
                      AND m.status = 'subscribed' AND m.wanted AND %s
                 ORDER BY t.id LIMIT %s""",
                self.account.id,
                SQL("LOWER(t.name) = LOWER(%s)", name) if name else SQL("TRUE"),
                limit,
            )
        )
        return [ToGive(*row) for row in rows]

    def wait(self):
        """Return whether a tag can be given now."""
        return bool(self.to_give(limit=1))

    def send(self):
        """Give the tags people asked for; unlike for segments, existing tags are used.

        A tag is found by its name, so if the answer to its creation gets lost, the next
        try finds it, and giving a member a tag once more does no harm.
        """
        refs, gone = None, set()
        while not self.is_over():
            first = self.to_give(limit=1)
            if not first:
                return
            name = first[0].name
            rows = self.to_give(name)
            if len(rows) == TAGGED_AT_ONCE and rows[0].id != rows[-1].id:
                # The last contact may have more addresses than fit.
                rows = [row for row in rows if row.id != rows[-1].id]
            try:
                if refs is None:
                    refs = self._by_name()
                segment = self._segment_of(refs.get(name.casefold()))
                if segment:
                    sentence = self.env._(
                        "This tag belongs to the saved filter “%(name)s”, which "
                        "decides who gets it.",
                        name=segment.name,
                    )
                    self._record(rows, {row.email: sentence for row in rows})
                    continue
                answer = self.gateway.change_static_segment(
                    self.account.audience_ref,
                    self._ref(name, refs),
                    add=list(dict.fromkeys(row.email for row in rows)),
                )
            except errors.REFUSED as error:
                if isinstance(error, errors.NotFound) and name not in gone:
                    # Somebody deleted the tag since it was listed.
                    gone.add(name)
                    refs = None
                    continue
                sentence = self.account._error_sentence(error)
                self._record(rows, {row.email: sentence for row in rows})
                continue
            refused = {
                address.lower(): entry.get("error") or ""
                for entry in answer.get("errors") or ()
                for address in entry.get("email_addresses") or ()
            }
            self._record(rows, refused)

    def _by_name(self):
        return {
            tag["name"].casefold(): tag["id"]
            for tag in self.gateway.static_segments(self.account.audience_ref)
        }

    def _segment_of(self, ref):
        """Return the segment whose tag this is."""
        return self.account.segment_ids.filtered(
            lambda segment: segment.tag_ref and segment.tag_ref == str(ref)
        )[:1]

    def _ref(self, name, refs):
        """Return the id of a tag, which is created if it does not exist.

        :param dict refs: ids of the existing tags by case-folded name; updated here
        :raise Rejected: when Mailchimp does not accept the name
        """
        key = name.casefold()
        if key not in refs:
            try:
                tag = self.gateway.create_static_segment(
                    self.account.audience_ref, name
                )
            except errors.REFUSED:
                # Somebody else has just created it, or something else has the name.
                refs.update(self._by_name())
                if key not in refs:
                    raise
            else:
                refs[key] = tag["id"]
                self.count(tags_created=1)
        return refs[key]

    def _record(self, rows, refused):
        """Note which tags were given and why others were not.

        A contact with several addresses has the tag when one of them has it.

        :param rows: as returned by :meth:`to_give`
        :param dict refused: reason by address
        """
        Tag = self.env["crm.mailchimp.contact.tag"]
        now = fields.Datetime.now()
        given = {row.id for row in rows if row.email not in refused}
        reasons = {row.id: refused[row.email] for row in rows if row.id not in given}
        Tag.browse(given).write({"state": "done", "done_at": now, "reason": False})
        for row_id, reason in reasons.items():
            Tag.browse(row_id).write({"state": "refused", "reason": reason})
        self.count(tagged=len(given), untaggable=len(reasons))
        self.run._notify()
        self.commit()
