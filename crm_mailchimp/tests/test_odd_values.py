import json
from contextlib import contextmanager
from unittest.mock import patch
from urllib.parse import parse_qs, urlsplit

from odoo import api
from odoo.exceptions import ValidationError
from odoo.tests import tagged

from .common import MailchimpCase

REFUSAL = "Rule 7 forbids it."


@tagged("post_install", "-at_install")
class TestOddValues(MailchimpCase):
    """What one contact refuses is this contact's trouble and nobody else's."""

    def prepare(self):
        super().prepare()
        self.audience.add_merge_field("Place", "PLACE", "number")
        self.audience.add_merge_field("Code", "CODE", "text")

    def both(self):
        """Link, map a number and a text that is unique, and let values come back."""
        self.link()
        Line = self.env["crm.mailchimp.merge.field"]
        for tag, path in (("PLACE", "color"), ("CODE", "barcode")):
            Line.create(
                {
                    "account_id": self.account.id,
                    "tag": tag,
                    "name": tag,
                    "source": "field",
                    "field_path": path,
                }
            )
        self.account.sync_direction = "both"
        self.account._set_refs(merge_fields_read=None)
        people = [self.contact(name) for name in ("Ann", "Bob", "Cat")]
        self.push()
        self.simulator.advance(60)
        return people

    def edit(self, email, **merge_fields):
        self.audience.edit(email, merge_fields=merge_fields)

    @contextmanager
    def refused(self, method, condition, error=None):
        """Let an add-on or an automation rule raise for some contacts."""
        original = getattr(type(self.env["res.partner"]), method)

        def raising(records, vals):
            if condition(records, vals):
                raise error or ValidationError(REFUSAL)
            return original(records, vals)

        if method == "create":
            raising = api.model_create_multi(raising)
        with patch.object(type(self.env["res.partner"]), method, raising):
            yield

    def line(self, partner):
        return self.env["crm.mailchimp.contact.status"].search(
            [("partner_id", "=", partner.id)]
        )

    def exported(self):
        """Return the addresses in the file of those that were refused."""
        url = self.account.action_export_failed().get("url")
        if not url:
            return []
        data = json.loads(parse_qs(urlsplit(url).query)["data"][0])
        members = self.env["crm.mailchimp.member"].search(data["domain"])
        return members.mapped("email_normalized")

    # === VALUES THAT COME BACK === #

    def test_a_number_too_large_for_its_field(self):
        ann, bob, cat = self.both()
        self.edit("ann@firma.be", CITY="Rome")
        self.edit("bob@firma.be", PLACE=10**12)
        self.edit("cat@firma.be", CITY="Paris")
        new = self.contact("Dan")
        run = self.push()
        self.assertEqual((ann.city, cat.city), ("Rome", "Paris"))
        self.assertEqual(self.status("dan@firma.be"), "subscribed")
        self.assertEqual(new.mailchimp_status, "in")
        self.assertEqual(run.counters["brought_back"], 2)
        self.assertEqual(run.counters["not_taken"], 1)
        # Nothing is lost on either side, and it is told.
        self.assertEqual(self.member("bob@firma.be").merge_fields["PLACE"], 10**12)
        self.assertEqual(self.line(bob).status, "in")
        self.assertEqual(self.line(bob).reason, "not_taken")
        self.assertIn("does not fit", self.line(bob).remedy)
        self.assertEqual(self.exported(), ["bob@firma.be"])
        self.assertTrue(run.has_failed)
        # It is looked at again, and not noted again.
        run = self.push()
        self.assertNotIn("not_taken", run.counters or {})
        self.assertEqual(self.line(bob).reason, "not_taken")
        self.simulator.advance(60)
        self.edit("bob@firma.be", PLACE=7)
        self.push()
        self.assertEqual(bob.color, 7)
        self.assertFalse(self.line(bob).reason)
        self.assertFalse(self.exported())

    def test_a_value_that_a_constraint_refuses(self):
        ann, bob, cat = self.both()
        ann.barcode = "4711"
        self.push()
        self.simulator.advance(60)
        self.edit("bob@firma.be", CODE="4711")
        self.edit("cat@firma.be", CODE="4712")
        self.push()
        self.assertEqual(cat.barcode, "4712")
        self.assertFalse(bob.barcode)
        self.assertIn("barcode", self.line(bob).remedy)
        # The cause is mended elsewhere: it goes with the next run.
        ann.barcode = "4710"
        self.push()
        self.assertEqual(bob.barcode, "4711")
        self.assertFalse(self.line(bob).reason)

    def test_a_contact_that_refuses_opts_out_all_the_same(self):
        _ann, bob, _cat = self.both()
        self.edit("bob@firma.be", PLACE=10**12)
        self.push()
        self.opt_out(bob)
        self.assertEqual(self.status("bob@firma.be"), "archived")
        self.push()
        self.assertEqual(self.line(bob).reason, "no_opt_in")
        self.assertFalse(self.exported())

    def test_a_rule_that_fails(self):
        ann, bob, cat = self.both()
        for name in ("ann", "bob", "cat"):
            self.edit(f"{name}@firma.be", CITY="Rome")
        with self.refused(
            "write",
            lambda records, vals: bob in records and "city" in vals,
            KeyError("oops"),
        ):
            self.push()
        self.assertEqual((ann.city, bob.city, cat.city), ("Rome", False, "Rome"))
        self.assertIn("KeyError", self.line(bob).remedy)
        self.assertNotIn("oops", self.line(bob).remedy)
        self.push()
        self.assertEqual(bob.city, "Rome")

    # === OPT-OUTS === #

    def test_an_opt_out_that_a_rule_refuses(self):
        ann, bob, cat = self.both()
        for name in ("ann", "bob", "cat"):
            self.audience.unsubscribe(f"{name}@firma.be")
        with self.refused(
            "write", lambda records, vals: bob in records and "mailchimp_opt_in" in vals
        ):
            self.push()
        self.assertFalse(ann.mailchimp_opt_in or cat.mailchimp_opt_in)
        self.assertTrue(bob.mailchimp_opt_in)
        self.assertEqual(self.line(bob).reason, "not_taken")
        self.assertIn("Rule 7", self.line(bob).remedy)
        self.assertEqual(self.exported(), ["bob@firma.be"])
        self.push()
        self.assertFalse(bob.mailchimp_opt_in)
        self.push()
        self.assertEqual(self.line(bob).reason, "unsubscribed")
        self.assertFalse(self.exported())

    def test_the_blacklist_of_a_contact_without_an_address(self):
        ann, bob, cat = self.both()
        self.account.blacklist_on_unsubscribe = True
        bob.email = False
        for name in ("ann", "bob", "cat"):
            self.audience.unsubscribe(f"{name}@firma.be")
        self.push()
        self.assertFalse((ann | bob | cat).filtered("mailchimp_opt_in"))
        listed = self.env["mail.blacklist"].search([]).mapped("email")
        self.assertLessEqual(
            {"ann@firma.be", "bob@firma.be", "cat@firma.be"}, set(listed)
        )

    def test_an_address_the_blacklist_refuses(self):
        self.account.blacklist_on_unsubscribe = True
        ann, bob, cat = self.both()
        for name in ("ann", "bob", "cat"):
            self.audience.unsubscribe(f"{name}@firma.be")
        Blacklist = type(self.env["mail.blacklist"])
        original = Blacklist.create

        @api.model_create_multi
        def create(records, vals_list):
            if any(vals["email"] == "bob@firma.be" for vals in vals_list):
                raise ValidationError(REFUSAL)
            return original(records, vals_list)

        with patch.object(Blacklist, "create", create):
            run = self.push()
        self.assertFalse((ann | bob | cat).filtered("mailchimp_opt_in"))
        self.assertEqual(run.counters["not_blacklisted"], 1)
        listed = self.env["mail.blacklist"].search([]).mapped("email")
        self.assertIn("cat@firma.be", listed)

    # === MEMBERS THAT BECOME CONTACTS === #

    def test_a_member_that_no_contact_can_be_made_of(self):
        for name in ("eve", "fay", "gus"):
            self.audience.add_member(f"{name}@firma.be")
        self.link()
        self.account.foreign_members = "import"
        with self.refused(
            "create",
            lambda records, vals: any(v.get("email") == "fay@firma.be" for v in vals),
        ):
            run = self.push()
        found = self.env["res.partner"].search([("email", "like", "@firma.be")])
        self.assertEqual(set(found.mapped("email")), {"eve@firma.be", "gus@firma.be"})
        self.assertEqual(run.counters["imported"], 2)
        self.assertEqual(self.ledger("fay@firma.be").reason, "not_taken")
        self.assertIn("Rule 7", self.ledger("fay@firma.be").reason_text)
        self.assertEqual(self.exported(), ["fay@firma.be"])
        self.push()
        self.assertTrue(
            self.env["res.partner"].search([("email", "=", "fay@firma.be")])
        )
        self.push()
        self.assertFalse(self.exported())

    def test_the_option_is_taken_back(self):
        self.audience.add_member("fay@firma.be")
        self.link()
        self.account.foreign_members = "import"
        with self.refused("create", lambda records, vals: True):
            self.push()
        self.account.foreign_members = "keep"
        self.push()
        self.assertFalse(self.ledger("fay@firma.be").reason)

    # === WHAT MAILCHIMP TELLS OF A MEMBER === #

    def test_an_id_no_column_can_hold(self):
        self.link()
        self.audience.add_member("eve@firma.be")
        odd = self.audience.add_member("fay@firma.be")
        odd.web_id = 2**40
        self.contact("Fay")
        self.push()
        self.contact("Gus")
        self.push()
        self.assertEqual(self.status("gus@firma.be"), "subscribed")
        self.assertFalse(self.ledger("fay@firma.be").web_id)
