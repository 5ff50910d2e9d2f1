import os
import random

from odoo.tests import tagged

from .common import MailchimpCase, long
from .test_push import LONGEST


@tagged("post_install", "-at_install")
class TestAddresses(MailchimpCase):
    """One contact and its addresses: changed, several, shared."""

    def prepare(self):
        super().prepare()
        self.link()

    def writes(self):
        return [
            (call.method, call.status)
            for call in self.simulator.calls
            if call.method != "GET"
        ]

    def assert_quiet(self):
        """A further run has nothing to do."""
        self.simulator.clear_calls()
        self.push()
        self.assertFalse(self.writes())

    def test_a_changed_address_keeps_the_member_and_its_history(self):
        ann = self.contact("Ann", city="Ghent")
        self.push()
        before = self.member("ann@firma.be").web_id
        ann.write({"email": "ann@new.be", "city": "Bruges"})
        run = self.push()
        self.assertIsNone(self.member("ann@firma.be"))
        member = self.member("ann@new.be")
        self.assertEqual((member.status, member.web_id), ("subscribed", before))
        self.assertEqual(member.merge_fields["CITY"], "Bruges")
        self.assertEqual(run.counters["moved"], 1)
        self.assertFalse(run.counters.get("archived"))
        self.assertEqual(ann.mailchimp_status, "in")
        # The ledger remembers whose the old address was.
        self.assertEqual(self.ledger("ann@firma.be").partner_id, ann)
        self.assert_quiet()

    def test_the_old_address_unsubscribed_meanwhile(self):
        """The "no" of the old address is the contact's, even when it comes late."""
        ann = self.contact("Ann")
        self.push()
        ann.email = "ann@new.be"
        self.simulator.advance(60)
        with self.before_moving(lambda: self.audience.unsubscribe("ann@firma.be")):
            self.push()
        self.assertFalse(ann.mailchimp_opt_in)
        self.assertEqual(self.status("ann@firma.be"), "unsubscribed")
        self.assertIsNone(self.member("ann@new.be"))
        self.assert_quiet()

    def test_the_old_address_unsubscribed_before_the_run(self):
        ann = self.contact("Ann")
        self.push()
        self.simulator.advance(60)
        self.audience.unsubscribe("ann@firma.be")
        ann.email = "ann@new.be"
        self.push()
        self.assertFalse(ann.mailchimp_opt_in)
        self.assertIsNone(self.member("ann@new.be"))

    def test_the_old_address_bounced(self):
        ann = self.contact("Ann")
        self.push()
        ann.email = "ann@new.be"
        with self.before_moving(lambda: self.audience.clean("ann@firma.be")):
            self.push()
        self.assertEqual(self.status("ann@new.be"), "subscribed")
        self.assertEqual(self.status("ann@firma.be"), "cleaned")
        self.assertTrue(ann.mailchimp_opt_in)
        self.assert_quiet()

    def test_the_new_address_is_a_member_already(self):
        ann = self.contact("Ann")
        self.push()
        self.audience.add_member("ann@new.be", by="person")
        ann.email = "ann@new.be"
        self.push()
        self.assertEqual(self.status("ann@new.be"), "subscribed")
        self.assertEqual(self.status("ann@firma.be"), "archived")
        self.assertEqual(self.member("ann@new.be").merge_fields["FNAME"], "Ann")
        self.assert_quiet()

    def test_the_new_address_becomes_a_member_meanwhile(self):
        ann = self.contact("Ann")
        self.push()
        ann.email = "ann@new.be"
        with self.before_moving(lambda: self.audience.add_member("ann@new.be")):
            self.push()
        self.assertEqual(self.status("ann@new.be"), "subscribed")
        self.assertEqual(self.status("ann@firma.be"), "archived")
        self.assert_quiet()

    def test_the_new_address_looks_fake(self):
        ann = self.contact("Ann")
        self.push()
        ann.email = "ann@yopmail.com"
        self.push()
        self.assertEqual(self.status("ann@firma.be"), "archived")
        self.assertEqual(ann.mailchimp_reason, "fake")
        self.assert_quiet()

    def test_back_to_the_former_address(self):
        former, new = "ann@firma.be", "new@firma.be"
        ann = self.contact("Ann", former)
        self.push()
        ann.email = new
        self.push()
        self.assertIsNone(self.status(former))
        ann.email = former
        self.push()
        self.push()
        self.assertEqual(self.status(former), "subscribed")
        self.assertIn(self.status(new), (None, "archived"))
        self.assertEqual(ann.mailchimp_status, "in")

    def test_an_answer_that_got_lost(self):
        ann = self.contact("Ann", city="Ghent")
        self.push()
        ann.write({"email": "ann@new.be", "city": "Bruges"})
        self.simulator.fault("PATCH /lists/*/members/*", "drop_applied")
        run = self.push(state="waiting")
        run.resume_at = False
        self.push()
        self.assertEqual(self.status("ann@new.be"), "subscribed")
        self.assertEqual(self.member("ann@new.be").merge_fields["CITY"], "Bruges")
        self.assertFalse(self.ledger("ann@firma.be").reason)
        self.assertEqual(len(self.audience.members), 1)
        self.assert_quiet()

    def test_changed_back_before_the_run(self):
        ann = self.contact("Ann")
        self.push()
        ann.email = "ann@new.be"
        ann.email = "ann@firma.be"
        self.assert_quiet()

    def test_two_contacts_swap_their_addresses(self):
        ann, bob = self.contact("Ann"), self.contact("Bob")
        self.push()
        ann.email, bob.email = "bob@firma.be", "ann@firma.be"
        self.push()
        self.assertEqual(self.member("bob@firma.be").merge_fields["FNAME"], "Ann")
        self.assertEqual(self.member("ann@firma.be").merge_fields["FNAME"], "Bob")
        self.assert_quiet()

    def test_a_removed_address_archives_the_member(self):
        ann = self.contact("Ann")
        self.push()
        ann.email = False
        self.push()
        self.assertEqual(self.status("ann@firma.be"), "archived")

    # === EVERY ADDRESS === #

    def test_every_address_of_a_contact(self):
        self.account.email_scope = "all"
        too_long = LONGEST.replace("@", "a@")
        ann = self.contact(
            "Ann", f"Ann <ann@firma.be>; ann@home.be, not-an-address, {too_long}"
        )
        self.push()
        self.assertEqual(set(self.audience.members), {"ann@firma.be", "ann@home.be"})
        self.assertEqual(ann.mailchimp_status, "in")
        self.assertEqual(
            self.env["crm.mailchimp.contact.status"].search_count(
                [("partner_id", "=", ann.id)]
            ),
            1,
        )
        ann.email = "ann@home.be"
        self.push()
        self.assertEqual(self.status("ann@firma.be"), "archived")
        self.assertEqual(self.status("ann@home.be"), "subscribed")
        self.assert_quiet()

    def test_the_first_address_only(self):
        self.contact("Ann", "ann@firma.be, ann@home.be")
        self.push()
        self.assertEqual(set(self.audience.members), {"ann@firma.be"})

    def test_the_second_address_is_that_of_a_company(self):
        self.account.email_scope = "all"
        self.contact("Firm", "firm@firma.be", is_company=True)
        ann = self.contact("Ann", "ann@firma.be, firm@firma.be")
        self.env["mail.blacklist"].create({"email": "ann@firma.be"})
        self.push()
        line = self.env["crm.mailchimp.contact.status"].search(
            [("partner_id", "=", ann.id)]
        )
        self.assertEqual(line.status, "out")
        self.assertEqual(
            (ann.mailchimp_status, ann.mailchimp_reason), ("out", line.reason)
        )
        self.assertEqual(ann.mailchimp_card()["remedy"], line.remedy)

    def test_an_unsubscribe_of_one_address_counts_for_all(self):
        self.account.email_scope = "all"
        ann = self.contact("Ann", "ann@firma.be, ann@home.be")
        bob = self.contact("Bob", "bob@firma.be, ann@home.be")
        self.push()
        self.simulator.advance(60)
        self.audience.unsubscribe("ann@home.be")
        self.push()
        self.assertFalse(ann.mailchimp_opt_in)
        self.assertFalse(bob.mailchimp_opt_in)
        self.assertEqual(self.status("ann@firma.be"), "archived")
        self.assertEqual(self.status("ann@home.be"), "unsubscribed")

    def test_a_hidden_unsubscribe_is_found_before_another_address_is_added(self):
        self.account.email_scope = "all"
        ann = self.contact("Ann", "ann@firma.be")
        self.push()
        self.simulator.advance(60)
        self.audience.complain("ann@firma.be")
        self.audience.archive("ann@firma.be")
        ann.email = "ann@firma.be, ann@home.be"
        self.push()
        self.assertFalse(ann.mailchimp_opt_in)
        self.assertNotIn("ann@home.be", self.audience.members)

    def test_an_opt_out_leaves_with_every_address(self):
        self.account.email_scope = "all"
        ann = self.contact("Ann", "ann@firma.be, ann@home.be")
        self.push()
        ann.mailchimp_opt_in = False
        self.send_opt_outs()
        self.assertEqual(self.status("ann@firma.be"), "archived")
        self.assertEqual(self.status("ann@home.be"), "archived")

    # === SHARED === #

    def test_the_winner_leaves_and_another_takes_its_place(self):
        ann = self.contact("Ann", "shared@firma.be", city="Ghent")
        self.contact("Bob", "shared@firma.be", city="Paris")
        self.push()
        self.assertEqual(self.member("shared@firma.be").merge_fields["FNAME"], "Ann")
        ann.active = False
        self.push()
        member = self.member("shared@firma.be")
        self.assertEqual(
            (member.status, member.merge_fields["FNAME"]), ("subscribed", "Bob")
        )
        self.assert_quiet()

    def before_moving(self, act):
        return self.before("PATCH", act)


