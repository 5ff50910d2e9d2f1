from unittest.mock import patch

from odoo.exceptions import AccessError, UserError
from odoo.tests import HttpCase, tagged

from ..engine.address import member_hash
from ..models.erasure import whole_address
from .common import long
from .test_rights import RightsCase
from .test_roles import EverythingCase


@tagged("post_install", "-at_install")
class TestErase(RightsCase):
    """A person is erased here and, if asked for, in Mailchimp; the "no" survives."""

    def prepare(self):
        super().prepare()
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

    def test_what_quotes_the_address(self):
        """From links, the account's chatter, and problems of runs."""
        recipient = self.recipients("ann@firma.be")
        recipient.event_ids.create(
            {
                "recipient_id": recipient.id,
                "kind": "click",
                "date": "2026-01-01",
                "url": "https://shop.example/x?mail=ann%40firma.be&a=1",
            }
        )
        others = "joann@firma.be, ann@firma.be.example, ann@firma.bet"
        self.account._message_log(body=f"Brought back: ann@firma.be, {others}")
        run = self.account.last_run_id
        run.error_message = "Its reason: ann@firma.be looks odd."
        self.wizard().action_erase()
        self.send_opt_outs()
        self.assertEqual(self.left("ann@firma.be"), {})
        self.assertEqual(self.left("ann%40firma.be"), {})
        self.assertEqual(run.error_message, "Its reason: … looks odd.")
        body = self.account.message_ids.filtered(lambda m: "Brought" in m.body).body
        self.assertIn(f"Brought back: …, {others}", body)
        urls = self.env["crm.mailchimp.recipient.event"].search([]).mapped("url")
        self.assertIn("https://shop.example/x?mail=…&a=1", urls)

    def test_an_address_as_html_has_it(self):
        self.env.cr.execute(
            "SELECT REGEXP_REPLACE(%s, %s, '…', 'gi')",
            (
                "O&#x27;Hara@firma.be, o'hara@firma.be.",
                whole_address("o'hara@firma.be"),
            ),
        )
        self.assertEqual(self.env.cr.fetchone(), ("…, ….",))


@tagged("post_install", "-at_install")
class TestRetention(RightsCase):
    """Opens and clicks are forgotten after the months the account says."""

    def prepare(self):
        super().prepare()
        self.link()
        self.contact("Ann")
        self.push()
        campaign = self.audience.add_campaign("regular", title="News")
        self.audience.send_campaign(campaign)
        self.audience.open(campaign.id, "ann@firma.be")
        self.push("stats")
        self.campaign = self.env["crm.mailchimp.campaign"].search([])
        self.recipient = self.campaign.recipient_ids
        self.event = self.recipient.event_ids
        self.assertTrue(self.event)

    def age(self, months):
        self.env.flush_all()
        self.env.cr.execute(
            "UPDATE crm_mailchimp_recipient_event"
            " SET date = NOW() - MAKE_INTERVAL(months => %s)",
            [months],
        )
        self.env.invalidate_all()

    def vacuum(self):
        result = self.env["crm.mailchimp.recipient.event"]._gc_events()
        self.env.invalidate_all()
        return result

    def test_they_are_kept_for_good_unless_somebody_says_so(self):
        self.campaign.next_poll = False
        self.age(120)
        self.vacuum()
        self.assertTrue(self.event.exists())

    def test_they_are_forgotten_and_numbers_stay(self):
        self.account.keep_events_months = 12
        self.campaign.next_poll = False
        self.age(11)
        self.vacuum()
        self.assertTrue(self.event.exists(), "they are not old enough")
        self.age(13)
        self.campaign.next_poll = "2031-01-01"
        self.vacuum()
        self.assertTrue(self.event.exists(), "the campaign is still read")
        self.campaign.next_poll = False
        self.assertEqual(self.vacuum(), (1, False))
        self.assertFalse(self.event.exists())
        self.assertEqual((self.recipient.open_count, self.campaign.opens_total), (1, 1))
        self.assertFalse(self.campaign.read_marks, "asked for, it is read as a whole")
        self.campaign.action_refresh()
        self.push("stats")
        self.assertEqual((self.recipient.open_count, self.campaign.opens_total), (1, 1))

    def test_in_slices(self):
        self.account.keep_events_months = 1
        self.campaign.next_poll = False
        for number in range(2, 6):
            self.event.copy({"number": number})
        self.age(2)
        path = (
            "odoo.addons.crm_mailchimp.models.crm_mailchimp_recipient_event.FORGOTTEN"
        )
        with patch(path, 2):
            self.assertEqual(self.vacuum(), (2, True))
            self.assertEqual(self.vacuum(), (2, True))
            self.assertEqual(self.vacuum(), (1, False))

    def test_no_negative_number(self):
        with self.assertRaises(UserError):
            self.account.keep_events_months = -1


