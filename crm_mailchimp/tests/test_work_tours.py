from pathlib import Path
from urllib.request import urlopen

from odoo.tests import HttpCase, new_test_user, tagged

from .common import MailchimpCase, long
from .test_engagement import MailingCase
from .test_setup import SetupCase

ADDON = Path(__file__).parents[1]


@long
@tagged("post_install", "-at_install")
class TestWorkTours(MailchimpCase, HttpCase):
    """What each role does, in a browser."""

    def tour(self, url, name, login="admin"):
        self.env.flush_all()
        self.start_tour(url, name, login=login)
        self.env.invalidate_all()

    def page(self):
        """Return the page of the audience that the simulator shows in a browser."""
        root = self.simulator.url.removesuffix("/3.0")
        with urlopen(f"{root}/audiences/{self.audience.id}", timeout=20) as answer:
            return answer.read().decode()

    def test_a_search_becomes_a_segment(self):
        self.link()
        self.contact("Tour one")
        self.contact("Tour two")
        self.contact("Other")
        self.tour("/odoo/contacts", "crm_mailchimp_search_to_segment")
        self.assertEqual(self.account.open_run_state, "queued")
        for _tick in range(5):
            self.tick()
        self.assertEqual(self.groups("tour.one@firma.be"), ["Tour segment"])
        self.assertEqual(self.groups("other@firma.be"), [])
        self.assertIn("Tour segment", self.page())

    def test_the_brake_and_its_correction(self):
        self.link()
        for number in range(60):
            self.contact(f"C{number}")
        self.push()
        self.account.partner_kind = "company"
        run = self.push(state="brake")
        self.tour(
            f"/odoo/crm.mailchimp.account/{self.account.id}", "crm_mailchimp_brake"
        )
        self.assertEqual(self.account.partner_kind, "all")
        self.tick()
        self.assertEqual(run.state, "done", run.error_message)
        self.assertEqual(self.status("c0@firma.be"), "subscribed")

    def test_a_failing_key_and_a_new_one(self):
        self.link()
        ann = self.contact("Ann")
        self.push()
        self.simulator.revoke_key()
        ann.city = "Bruges"
        self.push(state="failed")
        self.simulator.add_key("d" * 32 + "-us21")
        self.tour(
            f"/odoo/crm.mailchimp.account/{self.account.id}", "crm_mailchimp_new_key"
        )
        self.assertEqual(self.account.state, "linked")
        self.tick()
        self.assertEqual(self.member("ann@firma.be").merge_fields["CITY"], "Bruges")

    def test_several_opt_ins_at_once(self):
        people = self.env["res.partner"].create(
            [
                {"name": f"Several {number}", "email": f"s{number}@firma.be"}
                for number in range(3)
            ]
        )
        self.env["ir.filters"].create(
            {
                "name": "Several",
                "model_id": "res.partner",
                "domain": "[('name', 'like', 'Several')]",
                "is_default": True,
                "user_ids": [(4, self.env.ref("base.user_admin").id)],
            }
        )
        self.tour("/odoo/contacts?view_type=list", "crm_mailchimp_several_opt_ins")
        self.assertEqual(
            people.mapped("mailchimp_opt_in"), [False, True, True], "the selected ones"
        )
        self.assertEqual(len(people.mailchimp_consent_ids), 2)


@long
@tagged("post_install", "-at_install")
class TestSalespersonTours(MailingCase, HttpCase):
    """A salesperson without the right to sync."""

    def prepare(self):
        super().prepare()
        self.sam = new_test_user(
            self.env, "sam", groups="sales_team.group_sale_salesman"
        )

    def test_the_own_contacts(self):
        self.people["Click"].user_id = self.sam
        self.env.flush_all()
        self.start_tour("/odoo/crm", "crm_mailchimp_salesperson", login="sam")

    def test_the_status_of_a_contact(self):
        partner = self.people["Leaves"]
        self.simulator.advance(60)
        partner.mailchimp_opt_in = True
        self.env.flush_all()
        self.start_tour(
            f"/odoo/res.partner/{partner.id}",
            "crm_mailchimp_salesperson_opt_in",
            login="sam",
        )


@tagged("post_install", "-at_install")
class TestDutchTours(SetupCase, HttpCase):
    """The way from nothing to the first contact in the audience, in Dutch."""

    def prepare(self):
        super().prepare()
        self.env["res.lang"]._activate_lang("nl_NL")
        self.env["ir.module.module"].search(
            [("name", "=", "crm_mailchimp")]
        )._update_translations(["nl_NL"])
        self.manager.lang = "nl_NL"

    @long
    def test_guided_start(self):
        self.contact("Ann")
        english = self.env["crm.mailchimp.account"].with_context(lang="en_US")
        dutch = english.with_context(lang="nl_NL")
        titles = [
            {step["title"] for step in account.with_user(self.manager).get_setup()}
            for account in (english, dutch)
        ]
        if (ADDON / "i18n" / "nl.po").exists():
            self.assertFalse(titles[0] & titles[1], "every step is translated")
        self.env.flush_all()
        self.start_tour(
            "/odoo/mailing-overview", "crm_mailchimp_translated", login="admin"
        )
        self.start_tour("/odoo/crm", "crm_mailchimp_guided_start", login="admin")
        self.env.invalidate_all()
        self.account = self.env["crm.mailchimp.account"]._overview_account()
        for _tick in range(5):
            self.tick()
        self.assertEqual(self.status("ann@firma.be"), "subscribed")
