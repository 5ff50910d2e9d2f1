from odoo.tests import HttpCase, tagged

from ..models.labelled import RUNS
from .common import long
from .test_rights import RightsCase

MARKUP = "<img src=x onerror=alert(1)>"
SCRIPT = "javascript:alert(1)//https://"
FORMULAS = ("=1+1", "+1", "-1+cmd", "@SUM(1)", "\t=1", "\r=1")


class HostileCase(RightsCase):
    """A Mailchimp whose texts try to do something."""

    def prepare(self):
        super().prepare()
        self.link()
        self.account.log_activity_to_chatter = True
        self.ann = self.contact(f"Ann {MARKUP}", "ann@firma.be")
        self.push()
        campaign = self.audience.add_campaign(
            "regular", title=f"Title {MARKUP}", subject=f"Subject {MARKUP}"
        )
        self.audience.send_campaign(campaign)
        self.simulator.advance(60)
        self.audience.open(campaign.id, "ann@firma.be")
        self.audience.click(campaign.id, "ann@firma.be", SCRIPT)
        self.simulator.advance(60)
        self.audience.unsubscribe(
            "ann@firma.be", campaign=campaign.id, reason=f"Reason {MARKUP}"
        )
        self.push()
        self.push("stats")
        self.campaign = self.env["crm.mailchimp.campaign"].search([])


@tagged("post_install", "-at_install")
class TestHostile(HostileCase):
    def assert_text(self, html, word):
        self.assertIn(f"{word} &lt;img", html)
        self.assertNotIn("<img src=x", html)
        self.assertNotIn('<img src="x', html)

    def test_pages_and_messages(self):
        self.assertIn(MARKUP, self.campaign.name)
        bodies = "".join(self.ann.message_ids.mapped("body"))
        self.assert_text(bodies, "Title")
        self.assert_text(bodies, "Reason")
        Report = self.env["ir.actions.report"].with_user(self.manager)
        for report, record, word in (
            ("action_report_campaign", self.campaign, "Title"),
            ("action_report_consent", self.ann, "Reason"),
            ("action_report_dossier", self.ann, "Reason"),
        ):
            html, _kind = Report._render_qweb_html(
                f"crm_mailchimp.{report}", record.ids
            )
            with self.subTest(report):
                self.assert_text(html.decode(), word)

    def test_a_link_that_runs_something(self):
        event = self.env["crm.mailchimp.recipient.event"].search(
            [("kind", "=", "click")]
        )
        self.assertEqual(event.url, SCRIPT, "it is kept as it was")
        bodies = "".join(self.ann.message_ids.mapped("body"))
        self.assertIn("javascript:alert", bodies)
        self.assertNotRegex(bodies, "href=.javascript")

    def test_no_formula_in_an_export(self):
        member = self.ledger("ann@firma.be")
        lines = self.env["crm.mailchimp.consent"]
        for text in FORMULAS:
            member.reason_text = text
            self.env.flush_all()
            [[cell]] = member.export_data(["reason_text"])["datas"]
            self.assertEqual(cell, f"'{text}")
            lines |= lines.create({"kind": "in", "note": text})
        for [cell] in lines.export_data(["note"])["datas"]:
            self.assertNotIn(cell[0], RUNS)
        # Odoo's own models are left alone.
        partner = self.env["res.partner"].create({"name": "+32"})
        self.assertEqual(partner.export_data(["name"])["datas"], [["+32"]])


@tagged("post_install", "-at_install")
class TestHostileTour(HttpCase):
    """Lists, forms and the link of a click, in a browser."""

    @long
    def test_lists_and_links(self):
        company = self.env.company
        account = self.env["crm.mailchimp.account"].search(
            [("company_id", "=", company.id)], limit=1
        ) or self.env["crm.mailchimp.account"].create({"name": "Tour"})
        campaign = self.env["crm.mailchimp.campaign"].create(
            {
                "account_id": account.id,
                "company_id": company.id,
                "campaign_ref": "hostile",
                "name": f"Hostile {MARKUP}",
                "subject": MARKUP,
                "status": "sent",
                "sent": 1,
                "delivered": 1,
                "send_time": "2026-01-01",
                "link_ids": [(0, 0, {"link_ref": "x", "url": SCRIPT})],
            }
        )
        self.start_tour(
            f"/odoo/crm.mailchimp.campaign/{campaign.id}",
            "crm_mailchimp_hostile",
            login="admin",
        )
