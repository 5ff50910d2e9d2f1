from datetime import timedelta
from unittest.mock import patch

from psycopg2.errors import SerializationFailure

from odoo import fields
from odoo.exceptions import AccessError
from odoo.tests import new_test_user, tagged

from ..engine import report_calls
from ..models import slices
from ..results import RecipientImport
from .common import long
from .common_stats import StatsCase


@tagged("post_install", "-at_install")
class TestRecipients(StatsCase):
    """What came of a campaign, down to the contact."""

    contacts = 30

    # === DOING === #

    def refresh(self, campaign):
        record = self.record(campaign)
        record.action_refresh()
        run = self.import_results()
        self.assertEqual(run.state, "done", run.error_detail)
        return record

    def happened(self, campaign, email):
        """Return what the simulator knows of a recipient."""
        return campaign.recipients[self.member(email)]

    # === LOOKING === #

    def recipient(self, campaign, email):
        return self.env["crm.mailchimp.recipient"].search(
            [
                ("campaign_id", "=", self.record(campaign).id),
                ("email_normalized", "=", email),
            ]
        )

    def assert_all_told(self, campaign):
        """Every recipient and each of its events is in Odoo as Mailchimp has it."""
        record = self.record(campaign)
        self.assertEqual(
            len(record.recipient_ids), len(campaign.recipients), "recipients"
        )
        for member, truth in campaign.recipients.items():
            told = self.recipient(campaign, member.email)
            self.assertEqual(told.status, truth.status)
            self.assertEqual(told.open_count, len(truth.opens))
            self.assertEqual(told.click_count, len(truth.clicks))
            seen = [
                (event.kind, event.date, event.url, event.detail or "")
                for event in told.event_ids
            ]
            expected = [
                *(("open", self.at(when), "", "") for when in truth.opens),
                *(("click", self.at(w), url, "") for w, url in truth.clicks),
            ]
            if truth.bounced_at:
                bounced = self.at(truth.bounced_at)
                expected.append(("bounce", bounced, "", truth.status))
                self.assertEqual(told.bounce_date, bounced)
            if truth.unsubscribed_at:
                left = self.at(truth.unsubscribed_at)
                reason = truth.unsubscribe_reason or "None given"
                expected.append(("unsubscribe", left, "", reason))
                self.assertEqual(told.unsubscribed_date, left)
                self.assertEqual(told.unsubscribe_reason, reason)
            if truth.complained_at:
                expected.append(("complaint", self.at(truth.complained_at), "", ""))
                self.assertEqual(told.complaint_date, self.at(truth.complained_at))
            self.assertEqual(sorted(seen), sorted(expected), member.email)
            if truth.opens:
                self.assertEqual(told.first_open, self.at(min(truth.opens)))
                self.assertEqual(told.last_open, self.at(max(truth.opens)))
            if truth.clicks:
                self.assertEqual(told.last_click, self.at(max(truth.clicks)[0]))

    def at(self, seconds):
        return fields.Datetime.to_datetime("1970-01-01") + timedelta(seconds=seconds)

    def pages(self, part):
        """Return the offsets asked for of a part of reports."""
        return [
            int(call.query.get("offset", 0))
            for call in self.simulator.calls
            if call.path.endswith(f"/{part}")
        ]

    # === THE IMPORT === #

    def test_everything_down_to_the_contact(self):
        campaign = self.send()
        self.audience.generate(
            campaign,
            **{"opens": 0.5, "clicks": 0.3, "hard_bounces": 0.1, "soft_bounces": 0.1},
            **{"unsubscribes": 0.2, "complaints": 0.2, "seed": 3},
        )
        self.audience.click(campaign, "c5@firma.be", "https://firma.be/?a=1&b=%20")
        self.push("stats")
        self.assert_all_told(campaign)
        record = self.record(campaign)
        kinds = set(record.recipient_ids.event_ids.mapped("kind"))
        self.assertEqual(kinds, {"open", "click", "bounce", "unsubscribe", "complaint"})
        told = self.recipient(campaign, "c5@firma.be")
        self.assertEqual(told.partner_id.name, "C5")
        self.assertEqual(told.member_id, self.ledger("c5@firma.be"))
        # Several opens of one second are told apart, so all are accounted for.
        opens = sum(record.recipient_ids.mapped("open_count"))
        self.assertEqual(opens, record.opens_total)
        self.assertGreater(max(record.recipient_ids.event_ids.mapped("number")), 1)
        self.assertEqual(record.opens_unattributed, 0)
        self.assertIn("Apple Mail's privacy protection", record.attribution_note)
        self.assertEqual(record.recipients_unattributed, 0)
        self.assertEqual(record.clicks_unattributed, 0)

    def test_the_latest_campaign_comes_first(self):
        for title in ("November", "December", "January"):
            self.send(title=title)
            self.simulator.advance(3600)
        self.push("stats")
        contact = self.env["res.partner"].search([("name", "=", "C5")])
        self.assertEqual(
            [line["name"] for line in contact.mailchimp_card()["campaigns"]],
            ["January", "December", "November"],
        )

    def test_again_changes_nothing(self):
        campaign = self.send()
        self.audience.generate(campaign, unsubscribes=0.2, complaints=0.2, seed=3)
        self.push("stats")
        for everything in (True, False):
            before = self.writes()
            if everything:
                self.push("stats")
            else:
                self.import_results()
            after = self.writes()
            written = {
                table for table, count in after.items() if count != before.get(table, 0)
            }
            self.assertLessEqual(
                written,
                {
                    *("crm_mailchimp_run", "ir_cron", "ir_cron_progress"),
                    *("ir_cron_trigger", "bus_bus"),
                },
            )
        # Even when every page is read again.
        record = self.record(campaign)
        record.read_marks = {}
        before = self.writes()
        self.simulator.clear_calls()
        self.refresh(campaign)
        self.assertEqual(self.pages("sent-to"), [0])
        after = self.writes()
        for table in (
            *("crm_mailchimp_recipient", "crm_mailchimp_recipient_event"),
            *("crm_mailchimp_campaign_link", "utm_campaign"),
        ):
            self.assertEqual(after.get(table), before.get(table), table)

    def test_nothing_due_costs_two_calls(self):
        self.send()
        self.send(title="December")
        self.push("stats")
        self.simulator.clear_calls()
        self.import_results()
        self.assertLessEqual(len(self.simulator.calls), 2)

    def test_only_news_is_read(self, drops_idle=False):
        campaign = self.send()
        self.audience.open(campaign, "c1@firma.be")
        self.push("stats")
        self.simulator.advance(3 * 3600)
        self.audience.open(campaign, "c2@firma.be")
        self.simulator.clear_calls()
        with (
            patch.object(fields.Datetime, "now", self.later(3)),
            patch.object(report_calls, "RECIPIENT_PAGE", 10),
        ):
            self.refresh(campaign)
        self.assertEqual(self.pages("sent-to"), [])
        self.assertEqual(self.pages("unsubscribed"), [])
        calls = [c for c in self.simulator.calls if c.path.endswith("email-activity")]
        self.assertEqual(len(calls), 1 if drops_idle else 3)
        self.assertTrue(all("since" in call.query for call in calls))
        self.assert_all_told(campaign)

    def later(self, hours):
        now = fields.Datetime.now() + timedelta(hours=hours)
        return lambda *args: now

    def test_idle_recipients_left_out(self):
        self.simulator.switches.update(activity_since_drops_idle=True)
        try:
            self.test_only_news_is_read(drops_idle=True)
        finally:
            self.simulator.switches.update(activity_since_drops_idle=False)

    def test_late_events(self):
        campaign = self.send()
        self.simulator.advance(6 * 3600)
        self.audience.open(campaign, "c1@firma.be")
        with patch.object(fields.Datetime, "now", self.later(6)):
            self.push("stats")
        first = self.recipient(campaign, "c1@firma.be").first_open
        # Told only now, but long ago: before what is asked for again.
        truth = self.happened(campaign, "c1@firma.be")
        truth.opens.insert(0, truth.opens[0] - 5 * 3600)
        truth.clicks.append((truth.opens[0], "https://late.be"))
        with patch.object(fields.Datetime, "now", self.later(6)):
            record = self.refresh(campaign)
        self.assertEqual(record.opens_unattributed, 1)
        # More is missing than before, so the next reading is of all.
        with patch.object(fields.Datetime, "now", self.later(7)):
            record = self.refresh(campaign)
        self.assertEqual(record.opens_unattributed, 0)
        self.assertLess(self.recipient(campaign, "c1@firma.be").first_open, first)
        self.assert_all_told(campaign)

    # === PEOPLE WHO CHANGE === #

    def test_edited_address(self):
        campaign = self.send()
        self.audience.open(campaign, "c1@firma.be")
        self.push("stats")
        partner = self.recipient(campaign, "c1@firma.be").partner_id
        partner.email = "new@firma.be"
        self.push()
        self.assertEqual(self.status("new@firma.be"), "subscribed")
        self.simulator.advance(60)
        self.audience.open(campaign, "new@firma.be")
        record = self.refresh(campaign)
        self.assertEqual(record.recipient_count, 30)
        told = record.recipient_ids.filtered(lambda r: r.partner_id == partner)
        self.assertEqual(told.email_normalized, "new@firma.be")
        self.assertEqual(told.open_count, 2)
        self.assertEqual(record.opens_unattributed, 0)
        self.assertFalse(self.recipient(campaign, "c1@firma.be"))

    def test_address_changed_before_the_first_import(self):
        campaign = self.send()
        self.env["res.partner"].search([("name", "=", "C1")]).email = "new@firma.be"
        self.push()
        self.push("stats")
        self.assertEqual(self.recipient(campaign, "new@firma.be").partner_id.name, "C1")

    def test_deleted_contact(self):
        campaign = self.send()
        self.audience.open(campaign, "c1@firma.be")
        self.push("stats")
        self.recipient(campaign, "c1@firma.be").partner_id.unlink()
        self.audience.click(campaign, "c1@firma.be")
        self.refresh(campaign)
        told = self.recipient(campaign, "c1@firma.be")
        self.assertFalse(told.partner_id)
        self.assertEqual(told.click_count, 1)

    def test_contact_that_comes_later(self):
        self.audience.add_member("stranger@firma.be")
        campaign = self.send()
        self.push("stats")
        self.assertFalse(self.recipient(campaign, "stranger@firma.be").partner_id)
        partner = self.env["res.partner"].create(
            {"name": "Stranger", "email": "Stranger@firma.be"}
        )
        self.import_results()
        self.assertEqual(
            self.recipient(campaign, "stranger@firma.be").partner_id, partner
        )

    def test_contact_of_another_company(self):
        self.audience.add_member("stranger@firma.be")
        campaign = self.send()
        other = self.env["res.company"].create({"name": "Other"})
        self.env["res.partner"].create(
            {"name": "S", "email": "stranger@firma.be", "company_id": other.id}
        )
        self.push("stats")
        self.assertFalse(self.recipient(campaign, "stranger@firma.be").partner_id)

    def test_erased_before_the_import(self):
        campaign = self.send()
        self.audience.open(campaign, "c1@firma.be")
        self.audience.open(campaign, "c2@firma.be")
        self.audience.delete_permanently("c1@firma.be")
        self.push("stats")
        record = self.record(campaign)
        self.assertEqual(record.sent, 30)
        self.assertEqual(record.recipient_count, 29)
        self.assertEqual(record.recipients_unattributed, 1)
        self.assertEqual(record.opens_unattributed, 1)
        self.assertIn("Recipients not shown: 1 of 30.", record.attribution_note)
        self.assertIn("to a recipient: 1 of 2;", record.attribution_note)
        self.assertIn("recipients who are not shown", record.attribution_note)

    def test_erased_after_the_import(self):
        campaign = self.send()
        self.audience.open(campaign, "c1@firma.be")
        self.push("stats")
        for how in ("vanish", "blank"):
            self.simulator.switches.update(erased_in_reports=how)
            if how == "vanish":
                self.audience.delete_permanently("c1@firma.be")
            self.audience.open(campaign, "c2@firma.be")
            self.record(campaign).read_marks = {}
            record = self.refresh(campaign)
            told = self.recipient(campaign, "c1@firma.be")
            self.assertEqual(told.open_count, 1)
            self.assertEqual(told.partner_id.name, "C1")
            self.assertEqual(record.recipients_unattributed, 0)
        self.simulator.switches.update(erased_in_reports="vanish")

    def test_erased_and_without_address(self):
        self.simulator.switches.update(erased_in_reports="blank")
        campaign = self.send()
        self.audience.open(campaign, "c1@firma.be")
        self.audience.delete_permanently("c1@firma.be")
        self.push("stats")
        record = self.record(campaign)
        self.simulator.switches.update(erased_in_reports="vanish")
        [nameless] = record.recipient_ids.filtered(lambda r: not r.email_normalized)
        self.assertEqual(nameless.open_count, 1)
        self.assertFalse(nameless.partner_id)
        self.assertIn("deleted in Mailchimp: 1.", record.attribution_note)

    def test_more_opens_than_mailchimp_lists(self):
        campaign = self.send()
        truth = self.happened(campaign, "c1@firma.be")
        truth.opens += [campaign.send_time + second for second in range(1002)]
        self.push("stats")
        record = self.record(campaign)
        self.assertEqual(self.recipient(campaign, "c1@firma.be").open_count, 1000)
        self.assertEqual(record.opens_unattributed, 2)
        self.assertIn("no more than 1000", record.attribution_note)

    # === INTERRUPTIONS === #

    @long
    def test_a_page_that_fails(self):
        campaign = self.send()
        self.audience.generate(campaign, opens=0.5, clicks=0.3, seed=1)
        route = "GET /reports/*/email-activity"
        self.simulator.fault(route, "status", status=504, body="html", after=1, times=3)
        with (
            patch.object(report_calls, "RECIPIENT_PAGE", 10),
            patch("time.sleep"),
        ):
            run = self.push("stats", state="waiting")
            self.assertIn("tries again automatically", run.error_message)
            self.assertEqual(self.account.state, "linked")
            self.simulator.clear_calls()
            run.resume_at = fields.Datetime.now()
            self.import_results()
        self.assertEqual(run.state, "done")
        # It goes on from the page that failed.
        self.assertEqual(self.pages("click-details"), [])
        self.assertEqual(self.pages("email-activity"), [10, 20])
        self.assertEqual(self.pages("sent-to"), [0, 10, 20])
        self.assert_all_told(campaign)

    def test_goes_on_from_the_next_page(self):
        campaign = self.send()
        self.audience.generate(campaign, opens=0.5, clicks=0.3, seed=1)
        self.account._request_run("stats")
        self.simulator.clear_calls()
        labels = []
        with (
            patch.object(report_calls, "RECIPIENT_PAGE", 10),
            patch.object(slices, "SLICE_SECONDS", -1),
        ):
            for _tick in range(30):
                self.one_slice()
                run = self.env["crm.mailchimp.run"].search(
                    [("kind", "=", "stats")], limit=1
                )
                if not run.is_open:
                    break
                labels.append((run.progress_label, run.progress))
        self.assertEqual(run.state, "done")
        self.assertEqual(self.pages("sent-to"), [0, 10, 20])
        self.assertEqual(self.pages("email-activity"), [0, 10, 20])
        self.assertIn(("Read recipients: 20 / 60", 100 * 20 / 60), labels)
        self.assert_all_told(campaign)

    def one_slice(self):
        """Let the scheduled action enter its runs once, in a world of its own."""
        self.env.flush_all()
        with self.enter_registry_test_mode(), self.registry.cursor() as cr:
            env = self.env(cr=cr)
            env["crm.mailchimp.run"]._cron_stats()
        self.env.invalidate_all()

    def test_somebody_writes_what_is_being_written(self):
        campaign = self.send()
        acts, work = [1], RecipientImport.work

        def conflict(phase):
            if acts:
                acts.pop()
                raise SerializationFailure()
            return work(phase)

        with patch.object(RecipientImport, "work", conflict):
            self.push("stats")
        self.assertFalse(acts)
        self.assert_all_told(campaign)

    def test_asked_for_while_another_is_read(self):
        first = self.send()
        self.push("stats")
        second = self.send(title="December")
        self.account._request_run("stats")
        with patch.object(slices, "SLICE_SECONDS", -1):
            self.one_slice()
            self.one_slice()
            self.audience.open(first, "c1@firma.be")
            with patch.object(fields.Datetime, "now", self.later(0.01)):
                self.record(first).action_refresh()
                self.import_results()
        self.assertEqual(
            self.env["crm.mailchimp.run"].search_count([("kind", "=", "stats")]), 2
        )
        self.assert_all_told(first)
        self.assert_all_told(second)

    def test_deleted_in_mailchimp(self):
        campaign = self.send()
        self.push("stats")
        before = self.record(campaign).recipient_ids
        self.audience.open(campaign, "c1@firma.be")
        del self.audience.account.campaigns[campaign.id]
        record = self.refresh(campaign)
        self.assertEqual(record.recipient_ids, before)
        self.assertEqual(self.account.state, "linked")

    # === POLLING === #

    def test_read_ever_less_often(self):
        campaign = self.send()
        self.push("stats")
        record = self.record(campaign)
        now = fields.Datetime.now()
        for hours, expected in ((0, 1), (30, 6), (24 * 5, 24), (24 * 20, 24 * 7)):
            with patch.object(fields.Datetime, "now", self.later(hours)):
                record.action_refresh()
                self.import_results()
                wait = record.next_poll - now - timedelta(hours=hours)
                self.assertLessEqual(wait, timedelta(hours=expected))
                self.assertGreater(wait, timedelta(hours=expected * 0.8))
        with patch.object(fields.Datetime, "now", self.later(24 * 91)):
            record.action_refresh()
            self.import_results()
        self.assertFalse(record.next_poll)

    def test_refresh_needs_the_right(self):
        campaign = self.send()
        self.push("stats")
        record = self.record(campaign)
        before = record.next_poll
        seller = new_test_user(
            self.env, "seller", groups="sales_team.group_sale_salesman_all_leads"
        )
        with self.assertRaises(AccessError):
            record.with_user(seller).action_refresh()
        user = new_test_user(
            self.env, "syncer", groups="crm_mailchimp.group_mailchimp_user"
        )
        self.simulator.clear_calls()
        record.with_user(user).action_refresh()
        self.assertEqual(self.simulator.calls, [])
        self.assertLess(record.next_poll, before)
        self.assertTrue(record.with_user(seller).attribution_note is not None)

    # === CHATTER === #

    def notes(self, name):
        return (
            self.env["res.partner"]
            .search([("name", "=", name)])
            .message_ids.filtered(lambda m: "campaign" in (m.body or ""))
        )

    def test_who_clicked_a_link(self):
        campaign = self.send()
        first, second = "https://firma.be/x", "https://firma.be/y"
        self.audience.click(campaign, "c1@firma.be", first)
        self.audience.click(campaign, "c2@firma.be", first)
        self.audience.click(campaign, "c2@firma.be", second)
        self.audience.open(campaign, "c3@firma.be")
        self.push("stats")
        links = self.record(campaign).link_ids
        for link, emails in (
            (first, ["c1@firma.be", "c2@firma.be"]),
            (second, ["c2@firma.be"]),
        ):
            action = links.filtered(lambda line, url=link: line.url == url)
            action = action.action_open_clickers()
            found = self.env[action["res_model"]].search(action["domain"])
            self.assertEqual(sorted(found.mapped("email_normalized")), emails)

    def test_chatter(self):
        self.audience.generate(self.send(title="Before"), opens=1.0, seed=1)
        self.push("stats")
        self.account.log_activity_to_chatter = True
        self.simulator.advance(2)
        campaign = self.send(title="<b>After</b>")
        with patch.object(fields.Datetime, "now", self.later(2 / 3600)):
            self.audience.open(campaign, "c1@firma.be")
            self.audience.open(campaign, "c1@firma.be")
            self.audience.click(campaign, "c1@firma.be", "https://firma.be/x")
            self.audience.unsubscribe("c2@firma.be", "too many", campaign=campaign.id)
            self.audience.bounce("c3@firma.be", "soft", campaign=campaign.id)
            self.push("stats")
            [note] = self.notes("C1")
            self.assertIn("First opened the campaign &lt;b&gt;After", note.body)
            self.assertIn('href="https://firma.be/x"', note.body)
            self.assertEqual(note.message_type, "notification")
            self.assertFalse(note.notified_partner_ids)
            self.assertIn("too many", self.notes("C2").body)
            self.assertIn("bounced (soft)", self.notes("C3").body)
            # Once, whatever is read again, and an open only the first time.
            self.simulator.advance(60)
            self.audience.open(campaign, "c1@firma.be")
            self.record(campaign).read_marks = {}
            self.refresh(campaign)
        self.assertEqual(len(self.notes("C1")), 1)
        self.assertEqual(len(self.notes("C2")), 1)
        self.assertFalse(self.notes("C9"))
        # Nor when old events were deleted and somebody asks for the campaign again.
        self.account.keep_events_months = 1
        Event = self.env["crm.mailchimp.recipient.event"]
        with patch.object(fields.Datetime, "now", self.later(24 * 90)):
            self.env["crm.mailchimp.campaign"].search([]).next_poll = False
            Event._gc_events()
            self.assertFalse(Event.search([]))
            self.refresh(campaign)
            self.assertTrue(Event.search([]))
        self.assertEqual(len(self.notes("C1")), 1)
        self.assertEqual(len(self.notes("C2")), 1)
