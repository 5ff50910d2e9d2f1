import time
from datetime import timedelta
from unittest.mock import patch

from odoo import fields
from odoo.tests import tagged

from .common import long
from .common_webhooks import DeliveryCase

CONSENT = "odoo.addons.crm_mailchimp.sync.consent"


@tagged("post_install", "-at_install")
class TestDeliveries(DeliveryCase):
    """What comes of a delivery."""

    def test_a_bounce_a_change_of_address_and_values(self):
        self.audience.bounce("ann@firma.be")
        self.audience.change_address("bob@firma.be", "bobby@firma.be")
        self.audience.edit("bobby@firma.be", merge_fields={"FNAME": "Bobby"})
        self.deliver()
        self.process()
        self.assertEqual(self.ledger("ann@firma.be").status, "cleaned")
        self.assertTrue(self.ann.mailchimp_opt_in)
        self.assertEqual(self.ledger("bobby@firma.be").status, "subscribed")
        self.assertFalse(self.ledger("bob@firma.be").status)
        values = self.ledger("bobby@firma.be").values_seen
        self.assertEqual(values["m"]["FNAME"], "Bobby")

    def test_a_campaign_wakes_its_results(self):
        stats = self.env.ref("crm_mailchimp.ir_cron_stats")
        self.env["ir.cron.trigger"].search([("cron_id", "=", stats.id)]).unlink()
        campaign = self.env["crm.mailchimp.campaign"].create(
            {"account_id": self.account.id, "name": "News", "campaign_ref": "c1"}
        )
        campaign.next_poll = fields.Datetime.now() + timedelta(days=7)
        news = self.audience.add_campaign(title="News")
        campaign.campaign_ref = news.id
        self.audience.send_campaign(news)
        self.deliver()
        self.process()
        self.assertLessEqual(campaign.next_poll, fields.Datetime.now())
        self.assertTrue(
            self.env["ir.cron.trigger"].search([("cron_id", "=", stats.id)])
        )

    def test_unknown_kinds_are_kept_and_ignored(self):
        hook = self.hooks()[0]
        raw = b"type=loyalty&fired_at=2026-01-01+00:00:00&data[email]=ann@firma.be"
        self.assertTrue(self.hand_in(hook, raw))
        # A contact that has no address, but a telephone.
        raw = b"type=unsubscribe&data[action]=unsub&data[odd]=\x00"
        self.assertTrue(self.hand_in(hook, raw))
        self.process()
        self.assertEqual(self.received().mapped("outcome"), ["ignored"] * 2)
        self.assertTrue(self.ann.mailchimp_opt_in)

    def test_twice_is_once(self):
        self.audience.unsubscribe("ann@firma.be")
        [(hook, raw)] = self.bodies()
        now = self.simulator.clock.now()
        self.assertEqual(
            [self.hand_in(hook, raw, when=now + late) for late in (0, 0, 60)],
            [True] * 3,
        )
        self.assertEqual(len(self.received()), 1)
        self.process()
        self.deliver()
        self.simulator.clear_calls()
        self.process()
        self.assertFalse(self.simulator.calls)

    def test_one_trigger_however_many_deliveries(self):
        cron = self.env.ref("crm_mailchimp.ir_cron_push")
        self.env["ir.cron.trigger"].search([("cron_id", "=", cron.id)]).unlink()
        for number in range(50):
            self.audience.add_member(f"new{number}@firma.be")
        self.deliver()
        # One at once, one in a moment for what comes while it is at work.
        triggers = self.env["ir.cron.trigger"].search([("cron_id", "=", cron.id)])
        self.assertLessEqual(len(triggers), 4)
        self.assertEqual(len(self.received()), 50)

    def test_many_are_one_reading_of_changes(self):
        for number in range(300):
            self.audience.add_member(f"new{number}@firma.be")
        self.audience.unsubscribe("ann@firma.be")
        self.deliver()
        self.process()
        self.assertLessEqual(len(self.simulator.calls), 3)
        self.assertFalse(self.ann.mailchimp_opt_in)
        self.assertEqual(self.ledger("new7@firma.be").status, "subscribed")

    def test_a_push_settles_them_too(self):
        self.contact("Zoe")
        self.account._request_run("push")
        self.audience.unsubscribe("ann@firma.be")
        self.audience.archive("ann@firma.be")
        self.deliver()
        self.push()
        self.assertFalse(self.ann.mailchimp_opt_in)
        self.assertFalse(
            self.env["crm.mailchimp.run"].search([("kind", "=", "webhook")])
        )
        self.assertTrue(self.received().mapped("processed_at"))

    def test_many_that_left_are_many_slices(self):
        """Odoo kills a job that takes too long: opt-ins are taken a part at a time."""
        self.contact("Zoe")
        self.push()
        self.simulator.advance(60)
        names = ("ann", "bob", "zoe")
        for name in names:
            self.audience.unsubscribe(f"{name}@firma.be")
        bodies = [(hook, raw) for hook, raw in self.bodies() if b"unsub" in raw]
        self.deliver(bodies)
        with (
            patch(f"{CONSENT}.CONTACTS", 1),
            patch("odoo.addons.crm_mailchimp.models.slices.SLICE_SECONDS", 0),
        ):
            self.tick()
            contacts = self.env["res.partner"].search(
                [("email", "in", [f"{name}@firma.be" for name in names])]
            )
            self.assertEqual(len(contacts.filtered("mailchimp_opt_in")), 2)
            self.process()
        self.assertFalse(contacts.filtered("mailchimp_opt_in"))

    @long
    def test_many_that_no_listing_shows_and_slow_answers(self):
        """Each slice looks at some of them, and keeps what it saw."""
        names = [f"c{number}" for number in range(30)]
        people = self.env["res.partner"].union(*map(self.contact, names))
        self.push()
        self.simulator.advance(60)
        for name in names:
            self.audience.unsubscribe(f"{name}@firma.be")
            self.audience.delete_permanently(f"{name}@firma.be")
        self.deliver()
        self.simulator.clear_calls()
        self.simulator.latency(base=0.3)
        self.addCleanup(self.simulator.faults.clear)
        with patch(
            "odoo.addons.crm_mailchimp.models.slices.end_of_job",
            lambda: time.monotonic() + 1,
        ):
            run = self.process()
        self.assertEqual(run.state, "done", run.error_detail)
        self.assertFalse(any(people.mapped("mailchimp_opt_in")))
        looks = [c.path for c in self.simulator.calls if c.path.count("/") == 4]
        self.assertEqual(len(looks), len(set(looks)))

    def test_a_push_that_lost_an_answer_still_looks_again(self):
        """The reading for webhooks must not stand for the one that a push needs."""
        self.account.look_again = True
        for number in range(10):
            self.audience.add_member(f"new{number}@firma.be")
        self.deliver()
        self.process()
        self.assertTrue(self.account.look_again)
        self.push()
        self.assertFalse(self.account.look_again)

    def test_with_the_push_off_and_while_one_waits(self):
        self.account.push_enabled = False
        self.audience.unsubscribe("ann@firma.be")
        self.deliver()
        self.process()
        self.assertFalse(self.ann.mailchimp_opt_in)
        waiting = self.env["crm.mailchimp.run"].create(
            {
                "account_id": self.account.id,
                "kind": "push",
                "state": "waiting",
                "resume_at": fields.Datetime.now() + timedelta(hours=1),
            }
        )
        self.simulator.advance(60)
        self.audience.unsubscribe("bob@firma.be")
        self.deliver()
        self.process()
        self.assertFalse(self.bob.mailchimp_opt_in)
        self.assertEqual(waiting.state, "waiting")

    @long
    def test_mailchimp_does_not_answer(self):
        self.simulator.fault("* **", "status", status=503, times=None)
        self.audience.unsubscribe("ann@firma.be")
        self.deliver()
        with patch("time.sleep"):
            run = self.process()
        self.assertEqual(run.state, "waiting")
        self.assertFalse(self.received().processed_at)
        self.simulator.faults.clear()
        run.resume_at = fields.Datetime.now()
        self.process()
        self.assertFalse(self.ann.mailchimp_opt_in)

    def test_a_quiet_run_is_not_dearer(self):
        self.push()
        self.simulator.clear_calls()
        self.push()
        self.assertLessEqual(len(self.simulator.calls), 3)
