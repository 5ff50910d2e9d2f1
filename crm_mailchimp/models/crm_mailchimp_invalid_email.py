from odoo import fields, models
from odoo.exceptions import UserError
from odoo.tools import SQL, LazyTranslate

from .crm_mailchimp_contact_status import id_bits
from .crm_mailchimp_recipient import STILL_BOUNCES

_lt = LazyTranslate(__name__)


class CrmMailchimpInvalidEmail(models.Model):
    """A contact that still has an address Mailchimp gave up on, and why it did.

    A corrected address is pushed as a new member; the old one stays as it is in
    Mailchimp. The campaign is the last one whose mail to the address bounced.
    """

    _name = "crm.mailchimp.invalid.email"
    _description = "Invalid Email Address"
    _auto = False
    _order = "date desc nulls last, id"
    _rec_name = "email_normalized"

    partner_id = fields.Many2one("res.partner", string="Contact", readonly=True)
    email_normalized = fields.Char(string="Address", readonly=True)
    account_id = fields.Many2one("crm.mailchimp.account", readonly=True)
    company_id = fields.Many2one("res.company", readonly=True)
    member_id = fields.Many2one("crm.mailchimp.member", readonly=True)
    kind = fields.Selection(
        [("hard", "Hard bounce"), ("soft", "Soft bounce"), ("cleaned", "Cleaned")],
        string="Type",
        readonly=True,
        help="Cleaned: Mailchimp stopped using the address, without a campaign of this "
        "audience that was imported.",
    )
    campaign_id = fields.Many2one(
        "crm.mailchimp.campaign",
        readonly=True,
        falsy_value_label=_lt("Without a campaign"),
    )
    detail = fields.Char(string="Reason", readonly=True)
    date = fields.Datetime(string="Since", readonly=True)
    user_id = fields.Many2one(related="partner_id.user_id")

    @property
    def _table_query(self):
        self.env["crm.mailchimp.member"].flush_model()
        self.env["res.partner"].flush_model()
        # Two queries rather than one: the count in the menu, which needs only the
        # first, then looks at cleaned members, not at every member.
        return SQL("%s UNION ALL (%s)", self._cleaned_sql(), self._soft_sql())

    def _cleaned_sql(self):
        """Return ``SQL``: addresses Mailchimp gave up on."""
        return SQL(
            """
            SELECT %s AS id, p.id AS partner_id, m.email_normalized, m.account_id,
                   account.company_id, m.id AS member_id,
                   COALESCE(b.status, 'cleaned') AS kind, b.campaign_id, b.detail,
                   COALESCE(b.bounce_date, m.last_changed) AS date
              FROM %s
         LEFT JOIN LATERAL (
                   SELECT r.status, r.campaign_id, r.bounce_date, %s AS detail
                     FROM crm_mailchimp_recipient r
                    WHERE r.member_id = m.id AND r.status = 'hard'
                      AND r.email_normalized = m.email_normalized
                 ORDER BY r.bounce_date DESC NULLS LAST LIMIT 1) b ON TRUE
             WHERE m.status = 'cleaned'
            """,
            self._id_sql(),
            self._contacts_sql(),
            self._detail_sql(),
        )

    def _soft_sql(self):
        """Return ``SQL``: addresses whose mail is not arriving for the time being."""
        return SQL(
            """
            SELECT %s AS id, p.id AS partner_id, m.email_normalized, m.account_id,
                   account.company_id, m.id AS member_id, 'soft' AS kind,
                   b.campaign_id, b.detail, b.bounce_date AS date
              FROM %s
              JOIN (SELECT DISTINCT ON (r.member_id, r.email_normalized) r.member_id,
                           r.email_normalized, r.campaign_id, r.bounce_date,
                           %s AS detail
                      FROM crm_mailchimp_recipient r
                     WHERE r.status = 'soft' AND %s
                  ORDER BY r.member_id, r.email_normalized,
                           r.bounce_date DESC NULLS LAST) b
                ON b.member_id = m.id AND b.email_normalized = m.email_normalized
             WHERE m.status = 'subscribed'
            """,
            self._id_sql(),
            self._contacts_sql(),
            self._detail_sql(),
            STILL_BOUNCES,
        )

    def _id_sql(self):
        """Return ``SQL``: an id that is the same at every read.

        It combines contact, account and the address's place among the contact's.
        """
        return SQL(
            "((p.id::bigint << %s) + account.id) * 16 + LEAST(p.place, 15)",
            id_bits(self.env["crm.mailchimp.account"]),
        )

    def _contacts_sql(self):
        """Return ``SQL``: members ``m``, their ``account`` and contacts ``p``."""
        accounts = self.env["crm.mailchimp.account"].sudo()
        further = SQL()
        if accounts.search_count([("email_scope", "=", "all")], limit=1):
            further = SQL(
                """UNION ALL
                    SELECT p.id, p.company_id, p.active, a.email, a.place
                      FROM res_partner p
                CROSS JOIN LATERAL (%s) a""",
                accounts._further_addresses_sql(),
            )
        return SQL(
            """crm_mailchimp_member m
              JOIN crm_mailchimp_account account
                ON account.id = m.account_id AND account.active
              JOIN (SELECT p.id, p.company_id, p.active, p.email_normalized AS email,
                           0 AS place
                      FROM res_partner p %s) p
                ON p.email = m.email_normalized AND p.active
               AND (p.place = 0 OR account.email_scope = 'all')
               AND COALESCE(p.company_id, account.company_id) = account.company_id""",
            further,
        )

    def _detail_sql(self):
        return SQL(
            """(SELECT e.detail FROM crm_mailchimp_recipient_event e
                 WHERE e.recipient_id = r.id AND e.kind = 'bounce'
              ORDER BY e.date DESC LIMIT 1)"""
        )

    def action_correct(self):
        """Open the dialog to correct the selected addresses."""
        self._check_contacts()
        wizard = self.env["crm.mailchimp.correct.email"].create(
            {
                "line_ids": [
                    fields.Command.create(
                        {
                            "partner_id": line.partner_id.id,
                            "old_email": line.email_normalized,
                        }
                    )
                    for line in self
                ]
            }
        )
        return {
            "type": "ir.actions.act_window",
            "name": self.env._("Correct addresses"),
            "res_model": wizard._name,
            "res_id": wizard.id,
            "view_mode": "form",
            "target": "new",
        }

    def action_remove(self):
        """Remove the addresses from their contacts."""
        self._check_contacts()
        for line in self:
            line.partner_id._mailchimp_replace_address(line.email_normalized)
        return self.env["crm.mailchimp.account"]._toast(
            self.env._("Addresses removed: %s.", len(self))
        )

    def action_archive_contact(self):
        """Archive the contacts."""
        self._check_contacts()
        partners = self.partner_id
        partners.action_archive()
        return self.env["crm.mailchimp.account"]._toast(
            self.env._("Contacts archived: %s.", len(partners))
        )

    def action_open_contact(self):
        """Open the contact of the line."""
        return self.partner_id.get_formview_action()

    def _check_contacts(self):
        if not self:
            raise UserError(self.env._("Select at least one address."))
        self.partner_id.check_access("write")
