from unittest.mock import patch

from odoo.tests import tagged

from ..engine.address import member_hash
from ..models import opt_out
from ..sync.creates import Creates
from ..sync.sending import SendingPhase
from .common import MailchimpCase, long


@tagged("post_install", "-at_install")
class TestOptOutLane(MailchimpCase):
    """Who said no in Odoo leaves, whatever else is going on."""

    def prepare(self):
        super().prepare()
        self.link()

    def test_each_is_looked_at_before_and_afterwards(self):
        ann = self.contact("Ann")
        self.push()
        self.simulator.clear_calls()
        self.opt_out(ann)
        self.assertEqual(self.status("ann@firma.be"), "archived")
        methods = [call.method for call in self.simulator.calls]
        # The first one looks whose the audience is.
        self.assertEqual(methods, ["GET", "GET", "DELETE", "GET"])
        self.assertFalse(self.account.opt_out_waiting)
        self.assertIn("In the last 30 days: 1;", self.account.opt_out_summary)
        self.assertIn("confirmed by Mailchimp: 1;", self.account.opt_out_summary)
        self.simulator.clear_calls()
        self.send_opt_outs()
        self.assertFalse(self.simulator.calls)

    def test_one_that_left_is_looked_at_until_it_is_confirmed(self):
        """A run may see that it left before the lane can look again."""
        ann = self.contact("Ann")
        self.push()
        self.simulator.fault("GET /lists/*/members/*", status=400, after=1)
        self.opt_out(ann)
        self.assertEqual(self.status("ann@firma.be"), "archived")
        self.assertIn("none confirmed", self.account.opt_out_summary)
        self.assertTrue(self.account.opt_out_error)
        self.push()
        self.assertEqual(self.push().summary, "Nothing to do")
        self.send_opt_outs()
        self.assertIn("confirmed by Mailchimp: 1;", self.account.opt_out_summary)
        self.assertFalse(self.account.opt_out_error)
        member = self.ledger("ann@firma.be")
        self.assertEqual(member.archived_by, "odoo")
        self.assertFalse(member.operation)
        self.assertFalse(member.next_try)

    def test_the_next_run_tells_what_the_lane_did(self):
        people = [self.contact(name) for name in ("Ann", "Bob", "Eve")]
        self.push()
        self.opt_out(*people[:2])
        self.assertEqual(self.push().summary, "Opt-outs sent: 2")
        self.assertEqual(self.push().summary, "Nothing to do")
        self.assertEqual(self.push().summary, "Nothing to do")
        # Delivered by the run itself, which was first.
        self.simulator.advance(60)
        people[2].mailchimp_opt_in = False
        self.assertEqual(self.push().summary, "Archived: 1")
        self.assertEqual(self.push().summary, "Nothing to do")

    def test_who_was_gone_before_is_not_said_to_be_archived(self):
        ann, bob = self.contact("Ann"), self.contact("Bob")
        self.push()
        self.simulator.advance(60)
        ann.mailchimp_opt_in = bob.mailchimp_opt_in = False
        self.audience.archive("ann@firma.be")
        run = self.push("preview")
        self.assertEqual(run.counters, {"archive": 1})
        self.assertEqual(self.push().summary, "Archived: 1")
        self.assertEqual(self.ledger("ann@firma.be").archived_by, "mailchimp")
        self.assertEqual(self.push().summary, "Nothing to do")

    def test_an_opt_out_wakes_the_lane(self):
        ann = self.contact("Ann")
        self.push()
        cron = self.env.ref("crm_mailchimp.ir_cron_opt_out")
        triggers = self.env["ir.cron.trigger"]
        before = triggers.search_count([("cron_id", "=", cron.id)])
        ann.mailchimp_opt_in = False
        self.assertEqual(triggers.search_count([("cron_id", "=", cron.id)]), before + 1)

    def test_a_pending_member_is_unsubscribed(self):
        """Mailchimp archives nobody who is pending: the old mail would subscribe."""
        self.account.double_opt_in = True
        ann = self.contact("Ann")
        self.push()
        self.assertEqual(self.status("ann@firma.be"), "pending")
        self.opt_out(ann)
        self.assertEqual(self.status("ann@firma.be"), "unsubscribed")
        self.assertFalse(self.account.opt_out_waiting)
        # The person clicks the old mail.
        with self.assertRaises(ValueError):
            self.audience.confirm("ann@firma.be")
        self.push()
        self.assertEqual(self.status("ann@firma.be"), "unsubscribed")

    def test_who_confirmed_after_the_opt_out_of_a_sharer_stays(self):
        """A newer yes of the person is not answered by archiving the member."""
        self.account.double_opt_in = True
        self.contact("Ann")
        office = self.contact("Office", "ann@firma.be", is_company=True)
        bob = self.contact("Bob")
        self.push()
        self.simulator.advance(60)
        office.mailchimp_opt_in = bob.mailchimp_opt_in = False
        self.simulator.advance(60)
        self.audience.confirm("ann@firma.be")
        self.audience.confirm("bob@firma.be")
        for _tick in range(2):
            self.send_opt_outs()
        self.assertEqual(self.status("ann@firma.be"), "subscribed")
        self.assertFalse(self.account.opt_out_waiting)
        self.push()
        self.assertEqual(self.status("ann@firma.be"), "subscribed")
        self.assertEqual(self.ledger("ann@firma.be").partner_id.name, "Ann")
        # Nobody else agreed for this one.
        self.assertEqual(self.status("bob@firma.be"), "archived")

    def test_who_was_let_go_says_no_later(self):
        self.account.double_opt_in = True
        ann = self.contact("Ann")
        self.push()
        ann.active = False
        self.push()
        ann.active = True
        self.simulator.advance(120)
        self.audience.archive("ann@firma.be")
        self.audience.unsubscribe("ann@firma.be")
        self.push()
        self.assertFalse(ann.mailchimp_opt_in)

    def test_a_pending_member_out_of_scope_is_unsubscribed(self):
        self.account.double_opt_in = True
        ann = self.contact("Ann")
        self.push()
        ann.active = False
        self.push()
        self.assertEqual(self.status("ann@firma.be"), "unsubscribed")

    def test_pending_members_of_a_batch_are_unsubscribed(self):
        self.account.double_opt_in = True
        partners = self.env["res.partner"]
        for number in range(12):
            partners |= self.contact(f"C{number}")
        self.push()
        self.audience.confirm("c0@firma.be")
        self.account.archive_brake_percent = 100
        partners.active = False
        with patch.object(SendingPhase, "BATCH_FROM", 5):
            run = self.push(state="waiting")
            for _tick in range(4):
                self.simulator.advance(600)
                run.resume_at = False
                self.tick()
        self.assertEqual(run.state, "done", run.error_detail)
        self.assertEqual(self.status("c0@firma.be"), "archived")
        for number in range(1, 12):
            self.assertEqual(self.status(f"c{number}@firma.be"), "unsubscribed")

    def test_an_unsubscribe_nobody_has_read_is_not_hidden(self):
        ann = self.contact("Ann")
        self.push()
        self.simulator.advance(60)
        self.audience.unsubscribe("ann@firma.be")
        self.opt_out(ann)
        self.assertEqual(self.status("ann@firma.be"), "unsubscribed")
        self.assertFalse(self.account.opt_out_waiting)
        ann.mailchimp_opt_in = True
        self.push()
        self.assertEqual(self.status("ann@firma.be"), "unsubscribed")
        self.assertEqual(ann.mailchimp_reason, "unsubscribed")

    def test_while_a_batch_of_updates_runs(self):
        self.simulator.switches.update(batch_progress="polls")
        self.addCleanup(self.simulator.switches.update, batch_progress="time")
        partners = self.env["res.partner"]
        for number in range(12):
            partners |= self.contact(f"C{number}", city="Ghent")
        self.push()
        partners.city = "Bruges"
        with patch.object(SendingPhase, "BATCH_FROM", 5):
            run = self.push(state="waiting")
            self.opt_out(partners[0])
            self.assertEqual(self.status("c0@firma.be"), "archived")
            partners[1].mailchimp_opt_in = False
            for _tick in range(8):
                run.resume_at = False
                self.tick()
        self.assertEqual(run.state, "done", run.error_detail)
        self.assertEqual(self.status("c1@firma.be"), "archived")
        self.assertEqual(self.ledger("c1@firma.be").status, "archived")
        self.assertNotEqual(self.ledger("c1@firma.be").origin, "foreign")
        self.assertEqual(self.member("c2@firma.be").merge_fields["CITY"], "Bruges")

    def test_a_cancelled_run_leaves_its_batch(self):
        self.simulator.switches.update(batch_progress="polls")
        self.addCleanup(self.simulator.switches.update, batch_progress="time")
        partners = self.env["res.partner"]
        for number in range(12):
            partners |= self.contact(f"C{number}", city="Ghent")
        self.push()
        partners.city = "Bruges"
        with patch.object(SendingPhase, "BATCH_FROM", 5):
            self.push(state="waiting").action_cancel()
        self.push()
        self.assertEqual(self.member("c2@firma.be").merge_fields["CITY"], "Bruges")
        self.opt_out(partners[3])
        self.assertEqual(self.status("c3@firma.be"), "archived")

    def test_whatever_the_account_is_busy_or_wrong_with(self):
        ann, bob, carol = (
            self.contact("Ann"),
            self.contact("Bob"),
            self.contact("Carol"),
        )
        self.push()
        self.account.write({"state": "error", "error_message": "Look at it."})
        self.opt_out(ann)
        self.assertEqual(self.status("ann@firma.be"), "archived")
        self.account.write({"state": "linked", "push_enabled": False})
        self.opt_out(bob)
        self.assertEqual(self.status("bob@firma.be"), "archived")
        self.opt_out(carol)
        self.assertEqual(self.status("carol@firma.be"), "archived")

    def test_one_that_is_refused_does_not_stop_the_others(self):
        ann, bob = self.contact("Ann"), self.contact("Bob")
        self.push()
        refused = f"DELETE /lists/*/members/{self.member('ann@firma.be').hash}"
        self.simulator.fault(refused, "status", status=400)
        self.opt_out(ann, bob)
        self.assertEqual(self.status("bob@firma.be"), "archived")
        self.assertEqual(self.account.opt_out_waiting, 1)
        self.assertTrue(self.account.opt_out_oldest)
        self.assertTrue(self.account.opt_out_error)
        # By the next tick, not by the next night.
        self.send_opt_outs()
        self.assertEqual(self.status("ann@firma.be"), "archived")
        self.assertFalse(self.account.opt_out_waiting)
        self.assertFalse(self.account.opt_out_error)

    def forbid(self, method, *partners):
        """Let Mailchimp answer that nobody may do this with these members."""
        for partner in partners:
            path = f"/lists/{self.audience.id}/members/{member_hash(partner.email)}"
            self.simulator.fault(f"{method} {path}", status=403, times=None)

    def test_one_that_may_not_be_archived_does_not_stop_the_others(self):
        """Neither in the lane, one call at a time beside a push, nor in the push."""
        ann, bob, eve = (self.contact(name) for name in ("Ann", "Bob", "Eve"))
        self.push()
        self.forbid("DELETE", ann)
        ann.mailchimp_opt_in = False
        with patch.object(type(self.account), "_is_pushing", lambda account: True):
            self.opt_out(bob)
        self.assertEqual(self.status("bob@firma.be"), "archived")
        self.assertEqual(self.status("ann@firma.be"), "subscribed")
        self.assertIn("may not do this", self.account.opt_out_error)
        self.assertEqual(self.account.state, "linked")
        eve.city = "Ghent"
        self.push()
        self.assertEqual(self.member("eve@firma.be").merge_fields["CITY"], "Ghent")
        # Once it may be, the lane archives it.
        self.simulator.faults.clear()
        self.send_opt_outs()
        self.assertEqual(self.status("ann@firma.be"), "archived")
        self.assertFalse(self.account.opt_out_waiting)
        self.assertFalse(self.account.opt_out_error)

    def test_those_that_may_not_be_archived_come_last(self):
        people = [self.contact(f"C{number}") for number in range(9)]
        zoe = self.contact("Zoe")
        self.push()
        self.forbid("DELETE", *people)
        with patch.object(type(self.account), "_is_pushing", lambda account: True):
            self.opt_out(*people, zoe)
            self.send_opt_outs()
        self.assertEqual(self.status("zoe@firma.be"), "archived")

    def test_when_nobody_may_be_archived_the_account_is_looked_at(self):
        ann = self.contact("Ann")
        self.push()
        self.simulator.fault("**", status=403, times=None)
        self.opt_out(ann)
        self.assertEqual(self.account.state, "error")

    @long
    def test_some_that_are_never_answered_do_not_stop_the_others(self):
        partners = [self.contact(f"C{number}") for number in range(10)]
        self.push()
        for number in range(4):
            digest = self.member(f"c{number}@firma.be").hash
            route = f"GET /lists/*/members/{digest}"
            self.simulator.fault(route, "status", status=504, times=None)
        self.addCleanup(self.simulator.faults.clear)
        self.opt_out(*partners[:4])
        self.opt_out(*partners[4:])
        self.assertEqual(self.account.opt_out_waiting, 4)
        for number in range(4, 10):
            self.assertEqual(self.status(f"c{number}@firma.be"), "archived")

    def test_an_answer_that_got_lost(self):
        ann = self.contact("Ann")
        self.push()
        self.simulator.fault("DELETE /lists/*/members/*", "drop_applied")
        self.opt_out(ann)
        self.assertEqual(self.account.opt_out_waiting, 1)
        self.send_opt_outs()
        self.assertFalse(self.account.opt_out_waiting)
        ann.mailchimp_opt_in = True
        self.push()
        self.assertEqual(self.status("ann@firma.be"), "subscribed")

    def test_an_archiving_by_hand_after_a_call_that_never_arrived(self):
        """What somebody else did in Mailchimp does not pass for our doing."""
        ann, bob = self.contact("Ann"), self.contact("Bob")
        self.push()
        for method, partner in (("DELETE", ann), ("GET", bob)):
            email = partner.email_normalized
            route = f"{method} /lists/*/members/{self.member(email).hash}"
            self.simulator.fault(route, "drop", times=9)
            self.opt_out(partner)
            self.simulator.faults.clear()
            self.simulator.advance(120)
            self.audience.unsubscribe(email)
            self.audience.archive(email)
            self.simulator.advance(120)
            self.send_opt_outs()
            self.assertFalse(self.account.opt_out_waiting)
            self.assertEqual(self.ledger(email).archived_by, "mailchimp")
            partner.mailchimp_opt_in = True
            self.push()
            self.push()
            self.assertEqual(self.status(email), "archived")

    @long
    def test_slow_answers_and_calls_that_hang(self):
        """Within two ticks, though every answer takes long and one never comes."""
        partners = [self.contact(f"C{number}") for number in range(4)]
        self.push()
        self.simulator.latency(base=0.4)
        self.addCleanup(self.simulator.faults.clear)
        with (
            patch.object(opt_out, "LANE_TIMEOUT", (5, 1)),
            patch.object(opt_out, "LANE_SECONDS", 2),
        ):
            self.simulator.fault("GET /lists/*/members/*", "hang", seconds=30)
            self.opt_out(*partners)
            self.send_opt_outs()
        for number in range(4):
            self.assertEqual(self.status(f"c{number}@firma.be"), "archived")
        self.assertFalse(self.account.opt_out_waiting)

    def test_one_that_a_reading_is_the_first_to_show(self):
        """Another application added her after she had opted out in Odoo."""
        ann = self.contact("Ann", city="Ghent")
        ann.mailchimp_opt_in = False
        self.audience.add_member("ann@firma.be", "pending", by="admin")
        self.contact("Bob")
        self.simulator.clear_calls()
        self.push()
        self.assertEqual(self.status("ann@firma.be"), "unsubscribed")
        self.assertEqual(self.status("bob@firma.be"), "subscribed")
        writes = [call for call in self.simulator.calls if call.method != "GET"]
        self.assertEqual(writes[0].method, "DELETE")

    def test_an_unsubscribe_that_the_lane_is_the_first_to_see(self):
        ann = self.contact("Ann")
        self.push()
        self.simulator.advance(60)
        self.audience.unsubscribe("ann@firma.be")
        entry = self.env["mail.blacklist"].create({"email": "ann@firma.be"})
        self.send_opt_outs()
        self.push()
        self.assertFalse(ann.mailchimp_opt_in)
        # No later opt-in lifts what the person said in Mailchimp.
        entry.active = False
        ann.mailchimp_opt_in = True
        self.push()
        self.assertEqual(ann.mailchimp_reason, "unsubscribed")

    def test_who_signs_up_after_a_no_that_an_opt_in_had_lifted(self):
        ann = self.contact("Ann")
        self.push()
        ann.mailchimp_opt_in = False
        self.push()
        self.assertEqual(self.status("ann@firma.be"), "archived")
        ann.mailchimp_opt_in = True
        ann.company_id = self.env["res.company"].create({"name": "Another"})
        self.simulator.advance(60)
        self.audience.sign_up("ann@firma.be")
        self.push()
        self.send_opt_outs()
        self.assertEqual(self.status("ann@firma.be"), "subscribed")

    def test_a_member_whose_call_is_under_way(self):
        ann = self.contact("Ann")
        self.push()
        new = self.contact("New")
        with self.before_subscribing(lambda: None):
            original = Creates._record

            def opt_out_first(phase, *args):
                new.with_env(phase.env).mailchimp_opt_in = False
                return original(phase, *args)

            self.patch(Creates, "_record", opt_out_first)
            self.push()
        self.assertEqual(self.status("new@firma.be"), "subscribed")
        self.send_opt_outs()
        self.assertEqual(self.status("new@firma.be"), "archived")
        self.assertEqual(ann.mailchimp_status, "in")


