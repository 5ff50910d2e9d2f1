from datetime import timedelta
from unittest.mock import patch

from odoo import fields
from odoo.exceptions import UserError
from odoo.tests import tagged

from ..models import opt_out, run_pull
from .common import MailchimpCase


class OptOutCase(MailchimpCase):
    def opt_out(self, *partners):
        for partner in partners:
            partner.mailchimp_opt_in = False
        self.send_opt_outs()

    def writes(self):
        return [call for call in self.simulator.calls if call.method != "GET"]


@tagged("post_install", "-at_install")
class TestOptOutLane(OptOutCase):
    """Who said no in Odoo leaves, whatever else is going on."""

    def setUp(self):
        super().setUp()
        self.link()

    def test_each_is_looked_at_before_and_afterwards(self):
        ann = self.contact("Ann")
        self.push()
        self.simulator.clear_calls()
        self.opt_out(ann)
        self.assertEqual(self.status("ann@firma.be"), "archived")
        methods = [call.method for call in self.simulator.calls]
        self.assertEqual(methods, ["GET", "DELETE", "GET"])
        self.assertFalse(self.account.opt_out_waiting)
        self.assertIn("1 asked", self.account.opt_out_summary)
        self.assertIn("1 confirmed", self.account.opt_out_summary)
        self.simulator.clear_calls()
        self.send_opt_outs()
        self.assertFalse(self.simulator.calls)

    def test_an_opt_out_wakes_the_lane(self):
        ann = self.contact("Ann")
        self.push()
        cron = self.env.ref("crm_mailchimp.ir_cron_opt_out")
        triggers = self.env["ir.cron.trigger"]
        before = triggers.search_count([("cron_id", "=", cron.id)])
        ann.mailchimp_opt_in = False
        self.assertEqual(
            triggers.search_count([("cron_id", "=", cron.id)]), before + 1
        )

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
        with patch("odoo.addons.crm_mailchimp.models.run_send.BATCH_FROM", 5):
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
        with patch("odoo.addons.crm_mailchimp.models.run_send.BATCH_FROM", 5):
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
        with patch("odoo.addons.crm_mailchimp.models.run_send.BATCH_FROM", 5):
            self.push(state="waiting").action_cancel()
        self.push()
        self.assertEqual(self.member("c2@firma.be").merge_fields["CITY"], "Bruges")
        self.opt_out(partners[3])
        self.assertEqual(self.status("c3@firma.be"), "archived")

    def test_whatever_the_account_is_busy_or_wrong_with(self):
        ann, bob, carol = self.contact("Ann"), self.contact("Bob"), self.contact("Carol")
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

    def test_a_member_whose_call_is_under_way(self):
        ann = self.contact("Ann")
        self.push()
        new = self.contact("New")
        with self.before_subscribing(lambda: None):
            original = type(self.env["crm.mailchimp.run"])._record_creations

            def opt_out_first(run, *args):
                new.with_env(run.env).mailchimp_opt_in = False
                return original(run, *args)

            self.patch(
                type(self.env["crm.mailchimp.run"]), "_record_creations", opt_out_first
            )
            self.push()
        self.assertEqual(self.status("new@firma.be"), "subscribed")
        self.send_opt_outs()
        self.assertEqual(self.status("new@firma.be"), "archived")
        self.assertEqual(ann.mailchimp_status, "in")


@tagged("post_install", "-at_install")
class TestWhoseMember(OptOutCase):
    """A member is ours as soon as an eligible contact has its address."""

    def setUp(self):
        super().setUp()
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

    def test_opted_out_before_linking(self):
        """That is for a person to decide about."""
        ann = self.contact("Ann")
        ann.mailchimp_opt_in = False
        later = fields.Datetime.now() + timedelta(minutes=5)
        with patch.object(fields.Datetime, "now", lambda: later):
            self.link()
        self.push()
        self.send_opt_outs()
        self.assertEqual(self.status("ann@firma.be"), "subscribed")


