from datetime import datetime, timezone
from unittest.mock import patch

from odoo import Command
from odoo.exceptions import AccessError
from odoo.tests import tagged

from ..models import slices
from ..sync import imports, push
from .common import MailchimpCase


@tagged("post_install", "-at_install")
class TestForeignMembers(MailchimpCase):
    """Members that Odoo did not add and no contact with an opt-in stands for."""

    def prepare(self):
        super().prepare()
        self.audience.add_member(
            "eve@firma.be", merge_fields={"FNAME": "Eve", "LNAME": "Stone"}
        )
        self.audience.add_member("gone@firma.be", status="unsubscribed")
        self.never_asked = self.contact("Nina", mailchimp_opt_in=False)
        self.audience.add_member("nina@firma.be")
        self.link()

    def test_kept(self):
        self.simulator.clear_calls()
        self.push()
        self.assertEqual(self.status("eve@firma.be"), "subscribed")
        self.assertEqual(self.status("nina@firma.be"), "subscribed")
        self.assertFalse([c for c in self.simulator.calls if c.method == "DELETE"])

    def test_many_are_imported_in_slices(self):
        """Odoo kills a job that takes too long: contacts are made a part at a time."""
        self.account.foreign_members = "import"
        self.patch(imports, "CONTACTS", 10)
        for number in range(40):
            self.audience.add_member(f"f{number}@firma.be")
        found = [("email", "like", "f%@firma.be")]
        Partner = self.env["res.partner"]
        self.account._request_run("push")
        sizes = set()
        with (
            patch.object(slices, "SLICE_SECONDS", 0),
            patch.object(push, "PHASE_SECONDS", 0),
        ):
            for _tick in range(10):
                self.tick()
                sizes.add(Partner.search_count(found))
        self.push()
        self.assertEqual(Partner.search_count(found), 40)
        self.assertLessEqual({10, 20, 30, 40}, sizes)

    def test_archived_after_a_question_that_lists_them(self):
        self.account.foreign_members = "archive"
        self.push()
        self.assertEqual(self.status("eve@firma.be"), "subscribed")
        self.assertEqual(self.account.foreign_count, 2)
        action = self.account.action_open_foreign()
        members = self.env["crm.mailchimp.member"].search(action["domain"])
        self.assertEqual(
            members.mapped("email_normalized"), ["eve@firma.be", "nina@firma.be"]
        )
        members[0].action_archive_foreign()
        self.tick()
        self.assertEqual(self.status("eve@firma.be"), "archived")
        self.assertEqual(self.status("nina@firma.be"), "subscribed")
        self.assertEqual(self.status("gone@firma.be"), "unsubscribed")
        self.assertEqual(self.account.foreign_count, 1)

    def test_who_gets_a_contact_meanwhile_is_not_archived(self):
        self.account.foreign_members = "archive"
        self.push()
        members = self.env["crm.mailchimp.member"].search(
            self.account.action_open_foreign()["domain"]
        )
        members.action_archive_foreign()
        self.contact("Eve")
        self.tick()
        self.assertEqual(self.status("eve@firma.be"), "subscribed")

    def test_a_contact_that_never_got_through_claims_its_member(self):
        self.account.foreign_members = "archive"
        self.push()
        eve = self.contact("Eve")
        # It differs from the member, but the change does not get through.
        eve.city = "Ghent"
        self.simulator.fault("/lists/*/members/*", "status", status=500, times=9)
        self.account._request_run("push")
        self.tick()
        self.simulator.faults.clear()
        eve.unlink()
        self.account.open_run_id.resume_at = False
        self.push()
        self.push()
        # It was ours from the moment the contact stood for it.
        self.assertEqual(self.status("eve@firma.be"), "archived")
        self.assertEqual(self.account.foreign_count, 1)

    def test_who_was_brought_back_by_us_leaves_with_the_opt_out(self):
        self.push()
        self.audience.archive("eve@firma.be")
        self.push()
        self.simulator.advance(60)
        eve, gone = self.contact("Eve"), self.contact("Gone")
        self.push()
        self.assertEqual(eve.mailchimp_reason, "archived")
        (eve | gone).action_mailchimp_ask_again()
        self.tick()
        self.assertEqual(self.status("eve@firma.be"), "pending")
        self.assertEqual(self.status("gone@firma.be"), "pending")
        self.audience.confirm("eve@firma.be")
        (eve | gone).mailchimp_opt_in = False
        self.push()
        self.assertEqual(self.status("eve@firma.be"), "archived")
        # Mailchimp archives nobody who was asked and has not answered.
        self.assertEqual(self.status("gone@firma.be"), "unsubscribed")

    def test_changing_ones_mind_ends_the_question(self):
        self.account.foreign_members = "archive"
        self.push()
        self.account.foreign_members = "keep"
        self.push()
        self.assertFalse(self.account.foreign_count)

    def test_only_a_manager_may_archive_them(self):
        self.account.foreign_members = "archive"
        self.push()
        user = self.env["res.users"].create(
            {
                "name": "U",
                "login": "u",
                "group_ids": [
                    Command.link(self.env.ref("crm_mailchimp.group_mailchimp_user").id)
                ],
            }
        )
        with self.assertRaises(AccessError):
            self.ledger("eve@firma.be").with_user(user).action_archive_foreign()

    def test_imported(self):
        seller = self.env.ref("base.user_admin")
        self.account.write(
            {"foreign_members": "import", "default_salesperson_id": seller.id}
        )
        run = self.push()
        eve = self.env["res.partner"].search([("email", "=", "eve@firma.be")])
        self.assertEqual((eve.name, eve.user_id), ("Eve Stone", seller))
        self.assertTrue(eve.mailchimp_opt_in)
        there = datetime.fromtimestamp(
            self.member("eve@firma.be").timestamp_opt, timezone.utc
        )
        self.assertEqual(eve.mailchimp_opt_in_date, there.replace(tzinfo=None))
        self.assertEqual(eve.mailchimp_consent_ids.source, "mailchimp")
        # A contact that was never asked gets the consent its person gave there.
        self.assertTrue(self.never_asked.mailchimp_opt_in)
        self.assertEqual(
            self.env["res.partner"].search_count([("email", "=", "nina@firma.be")]), 1
        )
        self.assertFalse(
            self.env["res.partner"].search([("email", "=", "gone@firma.be")])
        )
        self.assertEqual(run.counters["imported"], 2)
        self.assertEqual(eve.mailchimp_status, "in")
        self.simulator.clear_calls()
        run = self.push()
        self.assertFalse(run.counters.get("imported"))
        self.assertFalse([c for c in self.simulator.calls if c.method != "GET"])

    def test_who_opted_out_in_odoo_is_not_imported(self):
        self.never_asked.mailchimp_opt_in = True
        self.never_asked.mailchimp_opt_in = False
        archived = self.contact("Eve", active=False, mailchimp_opt_in=False)
        self.account.foreign_members = "import"
        self.push()
        self.assertFalse(self.never_asked.mailchimp_opt_in)
        self.assertFalse(archived.mailchimp_opt_in)
        self.assertFalse(
            self.env["res.partner"].search([("email", "=", "eve@firma.be")])
        )

    def test_who_opted_out_speaks_for_others_with_the_address(self):
        """One that opted out since has taken the address of another contact."""
        self.account.foreign_members = "import"
        other = self.contact("Other", "new@firma.be")
        other.mailchimp_opt_in = False
        cat = self.contact("Cat", "cat@firma.be")
        self.audience.sign_up("new@firma.be")
        cat.mailchimp_opt_in = False
        cat.email = "new@firma.be"
        self.push()
        self.assertFalse((other | cat).filtered("mailchimp_opt_in"))

    def test_who_signs_up_again_after_a_hidden_no_is_imported_at_once(self):
        """The "no" was found after the comparison, so nothing was compared since."""
        self.account.foreign_members = "import"
        ann = self.contact("Ann")
        self.push()
        self.simulator.advance(60)
        self.audience.complain("ann@firma.be")
        self.audience.archive("ann@firma.be")
        self.push()
        self.assertFalse(ann.mailchimp_opt_in)
        self.simulator.advance(60)
        self.audience.sign_up("ann@firma.be")
        self.push()
        self.assertTrue(ann.mailchimp_opt_in)
        self.assertEqual(self.ledger("ann@firma.be").partner_id, ann)

    def test_no_contact_is_doubled_for_its_second_address(self):
        self.account.write({"foreign_members": "import", "email_scope": "all"})
        ann = self.contact("Ann", "ann@firma.be, eve@firma.be")
        self.never_asked.email = "bob@firma.be, nina@firma.be"
        self.push()
        found = self.env["res.partner"].search([("email", "like", "@firma.be")])
        self.assertEqual(found, ann | self.never_asked)
        self.assertTrue(self.never_asked.mailchimp_opt_in)

    def test_who_is_out_of_scope_is_imported_and_stays(self):
        self.account.write({"foreign_members": "import", "partner_kind": "company"})
        self.push()
        self.push()
        self.assertEqual(self.status("eve@firma.be"), "subscribed")
        eve = self.env["res.partner"].search([("email", "=", "eve@firma.be")])
        self.assertTrue(eve.mailchimp_opt_in)

    def test_an_imported_contact_that_opts_out_leaves(self):
        self.account.foreign_members = "import"
        self.push()
        eve = self.env["res.partner"].search([("email", "=", "eve@firma.be")])
        eve.mailchimp_opt_in = False
        self.push()
        self.assertEqual(self.status("eve@firma.be"), "archived")
        self.push()
        self.assertFalse(eve.mailchimp_opt_in)


