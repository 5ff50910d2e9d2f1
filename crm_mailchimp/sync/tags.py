from odoo.tools import SQL

from ..engine import errors
from ..engine.naming import free_name, is_name_of
from ..engine.vocabulary import TAGGED_AT_ONCE
from .creation import Creation


class Tags(Creation):
    """Segments as tags: one tag per filter, whose members enter and leave.

    A tag is a static segment in Mailchimp. Who has it is kept in a table of its own, so
    what has to be sent is a set difference, and a call that got lost can be repeated
    without harm.
    """

    def segments(self):
        """Return the segments that may have a tag."""
        return self.account.segment_ids.filtered(
            lambda segment: segment.state in ("active", "full", "broken")
        )

    def exist(self):
        return bool(self.segments().filtered("tag_ref"))

    # === THE TAGS THEMSELVES === #

    def _to_keep(self):
        """Return the segments that are to be a tag."""
        account = self.account
        wanted = account.segment_target in ("tag", "both")
        return self.segments() if wanted else account.segment_ids.browse()

    def withdraw(self):
        """Delete the tags of segments that are to have none."""
        gone = self.account.segment_ids - self._to_keep()
        for segment in self.each_segment(gone.filtered("tag_ref")):
            self._withdraw(segment)

    def sync(self):
        """Create and rename tags; find those that were deleted by hand."""
        account, keep = self.account, self._to_keep()
        if account.segment_target == "tag":
            # There is no limit on tags.
            keep.filtered(lambda s: s.state == "full").write(
                {"state": "active", "error_message": False}
            )
        if self.run.kind == "full" and keep.untaggable_ids:
            keep.write({"untaggable_ids": [(5,)]})
        segments = keep.filtered(lambda s: not s.tag_ref and s._has_members())
        renamed = keep.filtered(lambda s: s.tag_ref and not s._is_tag_named())
        if not segments and not renamed and self.run.kind != "full":
            return
        if not keep:
            return
        try:
            names = {
                str(tag["id"]): tag["name"]
                for tag in self.gateway.static_segments(account.audience_ref)
            }
        except errors.REFUSED as error:
            for segment in segments | renamed:
                segment._note_refusal(error)
            return
        by_hand = account.segment_ids.browse()
        for segment in keep.filtered("tag_ref"):
            name = names.get(segment.tag_ref)
            if name and not is_name_of(name, segment._group_name()):
                # Somebody renamed it in Mailchimp: it gets its name back.
                by_hand |= segment - renamed
            if segment.tag_ref not in names:
                # Somebody deleted it in Mailchimp: it is created again.
                segment._forget_tag()
                self.count(repaired=1)
                segments |= segment.filtered(lambda s: s._has_members())
        renamed = (renamed | by_hand).filtered("tag_ref")
        for segment in self.each_segment(segments | renamed):
            if segment.tag_ref:
                self._rename(segment, names)
                self.count(repaired=len(segment & by_hand))
            else:
                self._create(segment, names)

    def _create(self, segment, names):
        account = self.account
        try:
            ref = self.create_once(
                f"tag {segment.id}",
                segment._group_name(),
                names,
                lambda name: str(
                    self.gateway.create_static_segment(account.audience_ref, name)["id"]
                ),
            )
        except errors.REFUSED as error:
            segment._note_refusal(error)
            account._set_refs(creating=None)
            return
        segment.write({"tag_ref": ref, "tag_name": names[ref], "error_message": False})
        account._set_refs(creating=None)
        self.count(tags_created=1)
        self.commit()

    def _rename(self, segment, names):
        account = self.account
        taken = [name for ref, name in names.items() if ref != segment.tag_ref]
        name = free_name(segment._group_name(), taken)
        try:
            self.gateway.rename_static_segment(
                account.audience_ref, segment.tag_ref, name
            )
        except errors.NotFound:
            segment._forget_tag()
            return
        except errors.REFUSED as error:
            segment._note_refusal(error)
            return
        names[segment.tag_ref] = name
        segment.write({"tag_name": name, "error_message": False})
        self.commit()

    def _withdraw(self, segment):
        account = self.account
        try:
            with account._noting_removal(self.gateway):
                self.gateway.delete_static_segment(
                    account.audience_ref, segment.tag_ref
                )
        except errors.REFUSED as error:
            # The next run tries again.
            segment._note_refusal(error)
            return
        segment._forget_tag()
        self.count(tags_deleted=1)
        self.commit()

    # === WHO HAS THEM === #

    def to_change(self, segment, limit=TAGGED_AT_ONCE):
        """Return ``(to tag, to untag)``: lists of ``(member id, address)``.

        :param limit: the most entries in each list; all if ``None``
        """
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
                account=self.account.id,
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

    def wait(self):
        """Return whether a member has to be tagged or untagged."""
        return any(any(self.to_change(segment, limit=1)) for segment in self._to_send())

    def _to_send(self):
        """Return the segments that have a tag, except those refused in this run."""
        refused = self.cursor.tags_refused
        return self.segments().filtered(
            lambda segment: segment.tag_ref and segment.id not in refused
        )

    def send(self):
        """Tag members that entered a segment, untag those that left, 500 per call."""
        for segment in self._to_send():
            while not self.is_over():
                add, remove = self.to_change(segment)
                if not add and not remove:
                    break
                try:
                    answer = self.gateway.change_static_segment(
                        self.account.audience_ref,
                        segment.tag_ref,
                        add=[email for _id, email in add],
                        remove=[email for _id, email in remove],
                    )
                except errors.NotFound:
                    # Deleted by hand: the next run creates it again.
                    segment._forget_tag()
                    self.commit()
                    break
                except errors.REFUSED as error:
                    # The other tags carry on, and this one does with the next run.
                    segment._note_refusal(error)
                    refused = self.cursor.tags_refused
                    self.set_cursor(tags_refused=[*refused, segment.id])
                    self.commit()
                    break
                if segment.error_message and segment.state == "active":
                    segment.error_message = False
                self._record(segment, add, remove, answer)

    def _record(self, segment, add, remove, answer):
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
        self.count(tagged=changed, untaggable=len(refused))
        self.run._notify()
        self.commit()

    def compare(self, entries):
        """Update the table of tags to what Mailchimp shows for some members.

        :param list entries: members from the API with their ``tags``
        :return: how many differed
        """
        repaired = 0
        # Mailchimp only shows the first 50 tags of a member.
        entries = [entry for entry in entries if len(entry.get("tags") or ()) < 50]
        for segment in self.segments().filtered("tag_ref"):
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
                    account=self.account.id,
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