@tagged("post_install", "-at_install")
class TestNotThereAnyMore(MailchimpCase):
    """Mailchimp does not have a member under its address any more: what that means."""

    def prepare(self):
        super().prepare()
        self.link()
        self.ann = self.contact("Ann")
        self.bob = self.contact("Bob")
        self.push()
        # Ids of members are only known after a reading.
        self.push()

    def change_address(self):
        self.simulator.advance(60)
        self.audience.change_address("ann@firma.be", "ann@new.be")
        self.simulator.advance(60)

    def barred(self, email="ann@firma.be"):
        return self.env["crm.mailchimp.suppression"].search(
            [("email_normalized", "=", email)]
        )

    def assert_renamed(self):
        self.assertEqual(self.ann.mailchimp_reason, "renamed")
        self.assertFalse(self.barred())
        self.assertIsNone(self.member("ann@firma.be"))
        self.assertEqual(self.status("ann@new.be"), "subscribed")
        self.assertIn("ann@new.be", self.ledger("ann@firma.be").reason_text)

    def test_the_person_changed_the_address(self):
        self.change_address()
        run = self.push()
        self.assert_renamed()
        self.assertFalse(run.counters.get("deleted_in_mailchimp"))
        self.assertFalse(run.counters.get("full_reads"), "one look tells")
        self.push("full")
        self.assert_renamed()

    def test_a_preview_finds_out_as_well(self):
        self.change_address()
        self.audience.delete_permanently("bob@firma.be")
        self.push("preview")
        self.assert_renamed()
        self.assertEqual(self.bob.mailchimp_reason, "forgotten")

    def test_it_is_changed_just_before_an_update(self):
        self.ann.city = "Ghent"
        with self.before("PATCH", self.change_address):
            self.push()
        self.assert_renamed()

    def test_it_is_changed_and_everything_is_read(self):
        self.change_address()
        self.push("full")
        self.assert_renamed()

    def assert_opt_out_arrives(self):
        self.opt_out(self.ann)
        self.assertEqual(self.status("ann@new.be"), "archived")
        self.assertFalse(self.account._opt_outs_to_send())
        self.push()
        self.assertEqual(self.status("ann@new.be"), "archived")

    def test_an_opt_out_reaches_the_new_address(self):
        self.change_address()
        self.push()
        self.assert_opt_out_arrives()

    def test_an_opt_out_reaches_a_new_address_that_nobody_has_read_yet(self):
        self.change_address()
        self.assert_opt_out_arrives()
        self.assertEqual(self.ledger("ann@firma.be").reason, "renamed")

    def test_the_new_address_does_not_become_another_contact(self):
        """Else an opt-out of the one would be overruled by the opt-in of the other."""
        self.account.foreign_members = "import"
        self.change_address()
        self.push()
        self.assertFalse(
            self.env["res.partner"].search([("email_normalized", "=", "ann@new.be")])
        )
        self.assert_opt_out_arrives()

    def test_nobody_is_asked_whether_to_archive_the_new_address(self):
        self.account.foreign_members = "archive"
        self.change_address()
        self.push()
        self.push()
        self.assertEqual(self.account.foreign_count, 0)

    def test_an_unsubscribe_of_the_new_address_takes_the_opt_in(self):
        self.change_address()
        self.push()
        self.simulator.advance(60)
        self.audience.unsubscribe("ann@new.be")
        self.push()
        self.assertFalse(self.ann.mailchimp_opt_in)

    def test_the_contact_is_corrected(self):
        self.change_address()
        self.push()
        self.ann.email = "ann@new.be"
        self.push()
        self.assertEqual(self.ann.mailchimp_status, "in")
        self.assertEqual(self.status("ann@new.be"), "subscribed")
        self.opt_out(self.ann)
        self.assertEqual(self.status("ann@new.be"), "archived")

    def test_the_address_is_changed_back(self):
        self.change_address()
        self.push()
        self.audience.change_address("ann@new.be", "ann@firma.be")
        self.simulator.advance(60)
        self.push()
        self.assertEqual(self.ann.mailchimp_status, "in")
        self.assertFalse(self.ledger("ann@new.be").status)

    def test_a_change_by_odoo_is_none_by_a_person(self):
        self.ann.email = "ann@new.be"
        self.push()
        self.push("full")
        self.assertEqual(self.ann.mailchimp_status, "in")
        self.assertFalse(self.ledger("ann@firma.be").reason)

    def test_who_never_confirms_is_not_deleted(self):
        self.account.double_opt_in = True
        zoe = self.contact("Zoe")
        self.push()
        self.assertEqual(self.status("zoe@firma.be"), "pending")
        self.audience.expire("zoe@firma.be")
        self.push("full")
        self.assertEqual(zoe.mailchimp_reason, "not_confirmed")
        self.assertFalse(self.barred("zoe@firma.be"))
        self.assertIsNone(self.member("zoe@firma.be"), "not by itself")
        zoe.action_mailchimp_ask_again()
        self.push()
        self.assertEqual(self.status("zoe@firma.be"), "pending")
        self.audience.confirm("zoe@firma.be")
        self.push()
        self.assertEqual(zoe.mailchimp_status, "in")

    def test_who_was_asked_again_and_never_confirms_can_be_asked_once_more(self):
        self.simulator.advance(60)
        self.audience.unsubscribe("ann@firma.be")
        self.push()
        self.simulator.advance(60)
        self.ann.mailchimp_opt_in = True
        self.ann.action_mailchimp_ask_again()
        self.push()
        self.assertEqual(self.status("ann@firma.be"), "pending")
        self.simulator.advance(60 * 86400)
        self.audience.expire("ann@firma.be")
        self.push("full")
        self.assertEqual(self.barred().mapped("kind"), ["unsubscribed"])
        self.assertIsNone(self.member("ann@firma.be"), "not by itself")
        self.ann.action_mailchimp_ask_again()
        self.push()
        self.assertEqual(self.status("ann@firma.be"), "pending")
        self.audience.confirm("ann@firma.be")
        self.push()
        self.assertEqual(self.ann.mailchimp_status, "in")

    def test_the_audience_is_deleted_while_members_are_updated(self):
        (self.ann + self.bob).city = "Ghent"
        audiences = self.simulator.account.audiences
        with self.before("PATCH", lambda: audiences.pop(self.audience.id)):
            self.push(state="failed")
        self.assertEqual(self.account.state, "error")
        self.assertFalse(self.barred())
        self.assertFalse(self.barred("bob@firma.be"))

    def test_the_audience_is_deleted_before_an_opt_out(self):
        self.simulator.account.audiences.pop(self.audience.id)
        self.ann.mailchimp_opt_in = False
        self.send_opt_outs()
        self.assertEqual(self.account.state, "error")
        self.assertNotIn("forgotten", self.barred().mapped("kind"))


