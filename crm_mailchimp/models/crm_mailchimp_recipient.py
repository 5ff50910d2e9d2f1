from io import StringIO
from typing import NamedTuple

from odoo import api, fields, models
from odoo.tools import SQL, split_every

from ..engine import activity
from .recordset import recordset


class KnownRecipient(NamedTuple):
    """What is already stored about a recipient."""

    id: int
    address: str | None
    status: str
    variant: str | None
    bounced: bool


BLOCK = 5000  # events per statement
# Columns that sum up the events of a recipient, with their types.
SUMMARY = {
    "open_count": "int4",
    "first_open": "timestamp",
    "last_open": "timestamp",
    "click_count": "int4",
    "first_click": "timestamp",
    "last_click": "timestamp",
    "bounce_date": "timestamp",
    "unsubscribed_date": "timestamp",
    "unsubscribe_reason": "varchar",
    "complaint_date": "timestamp",
}
PERSON = {
    "hash": "varchar",
    "email": "varchar",
    "status": "varchar",
    "variant": "varchar",
    **SUMMARY,
}
EVENT = {
    "recipient_id": "int4",
    "kind": "varchar",
    "date": "timestamp",
    "url": "varchar",
    "number": "int4",
    "detail": "varchar",
}
# For a recipient ``r`` whose mail bounced: nothing shows that the address works. A
# later mail that merely did not bounce shows nothing, as bounces are reported up to
# three days late.
STILL_BOUNCES = SQL(
    """(r.status = 'hard' OR r.status = 'soft' AND NOT EXISTS (
            SELECT FROM crm_mailchimp_recipient later
             WHERE later.email_normalized = r.email_normalized
               AND GREATEST(later.last_open, later.last_click) > r.bounce_date))"""
)


# Characters with a special meaning in the text format of COPY.
COPIED = str.maketrans({"\\": r"\\", "\t": r"\t", "\n": r"\n", "\r": r"\r"})


def _copied(value):
    """Return a text escaped for COPY."""
    return r"\N" if value is None else value.translate(COPIED)