@tagged("post_install", "-at_install")
class TestBlacklist(OptOutCase):
    """A blacklist entry is a "no"."""

    def setUp(self):
        super().setUp()
        self.link()

    def test_it_leaves_like_an_opt_out(self):
        for number in range(80):
            self.contact(f"C{number}")
        self.push()
        emails = [f"c{number}@firma.be" for number in range(60)]
        self.env["mail.blacklist"].create([{"email": email} for email in emails])
        self.send_opt_outs()
        self.assertEqual({self.status(email) for email in emails}, {"archived"})
        # No brake, as nobody decided to leave these out.
        self.push()

    def test_it_is_remembered_after_the_entry_is_gone(self):
        ann = self.contact("Ann")
        self.push()
        entry = self.env["mail.blacklist"].create({"email": "ann@firma.be"})
        self.push()
        self.assertEqual(self.status("ann@firma.be"), "archived")
        entry.action_archive()
        self.push()
        self.assertEqual(self.status("ann@firma.be"), "archived")
        self.assertEqual(ann.mailchimp_reason, "opted_out")
        ann.mailchimp_opt_in = False
        ann.mailchimp_opt_in = True
        self.push()
        self.assertEqual(self.status("ann@firma.be"), "subscribed")

    def test_nobody_blacklisted_is_imported(self):
        self.env["mail.blacklist"].create({"email": "eve@firma.be"})
        self.audience.add_member("eve@firma.be")
        nina = self.contact("Nina", mailchimp_opt_in=False)
        self.env["mail.blacklist"].create({"email": "nina@firma.be"})
        self.audience.add_member("nina@firma.be")
        self.account.foreign_members = "import"
        self.push("full")
        self.assertFalse(nina.mailchimp_opt_in)
        self.assertFalse(
            self.env["res.partner"].search([("email", "=", "eve@firma.be")])
        )

    def test_the_address_that_unsubscribed_is_blacklisted(self):
        self.account.blacklist_on_unsubscribe = True
        ann = self.contact("Ann")
        self.push()
        self.simulator.advance(60)
        self.audience.unsubscribe("ann@firma.be")
        ann.email = "new@firma.be"
        self.push()
        self.assertFalse(ann.mailchimp_opt_in)
        listed = self.env["mail.blacklist"].search([]).mapped("email")
        self.assertIn("ann@firma.be", listed)
        self.assertNotIn("new@firma.be", listed)
        self.assertEqual(ann.mailchimp_consent_ids[0].email_normalized, "ann@firma.be")


