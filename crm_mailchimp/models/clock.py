from datetime import timedelta

from odoo import api, fields, models
from odoo.tools import format_datetime

# Seconds of skew above which users are told; less may be the network's delay.
TOLERANCE = 120
# Seconds; a smaller change of the skew is not stored: a quiet run writes nothing.
UNSTEADY = 5


def short_moment(env, value):
    """Format a time for people: to the minute, in the user's time zone.

    :param value: naive datetime in UTC, or nothing
    """
    return format_datetime(env, value, tz=str(env.tz), dt_format="short")


class CrmMailchimpAccount(models.Model):
    """One clock: times that are compared with each other are all Mailchimp's.

    Mailchimp states its time in each reply. If Odoo's clock were fast, an opt-in dated
    by it would override an unsubscribe made minutes later.
    """

    _inherit = "crm.mailchimp.account"

    clock_skew = fields.Integer(
        string="Odoo's clock is ahead by (s)",
        readonly=True,
        copy=False,
        help="Seconds between Odoo's clock and Mailchimp's, negative when Odoo's is "
        "slow. Opt-in times use Mailchimp's clock.",
    )
    clock_message = fields.Char(compute="_compute_clock_message")

    def _note_clock(self, gateway):
        """Remember how far Odoo's clock is from Mailchimp's.

        :param gateway: a gateway that has received a reply
        """
        skew = round((fields.Datetime.now() - gateway.clock()).total_seconds())
        known = (self.clock_skew, self._known_skew())
        if any(abs(skew - seconds) > UNSTEADY for seconds in known):
            # Mailchimp's clock is the same for all accounts, archived ones included.
            everybody = self.sudo().with_context(active_test=False)
            everybody.search([("company_id", "!=", False)]).clock_skew = skew

    @api.model
    def _mailchimp_now(self):
        """Return the time by Mailchimp's clock, without asking it.

        :return: naive UTC datetime
        """
        return fields.Datetime.now() - timedelta(seconds=self._known_skew())

    @api.model
    def _known_skew(self):
        """Return the skew in seconds; the oldest account always gets the latest one."""
        accounts = self.sudo().with_context(active_test=False)
        oldest = accounts.search_fetch([], ["clock_skew"], limit=1, order="id")
        return oldest.clock_skew

    @api.depends("clock_skew")
    def _compute_clock_message(self):
        for account in self:
            minutes = round(abs(account.clock_skew) / 60)
            account.clock_message = abs(account.clock_skew) > TOLERANCE and (
                self.env._(
                    "Odoo's clock is %(minutes)s min ahead of Mailchimp's. Ask your "
                    "administrator to set the server's clock.",
                    minutes=minutes,
                )
                if account.clock_skew > 0
                else self.env._(
                    "Odoo's clock is %(minutes)s min behind Mailchimp's. Ask your "
                    "administrator to set the server's clock.",
                    minutes=minutes,
                )
            )
