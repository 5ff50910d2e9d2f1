from markupsafe import Markup

from odoo import api, fields, models
from odoo.tools import SQL

from .clock import short_moment

GROUP = 200  # events of one commit


class CrmMailchimpRecipientEvent(models.Model):
    """One thing a recipient did, or that befell the mail, with its time and link."""

    _name = "crm.mailchimp.recipient.event"
    _description = "Mailchimp Recipient Event"
    _order = "date desc, id desc"
    _rec_name = "kind"
    # Rows by the million that no user writes.
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
    # "" where there is none, so that the unique index sees equal events.
    url = fields.Char(string="Link", readonly=True, required=True, default="")
    number = fields.Integer(
        readonly=True,
        required=True,
        default=1,
        help="Tells apart several events within one second.",
    )
    detail = fields.Char(readonly=True, help="Type of bounce, or reason given.")

    # A link may be longer than an entry of an index.
    _event_uniq = models.UniqueIndex(
        "(recipient_id, kind, date, MD5(url), number)",
        "This event is already imported.",
    )

    @api.model
    def _note_in_chatter(self, run):
        """Say on contacts what came of the mail they got, where the account wants it.

        Events are taken in the order they were stored, and how far that got is
        committed with the notes: each is noted once, whatever happens in between.
        """
        account = run.account_id
        if not account.log_activity_to_chatter:
            return
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
                    account.activity_noted_from,
                    GROUP,
                )
            )
            if not rows:
                return
            lines = {}
            for _id, partner, *event in rows:
                lines.setdefault(partner, []).append(self._sentence(*event))
            self.env["res.partner"].browse(lines)._message_log_batch(
                {
                    partner: Markup("<br/>").join(sentences)
                    for partner, sentences in lines.items()
                }
            )
            account.activity_noted_id = rows[-1][0]
            run._commit()

    def _sentence(self, kind, date, url, detail, campaign):
        _ = self.env._
        values = {
            "campaign": campaign,
            "date": short_moment(self.env, date),
            "link": Markup("<a href='%(url)s'>%(url)s</a>") % {"url": url},
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
