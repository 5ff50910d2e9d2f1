from odoo import fields, models


class CrmMailchimpRecipientEvent(models.Model):
    """One thing a recipient did, or that befell the mail, with its time and link."""

    _name = "crm.mailchimp.recipient.event"
    _description = "Mailchimp Recipient Event"
    _order = "date desc, id desc"
    _rec_name = "kind"

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
        required=True,
        readonly=True,
    )
    date = fields.Datetime(required=True, readonly=True)
    # "" where there is none, so that the unique index sees equal events.
    url = fields.Char(string="Link", readonly=True, required=True, default="")
    detail = fields.Char(readonly=True, help="Kind of bounce, or reason given.")

    # A link may be longer than an entry of an index.
    _event_uniq = models.UniqueIndex(
        "(recipient_id, kind, date, MD5(url))", "This event is already imported."
    )
