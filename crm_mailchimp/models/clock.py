from datetime import timedelta

from odoo import api, fields, models
from odoo.tools import format_datetime

# From so many seconds on, people are told; until then it is the network's delay.
TOLERANCE = 120
# Smaller changes of the skew are not worth a write: a quiet run writes nothing.
UNSTEADY = 5


def short_moment(env, value):
    """Write a time for people: to the minute, in the zone all else is shown in.

    :param value: naive datetime in UTC, or nothing
    """
    return format_datetime(env, value, tz=str(env.tz), dt_format="short")


class CrmMailchimpAccount(models.Model):
    """One clock: every time that is compared with another is a time of Mailchimp's.

    Mailchimp tells its time with each reply. An opt-in of Odoo's clock would make void
    an unsubscribe that came minutes after it, if that clock is fast.
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

        :param gateway: one that has had a reply
        """
        skew = round((fields.Datetime.now() - gateway.clock()).total_seconds())
        known = (self.clock_skew, self._known_skew())
        if any(abs(skew - seconds) > UNSTEADY for seconds in known):
            # Mailchimp's clock is the same for all, also for those that rest.
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
        """Return the skew in seconds: the oldest account has always been told it."""
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
