from unittest.mock import patch

from odoo.tests import tagged

from ..sync.sending import SendingPhase
from .common import MailchimpCase

try:
    from mailchimp_simulator import problems
except ImportError:  # installed without the repository around it
    problems = None


@tagged("post_install", "-at_install")
class TestFieldsByHand(MailchimpCase):
    """What somebody does to merge fields in Mailchimp, between two runs."""

    def prepare(self):
        super().prepare()
        self.link()
        self.ann = self.contact("Ann", city="Ghent")
        self.bob = self.contact("Bob", city="Paris")
        self.push()

    def delete(self, tag):
        field = self.audience.merge_fields.pop(self.audience.merge_field(tag).merge_id)
        for member in self.audience.members.values():
            member.values.pop(field.merge_id, None)

    def cities(self, tag="CITY"):
        return [
            self.member(f"{name}@firma.be").merge_fields.get(tag)
            for name in ("ann", "bob")
        ]

    def line(self, tag="CITY"):
        return self.account.merge_field_ids.filtered(lambda line: line.tag == tag)

    def assert_quiet(self, kind="push"):
        self.simulator.clear_calls()
        self.push(kind)
        self.assertFalse([c for c in self.simulator.calls if c.method != "GET"])

    def test_deleted_it_comes_back_with_all_values(self):
        self.delete("CITY")
        self.ann.city = "Rome"
        self.push()
        self.assertEqual(self.cities(), ["Rome", "Paris"])
        self.assert_quiet()
        self.assert_quiet("full")

    def test_deleted_when_contacts_are_added(self):
        self.delete("CITY")
        self.contact("Carol", city="Rome")
        self.push()
        self.assertEqual(self.member("carol@firma.be").merge_fields["CITY"], "Rome")
        self.assertEqual(self.cities(), ["Ghent", "Paris"])
        self.assert_quiet()

    def test_deleted_and_not_to_be_made_anew(self):
        self.line().create_missing = False
        self.push()
        self.delete("CITY")
        self.ann.city = "Rome"
        self.push()
        self.assertFalse(self.audience.merge_field("CITY"))
        self.assertFalse(self.line().remote_ref)
        self.assert_quiet()
        # Somebody makes it again there.
        self.audience.add_merge_field("City", "CITY", "text")
        self.push("full")
        self.assertEqual(self.cities(), ["Rome", "Paris"])

    def test_deleted_it_empties_nothing_in_odoo(self):
        self.account.sync_direction = "both"
        self.delete("CITY")
        self.simulator.advance(60)
        self.audience.edit("ann@firma.be", merge_fields={"FNAME": "Anna"})
        self.push()
        self.assertEqual((self.ann.name, self.ann.city), ("Anna", "Ghent"))
        self.assertEqual(self.cities(), ["Ghent", "Paris"])
        self.assert_quiet()

    def test_renamed_it_is_followed(self):
        for direction in ("push", "both"):
            self.account.sync_direction = direction
            before = self.line().tag or self.line("TOWN").tag
            after = {"CITY": "TOWN", "TOWN": "CITY"}[before]
            self.audience.merge_field(before).tag = after
            fields = len(self.audience.merge_fields)
            self.ann.city = direction
            self.push()
            self.assertEqual(len(self.audience.merge_fields), fields, "no twin")
            self.assertEqual(self.cities(after), [direction, "Paris"])
            self.assertEqual(self.line(after).field_path, "city")
            self.assert_quiet()

    def test_renamed_by_somebody_who_edits_a_member_too(self):
        self.account.sync_direction = "both"
        self.audience.merge_field("CITY").tag = "TOWN"
        self.simulator.advance(60)
        self.audience.edit("ann@firma.be", merge_fields={"TOWN": "Rome"})
        self.push()
        self.push("full")
        self.assertEqual(self.ann.city, "Rome")
        self.assertEqual(self.bob.city, "Paris")
        self.assertEqual(self.cities("TOWN"), ["Rome", "Paris"])

    def test_two_that_change_places(self):
        self.audience.merge_field("CITY").tag = "OTHER"
        self.audience.merge_field("COUNTRY").tag = "CITY"
        self.audience.merge_field("OTHER").tag = "COUNTRY"
        self.push("full")
        self.assertEqual(self.line("COUNTRY").field_path, "city")
        self.assertEqual(self.line("CITY").field_path, "country_id.name")
        self.assertEqual(self.cities("COUNTRY"), ["Ghent", "Paris"])
        self.assert_quiet()

    def test_renamed_to_a_tag_that_another_line_fills(self):
        self.line("COUNTRY").create_missing = False
        self.delete("COUNTRY")
        self.push("full")
        self.audience.merge_field("CITY").tag = "COUNTRY"
        self.push("full")
        self.assertEqual(self.cities("CITY"), ["Ghent", "Paris"])
        self.assertEqual(self.line("COUNTRY").field_path, "country_id.name")
        self.assert_quiet()