class CrmMailchimpRecipient(models.Model):
    """One address that a campaign was sent to, and what came of it.

    Set-based SQL writes millions of rows, page by page: no chatter, no stored computes,
    and no unique constraint on ``partner_id`` (merging contacts would violate it).
    """

    _name = "crm.mailchimp.recipient"
    _inherit = ["crm.mailchimp.labelled"]
    _description = "Mailchimp Campaign Recipient"
    _order = "campaign_id, email_normalized"
    # Millions of rows, which no user writes.
    _log_access = False
    _rec_name = "email_normalized"

    campaign_id = fields.Many2one(
        "crm.mailchimp.campaign", required=True, ondelete="cascade", readonly=True
    )
    account_id = fields.Many2one(related="campaign_id.account_id")
    company_id = fields.Many2one(related="campaign_id.company_id")
    send_time = fields.Datetime(related="campaign_id.send_time", string="Sent on")
    # MD5 of the address: all Mailchimp still knows of somebody who was erased.
    email_hash = fields.Char(required=True, readonly=True)
    email_normalized = fields.Char(string="Address", readonly=True)
    partner_id = fields.Many2one(
        "res.partner",
        string="Contact",
        ondelete="set null",
        index="btree_not_null",
        readonly=True,
    )
    member_id = fields.Many2one(
        "crm.mailchimp.member",
        ondelete="set null",
        index="btree_not_null",
        readonly=True,
    )
    status = fields.Selection(
        [("sent", "Sent"), ("hard", "Hard bounce"), ("soft", "Soft bounce")],
        readonly=True,
    )
    variant = fields.Char(readonly=True, help="Variant of an A/B test.")
    bounce_date = fields.Datetime(string="Bounced on", readonly=True)
    open_count = fields.Integer(string="Opens", readonly=True)
    first_open = fields.Datetime(string="First open", readonly=True)
    last_open = fields.Datetime(string="Last open", readonly=True)
    click_count = fields.Integer(string="Clicks", readonly=True)
    first_click = fields.Datetime(string="First click", readonly=True)
    last_click = fields.Datetime(string="Last click", readonly=True)
    unsubscribed_date = fields.Datetime(string="Unsubscribed on", readonly=True)
    unsubscribe_reason = fields.Char(string="Unsubscribe reason", readonly=True)
    complaint_date = fields.Datetime(string="Complained on", readonly=True)
    event_ids = fields.One2many("crm.mailchimp.recipient.event", "recipient_id")

    _recipient_uniq = models.Constraint(
        "UNIQUE(campaign_id, email_hash)", "This recipient is already imported."
    )
    _unmatched_idx = models.Index("(email_normalized) WHERE partner_id IS NULL")
    _bounce_idx = models.Index("(status, member_id) WHERE status <> 'sent'")
    # Leads without a contact are found by their address.
    _address_idx = models.Index("(email_normalized) WHERE email_normalized IS NOT NULL")

    @api.model
    def _import_page(self, campaign, people):
        """Store a page of recipients and events, without rewriting what is known.

        A bounce found among the events is not taken back, and an address that Mailchimp
        has forgotten is kept.

        :param people: as ``activity.people`` returns them
        :return: number of events that were new
        """
        known = self._known_rows(campaign, [person.ref for person in people])
        new = [person for person in people if person.ref not in known]
        events_of = {person.ref: person.events for person in people}
        ids = dict(self._create_rows(campaign, new))
        count = self._copy_events(
            (ids[person.ref], *event) for person in new for event in person.events
        )
        self._change_rows(known, people)
        # Known events are left out first: ON CONFLICT alone would use up an id for
        # each.
        seen = self._events_of([row.id for ref, row in known.items() if events_of[ref]])
        rows = [
            (row.id, *event)
            for ref, row in known.items()
            for event in events_of[ref]
            if (row.id, *event.key) not in seen
        ]
        for block in split_every(BLOCK, rows, list):
            self.env.cr.execute(
                SQL(
                    """INSERT INTO crm_mailchimp_recipient_event (%(columns)s)
                       SELECT %(columns)s FROM %(rows)s ON CONFLICT DO NOTHING""",
                    columns=SQL(", ".join(EVENT)),
                    rows=recordset(EVENT, block),
                )
            )
        self._summarise({recipient for recipient, *_event in rows})
        self.invalidate_model(flush=False)
        self.env["crm.mailchimp.recipient.event"].invalidate_model(flush=False)
        return count + len(rows)

    @api.model
    def _copy_events(self, rows):
        """Store the events of new recipients, who have no others.

        :param rows: tuples with the values of ``EVENT``
        :return: number of events
        """
        lines = [
            f"{recipient}\t{kind}\t{date}\t{_copied(url)}\t{number}\t{_copied(detail)}\n"
            for recipient, kind, date, url, number, detail in rows
        ]
        if lines:
            self.env.cr.copy_expert(
                f"COPY crm_mailchimp_recipient_event ({', '.join(EVENT)}) FROM STDIN",
                StringIO("".join(lines)),
            )
        return len(lines)

    @api.model
    def _known_rows(self, campaign, refs):
        """Return ``{hash: KnownRecipient}`` of a campaign.

        Here and below, LATERAL makes PostgreSQL look up each row of a page in an index:
        the statistics of a growing table would make it read the whole table each time,
        and overestimate the cost so much that it compiles each statement first.

        It also plans the check of a foreign key once per connection. Planned while
        there are few recipients, it would go on to read all of them for each event.
        All is asked at once: while the next page is being made ready in another
        thread, each answer has to wait for that.
        """
        rows = self.env.execute_query(
            SQL(
                """SET LOCAL enable_seqscan = off; SET LOCAL jit = off;
                   SELECT r.* FROM UNNEST(%s::varchar[]) AS h(hash) CROSS JOIN LATERAL (
                          SELECT email_hash, id, email_normalized, status, variant,
                                 bounce_date IS NOT NULL
                            FROM crm_mailchimp_recipient
                           WHERE campaign_id = %s AND email_hash = h.hash LIMIT 1) r""",
                refs,
                campaign.id,
            )
        )
        return {ref: KnownRecipient(*values) for ref, *values in rows}

    @api.model
    def _change_rows(self, known, people):
        changed = []
        for person in people:
            if person.ref not in known:
                continue
            before, status = known[person.ref], person.status
            if before.bounced and status == "sent":
                status = None
            after = before._replace(
                address=person.address or before.address,
                status=status or before.status,
                variant=person.variant or before.variant,
            )
            if after != before:
                changed.append(after[:-1])
        if not changed:
            return
        types = {
            "id": "int4",
            **dict.fromkeys(("email", "status", "variant"), "varchar"),
        }
        self.env.cr.execute(
            SQL(
                """UPDATE crm_mailchimp_recipient r
                      SET email_normalized = v.email, status = v.status,
                          variant = v.variant
                     FROM %s WHERE r.id = v.id""",
                recordset(types, changed),
            )
        )

    @api.model
    def _create_rows(self, campaign, people):
        """Create recipients with the sums of their events; return ``(hash, id)``.

        The contact is found through the ledger, which also knows addresses that a
        contact no longer has.
        """
        rows = []
        for person in people:
            summary, status = dict(person.sums), person.status
            bounced = summary.pop("bounced")
            status = bounced if status in (None, "sent") and bounced else status
            rows.append(
                (
                    *(person.ref, person.address, status or "sent", person.variant),
                    *summary.values(),
                )
            )
        if not rows:
            return []
        return self.env.execute_query(
            SQL(
                """INSERT INTO crm_mailchimp_recipient
                          (campaign_id, email_hash, email_normalized, status, variant,
                           member_id, partner_id, %(columns)s)
                   SELECT %(campaign)s, v.hash, v.email, v.status, v.variant,
                          m.id, m.partner_id, %(columns)s
                     FROM %(rows)s
                LEFT JOIN LATERAL (
                          SELECT id, partner_id FROM crm_mailchimp_member
                           WHERE account_id = %(account)s
                             AND email_normalized = v.email
                           LIMIT 1) m ON TRUE
                RETURNING email_hash, id""",
                columns=SQL(", ".join(SUMMARY)),
                campaign=campaign.id,
                account=campaign.account_id.id,
                rows=recordset(PERSON, rows),
            )
        )

    @api.model
    def _events_of(self, ids):
        """Return events of recipients, ``{(id, kind, time, url, number): detail}``."""
        if not ids:
            return {}
        return {
            tuple(row): detail
            for *row, detail in self.env.execute_query(
                SQL(
                    """SELECT e.* FROM UNNEST(%s::int[]) AS i(id) CROSS JOIN LATERAL (
                              SELECT recipient_id, kind, date, url, number, detail
                                FROM crm_mailchimp_recipient_event
                               WHERE recipient_id = i.id OFFSET 0) e""",
                    list(ids),
                )
            )
        }

    @api.model
    def _summarise(self, ids):
        """Recompute the counts and dates of recipients, so that late events fit in."""
        events_of = {recipient: [] for recipient in ids}
        for (recipient, *key), detail in self._events_of(ids).items():
            events_of[recipient].append(activity.Event(*key, detail))
        rows = []
        for recipient, events in events_of.items():
            summary = activity.summary(events)
            rows.append((recipient, summary.pop("bounced"), *summary.values()))
        if not rows:
            return
        self.env.cr.execute(
            SQL(
                """UPDATE crm_mailchimp_recipient r
                      SET status = CASE WHEN r.status = 'sent'
                                        THEN COALESCE(v.bounced, 'sent')
                                        ELSE r.status END, %s
                     FROM %s WHERE r.id = v.id""",
                SQL(", ".join(f"{name} = v.{name}" for name in SUMMARY)),
                recordset({"id": "int4", "bounced": "varchar", **SUMMARY}, rows),
            )
        )

    @api.model
    def _match(self, account, campaign=None):
        """Find contacts for recipients without one: they may have been added later.

        The ledger comes first, then a contact with that address in the account's
        company or in none; if there are several, the one that stands for a shared
        address.
        """
        self.env["res.partner"].flush_model(
            [
                *("email_normalized", "company_id", "active", "is_company"),
                "mailchimp_opt_in_date",
            ]
        )
        of_campaign = (
            SQL("r.campaign_id = %s", campaign.id) if campaign else SQL("TRUE")
        )
        self.env.cr.execute(
            SQL(
                """UPDATE crm_mailchimp_recipient r
                      SET member_id = m.id, partner_id = m.partner_id
                     FROM crm_mailchimp_campaign c, crm_mailchimp_member m
                    WHERE c.id = r.campaign_id AND c.account_id = %(account)s
                      AND %(of_campaign)s
                      AND m.account_id = %(account)s
                      AND m.email_normalized = r.email_normalized
                      AND r.partner_id IS NULL
                      AND (m.partner_id IS NOT NULL
                           OR r.member_id IS DISTINCT FROM m.id)""",
                account=account.id,
                of_campaign=of_campaign,
            )
        )
        self.env.cr.execute(
            SQL(
                """UPDATE crm_mailchimp_recipient r
                      SET partner_id = p.id
                     FROM crm_mailchimp_campaign c,
                          (SELECT DISTINCT ON (p.email_normalized)
                                  p.id, p.email_normalized
                             FROM res_partner p
                            WHERE p.email_normalized IN (
                                  SELECT r.email_normalized
                                    FROM crm_mailchimp_recipient r
                                   WHERE r.partner_id IS NULL AND %(of_campaign)s)
                              AND (p.company_id IS NULL OR p.company_id = %(company)s)
                         ORDER BY p.email_normalized, p.active DESC, p.is_company DESC,
                                  p.mailchimp_opt_in_date NULLS LAST, p.id) p
                    WHERE c.id = r.campaign_id AND c.account_id = %(account)s
                      AND %(of_campaign)s
                      AND r.partner_id IS NULL
                      AND r.email_normalized = p.email_normalized""",
                account=account.id,
                company=account.company_id.id,
                of_campaign=of_campaign,
            )
        )
        self.env.invalidate_all()

    @api.model
    def _join_renamed(self, campaign, last_id):
        """Join the two rows of a recipient whose address was changed in Mailchimp.

        Reports name recipients by their current address, so after a change the
        recipient looks like another person. If the campaign went to nobody since
        ``last_id``, a new row of the same contact is the same person, provided the
        audience no longer has the old row's address.

        :return: number of recipients joined
        """
        pairs = self.env.execute_query(
            SQL(
                """SELECT DISTINCT ON (n.id) n.id, o.id
                     FROM crm_mailchimp_recipient n
                     JOIN crm_mailchimp_recipient o
                       ON o.campaign_id = n.campaign_id AND o.id <= %(last)s
                      AND o.partner_id = n.partner_id
                LEFT JOIN crm_mailchimp_member m ON m.id = o.member_id
                    WHERE n.campaign_id = %(campaign)s AND n.id > %(last)s
                      AND m.status IS NULL
                 ORDER BY n.id, o.id""",
                last=last_id,
                campaign=campaign.id,
            )
        )
        taken = set()
        for new, old in pairs:
            if old in taken:
                continue
            taken.add(old)
            self.env.cr.execute(
                SQL(
                    """UPDATE crm_mailchimp_recipient_event e SET recipient_id = %(new)s
                        WHERE e.recipient_id = %(old)s AND NOT EXISTS (
                              SELECT FROM crm_mailchimp_recipient_event n
                               WHERE n.recipient_id = %(new)s AND n.kind = e.kind
                                 AND n.date = e.date AND MD5(n.url) = MD5(e.url)
                                 AND n.number = e.number)""",
                    new=new,
                    old=old,
                )
            )
            self.env.cr.execute(
                SQL(
                    """UPDATE crm_mailchimp_recipient n
                          SET status = o.status, variant = o.variant
                         FROM crm_mailchimp_recipient o
                        WHERE n.id = %(new)s AND o.id = %(old)s""",
                    new=new,
                    old=old,
                )
            )
            self.env.cr.execute(
                SQL("DELETE FROM crm_mailchimp_recipient WHERE id = %s", old)
            )
            self._summarise([new])
        self.env.invalidate_all()
        return len(taken)

    @api.model
    def _account_for(self, campaign):
        """Count what the stored recipients of a campaign add up to."""
        [row] = self.env.execute_query(
            SQL(
                """SELECT COUNT(*), COALESCE(SUM(open_count), 0),
                          COALESCE(SUM(click_count), 0),
                          COUNT(*) FILTER (WHERE email_normalized IS NULL),
                          COUNT(*) FILTER (WHERE GREATEST(open_count, click_count)
                                           >= %(listed)s)
                     FROM crm_mailchimp_recipient WHERE campaign_id = %(campaign)s""",
                listed=activity.EVENTS_LISTED,
                campaign=campaign.id,
            )
        )
        names = ("recipients", "opens", "clicks", "nameless", "capped")
        return dict(zip(names, row, strict=True))
