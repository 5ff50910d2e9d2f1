import time
from datetime import timedelta
from unittest.mock import patch

from odoo import fields
from odoo.tests import tagged

from ..engine import report_calls, stats, transport
from ..models import slices
from .common import MailchimpCase

try:
    from mailchimp_simulator import problems
    from mailchimp_simulator.routes import recipients, reports
except ImportError:  # installed without the repository around it
    problems = recipients = reports = None

REACTIONS = {
    **{"opens": 0.5, "clicks": 0.3, "hard_bounces": 0.1, "soft_bounces": 0.1},
    **{"unsubscribes": 0.1, "complaints": 0.1},
}


@tagged("post_install", "-at_install")
class TestStats(MailchimpCase):
    """Campaigns and their totals in Odoo are Mailchimp's."""

    # By default Mailchimp calculates the audience's rates only after a day.
    switches = {"list_stats_seconds": 0}

    def prepare(self):
        super().prepare()
        self.link()
        for number in range(20):
            self.contact(f"C{number}")
        self.push()

    def send(self, **values):
        values = {"subject": "News", "title": "November", **values}
        campaign = self.audience.add_campaign(**values)
        self.audience.send_campaign(campaign)
        return campaign

    def record(self, campaign):
        return self.env["crm.mailchimp.campaign"].search(
            [("campaign_ref", "=", campaign.id)]
        )

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

    def test_leads_of_a_campaign(self):
        """Links carry the name of Google Analytics, else the title."""
        existing = self.env["utm.campaign"].create({"name": "NOVEMBER"})
        tracked = self.send(title="December", google_analytics="dec_2026")
        self.send(title="100%_off")
        titled = self.send(title="November")
        self.push("stats")
        self.assertEqual(self.record(titled).utm_campaign_id, existing)
        utm = self.record(tracked).utm_campaign_id
        self.assertEqual(utm.name, "dec_2026")
        # As a form on the website does it.
        found = self.env["utm.mixin"]._find_or_create_record("utm.campaign", "Dec_2026")
        self.assertEqual(found, utm)
        leads = self.env["crm.lead"].create(
            [{"name": f"L{n}", "campaign_id": utm.id} for n in range(2)]
        )
        leads[0].active = False
        record = self.record(tracked)
        self.assertEqual(record.lead_count, 2)
        self.assertEqual(self.record(titled).lead_count, 0)
        action = record.action_open_leads()
        self.assertEqual(
            self.env["crm.lead"]
            .with_context(active_test=False)
            .search(action["domain"]),
            leads,
        )
        count = self.env["utm.campaign"].search_count([])
        self.push("stats")
        self.assertEqual(self.env["utm.campaign"].search_count([]), count)
        self.assertEqual(
            self.env.ref("crm_mailchimp.utm_source_mailchimp").name, "Mailchimp"
        )

    def test_mailchimps_own_marks_in_links(self):
        """Its utm_campaign begins with the campaign's id, and mc_cid is the id."""
        first, second = self.send(title="Weekly"), self.send(title="Weekly")
        self.push("stats")
        Lead, find = self.env["crm.lead"], self.env["utm.mixin"]._find_or_create_record
        leads = {
            name: Lead.create(
                {"name": name, "campaign_id": find("utm.campaign", name).id}
            )
            for name in (
                *(f"{first.id}-EMAIL_CAMPAIGN_2026_11", f"{first.id.upper()}-x"),
                *(second.id, f"{second.id}-Weekly", f"{second.id}0-no"),
            )
        }
        names = list(leads)
        for campaign, own in ((first, names[:2]), (second, names[2:4])):
            record = self.record(campaign)
            found = Lead.search(record.action_open_leads()["domain"])
            self.assertEqual(set(found.mapped("name")), set(own))
            self.assertEqual(record.lead_count, 2)

    def test_a_lead_of_two_campaigns_of_one_title_is_that_of_the_last_before_it(self):
        campaigns = []
        for _number in range(3):
            campaigns.append(self.send(title="Weekly"))
            self.simulator.advance(7 * 86400)
        self.push("stats")
        records = [self.record(campaign) for campaign in campaigns]
        [utm] = {record.utm_campaign_id for record in records}
        for record, days in zip(records, (-1, 3, 4), strict=True):
            lead = self.env["crm.lead"].create({"name": "L", "campaign_id": utm.id})
            created = record.send_time + timedelta(days=days)
            self.env.cr.execute(
                "UPDATE crm_lead SET create_date = %s WHERE id = %s",
                [created, lead.id],
            )
        self.env.invalidate_all()
        self.assertEqual([record.lead_count for record in records], [1, 1, 1])

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

    # === TROUBLE OF A CAMPAIGN IS ITS OWN === #

    def odd(self, campaign, **values):
        """Let Mailchimp's report of a campaign, and only that, hold odd values."""
        view = reports.report_view

        def report_view(shown):
            return {**view(shown), **(values if shown is campaign else {})}

        return patch.object(reports, "report_view", report_view)

    def test_odd_entries_stop_nothing(self):
        """Half an emoji, a number as a link, the year 9999, more than 32 bits."""
        campaigns = [self.send(title=f"C{n}") for n in range(3)]
        for campaign in campaigns:
            self.audience.open(campaign, "c1@firma.be")
        odd = campaigns[1]
        self.audience.unsubscribe("c2@firma.be", "too many \ud83d\x00", campaign=odd.id)
        truth = odd.recipients[self.member("c3@firma.be")]
        truth.clicks.append((odd.send_time, 5))
        truth.opens.append(253402300799)  # 9999-12-31T23:59:59
        odd.title, odd.subject = "\ud83d Half", "\x00"
        odd.variate_settings = {"subject_lines": ["\ud83d"]}
        with self.odd(
            odd,
            emails_sent=2**40,
            opens={"opens_total": 10**30, "open_rate": float("nan"), "unique_opens": 2},
            clicks="none",
            timeseries=[{"timestamp": "9999-12-31T23:59:59-05:00"}, None],
        ):
            run = self.push("stats")
        self.assertFalse(run.counters.get("campaigns_failed"))
        for campaign in (campaigns[0], campaigns[2]):
            self.assertEqual(self.record(campaign).recipient_count, 20)
            self.assertEqual(self.record(campaign).opens_unattributed, 0)
        record = self.record(odd)
        self.assertFalse(record.failure_note)
        self.assertEqual(record.recipient_count, 20)
        self.assertEqual(record.sent, 2**31 - 1)
        self.assertEqual(record.name, "? Half")
        told = {r.email_normalized: r for r in record.recipient_ids}
        self.assertEqual(told["c2@firma.be"].unsubscribe_reason, "too many ?")
        self.assertEqual(told["c3@firma.be"].event_ids.mapped("url"), ["5"])
        self.assertEqual(told["c1@firma.be"].open_count, 1)

    def test_a_report_without_an_id_stops_nothing(self):
        campaigns = [self.send(title=f"C{n}") for n in range(3)]
        view = reports.report_view

        def without_id(shown):
            report = view(shown)
            if shown is campaigns[1]:
                del report["id"]
            return report

        with patch.object(reports, "report_view", without_id):
            self.push("stats")
        for campaign in (campaigns[0], campaigns[2]):
            self.assertEqual(self.record(campaign).sent, 20)

    def test_a_campaign_that_cannot_be_stored_is_its_own_trouble(self):
        campaigns = [self.send(title=f"C{n}") for n in range(3)]
        Campaign = self.env.registry["crm.mailchimp.campaign"]
        real = {name: getattr(Campaign, name) for name in ("write", "_finish_reading")}

        def fail(name):
            def method(records, *args):
                if records.campaign_ref == campaigns[1].id and (
                    name != "write" or "sent" in args[0]
                ):
                    raise ValueError("No.")
                return real[name](records, *args)

            return patch.object(Campaign, name, method)

        for name in real:
            with self.subTest(name), fail(name):
                self.audience.open(campaigns[0], "c1@firma.be")
                run = self.push("stats")
                self.assertEqual(run.counters["campaigns_failed"], 1)
                for campaign in (campaigns[0], campaigns[2]):
                    self.assertEqual(self.record(campaign).recipient_count, 20)
                    self.assertFalse(self.record(campaign).failure)
                record = self.record(campaigns[1])
                self.assertEqual(record.failure, "fault")
                self.assertIn("Odoo could not store", record.failure_note)
                self.assertIn("next try on", record.failure_note)
                self.assertEqual(self.account.state, "linked")
        self.read_again(record)
        self.assertFalse(record.failure_note)
        self.assertEqual(record.recipient_count, 20)

    def test_pages_are_halved_when_mailchimp_comes_to_no_end(self):
        campaigns = [self.send(title=f"C{n}") for n in range(2)]
        for campaign in campaigns:
            self.audience.open(campaign, "c15@firma.be")
        asked, activity = [], recipients._activity

        def slow(request, campaign):
            if campaign is campaigns[1]:
                asked.append(request.page())
                if asked[-1][0] > 10:
                    raise problems.Problem(504, "Gateway Timeout", "")
            return activity(request, campaign)

        with (
            patch.object(recipients, "_activity", slow),
            patch.object(report_calls, "RECIPIENT_PAGE", 40),
            patch("time.sleep"),
        ):
            run = self.push("stats", state="waiting")
            run.resume_at = False
            self.import_results()
        self.assertEqual(run.state, "done", run.error_message)
        self.assertEqual(asked[-2:], [(10, 0), (10, 10)])
        for campaign in campaigns:
            record = self.record(campaign)
            self.assertFalse(record.failure)
            self.assertEqual(record.opens_unattributed, 0)
        # The next reading begins with what worked.
        asked.clear()
        self.audience.open(campaigns[1], "c16@firma.be")
        with patch.object(recipients, "_activity", slow):
            self.push("stats")
        self.assertEqual({count for count, _offset in asked}, {10})

    def refuse(self, campaign, **fault):
        """Let Mailchimp refuse everything below the report of a campaign, for ever."""
        fault = {"times": None, **fault}
        self.simulator.fault(f"GET /reports/{campaign.id}/**", **fault)

    def read_again(self, record):
        """Let the next try of a campaign come."""
        self.assertGreater(record.next_poll, fields.Datetime.now())
        record.next_poll = fields.Datetime.now()
        run = self.import_results()
        self.assertEqual(run.state, "done", run.error_detail)

    def test_a_refused_report_is_its_own_trouble(self):
        for status, failure, sentence in (
            (400, "refused", "refused the report"),
            (403, "refused", "refused the report"),
            (404, "missing", "does not have the report"),
        ):
            with self.subTest(status):
                campaigns = [self.send(title=f"{status} {n}") for n in range(3)]
                for campaign in campaigns:
                    self.audience.open(campaign, "c1@firma.be")
                self.refuse(campaigns[1], status=status)
                run = self.push("stats")
                self.assertEqual(self.account.state, "linked")
                self.assertFalse(self.account.health_message)
                self.assertEqual(run.counters["campaigns_failed"], 1)
                for campaign in (campaigns[0], campaigns[2]):
                    record = self.record(campaign)
                    self.assertEqual(record.recipient_count, 20)
                    self.assertFalse(record.failure_note)
                record = self.record(campaigns[1])
                self.assertEqual(record.failure, failure)
                self.assertEqual(record.recipient_count, 0)
                self.assertEqual(record.sent, 20, "the totals are another call's")
                self.assertIn("Recipients incomplete", record.failure_note)
                self.assertIn(sentence, record.failure_note)
                self.assertIn("next try on", record.failure_note)
                self.assertFalse(record.attribution_note, "nobody was deleted")
                # Later and later, and nobody asks in between.
                first_wait = record.next_poll - fields.Datetime.now()
                self.simulator.clear_calls()
                self.import_results()
                self.assertFalse(self.simulator.count("GET", "/reports/*/*"))
                self.read_again(record)
                self.assertEqual(record.failures, 2)
                wait = record.next_poll - fields.Datetime.now()
                self.assertGreater(wait, first_wait * 1.5)
                self.simulator.faults.clear()
                self.read_again(record)
                self.assertEqual(record.recipient_count, 20)
                self.assertFalse(record.failure_note)
                self.assertFalse(record.failures)

    def test_a_report_without_an_end_is_its_own_trouble(self):
        campaigns = [self.send(title=f"C{n}") for n in range(3)]
        for campaign in campaigns:
            self.audience.open(campaign, "c1@firma.be")
        activity = f"GET /reports/{campaigns[1].id}/email-activity"
        self.simulator.fault(activity, status=504, body="html", times=None)
        # Mostly it passes, so it is tried once more.
        run = self.push("stats", state="waiting")
        run.resume_at = False
        self.import_results()
        self.assertEqual(run.state, "done", run.error_message)
        self.assertEqual(self.account.state, "linked")
        record = self.record(campaigns[1])
        self.assertEqual(record.failure, "unanswered")
        self.assertEqual(record.recipient_count, 20, "the other parts are read")
        self.assertEqual(record.opens_unattributed, 1)
        for campaign in (campaigns[0], campaigns[2]):
            self.assertEqual(self.record(campaign).opens_unattributed, 0)
            self.assertFalse(self.record(campaign).failure)
        self.simulator.faults.clear()
        self.read_again(record)
        self.assertEqual(record.opens_unattributed, 0)
        self.assertFalse(record.failure)

    def test_a_report_that_uses_up_the_time_is_its_own_trouble(self):
        """Odoo's limit for a job leaves no time to ask for anything after it."""
        campaigns = [self.send(title=f"C{n}") for n in range(3)]
        for campaign in campaigns:
            self.audience.open(campaign, "c1@firma.be")
        activity = recipients._activity

        def slow(request, campaign):
            if campaign is campaigns[1]:
                time.sleep(0.6)
                raise problems.Problem(504, "Gateway Timeout", "")
            return activity(request, campaign)

        with patch.object(recipients, "_activity", slow):
            with patch.object(transport, "TRIES", 1):
                run = self.push("stats", state="waiting")
            run.resume_at = False
            with patch.multiple(slices, SLICE_SECONDS=0.4, LONGEST_SECONDS=0.5):
                self.import_results()
        self.assertEqual(run.state, "done", run.error_message)
        self.assertEqual(self.record(campaigns[1]).failure, "unanswered")
        for campaign in (campaigns[0], campaigns[2]):
            self.assertEqual(self.record(campaign).opens_unattributed, 0)

    def test_totals_stay_fresh_while_recipients_cannot_be_read(self):
        campaign = self.send()
        self.refuse(campaign, status=403)
        self.push("stats")
        record = self.record(campaign)
        planned = record.next_poll
        self.audience.open(campaign, "c1@firma.be")
        self.import_results()
        self.assertEqual(record.opens_unique, 1)
        self.assertEqual(record.next_poll, planned)

    def test_all_reports_refused_are_no_trouble_of_each(self):
        campaigns = [self.send(title=f"C{n}") for n in range(8)]
        self.simulator.fault("GET /reports/*/**", status=403, times=None)
        run = self.push("stats", state="waiting")
        self.assertEqual(self.account.state, "linked")
        self.assertIn("the results of campaigns", run.error_message)
        self.assertIn("Update results", run.error_message)
        failed = [self.record(campaign).failures for campaign in campaigns]
        self.assertEqual(sum(failed), 5)
        self.simulator.faults.clear()
        run.resume_at = False
        self.import_results()
        self.assertEqual(run.state, "done")
        self.account.action_import_stats()
        self.import_results()
        for campaign in campaigns:
            self.assertEqual(self.record(campaign).recipient_count, 20)
            self.assertFalse(self.record(campaign).failure)

    def test_a_refused_listing_is_trouble_of_the_import_only(self):
        campaign = self.send()
        for route in ("GET /campaigns", "GET /reports"):
            with self.subTest(route):
                self.simulator.fault(route, status=403, times=None)
                run = self.push("stats", state="waiting")
                self.assertEqual(self.account.state, "linked")
                self.contact("New" + route[-7:].lower().strip("/ "))
                self.push()
                self.simulator.faults.clear()
                run.resume_at = False
                self.import_results()
                self.assertEqual(run.state, "done")
        self.assertEqual(self.record(campaign).recipient_count, 20)

    def test_a_report_of_an_old_campaign_is_given_up_in_the_end(self):
        campaign = self.send()
        self.send(title="Another")
        self.push("stats")
        record = self.record(campaign)
        old = record.send_time - timedelta(days=200)
        campaign.send_time -= 200 * 86400
        record.write({"send_time": old, "report_date": False, "failures": 8})
        self.simulator.fault(f"GET /reports/{campaign.id}", status=404, times=None)
        record.next_poll = fields.Datetime.now()
        self.import_results()
        self.assertEqual(record.failure, "missing")
        self.assertIn("Results incomplete", record.failure_note)
        self.read_again(record)
        self.assertFalse(record.next_poll)
        self.assertIn("click “Refresh now”", record.failure_note)
        record.action_refresh()
        self.simulator.faults.clear()
        self.import_results()
        self.assertFalse(record.failure_note)