@tagged("post_install", "-at_install")
class TestGroupsByHand(MailchimpCase):
    """What somebody does to groups and tags in Mailchimp, between two runs."""

    def prepare(self):
        super().prepare()
        self.link()
        self.ann = self.contact("Ann", city="Ghent")
        self.bob = self.contact("Bob", city="Paris")
        self.filter = self.flag("Ghent", "[('city', '=', 'Ghent')]")
        self.push()

    def ours(self):
        return [c for c in self.audience.categories.values() if c.interests]

    def delete_group(self, name="Ghent"):
        for category in self.audience.categories.values():
            for interest in list(category.interests.values()):
                if interest.name == name:
                    del category.interests[interest.id]
                    for member in self.audience.members.values():
                        member.interests -= {interest.id}

    def refused(self):
        return self.ledger("ann@firma.be").reason or self.ledger("bob@firma.be").reason

    def assert_quiet(self, kind="push"):
        self.simulator.clear_calls()
        self.push(kind)
        calls = self.simulator.calls
        self.assertFalse([call for call in calls if call.method != "GET"])
        if kind == "push":
            self.assertFalse([call for call in calls if "/members" not in call.path])

    def test_a_deleted_group_is_found_when_somebody_enters(self):
        self.delete_group()
        self.bob.city = "Ghent"
        self.contact("Carol", city="Ghent")
        run = self.push()
        for name in ("ann", "bob", "carol"):
            self.assertEqual(self.groups(f"{name}@firma.be"), ["Ghent"])
        self.assertFalse(self.refused())
        self.assertFalse((run.counters or {}).get("refused"))
        self.assert_quiet()

    def test_a_deleted_category_too(self):
        self.audience.categories.clear()
        for member in self.audience.members.values():
            member.interests = frozenset()
        self.bob.city = "Ghent"
        self.push()
        self.assertEqual(self.groups("ann@firma.be"), ["Ghent"])
        self.assertEqual(self.groups("bob@firma.be"), ["Ghent"])
        self.assert_quiet()

    def test_a_deleted_group_is_found_by_a_batch(self):
        self.patch(SendingPhase, "BATCH_FROM", 1)
        self.simulator.switches.update(batch_progress="polls")
        self.addCleanup(self.simulator.switches.update, batch_progress="time")
        self.delete_group()
        self.bob.city = "Ghent"
        run, _created = self.account._request_run("push")
        for _tick in range(20):
            self.tick()
            run.resume_at = False
        self.assertEqual(run.state, "done", run.error_message)
        self.assertEqual(self.groups("ann@firma.be"), ["Ghent"])
        self.assertEqual(self.groups("bob@firma.be"), ["Ghent"])

    def test_a_group_there_that_is_refused_all_the_same(self):
        """Whatever the reason is: it is looked for once, and told."""
        refusal = patch(
            "mailchimp_simulator.rules._check_rest",
            side_effect=problems.unknown_interest("x"),
        )
        self.bob.city = "Ghent"
        with refusal:
            self.push()
        self.assertEqual(self.ledger("bob@firma.be").reason, "other")
        self.assertIn("Invalid interest ID", self.ledger("bob@firma.be").reason_text)
        self.assertEqual(self.simulator.count("PATCH", "/lists/*/members/*"), 2)

    def test_renamed_by_hand_it_gets_its_name_back(self):
        (group,) = self.interests()
        group.name = "Somebody's words"
        self.push("full")
        self.assertEqual(self.groups("ann@firma.be"), ["Ghent"])
        self.assert_quiet("full")

    def test_a_renamed_tag_gets_its_name_back(self):
        self.account.segment_target = "tag"
        self.push()
        (tag,) = self.audience.segments.values()
        tag.name = "Somebody's words"
        self.push("full")
        self.assertEqual(tag.name, "Ghent")
        self.assert_quiet("full")

    def test_renamed_to_a_name_that_is_taken(self):
        (category,) = self.ours()
        self.audience.add_interest(category, "Gent")
        self.filter.name = "gent"
        self.push()
        self.assertEqual(self.groups("ann@firma.be"), ["gent (CRM)"])
        self.assertFalse(self.account.segment_ids.error_message)
        self.assert_quiet()

    def test_a_tag_renamed_to_a_name_that_is_taken(self):
        self.account.segment_target = "tag"
        self.push()
        for name in ("Gent", "Gent (CRM)"):
            self.audience.add_tag(name, [])
        self.filter.name = "Gent"
        self.push()
        tags = [tag.name for tag in self.member("ann@firma.be").tags]
        self.assertEqual(tags, ["Gent (CRM) 2"])
        self.assert_quiet()

    def test_long_names_that_are_taken(self):
        name = "G" * 100
        self.account.segment_target = "both"
        self.audience.add_tag(name, [])
        (category,) = self.ours()
        self.audience.add_interest(category, name)
        self.filter.name = name + " and more"
        self.push()
        tags = [tag.name for tag in self.member("ann@firma.be").tags]
        self.assertEqual(tags, ["G" * 94 + " (CRM)"])
        self.assertEqual(self.groups("ann@firma.be"), tags)
        self.assertFalse(self.account.segment_ids.error_message)
        self.assert_quiet()

    def test_no_room_costs_no_calls(self):
        (category,) = self.ours()
        for number in range(59):
            self.audience.add_interest(category, f"Group {number}")
        other = self.flag("Paris", "[('city', '=', 'Paris')]")
        self.push()
        segment = self.account.segment_ids.filtered(lambda s: s.filter_id == other)
        self.assertEqual(segment.state, "full")
        self.assert_quiet()
        # Room that Odoo makes is used at once, other room by the comparison.
        self.filter.mailchimp_sync = False
        self.push()
        self.assertEqual(self.groups("bob@firma.be"), ["Paris"])
        self.assertEqual(segment.state, "active")

    # === WHO SEES THEM === #

    def test_subscribers_do_not_see_the_names_of_filters(self):
        mark = [c for c in self.audience.categories.values() if not c.interests]
        self.assertEqual([c.type for c in self.ours()], ["hidden"])
        for show, kind in ((True, "checkboxes"), (False, "hidden")):
            self.account.show_groups = show
            self.push()
            self.assertEqual([c.type for c in self.ours()], [kind])
            self.assertEqual([c.type for c in mark], ["hidden"])
            self.assertEqual(self.groups("ann@firma.be"), ["Ghent"])
            # What somebody chooses in Mailchimp afterwards stays.
            self.assert_quiet()
        (category,) = self.ours()
        category.type = "dropdown"
        self.push("full")
        self.assertEqual(category.type, "dropdown")

    def test_groups_that_were_made_before_are_hidden_too(self):
        (category,) = self.ours()
        category.type = "checkboxes"
        self.account._set_refs(group_kind=None)
        self.push()
        self.assertEqual(category.type, "hidden")

    def test_hidden_groups_are_no_mark(self):
        titles = {c.title for c in self.audience.categories.values()}
        self.assertEqual(len(titles), 2)
        gateway = self.account._gateway()
        self.addCleanup(gateway.close)
        found = gateway.categories(self.audience.id)
        self.assertEqual([c["title"] for c in found], ["CRM contacts"])
        ((ref, _mark),) = gateway.marks(self.audience.id)
        self.assertNotEqual(ref, found[0]["id"])
        # Without its mark, the audience is not taken for that of the group, nor back.
        del self.audience.categories[ref]
        self.contact("Carol", city="Ghent")
        self.push()
        self.assertEqual(self.groups("carol@firma.be"), ["Ghent"])
        self.assertEqual(len(gateway.marks(self.audience.id)), 1)
        self.assertEqual([c.title for c in self.ours()], ["CRM contacts"])
