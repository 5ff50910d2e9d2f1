import time

from odoo import fields, models
from odoo.tools import SQL

from ..engine import errors
from ..engine.naming import free_name, is_name_of

TAG = 500  # addresses Mailchimp tags, and untags, in one call


class CrmMailchimpRun(models.Model):
    """Segments as tags: one tag a filter, whose members enter and leave.

    A tag is a static segment in Mailchimp. Who has it is kept in a table of its own,
    so what has to be sent is a set difference, and a call that got lost is repeated
    without harm.
    """

    _inherit = "crm.mailchimp.run"

    def _tag_segments(self):
        """Return the segments that are a tag."""
        return self.account_id.segment_ids.filtered(
            lambda segment: segment.state in ("active", "full", "broken")
        )

    def _tags_known(self):
        return bool(self._tag_segments().filtered("tag_ref"))

    # === THE TAGS THEMSELVES === #

    def _sync_tags(self, gateway):
        """Create, rename and delete tags; find those that were deleted by hand."""
        account = self.account_id
        wanted = account.segment_target in ("tag", "both")
        keep = self._tag_segments() if wanted else account.segment_ids.browse()
        for segment in account.segment_ids - keep:
            self._withdraw_tag(gateway, segment)
        if account.segment_target == "tag":
            # Tags are not limited.
            keep.filtered(lambda s: s.state == "full").write(
                {"state": "active", "error_message": False}
            )
        if self.kind == "full" and keep.untaggable_ids:
            keep.write({"untaggable_ids": [(5,)]})
        segments = keep.filtered(lambda s: not s.tag_ref and s._has_members())
        renamed = keep.filtered(lambda s: s.tag_ref and not s._is_tag_named())
        if not segments and not renamed and self.kind != "full":
            return
        if not keep:
            return
        try:
            names = {
                str(tag["id"]): tag["name"]
                for tag in gateway.static_segments(account.audience_ref)
            }
        except errors.REFUSED as error:
            for segment in segments | renamed:
                segment._note_refusal(error)
            return
        for segment in keep.filtered("tag_ref"):
            name = names.get(segment.tag_ref)
            if name and not is_name_of(name, segment._group_name()):
                # Somebody renamed it in Mailchimp: it gets its name back.
                self._count(repaired=int(segment not in renamed))
                renamed |= segment
            if segment.tag_ref not in names:
                # Somebody deleted it in Mailchimp: it is made again.
                segment._forget_tag()
                self._count(repaired=1)
                segments |= segment.filtered(lambda s: s._has_members())
        for segment in segments:
            self._create_tag(gateway, segment, names)
        for segment in renamed.filtered("tag_ref"):
            self._rename_tag(gateway, segment, names)

    def _create_tag(self, gateway, segment, names):
        account = self.account_id
        try:
            ref = self._create_once(
                f"tag {segment.id}",
                segment._group_name(),
                names,
                lambda name: str(
                    gateway.create_static_segment(account.audience_ref, name)["id"]
                ),
            )
        except errors.REFUSED as error:
            segment._note_refusal(error)
            account._set_refs(creating=None)
            return
        segment.write({"tag_ref": ref, "tag_name": names[ref], "error_message": False})
        account._set_refs(creating=None)
        self._count(tags_created=1)
        self._commit()

    def _rename_tag(self, gateway, segment, names):
        account = self.account_id
        taken = [name for ref, name in names.items() if ref != segment.tag_ref]
        name = free_name(segment._group_name(), taken)
        try:
            gateway.rename_static_segment(account.audience_ref, segment.tag_ref, name)
        except errors.NotFound:
            segment._forget_tag()
            return
        except errors.REFUSED as error:
            segment._note_refusal(error)
            return
        names[segment.tag_ref] = name
        segment.write({"tag_name": name, "error_message": False})
        self._commit()

    def _withdraw_tag(self, gateway, segment):
        if not segment.tag_ref:
            return
        try:
            gateway.delete_static_segment(self.account_id.audience_ref, segment.tag_ref)
        except errors.REFUSED as error:
            # It is tried again with the next run.
            segment._note_refusal(error)
            return
        segment._forget_tag()
        self._count(tags_deleted=1)
        self._commit()

    # === WHO HAS THEM === #

    def _tags_to_change(self, segment, limit=TAG):
        """Return ``(to tag, to untag)``: lists of ``(member id, address)``."""
        self.env["crm.mailchimp.member"].flush_model()
        inside = SQL(
            """m.wanted AND EXISTS (
                   SELECT FROM crm_mailchimp_segment_partner r
                    WHERE r.segment_id = %(segment)s
                      AND r.partner_id = m.partner_id)""",
            segment=segment.id,
        )
        add = self.env.execute_query(
            SQL(
                """SELECT m.id, m.email_normalized
                     FROM crm_mailchimp_segment_partner r
                     JOIN crm_mailchimp_member m ON m.partner_id = r.partner_id
                    WHERE r.segment_id = %(segment)s AND m.account_id = %(account)s
                      AND m.status = 'subscribed' AND m.wanted
                      AND NOT EXISTS (
                          SELECT FROM crm_mailchimp_segment_tagged t
                           WHERE t.segment_id = %(segment)s AND t.member_id = m.id)
                      AND NOT EXISTS (
                          SELECT FROM crm_mailchimp_segment_untaggable t
                           WHERE t.segment_id = %(segment)s AND t.member_id = m.id)
                 ORDER BY m.id LIMIT %(limit)s""",
                segment=segment.id,
                account=self.account_id.id,
                limit=limit,
            )
        )
        remove = self.env.execute_query(
            SQL(
                """SELECT m.id, m.email_normalized
                     FROM crm_mailchimp_segment_tagged t
                     JOIN crm_mailchimp_member m ON m.id = t.member_id
                    WHERE t.segment_id = %(segment)s AND m.status = 'subscribed'
                      AND NOT (%(inside)s)
                 ORDER BY m.id LIMIT %(limit)s""",
                segment=segment.id,
                inside=inside,
                limit=limit,
            )
        )
        return add, remove

    def _tags_wait(self):
        """Tell whether a member has to be tagged or untagged."""
        return bool(self._contact_tags(limit=1)) or any(
            any(self._tags_to_change(segment, limit=1))
            for segment in self._segments_to_tag()
        )

    def _segments_to_tag(self):
        """Return the segments that have a tag, but those refused in this run."""
        refused = (self.cursor or {}).get("tags_refused", ())
        return self._tag_segments().filtered(
            lambda segment: segment.tag_ref and segment.id not in refused
        )

    def _send_tags(self, gateway, deadline):
        """Tag who entered a segment and untag who left it, 500 a call."""
        for segment in self._segments_to_tag():
            while time.monotonic() < deadline:
                add, remove = self._tags_to_change(segment)
                if not add and not remove:
                    break
                try:
                    answer = gateway.change_static_segment(
                        self.account_id.audience_ref,
                        segment.tag_ref,
                        add=[email for _id, email in add],
                        remove=[email for _id, email in remove],
                    )
                except errors.NotFound:
                    # Deleted by hand: it is made again with the next run.
                    segment._forget_tag()
                    self._commit()
                    break
                except errors.REFUSED as error:
                    # The other tags go on, and this one with the next run.
                    segment._note_refusal(error)
                    refused = (self.cursor or {}).get("tags_refused", [])
                    self._set_cursor(tags_refused=[*refused, segment.id])
                    self._commit()
                    break
                if segment.error_message and segment.state == "active":
                    segment.error_message = False
                self._record_tags(segment, add, remove, answer)

    def _record_tags(self, segment, add, remove, answer):
        refused = {
            address.lower()
            for entry in answer.get("errors") or ()
            for address in entry.get("email_addresses") or ()
        }
        segment._link(
            "crm_mailchimp_segment_tagged",
            [member_id for member_id, email in add if email not in refused],
        )
        segment._link(
            "crm_mailchimp_segment_untaggable",
            [member_id for member_id, email in add if email in refused],
        )
        # One that could not be untagged does not have the tag either.
        segment._forget_tagged([member_id for member_id, _email in remove])
        segment.invalidate_recordset(["tagged_ids", "untaggable_ids"], flush=False)
        changed = len(add) + len(remove) - len(refused)
        self._count(tagged=changed, untaggable=len(refused))
        self._notify()
        self._commit()

    # === TAGS SOMEBODY ASKED FOR === #

    def _contact_tags(self, name=None, limit=TAG):
        """Return ``(row id, name, address)`` of tags that can be given now.

        A tag waits until its contact stands in the audience as subscribed.
        """
        self.env["crm.mailchimp.contact.tag"].flush_model()
        return self.env.execute_query(
            SQL(
                """SELECT t.id, t.name, m.email_normalized
                     FROM crm_mailchimp_contact_tag t
                     JOIN crm_mailchimp_member m
                       ON m.partner_id = t.partner_id AND m.account_id = t.account_id
                    WHERE t.account_id = %s AND t.state = 'waiting'
                      AND m.status = 'subscribed' AND m.wanted AND %s
                 ORDER BY t.id LIMIT %s""",
                self.account_id.id,
                SQL("LOWER(t.name) = LOWER(%s)", name) if name else SQL("TRUE"),
                limit,
            )
        )

    def _send_contact_tags(self, gateway, deadline):
        """Give the tags people asked for; here a tag that is there is meant.

        A tag is found by its name, so one whose creation lost its answer is found by
        the next try, and giving a member a tag once more does no harm.
        """
        refs, gone = None, set()
        while time.monotonic() < deadline:
            first = self._contact_tags(limit=1)
            if not first:
                return
            name = first[0][1]
            rows = self._contact_tags(name)
            if len(rows) == TAG and rows[0][0] != rows[-1][0]:
                # The last contact may have more addresses than fit.
                rows = [row for row in rows if row[0] != rows[-1][0]]
            try:
                if refs is None:
                    refs = self._tags_by_name(gateway)
                segment = self._segment_of_tag(refs.get(name.casefold()))
                if segment:
                    sentence = self.env._(
                        "This tag belongs to the saved filter “%(name)s”, which "
                        "decides who gets it.",
                        name=segment.name,
                    )
                    self._record_contact_tags(rows, {row[2]: sentence for row in rows})
                    continue
                answer = gateway.change_static_segment(
                    self.account_id.audience_ref,
                    self._contact_tag_ref(gateway, name, refs),
                    add=list(dict.fromkeys(row[2] for row in rows)),
                )
            except errors.REFUSED as error:
                if isinstance(error, errors.NotFound) and name not in gone:
                    # Somebody deleted the tag since it was listed.
                    gone.add(name)
                    refs = None
                    continue
                sentence = self.account_id._error_sentence(error)
                self._record_contact_tags(rows, {row[2]: sentence for row in rows})
                continue
            refused = {
                address.lower(): entry.get("error") or ""
                for entry in answer.get("errors") or ()
                for address in entry.get("email_addresses") or ()
            }
            self._record_contact_tags(rows, refused)

    def _tags_by_name(self, gateway):
        return {
            tag["name"].casefold(): tag["id"]
            for tag in gateway.static_segments(self.account_id.audience_ref)
        }

    def _segment_of_tag(self, ref):
        """Return the segment whose tag this is."""
        return self.account_id.segment_ids.filtered(
            lambda segment: segment.tag_ref and segment.tag_ref == str(ref)
        )[:1]

    def _contact_tag_ref(self, gateway, name, refs):
        """Return the id of a tag, which is created when it is not there.

        :param dict refs: ids by lower-cased name of the tags that are there
        :raise Rejected: when Mailchimp does not take the name
        """
        key = name.casefold()
        if key not in refs:
            try:
                tag = gateway.create_static_segment(self.account_id.audience_ref, name)
            except errors.REFUSED:
                # Somebody else has just created it, or another thing has the name.
                refs.update(self._tags_by_name(gateway))
                if key not in refs:
                    raise
            else:
                refs[key] = tag["id"]
                self._count(tags_created=1)
        return refs[key]

    def _record_contact_tags(self, rows, refused):
        """Note which tags were given and why others were not.

        A contact with several addresses has the tag when one of them has it.

        :param rows: as of :meth:`_contact_tags`
        :param dict refused: reason by address
        """
        Tag = self.env["crm.mailchimp.contact.tag"]
        now = fields.Datetime.now()
        given = {row_id for row_id, _name, email in rows if email not in refused}
        reasons = {
            row_id: refused[email]
            for row_id, _name, email in rows
            if row_id not in given
        }
        Tag.browse(given).write({"state": "done", "done_at": now, "reason": False})
        for row_id, reason in reasons.items():
            Tag.browse(row_id).write({"state": "refused", "reason": reason})
        self._count(tagged=len(given), untaggable=len(reasons))
        self._notify()
        self._commit()

    def _compare_tags(self, entries):
        """Bring the table of tags up to what Mailchimp shows of some members.

        :param list entries: members of the API with their ``tags``
        :return: how many differed
        """
        repaired = 0
        # Mailchimp shows the first 50 tags of a member only.
        entries = [entry for entry in entries if len(entry.get("tags") or ()) < 50]
        for segment in self._tag_segments().filtered("tag_ref"):
            has = [
                entry["email_address"].lower()
                for entry in entries
                if any(
                    str(tag["id"]) == segment.tag_ref for tag in entry.get("tags") or ()
                )
            ]
            seen = [entry["email_address"].lower() for entry in entries]
            rows = self.env.execute_query(
                SQL(
                    """SELECT m.id, m.email_normalized = ANY(%(has)s), t.member_id
                         FROM crm_mailchimp_member m
                    LEFT JOIN crm_mailchimp_segment_tagged t
                           ON t.member_id = m.id AND t.segment_id = %(segment)s
                        WHERE m.account_id = %(account)s
                          AND m.email_normalized = ANY(%(seen)s)
                          AND (t.member_id IS NOT NULL)
                              <> (m.email_normalized = ANY(%(has)s))""",
                    has=has,
                    seen=seen,
                    segment=segment.id,
                    account=self.account_id.id,
                )
            )
            segment._link(
                "crm_mailchimp_segment_tagged",
                [member_id for member_id, tagged, _known in rows if tagged],
            )
            segment._forget_tagged(
                [member_id for member_id, tagged, _known in rows if not tagged]
            )
            repaired += len(rows)
        return repaired


class CrmMailchimpSegment(models.Model):
    _inherit = "crm.mailchimp.segment"

    def _has_members(self):
        """Tell whether a matching contact is, or is going to be, in the audience."""
        return bool(
            self.env.execute_query(
                SQL(
                    """SELECT 1 FROM crm_mailchimp_segment_partner r
                         JOIN res_partner p ON p.id = r.partner_id
                        WHERE r.segment_id = %s AND p.mailchimp_opt_in AND p.active
                        LIMIT 1""",
                    self.id,
                )
            )
        )

    def _is_tag_named(self):
        return is_name_of(self.tag_name, self._group_name())

    def _forget_tag(self):
        self.write(
            {
                "tag_ref": False,
                "tag_name": False,
                "tagged_ids": [(5,)],
                "untaggable_ids": [(5,)],
            }
        )

    def _link(self, table, member_ids):
        """Add rows to a table of segment and member."""
        if member_ids:
            self.env.cr.execute(
                SQL(
                    "INSERT INTO %s (segment_id, member_id)"
                    " SELECT %s, UNNEST(%s) ON CONFLICT DO NOTHING",
                    SQL.identifier(table),
                    self.id,
                    member_ids,
                )
            )
