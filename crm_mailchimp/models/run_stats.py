import logging
import time

from odoo import fields, models
from odoo.service.model import PG_CONCURRENCY_EXCEPTIONS_TO_RETRY

from ..engine import errors, stats
from .crm_mailchimp_campaign import NOT_SENT, differs
from .crm_mailchimp_run import OutOfTime

_logger = logging.getLogger(__name__)

# What is about more than the campaign that was being stored.
NOT_OURS = (errors.MailchimpError, OutOfTime, *PG_CONCURRENCY_EXCEPTIONS_TO_RETRY)

REPORT_FIELDS = ",".join(
    f"reports.{name}"
    for name in (
        *("id", "campaign_title", "type", "list_id", "subject_line", "emails_sent"),
        *("abuse_reports", "unsubscribed", "send_time", "bounces", "forwards"),
        *("opens", "clicks", "industry_stats", "list_stats", "timeseries"),
        "ab_split",
    )
)


class CrmMailchimpRun(models.Model):
    """Runs of kind *stats*: campaigns of the audience, their totals, their recipients.

    *campaigns* lists them, *reports* reads the totals of those that are due
    (``next_poll``), *recipients* what came of them down to the contact, page by page
    (see :mod:`run_recipients`); the cursor holds where it stopped.
    """

    _inherit = "crm.mailchimp.run"

    phase = fields.Selection(
        selection_add=[
            ("campaigns", "Read campaigns"),
            ("reports", "Read results"),
            ("recipients", "Read recipients"),
        ]
    )

    def _phase_stats(self, gateway, deadline):
        """Work on a run of kind *stats* until it is done or the time is over."""
        while True:
            phase = self.phase or "campaigns"
            following = getattr(self, f"_stats_{phase}")(gateway, deadline)
            if following == "done":
                self._end("done")
                return True
            if following:
                self.phase = following
            self._pause()
            if time.monotonic() >= deadline:
                return False

    def _known_campaigns(self):
        campaigns = self.env["crm.mailchimp.campaign"].search(
            [("account_id", "=", self.account_id.id)]
        )
        return {campaign.campaign_ref: campaign for campaign in campaigns}

    # === CAMPAIGNS === #

    def _stats_campaigns(self, gateway, deadline):
        """List the campaigns of the audience: new ones, and how far they are."""
        self._set_cursor(listed=fields.Datetime.to_string(fields.Datetime.now()))
        known, parents = self._known_campaigns(), {}
        listed = set()
        for page in gateway.campaigns(self.account_id.audience_ref):
            for remote in stats.identified(page):
                listed.add(remote["id"])
                self._alone(known, remote, self._store_listed, parents)
            self._pause()
        self._store_parents(known, parents)
        self._forget_deleted_drafts(gateway, known, listed)
        return "reports"

    def _forget_deleted_drafts(self, gateway, known, listed):
        """Delete campaigns that were never sent and are not in Mailchimp any more.

        A listing read page by page can pass over one that moves, so each is looked
        for. What was sent stays: its results are worth keeping. Automations are never
        listed.
        """
        for ref, campaign in list(known.items()):
            if (
                ref in listed
                or campaign.status not in NOT_SENT
                or campaign.report_date
                or campaign._is_ongoing()
            ):
                continue
            try:
                remote = gateway.campaign(ref)
            except errors.NotFound:
                remote = {}
            except errors.REFUSED:
                continue
            audience = (remote.get("recipients") or {}).get("list_id")
            if audience != self.account_id.audience_ref:
                del known[ref]
                campaign.unlink()
        self._pause()

    def _alone(self, known, remote, store, *args):
        """Store one campaign; one that cannot be stored does not keep the others.

        :param known: ``{campaign_ref: campaign}``, which storing may add to
        :param dict remote: the campaign, or its report, as Mailchimp shows it
        :param store: called with ``known``, ``remote`` and ``args``
        """
        before = dict(known)
        try:
            with self.env.cr.savepoint():
                store(known, remote, *args)
                self.env.flush_all()
        except NOT_OURS:
            raise
        except Exception:
            known.clear()
            known.update(before)
            self._note_fault(known.get(remote["id"]), remote["id"])

    def _note_fault(self, campaign, ref):
        """Note a campaign that Odoo cannot store: it is tried again later and later."""
        _logger.warning("Campaign %s cannot be stored", ref, exc_info=True)
        self._count(campaigns_failed=1)
        if campaign:
            campaign._postpone("fault")

    def _store_listed(self, known, remote, parents):
        vals = stats.listed(remote)
        if remote.get("web_id"):
            vals["url"] = self._report_url(remote["web_id"])
        if isinstance(remote.get("parent_campaign_id"), str):
            parents[remote["id"]] = remote["parent_campaign_id"]
        self._store_campaign(known, remote["id"], vals)

    def _store_parents(self, known, parents):
        for ref, parent_ref in parents.items():
            child, parent = known.get(ref), known.get(parent_ref)
            if child and parent and child != parent and child.parent_id != parent:
                child.parent_id = parent

    def _store_campaign(self, known, ref, vals):
        campaign = known.get(ref)
        was_sent = campaign and campaign.status not in NOT_SENT
        if vals.get("status", "save") not in NOT_SENT and not was_sent:
            # Its first reading.
            vals = dict(vals, next_poll=self._listed_on())
        if campaign is None:
            campaign = known[ref] = self.env["crm.mailchimp.campaign"].create(
                dict(vals, account_id=self.account_id.id, campaign_ref=ref)
            )
        elif differs(campaign, vals):
            campaign.write(vals)
        campaign._link_utm()
        return campaign

    def _report_url(self, web_id):
        center = self.account_id.data_center
        return f"https://{center}.admin.mailchimp.com/reports/summary?id={web_id}"

    # === TOTALS === #

    def _stats_reports(self, gateway, deadline):
        """Read the totals of campaigns that are due, or of all if somebody asked.

        Automations are not among the campaigns Mailchimp lists, only among its
        reports, so the reports of the last three months are always gone through. A
        campaign whose totals moved is due for its recipients, too.
        """
        known, parents = self._known_campaigns(), {}
        everything = self._wants_everything(known)
        offset = (self.cursor or {}).get("report_offset", 0)
        since = None if everything else fields.Datetime.now() - stats.FOLLOW
        for page in gateway.reports(since=since, fields=REPORT_FIELDS, offset=offset):
            for report in stats.identified(page):
                if report.get("list_id") == self.account_id.audience_ref:
                    self._alone(
                        known, report, self._store_report, gateway, everything, parents
                    )
            offset += len(page)
            self._set_cursor(report_offset=offset)
            self._store_parents(known, parents)
            self._pause()
            if page and time.monotonic() >= deadline:
                return None
        if not everything and not self._read_single_reports(
            gateway, known, since, deadline
        ):
            return None
        # A parent's recipients are its children's: it is done.
        self._due_campaigns().filtered("child_ids")._schedule_poll()
        self._set_cursor(report_offset=None, everything=None, single=None)
        to_read = sum(
            campaign._pages_to_read() for campaign in self._due_campaigns(leaves=True)
        )
        counters = dict(self.counters or {}, campaigns=len(known))
        self.counters = dict(
            counters, to_read=counters.get("read", 0) + to_read if to_read else 0
        )
        return "recipients"

    def _wants_everything(self, known):
        """Tell whether to read all totals, however old: at first, and when asked."""
        everything = (self.cursor or {}).get("everything")
        if everything is None:
            everything = not any(campaign.report_date for campaign in known.values())
            self._set_cursor(everything=everything)
        return everything

    def _read_everything(self):
        """Let the run read the totals of all campaigns, however old."""
        if self.state in ("queued", "waiting"):
            self._set_cursor(everything=True, report_offset=None)
            self.phase = False

    def _listed_on(self):
        return fields.Datetime.to_datetime(self.cursor["listed"])

    def _due_campaigns(self, leaves=False):
        """Return the campaigns whose time has come when they were listed.

        :param leaves: only those that are no parents: a parent's recipients are its
            children's, and would be counted twice on the contact
        """
        domain = [
            ("account_id", "=", self.account_id.id),
            ("next_poll", "<=", self._listed_on()),
        ]
        if leaves:
            domain += [("child_ids", "=", False), ("report_date", "!=", False)]
        return self.env["crm.mailchimp.campaign"].search(domain)

    def _store_report(self, known, report, gateway, everything, parents):
        """Store the totals of a campaign, and decide when to look again."""
        now = fields.Datetime.now()
        campaign = known.get(report["id"])
        if campaign is None:
            try:
                # The listing has no automations; this call has their parent.
                remote = gateway.campaign(report["id"])
            except errors.REFUSED:
                # The report tells enough of it.
                remote = None
            if remote:
                self._store_listed(known, remote, parents)
            vals = stats.reported(report)
            if remote and remote.get("status") not in NOT_SENT:
                vals = {}
            campaign = self._store_campaign(known, report["id"], vals)
        due = campaign.next_poll and campaign.next_poll <= self._listed_on()
        if not due and not everything and not campaign.failures:
            return
        vals = stats.totals(report, {name: campaign[name] for name in stats.TOTALS})
        moved = differs(campaign, vals)
        if moved or not campaign.report_date:
            vals["report_date"] = now
            if not due and everything:
                vals["next_poll"] = self._listed_on()
            if campaign._is_ongoing() and vals["sent"] > campaign.sent:
                campaign._set_marks(grown=fields.Datetime.to_string(now))
            campaign.write(vals)
        elif not due and everything and not campaign.recipients_date:
            campaign.next_poll = self._listed_on()
        if report.get("ab_split"):
            campaign._store_variants(stats.variants(report, (), campaign.test_settings))
        self._count(reports=1)

    def _read_single_reports(self, gateway, known, since, deadline):
        """Read the reports of due campaigns that the listing of three months lacks.

        :return: ``False`` when the time is over before all are read
        """
        after = (self.cursor or {}).get("single", 0)
        for campaign in self._due_campaigns().sorted("id"):
            if campaign.id <= after:
                continue
            if (
                campaign.report_date
                and campaign.send_time
                and campaign.send_time > since
            ):
                continue
            try:
                report = gateway.report(campaign.campaign_ref)
            except errors.MailchimpError as error:
                # Not there yet, or deleted in Mailchimp: what is known stays. That
                # Mailchimp is there, the listing of reports has just shown.
                failure = self._own_failure(campaign, error)
                campaign._postpone(failure)
                self._note_failure(failure)
            else:
                self._alone(known, report, self._store_report, gateway, False, {})
                self._note_failure(None)
            self._set_cursor(single=campaign.id)
            self._pause()
            if time.monotonic() >= deadline:
                return False
        return True
