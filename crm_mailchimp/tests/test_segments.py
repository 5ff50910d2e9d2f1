import time
from unittest.mock import patch

from lxml import etree

from odoo import fields
from odoo.fields import Domain
from odoo.tests import new_test_user, tagged
from odoo.tools.safe_eval import safe_eval

from ..models import slices
from .common import MailchimpCase, long


@tagged("post_install", "-at_install")
class TestTags(MailchimpCase):
    """Saved filters as tags."""

    def prepare(self):
        super().prepare()
        self.link()
        self.account.segment_target = "tag"
        self.ann = self.contact("Ann", city="Ghent")
        self.bob = self.contact("Bob", city="Paris")
        self.filter = self.flag("Ghent", "[('city', '=', 'Ghent')]")
        self.push()

    def tags(self, email):
        return sorted(tag.name for tag in self.member(email).tags)

    def all_tags(self):
        return sorted(tag.name for tag in self.audience.segments.values())

    def assert_quiet(self):
        self.simulator.clear_calls()
        self.push()
        self.assertFalse([c for c in self.simulator.calls if c.method != "GET"])

    def test_members_enter_and_leave(self):
        self.assertEqual(self.tags("ann@firma.be"), ["Ghent"])
        self.assertEqual(self.tags("bob@firma.be"), [])
        self.assertFalse(self.interests())
        self.assert_quiet()
        self.ann.city, self.bob.city = "Paris", "Ghent"
        self.push()
        self.assertEqual(self.tags("ann@firma.be"), [])
        self.assertEqual(self.tags("bob@firma.be"), ["Ghent"])
        segment = self.account.segment_ids
        self.assertEqual((segment.matching_count, segment.member_count), (1, 1))
        self.assert_quiet()

    def test_who_signs_up_anew_after_a_deletion_is_tagged_again(self):
        self.audience.delete_permanently("ann@firma.be")
        self.push()
        self.simulator.advance(60)
        self.audience.add_member("ann@firma.be")
        self.push()
        self.assertEqual(self.tags("ann@firma.be"), ["Ghent"])
        self.assert_quiet()

    def test_tags_go_with_a_member_to_its_new_address(self):
        self.ann.email = "anna@firma.be"
        self.push()
        self.assertEqual(self.tags("anna@firma.be"), ["Ghent"])
        self.assert_quiet()
        # Another contact gets the address.
        self.bob.write({"email": "ann@firma.be", "city": "Ghent"})
        self.audience.archive("bob@firma.be")
        self.push()
        self.push()
        self.assertEqual(self.tags("ann@firma.be"), ["Ghent"])
        self.ann.city = "Paris"
        self.push()
        self.assertEqual(self.tags("anna@firma.be"), [])
        self.assert_quiet()

    def test_renamed_and_unflagged(self):
        self.filter.name = "Gent"
        self.push()
        self.assertEqual(self.tags("ann@firma.be"), ["Gent"])
        self.filter.mailchimp_sync = False
        self.push()
        self.assertFalse(self.all_tags())
        self.assert_quiet()

    def test_foreign_tags_are_never_touched(self):
        self.audience.add_tag("Paris", ["ann@firma.be"])
        self.flag("Paris", "[('city', '=', 'Paris')]")
        self.push()
        self.assertEqual(self.tags("ann@firma.be"), ["Ghent", "Paris"])
        self.assertEqual(self.tags("bob@firma.be"), ["Paris (CRM)"])

    def test_two_filters_of_one_name(self):
        self.flag(
            "Ghent",
            "[('city', '=', 'Paris')]",
            user_ids=[(6, 0, self.env.ref("base.user_admin").ids)],
        )
        self.push()
        self.assertEqual(len(set(self.all_tags())), 2)

    def test_a_tag_deleted_by_hand_comes_back(self):
        self.audience.segments.clear()
        for member in self.audience.members.values():
            member.tags.clear()
        self.bob.city = "Ghent"
        self.push()
        self.push()
        self.assertEqual(self.tags("ann@firma.be"), ["Ghent"])
        self.assertEqual(self.tags("bob@firma.be"), ["Ghent"])

    def test_the_full_comparison_repairs_tags(self):
        self.audience.untag("ann@firma.be", "Ghent")
        self.audience.tag("bob@firma.be", "Ghent")
        self.push()
        self.assertEqual(self.tags("bob@firma.be"), ["Ghent"])
        run = self.push("full")
        self.assertEqual(self.tags("ann@firma.be"), ["Ghent"])
        self.assertEqual(self.tags("bob@firma.be"), [])
        self.assertEqual(run.counters["repaired"], 2)
        self.assert_quiet()

    def test_groups_become_tags_and_tags_become_groups(self):
        self.account.segment_target = "group"
        self.push()
        self.assertEqual(self.groups("ann@firma.be"), ["Ghent"])
        self.assertFalse(self.all_tags())
        self.account.segment_target = "both"
        self.push()
        self.assertEqual(self.groups("ann@firma.be"), ["Ghent"])
        self.assertEqual(self.tags("ann@firma.be"), ["Ghent"])
        self.account.segment_target = "tag"
        self.push()
        self.assertFalse(self.interests())
        self.assertEqual(self.tags("ann@firma.be"), ["Ghent"])
        self.assert_quiet()

    def test_a_lost_answer_makes_no_second_tag(self):
        self.flag("Paris", "[('city', '=', 'Paris')]")
        self.simulator.fault("POST /lists/*/segments", "drop_applied")
        run = self.push(state="waiting")
        run.resume_at = False
        self.push()
        self.assertEqual(self.all_tags(), ["Ghent", "Paris"])
        self.assertEqual(self.tags("bob@firma.be"), ["Paris"])

    def test_a_refused_tag_is_trouble_of_its_segment(self):
        self.flag("Paris", "[('city', '=', 'Paris')]")
        for status in (400, 403):
            with self.subTest(status):
                contact = self.contact(f"New{status}", city="Rome")
                self.ann.city = "Paris"
                ghent, paris = self.account.segment_ids[:1], "Paris"
                self.simulator.fault(
                    f"POST /lists/*/segments/{ghent.tag_ref}", status=status, times=None
                )
                self.push()
                self.assertEqual(self.account.state, "linked")
                self.assertTrue(ghent.error_message)
                self.assertEqual(ghent.state, "active")
                self.assertEqual(self.tags("ann@firma.be"), ["Ghent", paris])
                self.assertEqual(self.status(contact.email), "subscribed")
                self.simulator.faults.clear()
                self.push()
                self.assertFalse(ghent.error_message)
                self.assertEqual(self.tags("ann@firma.be"), [paris])
                self.ann.city = "Ghent"
                self.push()

    def test_a_tag_that_is_not_created_is_trouble_of_its_segment(self):
        for status in (400, 403, 404):
            with self.subTest(status):
                self.flag(f"P{status}", "[('city', '=', 'Paris')]")
                other = self.flag(f"Q{status}", "[('city', '=', 'Paris')]")
                self.simulator.fault("POST /lists/*/segments", status=status)
                self.push()
                first, second = self.account.segment_ids.filtered(
                    lambda segment, status=status: segment.name[1:] == str(status)
                )
                self.assertTrue(first.error_message)
                self.assertFalse(second.error_message)
                self.assertIn(other.name, self.tags("bob@firma.be"))
                self.push()
                self.assertFalse(first.error_message)
                self.assertIn(first.name, self.tags("bob@firma.be"))

    def test_a_refused_group_is_trouble_of_its_segment(self):
        self.account.segment_target = "group"
        self.flag("There", "[('city', '=', 'Ghent')]")
        self.push()
        first = self.flag("First", "[('city', '=', 'Ghent')]").name
        second = self.flag("Second", "[('city', '=', 'Paris')]").name
        self.simulator.fault(
            "POST /lists/*/interest-categories/*/interests", status=400
        )
        self.contact("New")
        self.push()
        self.assertEqual(self.account.state, "linked")
        self.assertEqual(self.status("new@firma.be"), "subscribed")
        # Several are created at once: either may be the one.
        refused = self.account.segment_ids.filtered("error_message")
        self.assertEqual(len(refused), 1)
        self.assertEqual(refused.state, "active")
        groups = self.groups("ann@firma.be") + self.groups("bob@firma.be")
        self.assertEqual(len({first, second} & set(groups)), 1)
        self.push()
        self.assertFalse(refused.error_message)
        self.assertIn(first, self.groups("ann@firma.be"))
        self.assertIn(second, self.groups("bob@firma.be"))

    def test_new_groups_whose_answers_get_lost_are_there_once(self):
        self.account.segment_target = "group"
        names = {f"S{number}" for number in range(9)}
        for name in names:
            self.flag(name, "[('city', '=', 'Ghent')]")
        route = "POST /lists/*/interest-categories/*/interests"
        self.simulator.fault(route, "drop_applied", times=3, after=2)
        run = self.push(state="waiting")
        run.resume_at = False
        self.tick()
        self.assertEqual(run.state, "done")
        ours = self.groups("ann@firma.be")
        self.assertEqual(sorted(ours), sorted({*names, "Ghent"}))
        self.assertEqual(len(self.interests()), 10)

    def test_a_group_made_by_somebody_else_meanwhile_is_not_taken(self):
        self.account.segment_target = "group"
        self.flag("First", "[('city', '=', 'Ghent')]")
        self.push()
        [category] = [c for c in self.audience.categories.values() if c.interests]
        self.flag("Second", "[('city', '=', 'Ghent')]")
        theirs = self.audience.add_interest(category.id, "Second")
        self.push()
        self.assertNotIn(theirs.id, self.member("ann@firma.be").interests)
        self.assertIn("Second (CRM)", self.groups("ann@firma.be"))

    def test_a_refused_category_is_trouble_of_its_segments(self):
        self.account.segment_target = "group"
        first = self.flag("First", "[('city', '=', 'Ghent')]").name
        self.flag("Second", "[('city', '=', 'Paris')]")
        self.simulator.fault("POST /lists/*/interest-categories", status=403)
        self.contact("New")
        self.push()
        self.assertEqual(self.account.state, "linked")
        self.assertEqual(self.status("new@firma.be"), "subscribed")
        self.assertTrue(all(self.account.segment_ids.mapped("error_message")))
        self.push()
        self.assertFalse(self.account.segment_ids.filtered("error_message"))
        self.assertIn(first, self.groups("ann@firma.be"))

    def test_a_refused_listing_of_groups_holds_up_nobody(self):
        self.account.segment_target = "group"
        self.simulator.fault("GET /lists/*/interest-categories", status=403, times=None)
        self.contact("New", city="Ghent")
        self.push()
        self.assertEqual(self.status("new@firma.be"), "subscribed")
        self.assertTrue(self.account.segment_ids.error_message)
        self.simulator.faults.clear()
        self.push()
        self.assertEqual(self.groups("new@firma.be"), ["Ghent"])
        self.assertFalse(self.account.segment_ids.error_message)

    @long
    def test_many_are_tagged_in_few_calls(self):
        for number in range(1200):
            self.contact(f"C{number}", city="Rome")
        self.flag("Rome", "[('city', '=', 'Rome')]")
        self.simulator.clear_calls()
        self.push()
        self.assertEqual(self.simulator.count("POST", "/lists/*/segments/*"), 3)
        self.assertEqual(self.tags("c777@firma.be"), ["Rome"])