@tagged("post_install", "-at_install")
class TestAskAgain(MailchimpCase):
    """Coming back after a "no": only by the person's own confirmation."""

    def prepare(self):
        super().prepare()
        self.link()
        self.ann = self.contact("Ann")
        self.push()
        self.simulator.advance(60)
        self.audience.unsubscribe("ann@firma.be")
        self.push()

    def opt_in_again(self):
        now = datetime.fromtimestamp(self.simulator.clock.now(), timezone.utc)
        self.ann.write(
            {
                "mailchimp_opt_in": True,
                "mailchimp_opt_in_date": now.replace(tzinfo=None),
            }
        )

    def test_an_opt_in_alone_does_not_subscribe(self):
        self.simulator.advance(60)
        self.opt_in_again()
        self.push()
        self.assertEqual(self.status("ann@firma.be"), "unsubscribed")
        self.assertEqual(self.ann.mailchimp_reason, "unsubscribed")

    def test_asked_and_confirmed(self):
        self.simulator.advance(60)
        self.opt_in_again()
        self.push()
        self.ann.action_mailchimp_ask_again()
        self.tick()
        self.assertEqual(self.status("ann@firma.be"), "pending")
        self.assertEqual(self.ann.mailchimp_reason, "pending")
        self.simulator.advance(60)
        self.audience.confirm("ann@firma.be")
        self.push()
        self.assertEqual(self.ann.mailchimp_status, "in")
        self.assertTrue(self.ann.mailchimp_opt_in)

    def test_nobody_without_a_new_opt_in_is_asked(self):
        with self.assertRaisesRegex(Exception, "nobody to ask"):
            self.as_user(self.ann).action_mailchimp_ask_again()

    def test_an_opt_out_after_the_question_was_planned(self):
        self.simulator.advance(60)
        self.opt_in_again()
        self.push()
        self.ann.action_mailchimp_ask_again()
        self.ann.mailchimp_opt_in = False
        self.tick()
        self.assertEqual(self.status("ann@firma.be"), "unsubscribed")