class TestAddressesChangeAtRandom(MailchimpCase):
    """Addresses change on both sides, people say no: in any order, between any runs.

    ``SEED`` says which; it is printed, so that a failure can be played again.
    """

    ROUNDS = 12

    def prepare(self):
        super().prepare()
        self.link()
        self.people = {
            self.contact(f"Person{n}"): f"person{n}@firma.be" for n in "abcdef"
        }
        self.push()
        self.push()

    @long
    def test_everybody_stays_who_they_are(self):
        """Who said no is not reached, by whatever address; all others are, once."""
        seed = int(os.environ.get("SEED") or 1)
        rng = random.Random(seed)
        noes = set()
        for turn in range(self.ROUNDS):
            story = []
            for contact in rng.sample(list(self.people), 3):
                self.simulator.advance(60)
                act = rng.choice(
                    [self.change_in_mailchimp] * 3
                    + [self.correct_in_odoo, self.edit, self.opt_out_in_odoo]
                    + [self.unsubscribe]
                )
                said_no = act(contact, turn)
                if said_no:
                    noes.add(contact)
                story.append((act.__name__, contact.name))
            self.simulator.advance(60)
            kinds = rng.sample(["lane", "preview", "push", "full"], 2)
            for kind in kinds:
                self.send_opt_outs() if kind == "lane" else self.push(kind)
            if {"push", "full"} & {*kinds}:
                with self.subTest(seed=seed, turn=turn, story=story, kinds=kinds):
                    self.check(noes)
        self.push("full")
        self.check(noes)
        self.assertFalse(self.simulator.violations)

    def change_in_mailchimp(self, contact, turn):
        new = f"{contact.name.lower()}.{turn}@new.be"
        if self.status(self.people[contact]) == "subscribed":
            self.audience.change_address(self.people[contact], new)
            self.people[contact] = new

    def correct_in_odoo(self, contact, _turn):
        contact.email = self.people[contact]

    def edit(self, contact, turn):
        contact.city = f"City {turn}"

    def opt_out_in_odoo(self, contact, _turn):
        contact.mailchimp_opt_in = False
        return True

    def unsubscribe(self, contact, _turn):
        if self.status(self.people[contact]) == "subscribed":
            self.audience.unsubscribe(self.people[contact])
            return True
        return False

    def check(self, noes):
        reached = [
            address
            for address, member in self.audience.members.items()
            if member.status in ("subscribed", "pending")
        ]
        expected = [
            address for contact, address in self.people.items() if contact not in noes
        ]
        self.assertCountEqual(reached, expected)
        for contact in self.people:
            self.assertEqual(contact.mailchimp_opt_in, contact not in noes)
