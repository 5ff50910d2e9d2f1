from datetime import timedelta, timezone
from unittest.mock import patch

from odoo import fields
from odoo.exceptions import AccessError, UserError
from odoo.tests import tagged

from .common import MailchimpCase


@tagged("post_install", "-at_install")
class TestSuppression(MailchimpCase):
    """A "no" is remembered by address, whatever becomes of all else."""

    def prepare(self):
        super().prepare()
        self.link()

    def unsubscribe(self, email):
        self.simulator.advance(60)
        self.audience.unsubscribe(email, reason="Enough")
        self.push()

    def on_list(self, email):
        return self.env["crm.mailchimp.suppression"].search(
            [("email_normalized", "=", email), ("lifted_at", "=", False)]
        )

    def test_after_the_contact_and_its_member_are_gone(self):
        ann = self.contact("Ann")
        self.push()
        self.unsubscribe("ann@firma.be")
        ann.unlink()
        self.audience._audience.remove(self.member("ann@firma.be"))
        self.audience._audience.forgotten.clear()
        self.push("full")
        self.assertTrue(self.on_list("ann@firma.be"))
        self.contact("Ann")
        self.push()
        self.assertIsNone(self.status("ann@firma.be"))

    def test_after_it_was_erased(self):
        ann = self.contact("Ann")
        self.push()
        self.unsubscribe("ann@firma.be")
        line = self.on_list("ann@firma.be")
        line.unlink()
        self.assertTrue(line.exists())
        self.assertFalse(line.email_normalized)
        self.assertFalse(line.note)
        ann.unlink()
        self.audience._audience.remove(self.member("ann@firma.be"))
        self.audience._audience.forgotten.clear()
        again = self.contact("Ann again", "ann@firma.be")
        self.push("full")
        self.assertIsNone(self.status("ann@firma.be"))
        self.assertEqual(again.mailchimp_reason, "unsubscribed")

    def test_a_sign_up_by_the_person_lifts_it(self):
        ann = self.contact("Ann")
        self.push()
        self.unsubscribe("ann@firma.be")
        self.simulator.advance(60)
        self.audience.sign_up("ann@firma.be")
        self.push()
        self.assertFalse(self.on_list("ann@firma.be"))
        self.assertFalse(ann.mailchimp_opt_in)
        ann.mailchimp_opt_in = True
        self.push()
        self.assertEqual(ann.mailchimp_status, "in")

    def test_an_opt_in_lifts_what_was_said_in_odoo_only(self):
        ann, bob = self.contact("Ann"), self.contact("Bob")
        self.push()
        self.opt_out(bob)
        self.unsubscribe("ann@firma.be")
        (ann | bob).mailchimp_opt_in = True
        self.push()
        self.assertTrue(self.on_list("ann@firma.be"))
        self.assertFalse(self.on_list("bob@firma.be"))
        self.assertEqual(self.status("bob@firma.be"), "subscribed")
        self.assertEqual(self.status("ann@firma.be"), "unsubscribed")

    def test_another_sharer_does_not_speak_for_who_opted_out(self):
        ann = self.contact("Ann", "shared@firma.be")
        bob = self.contact("Bob", "shared@firma.be")
        self.push()
        ann.mailchimp_opt_in_date = "2026-01-01"
        self.opt_out(bob)
        self.assertEqual(self.status("shared@firma.be"), "archived")
        self.push()
        self.assertEqual(self.status("shared@firma.be"), "archived")
        self.assertEqual(ann.mailchimp_reason, "opted_out")

    def test_nobody_may_write_the_list(self):
        self.contact("Ann")
        self.push()
        self.unsubscribe("ann@firma.be")
        manager = self.env["res.users"].create(
            {
                "name": "M",
                "login": "m-suppression",
                "group_ids": [
                    (4, self.env.ref("crm_mailchimp.group_mailchimp_manager").id),
                    (4, self.env.ref("base.group_partner_manager").id),
                ],
            }
        )
        line = self.on_list("ann@firma.be").with_user(manager)
        for forge in (
            lambda: line.write({"lifted_at": fields.Datetime.now()}),
            lambda: line.create({"email_hash": "x", "source": "odoo"}),
        ):
            with self.assertRaises(AccessError), self.env.cr.savepoint():
                forge()


