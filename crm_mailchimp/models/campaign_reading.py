from odoo import fields, models

from ..engine import report_calls, stats
from ..engine.json_columns import ReadMarks

# Smallest number of entries to ask for when Mailchimp never completes larger pages.
SMALLEST_PAGE = 10


class CrmMailchimpCampaign(models.Model):
    """What was read of a campaign, and when to read it again."""

    _inherit = "crm.mailchimp.campaign"

    def _marks(self):
        return ReadMarks.from_json(self.read_marks)

    def _set_marks(self, **values):
        """Change keys of ``read_marks``; ``None`` removes one."""
        self.read_marks = self._marks().changed(**values).to_json()

    def _page_size(self):
        return self._marks().page or report_calls.RECIPIENT_PAGE

    def _shrink_pages(self, part):
        """Ask for half as many entries at once from now on.

        Mailchimp never completes large pages of some campaigns, but it does smaller
        ones.

        :return: ``True``, or ``False`` if pages cannot get any smaller
        """
        size = min(self._page_size(), self.sent) // 2
        if part in report_calls.UNPAGED or size < SMALLEST_PAGE:
            return False
        self._set_marks(page=size)
        return True

    def _mark(self, part):
        return [self[name] for name in stats.READ_FOR[part]]

    def _has_news(self, part):
        """Return whether a part of the report holds anything that was not read yet."""
        if part == "variants" and self.campaign_type != "variate":
            return False
        marks = self._marks()
        if part == "activity" and marks.again:
            return True
        mark = self._mark(part)
        return any(mark) and getattr(marks, part) != mark

    def _entries_to_read(self):
        """Return the number of entries in the long parts that are to be read."""
        return self.sent * sum(self._has_news(part) for part in stats.PAGED)

    def _note_reading(self, part, began):
        marks = {part: self._mark(part)}
        if part == "sent_to":
            last = self.env["crm.mailchimp.recipient"].search(
                [("campaign_id", "=", self.id)], order="id desc", limit=1
            )
            marks["last_id"] = last.id or None
        if part == "activity":
            whole = not self._activity_since()
            marks.update(since=began, again=False, whole=whole)
        self._set_marks(**marks)

    def _activity_since(self):
        """Return the time after which events are to be read; ``None`` for all.

        All are read when some that Mailchimp counts are missing, and for a campaign
        read only once a week: that catches what came late or was skipped.
        """
        marks = self._marks()
        interval = self._poll_interval()
        if not marks.since or marks.again:
            return None
        if not interval or interval > stats.DAY:
            return None
        return fields.Datetime.to_datetime(marks.since) - stats.OVERLAP

    def _finish_reading(self, failed=()):
        """Match contacts, count what is accounted for, and decide when to read again.

        If a reading of the latest events leaves more missing than before, an older
        event was skipped, so the next reading covers all of them.

        :param failed: ``{part: failure}`` for each part of the report that could not be
            read
        """
        Recipient = self.env["crm.mailchimp.recipient"]
        Recipient._match(self.account_id, self)
        marks = self._marks()
        if marks.last_id and not self._is_ongoing():
            Recipient._join_renamed(self, marks.last_id)
        accounted = Recipient._account_for(self)
        if accounted != self.accounted:
            self.accounted = accounted
        missing = [self.opens_unattributed, self.clicks_unattributed]
        if marks.since and "activity" not in failed:
            more = any(
                now > before
                for now, before in zip(missing, marks.missing or missing, strict=True)
            )
            again = more and not marks.whole
            if missing != marks.missing or again != marks.again:
                self._set_marks(missing=missing, again=again)
        if not self.recipients_date and (marks.sent_to is not None or not self.sent):
            self.recipients_date = fields.Datetime.now()
        self._count_variants()
        if failed:
            self._postpone(next(iter(failed.values())))
        else:
            self._schedule_poll()

    def _is_ongoing(self):
        """Return whether the campaign keeps sending, as automations and RSS do."""
        return self.campaign_type in ("automation", "auto") or (
            self.campaign_type == "rss" and not self.parent_id
        )

    def _grown(self):
        return fields.Datetime.to_datetime(self._marks().grown)

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
        """Decide when to read campaigns again whose last reading was complete."""
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
        """Create and update links or variants; those that vanished stay."""
        known = {line[key]: line for line in lines}
        new = []
        for ref, vals in wanted.items():
            if ref not in known:
                new.append({**vals, key: ref, "campaign_id": self.id})
            else:
                known[ref]._write_changes(vals)
        if new:
            lines.create(new)

    def _count_variants(self):
        """Count the recipients of each group of an old A/B test: no report has them."""
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
            variant._write_changes(vals)
