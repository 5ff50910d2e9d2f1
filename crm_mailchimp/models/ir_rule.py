from odoo import models
from odoo.fields import Domain
from odoo.tools import SQL

# Model -> path to the contact a record is about; records without one are not hidden.
ABOUT_CONTACTS = {
    "crm.mailchimp.consent": "partner_id",
    "crm.mailchimp.contact.status": "partner_id",
    "crm.mailchimp.contact.tag": "partner_id",
    "crm.mailchimp.invalid.email": "partner_id",
    "crm.mailchimp.member": "partner_id",
    "crm.mailchimp.preview.line": "partner_id",
    "crm.mailchimp.recipient": "partner_id",
    "crm.mailchimp.recipient.event": "recipient_id.partner_id",
    "crm.mailchimp.segment.contact": "partner_id",
}


class IrRule(models.Model):
    """Users who may not read a contact do not see it in our lists either.

    A record rule of ours could only repeat Odoo's standard rules on contacts: a
    condition on a related record is evaluated without that record's own rules, and a
    database may have further ones. So the rules on contacts that apply at the moment
    are added to those of every model about contacts; they hold for searches, groups,
    numbers, exports and single records alike.
    """

    _inherit = "ir.rule"

    def _compute_domain(self, model_name, mode="read"):
        domain = super()._compute_domain(model_name, mode)
        path = ABOUT_CONTACTS.get(model_name)
        if self.env.su or not path and model_name != "crm.mailchimp.suppression":
            return domain
        readable = super()._compute_domain("res.partner", "read")
        if readable.is_true():
            return domain
        if not path:
            return domain & Domain("id", "not in", self._mailchimp_hidden_no())
        return domain & (Domain(path, "=", False) | Domain(path, "any!", readable))

    def _mailchimp_hidden_no(self):
        """Return ``SQL``: ids on the do-not-email list that the user may not see.

        The list is by address: one that is, or was, a contact's is hidden unless a
        contact that the user may read has it, or had it. Addresses of no contact are
        not hidden.
        """
        readable = self.env["res.partner"].with_context(active_test=False)._search([])
        return SQL(
            """(SELECT s.id
                  FROM crm_mailchimp_suppression s
                  JOIN (SELECT p.email_normalized AS email, p.id FROM res_partner p
                         UNION
                        SELECT c.email_normalized, c.partner_id
                          FROM crm_mailchimp_consent c) p
                    ON p.email = s.email_normalized AND p.id IS NOT NULL
              GROUP BY s.id
                -- IN would read all of them for each contact, if they are many.
                HAVING NOT BOOL_OR(EXISTS (
                    SELECT FROM %s readable (id) WHERE readable.id = p.id)))""",
            readable.subselect(SQL.identifier(readable.table, "id")),
        )
