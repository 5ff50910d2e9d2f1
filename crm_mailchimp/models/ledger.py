import json

from odoo import models
from odoo.tools import SQL

from ..engine.observe import contact_ref, link_id, observe, said
from ..engine.payload import absent
from ..engine.vocabulary import NOT_CONFIRMED, RENAMED


class CrmMailchimpAccount(models.Model):
    """Updating the ledger and the do-not-email list to what Mailchimp shows."""

    _inherit = "crm.mailchimp.account"

    def _apply_seen(self, entries, mark=None):
        """Update the ledger to what Mailchimp shows of some members.

        :param list entries: members as the API returns them
        :param int mark: id of the run whose full read saw them, to note on their rows
        :return: ``(number of members with news, number that unsubscribed)``
        """
        self.ensure_one()
        members = {entry["email_address"].lower(): entry for entry in entries}
        if not members:
            return 0, 0
        tags, owned = self._mapped_tags(), self._owned_interests()
        if any(absent(entry, tags) for entry in entries):
            # A merge field was deleted or renamed: the next phase reads them again.
            self._set_refs(merge_fields_read=None)
        columns = (
            "id, email_normalized, status, status_before, archived_by, operation,"
            " sending, sent_at, batch_ref, values_sent, values_sending, values_seen,"
            " edited, partner_id, wanted, web_id, contact_ref, origin, moved_from_id,"
            " last_changed, no_date"
        )
        self.env["crm.mailchimp.member"].flush_model()
        self.env.cr.execute(
            f"SELECT {columns} FROM crm_mailchimp_member"  # pylint: disable=sql-injection
            " WHERE account_id = %s AND email_normalized = ANY(%s)",
            (self.id, list(members)),
        )
        known = {row["email_normalized"]: row for row in self.env.cr.dictfetchall()}
        now, removals = self._mailchimp_now(), self._removals()
        inserts, changes, found, refs = [], [], [], []
        for email, entry in members.items():
            row = known.get(email)
            news = observe(row, entry, tags, owned, removals)
            if row and not row["contact_ref"]:
                refs.append((row["id"], contact_ref(entry), link_id(entry)))
            if not news:
                continue
            found.append((row, entry, news))
            if row is None:
                inserts.append((email, news))
            else:
                changes.append((row, news))
        self._insert_seen(inserts, now, mark)
        self._update_seen(changes, now)
        self._note_refs(refs)
        if not mark:
            # A full reading finds that the former addresses are gone.
            self._note_renamed(self._renamed_to(found))
        if mark:
            self.env.cr.execute(
                SQL(
                    "UPDATE crm_mailchimp_member SET seen_in_run = %s"
                    " WHERE account_id = %s AND email_normalized = ANY(%s)"
                    " AND seen_in_run IS DISTINCT FROM %s",
                    mark,
                    self.id,
                    list(members),
                    mark,
                )
            )
        self.env["crm.mailchimp.member"].invalidate_model(flush=False)
        unsubscribed = self._note_said(found)
        return len(found), unsubscribed

    def _note_said(self, found):
        """Update the do-not-email list with what members are seen to have said.

        :param found: tuples of the ledger row (or ``None``), the member, and its news
            from :func:`observe`
        :return: number of known members that unsubscribed
        """
        now, unsubscribed = self._mailchimp_now(), 0
        no, yes = [], []
        for known, member, news in found:
            what, when = said(known, member, news)
            email = member["email_address"].lower()
            if what == "yes":
                yes.append((email, when or now))
            elif what:
                reason = news.get("reason_text")
                no.append(self._no_row(email, what, when or now, reason))
                unsubscribed += what == "unsubscribed" and known is not None
        Suppression = self.env["crm.mailchimp.suppression"]
        Suppression._lift(yes, "mailchimp")
        Suppression._note(no)
        return unsubscribed

    def _no_row(self, email, kind, date, note=None):
        """Return a row for the do-not-email list: a "no" in this account's audience."""
        return {
            "email": email,
            "source": "mailchimp",
            "kind": kind,
            "date": date,
            "note": note,
            "audience_ref": self.audience_ref,
            "audience_name": self.audience_name,
        }

    def _insert_seen(self, inserts, now, mark):
        if not inserts:
            return
        self.env.cr.execute_values(
            "INSERT INTO crm_mailchimp_member (account_id, email_normalized, status,"
            " origin, values_seen, no_date, reason_text, last_changed, web_id,"
            " contact_ref, subscribed_at, opt_in_date, seen_in_run, create_date)"
            " VALUES %s",
            [
                (
                    self.id,
                    email,
                    news["status"],
                    "foreign",
                    json.dumps(news.get("values_seen")),
                    news.get("no_date"),
                    news.get("reason_text"),
                    news.get("last_changed"),
                    news.get("web_id"),
                    news.get("contact_ref"),
                    now if news["status"] == "subscribed" else None,
                    news.get("opt_in_date"),
                    mark,
                    now,
                )
                for email, news in inserts
            ],
            page_size=1000,
        )

    def _update_seen(self, changes, now):
        # Different members have different news; one statement for each set of columns.
        grouped, replaced, anew = {}, [], []
        for row, news in changes:
            status = news.get("status")
            if status and not row["status"]:
                # A new member with this address, which has nothing of the earlier one.
                news["permissions_at"] = None
                anew.append(row["id"])
                if not row["wanted"]:
                    # Nor is it its contact's, who had left the address.
                    news["partner_id"] = None
            if status == "subscribed":
                news.update(subscribed_at=now, reason=None)
            if status and row["operation"]:
                # The operation was planned for an older status; the diff plans again.
                news.update(operation=None, sending=None)
            if status and row["moved_from_id"]:
                replaced.append((row["moved_from_id"], "read"))
            grouped.setdefault(tuple(sorted(news)), []).append(
                (row["id"], *(news[column] for column in sorted(news)))
            )
        for columns, rows in grouped.items():
            self.env["crm.mailchimp.member"]._update_rows(columns, rows)
        self.env["crm.mailchimp.member"]._update_rows(("operation",), replaced)
        self.env["crm.mailchimp.segment"]._forget_tagged(anew)

    def _note_refs(self, refs):
        """Note the ids by which Mailchimp knows members: only a reading shows them.

        :param refs: list of ``(id of the row, contact id, id in Mailchimp's pages)``
        """
        self.env["crm.mailchimp.member"]._update_rows(
            ("contact_ref", "web_id"), [ref for ref in refs if ref[1]]
        )

    def _renamed_to(self, found):
        """Return which members have another address now, going by their contact ids.

        :param found: as for :meth:`_note_said`
        :return: list of ``(id of the row of the former address, new address)``
        """
        addresses = {
            contact_ref(entry): entry["email_address"].lower()
            for row, entry, news in found
            # A change of address by Odoo is recognized by its own row.
            if news.get("status")
            and not (row and (row["status"] or row["moved_from_id"]))
        }
        addresses.pop(None, None)
        if not addresses:
            return []
        former = self.env.execute_query(
            SQL(
                "SELECT id, email_normalized, contact_ref FROM crm_mailchimp_member"
                " WHERE account_id = %s AND contact_ref = ANY(%s)"
                " AND status IS NOT NULL",
                self.id,
                list(addresses),
            )
        )
        return [
            (row_id, addresses[ref])
            for row_id, email, ref in former
            if email != addresses[ref]
        ]

    def _note_renamed(self, renamed):
        """Note whose address was changed in Mailchimp, by the person or a colleague.

        The contact keeps the former address until somebody corrects it, and nothing is
        sent to it. As far as consent is concerned, the new address is the contact's,
        too: it leaves when the contact opts out, and its unsubscribe takes the opt-in.

        :param renamed: list of ``(id of the row of the former address, new address)``
        """
        Member = self.env["crm.mailchimp.member"]
        Member._update_rows(
            ("reason_text",),
            renamed,
            status=None,
            operation=None,
            sending=None,
            batch_ref=None,
            reason=RENAMED,
            values_seen=None,
        )
        partners, refs = [], []
        for row_id, email in renamed:
            former = Member.browse(row_id)
            new = Member.search(
                [("account_id", "=", self.id), ("email_normalized", "=", email)]
            )
            if not new.partner_id:
                partners.append((new.id, former.partner_id.id or None))
            # By it the opt-out of the contact finds the new address.
            refs.append((row_id, new.contact_ref or None))
        Member._update_rows(("partner_id",), partners)
        Member._update_rows(("contact_ref",), refs)

    def _is_renamed_condition(self):
        """Return ``SQL``: member ``m`` is the new address of a member of ours.

        It belongs to the contact of the former address, and is nobody's to import or
        to decide about.
        """
        return SQL(
            """EXISTS (SELECT FROM crm_mailchimp_member o
                        WHERE o.account_id = m.account_id AND o.reason = %s
                          AND o.contact_ref = m.contact_ref)""",
            RENAMED,
        )

    def _note_gone(self, gateway, members):
        """Note what became of members that Mailchimp does not have any more.

        A pending one that never confirmed is forgotten by Mailchimp after some weeks.
        Any other was deleted for good: Mailchimp refuses the address from now on, and a
        person who wants to come back must sign up again.

        :param list members: ``(id, address, status)`` of rows of the ledger
        :return: number of members that were deleted
        :raise NotFound: when the audience itself is gone, which says nothing of them
        """
        if not members:
            return 0
        gateway.check_audience(self.audience_ref)
        self.env["crm.mailchimp.member"]._update_rows(
            ("reason",),
            [
                (row_id, NOT_CONFIRMED if status == "pending" else "forgotten")
                for row_id, _email, status in members
            ],
            status=None,
            operation=None,
            sending=None,
            batch_ref=None,
            values_seen=None,
        )
        deleted = [email for _id, email, status in members if status != "pending"]
        self._note_forgotten(deleted)
        return len(deleted)

    def _note_forgotten(self, emails):
        """Remember addresses that were permanently deleted in Mailchimp."""
        now = self._mailchimp_now()
        self.env["crm.mailchimp.suppression"]._note(
            self._no_row(email, "forgotten", now) for email in emails
        )

    def _pulled_until(self):
        """Return the time up to which the ledger has Mailchimp's changes, or ``None``.

        By Mailchimp's clock; no change before it is left unread.
        """
        run = self.env["crm.mailchimp.run"].search(
            [("account_id", "=", self.id), ("pulled_until", "!=", False)],
            order="pulled_until desc",
            limit=1,
        )
        return run.pulled_until or None

    def _eligible_emails(self, emails, scoped=True):
        """Return those of ``emails`` that an eligible contact stands for now."""
        return {
            email
            for (email,) in self.env.execute_query(
                SQL(
                    "SELECT DISTINCT email FROM (%s) c WHERE reason IS NULL",
                    self._contacts_sql(emails=list(emails), scoped=scoped),
                )
            )
        }

    def _mapped_tags(self):
        return [line.tag for line in self.merge_field_ids if line.remote_ref]

    def _owned_interests(self):
        return {
            ref
            for segment in self.segment_ids
            if segment.state != "withdrawn"
            for ref in (segment.person_ref, segment.company_ref)
            if ref
        }

    def _claim_members(self):
        """Note which members are ours while pushing is off.

        A member is ours as soon as an eligible contact has its address: if the contact
        opts out or goes before the first push, the member leaves.
        """
        self._flush_contacts()
        self.env.cr.execute(
            SQL(
                """UPDATE crm_mailchimp_member m
                      SET origin = 'claimed', partner_id = c.partner_id
                     FROM (%s) c
                    WHERE m.account_id = %s AND m.email_normalized = c.email
                      AND c.winner_id = c.partner_id AND m.origin = 'foreign'
                      AND m.status IN ('subscribed', 'pending')""",
                self._contacts_sql(opted_in_only=True),
                self.id,
            )
        )
        self.env["crm.mailchimp.member"].invalidate_model(flush=False)
