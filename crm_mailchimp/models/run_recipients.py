import logging
import time
from datetime import timedelta

from odoo import fields, models

from ..engine import errors, report_calls, stats
from .crm_mailchimp_campaign import differs
from .run_stats import NOT_OURS

_logger = logging.getLogger(__name__)

# A first import of many years goes on for hours: new campaigns do not wait for it.
LIST_AGAIN = timedelta(hours=1)
# So many campaigns in a row that cannot be read are no trouble of each any more.
IN_A_ROW = 5
# Part of a report -> the totals of the campaign that tell whether it has news.
PARTS = {
    "links": ("clicks_total", "clicks_unique"),
    "variants": ("sent", "opens_total", "clicks_total", "bounces", "unsubscribed"),
    "activity": ("opens_total", "clicks_total", "bounces"),
    "sent_to": ("sent",),
    "unsubscribed": ("unsubscribed",),
    "complaints": ("complaints",),
}
PAGED = ("sent_to", "activity")
# Pages are kept this often: a commit for each would cost as much as storing it.
KEEP_SECONDS = 1
# Entries of a page that is not halved any more when Mailchimp comes to no end with it.
SMALLEST_PAGE = 10


class CrmMailchimpRun(models.Model):
    """The last phase of a stats run: recipients and events of campaigns that are due.

    A campaign whose report cannot be read is its own trouble: it is tried again later
    and later, and the others go on.

    The cursor names the campaign, the part of its report and how many entries of it
    are done, and is committed with what they brought: a run that was killed, or a page
    that failed, goes on from there. Repeating a page changes nothing.
    """

    _inherit = "crm.mailchimp.run"

    def _stats_recipients(self, gateway, deadline):
        """Read campaigns that are due, the latest first."""
        self._read_next_campaign(gateway, deadline)
        if (self.cursor or {}).get("campaign"):
            return None
        now = fields.Datetime.now()
        if self._due_campaigns(leaves=True):
            return "campaigns" if now - self._listed_on() > LIST_AGAIN else None
        if self.env["crm.mailchimp.campaign"].search_count(
            [
                ("account_id", "=", self.account_id.id),
                ("next_poll", ">", self._listed_on()),
                ("next_poll", "<=", now),
            ],
            limit=1,
        ):
            # Somebody asked for one meanwhile.
            return "campaigns"
        self.env["crm.mailchimp.recipient"]._match(self.account_id)
        self.env["crm.mailchimp.recipient.event"]._note_in_chatter(self)
        return "done"

    def _read_next_campaign(self, gateway, deadline):
        """Go on with the campaign of the cursor, or begin with the next."""
        cursor = self.cursor or {}
        campaign = self.env["crm.mailchimp.campaign"].browse(cursor.get("campaign"))
        campaign = campaign.exists() or self._due_campaigns(leaves=True)[:1]
        if not campaign:
            self._set_cursor(campaign=None, part=None, offset=None)
            return
        if cursor.get("campaign") != campaign.id:
            began = fields.Datetime.to_string(fields.Datetime.now())
            fresh = dict.fromkeys(("part", "offset", "failed", "shrunk"))
            self._set_cursor(campaign=campaign.id, began=began, **fresh)
        if self._was_unanswered():
            # Is Mailchimp there at all? Asked first: afterwards no time may be left.
            gateway.root()
        failure = None
        try:
            if not self._read_parts(gateway, campaign, deadline):
                return
            failed = self.cursor.get("failed") or {}
            campaign._finish_reading(failed)
            self.env.flush_all()
            failure = next(iter(failed.values()), None)
        except NOT_OURS:
            raise
        except Exception:
            # A fault of ours, or of another add-on, is that campaign's, too.
            self.env.cr.rollback()
            self._note_fault(campaign, campaign.campaign_ref)
        self._set_cursor(
            **dict.fromkeys(("campaign", "part", "offset", "began", "failed", "shrunk"))
        )
        self._note_failure(failure)

    def _read_parts(self, gateway, campaign, deadline):
        """Read what changed of a campaign.

        :return: ``False`` when the time is over before all is read
        """
        names = list(PARTS)
        start = (self.cursor or {}).get("part")
        for part in names[names.index(start) if start else 0 :]:
            failed = self.cursor.get("failed") or {}
            if part in failed or not campaign._has_news(part):
                continue
            if self.cursor.get("part") != part:
                self._set_cursor(part=part, offset=None)
            try:
                if not self._read_part(gateway, campaign, part, deadline):
                    return False
                campaign._note_reading(part, self.cursor["began"])
            except errors.MailchimpError as error:
                # What is known stays, and the other parts may be there.
                failure = self._own_failure(campaign, error)
                if failure == "unanswered" and campaign._shrink_pages(part):
                    # From where it stopped, with less to ask for at once.
                    self._set_cursor(shrunk=True)
                    self._pause()
                    if time.monotonic() >= deadline:
                        return False
                    return self._read_parts(gateway, campaign, deadline)
                self._set_cursor(failed={**failed, part: failure})
                self._pause()
                if time.monotonic() >= deadline:
                    return False
            self._pause()
        return True

    # === WHAT CANNOT BE READ === #

    def _own_failure(self, campaign, error):
        """Return how a campaign failed if that is nothing but its own trouble.

        Mailchimp refuses single reports, and comes to no end with others for days. What
        is not answered is tried once more from where it stopped, with the whole run:
        that is how most of it passes.

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
        if not passing or overloaded or not self._was_unanswered():
            raise error
        return "unanswered"

    def _was_unanswered(self):
        """Tell whether Mailchimp did not answer before what is asked for now."""
        return bool(self.attempts or (self.cursor or {}).get("shrunk"))

    def _note_failure(self, failure):
        """Count a campaign that could not be read; stop when it is not that one's.

        :param failure: as of :meth:`_own_failure`, or ``None`` for one that was read
        """
        if failure:
            self._count(campaigns_failed=1)
        in_a_row = (self.cursor or {}).get("in_a_row", 0) + 1
        # Reports that are not there say nothing about others.
        over = failure not in (None, "missing") and in_a_row >= IN_A_ROW
        if failure != "missing":
            self._set_cursor(in_a_row=in_a_row if failure and not over else None)
        self._pause()
        if over:
            kind = errors.Forbidden if failure == "refused" else errors.Retryable
            raise kind("The reports of several campaigns in a row.", path="/reports")

    def _kept(self, pages):
        """Yield pages; what was stored of them is kept when the next one fails."""
        try:
            yield from pages
        except errors.MailchimpError:
            self._pause()
            raise

    def _read_part(self, gateway, campaign, part, deadline):
        offset = self.cursor.get("offset", 0)
        since = campaign._activity_since() if part == "activity" else None
        collected, kept = [], time.monotonic()
        pages = gateway.report_part(
            part,
            campaign.campaign_ref,
            offset=offset,
            since=since,
            count=campaign._page_size(),
        )
        whole = part in ("links", "variants")
        # What to write is made of a page while the one before it is being written.
        pages = (
            (page if whole else stats.people(part, page, since), len(page), more)
            for page, more in pages
        )
        for page, length, more in self._kept(gateway.ahead(pages, deadline)):
            if whole:
                collected += page
                continue
            new = self.env["crm.mailchimp.recipient"]._import_page(campaign, page)
            self._count(events=new, read=length if part in PAGED else 0)
            offset += length
            self._set_cursor(offset=offset)
            over = time.monotonic() >= deadline
            if over or not more or time.monotonic() - kept >= KEEP_SECONDS:
                self._pause()
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


class CrmMailchimpCampaign(models.Model):
    """What was read of a campaign, and when to look again."""

    _inherit = "crm.mailchimp.campaign"

    # ``read_marks`` has, by part, the totals at its last reading; further ``activity``
    # readings begin at ``since``. ``last_id`` is the last recipient of those the
    # campaign was sent to; ``again`` asks for a whole reading; ``grown`` is when an
    # ongoing campaign was last seen to be sent to somebody; ``page`` is how many
    # entries are asked for at once where Mailchimp was seen to come to no end.

    def _set_marks(self, **values):
        marks = dict(self.read_marks or {}, **values)
        self.read_marks = {k: v for k, v in marks.items() if v is not None}

    def _page_size(self):
        return (self.read_marks or {}).get("page") or report_calls.RECIPIENT_PAGE

    def _shrink_pages(self, part):
        """Ask for half as many entries at once from now on.

        Mailchimp comes to no end with the pages of some campaigns, and does with
        smaller ones.

        :return: ``False`` when they cannot be smaller
        """
        size = min(self._page_size(), self.sent) // 2
        if part in report_calls.UNPAGED or size < SMALLEST_PAGE:
            return False
        self._set_marks(page=size)
        return True

    def _mark(self, part):
        return [self[name] for name in PARTS[part]]

    def _has_news(self, part):
        """Tell whether a part of the report holds anything that was not read yet."""
        if part == "variants" and self.campaign_type != "variate":
            return False
        marks = self.read_marks or {}
        if part == "activity" and marks.get("again"):
            return True
        mark = self._mark(part)
        return any(mark) and marks.get(part) != mark

    def _pages_to_read(self):
        """Return the number of entries in the long parts that are to be read."""
        return self.sent * sum(self._has_news(part) for part in PAGED)

    def _note_reading(self, part, began):
        marks = {part: self._mark(part)}
        if part == "sent_to":
            last = self.env["crm.mailchimp.recipient"].search(
                [("campaign_id", "=", self.id)], order="id desc", limit=1
            )
            marks["last_id"] = last.id or None
        if part == "activity":
            whole = not self._activity_since()
            marks.update(since=began, again=None, whole=whole or None)
        self._set_marks(**marks)

    def _activity_since(self):
        """Return the time after which events are to be read; ``None`` for all.

        All of them when some are missing that Mailchimp counts, and for a campaign
        that is read every week only: what came late or was passed over comes then.
        """
        marks = self.read_marks or {}
        interval = self._poll_interval()
        if not marks.get("since") or marks.get("again"):
            return None
        if not interval or interval > stats.DAY:
            return None
        return fields.Datetime.to_datetime(marks["since"]) - stats.OVERLAP

    def _finish_reading(self, failed=()):
        """Match contacts, count what is accounted for, and decide when to come again.

        :param failed: how parts of the report failed, by part

        If after a reading of the latest events more is missing than before, one of an
        older time was passed over: the next reading is of all.
        """
        Recipient = self.env["crm.mailchimp.recipient"]
        Recipient._match(self.account_id, self)
        marks = self.read_marks or {}
        if marks.get("last_id") and not self._is_ongoing():
            Recipient._join_renamed(self, marks["last_id"])
        accounted = Recipient._account_for(self)
        if accounted != self.accounted:
            self.accounted = accounted
        missing = [self.opens_unattributed, self.clicks_unattributed]
        if "since" in marks and "activity" not in failed:
            more = any(
                now > before
                for now, before in zip(
                    missing, marks.get("missing") or missing, strict=True
                )
            )
            again = more and not marks.get("whole") or None
            if missing != marks.get("missing") or again != marks.get("again"):
                self._set_marks(missing=missing, again=again)
        if not self.recipients_date and ("sent_to" in marks or not self.sent):
            self.recipients_date = fields.Datetime.now()
        self._count_variants()
        if failed:
            self._postpone(next(iter(failed.values())))
        else:
            self._schedule_poll()

    def _is_ongoing(self):
        """Tell whether the campaign goes on sending to single contacts."""
        return self.campaign_type in ("automation", "auto") or (
            self.campaign_type == "rss" and not self.parent_id
        )

    def _grown(self):
        return fields.Datetime.to_datetime((self.read_marks or {}).get("grown"))

    def _poll_interval(self):
        now = fields.Datetime.now()
        return stats.poll_interval(
            self.send_time, now, self._grown(), self._is_ongoing()
        )

    def _postpone(self, failure):
        """Note that the campaign cannot be read, and decide when to try again."""
        failures = self.failures + 1
        self.write(
            {
                "failure": failure,
                "failures": failures,
                "next_poll": stats.next_try(
                    fields.Datetime.now(), failures, bool(self._poll_interval())
                ),
            }
        )

    def _schedule_poll(self):
        """Decide when to read campaigns again of which everything was read."""
        self.filtered("failures").write({"failure": False, "failures": 0})
        for campaign in self:
            campaign.next_poll = stats.next_poll(
                campaign.send_time or campaign.create_date,
                fields.Datetime.now(),
                campaign._grown(),
                campaign._is_ongoing(),
            )

    def _store_links(self, links):
        self._store_lines(self.link_ids, "link_ref", links)

    def _store_variants(self, variants):
        self._store_lines(self.variant_ids, "variant_ref", variants)

    def _store_lines(self, lines, key, wanted):
        """Create and change links or variants; those that vanished stay."""
        known = {line[key]: line for line in lines}
        new = []
        for ref, vals in wanted.items():
            if ref not in known:
                new.append({**vals, key: ref, "campaign_id": self.id})
            elif differs(known[ref], vals):
                known[ref].write(vals)
        if new:
            lines.create(new)

    def _count_variants(self):
        """Count whom the groups of an old A/B test were sent to: no report tells."""
        if self.campaign_type != "absplit":
            return
        counts = dict(
            self.env["crm.mailchimp.recipient"]._read_group(
                [("campaign_id", "=", self.id), ("variant", "!=", False)],
                ["variant"],
                ["__count"],
            )
        )
        for variant in self.variant_ids:
            sent = counts.get(variant.variant_ref, 0)
            delivered = sent - variant.bounces
            vals = {
                "sent": sent,
                "open_rate": variant.opens_unique / delivered if delivered > 0 else 0.0,
                "click_rate": (
                    variant.clicks_unique / delivered if delivered > 0 else 0.0
                ),
            }
            if differs(variant, vals):
                variant.write(vals)
