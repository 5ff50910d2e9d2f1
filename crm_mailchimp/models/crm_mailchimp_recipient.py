from odoo import api, fields, models
from odoo.tools import SQL

from ..engine.stats import EVENTS_LISTED

BLOCK = 5000  # rows of one statement


class CrmMailchimpRecipient(models.Model):
    """One campaign and one address it was sent to, with what came of it.

    Filled by set-based SQL, page by page, in millions of rows: no chatter, no stored
    computes, and no uniqueness over ``partner_id`` (a merge of contacts would crash).
    """

    _name = "crm.mailchimp.recipient"
    _description = "Mailchimp Campaign Recipient"
    _order = "campaign_id desc, email_normalized"
    # Rows by the million that no user writes.
    _log_access = False
    _rec_name = "email_normalized"

    campaign_id = fields.Many2one(
        "crm.mailchimp.campaign", required=True, ondelete="cascade", readonly=True
    )
    account_id = fields.Many2one(related="campaign_id.account_id")
    company_id = fields.Many2one(related="campaign_id.company_id")
    send_time = fields.Datetime(related="campaign_id.send_time", string="Sent on")
    # MD5 of the address: what Mailchimp still knows of somebody who was erased.
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
    variant = fields.Char(readonly=True, help="Group of an A/B test.")
    bounce_date = fields.Datetime(string="Bounced on", readonly=True)
    open_count = fields.Integer(string="Opens", readonly=True)
    first_open = fields.Datetime(string="First opened on", readonly=True)
    last_open = fields.Datetime(string="Last opened on", readonly=True)
    click_count = fields.Integer(string="Clicks", readonly=True)
    first_click = fields.Datetime(string="First clicked on", readonly=True)
    last_click = fields.Datetime(string="Last clicked on", readonly=True)
    unsubscribed_date = fields.Datetime(string="Unsubscribed on", readonly=True)
    unsubscribe_reason = fields.Char(readonly=True)
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
    def _import_recipients(self, campaign, rows):
        """Store a page of recipients; nothing is written for those known as they are.

        A bounce seen among the events is not taken back, and an address that Mailchimp
        forgot is kept.

        :param rows: ``(hash, address or None, status or None, variant or None)``
        """
        known = {
            ref: (recipient, *values)
            for recipient, ref, *values in self._known_rows(
                campaign, [row[0] for row in rows]
            )
        }
        new, changed = [], []
        for ref, email, status, variant in rows:
            if ref not in known:
                new.append((ref, email, status or "sent", variant))
                continue
            recipient, old_email, old_status, old_variant, bounced = known[ref]
            if bounced and status == "sent":
                status = None
            values = (email or old_email, status or old_status, variant or old_variant)
            if values != (old_email, old_status, old_variant):
                changed.append((recipient, *values))
        self.env.cr.execute_values(
            """UPDATE crm_mailchimp_recipient r
                  SET email_normalized = v.email, status = v.status,
                      variant = v.variant
                 FROM (VALUES %s) AS v(id, email, status, variant)
                WHERE r.id = v.id""",
            changed,
            template="(%s, %s::varchar, %s, %s::varchar)",
            page_size=BLOCK,
        )
        # The ledger also knows addresses that a contact no longer has.
        ids = (int(campaign.id), int(campaign.account_id.id))
        self.env.cr.execute_values(
            f"""INSERT INTO crm_mailchimp_recipient
                       (campaign_id, email_hash, email_normalized, status, variant,
                        member_id, partner_id, open_count, click_count)
                SELECT {ids[0]}, v.hash, v.email, v.status, v.variant,
                       m.id, m.partner_id, 0, 0
                  FROM (VALUES %s) AS v(hash, email, status, variant)
             LEFT JOIN LATERAL (
                       SELECT id, partner_id FROM crm_mailchimp_member
                        WHERE account_id = {ids[1]} AND email_normalized = v.email
                        LIMIT 1) m ON TRUE
           ON CONFLICT DO NOTHING""",
            new,
            template="(%s, %s::varchar, %s, %s::varchar)",
            page_size=BLOCK,
        )

    @api.model
    def _known_rows(self, campaign, refs):
        """Return ``[(id, hash, address, status, variant, bounced)]`` of hashes.

        Here and below one look into the index for each row of a page (LATERAL): while
        a table grows, its statistics let PostgreSQL prefer to read all of it each time.
        """
        return self.env.execute_query(
            SQL(
                """SELECT r.* FROM UNNEST(%s::varchar[]) AS h(hash) CROSS JOIN LATERAL (
                          SELECT id, email_hash, email_normalized, status, variant,
                                 bounce_date IS NOT NULL
                            FROM crm_mailchimp_recipient
                           WHERE campaign_id = %s AND email_hash = h.hash LIMIT 1) r""",
                refs,
                campaign.id,
            )
        )

    @api.model
    def _import_events(self, campaign, rows):
        """Store a page of events, with recipients nobody told of before.

        :param rows: ``(hash, address or None, kind, time, url, detail or None)``
        :return: how many were new
        """
        if not rows:
            return 0
        people = {row[0]: row[1] for row in rows}
        ids = {row[1]: row[0] for row in self._known_rows(campaign, list(people))}
        missing = [row for row in people.items() if row[0] not in ids]
        if missing:
            self._import_recipients(campaign, [(*row, None, None) for row in missing])
            ids = {row[1]: row[0] for row in self._known_rows(campaign, list(people))}
        # Looked for first: ON CONFLICT alone would use up an id for each known event.
        known = set(
            self.env.execute_query(
                SQL(
                    """SELECT e.* FROM UNNEST(%s::int[]) AS i(id) CROSS JOIN LATERAL (
                              SELECT recipient_id, kind, date, url
                                FROM crm_mailchimp_recipient_event
                               WHERE recipient_id = i.id OFFSET 0) e""",
                    list(ids.values()),
                )
            )
        )
        new = [(ids[row[0]], *row[2:]) for row in rows]
        new = [row for row in new if row[:4] not in known]
        self.env.cr.execute_values(
            """INSERT INTO crm_mailchimp_recipient_event
                      (recipient_id, kind, date, url, detail)
               VALUES %s ON CONFLICT DO NOTHING""",
            new,
            page_size=BLOCK,
        )
        self._derive(sorted({row[0] for row in new}))
        return len(new)

    @api.model
    def _derive(self, recipient_ids):
        """Count and date the events of recipients anew, so that late ones fit in."""
        if not recipient_ids:
            return
        self.env.cr.execute(
            SQL(
                """UPDATE crm_mailchimp_recipient r
                      SET open_count = e.opens, first_open = e.first_open,
                          last_open = e.last_open, click_count = e.clicks,
                          first_click = e.first_click, last_click = e.last_click,
                          bounce_date = e.bounced,
                          status = CASE WHEN r.status = 'sent'
                                        THEN COALESCE(e.bounce, 'sent')
                                        ELSE r.status END,
                          unsubscribed_date = e.unsubscribed,
                          unsubscribe_reason = e.reason,
                          complaint_date = e.complained
                     FROM UNNEST(%(ids)s::int[]) AS i(id) CROSS JOIN LATERAL (
                   SELECT COUNT(*) FILTER (WHERE kind = 'open') AS opens,
                          MIN(date) FILTER (WHERE kind = 'open') AS first_open,
                          MAX(date) FILTER (WHERE kind = 'open') AS last_open,
                          COUNT(*) FILTER (WHERE kind = 'click') AS clicks,
                          MIN(date) FILTER (WHERE kind = 'click') AS first_click,
                          MAX(date) FILTER (WHERE kind = 'click') AS last_click,
                          MAX(date) FILTER (WHERE kind = 'bounce') AS bounced,
                          -- "hard" before "soft"
                          MIN(detail) FILTER (WHERE kind = 'bounce'
                              AND detail IN ('hard', 'soft')) AS bounce,
                          MAX(date) FILTER (WHERE kind = 'unsubscribe')
                              AS unsubscribed,
                          MAX(detail) FILTER (WHERE kind = 'unsubscribe') AS reason,
                          MIN(date) FILTER (WHERE kind = 'complaint') AS complained
                     FROM crm_mailchimp_recipient_event
                    WHERE recipient_id = i.id) e
                    WHERE r.id = i.id""",
                ids=recipient_ids,
            )
        )
        self.env.invalidate_all()

    @api.model
    def _match(self, account, campaign=None):
        """Find the contacts of recipients that have none: they may have come later.

        By the ledger first, then a contact with that address in the account's company
        or in none; of several the one that an address shared by contacts belongs to.
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
        """Make one again of a recipient whose address was changed in Mailchimp.

        Reports name recipients by the address they have now, so a changed one looks
        like another person. It is, if the campaign went to nobody since ``last_id``,
        the same contact's: that of an address which the audience no longer has.
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
                                 AND n.date = e.date AND MD5(n.url) = MD5(e.url))""",
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
            self._derive([new])
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
                listed=EVENTS_LISTED,
                campaign=campaign.id,
            )
        )
        names = ("recipients", "opens", "clicks", "nameless", "capped")
        return dict(zip(names, row, strict=True))