@tagged("post_install", "-at_install")
class TestSlowAnswers(MailchimpCase):
    """Groups, tags and merge fields take as many slices as they need."""

    def prepare(self):
        super().prepare()
        self.link()
        self.ann = self.contact("Ann", city="Ghent")
        self.push()
        self.simulator.clear_calls()

    def names(self):
        """Return the names of the groups of ours, and of all tags."""
        groups = [
            interest.name
            for category in self.audience.categories.values()
            for interest in category.interests.values()
            if category.title.startswith("CRM")
        ]
        tags = [tag.name for tag in self.audience.segments.values()]
        return sorted(groups), sorted(tags)

    @long
    def test_many_categories(self):
        """They are read once, whatever is done to groups."""
        for number in range(12):
            category = self.audience.add_category(f"Category {number}")
            self.audience.add_interest(category.id, f"Group {number}")
        self.flag("Ghent", "[('city', '=', 'Ghent')]")
        self.slow_push("full")
        self.assertEqual(self.groups("ann@firma.be"), ["Ghent"])
        path = "/lists/*/interest-categories/*/interests"
        self.assertEqual(self.simulator.count("GET", path), 12)
        self.simulator.clear_calls()
        self.flag("Cities", "[('city', '!=', False)]")
        self.env["ir.filters"].search([("name", "=", "Ghent")]).name = "Gent"
        self.slow_push("full")
        self.assertEqual(self.groups("ann@firma.be"), ["Cities", "Gent"])
        self.assertEqual(self.simulator.count("GET", path), 13)
        self.assertFalse(self.simulator.violations)

    @long
    def test_a_category_deleted_while_they_are_read(self):
        for number in range(12):
            self.audience.add_category(f"Category {number}")
        self.flag("Ghent", "[('city', '=', 'Ghent')]")
        *_others, last = self.audience.categories.values()

        def on_call(call, point):
            if point == "before" and call.path.endswith(f"{last.id}/interests"):
                self.audience.categories.pop(last.id, None)

        self.addCleanup(self.simulator.on_call(on_call))
        self.slow_push("full")
        self.assertEqual(self.groups("ann@firma.be"), ["Ghent"])

    @long
    def test_many_segments(self):
        """Each group and tag is made, renamed and deleted once."""
        self.account.segment_target = "both"
        filters = [
            self.flag(f"Segment {number}", "[('city', '=', 'Ghent')]")
            for number in range(12)
        ]
        self.slow_push()
        names = sorted(record.name for record in filters)
        self.assertEqual(self.names(), (names, names))
        self.assertEqual(self.simulator.count("POST", "/lists/*/segments"), 12)
        for record in filters:
            record.name = record.name.replace("Segment", "Filter")
        run = self.slow_push()
        names = sorted(record.name for record in filters)
        self.assertEqual(self.names(), (names, names))
        for record in filters:
            record.mailchimp_sync = False
        run = self.slow_push()
        self.assertEqual(self.names(), ([], []))
        self.assertEqual(run.counters["groups_deleted"], 12)
        self.assertEqual(run.counters["tags_deleted"], 12)

    @long
    def test_many_merge_fields(self):
        lines = self.env["crm.mailchimp.merge.field"].create(
            [
                {
                    "account_id": self.account.id,
                    "tag": f"MORE{number}",
                    "name": f"More {number}",
                    "field_path": "city",
                    "create_missing": True,
                }
                for number in range(10)
            ]
        )
        self.slow_push(seconds=2)
        tags = {field.tag for field in self.audience.merge_fields.values()}
        self.assertLessEqual(set(lines.mapped("tag")), tags)
        self.assertTrue(all(lines.mapped("remote_ref")))

    @long
    def test_a_group_created_without_an_answer_is_not_created_again(self):
        """Although its categories were read in a slice before."""
        for number in range(12):
            self.audience.add_category(f"Category {number}")
        self.flag("Ghent", "[('city', '=', 'Ghent')]")
        self.simulator.fault(
            "POST /lists/*/interest-categories/*/interests", "drop_applied"
        )
        self.simulator.latency(base=0.3)
        self.addCleanup(self.simulator.faults.clear)
        run, _created = self.account._request_run("full")
        with patch.object(slices, "end_of_job", lambda: time.monotonic() + 3):
            for _tick in range(20):
                self.tick()
                if run.state == "waiting":
                    break
        self.assertEqual(run.state, "waiting")
        run.resume_at = fields.Datetime.now()
        self.slow_push("full")
        self.assertEqual(self.names()[0], ["Ghent"])
        self.assertEqual(self.groups("ann@firma.be"), ["Ghent"])

    @long
    def test_asked_again_in_the_middle(self):
        """A filter that was flagged after the others were evaluated has its run."""
        for number in range(12):
            self.audience.add_category(f"Category {number}")
        self.flag("Ghent", "[('city', '=', 'Ghent')]")
        self.simulator.latency(base=0.3)
        self.addCleanup(self.simulator.faults.clear)
        run, _created = self.account._request_run("full")
        with patch.object(slices, "end_of_job", lambda: time.monotonic() + 3):
            self.tick()
        self.assertEqual((run.state, run.phase), ("running", "segments"))
        self.assertTrue(run._get_cursor().step)
        self.flag("Cities", "[('city', '!=', False)]")
        self.slow_push()
        self.assertEqual(run.state, "done")
        self.assertEqual(self.groups("ann@firma.be"), ["Cities", "Ghent"])


