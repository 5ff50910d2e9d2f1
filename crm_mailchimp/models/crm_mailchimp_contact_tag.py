from datetime import timedelta

from odoo import api, fields, models
from odoo.tools import SQL

KEEP = timedelta(days=90)


class CrmMailchimpContactTag(models.Model):
    """A tag somebody asked to add to a contact, and what became of it.

    No unique constraint on the contact: merging contacts would violate it. Tagging
    twice is harmless.
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
        [("waiting", "Waiting"), ("done", "Added"), ("refused", "Refused")],
        default="waiting",
        required=True,
        readonly=True,
    )
    reason = fields.Char(readonly=True)
    why = fields.Char(compute="_compute_why")
    requested_by_id = fields.Many2one(
        "res.users", ondelete="set null", string="Requested by", readonly=True
    )
    done_at = fields.Datetime(string="Added on", readonly=True)

    _waiting_idx = models.Index("(account_id, LOWER(name)) WHERE state = 'waiting'")

    @api.depends("state", "reason", "partner_id.mailchimp_opt_in", "partner_id.email")
    def _compute_why(self):
        """Say why a tag was refused, or what it waits for."""
        waiting = self.sudo().filtered(lambda tag: tag.state == "waiting")
        lines = {
            account: account._contact_lines(tags.partner_id)
            for account, tags in waiting.grouped("account_id").items()
        }
        reasons = self.env["crm.mailchimp.contact.status"]._fields["reason"]
        labels = dict(reasons._description_selection(self.env))
        for tag in self:
            if tag.state != "waiting":
                tag.why = tag.reason
                continue
            _status, reason, _winner = lines[tag.sudo().account_id].get(
                tag.partner_id.id, (None,) * 3
            )
            tag.why = labels.get(reason) or self.env._("Waiting for the next sync")

    @api.model
    def _request(self, account, partners, names):
        """Note tags for contacts, except those that are already waiting."""
        self.flush_model()
        self.env.execute_query(
            SQL(
                """
                INSERT INTO crm_mailchimp_contact_tag
                       (account_id, partner_id, name, state, requested_by_id,
                        create_uid, create_date, write_uid, write_date)
                SELECT %(account)s, p.id, n.name, 'waiting', %(user)s,
                       %(user)s, NOW() AT TIME ZONE 'UTC',
                       %(user)s, NOW() AT TIME ZONE 'UTC'
                  FROM UNNEST(%(partners)s) p(id) CROSS JOIN UNNEST(%(names)s) n(name)
                 WHERE NOT EXISTS (
                       SELECT FROM crm_mailchimp_contact_tag t
                        WHERE t.account_id = %(account)s AND t.partner_id = p.id
                          AND LOWER(t.name) = LOWER(n.name) AND t.state = 'waiting')
                RETURNING id
                """,
                account=account.id,
                user=self.env.uid,
                partners=partners.ids,
                names=names,
            )
        )
        partners.sudo().invalidate_recordset(["mailchimp_tag_ids"], flush=False)

    @api.autovacuum
    def _gc_tags(self):
        """Delete requests for tags that were added or refused long ago."""
        tags = self.search(
            [
                ("state", "!=", "waiting"),
                ("write_date", "<", fields.Datetime.now() - KEEP),
            ],
            limit=10000,
        )
        tags.unlink()
        return len(tags), len(tags) == 10000