@tagged("post_install", "-at_install")
class TestWhoseMember(MailchimpCase):
    """A member is ours as soon as an eligible contact has its address."""

    def prepare(self):
        super().prepare()
        self.audience.add_member("ann@firma.be", merge_fields={"FNAME": "Ann"})
        self.audience.add_merge_field("Needed", "NEEDED", required=True)

    def test_the_first_change_was_refused(self):
        ann = self.contact("Ann", city="Ghent")
        self.link()
        self.push()
        self.assertIn(ann.mailchimp_reason, ("required_field", "merge_fields", False))
        self.assertEqual(self.status("ann@firma.be"), "subscribed")
        self.opt_out(ann)
        self.assertEqual(self.status("ann@firma.be"), "archived")

    def test_the_push_is_still_off(self):
        ann = self.contact("Ann")
        self.link(push=False)
        self.tick()
        self.assertFalse(self.account.push_enabled)
        self.opt_out(ann)
        self.assertEqual(self.status("ann@firma.be"), "archived")

    def test_the_contact_goes_while_the_push_is_off(self):
        ann = self.contact("Ann")
        self.link(push=False)
        self.tick()
        ann.unlink()
        self.account.push_enabled = True
        self.push()
        self.assertEqual(self.status("ann@firma.be"), "archived")

    def test_opted_in_and_out_between_two_runs(self):
        """Whether it was in scope nobody can tell afterwards: the "no" counts."""
        self.link()
        self.account.partner_kind = "company"
        self.push()
        ann = self.contact("Ann")
        self.opt_out(ann)
        self.assertEqual(self.status("ann@firma.be"), "archived")

    def test_opted_out_before_linking(self):
        """That is for a person to decide about."""
        ann = self.contact("Ann")
        ann.mailchimp_opt_in = False
        # An opt-out in the very second of linking counts as one after it.
        self.simulator.advance(60)
        self.link()
        self.push()
        self.send_opt_outs()
        self.assertEqual(self.status("ann@firma.be"), "subscribed")