@tagged("post_install", "-at_install")
class TestDifference(MailchimpCase):
    """Every difference in numbers is explained, down to the contact."""

    def test_each_segment(self):
        self.link()
        self.contact("In", city="Ghent")
        self.contact("No", city="Ghent", mailchimp_opt_in=False)
        self.contact("Bad", "a@b@c.be", city="Ghent")
        first = self.contact("First", "shared@firma.be", city="Ghent")
        second = self.contact("Second", "shared@firma.be", city="Ghent")
        self.contact("Gone", city="Ghent")
        self.flag("Ghent", "[('city', '=', 'Ghent')]")
        self.push()
        self.simulator.advance(60)
        self.audience.unsubscribe("gone@firma.be")
        self.push()
        self.contact("New", city="Ghent")
        segment = self.account.segment_ids
        segment._evaluate()
        lines = self.env["crm.mailchimp.segment.contact"].search(
            [("segment_id", "=", segment.id)]
        )
        self.assertEqual(len(lines), segment.matching_count)
        self.assertEqual(
            len(lines.filtered(lambda line: line.status == "in")), segment.member_count
        )
        found = {line.partner_id.name: (line.status, line.reason) for line in lines}
        self.assertEqual(
            found,
            {
                "In": ("in", False),
                "First": ("in", False),
                "No": ("out", "no_opt_in"),
                "Bad": ("out", "invalid_address"),
                "Second": ("out", "shared_address"),
                "Gone": ("out", "unsubscribed"),
                "New": ("waiting", False),
            },
        )
        shared = lines.filtered(lambda line: line.partner_id == second)
        self.assertEqual(shared.winner_id, first)
        self.assertIn("First", shared.remedy)
        # Each button leads to as many contacts as it says.
        arch = etree.fromstring(segment.get_view(view_type="form")["arch"])
        for button in arch.iterfind(".//button[@name='action_open_difference']"):
            count = segment[button.find("field").get("name")]
            self.assertEqual(len(self.listed(segment, button)), count)

    def listed(self, segment, button):
        """Return the lines that a button of the form leads to."""
        context = safe_eval(button.get("context") or "{}")
        action = segment.with_context(**context).action_open_difference()
        model = self.env[action["res_model"]]
        search = etree.fromstring(model.get_view(view_type="search")["arch"])
        context = action["context"]
        context = safe_eval(context) if isinstance(context, str) else context
        domain = Domain(action["domain"])
        for name in context:
            found = search.find(f".//filter[@name='{name[len('search_default_') :]}']")
            domain &= Domain(safe_eval(found.get("domain") or "[]"))
        return model.search(domain)

    def test_a_group_for_which_there_is_no_room(self):
        self.link()
        category = self.audience.add_category("Mine")
        for number in range(60):
            self.audience.add_interest(category, f"Group {number}")
        self.contact("Ann", city="Ghent")
        self.flag("Ghent", "[('city', '=', 'Ghent')]")
        self.push()
        line = self.env["crm.mailchimp.segment.contact"].search([])
        self.assertEqual((line.status, line.reason), ("waiting", "segment_missing"))

    def test_without_a_group_there_are_no_campaigns(self):
        """As long as nobody matches, or before the first sync: its form opens."""
        self.link()
        self.flag("Nobody", "[('city', '=', 'Nowhere')]")
        self.push()
        segment = self.account.segment_ids
        self.assertFalse(segment.person_ref)
        self.assertEqual(segment.web_read({"campaign_ids": {}})[0]["campaign_ids"], [])

    def test_the_last_campaigns_to_it(self):
        """Those sent to its group, to its tag, and no other."""
        self.link()
        self.account.segment_target = "both"
        self.contact("Ann", city="Ghent")
        self.flag("Ghent", "[('city', '=', 'Ghent')]")
        self.push()
        segment = self.account.segment_ids
        self.assertEqual(segment.member_count, 1)
        interests = {
            "condition_type": "Interests",
            "field": "interests-1",
            "op": "interestcontains",
            "value": [segment.person_ref],
        }
        for title, options in (
            ("Group", {"match": "any", "conditions": [interests]}),
            ("Tag", {"saved_segment_id": int(segment.tag_ref)}),
            (
                "Others",
                {"conditions": [{**interests, "op": "interestnotcontains"}]},
            ),
            ("Everybody", None),
        ):
            campaign = self.audience.add_campaign(title=title, segment_opts=options)
            self.audience.send_campaign(campaign, ["ann@firma.be"])
        draft = self.audience.add_campaign(
            title="Draft", segment_opts={"saved_segment_id": int(segment.tag_ref)}
        )
        self.push("stats")
        self.assertEqual(set(segment.campaign_ids.mapped("name")), {"Group", "Tag"})
        known = self.env["crm.mailchimp.campaign"].search([])
        self.assertIn(draft.title, known.mapped("name"))
        user = new_test_user(self.env, "sam", groups="sales_team.group_sale_salesman")
        action = segment.with_user(user).action_create_campaign()
        self.assertIn(".admin.mailchimp.com/#/create-campaign", action["url"])
