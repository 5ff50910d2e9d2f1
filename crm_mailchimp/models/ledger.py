import json

from odoo import models
from odoo.tools import SQL

from ..engine.observe import observe, said
from ..engine.payload import absent


class CrmMailchimpAccount(models.Model):
    """Bring the ledger, and the list of "no", up to what Mailchimp shows of members."""

    _inherit = "crm.mailchimp.account"

    def _apply_seen(self, entries, mark=None):
        """Bring the ledger up to what Mailchimp shows of some members.

        :param list entries: members of the API
        :param int mark: note that a full read of this run saw them
        :return: ``(members with news, members that unsubscribed)``: two numbers
        """
        self.ensure_one()
        members = {entry["email_address"].lower(): entry for entry in entries}
        if not members:
            return 0, 0
        tags, owned = self._mapped_tags(), self._owned_interests()
        if any(absent(entry, tags) for entry in entries):
            # A merge field was deleted or renamed: the next phase reads them.
            self._set_refs(merge_fields_read=None)
        columns = (
            "id, email_normalized, status, status_before, archived_by, operation,"
            " sending, sent_at, batch_ref, values_sent, values_sending, values_seen,"
            " edited, partner_id, wanted, web_id, origin, moved_from_id, last_changed,"
            " no_date"
        )
        self.env["crm.mailchimp.member"].flush_model()
        self.env.cr.execute(
            f"SELECT {columns} FROM crm_mailchimp_member"  # pylint: disable=sql-injection
            " WHERE account_id = %s AND email_normalized = ANY(%s)",
            (self.id, list(members)),
        )
        known = {row["email_normalized"]: row for row in self.env.cr.dictfetchall()}
        now, removals = self._mailchimp_now(), self._removals()
        inserts, changes, found = [], [], []
        for email, entry in members.items():
            row = known.get(email)
            news = observe(row, entry, tags, owned, removals)
            if not news:
                continue
            found.append((row, entry, news))
            if row is None:
                inserts.append((email, news))
            else:
                changes.append((row, news))
        self._insert_seen(inserts, now, mark)
        self._update_seen(changes, now)
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
        """Keep the list of "no" in step with what members are seen to have said.

        :param found: ``(known, member, news)`` as of :func:`observe`
        :return: how many members that were known unsubscribed
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
        """Return a "no" of this account's audience for the list of them."""
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
            " subscribed_at, opt_in_date, seen_in_run, create_date) VALUES %s",
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
                # Another member of this address: it has nothing of the earlier one.
                news["permissions_at"] = None
                anew.append(row["id"])
                if not row["wanted"]:
                    # Nor is it its contact's, who left the address before.
                    news["partner_id"] = None
            if status == "subscribed":
                news.update(subscribed_at=now, reason=None)
            if status and row["operation"]:
                # It was planned on an older status; the diff plans again.
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

    def _note_forgotten(self, emails):
        """Remember addresses that were permanently deleted in Mailchimp."""
        now = self._mailchimp_now()
        self.env["crm.mailchimp.suppression"]._note(
            self._no_row(email, "forgotten", now) for email in emails
        )

    def _pulled_until(self):
        """Return until when the ledger has Mailchimp's changes, or ``None``.

        A time of Mailchimp's clock; nothing before it is left unread.
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
        """Note which members are ours while the push is off.

        A member is ours as soon as an eligible contact has its address: should the
        contact opt out, or go, before the first push, the member leaves.
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
