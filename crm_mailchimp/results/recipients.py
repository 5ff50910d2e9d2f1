import time
from datetime import timedelta

from odoo import fields

from ..engine import activity, errors, stats
from .phase import NOT_OURS, ResultsPhase

# A first import of many years takes hours: new campaigns do not wait for it.
LIST_AGAIN = timedelta(hours=1)
# Pages are committed this often: a commit for each would cost as much as storing it.
KEEP_SECONDS = 1


class RecipientImport(ResultsPhase):
    """Read recipients and events of campaigns that are due, the latest first.

    The cursor names the campaign, the part of its report and how many entries of it are
    done, and is committed with what they brought: after a run was killed or a page
    failed, it goes on from there. Repeating a page changes nothing.
    """

    def work(self):
        self._read_next_campaign()
        if self.cursor.campaign:
            return None
        now = fields.Datetime.now()
        if self.due_campaigns(leaves=True):
            return "campaigns" if now - self.listed_on() > LIST_AGAIN else None
        if self._is_asked_for_more(now):
            return "campaigns"
        self.env["crm.mailchimp.recipient"]._match(self.account)
        self.env["crm.mailchimp.recipient.event"]._note_in_chatter(self.run)
        return "done"

    def _is_asked_for_more(self, now):
        """Return whether a campaign became due since the listing."""
        return self.env["crm.mailchimp.campaign"].search_count(
            [
                ("account_id", "=", self.account.id),
                ("next_poll", ">", self.listed_on()),
                ("next_poll", "<=", now),
            ],
            limit=1,
        )

    def _read_next_campaign(self):
        """Continue with the campaign of the cursor, or begin the next."""
        campaign = self.env["crm.mailchimp.campaign"].browse(self.cursor.campaign)
        campaign = campaign.exists() or self.due_campaigns(leaves=True)[:1]
        if not campaign:
            self.set_cursor(campaign=None, part=None, offset=None)
            return
        if self.cursor.campaign != campaign.id:
            began = fields.Datetime.to_string(fields.Datetime.now())
            fresh = dict.fromkeys(("part", "offset", "failed", "shrunk"))
            self.set_cursor(campaign=campaign.id, began=began, **fresh)
        if self.was_unanswered():
            # Is Mailchimp there at all? Asked first, as no time may be left afterwards.
            self.gateway.root()
        failure = None
        try:
            if not self._read_parts(campaign):
                return
            failed = self.cursor.failed
            campaign._finish_reading(failed)
            self.env.flush_all()
            failure = next(iter(failed.values()), None)
        except NOT_OURS:
            raise
        except Exception:
            # A fault of ours, or of another add-on, counts as that campaign's, too.
            self.env.cr.rollback()
            self.note_fault(campaign, campaign.campaign_ref)
        self.set_cursor(
            **dict.fromkeys(("campaign", "part", "offset", "began", "failed", "shrunk"))
        )
        self.note_failure(failure)

    def _read_parts(self, campaign):
        """Read the parts of a campaign's report that have news.

        :return: whether everything was read in time
        """
        names = list(stats.READ_FOR)
        start = self.cursor.part
        for part in names[names.index(start) if start else 0 :]:
            failed = self.cursor.failed
            if part in failed or not campaign._has_news(part):
                continue
            if self.cursor.part != part:
                self.set_cursor(part=part, offset=None)
            try:
                if not self._read_part(campaign, part):
                    return False
                campaign._note_reading(part, self.cursor.began)
            except errors.MailchimpError as error:
                # What is known stays, and the other parts may be readable.
                failure = self.own_failure(campaign, error)
                if failure == "unanswered" and campaign._shrink_pages(part):
                    # Go on from where it stopped, asking for less at once.
                    self.set_cursor(shrunk=True)
                    self.checkpoint()
                    return not self.is_over() and self._read_parts(campaign)
                self.set_cursor(failed={**failed, part: failure})
                self.checkpoint()
                if self.is_over():
                    return False
            self.checkpoint()
        return True

    def _read_part(self, campaign, part):
        """Read one part of a report, page by page.

        :return: whether its end was reached in time
        """
        offset = self.cursor.offset
        since = campaign._activity_since() if part == "activity" else None
        collected, kept = [], time.monotonic()
        pages = self.gateway.report_part(
            part,
            campaign.campaign_ref,
            offset=offset,
            since=since,
            count=campaign._page_size(),
        )
        whole = part in ("links", "variants")
        # A page is made ready for writing while the one before it is being written.
        pages = (
            (page if whole else activity.people(part, page, since), len(page), more)
            for page, more in pages
        )
        for page, length, more in self._kept(self.gateway.ahead(pages, self.deadline)):
            if whole:
                collected += page
                continue
            new = self.env["crm.mailchimp.recipient"]._import_page(campaign, page)
            self.count(events=new, read=length if part in stats.PAGED else 0)
            offset += length
            self.set_cursor(offset=offset)
            over = self.is_over()
            if over or not more or time.monotonic() - kept >= KEEP_SECONDS:
                self.checkpoint()
                kept = time.monotonic()
            if more and over:
                return False
        if part == "links":
            campaign._store_links(stats.links(collected))
        elif part == "variants":
            campaign._store_variants(
                stats.variants({}, collected, campaign.test_settings)
            )
        return True

    def _kept(self, pages):
        """Yield pages; if the next one fails, what was stored of them is kept."""
        try:
            yield from pages
        except errors.MailchimpError:
            self.checkpoint()
            raise
