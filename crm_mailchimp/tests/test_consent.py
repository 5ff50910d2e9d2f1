from unittest.mock import patch

from odoo import Command
from odoo.tests import tagged

from ..sync.send import Send
from .common import MailchimpCase, long


@tagged("post_install", "-at_install")
class TestConsent(MailchimpCase):
    """Consent is never violated, in either direction."""

    def prepare(self):
        super().prepare()
        self.link()

    def later(self):
        """Let Mailchimp's clock go on: a change has a time after the opt-in."""
        self.simulator.advance(2)

    # === MAILCHIMP SAYS NO === #

    def test_an_unsubscribe_takes_the_opt_in_from_every_sharer(self):
        ann = self.contact("Ann", "shared@firma.be")
        bob = self.contact("Bob", "shared@firma.be")
        self.push()
        self.later()
        self.audience.unsubscribe("shared@firma.be", reason="Too many mails")
        self.push()
        for partner in ann | bob:
            self.assertFalse(partner.mailchimp_opt_in)
            line = partner.mailchimp_consent_ids[0]
            self.assertEqual(
                (line.kind, line.source, line.note),
                ("out", "mailchimp", "Too many mails"),
            )
        self.push()
        self.assertEqual(len(ann.mailchimp_consent_ids), 2)
        self.assertEqual(self.status("shared@firma.be"), "unsubscribed")

    def test_the_chatter_says_it_once(self):
        partner = self.contact("Ann")
        self.push()
        self.later()
        self.audience.unsubscribe("ann@firma.be", reason="Too many mails")
        count = len(partner.message_ids)
        self.push()
        self.push()
        messages = partner.message_ids[: len(partner.message_ids) - count]
        self.assertEqual(len(messages), 1)
        self.assertIn("Too many mails", messages.body)

    def test_blacklist_on_unsubscribe(self):
        self.account.blacklist_on_unsubscribe = True
        entry = self.env["mail.blacklist"].create({"email": "ann@firma.be"})
        entry.active = False
        self.contact("Ann")
        self.push()
        self.later()
        self.audience.unsubscribe("ann@firma.be")
        self.push()
        self.assertTrue(entry.active)

    def test_an_opt_in_set_again_does_not_subscribe(self):
        partner = self.contact("Ann")
        self.push()
        self.later()
        self.audience.unsubscribe("ann@firma.be")
        self.push()
        partner.mailchimp_opt_in = True
        self.push()
        self.assertTrue(partner.mailchimp_opt_in)
        self.assertEqual(self.status("ann@firma.be"), "unsubscribed")
        self.assertEqual(partner.mailchimp_reason, "unsubscribed")

    def test_a_cleaned_address_keeps_the_opt_in_and_gets_no_write(self):
        partner = self.contact("Ann", city="Ghent")
        self.push()
        self.audience.bounce("ann@firma.be", kind="hard")
        self.push()
        partner.city = "Bruges"
        self.push()
        self.assertTrue(partner.mailchimp_opt_in)
        self.assertEqual(partner.mailchimp_reason, "cleaned")
        self.assertEqual(self.member("ann@firma.be").merge_fields["CITY"], "Ghent")
        partner.unlink()
        self.push()
        self.assertEqual(self.status("ann@firma.be"), "cleaned")

    def test_unsubscribed_members_are_not_archived_when_the_contact_goes(self):
        partner = self.contact("Ann")
        self.push()
        self.later()
        self.audience.unsubscribe("ann@firma.be")
        partner.unlink()
        self.push()
        self.assertEqual(self.status("ann@firma.be"), "unsubscribed")

    def test_permanently_deleted_is_remembered_and_never_tried_again(self):
        partner = self.contact("Ann")
        self.push()
        self.audience.delete_permanently("ann@firma.be")
        self.push()
        self.assertTrue(partner.mailchimp_opt_in)
        self.assertEqual(partner.mailchimp_reason, "forgotten")
        self.simulator.clear_calls()
        self.push()
        self.assertFalse(self.simulator.count("POST"))

    def test_known_there_as_unsubscribed_before_linking(self):
        partner = self.contact("Ann")
        partner.mailchimp_opt_in_date = "2020-01-01 00:00:00"
        self.audience.add_member("ann@firma.be", status="unsubscribed")
        self.push("full")
        self.assertFalse(partner.mailchimp_opt_in)
        self.assertEqual(self.status("ann@firma.be"), "unsubscribed")

    def test_archived_before_linking_stays_archived(self):
        partner = self.contact("Ann")
        self.audience.add_member("ann@firma.be")
        self.audience.archive("ann@firma.be")
        self.push("full")
        self.assertEqual(self.status("ann@firma.be"), "archived")
        self.assertEqual(partner.mailchimp_reason, "archived")

    # === ODOO SAYS NO === #

    def test_an_opt_out_leaves_before_anything_else_is_written(self):
        ann = self.contact("Ann")
        self.push()
        self.contact("Bob")
        self.flag("All", "[]")
        ann.mailchimp_opt_in = False
        self.simulator.clear_calls()
        self.push()
        writes = [call for call in self.simulator.calls if call.method != "GET"]
        self.assertEqual(writes[0].method, "DELETE")
        self.assertEqual(self.status("ann@firma.be"), "archived")

    def test_an_opt_out_leaves_with_the_push_off(self):
        ann = self.contact("Ann")
        self.push()
        self.account.push_enabled = False
        self.contact("Bob")
        ann.mailchimp_opt_in = False
        self.send_opt_outs()
        self.assertEqual(self.status("ann@firma.be"), "archived")
        self.assertIsNone(self.status("bob@firma.be"))

    def test_a_newer_opt_out_of_a_sharer_archives_the_address(self):
        ann = self.contact("Ann", "shared@firma.be")
        bob = self.contact("Bob", "shared@firma.be")
        (ann | bob).mailchimp_opt_in_date = "2026-01-01 00:00:00"
        self.push()
        bob.mailchimp_opt_in = False
        self.push()
        self.assertEqual(self.status("shared@firma.be"), "archived")
        self.assertEqual(ann.mailchimp_reason, "opted_out")

    def test_who_left_for_another_reason_than_a_no_comes_back(self):
        ann = self.contact("Ann")
        self.push()
        if self.simulator.switches.date_header:
            # Else Odoo could not follow the simulated clock.
            self.simulator.advance(60)
        ann.active = False
        self.push()
        self.assertEqual(self.status("ann@firma.be"), "archived")
        ann.active = True
        self.push()
        self.assertEqual(self.status("ann@firma.be"), "subscribed")

    def test_whom_somebody_changed_since_odoo_archived_it_stays_out(self):
        """The link of an old mail, then archived by hand: nothing shows the "no"."""
        ann = self.contact("Ann", city="Ghent")
        self.push()
        ann.mailchimp_opt_in = False
        self.send_opt_outs()
        self.simulator.advance(60)
        self.audience.unsubscribe("ann@firma.be")
        if self.status("ann@firma.be") == "unsubscribed":
            self.audience.archive("ann@firma.be")
        self.audience.edit("ann@firma.be", merge_fields={"CITY": "Bruges"})
        self.push()
        ann.mailchimp_opt_in = True
        self.push()
        self.assertEqual(self.status("ann@firma.be"), "archived")
        self.assertEqual(ann.mailchimp_reason, "archived")

    def withdraw_a_tag_of_who_left(self):
        """Let the tag be removed of somebody whom Odoo archived.

        Mailchimp changes archived members by it, too.
        """
        self.account.segment_target = "tag"
        ann = self.contact("Ann", city="Ghent")
        segment = self.flag("Ghent", "[('city', '=', 'Ghent')]")
        self.push()
        self.opt_out(ann)
        self.simulator.advance(3600)
        segment.mailchimp_sync = False
        return ann

    def test_who_had_a_tag_that_is_gone(self):
        ann = self.withdraw_a_tag_of_who_left()
        self.push()
        self.simulator.advance(3600)
        self.push()
        ann.mailchimp_opt_in = True
        self.push()
        self.assertEqual(self.status("ann@firma.be"), "subscribed")

    def test_who_had_a_tag_that_goes_with_the_same_run(self):
        ann = self.withdraw_a_tag_of_who_left()
        ann.mailchimp_opt_in = True
        self.push()
        self.assertEqual(self.status("ann@firma.be"), "subscribed")

    def test_who_was_changed_after_its_tag_was_gone(self):
        ann = self.withdraw_a_tag_of_who_left()
        self.push()
        self.simulator.advance(3600)
        self.audience.touch(["ann@firma.be"])
        self.push()
        ann.mailchimp_opt_in = True
        self.push()
        self.assertEqual(self.status("ann@firma.be"), "archived")

    def test_opting_in_again_in_odoo_comes_back(self):
        partner = self.contact("Ann")
        self.push()
        partner.mailchimp_opt_in = False
        self.push()
        self.assertEqual(self.status("ann@firma.be"), "archived")
        partner.mailchimp_opt_in = True
        run = self.push()
        self.assertEqual(self.status("ann@firma.be"), "subscribed")
        self.assertEqual(run.counters["restored"], 1)

    def test_who_could_not_come_back_does_after_a_change(self):
        partner = self.contact("Ann")
        self.push()
        partner.active = False
        self.push()
        self.simulator.advance(60)
        self.simulator.fault("PATCH /lists/*/members/*", status=400)
        partner.active = True
        self.push()
        self.assertEqual(partner.mailchimp_reason, "other")
        self.simulator.clear_calls()
        self.push()
        self.assertFalse(self.simulator.count("PATCH"))
        partner.city = "Bruges"
        self.push()
        self.assertEqual(self.status("ann@firma.be"), "subscribed")
        member = self.ledger("ann@firma.be")
        self.assertFalse(member.reason or member.reason_text)

    def test_a_lost_answer_to_coming_back(self):
        partner = self.contact("Ann")
        self.push()
        partner.active = False
        self.push()
        self.simulator.advance(60)
        self.simulator.fault("PATCH /lists/*/members/*", "empty")
        partner.active = True
        self.push(state="waiting")
        self.push()
        self.assertEqual(self.status("ann@firma.be"), "subscribed")
        self.assertFalse(self.ledger("ann@firma.be").archived_by)

    def test_merged_contacts_keep_the_opt_out(self):
        ann = self.contact("Ann")
        twin = self.contact("Ann twin", "ann2@firma.be")
        twin.mailchimp_opt_in = False
        self.env["base.partner.merge.automatic.wizard"]._merge(
            (ann | twin).ids, ann, extra_checks=False
        )
        self.assertFalse(ann.mailchimp_opt_in)
        never_asked = self.contact("Never", mailchimp_opt_in=False)
        bob = self.contact("Bob")
        self.env["base.partner.merge.automatic.wizard"]._merge(
            (bob | never_asked).ids, bob, extra_checks=False
        )
        self.assertTrue(bob.mailchimp_opt_in)

    # === ARCHIVED BY ODOO === #

    def leave_and_come_back(self, meanwhile=lambda: None):
        ann = self.contact("Ann", city="Ghent")
        self.push()
        self.account.partner_domain = "[('city', '=', 'Paris')]"
        self.simulator.advance(60)
        self.push()
        self.assertEqual(self.status("ann@firma.be"), "archived")
        self.simulator.advance(60)
        self.push()
        self.simulator.advance(60)
        meanwhile()
        self.account.partner_domain = "[]"
        self.push()
        return ann

    def test_who_is_in_scope_again_comes_back(self):
        self.leave_and_come_back()
        self.assertEqual(self.status("ann@firma.be"), "subscribed")

    def test_not_who_was_changed_meanwhile(self):
        ann = self.leave_and_come_back(
            lambda: self.audience.touch(["ann@firma.be"], by="admin")
        )
        self.assertEqual(self.status("ann@firma.be"), "archived")
        self.assertEqual(ann.mailchimp_reason, "archived")

    def test_not_who_unsubscribed_by_an_old_mail_and_was_archived_again(self):
        def act():
            self.simulator.switches.update(archived_can_unsubscribe=True)
            self.audience.unsubscribe("ann@firma.be")
            self.audience.archive("ann@firma.be")

        before = self.simulator.switches.archived_can_unsubscribe
        self.addCleanup(self.simulator.switches.update, archived_can_unsubscribe=before)
        self.leave_and_come_back(act)
        self.assertEqual(self.status("ann@firma.be"), "archived")

    # === ARCHIVED BY HAND === #

    def test_cleaned_by_soft_bounces_then_archived_by_hand_stays_out(self):
        self.contact("Ann")
        self.push()
        self.later()
        self.audience.clean("ann@firma.be", kind="soft")
        self.audience.archive("ann@firma.be")
        self.push()
        self.push("full")
        self.assertEqual(self.status("ann@firma.be"), "archived")

    def test_removed_by_hand_stays_out(self):
        """Whether the person unsubscribed before it, nothing tells for certain."""
        ann = self.contact("Ann")
        self.push()
        self.later()
        self.audience.archive("ann@firma.be")
        self.push()
        self.push("full")
        self.assertEqual(self.status("ann@firma.be"), "archived")
        self.assertEqual(
            (ann.mailchimp_status, ann.mailchimp_reason), ("out", "archived")
        )
        self.assertTrue(ann.mailchimp_opt_in)

    def test_unsubscribed_then_archived_by_hand_stays_out(self):
        """Outside a campaign no activity need show the unsubscribe."""
        partner = self.contact("Ann")
        self.push()
        self.later()
        self.audience.unsubscribe("ann@firma.be")
        self.simulator.advance(3600)
        self.audience.archive("ann@firma.be")
        self.push()
        self.push("full")
        self.assertEqual(self.status("ann@firma.be"), "archived")
        self.assertEqual(partner.mailchimp_status, "out")

    def test_a_hidden_no_takes_the_opt_in_at_once(self):
        """Where the activity shows it, a "no" counts though the member is archived."""
        switches = self.simulator.switches
        switches.update(feed_has_unsubscribes_outside_campaigns=True)
        self.addCleanup(switches.update, feed_has_unsubscribes_outside_campaigns=False)
        partner = self.contact("Ann")
        self.push()
        self.later()
        self.audience.unsubscribe("ann@firma.be")
        self.audience.archive("ann@firma.be")
        self.push()
        self.assertFalse(partner.mailchimp_opt_in)

    def test_complained_then_archived_by_hand_stays_out(self):
        """A complaint need not show in the activity feed."""
        self.contact("Ann")
        self.push()
        self.later()
        self.audience.complain("ann@firma.be")
        self.audience.archive("ann@firma.be")
        self.push()
        self.push()
        self.assertEqual(self.status("ann@firma.be"), "archived")

    def test_bounced_then_archived_by_hand_stays_out(self):
        self.contact("Ann")
        self.push()
        self.later()
        self.audience.bounce("ann@firma.be", kind="hard")
        self.audience.archive("ann@firma.be")
        self.push()
        self.push()
        self.assertEqual(self.status("ann@firma.be"), "archived")

    # === BETWEEN THE PULL AND THE SEND === #

    def check_act_during_send(self, act, expected_status, opt_in, reason):
        """Let ``act`` happen after the run has read and before it writes."""
        ann = self.contact("Ann", city="Ghent")
        self.push()
        ann.city = "Bruges"
        self.contact("New")
        with self.before_subscribing(lambda: act("ann@firma.be")):
            self.later()
            self.push()
        self.assertEqual(self.status("ann@firma.be"), expected_status)
        self.push()
        self.push()
        self.assertEqual(self.status("ann@firma.be"), expected_status)
        self.assertEqual(ann.mailchimp_opt_in, opt_in)
        self.assertEqual(ann.mailchimp_reason, reason)
        self.assertEqual(self.status("new@firma.be"), "subscribed")

    def test_unsubscribes_during_the_run(self):
        self.check_act_during_send(
            lambda email: self.audience.unsubscribe(email),
            "unsubscribed",
            False,
            "unsubscribed",
        )

    def test_a_no_in_an_answer_takes_the_opt_in_in_the_same_run(self):
        ann = self.contact("Ann", city="Ghent")
        self.push()
        ann.city = "Bruges"
        with self.before("PATCH", lambda: self.audience.unsubscribe("ann@firma.be")):
            self.push()
        self.assertEqual(self.status("ann@firma.be"), "unsubscribed")
        self.assertFalse(ann.mailchimp_opt_in)

    def test_is_unsubscribed_by_an_admin_during_the_run(self):
        self.check_act_during_send(
            lambda email: self.audience.unsubscribe(email, by="admin"),
            "unsubscribed",
            False,
            "unsubscribed",
        )

    def test_complains_during_the_run(self):
        self.check_act_during_send(
            lambda email: self.audience.complain(email),
            "unsubscribed",
            False,
            "unsubscribed",
        )

    def test_bounces_during_the_run(self):
        self.check_act_during_send(
            lambda email: self.audience.bounce(email, kind="hard"),
            "cleaned",
            True,
            "cleaned",
        )

    def test_is_permanently_deleted_during_the_run(self):
        self.check_act_during_send(
            lambda email: self.audience.delete_permanently(email),
            None,
            True,
            "forgotten",
        )

    def test_is_archived_by_hand_during_the_run(self):
        ann = self.contact("Ann", city="Ghent")
        self.push()
        ann.city = "Bruges"
        self.contact("New")
        with self.before_subscribing(lambda: self.audience.archive("ann@firma.be")):
            self.later()
            self.push()
        self.assertEqual(self.status("ann@firma.be"), "archived")
        self.push()
        self.assertEqual(self.status("ann@firma.be"), "archived")
        self.assertEqual(ann.mailchimp_reason, "archived")

    def test_signed_up_and_archived_before_any_run_saw_it(self):
        self.contact("Ann")
        self.push()
        self.simulator.advance(3600)
        self.audience.add_member("eve@firma.be")
        self.audience.archive("eve@firma.be")
        self.simulator.advance(60)
        eve = self.contact("Eve")
        self.push()
        self.assertEqual(self.status("eve@firma.be"), "archived")
        self.assertEqual(eve.mailchimp_status, "out")

    def test_somebody_else_adds_a_new_address_as_unsubscribed(self):
        partner = self.contact("Ann")
        partner.mailchimp_opt_in_date = "2020-01-01 00:00:00"
        with self.before_subscribing(
            lambda: self.audience.add_member("ann@firma.be", status="unsubscribed")
        ):
            self.push()
        self.assertEqual(self.status("ann@firma.be"), "unsubscribed")
        self.push()
        self.assertEqual(self.status("ann@firma.be"), "unsubscribed")
        self.assertFalse(partner.mailchimp_opt_in)

    def test_opts_out_in_odoo_during_the_run(self):
        first = self.contact("First")
        ann = self.contact("Ann")
        self.push()
        new = self.contact("New")
        first.city = "Bruges"
        original = Send.work

        def opt_out_first(phase):
            (new | ann).with_env(phase.env).write({"mailchimp_opt_in": False})
            return original(phase)

        self.patch(Send, "work", opt_out_first)
        self.push()
        self.assertIsNone(self.status("new@firma.be"))
        self.tick()
        self.push()
        self.assertEqual(self.status("ann@firma.be"), "archived")

    def test_another_contact_takes_the_address_during_the_run(self):
        """What is sent is asked for by whoever stands for the address by then."""
        ann = self.contact("Ann", "office@firma.be")
        office = self.contact(
            "Office", "office@firma.be", is_company=True, mailchimp_opt_in=False
        )
        original = Send.work

        def opt_in_first(phase):
            office.with_env(phase.env).mailchimp_opt_in = True
            return original(phase)

        with patch.object(Send, "work", opt_in_first):
            self.push()
        self.push()
        sent = [str(call.body) for call in self.simulator.calls if call.body]
        self.assertFalse([body for body in sent if "Ann" in body])
        self.assertEqual(self.member("office@firma.be").merge_fields["FNAME"], "Office")
        self.assertEqual(ann.mailchimp_reason, "shared_address")

    # === THE RECORD === #

    def test_consent_lines_of_a_user(self):
        user = self.env["res.users"].create(
            {
                "name": "Sales",
                "login": "sales-consent",
                "group_ids": [
                    Command.link(self.env.ref("sales_team.group_sale_salesman").id),
                    Command.link(self.env.ref("base.group_partner_manager").id),
                ],
            }
        )
        partner = self.contact("Ann", mailchimp_opt_in=False)
        self.assertFalse(partner.mailchimp_consent_ids)
        partner.with_user(user).mailchimp_opt_in = True
        partner.with_user(user).mailchimp_opt_in = True
        (line,) = partner.mailchimp_consent_ids
        self.assertEqual((line.kind, line.source, line.user_id), ("in", "user", user))
        self.assertTrue(partner.mailchimp_opt_in_date)
        partner.with_user(user).mailchimp_opt_in = False
        partner.invalidate_recordset()
        self.assertFalse(partner.mailchimp_opt_in_date)
        self.assertEqual(partner.mailchimp_consent_ids[0].kind, "out")

    def test_a_copied_contact_has_no_opt_in(self):
        self.assertFalse(self.contact("Ann").copy().mailchimp_opt_in)


@long
@tagged("post_install", "-at_install")
class TestConsentOtherAnswers(TestConsent):
    """The same where Mailchimp may answer either way, and nobody documents which."""

    switches = {
        "batch_archived_is_existing": True,
        "archived_keeps_compliance": True,
        "batch_undoes_api_unsubscribe": False,
        "plain_listing_has_archived": True,
        "since_inclusive": True,
        "query_offset_ignored": False,
        "complaint_in_feed": True,
        "tags_move_last_changed": False,
        "unsubscribed_can_be_archived": False,
        "archived_can_unsubscribe": False,
    }
