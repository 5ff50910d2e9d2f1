from collections import Counter

from odoo.tests import tagged

from .common import MailchimpCase
from .test_budget import InsertContacts

BULK = 900
# A contact that waits or whose group is missing is no reason of the status list.
ELSEWHERE = {"segment_missing"}


@tagged("post_install", "-at_install")
class TestNumbers(InsertContacts, MailchimpCase):
    """A thousand contacts with every reason there is: all numbers add up."""

    def setUp(self):
        super().setUp()
        switches = self.simulator.switches
        switches.update(
            fake_addresses=("fake@firma.be",), busy_addresses=("busy@firma.be",)
        )
        self.addCleanup(switches.update, fake_addresses=(), busy_addresses=())
        self.link()
        self.push()

    def say_no(self, email, act):
        self.simulator.advance(60)
        act(email)

    def every_reason(self):
        """Make a contact for each reason, by what makes it in reality."""
        contact, audience = self.contact, self.audience
        self.flag("Ghent", "[('city', '=', 'Ghent')]")
        self.flag("Corp", "[('is_company', '=', True)]")
        self.flag("All", "[]")
        made = {
            "no_opt_in": contact("No", mailchimp_opt_in=False),
            "contact_archived": contact("Gone", active=False),
            "no_address": contact("None", "x@x.be"),
            "invalid_address": contact("Invalid", "a@b@firma.be"),
            "blacklisted": contact("Black"),
            "other_company": contact(
                "Other", company_id=self.env["res.company"].create({"name": "O"}).id
            ),
            "out_of_scope": contact("Scope", city="Nowhere"),
            "fake": contact("Fake"),
            "too_many_signups": contact("Busy"),
            "unsubscribed": contact("Unsub", city="Ghent"),
            "cleaned": contact("Clean", city="Ghent"),
            "forgotten": contact("Forgotten"),
            "archived": contact("Hidden"),
            "opted_out": contact(
                "Sharer",
                "sharer@firma.be",
                mailchimp_opt_in_date="2026-01-01 00:00:00",
            ),
        }
        made["no_address"].email = False
        self.env["mail.blacklist"].create({"email": "black@firma.be"})
        audience.add_member("trans@firma.be", status="transactional")
        made["transactional"] = contact("Trans")
        audience.add_member("bounced@firma.be", status="cleaned", by="person")
        audience.archive("bounced@firma.be")
        first = contact("First", "shared@firma.be")
        first.mailchimp_opt_in_date = "2026-01-01 00:00:00"
        made["shared_address"] = contact("Second", "shared@firma.be")
        self.account.partner_domain = "[('city', '!=', 'Nowhere')]"
        self.push()
        # The rest needs a member to begin with.
        self.say_no("unsub@firma.be", audience.unsubscribe)
        self.say_no("clean@firma.be", audience.clean)
        self.say_no("hidden@firma.be", audience.clean)
        audience.archive("hidden@firma.be")
        self.say_no("forgotten@firma.be", audience.delete_permanently)
        other = contact("Out", "sharer@firma.be")
        other.mailchimp_opt_in = False
        self.account.double_opt_in = True
        made["pending"] = contact("Pending")
        self.push()
        self.account.double_opt_in = False
        self.account.partner_kind = "person"
        made["wrong_kind"] = contact("Corp", is_company=True)
        for field in audience.merge_fields.values():
            field.required = field.tag == "LNAME"
        self.account._set_refs(merge_fields_read=None)
        made["required_field"] = contact("Mononym", "mono@firma.be")
        self.push()
        return made

    def test_all_numbers_add_up(self):
        self.insert_contacts(BULK)
        made = self.every_reason()
        contacts = self.env["res.partner"].with_context(active_test=False)
        Line = self.env["crm.mailchimp.contact.status"].with_context(active_test=False)
        lines = Line.search([])
        self.assertEqual(len(lines), contacts.search_count([]))
        self.assertEqual(len(lines.partner_id), len(lines), "one line a contact")
        groups = Line._read_group([], ["status", "reason"], ["__count"])
        self.assertEqual(sum(count for *_group, count in groups), len(lines))
        for reason, partner in made.items():
            line = lines.filtered(lambda line, p=partner: line.partner_id == p)
            self.assertEqual((line.status, line.reason), ("out", reason))
        for line in lines.filtered(lambda line: line.status == "out"):
            self.assertTrue(line.reason, line.partner_id.name)
            self.assertTrue(line.remedy, line.reason)
        inside = lines.filtered(lambda line: line.status == "in")
        # Members that only Mailchimp knows aside, it counts the same.
        self.assertEqual(
            set(inside.mapped("email")),
            {m.email for m in self.audience.by_status["subscribed"]},
        )
        self.assertGreater(len(inside), BULK // 2)
        not_made = set(dict(Line._fields["reason"].selection)) - set(made) - ELSEWHERE
        # What Mailchimp answers only to requests that tests of their own provoke:
        # see test_errors.py and test_consent.py.
        self.assertLessEqual(not_made, {"compliance", "merge_fields", "other"})

    def test_each_segment_is_explained(self):
        self.insert_contacts(100)
        self.every_reason()
        for segment in self.account.segment_ids:
            lines = self.env["crm.mailchimp.segment.contact"].search(
                [("segment_id", "=", segment.id)]
            )
            self.assertEqual(len(lines), segment.matching_count, segment.name)
            inside = lines.filtered(lambda line: line.status == "in")
            self.assertEqual(len(inside), segment.member_count, segment.name)
            refs = {segment.person_ref, segment.company_ref}
            there = {
                member.email
                for member in self.audience.by_status["subscribed"]
                if refs & set(member.interests)
            }
            self.assertEqual(set(inside.mapped("email")), there, segment.name)
            for line in lines - inside:
                self.assertTrue(line.reason or line.status == "waiting")
                counted = Counter(lines.mapped("reason"))
            self.assertEqual(sum(counted.values()), segment.matching_count)