@tagged("post_install", "-at_install")
class TestSameSecond(MailchimpCase):
    """Times are known to the second: a "no" of the same one is taken for the later."""

    def prepare(self):
        super().prepare()
        self.link()

    def freeze(self):
        """Let everything in Odoo happen in one second.

        :return: which one
        """
        now = self.account._mailchimp_now()
        patcher = patch.object(type(self.account), "_mailchimp_now", lambda *_: now)
        patcher.start()
        self.addCleanup(patcher.stop)
        return now

    def stamp(self, moment):
        """Return a time as the simulator takes it."""
        return int(moment.replace(tzinfo=timezone.utc).timestamp())

    def test_an_unsubscribe_takes_the_opt_in(self):
        ann = self.contact("Ann")
        self.push()
        self.simulator.advance(60)
        self.push()
        ann.mailchimp_opt_in_date = self.account._mailchimp_now()
        self.audience.unsubscribe(
            "ann@firma.be", when=self.stamp(ann.mailchimp_opt_in_date)
        )
        self.push()
        self.assertFalse(ann.mailchimp_opt_in)

    def test_nobody_is_asked_again_for_an_opt_in_that_is_not_later(self):
        ann = self.contact("Ann")
        self.push()
        self.simulator.advance(60)
        self.audience.unsubscribe("ann@firma.be")
        self.push()
        ann.mailchimp_opt_in = True
        no = self.env["crm.mailchimp.suppression"].search(
            [("email_normalized", "=", "ann@firma.be"), ("source", "=", "mailchimp")]
        )
        # Odoo dates an opt-in after what it knows; this one came in by SQL.
        self.env.flush_all()
        self.env.cr.execute(
            "UPDATE res_partner SET mailchimp_opt_in_date = %s WHERE id = %s",
            (no.date, ann.id),
        )
        self.env.invalidate_all()
        with self.assertRaisesRegex(UserError, "nobody to ask"):
            self.as_user(ann).action_mailchimp_ask_again()

    def test_a_blacklist_entry_bars_the_address(self):
        self.freeze()
        bob = self.contact("Bob")
        blacklist = self.env["mail.blacklist"]
        blacklist._add("bob@firma.be")
        blacklist._remove("bob@firma.be")
        self.push()
        self.assertIsNone(self.status("bob@firma.be"))
        self.assertEqual(bob.mailchimp_reason, "was_blacklisted")

    def test_an_opt_out_of_a_sharer_bars_the_address(self):
        self.freeze()
        ann = self.contact("Ann", "shared@firma.be")
        bob = self.contact("Bob", "shared@firma.be")
        bob.mailchimp_opt_in = False
        self.push()
        self.assertIsNone(self.status("shared@firma.be"))
        self.assertEqual(ann.mailchimp_reason, "opted_out")

    def test_an_opt_in_after_an_opt_out_counts(self):
        self.freeze()
        ann = self.contact("Ann")
        ann.mailchimp_opt_in = False
        ann.mailchimp_opt_in = True
        self.push()
        self.assertEqual(self.status("ann@firma.be"), "subscribed")

    def test_nobody_is_imported_who_opted_out(self):
        now = self.stamp(self.freeze())
        gone, ann = self.contact("Gone", "gone@firma.be"), self.contact("Ann")
        for email in ("gone@firma.be", "ann@firma.be"):
            self.audience.add_member(email, timestamp_opt=now)
        (gone | ann).mailchimp_opt_in = False
        gone.unlink()
        self.account.foreign_members = "import"
        self.push()
        self.assertFalse(ann.mailchimp_opt_in)
        self.assertFalse(
            self.env["res.partner"].search([("email", "=", "gone@firma.be")])
        )

    def test_a_sign_up_lifts_nothing(self):
        now = self.stamp(self.freeze())
        ann = self.contact("Ann")
        ann.mailchimp_opt_in = False
        self.audience.add_member("ann@firma.be", timestamp_opt=now)
        self.push()
        self.contact("Other", "ann@firma.be")
        no = self.env["crm.mailchimp.suppression"].search(
            [("email_normalized", "=", "ann@firma.be")]
        )
        self.assertFalse(no.filtered(lambda one: one.lifted_by == "mailchimp"))


