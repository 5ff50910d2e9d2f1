from odoo.exceptions import AccessError
from odoo.tests import new_test_user, tagged

from .common import MailchimpCase

REPORT = "crm_mailchimp.action_report_consent"


@tagged("post_install", "-at_install")
class TestConsentPage(MailchimpCase):
    """A contact's consent as a page to print, with both clocks."""

    def prepare(self):
        super().prepare()
        self.link()
        self.ann = self.contact("Ann <b>Bold</b>", "ann@firma.be")
        self.push()
        self.simulator.advance(60)

    def page(self, user=None):
        report = self.env["ir.actions.report"]
        if user:
            report = report.with_user(user)
        html, _kind = report._render_qweb_html(REPORT, self.ann.ids)
        return html.decode()

    def test_what_it_says(self):
        self.audience.unsubscribe("ann@firma.be", reason="<i>Too</i> many mails")
        self.push()
        self.simulator.advance(60)
        self.ann.mailchimp_opt_in = True
        self.ann.mailchimp_opt_in = False
        self.ann.email = "ann@elsewhere.be"
        user = new_test_user(self.env, "sam", groups="sales_team.group_sale_salesman")
        page = self.page(user)
        # Nothing that somebody typed is markup.
        self.assertIn("Ann &lt;b&gt;Bold&lt;/b&gt;", page)
        self.assertIn("&lt;i&gt;Too&lt;/i&gt; many mails", page)
        self.assertNotIn("<i>Too", page)
        self.assertIn("ann@elsewhere.be", page)
        self.assertIn("(former address)", page)
        self.assertIn("No opt-in.", page)
        for line in self.ann.mailchimp_consent_ids:
            self.assertIn(str(line.date), page)
            self.assertIn(str(line.noted_at), page)
        for no in self.env["crm.mailchimp.suppression"].search(
            [("email_normalized", "=", "ann@firma.be")]
        ):
            self.assertIn(str(no.date), page)
        self.assertIn("Test audience", page)
        self.assertIn("active", page)
        self.assertIn("Unsubscribed", page)

    def test_an_opt_out_with_its_confirmation(self):
        self.ann.mailchimp_opt_in = False
        self.send_opt_outs()
        page = self.page()
        member = self.ledger("ann@firma.be")
        self.assertIn("Opt-out confirmed by Mailchimp on", page)
        self.assertIn(str(member.opt_out_confirmed_at), page)

    def test_a_contact_that_was_never_asked(self):
        self.ann = self.contact("Nina", mailchimp_opt_in=False)
        page = self.page()
        self.assertIn("No opt-in or opt-out", page)
        self.assertIn("Not known in any audience", page)

    def test_it_is_for_sales_users(self):
        user = new_test_user(self.env, "pat", groups="base.group_user")
        with self.assertRaises(AccessError):
            self.page(user)
        report = self.env.ref(REPORT)
        bound = (
            self.env["ir.actions.actions"].with_user(user).get_bindings("res.partner")
        )
        self.assertNotIn(
            report.id, [action["id"] for action in bound.get("report", [])]
        )
        user = new_test_user(self.env, "sam", groups="sales_team.group_sale_salesman")
        bound = (
            self.env["ir.actions.actions"].with_user(user).get_bindings("res.partner")
        )
        self.assertIn(report.id, [action["id"] for action in bound["report"]])
