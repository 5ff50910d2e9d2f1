from datetime import timedelta

from odoo import api, fields, models
from odoo.fields import Domain
from odoo.tools import SQL, LazyTranslate

from ..engine import webhooks
from ..engine.observe import utc
from ..engine.storable import storable
from ..engine.vocabulary import DROPPED
from .recordset import recordset

_lt = LazyTranslate(__name__)

VACUUM_LIMIT = 5000
PAYLOAD_LENGTH = 4000
# Deliveries kept per account and minute. Beyond the first limit, those whose news any
# pull would bring are left to a pull; a "no" is kept up to the second, beyond which
# Mailchimp is asked to deliver again later.
A_MINUTE = 600
URGENT_A_MINUTE = 60_000
# Deliveries that may be waiting, whatever their rate.
MOST_WAITING = 200_000
ONCE = SQL("DO NOTHING")
OUTCOMES = [
    ("no", "Unsubscribe noted"),
    ("read", "Changes read"),
    ("ignored", "Nothing to do"),
]


class CrmMailchimpWebhookDelivery(models.Model):
    """One webhook delivery: stored as soon as it arrives, processed once.

    The table is the inbox of webhooks: a request only inserts a row. A delivery is no
    more than a hint, see :mod:`..engine.webhooks`; a run reads the members, and notes
    what it saw of them on the waiting deliveries (``seen_status``, ``agreed_at``), so
    that their order does not matter. ``received_at`` is by Mailchimp's clock.
    """

    _name = "crm.mailchimp.webhook.delivery"
    _description = "Mailchimp Webhook Delivery"
    _order = "id desc"
    _rec_name = "kind"

    account_id = fields.Many2one(
        "crm.mailchimp.account", required=True, ondelete="cascade", readonly=True
    )
    company_id = fields.Many2one(related="account_id.company_id")
    hook = fields.Selection(
        [("people", "People and users"), ("programs", "Applications")],
        string="Triggered by",
        readonly=True,
        falsy_value_label=_lt("Unknown"),
    )
    kind = fields.Char(string="Event", required=True, readonly=True)
    email_normalized = fields.Char(string="Address", readonly=True)
    new_email = fields.Char(string="New address", readonly=True)
    action = fields.Char(readonly=True)
    reason = fields.Char(readonly=True)
    campaign_ref = fields.Char(string="Campaign ID", readonly=True)
    # As Mailchimp wrote it, without a zone.
    fired_at = fields.Datetime(string="Happened on", readonly=True)
    received_at = fields.Datetime(string="Received on", required=True, readonly=True)
    processed_at = fields.Datetime(string="Processed on", readonly=True)
    outcome = fields.Selection(
        OUTCOMES, readonly=True, falsy_value_label=_lt("Not processed yet")
    )
    payload = fields.Text(readonly=True, groups="base.group_system", prefetch=False)
    digest = fields.Char(required=True, readonly=True)
    seen_status = fields.Char(readonly=True)
    agreed_at = fields.Datetime(string="Signed up on", readonly=True)

    _digest_uniq = models.UniqueIndex(
        "(account_id, digest)", "This delivery was received before."
    )
    _waiting_idx = models.Index("(account_id, id) WHERE processed_at IS NULL")
    _received_idx = models.Index("(account_id, received_at, id)")
    _address_idx = models.Index("(email_normalized)")
    _new_address_idx = models.Index("(new_email) WHERE new_email IS NOT NULL")

    # === RECEIVING === #

    @api.model
    def _receive(self, account, hook, raw, event, now):
        """Store a delivery that was found to be Mailchimp's.

        :param str hook: name of the webhook, see :data:`.webhooks.HOOKS`
        :param bytes raw: the body
        :param event: the :class:`.webhooks.Event` it contains
        :param datetime now: the time by Mailchimp's clock
        :return: whether it was taken; if not, Mailchimp has to deliver it again later
        """
        urgent = event.kind in webhooks.URGENT
        taken = self._has_room(account, now, A_MINUTE)
        if not taken:
            # A pull brings whatever these say, except a "no".
            self._insert(
                account,
                {"kind": DROPPED, "received_at": now},
                str(now)[:16],
                # If that was processed by now, it waits again.
                SQL("(account_id, digest) DO UPDATE SET processed_at = NULL"),
            )
            if not urgent:
                return True
            if not self._has_room(account, now, URGENT_A_MINUTE):
                return False
        self._insert(
            account,
            {
                "hook": hook,
                "kind": event.kind,
                "email_normalized": event.email,
                "new_email": event.new_email,
                "action": event.action or None,
                "reason": event.reason or None,
                "campaign_ref": event.campaign or None,
                "fired_at": event.fired_at,
                "received_at": now,
                "payload": storable(raw[:PAYLOAD_LENGTH].decode("utf-8", "replace")),
            },
            webhooks.digest(raw),
        )
        return True

    def _has_room(self, account, now, limit):
        """Return whether one more can be stored in this minute.

        Rows are not counted, as that would take ever longer in a storm: the difference
        of ids, which also grow with duplicates and other accounts' deliveries, is the
        upper bound.
        """
        [(last, first, waiting)] = self.env.execute_query(
            SQL(
                """SELECT (SELECT id FROM crm_mailchimp_webhook_delivery
                            WHERE account_id = %(account)s
                         ORDER BY received_at DESC, id DESC LIMIT 1),
                          (SELECT id FROM crm_mailchimp_webhook_delivery
                            WHERE account_id = %(account)s
                              AND received_at > %(since)s
                         ORDER BY received_at, id LIMIT 1),
                          (SELECT MAX(id) - MIN(id) FROM crm_mailchimp_webhook_delivery
                            WHERE account_id = %(account)s AND processed_at IS NULL)""",
                account=account.id,
                since=now - timedelta(minutes=1),
            )
        )
        many = last - first + 1 if first else 0
        return many < limit and (waiting or 0) < MOST_WAITING

    def _insert(self, account, values, digest, conflict=ONCE):
        """Insert a delivery; one received before is left as it is."""
        values = {"account_id": account.id, "digest": digest, **values}
        self.env.cr.execute(
            SQL(
                "INSERT INTO crm_mailchimp_webhook_delivery (%s, create_date)"
                " VALUES (%s, NOW() AT TIME ZONE 'UTC') ON CONFLICT %s",
                SQL(", ").join(map(SQL.identifier, values)),
                SQL(", ").join(SQL("%s", value) for value in values.values()),
                conflict,
            )
        )
        self.invalidate_model(flush=False)

    @api.model
    def _wake(self):
        """Schedule one look, in a moment, for all deliveries that arrive now.

        A look that is due already may be running, past its check for waiting
        deliveries, and clears every trigger up to its start when it ends. So another
        one is scheduled for a moment later.
        """
        cron = self.env.ref("crm_mailchimp.ir_cron_push").sudo()
        now = fields.Datetime.now()
        soon = now + timedelta(seconds=2)
        found = (
            self.env["ir.cron.trigger"]
            .sudo()
            .search_count(
                [
                    ("cron_id", "=", cron.id),
                    ("call_at", ">", now),
                    ("call_at", "<=", soon),
                ],
                limit=1,
            )
        )
        if not found:
            cron._trigger([now, soon])

    # === PROCESSING === #

    @api.model
    def _last_waiting(self, account):
        """Return the id of the newest waiting delivery, or ``None``."""
        [(last,)] = self.env.execute_query(
            SQL(
                "SELECT MAX(id) FROM crm_mailchimp_webhook_delivery"
                " WHERE account_id = %s AND processed_at IS NULL",
                account.id,
            )
        )
        return last

    @api.model
    def _new_addresses(self, account, emails):
        """Return where members went, going by deliveries about changed addresses.

        :param emails: former addresses
        :return: ``{former address: new one}``, of new ones that Mailchimp has
        """
        return dict(
            self.env.execute_query(
                SQL(
                    """SELECT d.email_normalized, d.new_email
                         FROM crm_mailchimp_webhook_delivery d
                         JOIN crm_mailchimp_member m
                           ON m.account_id = d.account_id AND m.status IS NOT NULL
                          AND m.email_normalized = d.new_email
                        WHERE d.account_id = %s AND d.kind = 'upemail'
                          AND d.email_normalized = ANY(%s)
                     ORDER BY d.id""",
                    account.id,
                    list(emails),
                )
            )
        )

    @api.model
    def _addresses(self, account, last, limit, unseen=False):
        """Return the addresses that waiting deliveries are about.

        :param int last: id of the last delivery to look at
        :param int limit: maximum number of addresses
        :param bool unseen: only those of deliveries that may say "no", and whose member
            has not been read since they arrived
        """
        condition = (
            SQL("d.seen_status IS NULL AND d.kind IN %s", webhooks.URGENT)
            if unseen
            else SQL("TRUE")
        )
        return [
            email
            for (email,) in self.env.execute_query(
                SQL(
                    """SELECT DISTINCT email FROM crm_mailchimp_webhook_delivery d,
                              UNNEST(ARRAY[d.email_normalized, d.new_email]) email
                        WHERE d.account_id = %s AND d.processed_at IS NULL
                          AND d.id <= %s AND email IS NOT NULL AND %s
                        LIMIT %s""",
                    account.id,
                    last,
                    condition,
                    limit,
                )
            )
        ]

    @api.model
    def _note_seen(self, account, entries):
        """Note on waiting deliveries what Mailchimp shows of their members.

        :param list entries: members as the API returns them, with ``None`` as
            ``status`` for addresses that Mailchimp does not know
        """
        if not entries or not self._last_waiting(account):
            return
        self.env.cr.execute(
            SQL(
                """UPDATE crm_mailchimp_webhook_delivery d
                      SET seen_status = v.status, agreed_at = v.agreed_at
                     FROM %s
                    WHERE d.account_id = %s AND d.processed_at IS NULL
                      AND d.email_normalized = v.email""",
                recordset(
                    {"email": "varchar", "status": "varchar", "agreed_at": "timestamp"},
                    [
                        (
                            entry["email_address"].lower(),
                            entry["status"] or "",
                            utc(
                                entry.get("timestamp_opt")
                                or entry.get("timestamp_signup")
                            ),
                        )
                        for entry in entries
                    ],
                ),
                account.id,
            )
        )
        self.invalidate_model(flush=False)

    @api.model
    def _waiting(self, account, last, limit):
        """Return waiting deliveries, oldest first, with what the ledger knows.

        :return: list of dicts, as :func:`.webhooks.verdict` takes them
        """
        names = (
            *("id", "hook", "kind", "email_normalized", "action", "reason"),
            *("campaign_ref", "fired_at", "received_at", "seen_status", "agreed_at"),
        )
        rows = self.env.execute_query(
            SQL(
                """SELECT %s, m.sent_at FROM crm_mailchimp_webhook_delivery d
                     LEFT JOIN crm_mailchimp_member m
                       ON m.account_id = d.account_id
                      AND m.email_normalized = d.email_normalized
                    WHERE d.account_id = %s AND d.processed_at IS NULL AND d.id <= %s
                 ORDER BY d.id LIMIT %s""",
                SQL(", ").join(SQL.identifier("d", name) for name in names),
                account.id,
                last,
                limit,
            )
        )
        return [dict(zip((*names, "sent_at"), row, strict=True)) for row in rows]

    @api.model
    def _settle(self, outcomes):
        """Note what came of deliveries.

        :param dict outcomes: id -> one of ``OUTCOMES``
        """
        self.env.cr.execute(
            SQL(
                """UPDATE crm_mailchimp_webhook_delivery d
                      SET outcome = v.outcome,
                          processed_at = DATE_TRUNC(
                              'second', CLOCK_TIMESTAMP() AT TIME ZONE 'UTC')
                     FROM %s WHERE d.id = v.id""",
                recordset({"id": "int4", "outcome": "varchar"}, outcomes.items()),
            )
        )
        self.invalidate_model(flush=False)

    # === KEEPING === #

    @api.autovacuum
    def _gc_deliveries(self):
        """Delete deliveries that were processed long ago, as they hold addresses.

        Waiting ones stay: for an account without a key, one may be the only sign of a
        "no".
        """
        found = self.browse()
        accounts = self.env["crm.mailchimp.account"].with_context(active_test=False)
        for account in accounts.search([("keep_deliveries_days", ">", 0)]):
            days = timedelta(days=account.keep_deliveries_days)
            found |= self.search(
                Domain("account_id", "=", account.id)
                & Domain("processed_at", "<", fields.Datetime.now() - days),
                limit=VACUUM_LIMIT - len(found),
                order="id",
            )
            if len(found) == VACUUM_LIMIT:
                break
        found.unlink()
        return len(found), len(found) == VACUUM_LIMIT

    @api.model
    def _forget(self, account, email):
        """Delete what was delivered about an address."""
        self.search(
            [
                ("account_id", "=", account.id),
                "|",
                ("email_normalized", "=", email),
                ("new_email", "=", email),
            ]
        ).unlink()
