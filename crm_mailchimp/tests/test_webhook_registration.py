import time
from datetime import timedelta

from odoo import fields
from odoo.exceptions import AccessError, UserError
from odoo.tests import tagged

from .common import long
from .common_webhooks import Address, WebhookCase

FOREIGN = {
    "url": "http://127.0.0.1:1/crm_mailchimp/webhook/somebody-elses",
    "events": {"subscribe": True},
    "sources": {"user": True},
}


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

    @long
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
