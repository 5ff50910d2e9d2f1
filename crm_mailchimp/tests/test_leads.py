from datetime import timedelta

from odoo import fields
from odoo.tests import Form, new_test_user, tagged

from .common import MailchimpCase


@tagged("post_install", "-at_install")
class TestLeads(MailchimpCase):
    """The opt-in of a lead, which the contact made of it gets."""

    def lead(self, **values):
        return self.env["crm.lead"].create(
            {
                "name": "Fair",
                "contact_name": "Ann",
                "email_from": "ann@firma.be",
                "mailchimp_opt_in": True,
                "mailchimp_opt_in_note": "Ticked on the stand",
                **values,
            }
        )

    def convert(self, lead):
        lead._handle_partner_assignment(create_missing=True)
        return lead.partner_id

    def test_a_lead_alone_is_not_sent(self):
        self.link()
        self.lead()
        self.push()
        self.assertFalse(self.audience.members)

    def test_the_contact_made_of_it_is_opted_in(self):
        self.link()
        lead = self.lead()
        date = lead.mailchimp_opt_in_date
        self.assertTrue(date)
        self.simulator.advance(3600)
        partner = self.convert(lead)
        self.assertTrue(partner.mailchimp_opt_in)
        self.assertEqual(partner.mailchimp_opt_in_date, date, "when it was ticked")
        line = partner.mailchimp_consent_ids
        self.assertEqual(
            (line.kind, line.source, line.date, line.note, line.email_normalized),
            ("in", "lead", date, "Ticked on the stand", "ann@firma.be"),
        )
        self.push()
        self.assertEqual(self.status("ann@firma.be"), "subscribed")

    def test_without_it_the_contact_is_not(self):
        partner = self.convert(self.lead(mailchimp_opt_in=False))
        self.assertFalse(partner.mailchimp_opt_in)
        self.assertFalse(partner.mailchimp_consent_ids)

    def test_a_company_made_beside_the_person_is_not(self):
        partner = self.convert(self.lead(partner_name="Firma"))
        self.assertTrue(partner.mailchimp_opt_in)
        self.assertFalse(partner.parent_id.mailchimp_opt_in)

    def test_a_contact_that_was_there_keeps_its_own(self):
        known = self.contact("Ann")
        known.mailchimp_opt_in = False
        lead = self.lead(partner_id=known.id)
        self.convert(lead)
        lead._handle_partner_assignment(force_partner_id=known.id)
        self.assertFalse(known.mailchimp_opt_in)

    def test_a_no_said_since_it_was_ticked_counts(self):
        self.link()
        lead = self.lead()
        self.env.flush_all()
        self.env.cr.execute(
            "UPDATE crm_lead SET mailchimp_opt_in_date = mailchimp_opt_in_date"
            " - INTERVAL '1 hour' WHERE id = %s",
            [lead.id],
        )
        self.env.invalidate_all()
        self.opt_out(self.contact("Twin", email="ann@firma.be"))
        self.convert(lead)
        self.push()
        self.assertNotEqual(self.status("ann@firma.be"), "subscribed")
        said = self.env["crm.mailchimp.suppression"].search(
            [("email_normalized", "=", "ann@firma.be")]
        )
        self.assertFalse(said.lifted_at)

    def test_an_unsubscribe_in_mailchimp_counts(self):
        self.link()
        self.contact("Twin", email="ann@firma.be")
        self.push()
        self.audience.unsubscribe("ann@firma.be")
        self.push()
        self.convert(self.lead())
        self.push()
        self.assertEqual(self.status("ann@firma.be"), "unsubscribed")

    def test_nobody_dates_it(self):
        later = fields.Datetime.now() + timedelta(days=900)
        lead = self.lead(mailchimp_opt_in_date=later)
        self.assertLess(lead.mailchimp_opt_in_date, later)
        lead.write({"mailchimp_opt_in_date": later})
        self.assertLess(lead.mailchimp_opt_in_date, later)
        lead.mailchimp_opt_in = False
        self.assertFalse(lead.mailchimp_opt_in_date)
        self.assertFalse(lead.copy().mailchimp_opt_in)

    def test_nor_by_a_default(self):
        later = fields.Datetime.now() + timedelta(days=900)
        user = new_test_user(self.env, "sam", groups="sales_team.group_sale_salesman")
        Lead = self.env["crm.lead"].with_user(user)
        for defaults in (
            {"default_mailchimp_opt_in_date": later},
            {
                "default_mailchimp_opt_in_date": later,
                "default_mailchimp_opt_in": True,
            },
        ):
            lead = Lead.with_context(**defaults).create({"name": "Fair"})
            self.assertEqual(
                bool(lead.mailchimp_opt_in_date), bool(lead.mailchimp_opt_in)
            )
            self.assertNotEqual(lead.mailchimp_opt_in_date, later)

    def test_on_the_form(self):
        user = new_test_user(self.env, "sam", groups="sales_team.group_sale_salesman")
        with Form(self.env["crm.lead"].with_user(user)) as form:
            form.name = "Fair"
            form.email_from = "ann@firma.be"
            form.mailchimp_opt_in = True
            form.mailchimp_opt_in_note = "By phone"
        lead = form.record
        self.assertTrue(lead.mailchimp_opt_in_date)
        partner = self.convert(lead)
        self.assertEqual(partner.mailchimp_consent_ids.note, "By phone")
        self.assertEqual(partner.mailchimp_consent_ids.user_id, user)
