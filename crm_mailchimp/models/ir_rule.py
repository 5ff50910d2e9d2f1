from odoo import models
from odoo.fields import Domain
from odoo.tools import SQL

# Model -> path to the contact a record is about; records of nobody are not hidden.
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
    """Whoever may not read a contact does not read it in our lists either.

    A condition of ours in a record rule could only repeat the rules on contacts that
    come with Odoo: what a rule says of a related record is evaluated without that
    record's own rules, and every database may have more of them. So the rules on
    contacts of the moment are added to those of every model that is about contacts:
    they count for searches, groups, numbers, exports and single records alike.
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
        """Return ``SQL``: ids on the list of "no" whose contacts one may not read.

        The list goes by addresses: one that is, or was, a contact's is hidden unless
        somebody has it whom one may read. That of no contact is not.
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
                HAVING NOT BOOL_OR(p.id IN %s))""",
            readable.subselect(),
        )