@tagged("post_install", "-at_install")
class TestRequired(MailchimpCase):
    """What the audience requires is checked before the call."""

    def prepare(self):
        super().prepare()
        self.audience.add_merge_field("City", "CITY", "text", required=True)
        self.link()

    def test_a_contact_without_a_required_value_is_held(self):
        ann = self.contact("Ann", city="Ghent")
        bob = self.contact("Bob")
        self.push()
        self.assertEqual(set(self.audience.members), {"ann@firma.be"})
        self.assertEqual(bob.mailchimp_reason, "required_field")
        held = self.ledger("bob@firma.be")
        self.assertEqual(held.reason_text, "No value for: City")
        self.assertTrue(held.refused_at, "the file of refused contacts shows when")
        self.simulator.clear_calls()
        self.push()
        self.assertFalse([c for c in self.simulator.calls if c.method != "GET"])
        bob.city = "Rome"
        ann.city = False
        self.push()
        self.assertEqual(self.status("bob@firma.be"), "subscribed")
        # Mailchimp lets nobody clear it.
        self.assertEqual(self.member("ann@firma.be").merge_fields["CITY"], "Ghent")
        refused = [c for c in self.simulator.calls if c.status and c.status >= 400]
        self.assertFalse(refused)

    def test_once_it_is_not_required_any_more(self):
        bob = self.contact("Bob")
        self.push()
        for field in self.audience.merge_fields.values():
            field.required = False
        self.push()
        self.assertEqual(bob.mailchimp_status, "in")
