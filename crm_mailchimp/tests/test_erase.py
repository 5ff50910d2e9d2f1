from odoo.exceptions import AccessError, UserError
from odoo.tests import tagged

from .test_rights import RightsCase


@tagged("post_install", "-at_install")
class TestErase(RightsCase):
    """A person is erased here and, if asked for, in Mailchimp; the "no" survives."""

    def setUp(self):
        super().setUp()
        self.link()
        self.ann = self.contact("Ann Zebra", "ann@firma.be")
        self.bob = self.contact("Bob")
        self.push()
        campaign = self.audience.add_campaign("regular", title="News")
        self.audience.send_campaign(campaign)
        self.audience.open(campaign.id, "ann@firma.be")
        self.push("stats")
        self.assertTrue(self.recipients("ann@firma.be"))

    def recipients(self, email):
        return self.env["crm.mailchimp.recipient"].search(
            [("email_normalized", "=", email)]
        )

    def wizard(self, partners=None, user=None, **values):
        partners = (partners or self.ann).with_user(user or self.manager)
        action = partners.action_mailchimp_erase()
        wizard = self.env[action["res_model"]].browse(action["res_id"])
        wizard = wizard.with_user(user or self.manager)
        wizard.write(values)
        return wizard

    def left(self, text):
        """Return the tables of the add-on, and rows, that hold a text."""
        self.env.flush_all()
        self.env.cr.execute(
            "SELECT relname FROM pg_class WHERE relkind = 'r'"
            " AND relname LIKE 'crm_mailchimp_%%'"
        )
        found = {}
        for (name,) in self.env.cr.fetchall():
            if name.startswith("crm_mailchimp_erase"):
                continue  # the wizard, which Odoo clears
            self.env.cr.execute(
                f"SELECT t::text FROM {name} t WHERE t::text ILIKE %s", [f"%{text}%"]
            )
            rows = self.env.cr.fetchall()
            if rows:
                found[name] = rows
        return found

    def test_here_only(self):
        self.simulator.clear_calls()
        self.wizard().action_erase()
        self.assertFalse(self.simulator.calls, "the button waits for nobody")
        self.assertFalse(self.ann.mailchimp_opt_in)
        self.send_opt_outs()
        self.assertEqual(self.status("ann@firma.be"), "archived")
        self.assertEqual(self.left("ann@firma.be"), {})
        self.assertEqual(self.left("zebra"), {})
        erasure = self.env["crm.mailchimp.erasure"].search([])
        self.assertEqual(erasure.state, "done")
        self.assertEqual(erasure.requested_by_id, self.manager)
        self.assertFalse(erasure.email_normalized)
        # What it was stays: a yes, a no, one of those who got the campaign.
        kinds = self.ann.mailchimp_consent_ids.mapped("kind")
        self.assertEqual(sorted(kinds), ["in", "out"])
        campaign = self.env["crm.mailchimp.campaign"].search([])
        self.assertEqual(campaign.sent, 2)
        self.assertTrue(self.recipients("bob@firma.be"))
        self.push("stats")
        self.assertFalse(self.recipients("ann@firma.be"))

    def test_the_no_survives(self):
        """Of a contact that is gone, and known by its address only."""
        self.ann.unlink()
        wizard = (
            self.env["crm.mailchimp.erase"]
            .with_user(self.manager)
            .create({"addresses": "Ann@Firma.be\n"})
        )
        wizard.action_erase()
        self.send_opt_outs()
        self.assertEqual(self.status("ann@firma.be"), "archived")
        self.assertEqual(self.left("ann@firma.be"), {})
        self.audience.edit("ann@firma.be", status="subscribed")
        self.account.foreign_members = "import"
        no = self.env["crm.mailchimp.suppression"].search([("kind", "=", "opt_out")])
        self.assertTrue(no)
        self.assertFalse(any(no.mapped("email_normalized")))

    def test_in_mailchimp_too(self):
        self.simulator.clear_calls()
        self.wizard(in_mailchimp=True).action_erase()
        self.assertFalse(self.simulator.calls)
        self.send_opt_outs()
        self.assertIsNone(self.status("ann@firma.be"))
        deletions = [
            call for call in self.simulator.calls if "delete-permanent" in call.path
        ]
        self.assertEqual(len(deletions), 1)
        self.assertEqual(self.left("ann@firma.be"), {})
        self.assertEqual(self.status("bob@firma.be"), "subscribed")
        # Whoever has the address now is told why it stays out.
        again = self.contact("Again", "ann@firma.be")
        self.push()
        self.assertIsNone(self.status("ann@firma.be"))
        self.assertEqual(again.mailchimp_reason, "forgotten")

    def test_mailchimp_is_not_there(self):
        """It is tried again, and what is needed for it is kept until then."""
        self.wizard(in_mailchimp=True).action_erase()
        self.simulator.revoke_key()
        self.send_opt_outs()
        erasure = self.env["crm.mailchimp.erasure"].search([])
        self.assertEqual(erasure.state, "waiting")
        self.assertTrue(erasure.error_message)
        self.simulator.restore_key()
        self.send_opt_outs()
        self.assertEqual(erasure.state, "done")
        self.assertIsNone(self.status("ann@firma.be"))
        self.assertEqual(self.left("ann@firma.be"), {})

    def test_who_may(self):
        for user in (self.sales, self.syncer, self.employee, self.portal):
            with self.assertRaises(AccessError):
                self.wizard(user=user)
        self.ann.company_id = self.company
        with self.assertRaises(AccessError):
            self.wizard(user=self.stranger)
        # By the address, it reaches the accounts of one's own companies only.
        self.env["crm.mailchimp.erase"].with_user(self.stranger).create(
            {"addresses": "ann@firma.be", "in_mailchimp": True}
        ).action_erase()
        self.send_opt_outs()
        self.assertFalse(self.env["crm.mailchimp.erasure"].search([]))
        self.assertTrue(self.ledger("ann@firma.be"))
        self.assertIsNotNone(self.status("ann@firma.be"))
        with self.assertRaises(UserError):
            self.wizard(addresses="no address").action_erase()
