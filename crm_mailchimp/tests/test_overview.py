from datetime import datetime, timedelta, timezone
from itertools import pairwise
from unittest.mock import patch

from odoo import fields
from odoo.exceptions import AccessError, UserError
from odoo.tests import new_test_user, tagged

from .common import MailchimpCase

try:
    from mailchimp_simulator.routes import reports
except ImportError:  # installed without the repository around it
    reports = None


def past(days):
    """Return a time as the simulator takes it."""
    return (datetime.now(timezone.utc) - timedelta(days=days)).isoformat()


@tagged("post_install", "-at_install")
class TestOverview(MailchimpCase):
    """What the page Overview says is what Mailchimp says."""

    def prepare(self):
        super().prepare()
        self.link()
        for number in range(20):
            self.contact(f"C{number}")
        self.push()

    def send(self, title, days=0, kind="regular", parent=None, **shares):
        campaign = self.audience.add_campaign(
            type=kind, title=title, subject=title, parent=parent
        )
        self.audience.send_campaign(campaign, send_time=past(days))
        self.audience.generate(campaign, within=3600, seed=7, **shares)
        return campaign

    def overview(self, period="all"):
        return self.env["crm.mailchimp.account"].get_overview(period)

    def audience_numbers(self):
        return self.env["crm.mailchimp.account"].get_overview_audience()

    def test_figures_are_those_of_mailchimp(self):
        first = self.send("First", days=60, opens=0.8, clicks=0.3, hard_bounces=0.1)
        second = self.send(
            "Second", days=10, opens=0.2, clicks=0, soft_bounces=0.3, unsubscribes=0.2
        )
        self.push("stats")
        gateway = self.account._gateway()
        self.addCleanup(gateway.close)
        reports = [gateway.report(campaign.id) for campaign in (first, second)]
        bounces = [
            report["bounces"]["hard_bounces"] + report["bounces"]["soft_bounces"]
            for report in reports
        ]
        sent = [report["emails_sent"] for report in reports]
        delivered = [total - lost for total, lost in zip(sent, bounces, strict=True)]
        self.assertNotEqual(delivered[0], delivered[1], "weights must matter")
        figures = self.overview()["figures"]
        self.assertEqual(figures["campaigns"], 2)
        self.assertEqual(figures["sent"], sum(sent))
        self.assertEqual(figures["bounces"], sum(bounces))
        self.assertEqual(figures["unsubscribed"], reports[1]["unsubscribed"])
        self.assertGreater(figures["unsubscribed"], 0)
        for name, part, rate in (
            ("open_rate", "opens", "open_rate"),
            ("click_rate", "clicks", "click_rate"),
        ):
            weighted = sum(
                report[part][rate] * weight
                for report, weight in zip(reports, delivered, strict=True)
            ) / sum(delivered)
            self.assertAlmostEqual(figures[name], weighted, 5)
        self.assertAlmostEqual(
            figures["industry_open_rate"], reports[0]["industry_stats"]["open_rate"]
        )

    def test_the_period_decides(self):
        self.send("Old", days=400)
        self.send("Spring", days=200)
        self.send("Summer", days=60)
        self.send("News", days=10)
        self.push("stats")
        for period, names in {
            "30": ["News"],
            "90": ["Summer", "News"],
            "365": ["Spring", "Summer", "News"],
            "all": ["Old", "Spring", "Summer", "News"],
        }.items():
            data = self.overview(period)
            self.assertEqual([one["name"] for one in data["series"]], names)
            self.assertEqual(data["figures"]["campaigns"], len(names))
            found = self.env["crm.mailchimp.campaign"].search(data["campaign_domain"])
            self.assertEqual(set(found.mapped("name")), set(names))
        with self.assertRaises(UserError):
            self.overview("7; DROP TABLE res_users")

    def test_mails_of_an_automation_count_once(self):
        parent = self.audience.add_campaign(type="automation", title="Welcome")
        self.send("Mail 1", days=5, parent=parent, opens=1)
        self.send("Mail 2", days=4, parent=parent, opens=1)
        self.push("stats")
        data = self.overview()
        self.assertTrue(
            self.env["crm.mailchimp.campaign"].search_count(
                [("parent_id.name", "=", "Welcome")]
            ),
            "there are mails to leave out",
        )
        self.assertEqual([one["name"] for one in data["series"]], ["Welcome"])
        self.assertEqual(data["figures"]["sent"], 40)

    def test_mails_of_a_parent_without_totals_count_themselves(self):
        for kind, told in (("rss", 0), ("automation", 20)):
            with self.subTest(kind):
                parent = self.audience.add_campaign(type=kind, title=f"All {kind}")
                for number in range(2):
                    self.send(f"{kind} {number}", 5, kind, parent, opens=1)
                view = reports.report_view

                def report_view(campaign, parent=parent, view=view, told=told):
                    if campaign is parent:
                        return {**view(campaign), "emails_sent": told, "opens": None}
                    return view(campaign)

                with patch.object(reports, "report_view", report_view):
                    self.push("stats")
                data = self.overview()
                names = {one["name"] for one in data["series"]}
                self.assertLessEqual({f"{kind} 0", f"{kind} 1"}, names)
                self.assertNotIn(f"All {kind}", names)
        self.assertEqual(data["figures"]["sent"], 80)
        self.assertEqual(data["figures"]["open_rate"], 1)
        Campaign = self.env["crm.mailchimp.campaign"]
        found = Campaign.search(data["campaign_domain"])
        self.assertEqual(sum(found.mapped("sent")), 80)
        self.assertEqual(found, Campaign.search([]).filtered("is_counted"))

    def test_nothing_sent_is_unknown_not_zero(self):
        figures = self.overview()["figures"]
        self.assertEqual(figures["campaigns"], 0)
        self.assertIsNone(figures["open_rate"])
        self.assertIsNone(figures["industry_open_rate"])

    def test_best_and_worst(self):
        for number, opens in enumerate((0.1, 0.9, 0.5, 0.3)):
            self.send(f"N{number}", days=number + 1, opens=opens, clicks=0)
        few = self.audience.add_campaign(type="regular", title="Few", subject="Few")
        self.audience.send_campaign(few, ["c1@firma.be"])
        self.push("stats")
        data = self.overview()
        rates = [one["open_rate"] for one in data["best"] + data["worst"][::-1]]
        self.assertEqual(rates, sorted(rates, reverse=True))
        self.assertEqual(data["best"][0]["name"], "N1")
        self.assertEqual([one["name"] for one in data["worst"]], ["N0"])

    def test_growth(self):
        # Somebody who was there before Odoo: Mailchimp knows when it opted in.
        stamp = datetime.now(timezone.utc) - timedelta(days=40)
        self.audience.add_member(
            "foreign@firma.be", timestamp_opt=int(stamp.timestamp())
        )
        self.audience.unsubscribe("c1@firma.be")
        self.push()
        growth = self.overview("90")["growth"]
        self.assertEqual(sum(week["joined"] for week in growth), 21)
        self.assertEqual(sum(week["left"] for week in growth), 1)
        self.assertEqual(growth[-1]["left"], 1)
        monday = stamp.date() - timedelta(days=stamp.weekday())
        self.assertEqual(
            [week for week in growth if week["joined"]][0]["start"], str(monday)
        )
        starts = [fields.Date.to_date(week["start"]) for week in growth]
        gaps = {after - before for before, after in pairwise(starts)}
        self.assertEqual(gaps, {timedelta(days=7)}, "quiet weeks are shown, too")
        # Before the period it is not counted.
        growth = self.overview("30")["growth"]
        self.assertEqual(sum(week["joined"] for week in growth), 20)

    def test_audience(self):
        self.audience.unsubscribe("c1@firma.be")
        self.audience.clean("c2@firma.be")
        self.contact("Wrong", "no address at all")
        self.push()
        data = self.audience_numbers()
        counts = {line["status"]: line["count"] for line in data["statuses"]}
        self.assertEqual(counts, {"subscribed": 18, "unsubscribed": 1, "cleaned": 1})
        reasons = {line["reason"]: line["count"] for line in data["skipped"]}
        self.assertEqual(reasons, self.account._skipped_by_reason())
        self.assertEqual(reasons["cleaned"], 1)
        for line in data["skipped"]:
            self.assertEqual(
                self.env["crm.mailchimp.contact.status"].search_count(
                    [
                        ("account_id", "=", self.account.id),
                        ("reason", "=", line["reason"]),
                    ]
                ),
                line["count"],
            )
        self.assertEqual(data["invalid"], 1)
        partner = self.env["res.partner"].search([("email", "=", "c2@firma.be")])
        partner.email = "c2.new@firma.be"
        self.assertEqual(self.audience_numbers()["invalid"], 0)

    def test_runs(self):
        runs = self.overview()["runs"]
        self.assertEqual(
            runs["last_sync"],
            fields.Datetime.to_string(self.account.last_sync_date),
        )
        self.assertFalse(runs["problem"])
        self.assertGreater(
            runs["next"], fields.Datetime.to_string(fields.Datetime.now())
        )
        self.env.ref("crm_mailchimp.ir_cron_push").active = False
        self.assertFalse(self.overview()["runs"]["next"])
        self.account._set_error(UserError("The key is gone."))
        self.assertEqual(self.overview()["runs"]["problem"], "The key is gone.")

    def test_more_rows_need_no_more_statements(self):
        self.send("One", days=3, hard_bounces=0.1)
        self.push("stats")
        self.push()

        def statements():
            self.env.invalidate_all()
            before = self.cr.sql_log_count
            self.overview()
            self.audience_numbers()
            return self.cr.sql_log_count - before

        statements()
        few = statements()
        for number in range(12):
            self.send(f"More {number}", days=number * 20, hard_bounces=0.05)
        for number in range(30):
            self.contact(f"More {number}")
        self.push()
        self.push("stats")
        self.assertEqual(self.overview()["figures"]["campaigns"], 13)
        statements()
        # The second ranking has an own list of ids now, nothing else is new.
        self.assertLessEqual(statements(), few)

    def test_no_call_of_mailchimp(self):
        self.simulator.clear_calls()
        self.overview()
        self.audience_numbers()
        self.assertFalse(self.simulator.calls)

    # === WHO MAY SEE IT === #

    def test_another_company_is_not_shown(self):
        self.send("Ours", days=1)
        self.push("stats")
        other = self.env["res.company"].create({"name": "Other company"})
        user = new_test_user(
            self.env,
            "overview_other",
            groups="sales_team.group_sale_salesman_all_leads",
            company_id=other.id,
            company_ids=[(6, 0, (other + self.company).ids)],
        )
        Account = self.env["crm.mailchimp.account"].with_user(user)
        data = Account.with_context(allowed_company_ids=other.ids).get_overview("all")
        self.assertEqual(
            data,
            {
                "account_id": False,
                "linked": False,
                "may_configure": False,
                "setup": False,
            },
        )
        self.assertEqual(
            Account.with_context(allowed_company_ids=other.ids).get_overview_audience(),
            {},
        )
        # Seen beside ours, the other company is still the current one.
        both = (other + self.company).ids
        data = Account.with_context(allowed_company_ids=both).get_overview("all")
        self.assertFalse(data["linked"])
        data = Account.with_context(allowed_company_ids=both[::-1]).get_overview("all")
        self.assertEqual(data["figures"]["campaigns"], 1)

    def test_without_sales_rights(self):
        user = new_test_user(self.env, "overview_employee", groups="base.group_user")
        Account = self.env["crm.mailchimp.account"].with_user(user)
        with self.assertRaises(AccessError):
            Account.get_overview("all")
        with self.assertRaises(AccessError):
            Account.get_overview_audience()

    def test_before_an_audience_is_linked(self):
        self.account._stop()
        self.account.active = False
        data = self.env["crm.mailchimp.account"].get_overview("30")
        self.assertFalse(data["linked"])
        self.assertTrue(data["may_configure"])
