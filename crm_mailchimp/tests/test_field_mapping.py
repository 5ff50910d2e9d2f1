from odoo.exceptions import AccessError
from odoo.tests import tagged

from .common import MailchimpCase


@tagged("post_install", "-at_install")
class TestFieldMapping(MailchimpCase):
    """What a contact holds, as it arrives in Mailchimp; and what the table says."""

    def line(self, tag, path=None, **values):
        """Add a mapping line, or change the one of that tag."""
        line = self.account.merge_field_ids.filtered(lambda line: line.tag == tag)
        values = dict({"source": "field", "field_path": path}, **values)
        if line:
            line.write(values)
            return line
        return line.create(
            {"account_id": self.account.id, "tag": tag, "name": tag.title(), **values}
        )

    def value(self, tag, email="ann@firma.be"):
        return self.member(email).merge_fields.get(tag)

    def kind(self, tag):
        return self.audience.merge_field(tag).type

    def choices(self, tag):
        return self.audience.merge_field(tag).options.get("choices")

    # === TYPES AND VALUES === #

    def test_merge_fields_are_created_with_the_type_that_suits(self):
        self.link()
        for tag, path in (
            ("NUMBER", "partner_latitude"),
            ("SINCE", "mailchimp_opt_in_date"),
            ("PERSON", "is_company"),
            ("WEB", "website"),
            ("TEL", "phone"),
            ("NOTES", "comment"),
            ("OWNER", "user_id"),
            ("MONEY", "country_id.currency_id.name"),
            ("POSTAL", "zip"),
        ):
            self.line(tag, path)
        self.line("HOME", source="address", field_path=False)
        self.contact(
            "Ann Peeters",
            email="ann@firma.be",
            gender="female",
            partner_latitude=51.05,
            mailchimp_opt_in_date="2026-02-03 10:00:00",
            website="https://firma.be/ann",
            phone="+32 9 123 45 67",
            comment="<p>Met <b>me</b> at<br/>the fair</p>",
            user_id=self.env.ref("base.user_admin").id,
            street="Veldstraat 1",
            city="Ghent",
            state_id=self.env["res.country.state"]
            .create(
                {
                    "name": "East Flanders",
                    "code": "XEF",
                    "country_id": self.env.ref("base.be").id,
                }
            )
            .id,
            zip="9000",
            country_id=self.env.ref("base.be").id,
        )
        self.push()
        expected = {
            "NUMBER": ("number", 51.05),
            "SINCE": ("date", "2026-02-03"),
            "PERSON": ("dropdown", "No"),
            "GENDER": ("dropdown", "Female"),
            "WEB": ("url", "https://firma.be/ann"),
            "TEL": ("phone", "+32 9 123 45 67"),
            "NOTES": ("text", "Met *me* at the fair"),
            "OWNER": ("text", self.env.ref("base.user_admin").name),
            "MONEY": ("text", "EUR"),
            "POSTAL": ("text", "9000"),
            "COUNTRY": ("text", "Belgium"),
            "FNAME": ("text", "Ann"),
            "HOME": (
                "address",
                {
                    "addr1": "Veldstraat 1",
                    "addr2": "",
                    "city": "Ghent",
                    "state": "East Flanders",
                    "zip": "9000",
                    "country": "BE",
                },
            ),
        }
        self.assertEqual(
            {tag: (self.kind(tag), self.value(tag)) for tag in expected}, expected
        )
        self.assertEqual(self.choices("PERSON"), ["Yes", "No"])
        self.assertEqual(self.choices("GENDER"), ["Male", "Female", "Other"])

    def test_values_that_do_not_suit_are_left_out_and_the_member_goes(self):
        self.audience.add_merge_field("Number", "NUMBER", "number")
        self.audience.add_merge_field("Day", "DAY", "date")
        self.audience.add_merge_field(
            "Kind", "KIND", "dropdown", options={"choices": []}
        )
        self.audience.add_merge_field("Zip", "POSTAL", "zip")
        self.audience.add_merge_field("Web", "WEB", "url")
        self.audience.add_merge_field(
            "Tel", "TEL", "phone", options={"phone_format": "US"}
        )
        self.audience.add_merge_field("Home", "HOME", "address")
        self.audience.add_merge_field("Flat", "FLAT", "text")
        self.audience.add_merge_field("House", "HOUSE", "address")
        self.link()
        for tag, path in (
            ("NUMBER", "city"),
            ("DAY", "city"),
            ("KIND", "gender"),
            ("POSTAL", "zip"),
            ("WEB", "city"),
            ("TEL", "phone"),
            ("HOUSE", "city"),
        ):
            self.line(tag, path)
        self.line("HOME", source="address", field_path=False)
        self.line("FLAT", source="address", field_path=False)
        self.contact(
            "Ann",
            city="Ghent",
            gender="female",
            zip="9000",
            phone="+32 9 123 45",
            street="Veldstraat 1",
        )
        self.push()
        self.assertEqual(self.status("ann@firma.be"), "subscribed")
        self.assertEqual(self.value("CITY"), "Ghent")
        for tag in (
            *("NUMBER", "DAY", "KIND", "POSTAL", "WEB", "TEL", "HOME", "FLAT", "HOUSE"),
        ):
            self.assertFalse(self.value(tag), tag)
        warnings = {
            line.tag: line.warning
            for line in self.account.merge_field_ids
            if line.warning
        }
        for tag, words in (
            ("NUMBER", "expects a number"),
            ("DAY", "expects a date"),
            ("KIND", "so they are left out: Male, Female, Other"),
            ("POSTAL", "five digits"),
            ("WEB", "web address"),
            ("TEL", "US numbers"),
            ("FLAT", "Never sent"),
            ("HOUSE", "Never sent"),
        ):
            self.assertIn(words, warnings.get(tag, ""), tag)
        self.assertEqual(len(warnings), 8, warnings)

    def test_american_phones_birthdays_and_long_texts(self):
        self.audience.add_merge_field(
            "Tel", "TEL", "phone", options={"phone_format": "US"}
        )
        self.audience.add_merge_field("Birthday", "BIRTH", "birthday")
        self.link()
        self.line("TEL", "phone")
        self.line("BIRTH", "mailchimp_opt_in_date")
        self.line("LONG", "street")
        self.contact(
            "Ann",
            phone="(404) 555-0123",
            mailchimp_opt_in_date="2026-02-03 10:00:00",
            street="é" * 200,
        )
        self.push()
        self.assertEqual(self.value("TEL"), "404-555-0123")
        self.assertEqual(self.value("BIRTH"), "02/03")
        self.assertEqual(self.value("LONG"), "é" * 127)

    def test_numbers_of_other_countries_are_no_american_ones(self):
        self.audience.add_merge_field(
            "Tel", "TEL", "phone", options={"phone_format": "US"}
        )
        self.link()
        line = self.line("TEL", "phone")
        italy, america = self.env.ref("base.it").id, self.env.ref("base.us").id
        for name, phone, country, sent in (
            ("Bel", "+32 470 12 34 56", False, None),
            ("Local", "0470 12 34 56", False, None),
            # Ten digits that would be somebody's in New York.
            ("Ita", "347 234 5678", italy, None),
            ("Usa", "347 234 5678", america, "347-234-5678"),
            ("Plus", "+1 (404) 555-0123", italy, "404-555-0123"),
            ("Eleven", "1 404 555 0123", False, "404-555-0123"),
        ):
            self.contact(name, phone=phone, country_id=country)
            self.push()
            with self.subTest(phone):
                self.assertEqual(
                    self.value("TEL", f"{name}@firma.be".lower()), sent or ""
                )
        self.assertIn("of other countries are left out", line.warning)

    def test_what_does_not_suit_empties_nothing(self):
        """Mailchimp has other choices: what is chosen there stays."""
        self.audience.add_merge_field(
            "Gender", "GENDER", "dropdown", options={"choices": ["Male", "Unknown"]}
        )
        self.audience.add_merge_field("Zip", "POSTAL", "zip")
        self.audience.add_member(
            "ann@firma.be", merge_fields={"GENDER": "Unknown", "POSTAL": "90210"}
        )
        self.link()
        self.line("POSTAL", "zip")
        ann = self.contact("Ann", gender="female", zip="B-9000")
        for direction in ("push", "both"):
            self.account.sync_direction = direction
            ann.city = direction
            self.push()
            self.assertEqual(self.value("CITY"), direction)
            self.assertEqual(
                (self.value("GENDER"), self.value("POSTAL")), ("Unknown", "90210")
            )
            self.assertEqual((ann.gender, ann.zip), ("female", "B-9000"))
        self.simulator.clear_calls()
        self.push("full")
        self.assertFalse([c for c in self.simulator.calls if c.method == "PATCH"])
        # What suits again goes out, and what is emptied in Odoo is emptied there.
        ann.write({"gender": "male", "zip": False})
        self.push()
        self.assertEqual((self.value("GENDER"), self.value("POSTAL")), ("Male", ""))

    def test_an_edit_there_comes_back_over_what_does_not_suit(self):
        self.audience.add_merge_field(
            "Gender", "GENDER", "dropdown", options={"choices": ["Male", "Female"]}
        )
        self.link()
        self.account.sync_direction = "both"
        ann = self.contact("Ann", gender="other")
        self.push()
        self.assertFalse(self.value("GENDER"))
        self.simulator.advance(60)
        self.audience.edit("ann@firma.be", merge_fields={"GENDER": "Female"})
        self.push()
        self.assertEqual((ann.gender, self.value("GENDER")), ("female", "Female"))

    def test_a_value_that_goes_is_cleared(self):
        self.link()
        self.line("OWNER", "user_id.name")
        ann = self.contact("Ann", user_id=self.env.ref("base.user_admin").id)
        self.push()
        self.assertTrue(self.value("OWNER"))
        ann.user_id = False
        self.push()
        self.assertEqual(self.value("OWNER"), "")

    def test_slow_paths_are_marked_and_sent(self):
        self.link()
        slow = self.line("SHOWN", "contact_address_inline")
        self.assertTrue(slow.is_slow)
        self.assertFalse(self.line("MONEY", "country_id.currency_id.name").is_slow)
        self.assertFalse(self.account.merge_field_ids[0].is_slow)
        self.contact("Ann", street="Veldstraat 1", city="Ghent")
        self.push()
        self.assertIn("Veldstraat 1", self.value("SHOWN"))

    def test_slow_paths_send_what_people_read(self):
        """A selection its label, a yes or no its word, as quick paths do."""
        self.link()
        for tag, path in (
            ("KIND", "company_type"),
            ("SHARED", "partner_share"),
            ("BLOCKED", "is_blacklisted"),
            ("PARENT", "commercial_partner_id.company_type"),
            ("SAME", "same_vat_partner_id"),
        ):
            self.line(tag, path)
        slow = self.account.merge_field_ids.filtered("is_slow").mapped("tag")
        self.assertLessEqual({"KIND", "BLOCKED", "PARENT"}, set(slow))
        self.contact("Ann")
        self.push()
        self.assertEqual(self.value("KIND"), "Person")
        self.assertEqual(self.value("PARENT"), "Person")
        self.assertEqual(self.value("SHARED"), "Yes")
        self.assertEqual(self.value("BLOCKED"), "No")
        self.assertFalse(self.value("SAME"))

    # === THE TABLE === #

    def test_reading_lists_what_is_not_mapped(self):
        self.audience.add_merge_field("Birthday", "BIRTHDAY", "birthday")
        self.audience.add_merge_field("Shoe size", "SHOE", "number", required=True)
        self.audience.add_merge_field(
            "Colour", "COLOUR", "dropdown", options={"choices": ["Red", "Blue"]}
        )
        self.link()
        self.account.action_read_merge_fields()
        self.audience.merge_fields.pop(self.audience.merge_field("BIRTHDAY").merge_id)
        self.account.action_read_merge_fields()
        unmapped = self.account.unmapped_field_ids
        self.assertEqual(
            {line.tag: (line.kind, line.required) for line in unmapped},
            {"SHOE": ("number", True), "COLOUR": ("dropdown", False)},
        )
        self.assertIn("requires Shoe size", self.account.mapping_message)
        mapped = self.account.merge_field_ids.mapped("tag")
        self.assertNotIn("SHOE", mapped)
        self.account.action_read_merge_fields()
        self.assertEqual(self.account.unmapped_field_ids, unmapped)
        # Nothing fills them, so nothing touches them.
        self.audience.merge_field("SHOE").required = False
        self.account.action_read_merge_fields()
        self.assertFalse(self.account.mapping_message)
        self.contact("Ann")
        self.push()
        self.audience.edit("ann@firma.be", merge_fields={"COLOUR": "Red", "SHOE": 38})
        self.push("full")
        self.assertEqual((self.value("COLOUR"), self.value("SHOE")), ("Red", 38))
        # Saying where the value comes from maps it.
        shoe = unmapped.filtered(lambda line: line.tag == "SHOE")
        self.account.write(
            {
                "unmapped_field_ids": [
                    (1, shoe.id, {"source": "field", "field_path": "color"})
                ]
            }
        )
        self.assertIn(shoe, self.account.merge_field_ids)
        self.assertNotIn(shoe, self.account.unmapped_field_ids)
        self.env["res.partner"].search([("email", "=", "ann@firma.be")]).color = 7
        self.push()
        self.assertEqual(self.value("SHOE"), 7)
        # One that is gone in Mailchimp is not listed any more.
        self.audience.merge_fields.pop(self.audience.merge_field("COLOUR").merge_id)
        self.account.action_read_merge_fields()
        self.assertFalse(self.account.unmapped_field_ids)

    def test_required_there_and_optional_here(self):
        self.audience.add_merge_field("City", "CITY", "text", required=True)
        self.link()
        self.account.action_read_merge_fields()
        city = self.account.merge_field_ids.filtered(lambda line: line.tag == "CITY")
        self.assertIn("contacts without a value are not sent", city.warning)
        self.line("CITY", "name")
        self.assertIn("not sent", city.warning, "companies' contacts may have no name")

    def test_choices_that_appear_in_odoo(self):
        self.link()
        self.contact("Ann", gender="other")
        self.push()
        line = self.account.merge_field_ids.filtered(lambda line: line.tag == "GENDER")
        self.assertFalse(line.warning)
        self.audience.merge_field("GENDER").options["choices"].remove("Other")
        self.account.action_read_merge_fields()
        self.assertIn("left out: Other.", line.warning)

    def test_what_would_not_fit_is_named_before_anything_is_created(self):
        for number in range(28 - len(self.audience.merge_fields)):
            self.audience.add_merge_field(f"F{number}", f"F{number}", "text")
        self.link()
        lines = [self.line(f"NEW{number}", "street") for number in range(3)]
        self.account.merge_field_ids.filtered(
            lambda line: not line.tag.startswith("NEW")
        ).create_missing = False
        self.account.action_read_merge_fields()
        self.assertIn("would not fit: New1, New2", self.account.mapping_message)
        self.contact("Ann")
        self.simulator.clear_calls()
        run = self.push()
        # Only Mailchimp knows the plan, so it is asked once about the first too many.
        self.assertEqual(
            self.simulator.count("POST", f"/lists/{self.audience.id}/merge-fields"), 2
        )
        self.assertEqual(run.counters["merge_fields_refused"], 2)
        self.assertEqual(self.status("ann@firma.be"), "subscribed")
        self.assertIn("maximum number of merge fields", lines[2].warning)
        # Room was made, and somebody wants another try.
        self.audience.merge_fields.pop(self.audience.merge_field("F0").merge_id)
        lines[1].create_missing = True
        self.assertFalse(lines[1].warning)
        self.push()
        self.assertEqual(self.kind("NEW1"), "text")

    def test_the_premium_limit_is_never_passed(self):
        self.simulator.switches.update(merge_field_limit=80)
        self.addCleanup(self.simulator.switches.update, merge_field_limit=30)
        for number in range(78 - len(self.audience.merge_fields)):
            self.audience.add_merge_field(f"F{number}", f"F{number}", "text")
        self.link()
        for number in range(3):
            self.line(f"NEW{number}", "street")
        self.account.merge_field_ids.filtered(
            lambda line: not line.tag.startswith("NEW")
        ).create_missing = False
        self.push()
        self.assertEqual(
            self.simulator.count("POST", f"/lists/{self.audience.id}/merge-fields"), 1
        )
        self.assertIn("allows 80", self.account.mapping_message)
        self.assertIn("New1, New2", self.account.mapping_message)

    def test_rights(self):
        self.link()
        user = self.env["res.users"].create(
            {
                "name": "No manager",
                "login": "mapping-no-manager",
                "group_ids": [
                    (4, self.env.ref("crm_mailchimp.group_mailchimp_user").id)
                ],
            }
        )
        with self.assertRaises(AccessError):
            self.account.with_user(user).action_read_merge_fields()
