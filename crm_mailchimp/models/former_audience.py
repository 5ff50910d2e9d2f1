from odoo import fields, models


class CrmMailchimpAccount(models.Model):
    """Another audience is linked: what people said in the former one still counts.

    The former audience stays with its account, which is archived with its ledger.
    Nothing is written to it any more, but whoever unsubscribed there after its last run
    must not be subscribed to the new one.
    """

    _inherit = "crm.mailchimp.account"

    former_id = fields.Many2one(
        "crm.mailchimp.account",
        string="Account of the previous audience",
        readonly=True,
        copy=False,
        ondelete="set null",
    )
    # On an archived account: when another audience replaced its own, by Mailchimp's
    # clock, and whether what was said in its own up to then still has to be read.
    replaced_at = fields.Datetime(string="Replaced on", readonly=True, copy=False)
    is_last_reading_due = fields.Boolean(readonly=True, copy=False)

    def _replaced_by(self, account):
        """Note that this account was replaced by ``account``, with another audience."""
        self.ensure_one()
        waiting = [row for row in self._opt_outs_to_send() if row.status]
        if waiting:
            account.sudo()._message_log(
                body=self.env._(
                    "Opt-outs that were not delivered to the previous audience"
                    " %(name)s: %(count)s. Nothing more is sent there: archive these"
                    " members in Mailchimp by hand before you send it another campaign."
                    " The do-not-email list names them.",
                    name=self.audience_name,
                    count=len(waiting),
                )
            )
        self.sudo().write(
            {"replaced_at": self._mailchimp_now(), "is_last_reading_due": True}
        )
        account.sudo().former_id = self

    def _formers(self):
        """Return the accounts of the audiences before this one, latest first."""
        found, account = self.browse(), self.with_context(active_test=False)
        while (account := account.former_id) and account not in found:
            found += account
        return found
