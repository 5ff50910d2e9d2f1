from odoo import fields

from ..engine import errors, stats
from .campaigns import CampaignPhase

REPORT_FIELDS = ",".join(
    f"reports.{name}"
    for name in (
        *("id", "campaign_title", "type", "list_id", "subject_line", "emails_sent"),
        *("abuse_reports", "unsubscribed", "send_time", "bounces"),
        *("opens", "clicks", "industry_stats", "list_stats", "timeseries"),
        "ab_split",
    )
)


class TotalsImport(CampaignPhase):
    """Read the totals of campaigns that are due, or of all if somebody asked.

    Automations are not among the campaigns Mailchimp lists, only among its reports, so
    the reports of the last three months are always gone through. A campaign whose
    totals changed is due for its recipients, too.
    """

    def work(self):
        self.everything = self._wants_everything()
        since = None if self.everything else fields.Datetime.now() - stats.FOLLOW
        if not self._read_listing(since):
            return None
        if not self.everything and not self._read_single_reports(since):
            return None
        # A parent's recipients are its children's, so the parent itself is done.
        self.due_campaigns().filtered("child_ids")._schedule_poll()
        self.set_cursor(report_offset=None, everything=None, single=None)
        to_read = sum(
            campaign._entries_to_read() for campaign in self.due_campaigns(leaves=True)
        )
        counters = dict(self.run.counters or {}, campaigns=len(self.known))
        self.run.counters = dict(
            counters, to_read=counters.get("read", 0) + to_read if to_read else 0
        )
        return "recipients"

    def _wants_everything(self):
        """Return whether to read all totals, however old: at first, or when asked."""
        everything = self.cursor.everything
        if everything is None:
            everything = not any(c.report_date for c in self.known.values())
            self.set_cursor(everything=everything)
        return everything

    def _read_listing(self, since):
        """Read the listing of reports, which covers all audiences.

        :return: whether its end was reached in time
        """
        offset = self.cursor.report_offset
        for page in self.gateway.reports(
            since=since, fields=REPORT_FIELDS, offset=offset
        ):
            for report in stats.identified(page):
                if report.get("list_id") == self.account.audience_ref:
                    self.alone(self._store_report, report)
            offset += len(page)
            self.set_cursor(report_offset=offset)
            self.store_parents()
            self.checkpoint()
            if page and self.is_over():
                return False
        return True

    def _store_report(self, report):
        """Store the totals of a campaign, and decide when to look again."""
        now = fields.Datetime.now()
        campaign = self.known.get(report["id"]) or self._store_unlisted(report)
        due = campaign.next_poll and campaign.next_poll <= self.listed_on()
        if not due and not self.everything and not campaign.failures:
            return
        vals = stats.totals(report, {name: campaign[name] for name in stats.TOTALS})
        if campaign._differs(vals) or not campaign.report_date:
            vals["report_date"] = now
            if not due and self.everything:
                vals["next_poll"] = self.listed_on()
            if campaign._is_ongoing() and vals["sent"] > campaign.sent:
                campaign._set_marks(grown=fields.Datetime.to_string(now))
            campaign.write(vals)
        elif not due and self.everything and not campaign.recipients_date:
            campaign.next_poll = self.listed_on()
        if report.get("ab_split"):
            campaign._store_variants(stats.variants(report, (), campaign.test_settings))
        self.count(reports=1)

    def _store_unlisted(self, report):
        """Store a campaign that only its report shows, such as an automation."""
        try:
            # The listing has no automations; this call shows their parent.
            remote = self.gateway.campaign(report["id"])
        except errors.REFUSED:
            # The report says enough about it.
            remote = None
        if remote:
            self.store_listed(remote)
        vals = stats.reported(report)
        if remote and remote.get("status") not in stats.NOT_SENT:
            vals = {}
        return self.store_campaign(report["id"], vals)

    def _read_single_reports(self, since):
        """Read the reports of due campaigns that the listing of three months lacks.

        :return: whether all were read in time
        """
        after = self.cursor.single
        for campaign in self.due_campaigns().sorted("id"):
            was_listed = campaign.send_time and campaign.send_time > since
            if campaign.id <= after or campaign.report_date and was_listed:
                continue
            failure = None
            try:
                report = self.gateway.report(campaign.campaign_ref)
            except errors.MailchimpError as error:
                # Not there yet, or deleted in Mailchimp: what is known stays. The
                # listing of reports has just shown that Mailchimp itself is there.
                failure = self.own_failure(campaign, error)
                campaign._postpone(failure)
            else:
                self.alone(self._store_report, report)
            self.note_failure(failure)
            self.set_cursor(single=campaign.id)
            self.checkpoint()
            if self.is_over():
                return False
        return True
