import logging

from odoo import fields
from odoo.service.model import PG_CONCURRENCY_EXCEPTIONS_TO_RETRY

from ..engine import errors
from ..sync.phase import OutOfTime, Phase

_logger = logging.getLogger(__name__)

# Errors that are about more than the campaign that was being stored.
NOT_OURS = (errors.MailchimpError, OutOfTime, *PG_CONCURRENCY_EXCEPTIONS_TO_RETRY)
# This many unreadable campaigns in a row are more than each one's own trouble.
IN_A_ROW = 5


class ResultsPhase(Phase):
    """A phase of the import: which campaigns are due, and what a failure means.

    A campaign that cannot be read or stored is only its own trouble: it is tried again,
    at growing intervals, and the others carry on.
    """

    def listed_on(self):
        """Return when the campaigns were listed: "due" means due by then."""
        return fields.Datetime.to_datetime(self.cursor.listed)

    def due_campaigns(self, leaves=False):
        """Return the campaigns that were due when they were listed.

        :param leaves: only those with a report and without children: a parent's
            recipients are its children's, and would count twice on the contact
        """
        domain = [
            ("account_id", "=", self.account.id),
            ("next_poll", "<=", self.listed_on()),
        ]
        if leaves:
            domain += [("child_ids", "=", False), ("report_date", "!=", False)]
        return self.env["crm.mailchimp.campaign"].search(domain)

    # === FAILURES === #

    def own_failure(self, campaign, error):
        """Return how a campaign failed, if that is only its own trouble.

        Mailchimp refuses some reports, and does not complete others for days. If there
        is no answer, the whole run is first tried again from where it stopped, which
        settles most cases.

        :return: a value of the campaign's ``failure``
        :raise MailchimpError: the error, if it is about more than this campaign
        """
        _logger.info("Report of campaign %s: %s", campaign.campaign_ref, error)
        if isinstance(error, errors.NotFound):
            return "missing"
        if isinstance(error, errors.REFUSED):
            return "refused"
        overloaded = error.status == 429
        passing = isinstance(error, errors.PASSING)
        if not passing or overloaded or not self.was_unanswered():
            raise error
        return "unanswered"

    def was_unanswered(self):
        """Return whether Mailchimp left the previous try unanswered."""
        return bool(self.run.attempts or self.cursor.shrunk)

    def note_failure(self, failure):
        """Count a campaign that could not be read; stop if it is not just that one.

        :param failure: what :meth:`own_failure` returned; ``None`` if it was read
        :raise MailchimpError: after several failures in a row
        """
        if failure:
            self.count(campaigns_failed=1)
        in_a_row = self.cursor.in_a_row + 1
        # Missing reports say nothing about others.
        over = failure not in (None, "missing") and in_a_row >= IN_A_ROW
        if failure != "missing":
            self.set_cursor(in_a_row=in_a_row if failure and not over else None)
        self.checkpoint()
        if over:
            kind = errors.Forbidden if failure == "refused" else errors.Retryable
            raise kind("The reports of several campaigns in a row.", path="/reports")

    def note_fault(self, campaign, ref):
        """Note a campaign that Odoo cannot store; call it in an ``except`` block.

        :param campaign: its record, if there is one
        :param str ref: its id in Mailchimp
        """
        _logger.warning("Campaign %s cannot be stored", ref, exc_info=True)
        self.count(campaigns_failed=1)
        if campaign:
            campaign._postpone("fault")
