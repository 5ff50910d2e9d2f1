from odoo.tests import tagged
from odoo.tests.common import ChromeBrowser

from .common import long
from .common_login import LoginCase

# What the person does on the login page of the simulated Mailchimp.
PERSON = """
if (location.pathname === "/oauth2/authorize") {
    addEventListener("DOMContentLoaded", () => {
        for (const [name, value] of Object.entries(%s)) {
            document.querySelector(`[name=${name}]`).value = value;
        }
        document.querySelector("button[value=%s]").click();
    });
}
"""


@long
@tagged("post_install", "-at_install")
class TestLoginTours(LoginCase):
    """In a browser, through the page of the simulated Mailchimp."""

    def person(self, do="allow", **form):
        """Let somebody answer whenever the browser shows Mailchimp's page."""
        script = PERSON % (form, do)
        navigate_to = ChromeBrowser.navigate_to

        def prepared(browser, *args, **kwargs):
            browser._websocket_request(
                "Page.addScriptToEvaluateOnNewDocument", params={"source": script}
            )
            return navigate_to(browser, *args, **kwargs)

        self.patch(ChromeBrowser, "navigate_to", prepared)

    def form(self):
        return (
            f"/odoo/action-crm_mailchimp.action_crm_mailchimp_account/{self.account.id}"
        )

    def test_the_guided_start(self):
        self.account.active = False
        self.env.flush_all()
        self.person()
        self.start_tour("/odoo/crm", "crm_mailchimp_guided_login", login="admin")
        self.env.invalidate_all()
        account = self.env["crm.mailchimp.account"]._overview_account()
        self.assertEqual((account.state, account.auth_method), ("linked", "oauth2"))

    def test_cancelled(self):
        self.account.action_disconnect()
        self.env.flush_all()
        self.person("cancel")
        self.start_tour(self.form(), "crm_mailchimp_login_cancelled", login="admin")
        self.env.invalidate_all()
        self.assertEqual(self.account.state, "draft")

    def test_refused(self):
        self.account.action_disconnect()
        self.env.flush_all()
        self.person(role="viewer")
        self.start_tour(self.form(), "crm_mailchimp_login_refused", login="admin")
        self.env.invalidate_all()
        self.assertEqual(self.account.state, "draft")

    def test_again_after_it_was_revoked(self):
        self.log_in()
        self.link()
        self.push()
        self.simulator.revoke_app()
        self.push(state="failed")
        self.env.flush_all()
        self.person()
        self.start_tour(self.form(), "crm_mailchimp_login_again", login="admin")
        self.env.invalidate_all()
        self.assertEqual(self.account.state, "linked")
        self.push()

    def test_a_key_of_another_account(self):
        self.link()
        self.contact("Ann")
        self.push()
        other = self.simulator.add_account("Other company", f"{7:032}-us21")
        other.add_audience("Theirs")
        self.env.flush_all()
        self.start_tour(self.form(), "crm_mailchimp_key_of_another", login="admin")
        self.env.invalidate_all()
        self.assertEqual(set(self.audience.members), {"ann@firma.be"})
        self.assertEqual(self.account.audience_ref, self.audience.id)

    def test_the_settings(self):
        self.env["crm.mailchimp.app"]._get().unlink()
        self.env.flush_all()
        self.start_tour("/odoo/settings", "crm_mailchimp_app", login="admin")
        self.env.invalidate_all()
        app = self.env["crm.mailchimp.app"]._get()
        self.assertEqual((app.client_id, app.client_secret), ("tour", "tour-secret"))