@tagged("post_install", "-at_install")
class TestSuppression(OptOutCase):
    """A "no" is remembered by address, whatever becomes of all else."""

    def setUp(self):
        super().setUp()
        self.link()

    def unsubscribe(self, email):
        self.simulator.advance(60)
        self.audience.unsubscribe(email, reason="Enough")
        self.push()

    def on_list(self, email):
        return self.env["crm.mailchimp.suppression"].search(
            [("email_normalized", "=", email), ("lifted_at", "=", False)]
        )

    def test_after_the_contact_and_its_member_are_gone(self):
        ann = self.contact("Ann")
        self.push()
        self.unsubscribe("ann@firma.be")
        ann.unlink()
        self.audience._audience.remove(self.member("ann@firma.be"))
        self.audience._audience.forgotten.clear()
        self.push("full")
        self.assertTrue(self.on_list("ann@firma.be"))
        self.contact("Ann")
        self.push()
        self.assertIsNone(self.status("ann@firma.be"))

    def test_after_it_was_erased(self):
        ann = self.contact("Ann")
        self.push()
        self.unsubscribe("ann@firma.be")
        line = self.on_list("ann@firma.be")
        line.unlink()
        self.assertTrue(line.exists())
        self.assertFalse(line.email_normalized)
        self.assertFalse(line.note)
        ann.unlink()
        self.audience._audience.remove(self.member("ann@firma.be"))
        self.audience._audience.forgotten.clear()
        again = self.contact("Ann again", "ann@firma.be")
        self.push("full")
        self.assertIsNone(self.status("ann@firma.be"))
        self.assertEqual(again.mailchimp_reason, "unsubscribed")

    def test_a_sign_up_by_the_person_lifts_it(self):
        ann = self.contact("Ann")
        self.push()
        self.unsubscribe("ann@firma.be")
        self.simulator.advance(60)
        self.audience.sign_up("ann@firma.be")
        self.push()
        self.assertFalse(self.on_list("ann@firma.be"))
        self.assertFalse(ann.mailchimp_opt_in)
        ann.mailchimp_opt_in = True
        self.push()
        self.assertEqual(ann.mailchimp_status, "in")

    def test_an_opt_in_lifts_what_was_said_in_odoo_only(self):
        ann, bob = self.contact("Ann"), self.contact("Bob")
        self.push()
        self.opt_out(bob)
        self.unsubscribe("ann@firma.be")
        (ann | bob).mailchimp_opt_in = True
        self.push()
        self.assertTrue(self.on_list("ann@firma.be"))
        self.assertFalse(self.on_list("bob@firma.be"))
        self.assertEqual(self.status("bob@firma.be"), "subscribed")
        self.assertEqual(self.status("ann@firma.be"), "unsubscribed")

    def test_another_sharer_does_not_speak_for_who_opted_out(self):
        ann = self.contact("Ann", "shared@firma.be")
        bob = self.contact("Bob", "shared@firma.be")
        self.push()
        ann.mailchimp_opt_in_date = "2026-01-01"
        self.opt_out(bob)
        self.assertEqual(self.status("shared@firma.be"), "archived")
        self.push()
        self.assertEqual(self.status("shared@firma.be"), "archived")
        self.assertEqual(ann.mailchimp_reason, "opted_out")

    def test_nobody_may_write_the_list(self):
        self.contact("Ann")
        self.push()
        self.unsubscribe("ann@firma.be")
        manager = self.env["res.users"].create(
            {
                "name": "M",
                "login": "m-suppression",
                "group_ids": [
                    (4, self.env.ref("crm_mailchimp.group_mailchimp_manager").id),
                    (4, self.env.ref("base.group_partner_manager").id),
                ],
            }
        )
        line = self.on_list("ann@firma.be").with_user(manager)
        for forge in (
            lambda: line.write({"lifted_at": fields.Datetime.now()}),
            lambda: line.create({"email_hash": "x", "source": "odoo"}),
        ):
            with self.assertRaises(Exception), self.env.cr.savepoint():
                forge()


