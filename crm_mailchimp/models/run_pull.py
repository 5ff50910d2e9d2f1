import json
import logging
from datetime import timedelta
from itertools import chain

from odoo import fields, models
from odoo.tools import SQL, split_every

from ..engine import errors
from ..engine.address import member_hash
from ..engine.observe import observe
from .eligibility import SEVERAL

_logger = logging.getLogger(__name__)

# ``last_changed`` is Mailchimp's clock, ours may differ, and nobody documents whether
# the boundary belongs to the window.
OVERLAP = timedelta(minutes=10)
PAGE = 1000
FIELDS = (
    "total_items,members.email_address,members.status,members.last_changed,"
    "members.merge_fields,members.interests,members.language,members.web_id,"
    "members.unsubscribe_reason,members.timestamp_opt,members.timestamp_signup"
)
# Contacts written in one transaction: few, so that nobody waits for a contact form.
CONTACTS = 100


def read_member(gateway, audience, email):
    """Return a member as Mailchimp shows it, or ``None`` if it is not there."""
    try:
        return gateway.member(audience, member_hash(email))
    except errors.NotFound:
        return None


class CrmMailchimpRun(models.Model):
    """First of every tick: what changed in Mailchimp, and what it does to contacts."""

    _inherit = "crm.mailchimp.run"

    def _pull_and_opt_out(self, gateway, deadline):
        """Read what changed in Mailchimp, then send away who opted out in Odoo.

        Both wait for nothing: not for the brake, a segment or a remote batch.
        """
        self._pull(gateway)
        self._apply_no()
        self._plan_opt_outs()
        self._commit()
        self._send_archives(gateway, deadline, causes=("opt_out",))

    def _pull(self, gateway):
        account = self.account_id
        cursor = self.cursor or {}
        since = account._pulled_until()
        if cursor.get("full_read"):
            since = self.pulled_until
        if not self.pulled_until:
            self.pulled_until = fields.Datetime.now()
        if not account._refs().get("merge_fields_read"):
            self._read_merge_fields(gateway)
        complete = bool(cursor.get("look_again") or cursor.get("mid_send"))
        if since is None:
            self._read_all(gateway)
        elif self.kind == "full" and not cursor.get("full_read"):
            # What the changes explain is no difference.
            self._read_changes(gateway, since, complete)
            self._read_all(gateway, compare=True)
        else:
            self._read_changes(gateway, since, complete)
            if self._drifted(gateway):
                # Somebody may have changed a member between the two calls.
                self._read_changes(gateway, since, complete)
                if self._drifted(gateway):
                    _logger.info("Audience and ledger differ: reading everything.")
                    self._count(full_reads=1)
                    self._read_all(gateway, compare=True)
        if complete and self.phase in ("send", "verify"):
            # Requests got lost: what was planned may be done by now.
            self.phase = "diff"
        self._set_cursor(look_again=None, mid_send=None)
        self._commit()

    def _drifted(self, gateway):
        """Tell whether the audience has another number of members than the ledger.

        Permanently deleted members leave no trace among the changes.
        """
        held = self.env["crm.mailchimp.member"].search_count(
            [
                ("account_id", "=", self.account_id.id),
                ("status", "not in", (False, "archived")),
            ]
        )
        return gateway.member_count(self.account_id.audience_ref) != held

    def _read_changes(self, gateway, since, complete):
        """Read members changed since a time, the newest first.

        Newest first, so that a member that changes meanwhile cannot be skipped: it
        moves to the top. Our own writes are among the changes; as the ledger has them
        already, a page without news ends the reading, unless requests got lost.
        """
        audience = self.account_id.audience_ref
        for status in (None, "archived"):
            offset, total = 0, None
            while total is None or offset < total:
                page = gateway.members(
                    audience,
                    status=status,
                    since=(since - OVERLAP),
                    count=PAGE,
                    offset=offset,
                    fields=FIELDS,
                )
                total = page["total_items"]
                offset += PAGE
                news = self._apply_seen(page["members"])
                self._commit()
                if not page["members"] or (not news and not complete):
                    break

    def _read_all(self, gateway, compare=False):
        """Read the whole audience, archived members included, into the ledger.

        Paging over a moving set can skip members, so it is read again while fewer
        turned up than Mailchimp counts. Members that are gone afterwards are looked
        up one by one: they were deleted for good.

        :param bool compare: the ledger should hold all of it already: count what
            differs
        """
        account = self.account_id
        cursor = dict((self.cursor or {}).get("read_all") or {})
        for status in (None, "archived"):
            key = status or "listed"
            if cursor.get(key) == "done":
                continue
            for _attempt in range(3):
                seen, offset, total = set(), cursor.get(key) or 0, None
                start = offset
                while total is None or offset < total:
                    page = gateway.members(
                        account.audience_ref,
                        status=status,
                        count=PAGE,
                        offset=offset,
                        fields=FIELDS + ",members.tags"
                        if self._tags_known()
                        else FIELDS,
                    )
                    total = page["total_items"]
                    offset += PAGE
                    seen.update(m["email_address"].lower() for m in page["members"])
                    news = self._apply_seen(page["members"], mark=self.id)
                    news += self._compare_tags(page["members"])
                    self._count(repaired=news if compare else 0)
                    cursor[key] = offset
                    self._set_cursor(read_all=cursor)
                    self._notify()
                    self._commit()
                    if not page["members"]:
                        break
                cursor[key] = 0
                if start + len(seen) >= total:
                    break
            cursor[key] = "done"
            self._set_cursor(read_all=cursor)
        self._look_up_vanished(gateway)
        self._set_cursor(read_all=None, full_read=True)
        self.read_all = True

    def _look_up_vanished(self, gateway):
        """Find out what became of members the whole audience did not show."""
        Member = self.env["crm.mailchimp.member"]
        while True:
            vanished = Member.search(
                [
                    ("account_id", "=", self.account_id.id),
                    ("status", "!=", False),
                    ("seen_in_run", "!=", self.id),
                ],
                limit=100,
            )
            if not vanished:
                return
            self._look_up(gateway, vanished)
            vanished.write({"seen_in_run": self.id})
            self._commit()

    def _look_up(self, gateway, members):
        """Read single members; one that is not there was deleted for good.

        A deleted address cannot come back by us: Mailchimp refuses it, and a person
        who wants to must sign up again.
        """
        audience = self.account_id.audience_ref
        calls = [
            (member, read_member, gateway, audience, member.email_normalized)
            for member in members
        ]
        found, gone = [], []
        for member, result in chain.from_iterable(gateway.map(calls)):
            if isinstance(result, Exception):
                raise result
            if result is None:
                gone.append(member)
            else:
                found.append(result)
        self._apply_seen(found)
        Member = self.env["crm.mailchimp.member"]
        # The answer to a change of address got lost: the member is under its new one.
        moved = Member.search(
            [("moved_from_id", "in", members.ids), ("status", "!=", False)]
        )
        moved_from = moved.moved_from_id
        rows = []
        for member in gone:
            if member in moved_from:
                rows.append((member.id, None, None, None, None))
            elif member.status:
                rows.append((member.id, None, "forgotten", None, None))
            else:
                rows.append((member.id, None, member.reason or None, "create", None))
        Member._update_rows(("status", "reason", "operation", "values_seen"), rows)
        Member._update_rows(("moved_from_id",), [(m.id, None) for m in moved])
        self._count(
            deleted_in_mailchimp=sum(row[2] == "forgotten" for row in rows),
        )

    def _apply_seen(self, entries, mark=None):
        """Bring the ledger up to what Mailchimp shows of some members.

        :param list entries: members of the API
        :param int mark: note that a full read of this run saw them
        :return: the number of members with news
        """
        account = self.account_id
        members = {entry["email_address"].lower(): entry for entry in entries}
        if not members:
            return 0
        tags, owned = account._mapped_tags(), account._owned_interests()
        columns = (
            "id, email_normalized, status, status_before, archived_by, operation,"
            " values_sent, values_sending, values_seen, edited, partner_id, no_date,"
            " web_id, origin, moved_from_id"
        )
        names = [name.strip() for name in columns.split(",")]
        self.env["crm.mailchimp.member"].flush_model()
        self.env.cr.execute(
            f"SELECT {columns} FROM crm_mailchimp_member"  # pylint: disable=sql-injection
            " WHERE account_id = %s AND email_normalized = ANY(%s)",
            (account.id, list(members)),
        )
        known = {
            row[1]: dict(zip(names, row, strict=True)) for row in self.env.cr.fetchall()
        }
        now = fields.Datetime.now()
        inserts, changes = [], []
        unsubscribed = 0
        for email, entry in members.items():
            row = known.get(email)
            news = observe(row, entry, tags, owned)
            if not news:
                continue
            unsubscribed += news.get("status") == "unsubscribed" and row is not None
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
                    account.id,
                    list(members),
                    mark,
                )
            )
        self.env["crm.mailchimp.member"].invalidate_model(flush=False)
        self._count(unsubscribed=unsubscribed)
        return len(inserts) + len(changes)

    def _insert_seen(self, inserts, now, mark):
        if not inserts:
            return
        self.env.cr.execute_values(
            "INSERT INTO crm_mailchimp_member (account_id, email_normalized, status,"
            " origin, values_seen, no_date, reason_text, last_changed, web_id,"
            " subscribed_at, opt_in_date, seen_in_run, create_date) VALUES %s",
            [
                (
                    self.account_id.id,
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
            if status == "subscribed":
                news.update(subscribed_at=now, reason=None)
            if status and row["operation"]:
                # It was planned on an older status; the diff plans again.
                news["operation"] = None
            if status and row["moved_from_id"]:
                replaced.append((row["moved_from_id"], "read"))
            grouped.setdefault(tuple(sorted(news)), []).append(
                (row["id"], *(news[column] for column in sorted(news)))
            )
        for columns, rows in grouped.items():
            self.env["crm.mailchimp.member"]._update_rows(columns, rows)
        self.env["crm.mailchimp.member"]._update_rows(("operation",), replaced)
        self._forget_tagged(anew)

    # === EFFECT ON CONTACTS === #

    def _apply_no(self):
        """Take the opt-in from contacts whose address said no in Mailchimp later.

        Set-based on the ledger, not on the events: a contact that somebody holds
        locked, or a tick that dies, is simply found again by the next tick.
        """
        for chunk in split_every(CONTACTS, self._said_no()):
            details = {row[0]: row[1:] for row in chunk}
            partners = (
                self.env["res.partner"]
                .browse(details)
                .try_lock_for_update(allow_referencing=True)
            )
            self._opt_out(partners.filtered("mailchimp_opt_in"), details)
            self._commit()

    def _said_no(self):
        """Return ``[(contact id, date, reason)]`` of contacts to opt out."""
        account = self.account_id
        account._flush_contacts()
        return self.env.execute_query(
            SQL(
                """SELECT p.id, MAX(m.no_date), MAX(m.reason_text)
                     FROM (SELECT m.id AS member_id, p.id
                             FROM crm_mailchimp_member m
                             JOIN res_partner p
                               ON p.email_normalized = m.email_normalized
                            WHERE m.account_id = %(account)s
                              AND m.no_date IS NOT NULL
                        -- whose address has changed meanwhile
                        UNION SELECT m.id, m.partner_id
                             FROM crm_mailchimp_member m
                            WHERE m.account_id = %(account)s
                              AND m.no_date IS NOT NULL AND m.partner_id IS NOT NULL
                        UNION SELECT m.id, p.id
                             FROM res_partner p
                             JOIN LATERAL (%(addresses)s) a ON a.place > 0
                             JOIN crm_mailchimp_member m
                               ON m.account_id = %(account)s
                              AND m.email_normalized = a.email
                            WHERE m.no_date IS NOT NULL AND p.mailchimp_opt_in
                              AND %(several)s) pair
                     JOIN crm_mailchimp_member m ON m.id = pair.member_id
                     JOIN res_partner p ON p.id = pair.id
                    WHERE p.mailchimp_opt_in
                      AND COALESCE(p.mailchimp_opt_in_date, '-infinity') <= m.no_date
                 GROUP BY p.id ORDER BY p.id""",
                account=account.id,
                addresses=account._addresses_sql(),
                several=SQL(SEVERAL) if account.email_scope == "all" else SQL("FALSE"),
            )
        )

    def _opt_out(self, partners, details):
        account = self.account_id
        if not partners:
            return
        notes = {partner.id: details[partner.id][1] for partner in partners}
        partners = partners.with_context(
            mailchimp_consent={
                "source": "mailchimp",
                "notes": notes,
                "dates": {partner.id: details[partner.id][0] for partner in partners},
            },
            mail_notrack=not account.log_to_chatter,
        )
        if account.log_to_chatter:
            for partner in partners:
                moment = fields.Datetime.to_string(details[partner.id][0])
                reason = notes[partner.id]
                partner._track_set_log_message(
                    self.env._(
                        "Unsubscribed in Mailchimp on %(date)s UTC. %(reason)s",
                        date=moment,
                        reason=reason or "",
                    )
                )
        partners.write({"mailchimp_opt_in": False})
        if account.blacklist_on_unsubscribe:
            self._blacklist(partners.mapped("email_normalized"))
        self._count(opted_out=len(partners))

    def _blacklist(self, emails):
        Blacklist = self.env["mail.blacklist"].with_context(active_test=False)
        entries = Blacklist.create([{"email": email} for email in set(emails)])
        # ``create`` returns archived entries as they are.
        entries.filtered(lambda entry: not entry.active).action_unarchive()

    def _plan_opt_outs(self):
        """Plan the archiving of members whose contacts opted out in Odoo.

        A contact that opted out may have changed its address since, and may share it:
        both the address and the contact of a consent line are looked at.
        """
        account = self.account_id
        account._flush_contacts()
        rows = self.env.execute_query(
            SQL(
                """SELECT m.id, m.email_normalized FROM crm_mailchimp_member m
                    WHERE m.account_id = %(account)s AND m.origin <> 'foreign'
                      AND m.status IN ('subscribed', 'pending')
                      AND (m.operation IS DISTINCT FROM 'archive'
                           OR m.cause IS DISTINCT FROM 'opt_out')
                      AND (m.email_normalized IN (
                               SELECT email_normalized FROM crm_mailchimp_consent
                                WHERE kind = 'out')
                           OR m.partner_id IN (
                               SELECT partner_id FROM crm_mailchimp_consent
                                WHERE kind = 'out'))""",
                account=account.id,
            )
        )
        for chunk in split_every(1000, rows):
            # A broken condition of the account must not hold an opt-out up.
            eligible = account._eligible_emails(
                [email for _id, email in chunk], scoped=False
            )
            self.env["crm.mailchimp.member"]._update_rows(
                ("operation", "cause", "wanted"),
                [
                    (member_id, "archive", "opt_out", False)
                    for member_id, email in chunk
                    if email not in eligible
                ],
            )


class CrmMailchimpAccount(models.Model):
    _inherit = "crm.mailchimp.account"

    def _pulled_until(self):
        """Return until when the ledger has Mailchimp's changes, or ``None``."""
        run = self.env["crm.mailchimp.run"].search(
            [
                ("account_id", "=", self.id),
                ("state", "=", "done"),
                ("pulled_until", "!=", False),
            ],
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
