from datetime import timedelta
from unittest.mock import patch

from lxml import html

from odoo import fields
from odoo.tests import new_test_user, tagged

from odoo.addons.http_routing.tests.common import MockRequest

from .. import evidence
from .common import MORE, PAGE, TEXT, WebsiteFormCase, form_markup

NOTE = f"/fair: “{TEXT} {MORE}”"


@tagged("post_install", "-at_install")
class TestWebsiteForm(WebsiteFormCase):
    """An opt-in of a visitor reaches Mailchimp by a contact, with its evidence."""

    def prepare(self):
        super().prepare()
        self.salesperson = new_test_user(
            self.env, "sam", groups="sales_team.group_sale_salesman_all_leads"
        )

    def convert(self, lead):
        """Make a contact of a lead, as a salesperson does."""
        lead.with_user(self.salesperson)._handle_partner_assignment()
        return lead.partner_id

    def assertNoOptIn(self, lead):
        self.assertFalse(lead.mailchimp_opt_in)
        self.assertFalse(lead.mailchimp_opt_in_date)
        self.assertFalse(lead.mailchimp_opt_in_note)
        self.assertFalse(lead.mailchimp_opt_in_page)

    # === WHAT A VISITOR DOES === #

    def test_ticked(self):
        """The contact made of the lead arrives, with page and text on its line."""
        self.link()
        lead = self.fill_in()
        self.assertTrue(lead.mailchimp_opt_in)
        self.assertEqual(lead.mailchimp_opt_in_page, "/fair")
        self.assertEqual(lead.mailchimp_opt_in_note, NOTE)
        self.assertNotIn("mailchimp", str(lead.description))
        date = lead.mailchimp_opt_in_date
        self.assertLess(abs(fields.Datetime.now() - date), timedelta(minutes=5))
        self.push()
        self.assertFalse(self.audience.members, "a lead alone is not sent")
        line = self.convert(lead).mailchimp_consent_ids
        self.assertEqual(
            (line.kind, line.source, line.date, line.note, line.email_normalized),
            ("in", "lead", date, NOTE, "ann@firma.be"),
        )
        self.push()
        self.assertEqual(self.status("ann@firma.be"), "subscribed")

    def test_not_ticked(self):
        self.link()
        lead = self.fill_in(tick=False)
        self.assertNoOptIn(lead)
        self.assertFalse(self.convert(lead).mailchimp_opt_in)
        self.push()
        self.assertFalse(self.audience.members)

    def test_never_ticked_before(self):
        """Whatever an editor saved, whoever opens the page finds the box empty."""
        self.make_page(url="/ticked", checked='checked="checked"')
        self.assertNotIn("mailchimp_opt_in", self.visit("/ticked"))
        self.assertNoOptIn(self.fill_in(tick=False, url="/ticked"))

    def test_in_the_language_of_the_visitor(self):
        self.env["res.lang"]._activate_lang("fr_FR")
        french = self.env.ref("base.lang_fr")
        self.website.language_ids += french
        view = self.page.view_id
        (term,) = {
            entry["source"]
            for entry in view.get_field_translations("arch_db")[0]
            if TEXT in entry["source"]
        }
        translated = term.replace(TEXT, "Oui, écrivez-moi.")
        view.update_field_translations("arch_db", {"fr_FR": {term: translated}})
        lead = self.fill_in(url=f"/{french.url_code}/fair")
        self.assertIn("Oui, écrivez-moi.", lead.mailchimp_opt_in_note)
        self.assertNotIn(TEXT, lead.mailchimp_opt_in_note)

    def test_an_editor_changed_the_page_meanwhile(self):
        """What counts is what the visitor saw."""
        shown = self.visit()
        self.page.view_id.arch = PAGE % form_markup(text="Send me everything.")
        values = {"name": "Q", "mailchimp_opt_in": "Yes"}
        self.assertEqual(self.send({**shown, **values}).mailchimp_opt_in_note, NOTE)
        self.assertIn("Send me everything.", self.fill_in().mailchimp_opt_in_note)

    def test_what_an_editor_saves_of_a_rendered_page(self):
        """Its own proof is one of the past; each rendering has one of its own."""
        shown = self.visit()
        stale = shown[evidence.PROOF] = "stale"
        arch = PAGE % form_markup().replace(
            "</form>",
            f'<input type="hidden" name="{evidence.PROOF}" value="{stale}"/></form>',
        )
        self.page.view_id.arch = arch
        page = html.fromstring(self.url_open("/fair").text)
        proofs = page.xpath(f"//input[@name='{evidence.PROOF}']/@value")
        self.assertEqual(len(proofs), 1)
        self.assertNotIn(stale, proofs)
        self.assertTrue(self.fill_in().mailchimp_opt_in)

    def test_a_form_that_is_no_page(self):
        """That of a blog post, say, or of a product."""
        with MockRequest(self.env, website=self.website, path="/blog/news") as request:
            found = str(
                request.env["ir.qweb.field.html"].value_to_html(
                    form_markup(checked='checked="checked"'), {}
                )
            )
        box, proof = html.fromstring(found).xpath(
            "//input[starts-with(@name, 'mailchimp_opt_in')]"
        )
        self.assertIsNone(box.get("checked"))
        shown = evidence.read(self.env(su=True), proof.get("value"))
        self.assertEqual(shown, ("/blog/news", f"{TEXT} {MORE}", "Yes"))

    # === WHAT A STRANGER TRIES === #

    def test_forged(self):
        now = fields.Datetime.now()
        forged = {
            "mailchimp_opt_in_date": "2031-01-01 00:00:00",
            "mailchimp_opt_in_note": "I agree to all",
            "mailchimp_opt_in_page": "/forged",
        }
        shown = self.visit()
        proof = shown[evidence.PROOF]
        other = self.env(su=True)
        made_up = [
            {},
            {evidence.PROOF: ""},
            {evidence.PROOF: "x"},
            {evidence.PROOF: "é☃"},
            {evidence.PROOF: proof[:-4] + "AAAA"},
            {evidence.PROOF: proof * 200},
            {evidence.PROOF: proof, "mailchimp_opt_in": "False"},
            {evidence.PROOF: proof, "mailchimp_opt_in": "No"},
            {evidence.PROOF: proof, "mailchimp_opt_in": "Yes,Yes"},
        ]
        with patch.object(evidence, "VALID_HOURS", -1):
            late = evidence.sign(other, "/fair", TEXT, "Yes")
        made_up.append({evidence.PROOF: late})
        with patch.object(evidence, "SCOPE", "website_form_signature"):
            made_up.append({evidence.PROOF: evidence.sign(other, "/fair", TEXT, "Yes")})
        for values in made_up:
            with self.subTest(values=values):
                lead = self.send(
                    {"name": "Q", "mailchimp_opt_in": "Yes", **forged, **values}
                )
                self.assertNoOptIn(lead)
                self.assertIn("Ask the person", str(lead.description))
        lead = self.send(
            {"name": "Q", "mailchimp_opt_in": "Yes", **forged, evidence.PROOF: proof}
        )
        self.assertEqual(lead.mailchimp_opt_in_note, NOTE)
        self.assertEqual(lead.mailchimp_opt_in_page, "/fair")
        self.assertLess(
            abs(lead.mailchimp_opt_in_date - now), timedelta(minutes=5), "not 2031"
        )

    def test_a_file_is_no_tick(self):
        """Odoo writes an uploaded file to the field it is named after."""
        values = {**self.visit(), "name": "Q"}
        for name in ("mailchimp_opt_in", "mailchimp_opt_in[0][0]"):
            with self.subTest(name=name):
                lead = self.send(values, **{name: ("a.txt", b"a", "text/plain")})
                self.env.invalidate_all()
                self.assertNoOptIn(lead)

    def test_a_box_nobody_sees(self):
        for number, markup in enumerate(
            ({"hidden": "s_website_form_field_hidden"}, {"kind": "hidden"})
        ):
            url = f"/hidden-{number}"
            self.make_page(url=url, **markup)
            self.assertNotIn(evidence.PROOF, self.visit(url))
            self.assertNoOptIn(self.fill_in(url=url))

    def test_an_overlong_text(self):
        self.make_page(url="/long", text="Long. " * 2000)
        lead = self.fill_in(url="/long")
        self.assertTrue(lead.mailchimp_opt_in)
        self.assertLess(len(lead.mailchimp_opt_in_note), 1100)
        self.assertTrue(lead.mailchimp_opt_in_note.endswith("…”"))

    def test_a_path_that_looks_like_a_text(self):
        """A form in the footer is shown on pages that anybody makes up, too."""
        proof = evidence.sign(
            self.env(su=True), "/“I agree to all” <b>\n" + "x" * 1000, TEXT, "Yes"
        )
        lead = self.send(
            {"name": "Q", "mailchimp_opt_in": "Yes", evidence.PROOF: proof}
        )
        page = lead.mailchimp_opt_in_page
        self.assertLessEqual(len(page), 200)
        self.assertFalse(set("“”<> \n") & set(page), page)

    def test_a_form_that_makes_something_else(self):
        """A contact opted in by a stranger would be subscribed without a word."""
        Model = self.env["ir.model"]
        for model, offered in (
            ("crm.lead", {"mailchimp_opt_in"}),
            ("res.partner", set()),
        ):
            found = Model.get_authorized_fields(model, {})
            self.assertEqual(
                {name for name in found if name.startswith("mailchimp_")}, offered
            )
            # Editors let forms write what they put on a page.
            ours = [
                name
                for name in self.env[model]._fields
                if name.startswith("mailchimp_")
            ]
            self.env["ir.model.fields"].formbuilder_whitelist(model, ours)
            writable = Model._get(model).sudo()._get_form_writable_fields()
            self.assertFalse([name for name in writable if name in ours])

    # === SOMEBODY SAID NO === #

    def test_an_opt_out_in_odoo_stays(self):
        self.link()
        twin = self.contact("Twin", email="ann@firma.be")
        self.push()
        self.opt_out(twin)
        lead = self.fill_in()
        partner = self.convert(lead)
        self.assertFalse(partner.mailchimp_opt_in)
        self.assertFalse(partner.mailchimp_consent_ids)
        self.assertIn("do-not-email list", str(lead.message_ids.mapped("body")))
        self.push()
        self.assertEqual(self.status("ann@firma.be"), "archived")
        said = self.env["crm.mailchimp.suppression"].search(
            [("email_normalized", "=", "ann@firma.be")]
        )
        self.assertFalse(said.lifted_at)
        # A person the salesperson talked to is another matter.
        partner.with_user(self.salesperson).mailchimp_opt_in = True
        self.assertTrue(said.lifted_at)

    def test_an_unsubscribe_in_mailchimp_stays(self):
        self.link()
        self.contact("Twin", email="ann@firma.be")
        self.push()
        self.audience.unsubscribe("ann@firma.be")
        self.push()
        self.assertFalse(self.convert(self.fill_in()).mailchimp_opt_in)
        self.push()
        self.assertEqual(self.status("ann@firma.be"), "unsubscribed")

    def test_a_contact_that_was_there_keeps_its_own(self):
        self.link()
        known = self.contact("Ann")
        known.mailchimp_opt_in = False
        lead = self.fill_in()
        lead.with_user(self.salesperson)._handle_partner_assignment(
            force_partner_id=known.id
        )
        self.push()
        self.assertFalse(known.mailchimp_opt_in)
        self.assertNotEqual(self.status("ann@firma.be"), "subscribed")

    # === WHAT SALESPEOPLE CAN CHANGE === #

    def test_evidence_is_not_reworded(self):
        lead = self.fill_in()
        date = lead.mailchimp_opt_in_date
        theirs = lead.with_user(self.salesperson)
        theirs.write({"mailchimp_opt_in_note": "All", "mailchimp_opt_in_page": "/x"})
        theirs.write({"mailchimp_opt_in": True, "name": "Renamed"})
        self.assertEqual(lead.name, "Renamed")
        self.assertEqual(lead.mailchimp_opt_in_note, NOTE)
        self.assertEqual(lead.mailchimp_opt_in_page, "/fair")
        self.assertEqual(lead.mailchimp_opt_in_date, date)

    def test_an_opt_in_ticked_by_a_user_is_the_users(self):
        lead = self.fill_in()
        theirs = lead.with_user(self.salesperson)
        theirs.mailchimp_opt_in = False
        self.assertNoOptIn(lead)
        theirs.write({"mailchimp_opt_in": True, "mailchimp_opt_in_note": "By phone"})
        self.assertFalse(lead.mailchimp_opt_in_page)
        self.assertEqual(lead.mailchimp_opt_in_note, "By phone")

    def test_nobody_makes_up_a_page(self):
        Lead = self.env["crm.lead"].with_user(self.salesperson)
        lead = Lead.create({"name": "L", "mailchimp_opt_in_page": "/x"})
        lead |= Lead.with_context(default_mailchimp_opt_in_page="/x").create(
            {"name": "L"}
        )
        self.assertFalse(any(lead.mapped("mailchimp_opt_in_page")))
