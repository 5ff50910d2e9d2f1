import re

from dateutil.relativedelta import relativedelta
from markupsafe import Markup

from odoo import api, fields, models
from odoo.tools import SQL

from .clock import short_moment

GROUP = 200  # events per commit
FORGOTTEN = 20_000  # events deleted per account and transaction


def kept_since(account):
    """Return the time before which the account's events are deleted, or ``None``."""
    months = account.keep_events_months
    return fields.Datetime.now() - relativedelta(months=months) if months else None


class CrmMailchimpRecipientEvent(models.Model):
    """One thing a recipient did, or that happened to the mail: when, on which link."""

    _name = "crm.mailchimp.recipient.event"
    _inherit = ["crm.mailchimp.labelled"]
    _description = "Mailchimp Recipient Event"
    _order = "date desc, id desc"
    _rec_name = "kind"
    # Millions of rows, which no user writes.
    _log_access = False

    recipient_id = fields.Many2one(
        "crm.mailchimp.recipient", required=True, ondelete="cascade", readonly=True
    )
    campaign_id = fields.Many2one(related="recipient_id.campaign_id")
    partner_id = fields.Many2one(related="recipient_id.partner_id")
    kind = fields.Selection(
        [
            ("open", "Open"),
            ("click", "Click"),
            ("bounce", "Bounce"),
            ("unsubscribe", "Unsubscribe"),
            ("complaint", "Complaint"),
        ],
        string="Type",
        required=True,
        readonly=True,
    )
    date = fields.Datetime(required=True, readonly=True)
    # "" rather than NULL, so that the unique index recognises equal events.
    url = fields.Char(string="Link", readonly=True, required=True, default="")
    number = fields.Integer(
        readonly=True,
        required=True,
        default=1,
        help="Tells apart several events within one second.",
    )
    detail = fields.Char(readonly=True, help="Type of bounce, or reason given.")

    # MD5, as a link may be too long for an index entry.
    _event_uniq = models.UniqueIndex(
        "(recipient_id, kind, date, MD5(url), number)",
        "This event is already imported.",
    )

    @api.model
    def _note_in_chatter(self, run):
        """Log on contacts what came of their mail, if the account asks for it.

        Events are taken in the order they were stored, and the last id is committed
        with the notes: each is logged once, even if the run is interrupted.
        """
        account = run.account_id
        if not account.log_activity_to_chatter:
            return
        # Refreshing an old campaign imports events again that were deleted, and logged
        # when they were new.
        since = max(filter(None, (account.activity_noted_from, kept_since(account))))
        while True:
            rows = self.env.execute_query(
                SQL(
                    """SELECT e.id, r.partner_id, e.kind,
                              CASE e.kind WHEN 'open' THEN r.first_open
                                          ELSE e.date END,
                              e.url, e.detail, c.name
                         FROM crm_mailchimp_recipient_event e
                         JOIN crm_mailchimp_recipient r ON r.id = e.recipient_id
                         JOIN crm_mailchimp_campaign c ON c.id = r.campaign_id
                        WHERE c.account_id = %s AND e.id > %s AND e.date >= %s
                          AND r.partner_id IS NOT NULL
                          AND e.kind IN ('open', 'click', 'unsubscribe', 'bounce')
                          AND (e.kind <> 'open' OR NOT EXISTS (
                              SELECT FROM crm_mailchimp_recipient_event o
                               WHERE o.recipient_id = e.recipient_id
                                 AND o.kind = 'open' AND o.id < e.id))
                     ORDER BY e.id LIMIT %s""",
                    account.id,
                    account.activity_noted_id,
                    since,
                    GROUP,
                )
            )
            if not rows:
                return
            lines = {}
            for event_id, partner, *event in rows:
                lines.setdefault(partner, []).append(self._sentence(*event))
                last_id = event_id
            self.env["res.partner"].browse(lines)._message_log_batch(
                {
                    partner: Markup("<br/>").join(sentences)
                    for partner, sentences in lines.items()
                }
            )
            account.activity_noted_id = last_id
            run._commit()

    @api.autovacuum
    def _gc_events(self):
        """Delete events that are older than their account wants to keep them.

        Campaigns and recipients keep their numbers and dates. Events of a campaign that
        is still updated stay, as each reading counts them; any other campaign is read
        in full should somebody refresh it.
        """
        done = 0
        self.env["crm.mailchimp.campaign"].flush_model(["next_poll", "read_marks"])
        accounts = self.env["crm.mailchimp.account"].with_context(active_test=False)
        for account in accounts.search([("keep_events_months", ">", 0)]):
            before = kept_since(account)
            self.env.cr.execute(
                SQL(
                    """WITH gone AS (
                           DELETE FROM crm_mailchimp_recipient_event WHERE id IN (
                               SELECT e.id FROM crm_mailchimp_campaign c
                                 JOIN crm_mailchimp_recipient r ON r.campaign_id = c.id
                                 JOIN crm_mailchimp_recipient_event e
                                   ON e.recipient_id = r.id
                                WHERE c.account_id = %(account)s AND e.date < %(before)s
                                  AND c.next_poll IS NULL
                                LIMIT %(limit)s)
                       RETURNING recipient_id),
                       unread AS (
                           UPDATE crm_mailchimp_campaign SET read_marks = NULL
                            WHERE read_marks IS NOT NULL AND id IN (
                               SELECT r.campaign_id FROM crm_mailchimp_recipient r
                                 JOIN gone ON gone.recipient_id = r.id))
                       SELECT COUNT(*) FROM gone""",
                    account=account.id,
                    before=before,
                    limit=FORGOTTEN,
                )
            )
            (count,) = self.env.cr.fetchone()
            done += count
        self.invalidate_model(flush=False)
        self.env["crm.mailchimp.campaign"].invalidate_model(["read_marks"], flush=False)
        return done, done >= FORGOTTEN

    def _sentence(self, kind, date, url, detail, campaign):
        _ = self.env._
        values = {
            "campaign": campaign,
            "date": short_moment(self.env, date),
            # Any other scheme could run code.
            "link": Markup("<a href='%(url)s'>%(url)s</a>") % {"url": url}
            if re.match("https?://", url, re.IGNORECASE)
            else url,
            "detail": detail or _("no reason given"),
        }
        if kind == "open":
            text = _("First opened the campaign %(campaign)s on %(date)s.")
        elif kind == "click":
            text = _("Clicked %(link)s in the campaign %(campaign)s on %(date)s.")
        elif kind == "unsubscribe":
            text = _(
                "Unsubscribed from the campaign %(campaign)s on %(date)s (%(detail)s)."
            )
        elif detail == "soft":
            text = _(
                "The email of the campaign %(campaign)s bounced (soft) on %(date)s."
            )
        else:
            text = _(
                "The email of the campaign %(campaign)s bounced (hard) on %(date)s."
            )
        return Markup.escape(text) % values
