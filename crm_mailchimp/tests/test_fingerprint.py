from datetime import timedelta
from unittest.mock import patch

from odoo import fields
from odoo.tests import tagged

from ..sync import member_values
from ..sync.compare import Compare
from .common import MailchimpCase


@tagged("post_install", "-at_install")
class TestFingerprint(MailchimpCase):
    """What did not change is not looked at again; whatever decides makes it differ."""

    def prepare(self):
        super().prepare()
        self.link()
        self.ann = self.contact("Ann", city="Ghent")
        self.bob = self.contact("Bob", city="Paris")
        self.push()

    def compared(self):
        """Run, and return the names of the contacts Python looked at."""
        seen, plan = [], Compare._plan

        def spy(phase, reader, rows):
            seen.extend(row[1].partition("@")[0] for row in rows)
            return plan(phase, reader, rows)

        with patch.object(Compare, "_plan", spy):
            self.push()
        return sorted(seen)

    def test_nothing_is_looked_at_after_the_first_push(self):
        self.assertEqual(self.compared(), [])

    def test_only_who_changed_is_looked_at(self):
        self.ann.city = "Bruges"
        self.assertEqual(self.compared(), ["ann"])
        self.assertEqual(self.member("ann@firma.be").merge_fields["CITY"], "Bruges")
        self.assertEqual(self.compared(), [])

    def test_what_is_mapped_through_another_record(self):
        country = self.env.ref("base.be")
        self.ann.country_id = country
        self.push()
        country.name = "Belgique"
        self.assertEqual(self.compared(), ["ann"])
        self.assertEqual(
            self.member("ann@firma.be").merge_fields["COUNTRY"], "Belgique"
        )

    def test_who_enters_or_leaves_a_segment(self):
        self.flag("Ghent", "[('city', '=', 'Ghent')]")
        self.push()
        self.assertEqual(self.compared(), [])
        self.bob.city = "Ghent"
        self.compared()
        self.assertEqual(self.groups("bob@firma.be"), ["Ghent"])
        filters = self.env["ir.filters"].search([("name", "=", "Ghent")])
        filters.domain = "[('city', '=', 'Nowhere')]"
        self.assertEqual(self.compared(), ["ann", "bob"])
        self.assertEqual(self.groups("bob@firma.be"), [])

    def test_rules_make_all_differ(self):
        mapping = self.account.merge_field_ids.filtered(lambda line: line.tag == "CITY")
        changes = [
            lambda: mapping.write({"field_path": "street"}),
            lambda: self.account.write({"sync_direction": "both"}),
            lambda: self.account.write({"conflict_winner": "mailchimp"}),
            lambda: mapping.write({"options": {"choices": ["Ghent"]}}),
            lambda: mapping.write({"kind": "dropdown"}),
        ]
        for number, change in enumerate(changes):
            with self.subTest(number):
                change()
                self.assertEqual(self.compared(), ["ann", "bob"])
                self.assertEqual(self.compared(), [])

    def test_another_version_compares_all(self):
        self.patch(member_values, "VERSION", "another")
        self.assertEqual(self.compared(), ["ann", "bob"])

    def test_another_language(self):
        self.env["res.lang"]._activate_lang("fr_FR")
        self.account.lang = "fr_FR"
        self.assertEqual(self.compared(), ["ann", "bob"])

    def test_what_is_edited_in_mailchimp(self):
        self.simulator.advance(3600)
        self.audience.edit("ann@firma.be", merge_fields={"CITY": "Rome"})
        self.assertEqual(self.compared(), ["ann"])
        self.assertEqual(self.member("ann@firma.be").merge_fields["CITY"], "Ghent")

    def test_values_that_only_the_orm_computes_are_always_looked_at(self):
        self.env["crm.mailchimp.merge.field"].create(
            {
                "account_id": self.account.id,
                "tag": "SHOWN",
                "name": "Shown",
                "field_path": "contact_address_inline",
            }
        )
        self.push()
        self.assertEqual(self.compared(), ["ann", "bob"])

    def test_a_full_comparison_finds_what_fingerprints_missed(self):
        """Should a rule ever be forgotten in them, it is repaired, and told."""
        desired = member_values.MemberValues.desired

        def otherwise(self, row):
            values = desired(self, row)
            values["m"]["CITY"] = values["m"]["CITY"].upper()
            return values

        self.patch(member_values.MemberValues, "desired", otherwise)
        self.assertEqual(self.compared(), [])
        with self.assertLogs("odoo.addons.crm_mailchimp.sync.compare"):
            run = self.push(kind="full")
        self.assertEqual(self.member("ann@firma.be").merge_fields["CITY"], "GHENT")
        self.assertEqual(run.counters["repaired"], 2)

    def test_a_refusal_that_passes_is_looked_at_when_its_time_is_over(self):
        self.ledger("ann@firma.be").sudo().reason = "too_many_signups"
        self.compared()
        self.assertEqual(self.compared(), [])
        member = self.ledger("ann@firma.be").sudo()
        member.next_try = fields.Datetime.now() - timedelta(hours=1)
        self.assertEqual(self.compared(), ["ann"])


@tagged("post_install", "-at_install")
class TestFewCalls(MailchimpCase):
    """A quiet audience costs three calls, one change six, however many contacts."""

    def prepare(self):
        super().prepare()
        self.link()
        self.ann = self.contact("Ann", city="Ghent")
        self.push()
        self.simulator.advance(3600)
        self.push()

    def calls(self):
        before = len(self.simulator.calls)
        self.push()
        return [f"{c.method} {c.path}" for c in self.simulator.calls[before:]]

    def test_nothing_to_do(self):
        self.assertEqual(len(self.calls()), 3)

    def test_one_changed_contact(self):
        self.ann.city = "Bruges"
        calls = self.calls()
        self.assertEqual(len(calls), 6)
        self.assertEqual(self.member("ann@firma.be").merge_fields["CITY"], "Bruges")
