from odoo import fields, models


class CrmMailchimpContactTag(models.Model):
    """A tag somebody asked for on a contact, until it is there.

    No uniqueness over the contact: a merge of contacts would crash on it. Tagging twice
    is harmless.
    """

    _name = "crm.mailchimp.contact.tag"
    _description = "Mailchimp Tag of a Contact"
    _order = "id desc"

    account_id = fields.Many2one(
        "crm.mailchimp.account", required=True, ondelete="cascade", readonly=True
    )
    company_id = fields.Many2one(related="account_id.company_id")
    partner_id = fields.Many2one(
        "res.partner", required=True, ondelete="cascade", index=True, readonly=True
    )
    name = fields.Char(string="Tag", required=True, readonly=True)
    state = fields.Selection(
        [("waiting", "Waiting"), ("done", "Given"), ("refused", "Refused")],
        default="waiting",
        required=True,
        readonly=True,
    )
    reason = fields.Char(readonly=True)
    requested_by_id = fields.Many2one(
        "res.users", ondelete="set null", string="Asked for by", readonly=True
    )
    done_at = fields.Datetime(string="Given on", readonly=True)

    _waiting_idx = models.Index("(account_id, name) WHERE state = 'waiting'")
