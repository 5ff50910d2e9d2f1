import time
from datetime import timedelta
from unittest.mock import patch

from odoo import fields
from odoo.tests import tagged

from ..engine import report_calls, transport
from ..models import slices
from .common import long
from .common_stats import StatsCase

try:
    from mailchimp_simulator import problems
    from mailchimp_simulator.routes import recipients, reports
except ImportError:  # installed without the repository around it
    problems = recipients = reports = None


@tagged("post_install", "-at_install")
class TestStatsTrouble(StatsCase):
    """The trouble of a campaign is its own: the others go on."""

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

    @long
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
