import itertools
import math

from lxml import etree

from odoo.tests import tagged
from odoo.tools import SQL
from odoo.tools.safe_eval import safe_eval

from ..models.crm_mailchimp_contact_status import REASONS
from ..sync.compare import Compare
from ..sync.member_values import MemberValues
from .common import MailchimpCase, long
from .test_budget import InsertContacts

# Only lines of a segment have it: a contact's own line does not look at groups.
ELSEWHERE = {"segment_missing", "not_taken"}
RENAMED = "renamed@other.example"
MADE = {
    "No opt-in": "no_opt_in",
    "Archived in Odoo": "contact_archived",
    "No address": "no_address",
    "Not valid": "invalid_address",
    "Blacklisted": "blacklisted",
    "Not listed any more": "was_blacklisted",
    "Other company": "other_company",
    "Wrong kind": "wrong_kind",
    "Out of scope": "out_of_scope",
    "Stays": "opted_out",
    "Sharer": "shared_address",
    "Without a city": "required_field",
    "Stands there": "transactional",
    "Long gone": "archived",
    "Bounces": "cleaned",
    "Forgotten": "forgotten",
    "Renamed": "renamed",
    "Never confirms": "not_confirmed",
    "Comes back": "unsubscribed",
    "Is refused": "other",
    "Fake": "fake",
    "Busy": "too_many_signups",
    "Pending": "pending",
    "Compliance": "compliance",
    "No number": "merge_fields",
}