@tagged("post_install", "-at_install")
class TestForgery(OptOutCase):
    """Consent lines and opt-in dates cannot be written by users."""

    def setUp(self):
        super().setUp()
        self.link()
        self.user = self.env["res.users"].create(
            {
                "name": "Sales",
                "login": "sales-forgery",
                "group_ids": [
                    (4, self.env.ref("sales_team.group_sale_salesman").id),
                    (4, self.env.ref("base.group_partner_manager").id),
                ],
            }
        )
        self.ann = self.contact("Ann", mailchimp_opt_in=False).with_user(self.user)

    def test_the_context_forges_nothing(self):
        forged = {"source": "mailchimp", "said": {self.ann.id: ["x@y.be", "2020", ""]}}
        self.ann.with_context(
            mailchimp_grounds=forged, mailchimp_consent=forged
        ).mailchimp_opt_in = True
        line = self.ann.sudo().mailchimp_consent_ids
        self.assertEqual((line.source, line.user_id), ("user", self.user))
        self.assertEqual(line.email_normalized, "ann@firma.be")

    def test_dates_are_refused(self):
        with self.assertRaisesRegex(UserError, "opt-in date"):
            self.ann.write({"mailchimp_opt_in_date": "2099-01-01 00:00:00"})
        with self.assertRaisesRegex(UserError, "opt-in date"):
            self.ann.create(
                {
                    "name": "New",
                    "mailchimp_opt_in": True,
                    "mailchimp_opt_in_date": "2020-01-01 00:00:00",
                }
            )
        result = self.env["res.partner"].with_user(self.user).load(
            ["name", "mailchimp_opt_in", "mailchimp_opt_in_date"],
            [["Imported", "True", "2099-01-01 00:00:00"]],
        )
        self.assertFalse(result["ids"])
        self.assertIn("opt-in date", result["messages"][0]["message"])

    def test_an_opt_in_of_the_future_is_one_of_now(self):
        self.ann.sudo().write(
            {"mailchimp_opt_in": True, "mailchimp_opt_in_date": "2099-01-01"}
        )
        self.assertLess(
            self.ann.mailchimp_opt_in_date,
            fields.Datetime.now() + timedelta(minutes=1),
        )
        self.push()
        self.simulator.advance(60)
        self.audience.unsubscribe("ann@firma.be")
        self.push()
        self.assertFalse(self.ann.mailchimp_opt_in)

    def test_an_import_and_a_merge_go_on(self):
        result = self.env["res.partner"].with_user(self.user).load(
            ["name", "email", "mailchimp_opt_in"],
            [["Imported", "imported@firma.be", "True"]],
        )
        self.assertTrue(result["ids"], result["messages"])
        one = self.env["res.partner"].browse(result["ids"])
        self.assertTrue(one.mailchimp_opt_in_date)
        two = self.contact("Two", mailchimp_opt_in=False)
        date = one.mailchimp_opt_in_date
        wizard = self.env["base.partner.merge.automatic.wizard"].with_user(self.user)
        wizard._merge((one | two).ids, two.with_user(self.user), extra_checks=False)
        self.assertEqual(two.mailchimp_opt_in_date, date)


@tagged("post_install", "-at_install")
class TestChanges(OptOutCase):
    """Nobody who said no is overlooked among any number of changes."""

    def setUp(self):
        super().setUp()
        self.patch(run_pull, "PAGE", 5)
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
        self.patch(run_pull, "AT_ONCE", 1)
        read = []
        original = type(self.env["crm.mailchimp.run"])._pull

        def pull(run, gateway, deadline):
            read.append(run.id)
            return original(run, gateway, 0)

        with patch.object(type(self.env["crm.mailchimp.run"]), "_pull", pull):
            run = self.push()
        self.assertGreater(len(read), 2)
        self.assertFalse(self.ann.mailchimp_opt_in)
        self.assertEqual(self.member("c3@firma.be").merge_fields["FNAME"], "C3")

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
class TestClocks(OptOutCase):
    """Odoo's clock is fast or slow, from the beginning or all at once."""

    def setUp(self):
        super().setUp()
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
        ann, bob = self.contact("Ann"), self.contact("Bob")
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


@tagged("post_install", "-at_install")
class TestFormerAddress(OptOutCase):
    """What becomes of the address a contact had."""

    def setUp(self):
        super().setUp()
        self.link()
        self.ann = self.contact("Ann")
        self.push()

    def test_a_stranger_unsubscribes_it_long_after(self):
        self.ann.email = "ann@new.be"
        self.push()
        self.simulator.advance(60 * 86400)
        self.audience.sign_up("ann@firma.be")
        self.push()
        self.simulator.advance(60)
        self.audience.unsubscribe("ann@firma.be")
        self.push()
        self.assertTrue(self.ann.mailchimp_opt_in)
        self.assertEqual(self.ann.mailchimp_status, "in")

    def test_a_contact_that_somebody_holds_locked(self):
        self.simulator.advance(60)
        self.audience.unsubscribe("ann@firma.be")
        self.ann.email = "ann@new.be"
        none = self.env["res.partner"]
        with patch.object(type(none), "try_lock_for_update", lambda *_a, **_kw: none):
            self.push()
        self.assertTrue(self.ann.mailchimp_opt_in)
        self.assertIsNone(self.status("ann@new.be"))
        self.assertEqual(self.ann.mailchimp_reason, "unsubscribed")
        self.push()
        self.assertFalse(self.ann.mailchimp_opt_in)
        self.assertIsNone(self.status("ann@new.be"))
