import os
import threading
import time
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from random import Random
from unittest.mock import patch
from urllib.parse import urlsplit

from odoo import fields
from odoo.exceptions import AccessError, UserError
from odoo.tests import HttpCase, tagged

from .common import MailchimpCase
from .test_budget import InsertContacts

try:
    from mailchimp_simulator.webhooks import signature
except ImportError:  # installed without the repository around it
    signature = None

DELIVERY = "odoo.addons.crm_mailchimp.models.crm_mailchimp_webhook_delivery"
CONSENT = "odoo.addons.crm_mailchimp.sync.consent"
FOREIGN = {
    "url": "http://127.0.0.1:1/crm_mailchimp/webhook/somebody-elses",
    "events": {"subscribe": True},
    "sources": {"user": True},
}


class Address:
    """What is at the URL of this Odoo, as Mailchimp sees it."""

    def __init__(self):
        self.status, self.asked = 200, []
        address = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                address.asked.append(self.path)
                self.send_response(address.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_args):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(
            target=self.server.serve_forever, args=(0.01,), daemon=True
        ).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


class WebhookCase(MailchimpCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.address = Address()
        cls.addClassCleanup(cls.address.close)

    def setUp(self):
        super().setUp()
        self.address.status, self.address.asked = 200, []
        if self.hooks():
            self.simulator.deliveries.hold()

    def prepare(self):
        super().prepare()
        self.set_base(self.address.url)
        self.link()
        self.Delivery = self.env["crm.mailchimp.webhook.delivery"]

    def set_base(self, url):
        self.env["ir.config_parameter"].set_param("web.base.url", url)

    def look(self):
        """Let the scheduled action look after the webhooks, due or not."""
        self.account.webhook_next_look = False
        self.tick("ir_cron_webhook")

    def hooks(self):
        return list(self.audience.webhooks.values())

    def register(self):
        """Register, and keep back what Mailchimp has to deliver."""
        self.tick("ir_cron_webhook")
        self.assertEqual(len(self.hooks()), 2)
        self.simulator.deliveries.hold()
        self.simulator.clear_calls()

    def bodies(self):
        """Return what Mailchimp has to deliver: ``[(webhook, body)]``."""
        return self.simulator.deliveries.waiting

    def deliver(self, bodies=None, **options):
        """Let deliveries come, as the controller hands them on."""
        return [
            self.hand_in(hook, raw, **options)
            for hook, raw in (self.bodies() if bodies is None else bodies)
        ]

    def hand_in(self, hook, raw, when=None, content_type=None, header=None):
        account = self.account.sudo()
        name = next(
            (n for n, k in account.webhook_hooks.items() if k["url"] == hook.url),
            "people",
        )
        when = self.simulator.clock.now() if when is None else when
        if header is None and hook.secret:
            header = signature(hook.secret, raw, when)
        content_type = content_type or "application/x-www-form-urlencoded"
        return account._receive_delivery(name, raw, content_type, header)

    def process(self):
        """Let the scheduled action work on what was delivered."""
        run = self.env["crm.mailchimp.run"]
        for _tick in range(20):
            self.tick()
            run = self.env["crm.mailchimp.run"].search(
                [("kind", "=", "webhook")], limit=1
            )
            if not run.is_open:
                break
        return run

    def received(self):
        return self.Delivery.search([("account_id", "=", self.account.id)])

    def suppressed(self, email):
        return self.env["crm.mailchimp.suppression"].search(
            [("email_normalized", "=", email), ("lifted_at", "=", False)]
        )


@tagged("post_install", "-at_install")
class TestRegistration(WebhookCase):
    """Webhooks are registered, looked after and removed by the scheduled action."""

    def test_registered_by_the_scheduled_action(self):
        self.assertFalse(self.simulator.count(path_glob="*webhook*"))
        self.assertEqual(self.account.webhook_state, "registering")
        self.tick("ir_cron_webhook")
        people, programs = self.hooks()
        self.assertEqual(people.sources, {"user", "admin"})
        self.assertEqual(programs.sources, {"api"})
        self.assertEqual(programs.events, {"unsubscribe", "cleaned", "upemail"})
        # Mailchimp asked both addresses.
        self.assertEqual(len(self.address.asked), 2)
        self.assertEqual(self.account.webhook_state, "waiting")
        self.assertIn("Waiting for the first delivery", self.account.webhook_message)
        # It looks again once a day.
        self.simulator.clear_calls()
        self.tick("ir_cron_webhook")
        self.assertFalse(self.simulator.calls)
        self.look()
        self.assertEqual(self.simulator.count("POST"), 0)
        self.assertLessEqual(len(self.simulator.calls), 2)
        self.assertEqual(self.hooks(), [people, programs])

    def test_token_and_secrets_are_read_by_nobody(self):
        self.tick("ir_cron_webhook")
        token = self.account.sudo().webhook_token
        self.assertGreaterEqual(len(token), 40)
        secrets = [hook.secret for hook in self.hooks()]
        self.assertEqual(
            [k["secret"] for k in self.account.sudo().webhook_hooks.values()], secrets
        )
        admin = self.account.with_user(self.env.ref("base.user_admin"))
        for name in ("webhook_token", "webhook_hooks"):
            with self.assertRaises(AccessError):
                admin.read([name])
            with self.assertRaises(AccessError):
                admin.search([(name, "!=", False)])
            with self.assertRaises(AccessError):
                admin.write({name: "mine"})
        shown = str(admin.read())
        for secret in (token, *secrets):
            self.assertNotIn(secret, shown)

    def test_without_https(self):
        self.set_base("http://odoo.firma.be")
        self.simulator.clear_calls()
        self.tick("ir_cron_webhook")
        self.assertFalse(self.simulator.calls)
        self.assertEqual(self.account.webhook_state, "unreachable")
        self.assertIn("http://odoo.firma.be", self.account.webhook_message)
        with self.assertRaisesRegex(UserError, "https"):
            self.account.action_test_webhook()

    def test_mailchimp_does_not_reach_odoo(self):
        self.address.status = 403
        self.tick("ir_cron_webhook")
        self.assertFalse(self.hooks())
        self.assertEqual(self.account.webhook_state, "refused")
        self.assertIn("HTTP Code: 403", self.account.webhook_message)
        self.assertEqual(self.account.state, "linked")
        # Not every few minutes; but at once when somebody has mended it.
        self.simulator.clear_calls()
        self.tick("ir_cron_webhook")
        self.assertFalse(self.simulator.calls)
        self.address.status = 200
        self.account.action_test_webhook()
        self.tick("ir_cron_webhook")
        self.assertEqual(len(self.hooks()), 2)
        self.assertEqual(self.account.webhook_state, "waiting")

    def test_an_answer_that_gets_lost(self):
        """It had the secret: the webhook is deleted and made anew, others are not."""
        foreign = self.foreign()
        self.simulator.fault("POST /lists/*/webhooks", "drop_applied", times=1)
        self.tick("ir_cron_webhook")
        lost = self.hooks()
        self.assertEqual(len(lost), 2)
        self.look()
        hooks = self.hooks()
        self.assertEqual(len(hooks), 3)
        self.assertIn(foreign, hooks)
        self.assertEqual(set(lost) & set(hooks), {foreign})
        known = self.account.sudo().webhook_hooks.values()
        self.assertEqual(
            {k["secret"] for k in known}, {h.secret for h in hooks if h != foreign}
        )

    def foreign(self):
        """Register a webhook of somebody else."""
        from mailchimp_simulator.webhooks import Webhook

        hook = Webhook("foreign", FOREIGN["url"], {"subscribe"}, {"user"})
        self.audience.webhooks[hook.id] = hook
        return hook

    def test_somebody_changed_or_deleted_them(self):
        self.tick("ir_cron_webhook")
        people, programs = self.hooks()
        people.events.discard("unsubscribe")
        del self.audience.webhooks[programs.id]
        self.look()
        self.assertIn("unsubscribe", self.hooks()[0].events)
        self.assertEqual(len(self.hooks()), 2)

    def test_another_address_of_odoo(self):
        self.tick("ir_cron_webhook")
        foreign, first = self.foreign(), self.hooks()[:2]
        # An administrator signed in by an inner address: what works goes on.
        self.set_base("http://192.168.0.7:8069")
        self.look()
        self.assertEqual(self.hooks(), [*first, foreign])
        self.assertEqual(self.account.webhook_state, "waiting")
        # The company moved.
        other = Address()
        self.addCleanup(other.close)
        self.set_base(other.url)
        self.tick("ir_cron_webhook")
        self.assertEqual(self.hooks()[0], foreign)
        self.assertTrue(all(h.url.startswith(other.url) for h in self.hooks()[1:]))
        self.assertEqual(len(self.hooks()), 3)

    def test_a_new_address_that_is_refused_keeps_the_former(self):
        self.tick("ir_cron_webhook")
        first, other = self.hooks(), Address()
        self.addCleanup(other.close)
        other.status = 404
        self.set_base(other.url)
        self.tick("ir_cron_webhook")
        self.assertEqual(self.hooks(), first)
        self.assertEqual(self.account.webhook_state, "refused")

    def test_switched_off_and_on(self):
        foreign = self.foreign()
        self.tick("ir_cron_webhook")
        self.simulator.clear_calls()
        self.account.webhook_enabled = False
        # Saving the account calls nobody.
        self.assertFalse(self.simulator.calls)
        self.tick("ir_cron_webhook")
        self.assertEqual(self.hooks(), [foreign])
        self.assertEqual(self.account.webhook_state, "off")
        self.assertFalse(self.account.sudo().webhook_token)
        self.account.webhook_enabled = True
        self.tick("ir_cron_webhook")
        self.assertEqual(len(self.hooks()), 3)

    def test_removed_on_disconnect(self):
        foreign = self.foreign()
        self.tick("ir_cron_webhook")
        self.account.action_disconnect()
        self.assertEqual(self.hooks(), [foreign])
        self.assertFalse(self.account.sudo().webhook_token)

    def test_disconnecting_does_not_wait_for_mailchimp(self):
        self.tick("ir_cron_webhook")
        token = self.account.sudo().webhook_token
        self.simulator.fault("* /lists/*/webhooks**", "hang", seconds=60, times=None)
        started = time.monotonic()
        self.account.action_disconnect()
        self.assertLess(time.monotonic() - started, 30)
        self.simulator.faults.clear()
        self.assertEqual(self.account.state, "draft")
        self.assertFalse(self.account._of_webhook(token))
        # What was left behind is found again.
        left = self.hooks()
        self.assertEqual(len(left), 2)
        self.account.api_key = self.simulator.api_key
        self.account.action_connect()
        self.tick("ir_cron_webhook")
        self.assertEqual(len(self.hooks()), 2)
        self.assertFalse(set(left) & set(self.hooks()))

    def test_another_audience(self):
        self.tick("ir_cron_webhook")
        former = self.audience
        other = self.simulator.add_audience("Other")
        account = self.account._link_audience(
            {"id": other.id, "name": other.name, "web_id": 1}
        )
        self.tick("ir_cron_webhook")
        self.assertFalse(former.webhooks)
        self.assertEqual(len(other.webhooks), 2)
        self.assertEqual(account.webhook_state, "waiting")

    def test_uninstalling(self):
        self.tick("ir_cron_webhook")
        self.env["crm.mailchimp.account"].with_context(active_test=False).search(
            []
        )._try_to_remove_webhooks()
        self.assertFalse(self.hooks())

    def test_a_copy_neither_registers_nor_answers(self):
        self.tick("ir_cron_webhook")
        hooks, token = self.hooks(), self.account.sudo().webhook_token
        self.assertTrue(self.account._of_webhook(token))
        self.env["ir.config_parameter"].set_param("database.uuid", "another")
        self.env.invalidate_all()
        self.simulator.clear_calls()
        self.assertFalse(self.account._of_webhook(token))
        self.set_base("https://copy.firma.be")
        self.look()
        self.account.action_disconnect()
        self.assertFalse(self.simulator.calls)
        self.assertEqual(self.hooks(), hooks)

    def test_neutralized(self):
        from .test_copy import NEUTRALIZE

        self.register()
        self.audience.add_member("ann@firma.be")
        self.deliver()
        self.env.flush_all()
        self.env.cr.execute(NEUTRALIZE.read_text())
        self.env.invalidate_all()
        account = self.account.sudo()
        self.assertFalse(account.webhook_token or account.webhook_hooks)
        self.assertFalse(self.received())

    def test_test_it(self):
        self.tick("ir_cron_webhook")
        toast = self.account.action_test_webhook()["params"]
        self.assertEqual(toast["type"], "success", toast["message"])
        self.assertIn("Odoo's address answers", toast["message"])
        self.address.status = 502
        toast = self.account.action_test_webhook()["params"]
        self.assertEqual(toast["type"], "warning")
        self.assertIn("(502)", toast["message"])
        self.address.status = 200
        self.audience.webhooks.clear()
        toast = self.account.action_test_webhook()["params"]
        self.assertIn("lacks a webhook", toast["message"])
        self.tick("ir_cron_webhook")
        self.assertEqual(len(self.hooks()), 2)

    def test_mailchimp_is_not_there(self):
        self.simulator.fault("* /lists/*/webhooks", "status", status=503, times=None)
        self.tick("ir_cron_webhook")
        self.assertEqual(self.account.state, "linked")
        self.assertEqual(self.account.webhook_state, "registering")
        wait = self.account.webhook_next_look - fields.Datetime.now()
        self.assertLess(wait, timedelta(minutes=16))


@tagged("post_install", "-at_install")
class TestDeliveries(WebhookCase):
    """What comes of a delivery."""

    def prepare(self):
        super().prepare()
        self.ann, self.bob = self.contact("Ann"), self.contact("Bob")
        self.push()
        self.simulator.advance(60)
        self.register()

    def test_an_unsubscribe_without_a_run_of_everything(self):
        runs = self.env["crm.mailchimp.run"].search([])
        self.audience.unsubscribe("ann@firma.be", reason="Too many")
        self.assertEqual(self.deliver(), [True])
        run = self.process()
        self.assertFalse(self.ann.mailchimp_opt_in)
        self.assertTrue(self.bob.mailchimp_opt_in)
        self.assertEqual(len(self.simulator.calls), 1)
        line = self.ann.mailchimp_consent_ids[0]
        self.assertEqual((line.kind, line.source), ("out", "mailchimp"))
        self.assertEqual(self.env["crm.mailchimp.run"].search([]) - runs, run)
        self.assertIn("Unsubscribed in Mailchimp: 1", run.summary)
        self.assertEqual(self.account.webhook_state, "receiving")
        self.assertEqual(self.received().outcome, "read")

    def test_a_no_that_no_listing_shows_any_more(self):
        """Unsubscribed, then archived by hand before anybody looked."""
        for act in ("archive", "delete_permanently"):
            with self.subTest(act=act):
                email = "ann@firma.be" if act == "archive" else "bob@firma.be"
                self.audience.unsubscribe(email)
                moment = self.member(email).unsubscribed_at
                getattr(self.audience, act)(email)
                self.deliver()
                self.process()
                found = self.suppressed(email).filtered(
                    lambda no: no.kind == "unsubscribed"
                )
                self.assertEqual(found.date.timestamp(), moment)
        self.assertFalse(self.ann.mailchimp_opt_in or self.bob.mailchimp_opt_in)

    def test_a_complaint(self):
        self.audience.complain("ann@firma.be")
        self.audience.archive("ann@firma.be")
        self.deliver()
        self.process()
        self.assertIn("complained", self.suppressed("ann@firma.be").mapped("kind"))
        self.assertFalse(self.ann.mailchimp_opt_in)

    def test_archived_by_hand_is_no_no(self):
        self.audience.archive("ann@firma.be")
        self.deliver()
        self.process()
        self.assertTrue(self.ann.mailchimp_opt_in)
        self.assertFalse(self.suppressed("ann@firma.be"))
        self.assertEqual(self.ledger("ann@firma.be").archived_by, "mailchimp")
        self.assertEqual(self.received().outcome, "read")

    def test_the_echo_of_our_own_archiving(self):
        self.ann.active = False
        self.push()
        self.assertEqual(self.status("ann@firma.be"), "archived")
        self.assertEqual(len(self.bodies()), 1)
        self.deliver()
        self.process()
        self.assertFalse(self.suppressed("ann@firma.be"))
        self.assertEqual(self.ledger("ann@firma.be").archived_by, "odoo")
        self.ann.active = True
        self.push()
        self.assertEqual(self.status("ann@firma.be"), "subscribed")

    def test_the_echo_of_who_leaves_while_pending(self):
        self.account.double_opt_in = True
        eve = self.contact("Eve")
        self.push()
        self.assertEqual(self.status("eve@firma.be"), "pending")
        self.opt_out(eve)
        self.assertEqual(self.status("eve@firma.be"), "unsubscribed")
        self.audience.archive("eve@firma.be")
        self.deliver()
        self.process()
        found = self.suppressed("eve@firma.be")
        self.assertEqual(found.mapped("source"), ["odoo"])

    def test_another_application_unsubscribes(self):
        self.audience.unsubscribe("ann@firma.be", by="api")
        self.assertEqual(self.deliver(), [True])
        self.process()
        self.assertFalse(self.ann.mailchimp_opt_in)

    def test_an_old_no_overrules_no_newer_yes(self):
        self.audience.unsubscribe("ann@firma.be")
        self.simulator.advance(60)
        self.audience.sign_up("ann@firma.be")
        bodies = self.bodies()
        self.assertEqual(len(bodies), 2)
        for body in reversed(bodies):
            self.deliver([body])
            self.process()
        self.assertTrue(self.ann.mailchimp_opt_in)
        self.assertFalse(self.suppressed("ann@firma.be"))
        self.assertEqual(self.status("ann@firma.be"), "subscribed")

    def test_a_yes_and_a_no_after_it(self):
        self.audience.unsubscribe("ann@firma.be")
        self.simulator.advance(60)
        self.audience.sign_up("ann@firma.be")
        self.simulator.advance(60)
        self.audience.unsubscribe("ann@firma.be")
        self.audience.archive("ann@firma.be")
        self.deliver(reversed(self.bodies()))
        self.process()
        self.assertFalse(self.ann.mailchimp_opt_in)

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

    def test_erased_and_forgotten(self):
        self.audience.add_member("zoe@firma.be")
        self.audience.edit("zoe@firma.be", merge_fields={"FNAME": "Zoe"})
        self.deliver()
        self.process()
        self.assertEqual(len(self.received()), 2)
        self.env["crm.mailchimp.erasure"]._request(
            self.account, ["zoe@firma.be"], in_mailchimp=True
        )
        self.send_opt_outs()
        self.assertFalse(
            self.received().filtered(lambda d: d.email_normalized == "zoe@firma.be")
        )

    def test_how_long_they_are_kept(self):
        self.audience.unsubscribe("ann@firma.be")
        self.deliver()
        self.process()
        self.account.keep_deliveries_days = 9
        self.env.cr.execute(
            "UPDATE crm_mailchimp_webhook_delivery"
            " SET processed_at = processed_at - INTERVAL '8 days'"
        )
        self.env.invalidate_all()
        self.Delivery._gc_deliveries()
        self.assertTrue(self.received())
        self.account.keep_deliveries_days = 7
        self.Delivery._gc_deliveries()
        self.assertFalse(self.received())
        # What it told is known all the same.
        self.assertEqual(self.account.webhook_state, "receiving")

    def test_what_waits_is_kept(self):
        self.audience.unsubscribe("ann@firma.be")
        self.deliver()
        self.env.cr.execute(
            "UPDATE crm_mailchimp_webhook_delivery"
            " SET create_date = create_date - INTERVAL '2 years',"
            " received_at = received_at - INTERVAL '2 years'"
        )
        self.env.invalidate_all()
        self.Delivery._gc_deliveries()
        self.assertTrue(self.received())

    def test_at_least_for_a_day(self):
        with self.assertRaises(UserError):
            self.account.keep_deliveries_days = 0


@tagged("post_install", "-at_install")
class TestLimits(InsertContacts, WebhookCase):
    """Our own limits: beyond them the reading of changes is what counts."""

    def prepare(self):
        super().prepare()
        self.ann = self.contact("Ann")
        self.push()
        self.simulator.advance(60)
        self.register()

    def test_news_beyond_the_limit_are_read(self):
        with patch(f"{DELIVERY}.A_MINUTE", 5):
            for number in range(20):
                self.audience.add_member(f"new{number}@firma.be")
            self.audience.unsubscribe("ann@firma.be")
            self.assertEqual(self.deliver(), [True] * 21)
            # Five, one that stands for those left out, and the "no".
            self.assertEqual(len(self.received()), 7)
            self.process()
        self.assertEqual(self.ledger("new19@firma.be").status, "subscribed")
        self.assertFalse(self.ann.mailchimp_opt_in)

    def test_what_is_left_out_after_the_reading_is_read_again(self):
        with patch(f"{DELIVERY}.A_MINUTE", 0):
            for email in ("one@firma.be", "two@firma.be"):
                self.audience.add_member(email)
                self.deliver()
                self.process()
                self.assertEqual(self.ledger(email).status, "subscribed")

    def test_too_many_noes_come_again_later(self):
        with (
            patch(f"{DELIVERY}.A_MINUTE", 0),
            patch(f"{DELIVERY}.URGENT_A_MINUTE", 2),
        ):
            for number in range(4):
                self.audience.add_member(f"new{number}@firma.be")
            self.deliver()
            for number in range(4):
                self.audience.unsubscribe(f"new{number}@firma.be")
            told = [(hook, raw) for hook, raw in self.bodies() if b"unsubscribe" in raw]
            self.assertIn(None, self.deliver(told))
            self.process()
        # They are known by the reading.
        self.assertEqual(self.ledger("new3@firma.be").status, "unsubscribed")

    def test_nothing_waits_without_end(self):
        with patch(f"{DELIVERY}.MOST_WAITING", 3):
            for number in range(8):
                self.audience.add_member(f"new{number}@firma.be")
                self.audience.unsubscribe(f"new{number}@firma.be")
            self.assertIn(None, self.deliver())
            self.process()
        self.assertEqual(self.ledger("new7@firma.be").status, "unsubscribed")

    def test_many_in_any_order_twice_each(self):
        """People leave, come back, are archived, and so on; ``DELIVERIES=10000``, in
        the environment, is a large storm."""
        number = int(os.environ.get("DELIVERIES", 1200))
        rng = Random(19)
        self.insert_contacts(number // 4)
        self.push()
        people = [email for email in self.audience.members if email[0] == "p"]
        self.assertEqual(len(people), number // 4 - 1)
        self.simulator.clear_calls()
        said = dict.fromkeys(people, "yes")
        for step in range(4):
            self.simulator.advance(5)
            for email in people:
                act = "sign_up"
                if self.status(email) == "subscribed":
                    act = rng.choice(("unsubscribe", "edit", "archive", "complain"))
                if act == "edit":
                    self.audience.edit(email, merge_fields={"FNAME": str(step)})
                else:
                    getattr(self.audience, act)(email)
                if act not in ("edit", "archive"):
                    said[email] = "yes" if act == "sign_up" else "no"
        self.simulator.advance(5)
        # What nobody sees any more, since it is archived last.
        hidden = [e for e in people[:200] if self.status(e) == "unsubscribed"]
        self.assertTrue(hidden)
        for email in hidden:
            self.audience.archive(email)
        bodies = self.bodies()
        self.assertGreater(len(bodies), number * 0.9)
        bodies = bodies * 2
        rng.shuffle(bodies)
        with patch(f"{DELIVERY}.A_MINUTE", 100_000):
            self.assertEqual(set(self.deliver(bodies)), {True})
        self.assertLessEqual(len(self.received()), len(bodies) // 2)
        self.simulator.clear_calls()
        self.process()
        self.assertLess(len(self.simulator.calls), 20)
        self.assertTrue(all(self.received().mapped("processed_at")))
        self.check_ends(said)
        # Once more nothing happens.
        with patch(f"{DELIVERY}.A_MINUTE", 100_000):
            self.deliver(bodies[:100])
        self.simulator.clear_calls()
        self.process()
        self.assertFalse(self.simulator.calls)

    def check_ends(self, said):
        partners = self.env["res.partner"].search([("email", "in", list(said))])
        wrong = []
        for partner in partners:
            email, status = partner.email, self.status(partner.email)
            found = (
                "yes" if partner.mailchimp_opt_in else "no",
                self.ledger(email).status,
            )
            if found != (said[email], status):
                wrong.append((email, found, said[email], status))
        self.assertEqual(len(partners), len(said))
        self.assertFalse(wrong, (len(wrong), wrong[:5]))


@tagged("post_install", "-at_install")
class TestAttacks(WebhookCase, HttpCase):
    """What is not Mailchimp's leaves no trace, and no answer tells why."""

    def prepare(self):
        super().prepare()
        self.ann = self.contact("Ann")
        self.push()
        self.simulator.advance(60)
        self.register()
        self.audience.unsubscribe("ann@firma.be")
        [(self.hook, self.raw)] = self.bodies()
        self.path = urlsplit(self.hook.url).path
        self.env.flush_all()

    def post(self, raw=None, path=None, when=None, header=None, **headers):
        raw = self.raw if raw is None else raw
        when = self.simulator.clock.now() if when is None else when
        headers = {
            "Content-Type": "application/x-www-form-urlencoded",
            "X-Mailchimp-Signature": signature(self.hook.secret, raw, when)
            if header is None
            else header,
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        answer = self.url_open(
            path or self.path, data=raw, headers=headers, method="POST"
        )
        self.env.invalidate_all()
        return answer

    def test_mailchimp(self):
        self.assertEqual(self.url_open(self.path).status_code, 200)
        answer = self.post()
        self.assertEqual((answer.status_code, answer.content), (200, b""))
        self.assertNotIn("session_id", answer.cookies)
        self.assertEqual(self.received().email_normalized, "ann@firma.be")
        # As Mailchimp reads it: charset, another agent, twice.
        answer = self.post(
            Content_Type="application/x-www-form-urlencoded; charset=utf-8"
        )
        self.assertEqual(answer.status_code, 200)
        self.assertEqual(len(self.received()), 1)
        self.process()
        self.assertFalse(self.ann.mailchimp_opt_in)

    def test_in_a_browser(self):
        self.post()
        self.process()
        self.env.flush_all()
        action = "crm_mailchimp.action_crm_mailchimp_account"
        self.start_tour(
            f"/odoo/action-{action}/{self.account.id}",
            "crm_mailchimp_webhook",
            login="admin",
        )

    def refused(self, answer, status=404):
        self.assertEqual(answer.status_code, status)
        self.assertFalse(self.received())
        if status == 404:
            self.assertEqual(answer.content, b"")

    def test_forged(self):
        self.refused(self.post(header=""))
        self.refused(self.post(header="t=1,v1=00"))
        self.refused(self.post(header=signature("wrong", self.raw, time.time())))
        forged = self.raw.replace(b"ann", b"bob")
        self.refused(self.post(forged, header=signature("", forged, time.time())))
        self.refused(
            self.post(forged, header=signature(self.hook.secret, self.raw, time.time()))
        )
        # The other webhook has another secret.
        self.refused(self.post(path=self.path + "/programs"))
        self.refused(self.post(path=self.path + "/nothing"))

    def test_replayed(self):
        now = self.simulator.clock.now()
        for seconds in (-400, 400):
            self.refused(self.post(when=now + seconds))
        for _time in range(3):
            self.assertEqual(self.post(when=now).status_code, 200)
        self.assertEqual(len(self.received()), 1)

    def test_a_clock_that_is_off(self):
        """Odoo's clock is 20 minutes fast: only Mailchimp's counts."""
        now = self.simulator.clock.now()
        self.account.clock_skew = 1200
        self.env.flush_all()
        self.refused(self.post(when=now))
        self.assertEqual(self.post(when=now - 1200).status_code, 200)
        self.assertEqual(len(self.received()), 1)

    def test_no_form_of_mailchimp(self):
        for raw in (b"", b"type=", b"\xff", b"type=A", b"{}", b"&" * 5000):
            self.refused(self.post(raw))
        other = self.raw.replace(self.audience.id.encode(), b"another")
        self.assertNotEqual(other, self.raw)
        self.refused(self.post(other))
        for kind in ("text/plain", "multipart/form-data; boundary=x"):
            self.refused(self.post(Content_Type=kind))
        self.assertGreaterEqual(
            self.post(Content_Type="application/json").status_code, 400
        )
        self.assertFalse(self.received())

    def test_too_large(self):
        self.refused(self.post(self.raw + b"&x=" + b"y" * 200_000), status=413)

    def test_who_does_not_know_the_token(self):
        for token in ("x", "a" * 43, "..%2f", "%00", "a" * 3000, "0"):
            path = f"/crm_mailchimp/webhook/{token}"
            answer = self.url_open(path)
            self.assertIn(answer.status_code, (404, 400, 414), token)
            self.assertIn(self.post(path=path).status_code, (404, 400, 414), token)
        # A guess gets what a forged signature gets.
        guess = self.post(path="/crm_mailchimp/webhook/" + "a" * 43)
        forged = self.post(header="t=1,v1=00")
        self.assertEqual(
            (guess.status_code, guess.content, guess.headers["Content-Type"]),
            (forged.status_code, forged.content, forged.headers["Content-Type"]),
        )
        self.assertFalse(self.received())

    def test_an_account_that_is_not_connected(self):
        for values in (
            {"webhook_enabled": False},
            {"state": "draft"},
            {"active": False},
        ):
            before = {name: self.account[name] for name in values}
            self.account.write(values)
            self.env.flush_all()
            self.refused(self.post())
            self.assertEqual(self.url_open(self.path).status_code, 404)
            self.account.write(before)

    def test_a_copy(self):
        self.env["ir.config_parameter"].set_param("database.uuid", "another")
        self.env.flush_all()
        self.refused(self.post())
        self.assertEqual(self.url_open(self.path).status_code, 404)

    def test_without_a_signature(self):
        """Only where Mailchimp gave no secret when the webhook was made."""
        hooks = self.account.sudo().webhook_hooks
        hooks["people"]["secret"] = None
        self.account.sudo().webhook_hooks = dict(hooks)
        self.env.flush_all()
        self.assertEqual(self.post(header="").status_code, 200)
        self.assertEqual(len(self.received()), 1)
        self.assertEqual(
            self.post(path=self.path + "/programs", header="").status_code, 404
        )
        self.assertEqual(len(self.received()), 1)

    def test_others_methods(self):
        for method in ("PUT", "DELETE", "PATCH"):
            answer = self.opener.request(method, self.base_url() + self.path)
            self.assertGreaterEqual(answer.status_code, 400)
        self.assertFalse(self.received())

    def test_how_many_statements_a_delivery_costs(self):
        self.post()
        self.audience.add_member("zoe@firma.be")
        _hook, raw = self.bodies()[-1]
        self.account._of_webhook(self.account.sudo().webhook_token)
        before = self.env.cr.sql_log_count
        self.hand_in(self.hook, raw)
        self.assertLessEqual(self.env.cr.sql_log_count - before, 15)