@tagged("post_install", "-at_install")
class TestNumbers(InsertContacts, MailchimpCase):
    """A thousand contacts with every reason there is: all numbers add up."""

    def prepare(self):
        super().prepare()
        self.populate()

    def subscribed(self, refs=None):
        """Return the addresses Mailchimp has subscribed, or those in a group of it."""
        return {
            member.email
            for member in self.audience.by_status["subscribed"]
            if refs is None or refs & set(member.interests)
            # The person of "Renamed", whose contact still has the former address.
            if member.email != RENAMED
        }

    def populate(self):
        """Bring about every reason, as people and Mailchimp bring it about."""
        # What the audience has and requires before it is linked.
        self.audience.add_merge_field("City", "CITY", "text", required=True)
        self.link()
        self.account.partner_kind = "person"
        self.account.partner_domain = "[('city', '!=', 'Elsewhere')]"
        self.insert_contacts(900)
        for name, domain in (
            ("Everybody", "[('email', 'like', '@')]"),
            ("Ghent", "[('city', '=', 'Ghent')]"),
            ("City 7", "[('city', '=', 'City 7')]"),
        ):
            self.flag(name, domain)

        def person(name, **values):
            return self.contact(name, **{"city": "Ghent", **values})

        # What Odoo knows by itself.
        self.env["res.partner"].create(
            [{"name": f"No {n}", "email": f"no{n}@firma.be"} for n in range(50)]
        )
        person("No opt-in", mailchimp_opt_in=False)
        person("Archived in Odoo", active=False)
        person("No address").email = False
        person("Not valid", email="a@b@c.example")
        person("Blacklisted")
        self.env["mail.blacklist"].create({"email": "blacklisted@firma.be"})
        person("Not listed any more")
        self.env["mail.blacklist"].create({"email": "not.listed.any.more@firma.be"})
        self.env["mail.blacklist"]._remove("not.listed.any.more@firma.be")
        person(
            "Other company",
            company_id=self.env["res.company"].create({"name": "Other"}).id,
        )
        person("Wrong kind", is_company=True)
        person("Out of scope", city="Elsewhere")
        person("Winner", email="shared@firma.be")
        person("Sharer", email="shared@firma.be")
        person("Stays", email="left@firma.be").mailchimp_opt_in_date = "2026-01-01"
        person("Leaves", email="left@firma.be").mailchimp_opt_in = False
        person("Without a city", city=False)
        # What Mailchimp knows, or does, before the first run.
        self.audience.add_member("stands.there@firma.be", status="transactional")
        person("Stands there")
        self.audience.add_member("long.gone@firma.be")
        self.audience.archive("long.gone@firma.be")
        person("Long gone")
        for name in ("Bounces", "Forgotten", "Comes back", "Is refused", "Renamed"):
            person(name)
        person("Fake")
        person("Busy")
        self.simulator.switches.update(
            fake_addresses=("fake@firma.be",), busy_addresses=("busy@firma.be",)
        )
        self.addCleanup(
            self.simulator.switches.update, fake_addresses=(), busy_addresses=()
        )
        self.push("full")

        # What happens to members.
        self.simulator.advance(60)
        self.audience.bounce("bounces@firma.be", kind="hard")
        self.audience.delete_permanently("forgotten@firma.be")
        self.audience.unsubscribe("comes.back@firma.be")
        self.audience.unsubscribe("p1@firma.be")
        self.push("full")
        again = self.env["res.partner"].search([("name", "=", "Comes back")])
        self.assertFalse(again.mailchimp_opt_in)
        again.mailchimp_opt_in = True

        # One run each for what Mailchimp says to new people.
        self.account.double_opt_in = True
        person("Pending")
        person("Never confirms")
        self.audience.change_address("renamed@firma.be", RENAMED)
        self.push()
        self.account.double_opt_in = False
        self.audience.expire("never.confirms@firma.be")
        self.simulator.switches.update(account_review="refuse")
        self.addCleanup(self.simulator.switches.update, account_review="")
        person("Compliance")
        self.push("full")
        self.simulator.switches.update(account_review="")
        city = next(
            field
            for field in self.audience.merge_fields.values()
            if field.tag == "CITY"
        )
        person("No number")
        with self.before_subscribing(lambda: setattr(city, "type", "number")):
            self.push()
        city.type = "text"
        self.simulator.advance(60)
        refused = self.env["res.partner"].search([("name", "=", "Is refused")])
        refused.mailchimp_opt_in = False
        self.send_opt_outs()
        refused.mailchimp_opt_in = True
        self.simulator.fault("PATCH /lists/*/members/*", "status", status=400)
        self.push()

    @long
    def test_all_numbers_add_up(self):
        Line = self.env["crm.mailchimp.contact.status"]
        contacts = self.env["res.partner"].with_context(active_test=False).search([])
        lines = Line.search([("account_id", "=", self.account.id)])
        self.assertGreater(len(contacts), 900)
        self.assertEqual(set(lines.partner_id.ids), set(contacts.ids))
        self.assertEqual(len(lines), len(contacts), "one line a contact")
        groups = Line._read_group(
            [("account_id", "=", self.account.id)], ["status", "reason"], ["__count"]
        )
        self.assertEqual(sum(count for *_group, count in groups), len(contacts))
        self.assertEqual(
            {reason for _status, reason, _count in groups if reason},
            {reason for reason, _label in REASONS} - ELSEWHERE,
        )
        by_name = {line.partner_id.name: line for line in lines}
        self.assertEqual({name: by_name[name].reason for name in MADE}, MADE)
        self.assertFalse(lines.filtered(lambda line: line.status == "waiting"))
        for line in lines.filtered(lambda line: line.status == "out"):
            self.assertTrue(line.reason, line.partner_id.name)
            self.assertTrue(line.remedy, line.reason)
        # A contact's own form, which looks at few contacts, says the same as the list.
        self.assertEqual(
            [(p.mailchimp_status, p.mailchimp_reason) for p in lines.partner_id],
            [(line.status, line.reason) for line in lines],
        )
        inside = lines.filtered(lambda line: line.status == "in")
        self.assertFalse(inside.filtered("reason"))
        self.assertEqual(len(inside), len(self.subscribed()))
        self.assertEqual(set(inside.mapped("email")), self.subscribed())

    @long
    def test_each_group_has_a_name(self):
        """Grouped by reason, who has none has the name of the status."""
        for model in ("contact.status", "segment.contact"):
            Line = self.env[f"crm.mailchimp.{model}"]
            search = etree.fromstring(Line.get_view(view_type="search")["arch"])
            context = search.xpath("//filter[@name='group_reason']/@context")[0]
            name = safe_eval(context)["group_by"]
            names = dict(Line._fields[name]._description_selection(self.env))
            groups = Line.formatted_read_group([], [name], ["__count"])
            self.assertEqual(sum(g["__count"] for g in groups), Line.search_count([]))
            self.assertIn("In Mailchimp", [names[group[name]] for group in groups])
            for group in groups:
                lines = Line.search(group["__extra_domain"])
                self.assertEqual(len(lines), group["__count"], group[name])
                self.assertEqual(
                    set(lines.mapped(name)), {group[name]}, "as each line reads"
                )
            offered = Line.fields_get(["reason", name], ["groupable"])
            self.assertFalse(offered["reason"]["groupable"])
            self.assertTrue(offered[name]["groupable"])

    @long
    def test_each_segment_is_explained(self):
        self.assertEqual(len(self.account.segment_ids), 3)
        for segment in self.account.segment_ids:
            lines = self.env["crm.mailchimp.segment.contact"].search(
                [("segment_id", "=", segment.id)]
            )
            # As who flagged it sees it: without contacts of another company.
            contacts = self.env["res.partner"].with_user(segment.owner_id)
            matching = contacts.with_context(
                allowed_company_ids=self.company.ids
            ).search(safe_eval(segment.filter_id.domain))
            self.assertEqual(set(lines.partner_id.ids), set(matching.ids))
            self.assertEqual(len(lines), segment.matching_count, segment.name)
            there = self.subscribed({segment.person_ref, segment.company_ref})
            self.assertTrue(there, segment.name)
            inside = lines.filtered(lambda line: line.status == "in")
            self.assertEqual(set(inside.mapped("email")), there, segment.name)
            self.assertEqual(len(inside), segment.member_count, segment.name)
            self.assertEqual(len(lines - inside), segment.missing_count, segment.name)
            for line in lines - inside:
                self.assertTrue(line.reason, line.email)
                self.assertTrue(line.remedy, line.reason)


