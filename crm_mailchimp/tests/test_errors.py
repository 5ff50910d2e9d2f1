from unittest.mock import patch

from psycopg2.errors import SerializationFailure

from odoo.tests import tagged

from .common import MailchimpCase


@tagged("post_install", "-at_install")
class TestErrors(MailchimpCase):
    """Mailchimp down, refusing or talking rubbish: nothing is lost."""

    def setUp(self):
        super().setUp()
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
        self.assertIn("tried again", self.account.health_message)
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

    def conflict(self, name):
        """Let somebody else write, once, what a method of the run writes."""
        Run = self.env.registry["crm.mailchimp.run"]
        method, acts = getattr(Run, name), [1]

        def conflict(run, *args):
            result = method(run, *args)
            if acts:
                acts.pop()
                raise SerializationFailure()
            return result

        return patch.object(Run, name, conflict)

    def test_what_somebody_else_writes_is_written_again(self):
        for name in ("_phase_diff", "_record_creations", "_end"):
            contact = self.contact(f"New{name}", f"new{name}@firma.be")
            self.simulator.clear_calls()
            with self.conflict(name):
                run = self.push()
            self.assertEqual(self.status(contact.email), "subscribed")
            self.assertEqual(self.ledger(contact.email).status, "subscribed")
            self.assertEqual(self.simulator.count("POST"), 1, name)
            self.assertEqual(run.state, "done")

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
