from unittest.mock import patch

from odoo.tests import tagged

from ..engine.address import member_hash
from ..models import slices
from ..sync import push
from ..sync.members import MemberPhase
from ..sync.pull import Pull
from .common import MailchimpCase, long


@tagged("post_install", "-at_install")
class TestChanges(MailchimpCase):
    """Nobody who said no is overlooked among any number of changes."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.classPatch(MemberPhase, "PAGE", 5)

    def prepare(self):
        super().prepare()
        self.link()
        self.ann = self.contact("Ann")
        for number in range(12):
            self.contact(f"C{number}", city="Ghent")
        self.push()
        self.simulator.advance(3600)
        self.push()

    def test_below_another_applications_changes(self):
        self.audience.unsubscribe("ann@firma.be")
        self.simulator.advance(60)
        for number in range(12):
            self.audience.edit(f"c{number}@firma.be", merge_fields={"PHONE": "1"})
        self.push()
        self.assertFalse(self.ann.mailchimp_opt_in)

    def test_what_happened_in_the_past_of_a_campaign(self):
        """It is a change of now; a full comparison finds nothing unexplained."""
        campaign = self.audience.add_campaign(title="Old", subject="Old")
        self.audience.send_campaign(campaign, send_time="2026-01-05T08:00:00+00:00")
        self.audience.generate(
            campaign, within=3600, seed=3, hard_bounces=0.2, unsubscribes=0.3
        )
        self.push()
        statuses = {email: m.status for email, m in self.audience.members.items()}
        self.assertIn("unsubscribed", statuses.values())
        self.assertIn("cleaned", statuses.values())
        for email, status in statuses.items():
            self.assertEqual(self.ledger(email).status, status)
        run = self.push("full")
        self.assertFalse(run.counters.get("repaired"))

    def test_below_our_own_changes(self):
        """Of a push that is under way, and of one before."""
        partners = self.env["res.partner"].search([("city", "=", "Ghent")])
        partners.city = "Bruges"
        with self.before("PATCH", lambda: self.audience.unsubscribe("ann@firma.be")):
            self.push()
        self.simulator.advance(60)
        self.push()
        self.assertFalse(self.ann.mailchimp_opt_in)

    def test_below_our_own_tagging(self):
        self.account.segment_target = "tag"
        self.flag("All", "[]")
        with self.before("POST", lambda: self.audience.unsubscribe("ann@firma.be")):
            self.push()
        self.simulator.advance(60)
        self.push()
        self.assertFalse(self.ann.mailchimp_opt_in)

    def test_somebody_new_in_place_of_one_who_is_gone(self):
        """Below our own changes, of which there are as many as before."""
        self.env["res.partner"].search([("city", "=", "Ghent")]).city = "Bruges"
        self.push()
        self.simulator.advance(60)
        self.audience.archive("c0@firma.be")
        self.audience.sign_up("eve@firma.be")
        self.simulator.advance(60)
        for number in range(1, 12):
            self.audience.edit(f"c{number}@firma.be", vip=True)
        self.push()
        self.assertEqual(self.ledger("eve@firma.be").status, "subscribed")

    @long
    def test_killed_or_cancelled_between_two_pages(self):
        self.audience.unsubscribe("ann@firma.be")
        self.simulator.advance(60)
        for number in range(12):
            self.audience.edit(f"c{number}@firma.be", merge_fields={"FNAME": "Ed"})
        for after in range(8):
            self.simulator.fault("GET /lists/*/members", "drop", times=9, after=after)
            run, _created = self.account._request_run("push")
            self.tick()
            self.simulator.faults.clear()
            if run.is_open:
                run.action_cancel()
        self.push()
        self.assertFalse(self.ann.mailchimp_opt_in)
        self.assertEqual(self.status("ann@firma.be"), "unsubscribed")

    def test_a_slice_at_a_time(self):
        self.audience.unsubscribe("ann@firma.be")
        self.simulator.advance(60)
        for number in range(12):
            self.audience.edit(f"c{number}@firma.be", merge_fields={"FNAME": "Ed"})
        self.patch(MemberPhase, "AT_ONCE", 1)
        read = []
        original = Pull.work

        def pull(phase):
            read.append(phase.run.id)
            phase.deadline = 0
            return original(phase)

        with patch.object(Pull, "work", pull):
            self.push()
        self.assertGreater(len(read), 1)
        self.assertFalse(self.ann.mailchimp_opt_in)
        self.assertEqual(self.member("c3@firma.be").merge_fields["FNAME"], "C3")

    def test_slow_answers_leave_time_to_send(self):
        """Reading alone takes longer than a slice, and contacts leave all the same."""
        new = self.contact("New")
        self.simulator.latency(base=0.3)
        self.addCleanup(self.simulator.faults.clear)
        with (
            patch.object(slices, "SLICE_SECONDS", 0.2),
            patch.object(push, "PHASE_SECONDS", 0.2),
        ):
            run, _created = self.account._request_run("push")
            for _tick in range(12):
                self.tick()
                if not run.is_open:
                    break
        self.assertEqual(run.state, "done")
        self.assertEqual(new.mailchimp_status, "in")

    def test_a_bounce_below_many_changes(self):
        self.audience.bounce("ann@firma.be")
        self.simulator.advance(60)
        for number in range(12):
            self.audience.edit(f"c{number}@firma.be", merge_fields={"PHONE": "1"})
        self.push()
        self.assertEqual(self.ann.mailchimp_reason, "cleaned")

    def test_the_mark_stays_before_what_was_not_read(self):
        """The next run looks again where this one left off."""
        before = self.account._pulled_until()
        partners = self.env["res.partner"].search([("city", "=", "Ghent")])
        partners.city = "Bruges"
        self.push()
        run = self.push()
        self.assertLessEqual(run.pulled_until or before, self.account._pulled_until())
        self.simulator.clear_calls()
        self.push()
        self.assertLessEqual(len(self.simulator.calls), 4)


@tagged("post_install", "-at_install")
class TestWholeAudience(MailchimpCase):
    """Nobody is overlooked while the whole audience is read, and others change it."""

    def test_who_moves_between_two_pages(self):
        """The page that would have shown it shows somebody else a second time."""
        self.patch(MemberPhase, "PAGE", 5)
        self.patch(MemberPhase, "AT_ONCE", 1)
        # Somebody in Mailchimp archived them before the audience was linked.
        for name in ("eve", *(f"gone{number}" for number in range(11))):
            self.audience.add_member(f"{name}@firma.be")
            self.audience.archive(f"{name}@firma.be")
            self.simulator.advance(60)
        eve = self.contact("Eve")
        self.link()

        def is_second_page(call):
            return call.query.get("status") == "archived" and call.query.get(
                "offset"
            ) in (5, "5")

        touched = []

        def on_call(call, point):
            if point == "before" and not touched and is_second_page(call):
                touched.append(self.audience.touch(["eve@firma.be"]))

        self.addCleanup(self.simulator.on_call(on_call))
        self.push()
        self.assertTrue(touched)
        self.assertEqual(self.status("eve@firma.be"), "archived")
        self.assertEqual(eve.mailchimp_reason, "archived")

    @long
    def test_many_deleted_members_and_slow_answers(self):
        """Looking them up takes several slices; what one found out is kept."""
        people = self.push_contacts(122)
        for number in range(120):
            self.audience.delete_permanently(f"c{number}@firma.be")
        new = self.contact("New")
        self.simulator.clear_calls()
        run = self.slow_push()
        self.assertEqual(run.counters["deleted_in_mailchimp"], 120)
        self.assertEqual(set(people[:120].mapped("mailchimp_reason")), {"forgotten"})
        self.assertEqual(new.mailchimp_status, "in")
        looks = self.looks()
        self.assertEqual(len(looks), len(set(looks)), "somebody was looked up again")

    def test_a_look_that_fails_keeps_the_others(self):
        people = self.push_contacts(20)
        for number in range(18):
            self.audience.delete_permanently(f"c{number}@firma.be")
        digest = member_hash("c7@firma.be")
        self.simulator.fault(f"GET **/{digest}", status=400, times=None)
        run = self.push(state="waiting")
        self.assertIn(digest, run.error_detail)
        deleted = people[:18]
        known = deleted.filtered(lambda p: p.mailchimp_reason == "forgotten")
        # Those that were asked for at the same time, or before.
        self.assertGreaterEqual(len(known), 4)
        self.simulator.faults.clear()
        self.simulator.clear_calls()
        self.push()
        self.assertEqual(set(deleted.mapped("mailchimp_reason")), {"forgotten"})
        self.assertEqual(len(self.looks()), 18 - len(known))

    @long
    def test_many_to_verify_and_slow_answers(self):
        people = self.push_contacts(120)
        members = self.env["crm.mailchimp.member"].search(
            [("account_id", "=", self.account.id)]
        )
        members.operation = "read"
        people.city = "Rome"
        self.simulator.clear_calls()
        run = self.slow_push()
        self.assertEqual(run.counters["updated"], 120)
        self.assertFalse(any(members.mapped("operation")))
        looks = self.looks()
        self.assertEqual(len(looks), 120)
        self.assertEqual(len(set(looks)), 120)

    def push_contacts(self, number):
        self.link()
        people = self.env["res.partner"].create(
            [
                {
                    "name": f"C{index}",
                    "email": f"c{index}@firma.be",
                    "mailchimp_opt_in": True,
                }
                for index in range(number)
            ]
        )
        self.push()
        return people

    def looks(self):
        """Return the paths of the members that were looked at one by one."""
        return [
            call.path
            for call in self.simulator.calls
            if call.method == "GET"
            and call.path.count("/") == 4
            and "/members/" in call.path
        ]


@tagged("post_install", "-at_install")
class TestClocks(MailchimpCase):
    """Odoo's clock is fast or slow, from the beginning or all at once."""

    def prepare(self):
        super().prepare()
        self.link()

    def check(self, minutes):
        ann = self.contact("Ann")
        self.push()
        self.simulator.advance(30)
        self.audience.unsubscribe("ann@firma.be")
        self.push()
        self.assertFalse(ann.mailchimp_opt_in)
        ann.mailchimp_opt_in = True
        self.push()
        self.assertTrue(ann.mailchimp_opt_in)
        self.assertEqual(self.status("ann@firma.be"), "unsubscribed")
        self.assertAlmostEqual(self.account.clock_skew, 60 * minutes, delta=90)
        self.assertIn(str(abs(minutes)), self.account.clock_message)

    def test_fast(self):
        self.simulator.advance(-20 * 60)
        self.check(20)

    def test_slow(self):
        self.simulator.advance(20 * 60)
        self.check(-20)

    def test_fast_since_before_the_audience_was_linked(self):
        self.simulator.advance(-20 * 60)
        self.account.action_connect()
        self.push("full")
        self.check(20)

    def test_fast_all_at_once(self):
        _ann, bob = self.contact("Ann"), self.contact("Bob")
        self.push()
        # From now on Odoo's clock is 20 minutes ahead, and nobody has noticed.
        self.simulator.advance(-20 * 60)
        new = self.contact("New")
        self.push()
        self.simulator.advance(5)
        for email in ("ann@firma.be", "new@firma.be"):
            self.audience.unsubscribe(email)
        self.push()
        self.assertFalse(new.mailchimp_opt_in)
        self.assertNotIn("in", (new.mailchimp_status,))
        self.push("full")
        self.assertEqual(self.status("ann@firma.be"), "unsubscribed")
        self.assertEqual(self.status("new@firma.be"), "unsubscribed")
        self.assertEqual(bob.mailchimp_status, "in")

    def test_archived_by_hand_with_a_fast_clock(self):
        self.simulator.advance(-20 * 60)
        ann = self.contact("Ann")
        self.push()
        self.simulator.advance(30)
        self.audience.unsubscribe("ann@firma.be")
        self.audience.archive("ann@firma.be")
        self.push()
        self.push("full")
        self.assertEqual(self.status("ann@firma.be"), "archived")
        self.assertEqual(ann.mailchimp_status, "out")