@tagged("post_install", "-at_install")
class TestDossier(EverythingCase):
    """Everything stored about a person is one file, for managers."""

    def page(self, partner=None, user=None):
        report = self.env["ir.actions.report"].with_user(user or self.manager)
        html, _kind = report._render_qweb_html(
            "crm_mailchimp.action_report_dossier", (partner or self.gone).ids
        )
        return html.decode()

    def test_every_model_that_holds_a_person_is_in_it(self):
        """Of all tables of the add-on that mention the address or the contact."""
        partner = self.gone
        self.env["crm.mailchimp.recipient"].search([]).email_hash = member_hash(
            partner.email
        )
        page = self.page()
        self.env.flush_all()
        seen = 0
        for model, records in self.records.items():
            ours = model.startswith("crm.mailchimp.") and not records._transient
            if not ours or not records._auto:
                continue
            if not records.with_user(self.manager).has_access("read"):
                continue
            self.env.cr.execute(
                f"SELECT id FROM {records._table} t WHERE t::text ILIKE %s",
                [f"%{partner.email}%"],
            )
            named = self.env.cr.fetchall()
            if "partner_id" in records._fields and records._fields["partner_id"].store:
                named += records.search([("partner_id", "=", partner.id)]).ids
            if named:
                seen += 1
                self.assertIn(records._description, page, model)
        self.assertGreaterEqual(seen, 4)
        self.assertIn("Mailchimp Recipient Event", page)
        self.assertIn(partner.email, page)
        self.assertNotIn("ann.zebra@firma.be", page, "nobody else is in it")

    def test_a_hostile_text_is_text(self):
        self.gone.mailchimp_consent_ids._write({"note": "<script>alert(1)</script>"})
        self.env.invalidate_all()
        page = self.page()
        self.assertIn("&lt;script&gt;alert(1)", page)
        self.assertNotIn("<script>alert(1)", page)

    def test_managers_of_the_company_only(self):
        for user in (self.sales, self.syncer, self.employee, self.stranger):
            with self.subTest(user=user.login), self.assertRaises(AccessError):
                self.page(user=user)
        bound = self.env["ir.actions.actions"].with_user(self.sales)
        names = [a["name"] for a in bound.get_bindings("res.partner").get("report", [])]
        self.assertNotIn("Everything stored about this person", names)


@tagged("post_install", "-at_install")
class TestEraseTour(HttpCase):
    @long
    def test_erase_a_person(self):
        partner = self.env["res.partner"].create(
            {
                "name": "Tour person",
                "email": "tour.person@firma.be",
                "mailchimp_opt_in": True,
            }
        )
        self.start_tour(
            f"/odoo/res.partner/{partner.id}", "crm_mailchimp_erase", login="admin"
        )
        self.env.invalidate_all()
        self.assertFalse(partner.mailchimp_opt_in)
        lines = partner.mailchimp_consent_ids
        self.assertEqual(sorted(lines.mapped("kind")), ["in", "out"])
        self.assertFalse(any(lines.mapped("email_normalized")))
