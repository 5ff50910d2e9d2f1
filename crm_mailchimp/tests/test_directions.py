from odoo.tests import tagged

from .common import MailchimpCase


@tagged("post_install", "-at_install")
class TestDirections(MailchimpCase):
    """Which way the values of mapped fields travel."""

    def setUp(self):
        super().setUp()
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