@tagged("post_install", "-at_install")
class TestEveryState(InsertContacts, MailchimpCase):
    """The status list promises what the next run does, whatever the ledger holds."""

    def fill_ledger(self):
        """Insert a contact and a member for each state an address can be in.

        :return: how many there are
        """
        Member = self.env["crm.mailchimp.member"]
        statuses = [None, *dict(Member._fields["status"].selection)]
        reasons = [None, *dict(Member._fields["reason"].selection)]
        states = list(
            itertools.product(
                statuses,
                (None, "subscribed", "pending", "unsubscribed"),
                (None, "odoo", "mailchimp"),
                reasons,
                (None, "2020-01-01"),  # since when it may be tried again
                (False, True),  # whether the values are those that were refused
            )
        )
        self.insert_contacts(len(states))
        partners = self.env["res.partner"].search(
            [("mailchimp_opt_in", "=", True)], order="id"
        )
        self.env.cr.execute_values(
            """INSERT INTO crm_mailchimp_member
                      (account_id, origin, partner_id, email_normalized, status,
                       status_before, archived_by, reason, next_try, values_refused)
               VALUES %s""",
            [
                (
                    *(self.account.id, "odoo", partner.id, partner.email_normalized),
                    *(status, before, by, reason, next_try),
                    "{}" if refused else None,
                )
                for partner, (status, before, by, reason, next_try, refused) in zip(
                    partners, states, strict=True
                )
            ],
        )
        self.env.invalidate_all()
        # The values of a contact are known once there is a row to read them for.
        reader = MemberValues(self.account)
        Member._update_rows(
            ("values_refused", "wanted"),
            [
                (row[0], reader.desired(row), True)
                for row in reader.chunk(
                    SQL("m.values_refused IS NOT NULL"), len(states)
                )
            ],
        )
        return len(states)

    @long
    def test_what_the_list_promises_is_what_a_run_does(self):
        self.link()
        # A required value that nobody has.
        self.account._set_refs(required_tags=["SHOP"])
        count = self.fill_ledger()
        lines = self.env["crm.mailchimp.contact.status"].search(
            [("email", "like", "@firma.be"), ("status", "!=", False)]
        )
        promised = {line.member_id: line.status for line in lines if line.member_id}
        self.assertEqual(len(promised), count)
        reasons = {line.member_id: line.reason for line in lines}
        run = self.env["crm.mailchimp.run"].create(
            {"account_id": self.account.id, "kind": "full", "state": "running"}
        )
        self.patch(type(run), "_commit", lambda run: run.env.flush_all())
        Compare(run, None, math.inf).work()
        self.env.invalidate_all()
        seen, wrong = set(), []
        for member, status in promised.items():
            planned = member.operation
            seen.add((status, planned))
            is_kept = (
                (status == "waiting") == (planned in ("create", "restore"))
                and (status == "in") == (member.status == "subscribed")
                # Who is neither in nor on the way has a reason.
                and (status != "out" or reasons[member])
            )
            if not is_kept:
                names = ("status", "status_before", "archived_by", "reason")
                state = [member[name] for name in names]
                wrong.append((state, status, reasons[member], planned))
        self.assertFalse(wrong)
        # All kinds of ends are among them.
        self.assertLessEqual(
            {
                ("waiting", "create"),
                ("waiting", "restore"),
                ("out", "inquire"),
                ("out", False),
                ("in", False),
            },
            seen,
        )