@tagged("post_install", "-at_install")
class TestBlacklist(MailchimpCase):
    """A blacklist entry is a "no"."""

    def prepare(self):
        super().prepare()
        self.link()

    def test_it_leaves_like_an_opt_out(self):
        for number in range(80):
            self.contact(f"C{number}")
        self.push()
        emails = [f"c{number}@firma.be" for number in range(60)]
        self.env["mail.blacklist"].create([{"email": email} for email in emails])
        self.send_opt_outs()
        self.assertEqual({self.status(email) for email in emails}, {"archived"})
        # No brake, as nobody decided to leave these out.
        self.push()

    def test_it_is_remembered_after_the_entry_is_gone(self):
        ann = self.contact("Ann")
        self.push()
        entry = self.env["mail.blacklist"].create({"email": "ann@firma.be"})
        self.push()
        self.assertEqual(self.status("ann@firma.be"), "archived")
        entry.action_archive()
        self.push()
        self.assertEqual(self.status("ann@firma.be"), "archived")
        self.assertEqual(ann.mailchimp_reason, "was_blacklisted")
        ann.mailchimp_opt_in = False
        ann.mailchimp_opt_in = True
        self.push()
        self.assertEqual(self.status("ann@firma.be"), "subscribed")

    def test_nobody_blacklisted_is_imported(self):
        self.env["mail.blacklist"].create({"email": "eve@firma.be"})
        self.audience.add_member("eve@firma.be")
        nina = self.contact("Nina", mailchimp_opt_in=False)
        self.env["mail.blacklist"].create({"email": "nina@firma.be"})
        self.audience.add_member("nina@firma.be")
        self.account.foreign_members = "import"
        self.push("full")
        self.assertFalse(nina.mailchimp_opt_in)
        self.assertFalse(
            self.env["res.partner"].search([("email", "=", "eve@firma.be")])
        )

    def test_the_address_that_unsubscribed_is_blacklisted(self):
        self.account.blacklist_on_unsubscribe = True
        ann = self.contact("Ann")
        self.push()
        self.simulator.advance(60)
        self.audience.unsubscribe("ann@firma.be")
        ann.email = "new@firma.be"
        self.push()
        self.assertFalse(ann.mailchimp_opt_in)
        listed = self.env["mail.blacklist"].search([]).mapped("email")
        self.assertIn("ann@firma.be", listed)
        self.assertNotIn("new@firma.be", listed)
        self.assertEqual(ann.mailchimp_consent_ids[0].email_normalized, "ann@firma.be")


