import time
from unittest.mock import patch

from odoo.tests import tagged

from ..models import slices
from ..sync import push, sending
from ..sync.sending import SendingPhase
from .common import MailchimpCase

# Mailchimp takes addresses of at most 254 characters.
LONGEST = f"evely@{'a' * 59}.{'b' * 59}.{'c' * 59}.{'d' * 59}.firma.be"


@tagged("post_install", "-at_install")
class TestPush(MailchimpCase):
    """What reaches Mailchimp, and what does not."""

    def prepare(self):
        super().prepare()
        self.link()

    def test_a_contact_becomes_a_member_with_its_values(self):
        self.contact(
            "Ann van der Lee",
            city="Ghent",
            country_id=self.env.ref("base.be").id,
            gender="female",
            phone="+32 9 123 45 67",
        )
        run = self.push()
        member = self.member("ann.van.der.lee@firma.be")
        self.assertEqual(member.status, "subscribed")
        values = member.merge_fields
        self.assertEqual(values["FNAME"], "Ann")
        self.assertEqual(values["LNAME"], "van der Lee")
        self.assertEqual(values["CITY"], "Ghent")
        self.assertEqual(values["COUNTRY"], "Belgium")
        self.assertEqual(values["GENDER"], "Female")
        self.assertEqual(run.counters["created"], 1)

    def test_a_company_has_its_name_as_first_name(self):
        self.contact("Big Corp Ltd", "info@bigcorp.be", is_company=True)
        self.push()
        values = self.member("info@bigcorp.be").merge_fields
        self.assertEqual((values["FNAME"], values["LNAME"]), ("Big Corp Ltd", ""))

    def test_who_is_not_sent_and_why(self):
        contacts = {
            "no_opt_in": self.contact("No Optin", mailchimp_opt_in=False),
            "contact_archived": self.contact("Gone", active=False),
            "no_address": self.contact("No Address", "x@x.be"),
            "invalid_address": self.contact("Two Ats", "a@b@firma.be"),
            "blacklisted": self.contact("Black"),
            "other_company": self.contact(
                "Other",
                company_id=self.env["res.company"].create({"name": "Other"}).id,
            ),
        }
        contacts["no_address"].email = False
        self.env["mail.blacklist"].create({"email": "black@firma.be"})
        self.push()
        self.assertFalse(self.audience.members)
        for reason, partner in contacts.items():
            self.assertEqual(
                (partner.mailchimp_status, partner.mailchimp_reason), ("out", reason)
            )

    def test_addresses_the_normaliser_made_up_are_not_sent(self):
        for email in (
            "a@b@c.com",
            "a@exa mple.com",
            "a@example",
            "\u200bhidden@firma.be",
            "é@firma.be",
            LONGEST.replace("@", "a@"),
        ):
            self.contact("Bad", email)
        good = {
            "Ann Lee <Ann.Lee@Firma.be>": "ann.lee@firma.be",
            "bob@firma.be, carl@firma.be": "bob@firma.be",
            '"x@y" <dan@firma.be>': "dan@firma.be",
            LONGEST: LONGEST,
        }
        for email in good:
            self.contact("Good", email)
        self.push()
        self.assertEqual(set(self.audience.members), set(good.values()))

    def test_sharers_of_an_address(self):
        late = self.contact("Late", "shared@firma.be")
        late.mailchimp_opt_in_date = "2026-02-01 00:00:00"
        early = self.contact("Early", "shared@firma.be")
        early.mailchimp_opt_in_date = "2026-01-01 00:00:00"
        self.assert_stands(early, "Early")
        self.assertEqual(late.mailchimp_reason, "shared_address")
        company = self.contact("Company", "shared@firma.be", is_company=True)
        self.assert_stands(company, "Company")
        self.assertEqual(early.mailchimp_reason, "shared_address")
        company.active = False
        self.assert_stands(early, "Early")

    def assert_stands(self, partner, name):
        """Check who stands for an address after a run, and after another one."""
        self.push()
        self.simulator.clear_calls()
        self.push()
        self.assertFalse(
            [call for call in self.simulator.calls if call.method != "GET"]
        )
        self.assertEqual(self.member("shared@firma.be").merge_fields["FNAME"], name)
        self.assertEqual(partner.mailchimp_status, "in")

    def test_a_change_is_one_patch_of_what_changed(self):
        partner = self.contact("Ann", city="Ghent")
        self.push()
        partner.city = "Bruges"
        self.simulator.clear_calls()
        self.push()
        (patch,) = [
            call
            for call in self.simulator.calls
            if call.method == "PATCH" and "/members/" in call.path
        ]
        self.assertEqual(patch.body, {"merge_fields": {"CITY": "Bruges"}})
        self.assertEqual(self.member("ann@firma.be").merge_fields["CITY"], "Bruges")

    def test_an_edit_in_mailchimp_is_set_back(self):
        self.contact("Ann", city="Ghent")
        self.push()
        self.simulator.advance(1)
        self.audience.edit("ann@firma.be", merge_fields={"CITY": "Paris"})
        self.push()
        self.assertEqual(self.member("ann@firma.be").merge_fields["CITY"], "Ghent")

    def test_a_value_that_was_refused_keeps_nobody_from_coming_back(self):
        for name, field in (("Ann", "active"), ("Bob", "mailchimp_opt_in")):
            with self.subTest(field):
                partner = self.contact(name)
                self.push()
                self.simulator.fault("PATCH /lists/*/members/*", status=400)
                partner.city = "Bruges"
                self.push()
                self.assertEqual(partner.mailchimp_reason, "other")
                partner[field] = False
                self.send_opt_outs()
                self.push()
                self.assertEqual(self.status(partner.email), "archived")
                self.simulator.advance(60)
                partner[field] = True
                self.push()
                self.assertEqual(self.status(partner.email), "subscribed")
                self.push()
                values = self.member(partner.email).merge_fields
                self.assertEqual(values["CITY"], "Bruges")

    def test_who_leaves_is_archived_never_erased(self):
        leavers = {
            "opt-out": lambda partner: partner.write({"mailchimp_opt_in": False}),
            "archived": lambda partner: partner.write({"active": False}),
            "deleted": lambda partner: partner.unlink(),
            "no address": lambda partner: partner.write({"email": False}),
        }
        partners = {}
        for name in leavers:
            partners[name] = self.contact(name, f"{name.replace(' ', '')}@firma.be")
        self.push()
        for name, leave in leavers.items():
            leave(partners[name])
        self.push()
        self.assertEqual(
            {self.status(f"{name.replace(' ', '')}@firma.be") for name in leavers},
            {"archived"},
        )

    def test_groups_for_people_and_companies(self):
        self.contact("Ann", city="Ghent")
        self.contact("Bob", city="Paris")
        self.contact("Corp", "corp@firma.be", is_company=True, city="Ghent")
        record = self.flag("Ghent", "[('city', '=', 'Ghent')]")
        self.push()
        self.assertEqual(self.groups("ann@firma.be"), ["Ghent"])
        self.assertEqual(self.groups("corp@firma.be"), ["Ghent"])
        self.assertEqual(self.groups("bob@firma.be"), [])
        self.assertEqual(
            sorted(
                category.title
                for category in self.audience.categories.values()
                if category.interests
            ),
            ["CRM companies", "CRM contacts"],
        )
        segment = self.account.segment_ids
        self.assertEqual((segment.matching_count, segment.member_count), (2, 2))
        record.name = "Gent"
        self.push()
        self.assertEqual(self.groups("ann@firma.be"), ["Gent"])

    def test_members_enter_and_leave_groups(self):
        ann = self.contact("Ann", city="Ghent")
        bob = self.contact("Bob", city="Paris")
        self.flag("Ghent", "[('city', '=', 'Ghent')]")
        self.push()
        ann.city, bob.city = "Paris", "Ghent"
        self.push()
        self.assertEqual(self.groups("ann@firma.be"), [])
        self.assertEqual(self.groups("bob@firma.be"), ["Ghent"])

    def test_an_unflagged_filter_takes_its_group_away(self):
        self.contact("Ann", city="Ghent")
        record = self.flag("Ghent", "[('city', '=', 'Ghent')]")
        self.push()
        record.mailchimp_sync = False
        self.push()
        self.assertFalse(self.interests())
        self.assertEqual(self.account.segment_ids.state, "withdrawn")

    def test_foreign_groups_are_never_adopted(self):
        category = self.audience.add_category("CRM contacts")
        interest = self.audience.add_interest(category, "Ghent")
        self.contact("Ann", city="Ghent")
        self.flag("Ghent", "[('city', '=', 'Ghent')]")
        self.push()
        member = self.member("ann@firma.be")
        self.assertNotIn(interest.id, member.interests)
        self.assertIn(
            "CRM contacts (CRM)",
            [category.title for category in self.audience.categories.values()],
        )

    def test_groups_beyond_the_limit_are_named(self):
        category = self.audience.add_category("Mine")
        for number in range(59):
            self.audience.add_interest(category, f"Group {number}")
        self.contact("Ann", city="Ghent")
        self.flag("A Ghent", "[('city', '=', 'Ghent')]")
        self.flag("B Ghent", "[('city', '=', 'Ghent')]")
        self.push()
        self.assertEqual(self.groups("ann@firma.be"), ["A Ghent"])
        states = {s.name: s.state for s in self.account.segment_ids}
        self.assertEqual(states, {"A Ghent": "active", "B Ghent": "full"})
        refused = [c for c in self.simulator.calls if c.status and c.status >= 400]
        self.assertFalse(refused, "the limit is known before the call")

    def test_a_filter_on_leads(self):
        ann = self.contact("Ann")
        self.contact("Bob")
        self.env["crm.lead"].create({"name": "Deal", "partner_id": ann.id})
        self.flag("Has a deal", "[('name', '=', 'Deal')]", model="crm.lead")
        self.push()
        self.assertEqual(self.groups("ann@firma.be"), ["Has a deal"])
        self.assertEqual(self.groups("bob@firma.be"), [])

    def test_a_broken_filter_keeps_its_last_members(self):
        self.contact("Ann", city="Ghent")
        record = self.flag("Ghent", "[('city', '=', 'Ghent')]")
        self.push()
        self.env.cr.execute(
            "UPDATE ir_filters SET domain = %s WHERE id = %s",
            ("[('no_such_field', '=', 1)]", record.id),
        )
        self.env.invalidate_all()
        self.push()
        self.assertEqual(self.groups("ann@firma.be"), ["Ghent"])
        segment = self.account.segment_ids
        self.assertEqual(segment.state, "broken")
        self.assertIn("no_such_field", segment.error_message)

    def test_a_member_that_was_there_is_claimed_with_its_own_values(self):
        self.audience.add_member(
            "ann@firma.be", merge_fields={"FNAME": "Ann", "LNAME": "Lee"}
        )
        self.audience.add_member("stranger@firma.be", merge_fields={"FNAME": "S"})
        self.contact("Ann Lee", "ann@firma.be")
        self.push("full")
        self.assertEqual(self.ledger("ann@firma.be").origin, "claimed")
        self.assertEqual(self.ledger("stranger@firma.be").origin, "foreign")
        self.simulator.clear_calls()
        self.push()
        writes = [call for call in self.simulator.calls if call.method != "GET"]
        self.assertFalse(writes)

    def test_double_opt_in(self):
        self.account.double_opt_in = True
        partner = self.contact("Ann")
        self.push()
        self.assertEqual(self.status("ann@firma.be"), "pending")
        self.assertEqual(partner.mailchimp_reason, "pending")
        self.audience.confirm("ann@firma.be")
        self.push()
        self.assertEqual(partner.mailchimp_status, "in")

    def test_the_brake(self):
        for number in range(120):
            self.contact(f"C{number}", city="Ghent")
        self.push()
        self.account.partner_domain = "[('city', '=', 'Paris')]"
        run = self.push(state="brake")
        self.assertIn("120", run.error_message)
        self.assertEqual(self.status("c1@firma.be"), "subscribed")
        # An opt-out waits for no brake.
        partner = self.env["res.partner"].search([("email", "=", "c1@firma.be")])
        partner.mailchimp_opt_in = False
        self.send_opt_outs()
        self.assertEqual(self.status("c1@firma.be"), "archived")
        self.assertEqual(self.status("c2@firma.be"), "subscribed")
        run.action_confirm_archiving()
        self.tick()
        self.assertEqual(run.state, "done")
        self.assertEqual(self.status("c2@firma.be"), "archived")

    def test_many_changes_go_by_batch_operations(self):
        for number in range(30):
            self.contact(f"C{number}", city="Ghent")
        self.push()
        partners = self.env["res.partner"].search([("city", "=", "Ghent")])
        partners.filtered("mailchimp_opt_in").city = "Bruges"
        self.simulator.clear_calls()
        with self.batch_from(10):
            run = self.push(state="waiting")
            for _tick in range(10):
                self.simulator.advance(600)
                run.resume_at = False
                self.tick()
        self.assertEqual(run.state, "done", run.error_detail)
        self.assertFalse(self.simulator.count("PATCH", "*/members/*"))
        self.assertEqual(self.member("c7@firma.be").merge_fields["CITY"], "Bruges")

    def test_many_batches_and_slow_answers(self):
        """What one slice took in, the next one does not ask for again."""
        people = self.env["res.partner"].union(
            *(self.contact(f"C{number}", city="Ghent") for number in range(30))
        )
        self.push()
        people.city = "Bruges"
        with self.batch_from(1), patch.object(sending, "BATCH", 1):
            run = self.push(state="waiting")
            self.assertEqual(len(run._get_cursor().batches), 30)
            self.simulator.advance(600)
            self.simulator.clear_calls()
            run.resume_at = False
            self.simulator.latency(base=0.3, route="GET /batches/*")
            self.addCleanup(self.simulator.faults.clear)
            with patch.object(slices, "end_of_job", lambda: time.monotonic() + 1.5):
                for _tick in range(20):
                    self.tick()
                    self.assertFalse(run.error_message)
                    run.resume_at = False
                    if not run.is_open:
                        break
        self.assertEqual(run.state, "done", run.error_detail)
        self.assertEqual(run.counters["updated"], 30)
        self.assertEqual(self.simulator.count("GET", "/batches/*"), 30)
        self.assertEqual(self.member("c7@firma.be").merge_fields["CITY"], "Bruges")

    def batch_from(self, number):
        return patch.object(SendingPhase, "BATCH_FROM", number)

    def test_what_changes_during_a_run_goes_with_the_next(self):
        self.contact("Ann")
        run, _created = self.account._request_run("push")
        with (
            patch.object(slices, "SLICE_SECONDS", 0),
            patch.object(push, "PHASE_SECONDS", 0),
        ):
            while run.phase != "send":
                self.tick()
        self.contact("Bob")
        for _press in range(2):
            self.account.action_sync_now()
        self.assertEqual(self.account.open_run_id, run)
        following = self.account.run_ids.filtered("is_open") - run
        self.assertEqual(following.state, "queued")
        for _tick in range(2):
            self.tick()
        self.assertEqual((run + following).mapped("state"), ["done", "done"])
        self.assertEqual(run.summary, "Added: 1, Merge fields created: 3")
        self.assertEqual(following.summary, "Added: 1")
        self.assertEqual(self.status("bob@firma.be"), "subscribed")

    # === THE WEEKLY COMPARISON === #

    def quiet_change(self, email, **values):
        """Let a member differ without Mailchimp telling of it in its changes."""
        member = self.member(email)
        for merge_id, field in self.audience.merge_fields.items():
            if field.tag in values:
                member.values[merge_id] = values[field.tag]
        member.last_changed -= 7200
        self.audience.ordered = False

    def test_the_comparison_finds_and_repairs_what_no_change_tells(self):
        ann = self.contact("Ann", city="Ghent")
        self.flag("Ghent", "[('city', '=', 'Ghent')]")
        self.push()
        self.quiet_change("ann@firma.be", CITY="Paris")
        self.audience.categories.clear()
        self.push()
        self.assertEqual(self.member("ann@firma.be").merge_fields["CITY"], "Paris")
        self.account.action_resync()
        run = self.account.open_run_id
        self.tick()
        self.assertEqual(run.state, "done")
        self.assertEqual(self.member("ann@firma.be").merge_fields["CITY"], "Ghent")
        self.assertEqual(self.groups("ann@firma.be"), ["Ghent"])
        self.assertEqual(run.counters["repaired"], 2)
        self.assertIn("Differences found and fixed: 2", run.summary)
        self.assertIn("Differences: 2", self.account.message_ids[0].body)
        self.assertEqual(ann.mailchimp_status, "in")

    def test_it_comes_by_itself_every_week(self):
        self.push()
        Run = self.env["crm.mailchimp.run"]
        self.env.cr.execute(
            "UPDATE crm_mailchimp_run SET create_date = create_date - INTERVAL '2 days'"
        )
        Run.invalidate_model()
        self.tick()
        self.assertEqual(Run.search([], limit=1).kind, "push")
        self.env.cr.execute(
            "UPDATE crm_mailchimp_run SET create_date = create_date - INTERVAL '8 days'"
        )
        Run.invalidate_model()
        self.tick()
        run = Run.search([], limit=1)
        self.assertEqual((run.kind, run.state), ("full", "done"))
        self.assertEqual(run.summary, "Nothing to do")
