from datetime import timedelta
from unittest.mock import patch

from odoo import fields
from odoo.tests import tagged

from .common import MailchimpCase


@tagged("post_install", "-at_install")
class TestRules(MailchimpCase):
    """Rules of who is in the audience that no other file is about."""

    def prepare(self):
        super().prepare()
        self.link()

    def test_people_companies_or_both(self):
        ann = self.contact("Ann")
        corp = self.contact("Corp", is_company=True)
        self.account.partner_kind = "person"
        self.push()
        self.assertEqual(set(self.audience.members), {"ann@firma.be"})
        self.assertEqual(corp.mailchimp_reason, "wrong_kind")
        self.account.partner_kind = "company"
        self.push()
        self.assertEqual(self.status("corp@firma.be"), "subscribed")
        self.assertEqual(self.status("ann@firma.be"), "archived")
        self.assertEqual(ann.mailchimp_reason, "wrong_kind")
        self.account.partner_kind = "all"
        self.push()
        self.assertEqual(self.status("ann@firma.be"), "subscribed")

    def test_only_contacts_matching(self):
        self.contact("Ann", city="Ghent")
        bob = self.contact("Bob", city="Paris")
        self.account.partner_domain = "[('city', '=', 'Ghent')]"
        self.push()
        self.assertEqual(set(self.audience.members), {"ann@firma.be"})
        self.assertEqual(bob.mailchimp_reason, "out_of_scope")
        bob.city = "Ghent"
        self.push()
        self.assertEqual(self.status("bob@firma.be"), "subscribed")

    def test_too_many_sign_ups_pass_after_days(self):
        switches = self.simulator.switches
        switches.update(busy_addresses=("ann@firma.be",))
        self.addCleanup(switches.update, busy_addresses=())
        ann = self.contact("Ann")
        self.push()
        self.assertEqual(ann.mailchimp_reason, "too_many_signups")
        switches.update(busy_addresses=())
        self.simulator.clear_calls()
        self.push()
        self.assertFalse(self.simulator.count("POST"))
        later = fields.Datetime.now() + timedelta(days=4)
        with patch.object(fields.Datetime, "now", lambda: later):
            self.push()
        self.assertEqual(ann.mailchimp_status, "in")

    def test_who_signs_up_again_by_itself_is_not_archived(self):
        ann = self.contact("Ann")
        self.push()
        self.simulator.advance(60)
        self.audience.unsubscribe("ann@firma.be")
        self.push()
        self.assertFalse(ann.mailchimp_opt_in)
        self.simulator.advance(60)
        self.audience.sign_up("ann@firma.be")
        self.push()
        self.assertEqual(self.status("ann@firma.be"), "subscribed")
        self.assertFalse(ann.mailchimp_opt_in)
        self.account.foreign_members = "import"
        self.push()
        self.assertTrue(ann.mailchimp_opt_in)
        self.assertEqual(ann.mailchimp_consent_ids[0].source, "mailchimp")
        self.assertEqual(ann.mailchimp_status, "in")

    def test_who_signs_up_anew_with_an_address_that_is_gone_is_not_archived(self):
        ann, bob = self.contact("Ann"), self.contact("Bob")
        self.push()
        ann.email = "ann2@firma.be"
        self.audience.delete_permanently("bob@firma.be")
        self.push()
        bob.mailchimp_opt_in = False
        self.simulator.advance(60)
        for email in ("ann@firma.be", "bob@firma.be"):
            self.assertIsNone(self.status(email))
            self.audience.add_member(email)
        self.push()
        self.assertEqual(self.status("ann@firma.be"), "subscribed")
        self.assertEqual(self.status("bob@firma.be"), "subscribed")
        self.assertFalse(bob.mailchimp_opt_in)

    def test_a_group_deleted_by_hand_comes_back(self):
        self.contact("Ann", city="Ghent")
        self.flag("Ghent", "[('city', '=', 'Ghent')]")
        self.push()
        self.audience.categories.clear()
        for member in self.audience.members.values():
            member.interests = frozenset()
        self.push("full")
        self.assertEqual(self.groups("ann@firma.be"), ["Ghent"])

    def test_a_filter_on_more_than_contacts(self):
        """Records without a contact do not count."""
        ann = self.contact("Ann")
        Lead = self.env["crm.lead"]
        Lead.create({"name": "Deal", "partner_id": ann.id})
        Lead.create({"name": "Deal", "email_from": "nobody@firma.be"})
        self.flag("Deals", "[('name', '=', 'Deal')]", model="crm.lead")
        self.push()
        self.assertEqual(self.account.segment_ids.matching_count, 1)

    def test_two_companies_share_a_consent(self):
        other = self.env["res.company"].create({"name": "Other company"})
        self.env.ref("base.user_admin").company_ids += other
        second = self.simulator.add_audience("Second audience")
        account = self.env["crm.mailchimp.account"].create(
            {"name": "Other", "company_id": other.id, "lang": "en_US"}
        )
        account.api_key = self.simulator.api_key
        account.action_connect()
        account._link_audience(
            {"id": second.id, "name": second.name, "web_id": second.web_id}
        )
        account.push_enabled = True
        ann = self.contact("Ann")
        self.contact("Bob", company_id=other.id)
        for linked in (self.account, account):
            linked._request_run("push")
        for _tick in range(3):
            self.tick()
        self.assertEqual(set(self.audience.members), {"ann@firma.be"})
        self.assertEqual(set(second.members), {"ann@firma.be", "bob@firma.be"})
        self.simulator.advance(60)
        second.unsubscribe("ann@firma.be")
        account._request_run("push")
        self.tick()
        self.assertFalse(ann.mailchimp_opt_in)
        self.send_opt_outs()
        self.assertEqual(self.status("ann@firma.be"), "archived")
        self.assertEqual(second.members["ann@firma.be"].status, "unsubscribed")