@tagged("post_install", "-at_install")
class TestForgery(MailchimpCase):
    """Consent lines and opt-in dates cannot be written by users."""

    def prepare(self):
        super().prepare()
        self.link()
        self.user = self.env["res.users"].create(
            {
                "name": "Sales",
                "login": "sales-forgery",
                "group_ids": [
                    (4, self.env.ref("sales_team.group_sale_salesman").id),
                    (4, self.env.ref("base.group_partner_manager").id),
                ],
            }
        )
        self.ann = self.contact("Ann", mailchimp_opt_in=False).with_user(self.user)

    def test_the_context_forges_nothing(self):
        forged = {"source": "mailchimp", "said": {self.ann.id: ["x@y.be", "2020", ""]}}
        self.ann.with_context(
            mailchimp_grounds=forged, mailchimp_consent=forged
        ).mailchimp_opt_in = True
        line = self.ann.sudo().mailchimp_consent_ids
        self.assertEqual((line.source, line.user_id), ("user", self.user))
        self.assertEqual(line.email_normalized, "ann@firma.be")

    def test_dates_are_refused(self):
        with self.assertRaisesRegex(UserError, "opt-in date"):
            self.ann.write({"mailchimp_opt_in_date": "2099-01-01 00:00:00"})
        with self.assertRaisesRegex(UserError, "opt-in date"):
            self.ann.create(
                {
                    "name": "New",
                    "mailchimp_opt_in": True,
                    "mailchimp_opt_in_date": "2020-01-01 00:00:00",
                }
            )
        result = (
            self.env["res.partner"]
            .with_user(self.user)
            .load(
                ["name", "mailchimp_opt_in", "mailchimp_opt_in_date"],
                [["Imported", "True", "2099-01-01 00:00:00"]],
            )
        )
        self.assertFalse(result["ids"])
        self.assertIn("opt-in date", result["messages"][0]["message"])

    def test_an_opt_in_of_the_future_is_one_of_now(self):
        self.ann.sudo().write(
            {"mailchimp_opt_in": True, "mailchimp_opt_in_date": "2099-01-01"}
        )
        self.assertLess(
            self.ann.mailchimp_opt_in_date,
            fields.Datetime.now() + timedelta(minutes=1),
        )
        self.push()
        self.simulator.advance(60)
        self.audience.unsubscribe("ann@firma.be")
        self.push()
        self.assertFalse(self.ann.mailchimp_opt_in)

    def test_an_import_and_a_merge_go_on(self):
        result = (
            self.env["res.partner"]
            .with_user(self.user)
            .load(
                ["name", "email", "mailchimp_opt_in"],
                [["Imported", "imported@firma.be", "True"]],
            )
        )
        self.assertTrue(result["ids"], result["messages"])
        one = self.env["res.partner"].browse(result["ids"])
        self.assertTrue(one.mailchimp_opt_in_date)
        two = self.contact("Two", mailchimp_opt_in=False)
        date = one.mailchimp_opt_in_date
        wizard = self.env["base.partner.merge.automatic.wizard"].with_user(self.user)
        wizard._merge((one | two).ids, two.with_user(self.user), extra_checks=False)
        self.assertEqual(two.mailchimp_opt_in_date, date)


@tagged("post_install", "-at_install")
class TestFormerAddress(MailchimpCase):
    """What becomes of the address a contact had."""

    def prepare(self):
        super().prepare()
        self.link()
        self.ann = self.contact("Ann")
        self.push()

    def test_a_stranger_unsubscribes_it_long_after(self):
        self.ann.email = "ann@new.be"
        self.push()
        self.simulator.advance(60 * 86400)
        self.audience.sign_up("ann@firma.be")
        self.push()
        self.simulator.advance(60)
        self.audience.unsubscribe("ann@firma.be")
        self.push()
        self.assertTrue(self.ann.mailchimp_opt_in)
        self.assertEqual(self.ann.mailchimp_status, "in")

    def test_a_stranger_unsubscribes_long_after_the_lane_let_it_go(self):
        """No run saw that the contact had left the address before."""
        self.ann.email = "ann@new.be"
        self.env["mail.blacklist"]._add("ann@firma.be")
        self.send_opt_outs()
        self.assertEqual(self.status("ann@firma.be"), "archived")
        self.push()
        self.simulator.advance(60 * 86400)
        self.audience.unsubscribe("ann@firma.be")
        self.push()
        self.assertTrue(self.ann.mailchimp_opt_in)

    def test_a_contact_that_somebody_holds_locked(self):
        self.simulator.advance(60)
        self.audience.unsubscribe("ann@firma.be")
        self.ann.email = "ann@new.be"
        none = self.env["res.partner"]
        with patch.object(type(none), "try_lock_for_update", lambda *_a, **_kw: none):
            self.push()
        self.assertTrue(self.ann.mailchimp_opt_in)
        self.assertIsNone(self.status("ann@new.be"))
        self.assertEqual(self.ann.mailchimp_reason, "unsubscribed")
        self.push()
        self.assertFalse(self.ann.mailchimp_opt_in)
        self.assertIsNone(self.status("ann@new.be"))
