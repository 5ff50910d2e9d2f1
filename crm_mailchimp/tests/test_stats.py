import time
from unittest.mock import patch

from odoo.tests import tagged

from ..engine import stats
from ..models import slices
from .common import long
from .common_stats import StatsCase

try:
    from mailchimp_simulator.routes import reports
except ImportError:  # installed without the repository around it
    reports = None

REACTIONS = {
    **{"opens": 0.5, "clicks": 0.3, "hard_bounces": 0.1, "soft_bounces": 0.1},
    **{"unsubscribes": 0.1, "complaints": 0.1},
}


@tagged("post_install", "-at_install")
class TestStats(StatsCase):
    """Campaigns and their totals in Odoo are Mailchimp's."""

    def ask(self, call, *arguments):
        gateway = self.account._gateway()
        try:
            return getattr(gateway, call)(*arguments)
        finally:
            gateway.close()

    def assert_totals(self, record, report):
        delivered = report["emails_sent"] - sum(report["bounces"].values())
        for field, value in {
            "sent": report["emails_sent"],
            "delivered": delivered,
            "opens_total": report["opens"]["opens_total"],
            "opens_unique": report["opens"]["unique_opens"],
            "open_rate": report["opens"]["open_rate"],
            "opens_total_no_proxy": report["opens"]["proxy_excluded_opens"],
            "opens_unique_no_proxy": report["opens"]["proxy_excluded_unique_opens"],
            "open_rate_no_proxy": report["opens"]["proxy_excluded_open_rate"],
            "clicks_total": report["clicks"]["clicks_total"],
            "clicks_unique": report["clicks"]["unique_subscriber_clicks"],
            "click_rate": report["clicks"]["click_rate"],
            "unsubscribed": report["unsubscribed"],
            "unsubscribe_rate": report["unsubscribed"] / delivered,
            "hard_bounces": report["bounces"]["hard_bounces"],
            "soft_bounces": report["bounces"]["soft_bounces"],
            "complaints": report["abuse_reports"],
            "industry_open_rate": report["industry_stats"]["open_rate"],
            "industry_click_rate": report["industry_stats"]["click_rate"],
            "industry_name": report["industry_stats"]["type"],
            # Percent there, a fraction here.
            "list_open_rate": report["list_stats"]["open_rate"] / 100,
            "list_click_rate": report["list_stats"]["click_rate"] / 100,
        }.items():
            if isinstance(value, float):
                self.assertAlmostEqual(record[field], value, 5, field)
            else:
                self.assertEqual(record[field], value, field)
        self.assertLessEqual(record.open_rate, 1)
        self.assertTrue(record.proxy_known)
        self.assertEqual(len(record.timeseries), 24)
        self.assertEqual(record.timeseries[0]["sent"], record.sent)

    def test_every_type(self):
        campaigns = [
            self.send(type=kind, subject=f"S {kind}", title=f"T {kind}")
            for kind in (
                *("regular", "plaintext", "absplit", "variate", "rss", "automation"),
            )
        ]
        for seed, campaign in enumerate(campaigns):
            self.audience.generate(campaign, seed=seed, **REACTIONS)
        self.push("stats")
        for campaign in campaigns:
            with self.subTest(campaign.type):
                record, report = self.record(campaign), self.ask("report", campaign.id)
                self.assertEqual(record.campaign_type, campaign.type)
                self.assertEqual(record.name, f"T {campaign.type}")
                self.assertEqual(record.subject, f"S {campaign.type}")
                self.assertEqual(record.status, "sent")
                self.assertIn(f"reports/summary?id={campaign.web_id}", record.url)
                self.assert_totals(record, report)
                self.assertEqual(record.recipient_count, len(campaign.recipients))
                opens = sum(record.recipient_ids.mapped("open_count"))
                self.assertEqual(record.opens_total, opens + record.opens_unattributed)
                clicks = sum(record.recipient_ids.mapped("click_count"))
                self.assertEqual(
                    record.clicks_total, clicks + record.clicks_unattributed
                )
        self.assertGreater(self.record(campaigns[0]).opens_unique, 0)

    def test_variants(self):
        campaign = self.send(type="variate", variants=3)
        self.audience.generate(campaign, seed=1, **REACTIONS)
        self.push("stats")
        record = self.record(campaign)
        self.assertEqual(
            record.variant_ids.mapped("variant_ref"), [c.id for c in campaign.children]
        )
        for variant, child in zip(record.variant_ids, campaign.children, strict=True):
            report = self.ask("report", child.id)
            self.assertEqual(variant.name, child.title)
            self.assertEqual(variant.sent, report["emails_sent"])
            self.assertEqual(variant.opens_unique, report["opens"]["unique_opens"])
            self.assertAlmostEqual(
                variant.open_rate, report["opens"]["open_rate"], places=5
            )
        self.assertEqual(record.variant_ids.mapped("is_winner"), [True, False, False])
        # They are parts of the campaign, no campaigns beside it.
        self.assertFalse(self.record(campaign.children[0]))
        self.assertEqual(sum(record.variant_ids.mapped("sent")), record.sent)

    def test_old_variants(self):
        campaign = self.send(type="absplit")
        self.audience.generate(campaign, seed=1, opens=0.9)
        self.push("stats")
        record = self.record(campaign)
        self.assertEqual(record.variant_ids.mapped("name"), ["A", "B"])
        self.assertEqual(record.variant_ids.mapped("sent"), [10, 10])
        self.assertEqual(
            sum(record.variant_ids.mapped("opens_unique")), record.opens_unique
        )
        self.assertTrue(all(v.open_rate > 0 for v in record.variant_ids))

    def test_children_are_shown_with_their_parent(self):
        for kind in ("rss", "automation"):
            parent = self.audience.add_campaign(type=kind, title=f"All {kind}")
            children = [
                self.send(type=kind, title=f"{kind} {number}", parent=parent)
                for number in range(2)
            ]
            self.audience.open(children[1], "c1@firma.be")
            self.push("stats")
            record = self.record(parent)
            self.assertEqual(
                sorted(record.child_ids.mapped("name")), [f"{kind} 0", f"{kind} 1"]
            )
            # The parent has the totals; each mail is one line on the contact.
            self.assertEqual(record.sent, 40)
            self.assertEqual(record.opens_unique, 1)
            self.assertFalse(record.recipient_ids)
            self.assertEqual(record.recipients_unattributed, 0)
            self.assertIn("emails it sent", record.attribution_note)
            partner = self.env["res.partner"].search([("name", "=", "C1")])
            lines = self.env["crm.mailchimp.recipient"].search(
                [
                    ("partner_id", "=", partner.id),
                    ("campaign_id.campaign_type", "=", kind),
                ]
            )
            self.assertEqual(len(lines), 2)
            self.assertEqual(sum(lines.mapped("open_count")), 1)

    def test_links(self):
        campaign = self.send(urls=["https://a.be", "https://b.be"])
        for email, url in (("c1", "a"), ("c1", "a"), ("c2", "a"), ("c3", "b")):
            self.audience.click(campaign, f"{email}@firma.be", f"https://{url}.be")
        self.push("stats")
        lines = self.record(campaign).link_ids
        self.assertEqual(lines.mapped("url"), ["https://a.be", "https://b.be"])
        self.assertEqual(lines.mapped("clicks_total"), [3, 1])
        self.assertEqual(lines.mapped("clicks_unique"), [2, 1])
        self.assertEqual(lines.mapped("click_share"), [0.75, 0.25])
        self.audience.click(campaign, "c4@firma.be", "https://b.be")
        self.push("stats")
        self.assertEqual(self.record(campaign).link_ids, lines)
        self.assertEqual(lines.mapped("clicks_total"), [3, 2])

    def test_what_mailchimp_does_not_give_is_unknown(self):
        self.simulator.switches.update(proxy_fields=False, report_dates_null=True)
        try:
            campaign = self.send()
            self.push("stats")
            record = self.record(campaign)
            self.assertFalse(record.proxy_known)
            self.assertFalse(record.last_open)
            self.audience.open(campaign, "c1@firma.be")
            self.push("stats")
            self.assertTrue(record.last_open)
            self.assertIn("does not say how many opens", record.attribution_note)
        finally:
            self.simulator.switches.update(proxy_fields=True, report_dates_null=False)

    def test_drafts_and_scheduled_ones(self):
        campaign = self.audience.add_campaign(subject="Soon")
        self.push("stats")
        self.assertEqual(self.record(campaign).status, "save")
        campaign.status = "schedule"
        campaign.send_time = self.audience.account.clock.now() + 3600
        self.import_results()
        record = self.record(campaign)
        self.assertEqual(record.status, "schedule")
        self.assertTrue(record.send_time)
        self.assertFalse(record.report_date)
        self.assertFalse(record.utm_campaign_id)
        campaign.status = "save"
        self.audience.send_campaign(campaign)
        self.import_results()
        self.assertEqual(record.status, "sent")
        self.assertEqual(record.sent, 20)
        self.assertEqual(record.recipient_count, 20)

    def test_a_second_import_is_cheap_and_writes_nothing(self):
        self.send()
        self.push("stats")
        record = self.env["crm.mailchimp.campaign"].search([])
        before = record.read(["write_date", "report_date"])
        self.simulator.clear_calls()
        self.push("stats")
        self.assertLessEqual(len(self.simulator.calls), 2)
        self.assertEqual(record.read(["write_date", "report_date"]), before)

    def test_numbers_move_until_they_rest(self):
        campaign = self.send()
        self.push("stats")
        record = self.record(campaign)
        self.assertEqual(record.opens_unique, 0)
        self.audience.open(campaign, "c1@firma.be")
        self.push("stats")
        self.assertEqual(record.opens_unique, 1)

    # === WHAT CHANGES IN MAILCHIMP === #

    def test_deleted_drafts_go_and_sent_ones_stay(self):
        draft, kept, gone = (
            self.audience.add_campaign(subject=title, title=title)
            for title in ("Draft", "Kept", "Gone")
        )
        self.audience.send_campaign(gone)
        self.push("stats")
        self.assertEqual(self.record(draft).status, "save")
        for campaign in (draft, gone):
            del self.audience.account.campaigns[campaign.id]
        self.simulator.clear_calls()
        self.import_results()
        self.assertFalse(self.record(draft))
        self.assertEqual(self.record(gone).sent, 20)
        self.assertEqual(self.record(kept).status, "save")
        self.assertEqual(self.simulator.count("GET", "/campaigns/*"), 1)

    @long
    def test_many_deleted_drafts_and_slow_answers(self):
        """Each import looks some of them up, and keeps what it found."""
        drafts = [
            self.audience.add_campaign(subject=f"Draft {n}", title=f"Draft {n}")
            for n in range(12)
        ]
        self.push("stats")
        for campaign in drafts:
            del self.audience.account.campaigns[campaign.id]
        self.simulator.clear_calls()
        self.simulator.latency(base=0.3)
        self.addCleanup(self.simulator.faults.clear)
        with patch.object(slices, "end_of_job", lambda: time.monotonic() + 3):
            for _hour in range(12):
                self.assertEqual(self.import_results().state, "done")
                if not any(self.record(campaign) for campaign in drafts):
                    break
        self.assertFalse(any(self.record(campaign) for campaign in drafts))
        self.assertEqual(self.simulator.count("GET", "/campaigns/*"), 12)

    def test_null_in_a_report_does_not_undo_what_is_known(self):
        campaign = self.send()
        self.audience.open(campaign, "c1@firma.be")
        self.push("stats")
        record = self.record(campaign)
        known = record.read(list(stats.TOTALS))
        self.assertEqual(record.opens_total, 1)
        view = reports.report_view
        with patch.object(
            reports,
            "report_view",
            lambda c: {**view(c), "opens": None, "bounces": None, "timeseries": None},
        ):
            self.push("stats")
        self.assertEqual(record.read(list(stats.TOTALS)), known)

    def test_averages_count_each_campaign_by_its_mails(self):
        small = self.audience.add_campaign(title="Small", subject="Small")
        self.audience.send_campaign(small, ["c1@firma.be"])
        self.audience.open(small, "c1@firma.be")
        big = self.send(title="Big")
        self.audience.open(big, "c1@firma.be")
        self.push("stats")
        rates = self.record(small).open_rate, self.record(big).open_rate
        self.assertEqual(rates, (1.0, 0.05))
        Campaign = self.env["crm.mailchimp.campaign"]
        domain = [("account_id", "=", self.account.id)]
        [group] = Campaign.formatted_read_group(
            domain, ["campaign_type"], ["open_rate:avg", "bounce_rate:avg"]
        )
        self.assertAlmostEqual(group["open_rate:avg"], 2 / 21)
        self.assertEqual(group["bounce_rate:avg"], 0)
        domain.append(("id", "=", 0))
        self.assertFalse(Campaign._read_group(domain, [], ["open_rate:avg"])[0][0])
