from odoo.tests import tagged

from .common_webhooks import DeliveryCase


@tagged("post_install", "-at_install")
class TestNoes(DeliveryCase):
    """What a delivery tells of consent, and what it does not."""

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
