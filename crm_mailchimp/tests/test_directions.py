from unittest.mock import patch

from odoo.tests import tagged

from ..engine import errors
from ..sync.send import Send
from .common import MailchimpCase


@tagged("post_install", "-at_install")
class TestDirections(MailchimpCase):
    """Which way the values of mapped fields travel."""

    def prepare(self):
        super().prepare()
        self.link()
        self.ann = self.contact("Ann Lee", "ann@firma.be", city="Ghent")
        self.push()

    def edit(self, **merge_fields):
        self.simulator.advance(60)
        self.audience.edit("ann@firma.be", merge_fields=merge_fields)

    def there(self, tag):
        return self.member("ann@firma.be").merge_fields.get(tag)

    def assert_quiet(self):
        self.simulator.clear_calls()
        self.push()
        self.assertFalse([c for c in self.simulator.calls if c.method != "GET"])

    def test_push_sets_an_edit_back(self):
        self.edit(CITY="Paris")
        self.push()
        self.assertEqual((self.ann.city, self.there("CITY")), ("Ghent", "Ghent"))

    def test_both_ways_each_change_travels(self):
        self.account.sync_direction = "both"
        self.edit(CITY="Paris")
        self.ann.gender = "female"
        run = self.push()
        self.assertEqual(self.ann.city, "Paris")
        self.assertEqual(self.there("CITY"), "Paris")
        self.assertEqual(self.there("GENDER"), "Female")
        self.assertEqual(run.counters["brought_back"], 1)
        self.assert_quiet()

    def test_both_changed_odoo_wins(self):
        self.account.sync_direction = "both"
        self.edit(CITY="Paris")
        self.ann.city = "Rome"
        self.push()
        self.assertEqual((self.ann.city, self.there("CITY")), ("Rome", "Rome"))
        self.assert_quiet()

    def test_both_changed_mailchimp_wins(self):
        self.account.write({"sync_direction": "both", "conflict_winner": "mailchimp"})
        self.edit(CITY="Paris")
        self.ann.city = "Rome"
        self.push()
        self.assertEqual((self.ann.city, self.there("CITY")), ("Paris", "Paris"))
        self.assert_quiet()

    def test_a_lost_answer_is_no_edit_of_somebody_else(self):
        self.account.write({"sync_direction": "both", "conflict_winner": "mailchimp"})
        self.ann.city = "Paris"
        self.simulator.fault("PATCH /lists/*/members/*", "drop_applied", times=9)
        run = self.push(state="waiting")
        self.simulator.faults.clear()
        self.assertEqual(self.there("CITY"), "Paris")
        self.simulator.advance(60)
        self.ann.city = "Rome"
        run.resume_at = False
        self.push()
        self.push()
        self.assertEqual((self.ann.city, self.there("CITY")), ("Rome", "Rome"))
        self.assert_quiet()

    def test_an_edit_to_what_odoo_once_sent(self):
        self.account.sync_direction = "both"
        self.ann.city = "Paris"
        self.push()
        self.edit(CITY="Rome")
        self.push()
        self.edit(CITY="Paris")
        self.push()
        self.assertEqual((self.ann.city, self.there("CITY")), ("Paris", "Paris"))
        self.assert_quiet()

    def test_an_edit_between_the_comparison_and_the_sending(self):
        self.account.sync_direction = "both"
        self.ann.name = "Anna Lee"
        stopped = errors.Retryable("Mailchimp did not answer in time")
        with patch.object(Send, "work", side_effect=stopped):
            run = self.push(state="waiting")
        self.edit(CITY="Paris")
        run.resume_at = False
        self.push()
        self.assertEqual((self.ann.city, self.there("CITY")), ("Paris", "Paris"))
        self.assertEqual(self.there("FNAME"), "Anna")
        self.assert_quiet()

    def test_a_value_emptied_in_mailchimp(self):
        self.account.sync_direction = "both"
        self.edit(CITY="")
        self.push()
        self.assertFalse(self.ann.city)
        self.assert_quiet()

    def test_pull_takes_what_changed_there_and_sends_nothing(self):
        self.account.sync_direction = "pull"
        self.edit(CITY="Paris")
        self.ann.gender = "female"
        self.push()
        self.assertEqual(self.ann.city, "Paris")
        self.assertEqual(self.ann.gender, "female")
        self.assertFalse(self.there("GENDER"))
        self.assert_quiet()

    def test_pull_still_sends_segments_opt_outs_and_new_contacts(self):
        self.account.sync_direction = "pull"
        self.flag("Ghent", "[('city', '=', 'Ghent')]")
        bob = self.contact("Bob", city="Paris")
        self.push()
        self.assertEqual(self.groups("ann@firma.be"), ["Ghent"])
        self.assertEqual(self.member("bob@firma.be").merge_fields["CITY"], "Paris")
        bob.mailchimp_opt_in = False
        self.push()
        self.assertEqual(self.status("bob@firma.be"), "archived")

    def test_names_countries_choices_and_addresses_come_back(self):
        self.account.sync_direction = "both"
        self.audience.add_merge_field("Address", "ADDRESS", "address")
        self.env["crm.mailchimp.merge.field"].search(
            [("account_id", "=", self.account.id), ("tag", "=", "ADDRESS")]
        ).create_missing = True
        self.push()
        self.edit(
            FNAME="Anna",
            LNAME="van Lee",
            COUNTRY="France",
            GENDER="Other",
            ADDRESS={
                "addr1": "Rue 1",
                "city": "Paris",
                "state": "IDF",
                "zip": "75001",
                "country": "FR",
            },
        )
        self.push()
        self.assertEqual(self.ann.name, "Anna van Lee")
        self.assertEqual(self.ann.country_id, self.env.ref("base.fr"))
        self.assertEqual(self.ann.gender, "other")
        self.assertEqual((self.ann.street, self.ann.zip), ("Rue 1", "75001"))

    def test_what_odoo_has_no_value_for_is_set_back(self):
        self.account.sync_direction = "both"
        self.audience.merge_field("GENDER").options["choices"].append("Unknown")
        self.edit(COUNTRY="Atlantis", GENDER="Unknown", FNAME="", LNAME="")
        self.push()
        self.assertFalse(self.ann.country_id)
        self.assertEqual(self.ann.name, "Ann Lee")
        self.assertEqual(self.there("FNAME"), "Ann")
        self.assertFalse(self.there("COUNTRY"))
        self.assert_quiet()

    def test_a_member_that_was_there_before(self):
        """There is no last sent value: what only one side has is taken over."""
        self.account.sync_direction = "both"
        self.audience.add_member(
            "bob@firma.be", merge_fields={"FNAME": "Robert", "CITY": "Paris"}
        )
        bob = self.contact("Bob", phone="1", gender="male")
        self.push()
        self.assertEqual((bob.name, bob.city), ("Bob", "Paris"))
        values = self.member("bob@firma.be").merge_fields
        self.assertEqual((values["FNAME"], values["GENDER"]), ("Bob", "Male"))
        self.assert_quiet()

    def test_a_contact_that_somebody_edits_right_now_waits(self):
        self.account.sync_direction = "both"
        self.edit(CITY="Paris")
        locked = self.env["res.partner"]
        self.patch(type(locked), "try_lock_for_update", lambda self, **kw: locked)
        self.push()
        self.assertEqual((self.ann.city, self.there("CITY")), ("Ghent", "Paris"))

    def test_what_may_never_be_written(self):
        """Who may see a contact, whether it is sent, and whom it belongs to."""
        corp = self.env["res.partner"].create({"name": "Corp", "is_company": True})
        self.account.sync_direction = "both"
        paths = (
            "parent_id.name",
            "active",
            "is_company",
            "user_id",
            "commercial_partner_id",
        )
        for number, path in enumerate(paths):
            self.env["crm.mailchimp.merge.field"].create(
                {
                    "account_id": self.account.id,
                    "tag": f"NEVER{number}",
                    "name": path,
                    "source": "field",
                    "field_path": path,
                }
            )
        self.push()
        self.edit(NEVER0="Corp", NEVER1="No", NEVER2="Yes", NEVER3="Mitchell Admin")
        self.push()
        self.assertTrue(self.ann.active)
        self.assertFalse(self.ann.is_company)
        self.assertFalse(self.ann.parent_id)
        self.assertFalse(self.ann.user_id)
        self.account.foreign_members = "import"
        self.audience.add_member(
            "eve@firma.be",
            merge_fields={
                "FNAME": "Eve",
                "CITY": "Paris",
                "NEVER0": "Corp",
                "NEVER1": "No",
                "NEVER2": "Yes",
            },
        )
        self.push()
        eve = (
            self.env["res.partner"]
            .with_context(active_test=False)
            .search([("email", "=", "eve@firma.be")])
        )
        self.assertEqual((eve.name, eve.city), ("Eve", "Paris"))
        self.assertTrue(eve.active)
        self.assertFalse(eve.is_company)
        self.assertFalse(eve.parent_id)
        self.assertFalse(corp.child_ids)

    def test_first_names_of_two_words_stay_together(self):
        self.account.foreign_members = "import"
        self.audience.add_member(
            "mary@firma.be", merge_fields={"FNAME": "Mary Ann", "LNAME": "Lee"}
        )
        for direction in ("push", "both"):
            self.account.sync_direction = direction
            self.push()
            mary = self.env["res.partner"].search([("email", "=", "mary@firma.be")])
            self.assertEqual(mary.name, "Mary Ann Lee")
            mary.city = direction
            self.push()
            values = self.member("mary@firma.be").merge_fields
            self.assertEqual(
                (values["FNAME"], values["LNAME"], values["CITY"]),
                ("Mary Ann", "Lee", direction),
            )
            self.assert_quiet()
        # A change of one half is a change of that half.
        self.simulator.advance(60)
        self.audience.edit("mary@firma.be", merge_fields={"LNAME": "Stone"})
        self.push()
        self.assertEqual(mary.name, "Mary Ann Stone")
        self.assertEqual(self.member("mary@firma.be").merge_fields["FNAME"], "Mary Ann")
        # Odoo's own division is set right there, too.
        self.edit(FNAME="Ann Lee", LNAME="")
        self.push()
        self.assertEqual(self.ann.name, "Ann Lee")
        self.assertEqual((self.there("FNAME"), self.there("LNAME")), ("Ann Lee", ""))

    def test_norwegian(self):
        self.env["res.lang"]._activate_lang("nb_NO")
        self.ann.lang = "nb_NO"
        self.account.foreign_members = "import"
        self.audience.add_member("eve@firma.be", language="no")
        self.push()
        self.assertEqual(self.member("ann@firma.be").language, "no")
        eve = self.env["res.partner"].search([("email", "=", "eve@firma.be")])
        self.assertEqual(eve.lang, "nb_NO")
