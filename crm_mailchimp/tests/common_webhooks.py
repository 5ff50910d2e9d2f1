"""Webhooks registered at a simulated Mailchimp, and what it has to deliver."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

from odoo.tests import HttpCase

from .common import MailchimpCase

try:
    from mailchimp_simulator.webhooks import signature
except ImportError:  # installed without the repository around it
    signature = None


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


class DeliveryCase(WebhookCase):
    """Two contacts in the audience, and webhooks whose deliveries are kept back."""

    def prepare(self):
        super().prepare()
        self.ann, self.bob = self.contact("Ann"), self.contact("Bob")
        self.push()
        self.simulator.advance(60)
        self.register()


class RequestCase(WebhookCase, HttpCase):
    """An unsubscribe that Mailchimp has to deliver, and requests that say they do."""

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
