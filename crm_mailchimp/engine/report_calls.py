"""The calls of :class:`.gateway.Gateway` about campaigns and their reports."""

from collections.abc import Iterator
from datetime import datetime

from .calls import Calls
from .vocabulary import Json

CAMPAIGN_PAGE = 1000
REPORT_PAGE = 200
#: Pages of 1000 recipients run into Mailchimp's time limit (support advised 500).
RECIPIENT_PAGE = 500

#: Part of a report -> (call of the SDK, key of its list, wanted keys of an entry).
PARTS: dict[str, tuple[str, str, tuple[str, ...] | None]] = {
    "sent_to": (
        "get_campaign_recipients",
        "sent_to",
        ("email_id", "email_address", "status", "absplit_group"),
    ),
    "activity": (
        "get_email_activity_for_campaign",
        "emails",
        ("email_id", "email_address", "activity"),
    ),
    "unsubscribed": (
        "get_unsubscribed_list_for_campaign",
        "unsubscribes",
        ("email_id", "email_address", "timestamp", "reason"),
    ),
    "complaints": (
        "get_campaign_abuse_reports",
        "abuse_reports",
        ("email_id", "email_address", "date"),
    ),
    "links": ("get_campaign_click_details", "urls_clicked", None),
    "variants": ("get_sub_reports_for_campaign", "reports", None),
}
#: These come in one piece, without pages.
UNPAGED = ("complaints", "variants")


class ReportCalls(Calls):
    """What the gateway can ask about campaigns."""

    def campaigns(
        self,
        ref: str,
        *,
        since: datetime | None = None,
        status: str | None = None,
        count: int = CAMPAIGN_PAGE,
    ) -> Iterator[list[Json]]:
        """Yield pages (lists) of the campaigns of an audience, the latest first.

        Automations are not among them: only :meth:`reports` has those.

        :param since: datetime (UTC, or with its zone); only campaigns sent after it
        :param status: ``sent``, ``sending`` and so on; every status if ``None``
        """
        for items, _reply in self._pages(
            "campaigns",
            self._campaigns.list,
            list_id=ref,
            since_send_time=since,
            status=status,
            sort_field="send_time",
            sort_dir="DESC",
            count=count,
            exclude_fields=["campaigns._links"],
        ):
            yield items

    def campaign(self, ref: str) -> Json:
        """Return one campaign, even one that is not listed."""
        return self._campaigns.get(ref, exclude_fields=["_links"])

    def reports(
        self,
        *,
        since: datetime | None = None,
        count: int = REPORT_PAGE,
        fields: str | list[str] | None = None,
        offset: int = 0,
    ) -> Iterator[list[Json]]:
        """Yield pages (lists) of the reports of all campaigns, automations included.

        The listing cannot be limited to an audience: check ``list_id``. Large pages of
        reports run into Mailchimp's time limit.

        :param since: datetime (UTC, or with its zone); only campaigns sent after it
        :param fields: names such as ``reports.id``, in a list or separated by commas;
            everything if ``None``
        :param offset: how many to skip
        """
        if isinstance(fields, str):
            fields = fields.split(",")
        for items, _reply in self._pages(
            "reports",
            self._reports.get_all_campaign_reports,
            since_send_time=since,
            count=count,
            fields=fields and sorted({"total_items", *fields}),
            start=offset,
        ):
            yield items

    def report(self, campaign: str) -> Json:
        """Return the report of a campaign; its open and click rates are 0 to 1."""
        return self._reports.get_campaign_report(campaign, exclude_fields=["_links"])

    def report_part(
        self,
        part: str,
        campaign: str,
        *,
        offset: int = 0,
        since: datetime | None = None,
        count: int | None = None,
    ) -> Iterator[tuple[list[Json], bool]]:
        """Yield ``(entries, whether more follow)`` per page: who did what, or links.

        :param part: a key of :data:`PARTS`
        :param offset: how many entries to skip
        :param since: with ``activity``: datetime (UTC, or with its zone); only events
            after it. Recipients without any may or may not be listed.
        :param count: entries per page, :data:`RECIPIENT_PAGE` by default
        """
        method, key, wanted = PARTS[part]
        options: Json = {"start": offset}
        if wanted:
            names = (f"{key}.{name}" for name in wanted)
            options["fields"] = sorted(["total_items", *names])
        else:
            options["exclude_fields"] = [f"{key}._links", "_links"]
        if since:
            options["since"] = since
        call = getattr(self._reports, method)
        if part in UNPAGED:
            options.pop("start")
            yield self._whole(key, call, campaign, **options), False
            return
        for items, reply in self._pages(
            key, call, campaign, count=count or RECIPIENT_PAGE, **options
        ):
            offset += len(items)
            total = reply.get("total_items")
            yield items, bool(items) and (total is None or offset < total)
