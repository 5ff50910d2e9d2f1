import os
from random import Random
from unittest.mock import patch

from odoo.tests import tagged

from .common import long
from .common_webhooks import WebhookCase
from .test_budget import InsertContacts

DELIVERY = "odoo.addons.crm_mailchimp.models.crm_mailchimp_webhook_delivery"


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

    @long
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
