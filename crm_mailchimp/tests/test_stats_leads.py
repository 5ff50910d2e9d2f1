from datetime import timedelta

from odoo.tests import tagged

from .common_stats import StatsCase


@tagged("post_install", "-at_install")
class TestStatsLeads(StatsCase):
    """Leads are found by the marks in a campaign's links."""

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
