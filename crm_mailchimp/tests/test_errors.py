import re
from datetime import timedelta
from unittest.mock import patch

from lxml import etree
from psycopg2.errors import (
    DeadlockDetected,
    ForeignKeyViolation,
    QueryCanceled,
    SerializationFailure,
)

from odoo import fields
from odoo.tests import common, new_test_user, tagged
from odoo.tools import mute_logger
from odoo.tools.safe_eval import safe_eval

from ..engine import errors
from ..engine.address import member_hash
from ..sync.compare import Compare
from ..sync.creates import Creates
from ..sync.segments import Segments
from ..sync.send import Send
from .common import MailchimpCase, long


@tagged("post_install", "-at_install")
class TestErrors(MailchimpCase):
    """Mailchimp down, refusing or talking rubbish: nothing is lost."""

    def prepare(self):
        super().prepare()
        self.link()
        self.ann = self.contact("Ann", city="Ghent")
        self.push()

    def check_contacts_work_as_ever(self):
        self.simulator.clear_calls()
        partner = self.contact("During")
        partner.write({"city": "Paris", "mailchimp_opt_in": False})
        partner.mailchimp_opt_in = True
        self.env["res.partner"].load(
            ["name", "email", "mailchimp_opt_in"], [["Imp", "imp@firma.be", "1"]]
        )
        twin = self.contact("Twin")
        self.env["base.partner.merge.automatic.wizard"]._merge(
            (partner | twin).ids, partner, extra_checks=False
        )
        self.env.flush_all()
        self.assertFalse(self.simulator.calls)

    def test_a_mailchimp_too_slow_for_500_ends_as_surely(self):
        """It needs twice the time there is for all of them at once."""
        for number in range(60):
            self.contact(f"C{number}")
        new_gateway = type(self.account)._new_gateway

        def impatient(self, key, **options):
            return new_gateway(self, key, **{**options, "timeout": (0.75, 0.75)})

        def as_patient(cls, session, request, /, **options):
            return common._super_send(session, request, **options)

        self.patch(type(self.account), "_new_gateway", impatient)
        # Odoo's tests wait ten seconds, whatever they are told.
        self.patch(type(self), "_request_handler", classmethod(as_patient))
        self.simulator.latency(0.01, per_member=0.025, route="POST /lists/*")
        self.simulator.clear_calls()
        run = self.push(state="waiting")
        for _try in range(20):
            if run.state == "done":
                break
            run.resume_at = False
            self.tick()
        self.assertEqual(run.state, "done", run.error_message)
        for number in range(60):
            self.assertEqual(self.status(f"c{number}@firma.be"), "subscribed")
        first, *others = (
            len(call.body["members"])
            for call in self.simulator.calls
            if call.method == "POST" and call.path.count("/") == 2
        )
        self.assertEqual(first, 60)
        self.assertLessEqual(max(others, default=0), 15)

    def test_a_revoked_key_stops_the_account_and_repair_catches_up(self):
        self.simulator.revoke_key()
        self.ann.city = "Bruges"
        run = self.push(state="failed")
        self.assertEqual(self.account.state, "error")
        self.assertIn("Create a new key", self.account.health_message)
        self.assertIn("Create a new key", run.error_message)
        self.assertTrue(self.account.activity_ids)
        self.check_contacts_work_as_ever()
        self.tick()
        self.assertFalse(self.simulator.calls, "a stopped account is left alone")
        key = "f" * 32 + "-us21"
        self.simulator.add_key(key)
        self.account.api_key = key
        self.account.action_reauthorize()
        self.assertFalse(self.account.activity_ids)
        self.tick()
        self.assertEqual(self.member("ann@firma.be").merge_fields["CITY"], "Bruges")
        self.assertEqual(self.status("during@firma.be"), "subscribed")

    def check_passing(self, **fault):
        self.ann.city = "Bruges"
        self.contact("New")
        self.simulator.fault("**", times=None, **fault)
        run = self.push(state="waiting")
        self.assertIn("tries again", self.account.health_message)
        self.assertEqual(self.account.state, "linked")
        self.assertTrue(run.resume_at)
        self.check_contacts_work_as_ever()
        self.simulator.faults.clear()
        run.resume_at = False
        self.tick()
        self.assertEqual(run.state, "done")
        self.assertFalse(self.account.health_message)
        self.assertEqual(self.member("ann@firma.be").merge_fields["CITY"], "Bruges")
        self.assertEqual(self.status("new@firma.be"), "subscribed")

    def test_overloaded(self):
        self.check_passing(status=429, body="problem")

    def test_down(self):
        self.check_passing(status=503, body="html")

    def test_rubbish(self):
        self.check_passing(kind="garbage")

    def test_a_lost_answer_is_looked_at_before_it_is_repeated(self):
        self.contact("New")
        self.simulator.fault("POST /lists/*", "drop_applied", times=1)
        run = self.push(state="waiting")
        self.assertEqual(self.status("new@firma.be"), "subscribed")
        self.simulator.clear_calls()
        run.resume_at = False
        self.tick()
        self.assertEqual(run.state, "done")
        self.assertFalse(self.simulator.count("POST"))
        ledger = self.ledger("new@firma.be")
        self.assertEqual((ledger.status, ledger.origin), ("subscribed", "odoo"))

    def conflict(self, owner, name, error=SerializationFailure):
        """Let somebody else write, once, what a method writes."""
        method, acts = getattr(owner, name), [1]

        def conflict(this, *args):
            result = method(this, *args)
            if acts:
                acts.pop()
                raise error()
            return result

        return patch.object(owner, name, conflict)

    def test_what_somebody_else_writes_is_written_again(self):
        Run = self.env.registry["crm.mailchimp.run"]
        for owner, name in ((Compare, "work"), (Creates, "_record"), (Run, "_end")):
            contact = self.contact(f"New{name}", f"new{name}@firma.be")
            self.simulator.clear_calls()
            with self.conflict(owner, name):
                run = self.push()
            self.assertEqual(self.status(contact.email), "subscribed")
            self.assertEqual(self.ledger(contact.email).status, "subscribed")
            self.assertEqual(self.simulator.count("POST"), 1, name)
            self.assertEqual(run.state, "done")

    def test_a_conflict_is_no_fault_of_a_segment(self):
        """Neither is a contact that was just deleted."""
        self.flag("Ghent", "[('city', '=', 'Ghent')]")
        self.push()
        Segment = self.env.registry["crm.mailchimp.segment"]
        segment = self.account.segment_ids
        for number, error in enumerate(
            (SerializationFailure, DeadlockDetected, ForeignKeyViolation), 2
        ):
            self.contact(f"New{number}", city="Ghent")
            with self.conflict(Segment, "_store_contacts", error):
                self.push()
            self.assertEqual(segment.state, "active", segment.error_message)
            self.assertEqual(segment.matching_count, number)

    def test_a_condition_that_takes_too_long_is_its_segments_fault(self):
        self.flag("Ghent", "[('city', '=', 'Ghent')]")
        Segment = self.env.registry["crm.mailchimp.segment"]
        with self.conflict(Segment, "_store_contacts", QueryCanceled):
            self.push()
        self.assertEqual(self.account.segment_ids.state, "broken")
        self.assertIn("cannot apply", self.account.segment_ids.error_message)

    def test_a_field_of_another_addon_whose_search_fails(self):
        self.flag("Never", "[('mailchimp_never_opened', '=', True)]")
        self.flag("Ghent", "[('city', '=', 'Ghent')]")
        self.contact("New", city="Ghent")

        def search(partners, operator, value):
            partners.env.cr.execute("SELECT 1 / 0")

        Partner = self.env.registry["res.partner"]
        with patch.object(Partner, "_search_mailchimp_never_opened", search):
            self.push()
        states = {s.name: s.state for s in self.account.segment_ids}
        self.assertEqual(states, {"Never": "broken", "Ghent": "active"})
        self.assertEqual(self.groups("new@firma.be"), ["Ghent"])

    def test_conditions_that_cannot_be_looked_at_together(self):
        self.flag("Ghent", "[('city', '=', 'Ghent')]")
        self.contact("New", city="Ghent")
        Segment = self.env.registry["crm.mailchimp.segment"]
        with self.conflict(Segment, "_compare_sums", QueryCanceled):
            self.push()
        self.assertEqual(self.account.segment_ids.state, "active")
        self.assertEqual(self.groups("new@firma.be"), ["Ghent"])

    def test_a_refused_member_does_not_hold_up_the_others(self):
        fake = self.contact("Fake", "fake@firma.be")
        self.simulator.switches.update(fake_addresses=("fake@firma.be",))
        self.contact("New")
        run = self.push()
        self.assertEqual(self.status("new@firma.be"), "subscribed")
        self.assertEqual(run.counters["refused"], 1)
        self.assertEqual(fake.mailchimp_reason, "fake")
        self.assertIn("fake", self.ledger("fake@firma.be").reason_text)
        self.simulator.clear_calls()
        self.push()
        self.assertFalse(self.simulator.count("POST"), "a fake one is never retried")

    # === WHAT AN ERROR IS ABOUT === #

    def resume(self, run):
        run.resume_at = False
        for _tick in range(5):
            self.tick()
            if not run.is_open:
                return

    def buttons(self):
        """Return the buttons a manager sees on the form of the account."""
        manager = new_test_user(
            self.env,
            login="buttons",
            groups="crm_mailchimp.group_mailchimp_manager",
            company_id=self.company.id,
        )
        account = self.account.with_user(manager)
        arch = etree.fromstring(account.get_view(view_type="form")["arch"])
        known = account.read()[0]
        seen = {
            button.get("string")
            for button in arch.xpath("//header/button")
            if not safe_eval(button.get("invisible") or "False", known)
        }
        # And below the cog.
        bound = self.env["ir.actions.actions"].with_user(manager)
        seen |= {item["name"] for item in bound.get_bindings(account._name)["action"]}
        manager.unlink()
        return seen

    def assert_helps(self, message):
        """The message names a button, and that is there."""
        named = set(re.findall("click “([^”]+)”", message))
        self.assertTrue(named, message)
        self.assertLessEqual(named, self.buttons(), message)

    @long
    def test_one_refused_request_does_not_stop_the_account(self):
        for status, route in (
            (403, "GET /lists/*/members"),
            (404, "GET /lists/*/members"),
            (400, "GET /lists/*/members"),
            (401, "GET /lists/*/members"),
            (403, "POST /lists/*"),
        ):
            with self.subTest(status=status, route=route):
                new = self.contact(f"New{status}{len(route)}")
                bob = self.contact(f"Bob{status}{len(route)}")
                self.audience.add_member(bob.email)
                self.simulator.fault(route, status=status, times=None)
                run = self.push(state="waiting")
                self.assertEqual(self.account.state, "linked")
                self.assertFalse(self.account.activity_ids)
                self.assertTrue(run.resume_at)
                self.assertIn("the members of the audience", run.error_message)
                self.assert_helps(self.account.health_message)
                self.check_contacts_work_as_ever()
                # What can be done is done with each try.
                self.audience.unsubscribe(bob.email)
                self.simulator.faults.clear()
                self.resume(run)
                self.assertEqual(run.state, "done")
                self.assertFalse(self.account.health_message)
                self.assertFalse(bob.mailchimp_opt_in)
                self.assertEqual(self.status(new.email), "subscribed")

    def forbid(self, method, *partners):
        """Let Mailchimp answer that nobody may do this with these members."""
        for partner in partners:
            path = f"/lists/{self.audience.id}/members/{member_hash(partner.email)}"
            self.simulator.fault(f"{method} {path}", status=403, times=None)

    def test_what_may_not_be_done_with_one_member_does_not_stop_the_others(self):
        people = self.ann | self.contact("Bob") | self.contact("Eve")
        archived = self.contact("Zoe")
        self.push()
        self.forbid("PATCH", self.ann, archived)
        self.opt_out(archived)
        archived.mailchimp_opt_in = True
        people.city = "Bruges"
        run = self.push()
        self.assertEqual(run.counters["updated"], 2)
        self.assertEqual(run.counters["refused"], 2)
        for email in ("bob@firma.be", "eve@firma.be"):
            self.assertEqual(self.member(email).merge_fields["CITY"], "Bruges")
        member = self.ledger("ann@firma.be")
        self.assertEqual(member.reason, "other")
        self.assertTrue(member.reason_text)
        self.assertEqual(self.ledger("zoe@firma.be").reason, "other")
        self.assertTrue(self.ledger("zoe@firma.be").next_try)
        self.assertFalse(self.account.no_room_message)
        self.assertEqual(self.account.state, "linked")
        # The role of a user or the plan may change.
        self.simulator.faults.clear()
        members = member | self.ledger("zoe@firma.be")
        members.sudo().next_try = fields.Datetime.now() - timedelta(minutes=1)
        self.push()
        self.assertEqual(self.member("ann@firma.be").merge_fields["CITY"], "Bruges")
        self.assertEqual(self.status("zoe@firma.be"), "subscribed")

    def test_what_may_not_be_done_with_any_member_waits(self):
        people = self.contact("P0")
        for number in range(1, 20):
            people |= self.contact(f"P{number}")
        self.push()
        people.city = "Bruges"
        self.simulator.fault("PATCH /lists/*/members/*", status=403, times=None)
        self.simulator.clear_calls()
        run = self.push(state="waiting")
        self.assertIn("the role of the API key's user", run.error_message)
        self.assertLess(self.simulator.count("PATCH"), 20)
        self.assertEqual(self.account.state, "linked")

    def test_opt_outs_go_on_while_something_else_is_refused(self):
        self.contact("New")
        self.simulator.fault("POST /lists/*", status=403, times=None)
        run = self.push(state="waiting")
        for attempt in range(3):
            run.resume_at = False
            self.tick()
            self.assertEqual(run.attempts, attempt + 2)
            self.assertEqual(run.state, "waiting")
        self.ann.mailchimp_opt_in = False
        self.send_opt_outs()
        self.assertEqual(self.status("ann@firma.be"), "archived")
        self.assertEqual(self.account.state, "linked")

    def test_the_second_look_is_not_answered(self):
        self.contact("New")
        self.simulator.fault("POST /lists/*", status=403, times=None)
        self.simulator.fault("GET /", status=503, body="html", times=None)
        run = self.push(state="waiting")
        self.assertEqual(self.account.state, "linked")
        self.assertIn("tries again automatically", run.error_message)

    def test_a_deleted_audience_stops_the_account(self):
        self.simulator.account.audiences.pop(self.audience.id)
        run = self.push(state="failed")
        self.assertEqual(self.account.state, "error")
        self.assertIn("Test audience is no longer in", self.account.health_message)
        self.assertEqual(run.error_message, self.account.error_message)
        self.assert_helps(self.account.health_message)
        self.account.action_reauthorize()
        self.assertEqual(self.account.state, "error", "it still is not there")
        self.assertEqual(len(self.account.activity_ids), 1)
        other = self.simulator.add_audience("Other audience")
        stopped = self.account
        type(self).account = stopped._link_audience(
            {"id": other.id, "name": other.name, "web_id": other.web_id}
        )
        self.addCleanup(setattr, type(self), "account", stopped)
        self.assertEqual(self.account.state, "linked")
        self.assertFalse(stopped.activity_ids)
        self.account.push_enabled = True
        self.push()
        self.assertIn("ann@firma.be", other.members)

    def test_an_account_mailchimp_stopped(self):
        self.simulator.fault("**", status=403, times=None)
        self.push(state="failed")
        self.assertEqual(self.account.state, "error")
        self.assertIn("under review", self.account.health_message)
        self.assert_helps(self.account.health_message)

    def test_an_audience_that_is_not_for_this_user(self):
        self.simulator.fault("GET /lists/*", status=403, times=None)
        self.simulator.fault("GET /lists/*/**", status=403, times=None)
        self.push(state="failed")
        self.assertEqual(self.account.state, "error")
        self.assertIn("The user of the key or login", self.account.health_message)
        self.assert_helps(self.account.health_message)

    def test_a_stopped_account_goes_on_by_itself(self):
        self.ann.city = "Bruges"
        self.simulator.revoke_key()
        self.push(state="failed")
        self.assertEqual(self.account.state, "error")
        self.assert_helps(self.account.health_message)
        now = fields.Datetime.now()
        self.assertLess(self.account.next_look, now + timedelta(minutes=16))
        self.simulator.clear_calls()
        self.tick()
        self.assertFalse(self.simulator.calls, "it is not asked all the time")
        self.account.next_look = now
        self.tick()
        self.assertEqual(self.account.state, "error")
        self.assertEqual(len(self.simulator.calls), 1)
        self.assertGreater(self.account.next_look, now + timedelta(minutes=55))
        self.assertEqual(len(self.account.activity_ids), 1, "told once")
        self.account.next_look = now
        self.simulator.fault("**", status=503, times=None)
        self.tick()
        self.assertEqual(self.account.state, "error", "no answer proves nothing")
        self.assertGreater(self.account.next_look, now + timedelta(minutes=55))
        self.simulator.faults.clear()
        self.simulator.restore_key()
        self.account.next_look = now
        self.tick()
        self.assertEqual(self.account.state, "linked")
        self.assertFalse(self.account.error_message)
        self.assertFalse(self.account.activity_ids)
        self.tick()
        self.assertEqual(self.member("ann@firma.be").merge_fields["CITY"], "Bruges")

    def test_what_does_not_go_on_by_itself(self):
        """A revoked key or login: the form says so, and names the button that helps."""

        def shown():
            """Return the words of the red box that stand there now."""
            arch = etree.fromstring(self.account.get_view(view_type="form")["arch"])
            (box,) = arch.xpath(
                "//div[contains(@class, 'alert-danger')][field[@name='health_message']]"
            )
            values = self.account.read()[0]
            return " ".join(
                " ".join(node.itertext())
                for node in [box, *box.iterchildren("div")]
                if not safe_eval(node.get("invisible", "0"), dict(values))
                and node is not box
            )

        self.simulator.fault("**", status=403, times=None)
        self.push(state="failed")
        self.assertIn("resumes automatically", shown())
        self.assertNotIn("Until then", shown())
        self.simulator.faults.clear()
        self.account.action_reauthorize()
        self.assertEqual(self.account.state, "linked")
        self.simulator.revoke_key()
        self.push(state="failed")
        self.assertNotIn("resumes automatically", shown())
        self.assertIn("Until then nothing is synced", shown())
        self.assertIn("Create a new key", self.account.health_message)
        self.assert_helps(self.account.health_message)
        self.assertEqual(
            self.account.run_ids.sorted("id")[-1].error_message,
            self.account.error_message,
        )
        # As a look in an hour finds it.
        self.account.next_look = fields.Datetime.now()
        self.tick()
        self.assertNotIn("resumes automatically", shown())
        self.simulator.restore_key()
        self.account.action_reauthorize()
        self.assertFalse(self.account.needs_new_key)

    def test_a_new_key_is_tried_without_a_button(self):
        self.simulator.revoke_key()
        self.push(state="failed")
        key = "d" * 32 + "-us21"
        self.simulator.add_key(key)
        self.account.api_key = key
        self.tick()
        self.assertEqual(self.account.state, "linked")

    def test_a_key_replaced_during_a_run(self):
        key = "e" * 32 + "-us21"
        self.simulator.add_key(key)
        original = Send.work
        replaced = []

        def replace_first(phase):
            if not replaced:
                replaced.append(phase.account.write({"api_key": key}))
                phase.commit()
                self.simulator.revoke_key()
            return original(phase)

        self.contact("New")
        self.ann.city = "Bruges"
        with patch.object(Send, "work", replace_first):
            run = self.push()
        self.assertTrue(replaced)
        self.assertFalse(run.error_message)
        self.assertEqual(self.account.state, "linked")
        self.assertFalse(self.account.activity_ids)
        self.assertEqual(self.status("new@firma.be"), "subscribed")
        self.assertEqual(self.member("ann@firma.be").merge_fields["CITY"], "Bruges")

    def test_a_run_cancelled_while_it_fails_stays_cancelled(self):
        def cancel(phase):
            phase.run.action_cancel()
            phase.commit()
            raise errors.Forbidden("no", method="GET", path="/lists/l/members")

        with patch.object(Segments, "work", cancel):
            self.push(state="cancelled")
        self.assertEqual(self.account.state, "linked")

    def test_buttons_that_sentences_name_are_there(self):
        self.simulator.revoke_key()
        self.account.action_disconnect()
        self.assertEqual(self.account.state, "draft")
        lost = errors.AuthLost("no")
        self.assert_helps(self.account._error_sentence(lost))
        self.account.state = "error"
        self.assert_helps(self.account._error_sentence(lost))
        for state in ("connected", "linked"):
            self.account.state = state
            self.assertNotIn("press", self.account._error_sentence(lost))
        # Whoever reads these may be on any page.
        for kind in (errors.Forbidden, errors.NotFound, errors.Retryable):
            self.assertNotIn("press", self.account._error_sentence(kind("no")))
        self.account.state = "linked"
        for push_enabled in (True, False):
            self.account.push_enabled = push_enabled
            for kind in ("push", "full", "preview", "stats"):
                run = self.env["crm.mailchimp.run"].create(
                    {"account_id": self.account.id, "kind": kind}
                )
                run._wait(errors.Rejected("no", path="/reports", status=400))
                if push_enabled or kind in ("preview", "stats"):
                    self.assert_helps(run.error_message)
                else:
                    self.assertNotIn("press", run.error_message)
                run._end("cancelled")
                run.flush_recordset()

    # === ONE ACCOUNT AND ANOTHER === #

    def another_account(self):
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
        self.contact("Bob", company_id=other.id)
        return account, second

    def faulty_tick(self):
        """Run the scheduled action where a fault of ours is logged."""
        self.env.flush_all()
        with (
            self.enter_registry_test_mode(),
            self.assertLogs("odoo.addons.crm_mailchimp", "ERROR"),
            self.assertNoLogs("odoo.addons.base.models.ir_cron", "ERROR"),
        ):
            self.env.ref("crm_mailchimp.ir_cron_push").method_direct_trigger()
        self.env.invalidate_all()

    def test_one_account_never_stops_another(self):
        first = self.account
        account, second = self.another_account()
        for registry_model, name in (
            ("crm.mailchimp.account", "_due_runs"),
            ("crm.mailchimp.run", "_run_slice"),
        ):
            with self.subTest(name):
                Model = self.env.registry[registry_model]
                original = getattr(Model, name)

                def fail(record, *args, original=original):
                    found = record if "audience_ref" in record else record.account_id
                    if found == first:
                        # As it breaks a transaction.
                        record.env.cr.execute("SELECT 1 FROM no_such_table")
                    return original(record, *args)

                self.contact(f"N{name}", company_id=account.company_id.id)
                first._request_run("push")
                account._request_run("push")
                with patch.object(Model, name, fail), mute_logger("odoo.sql_db"):
                    self.faulty_tick()
                self.assertIn(f"n{name}@firma.be", second.members)
                self.tick()
                self.assertEqual(first.last_run_id.state, "done")
