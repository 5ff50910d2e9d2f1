import time

from odoo.tests import tagged

from .common_webhooks import RequestCase, signature


@tagged("post_install", "-at_install")
class TestAttacks(RequestCase):
    """What is not Mailchimp's leaves no trace, and no answer tells why."""

    def test_mailchimp(self):
        self.assertEqual(self.url_open(self.path).status_code, 200)
        answer = self.post()
        self.assertEqual((answer.status_code, answer.content), (200, b""))
        self.assertNotIn("session_id", answer.cookies)
        self.assertEqual(self.received().email_normalized, "ann@firma.be")
        # As Mailchimp reads it: charset, another agent, twice.
        answer = self.post(
            Content_Type="application/x-www-form-urlencoded; charset=utf-8"
        )
        self.assertEqual(answer.status_code, 200)
        self.assertEqual(len(self.received()), 1)
        self.process()
        self.assertFalse(self.ann.mailchimp_opt_in)

    def refused(self, answer, status=404):
        self.assertEqual(answer.status_code, status)
        self.assertFalse(self.received())
        if status == 404:
            self.assertEqual(answer.content, b"")

    def test_forged(self):
        self.refused(self.post(header=""))
        self.refused(self.post(header="t=1,v1=00"))
        self.refused(self.post(header=signature("wrong", self.raw, time.time())))
        forged = self.raw.replace(b"ann", b"bob")
        self.refused(self.post(forged, header=signature("", forged, time.time())))
        self.refused(
            self.post(forged, header=signature(self.hook.secret, self.raw, time.time()))
        )
        # The other webhook has another secret.
        self.refused(self.post(path=self.path + "/programs"))
        self.refused(self.post(path=self.path + "/nothing"))

    def test_replayed(self):
        now = self.simulator.clock.now()
        for seconds in (-400, 400):
            self.refused(self.post(when=now + seconds))
        for _time in range(3):
            self.assertEqual(self.post(when=now).status_code, 200)
        self.assertEqual(len(self.received()), 1)

    def test_a_clock_that_is_off(self):
        """Odoo's clock is 20 minutes fast: only Mailchimp's counts."""
        now = self.simulator.clock.now()
        self.account.clock_skew = 1200
        self.env.flush_all()
        self.refused(self.post(when=now))
        self.assertEqual(self.post(when=now - 1200).status_code, 200)
        self.assertEqual(len(self.received()), 1)

    def test_no_form_of_mailchimp(self):
        for raw in (b"", b"type=", b"\xff", b"type=A", b"{}", b"&" * 5000):
            self.refused(self.post(raw))
        other = self.raw.replace(self.audience.id.encode(), b"another")
        self.assertNotEqual(other, self.raw)
        self.refused(self.post(other))
        for kind in ("text/plain", "multipart/form-data; boundary=x"):
            self.refused(self.post(Content_Type=kind))
        self.assertGreaterEqual(
            self.post(Content_Type="application/json").status_code, 400
        )
        self.assertFalse(self.received())

    def test_too_large(self):
        self.refused(self.post(self.raw + b"&x=" + b"y" * 200_000), status=413)

    def test_who_does_not_know_the_token(self):
        for token in ("x", "a" * 43, "..%2f", "%00", "a" * 3000, "0"):
            path = f"/crm_mailchimp/webhook/{token}"
            answer = self.url_open(path)
            self.assertIn(answer.status_code, (404, 400, 414), token)
            self.assertIn(self.post(path=path).status_code, (404, 400, 414), token)
        # A guess gets what a forged signature gets.
        guess = self.post(path="/crm_mailchimp/webhook/" + "a" * 43)
        forged = self.post(header="t=1,v1=00")
        self.assertEqual(
            (guess.status_code, guess.content, guess.headers["Content-Type"]),
            (forged.status_code, forged.content, forged.headers["Content-Type"]),
        )
        self.assertFalse(self.received())

    def test_an_account_that_is_not_connected(self):
        for values in (
            {"webhook_enabled": False},
            {"state": "draft"},
            {"active": False},
        ):
            before = {name: self.account[name] for name in values}
            self.account.write(values)
            self.env.flush_all()
            self.refused(self.post())
            self.assertEqual(self.url_open(self.path).status_code, 404)
            self.account.write(before)

    def test_a_copy(self):
        self.env["ir.config_parameter"].set_param("database.uuid", "another")
        self.env.flush_all()
        self.refused(self.post())
        self.assertEqual(self.url_open(self.path).status_code, 404)

    def test_without_a_signature(self):
        """Only where Mailchimp gave no secret when the webhook was made."""
        hooks = self.account.sudo().webhook_hooks
        hooks["people"]["secret"] = None
        self.account.sudo().webhook_hooks = dict(hooks)
        self.env.flush_all()
        self.assertEqual(self.post(header="").status_code, 200)
        self.assertEqual(len(self.received()), 1)
        self.assertEqual(
            self.post(path=self.path + "/programs", header="").status_code, 404
        )
        self.assertEqual(len(self.received()), 1)

    def test_others_methods(self):
        for method in ("PUT", "DELETE", "PATCH"):
            answer = self.opener.request(method, self.base_url() + self.path)
            self.assertGreaterEqual(answer.status_code, 400)
        self.assertFalse(self.received())

    def test_how_many_statements_a_delivery_costs(self):
        self.post()
        self.audience.add_member("zoe@firma.be")
        _hook, raw = self.bodies()[-1]
        self.account._of_webhook(self.account.sudo().webhook_token)
        before = self.env.cr.sql_log_count
        self.hand_in(self.hook, raw)
        self.assertLessEqual(self.env.cr.sql_log_count - before, 15)
