import time
from collections import Counter
from datetime import timedelta
from itertools import product
from unittest.mock import patch

from odoo import fields
from odoo.exceptions import UserError
from odoo.tests import tagged

from ..engine import transport
from ..models import slices
from ..sync.members import MemberPhase
from .common import MailchimpCase, long
from .test_budget import InsertContacts

REFUSAL = "Not Rome."


@tagged("post_install", "-at_install")
class TestPreview(InsertContacts, MailchimpCase):
    """A preview says what the next run does, and does nothing itself."""

    def prepare(self):
        super().prepare()
        self.link()
        self.push()

    def preview(self):
        """Ask for a preview; an opt-out that waits would start a push beside it."""
        run = self.env["crm.mailchimp.run"].browse(
            self.account.action_preview()["res_id"]
        )
        with patch.object(type(self.account), "_push_due", lambda *args: False):
            self.tick()
        self.assertEqual(run.state, "done", run.error_detail or run.error_message)
        return run, self.env["crm.mailchimp.preview.line"].search(
            [("run_id", "=", run.id)]
        )

    def shape(self, lines):
        return {
            line.email_normalized: (
                line.action,
                line.detail or "",
                line.entering or "",
                line.leaving or "",
            )
            for line in lines
        }

    def test_every_kind_of_change(self):
        self.account.sync_direction = "both"
        contacts = {
            name: self.contact(name, city="Ghent")
            for name in ("Change", "Group", "Move", "Leave", "Optout", "Gone", "Edited")
        }
        self.flag("Ghent", "[('city', '=', 'Ghent')]")
        self.flag("Women", "[('gender', '=', 'female')]")
        self.contact("Eve", gender="female")
        self.push()
        self.simulator.advance(60)
        self.audience.unsubscribe("gone@firma.be", reason="too many mails")
        self.audience.edit("edited@firma.be", merge_fields={"FNAME": "Edith"})
        contacts["Change"].city = "Rome"
        contacts["Group"].gender = "female"
        contacts["Move"].email = "moved@new.be"
        contacts["Leave"].active = False
        contacts["Optout"].mailchimp_opt_in = False
        self.contact("New", city="Ghent")
        run, lines = self.preview()
        self.assertEqual(
            self.shape(lines),
            {
                "change@firma.be": ("update", "City: Ghent → Rome", "", "Ghent"),
                "group@firma.be": ("update", "Gender:  → Female", "Women", ""),
                "moved@new.be": ("move", "move@firma.be", "", ""),
                "leave@firma.be": ("archive", "Contact archived", "", ""),
                "optout@firma.be": ("archive", "Opt-out", "", ""),
                "gone@firma.be": ("opt_out", "too many mails", "", ""),
                "edited@firma.be": ("bring_back", "Name: Edith", "", ""),
                "new@firma.be": ("create", "Left out: Address", "Ghent", ""),
            },
        )
        self.assertIn("To add: 1", run.summary)
        self.assertTrue(contacts["Gone"].mailchimp_opt_in)
        self.assertEqual(contacts["Edited"].name, "Edited")
        run = self.push()
        done = run.counters
        self.assertEqual(
            [
                done[name]
                for name in ("created", "updated", "moved", "archived", "brought_back")
            ],
            [1, 2, 1, 2, 1],
        )
        _run, lines = self.preview()
        self.assertFalse(lines)

    def test_tags_and_required_values(self):
        self.account.segment_target = "tag"
        ann = self.contact("Ann", city="Ghent")
        self.push()
        for field in self.audience.merge_fields.values():
            field.required = field.tag == "CITY"
        self.account._set_refs(merge_fields_read=None)
        self.flag("Ghent", "[('city', '=', 'Ghent')]")
        self.contact("Bob", city="Ghent")
        self.contact("Cat")
        _run, lines = self.preview()
        self.assertEqual(
            self.shape(lines),
            {
                "ann@firma.be": ("segment", "", "Ghent", ""),
                "bob@firma.be": ("create", "Left out: Address", "Ghent", ""),
                "cat@firma.be": ("held", "No value for: City", "", ""),
            },
        )
        moved = lines.filtered(lambda line: line.action == "segment")
        self.assertEqual(moved.partner_id, ann)

    def test_fields_are_named_as_people_do(self):
        """By label, with the merge tag only where two have the same one."""
        ann = self.contact("Ann", city="Ghent", gender="female")
        self.push()
        city, gender = (
            self.account.merge_field_ids.filtered(lambda line, tag=tag: line.tag == tag)
            for tag in ("CITY", "GENDER")
        )
        city.name = gender.name = "Detail"
        ann.write({"city": "Rome", "gender": "other", "name": "Anna"})
        _run, lines = self.preview()
        self.assertEqual(
            sorted(lines.detail.split("; ")),
            [
                "Detail (CITY): Ghent → Rome",
                "Detail (GENDER): Female → Other",
                "First Name: Ann → Anna",
            ],
        )

    def test_the_brake_is_announced(self):
        for number in range(60):
            self.contact(f"C{number}", city="Ghent")
        self.push()
        self.account.partner_domain = "[('city', '=', 'Paris')]"
        run, lines = self.preview()
        self.assertEqual(len(lines), 60)
        self.assertIn("ask a manager", run.error_message)

    @long
    def test_a_first_push_of_many(self):
        """Read calls only, no row but its own; the run does exactly what it said."""
        self.insert_contacts(10_000)
        for number in range(3):
            self.flag(f"Segment {number}", f"[('city', 'like', 'City {number}')]")
        self.simulator.clear_calls()
        before = self.writes()
        run, lines = self.preview()
        written = {
            table
            for table, count in self.writes().items()
            if count != before.get(table, 0)
        }
        # What was rolled back counts here, too, so the rows are compared.
        self.assertFalse(self.env["crm.mailchimp.member"].search_count([]))
        self.assertFalse(self.account.segment_ids)
        self.assertIn("crm_mailchimp_preview_line", written)
        self.assertEqual({c.method for c in self.simulator.calls}, {"GET"})
        self.assertEqual(run.counters, {"create": 10_000})
        said = {
            line["email_normalized"]: line["entering"] or ""
            for line in lines.read(["email_normalized", "entering"])
        }
        self.push()
        done = {email: ", ".join(self.groups(email)) for email in self.audience.members}
        self.assertEqual(said, done)

    # === TIME === #

    def preview_in_slices(self, seconds=3):
        """Let a preview work while Mailchimp is slow.

        :return: the run, and how many slices it took
        """
        run = self.env["crm.mailchimp.run"].browse(
            self.account.action_preview()["res_id"]
        )
        ticks = 0
        self.simulator.latency(base=0.3)
        with (
            patch.object(type(self.account), "_push_due", lambda *args: False),
            patch.object(slices, "end_of_job", lambda: time.monotonic() + seconds),
        ):
            while run.state in ("queued", "running") and ticks < 40:
                self.tick()
                ticks += 1
        self.simulator.latency(base=0)
        self.assertEqual(run.state, "done", run.error_detail or run.error_message)
        return run, ticks

    def lines(self, run):
        return self.env["crm.mailchimp.preview.line"].search([("run_id", "=", run.id)])

    @long
    def test_many_changes_and_members_are_read_in_slices(self):
        """What was read stays, and is not read again."""
        self.patch(MemberPhase, "PAGE", 5)
        self.patch(MemberPhase, "AT_ONCE", 1)
        ann = self.contact("Ann")
        self.push()
        self.simulator.advance(60)
        # Nobody has read anything of this audience.
        self.env["crm.mailchimp.run"].search([]).unlink()
        self.env["crm.mailchimp.member"].search([]).unlink()
        self.audience.unsubscribe("ann@firma.be")
        for number in range(60):
            self.audience.add_member(f"f{number}@firma.be")
        self.contact("New")
        self.simulator.clear_calls()
        run, ticks = self.preview_in_slices()
        self.assertGreater(ticks, 1)
        self.assertEqual(
            {line.email_normalized: line.action for line in self.lines(run)},
            {"ann@firma.be": "opt_out", "new@firma.be": "create"},
        )
        self.assertTrue(ann.mailchimp_opt_in)
        self.assertEqual({c.method for c in self.simulator.calls}, {"GET"})
        self.assertEqual(self.ledger("f7@firma.be").status, "subscribed")
        self.simulator.clear_calls()
        self.push()
        self.assertFalse(self.simulator.count("GET", "/lists/*/members?offset=5"))
        self.assertFalse(ann.mailchimp_opt_in)

    def test_many_categories_are_read_in_slices(self):
        for number in range(12):
            self.audience.add_category(f"Category {number}")
        self.flag("Ghent", "[('city', '=', 'Ghent')]")
        self.contact("Ann", city="Ghent")
        self.simulator.clear_calls()
        run, _ticks = self.preview_in_slices()
        self.assertEqual(self.lines(run).entering, "Ghent")
        self.assertEqual(
            self.simulator.count("GET", "/lists/*/interest-categories/*/interests"), 12
        )
        self.assertFalse(self.account.segment_ids)

    def test_what_there_is_no_time_for(self):
        """It ends with what it has, and says so."""
        for name in ("Ann", "Bob", "Eve"):
            self.contact(name)
        run = self.env["crm.mailchimp.run"].browse(
            self.account.action_preview()["res_id"]
        )
        with (
            patch.object(type(self.account), "_push_due", lambda *args: False),
            patch.object(slices, "SLICE_SECONDS", 0),
        ):
            self.tick()
            self.assertEqual((run.state, run.phase), ("running", "diff"))
            with patch.object(slices, "end_of_job", time.monotonic):
                self.tick()
        self.assertEqual(run.state, "done")
        self.assertEqual(len(self.lines(run)), 1)
        self.assertIn("incomplete", run.error_message)
        run, lines = self.preview()
        self.assertEqual(len(lines), 3)
        self.assertFalse(run.error_message)

    @long
    def test_no_answer_outlasts_the_job(self):
        """However long Mailchimp hangs, it is asked once, and the preview waits."""
        self.simulator.fault("GET **", "hang", seconds=60, times=None)
        self.addCleanup(self.simulator.faults.clear)
        run = self.env["crm.mailchimp.run"].browse(
            self.account.action_preview()["res_id"]
        )
        limits, original = [], transport.Transport._limits

        def note(*args):
            limits.append(original(*args))
            return limits[-1]

        with (
            patch.object(type(self.account), "_push_due", lambda *args: False),
            patch.object(slices, "end_of_job", lambda: time.monotonic() + 1),
            patch.object(transport.Transport, "_limits", note),
        ):
            self.tick()
        self.assertEqual(run.state, "waiting")
        self.assertTrue(limits)
        self.assertLessEqual(max(read for _connect, read in limits), 1)

    def test_while_another_run_reads_the_whole_audience(self):
        """Each would take members for gone that the other has just seen."""
        self.patch(MemberPhase, "PAGE", 5)
        self.patch(MemberPhase, "AT_ONCE", 1)
        for number in range(30):
            self.audience.add_member(f"f{number}@firma.be")
        full, _created = self.account._request_run("full")
        with patch.object(slices, "SLICE_SECONDS", 0):
            for _tick in range(20):
                self.tick()
                if full._get_cursor().read_all:
                    break
        self.assertTrue(full._get_cursor().read_all)
        run = self.env["crm.mailchimp.run"].browse(
            self.account.action_preview()["res_id"]
        )
        with patch.object(slices, "SLICE_SECONDS", 0):
            self.tick()
        self.assertEqual(run.state, "waiting")
        self.push("full")
        run.resume_at = fields.Datetime.now()
        self.tick()
        self.assertEqual(run.state, "done", run.error_message)

    def test_the_mark_of_the_last_reading_is_kept(self):
        run, _lines = self.preview()
        self.env["crm.mailchimp.run"].search([("id", "!=", run.id)]).unlink()
        until = self.account._pulled_until()
        run.create_date = fields.Datetime.now() - timedelta(days=30)
        self.env.flush_all()
        self.env["crm.mailchimp.run"]._gc_runs()
        self.assertTrue(until)
        self.assertEqual(self.account._pulled_until(), until)

    # === EVERY OPTION === #

    def test_members_that_become_contacts(self):
        """Contacts the run would make are none yet: their lines name the address."""
        self.account.foreign_members = "import"
        never_asked = self.contact("Nina", mailchimp_opt_in=False)
        for name in ("eve", "nina"):
            self.audience.add_member(f"{name}@firma.be", merge_fields={"FNAME": "X"})
        run, lines = self.preview()
        actions = {
            (line.email_normalized, line.action): line.partner_id for line in lines
        }
        self.assertIn(("eve@firma.be", "import"), actions)
        self.assertFalse(actions["eve@firma.be", "import"])
        self.assertEqual(actions["nina@firma.be", "opt_in"], never_asked)
        self.assertIn("Contacts to create: 1", run.summary)
        self.assertFalse(
            self.env["res.partner"].search([("email", "=", "eve@firma.be")])
        )
        done = self.push().counters
        self.assertEqual(done["imported"], 2)
        _run, lines = self.preview()
        self.assertFalse(lines)

    def test_who_is_brought_back_asked_or_looked_at(self):
        people = {name: self.contact(name) for name in ("Back", "Ask", "Look", "Again")}
        self.push()
        people["Again"].active = False
        self.push()
        self.simulator.advance(60)
        for name in ("back", "ask", "look"):
            self.audience.archive(f"{name}@firma.be")
        _run, lines = self.preview()
        self.assertEqual(
            {line.email_normalized: line.action for line in lines},
            dict.fromkeys(
                ["back@firma.be", "ask@firma.be", "look@firma.be"], "inquire"
            ),
        )
        self.push()
        people["Again"].active = True
        self.ledger("back@firma.be").action_bring_back()
        people["Ask"].action_mailchimp_ask_again()
        with self.assertNoLogs("odoo.addons.crm_mailchimp", "ERROR"):
            run = self.env["crm.mailchimp.run"].search(
                [("kind", "=", "push"), ("state", "=", "queued")]
            )
            run.action_cancel()
        run, lines = self.preview()
        self.assertEqual(
            {line.email_normalized: line.action for line in lines},
            {
                "again@firma.be": "restore",
                "back@firma.be": "readmit",
                "ask@firma.be": "ask",
            },
        )
        self.assertIn("To bring back: 1", run.summary)
        # Every action has a name, or grouping by it fails.
        names = dict(lines._fields["action"].selection)
        self.assertLessEqual(set(lines.mapped("action")), set(names))

    def test_tags_asked_for_and_segments_that_are_gone(self):
        self.account.segment_target = "both"
        ann = self.contact("Ann", city="Ghent")
        segment = self.flag("Ghent", "[('city', '=', 'Ghent')]")
        self.push()
        segment.mailchimp_sync = False
        new = self.contact("Bob")
        (ann | new).mailchimp_add_tag("Vip")
        self.env["crm.mailchimp.run"].search([("state", "=", "queued")]).action_cancel()
        _run, lines = self.preview()
        self.assertEqual(
            self.shape(lines),
            {
                "ann@firma.be": ("segment", "", "Vip", "Ghent"),
                "bob@firma.be": ("create", "", "Vip", ""),
            },
        )
        self.push()
        self.assertFalse(self.groups("ann@firma.be"))
        _run, lines = self.preview()
        self.assertFalse(lines)

    def test_what_odoo_refuses(self):
        self.account.sync_direction = "both"
        ann = self.contact("Ann")
        self.push()
        self.simulator.advance(60)
        self.audience.edit("ann@firma.be", merge_fields={"CITY": "Rome"})
        Partner = type(self.env["res.partner"])
        original = Partner.write

        def write(records, vals):
            if ann in records and "city" in vals:
                raise UserError(REFUSAL)
            return original(records, vals)

        with patch.object(Partner, "write", write):
            self.push()
            _run, lines = self.preview()
        self.assertEqual(
            self.shape(lines), {"ann@firma.be": ("not_taken", REFUSAL, "", "")}
        )

    @long
    def test_it_says_what_the_run_does(self):
        """For every combination of the options, number by number."""
        options = list(
            product(
                ("group", "tag", "both"),
                ("keep", "archive", "import"),
                ("push", "pull", "both"),
                (False, True),
            )
        )
        for turn, (target, foreign, direction, blacklist) in enumerate(options):
            if turn % 5:  # every fifth meets each value of each option often
                continue
            with self.subTest(target=target, foreign=foreign, direction=direction):
                self.account.write(
                    {
                        "segment_target": target,
                        "foreign_members": foreign,
                        "sync_direction": direction,
                        "blacklist_on_unsubscribe": blacklist,
                    }
                )
                self.change_everything(f"t{turn}")
                run, lines = self.preview()
                said = Counter(lines.mapped("action"))
                done = Counter(self.push().counters or {})
                for action, counters in {
                    "create": ("created",),
                    "archive": ("archived",),
                    "move": ("moved",),
                    "opt_out": ("opted_out",),
                    "bring_back": ("brought_back",),
                    "restore": ("restored",),
                }.items():
                    self.assertEqual(
                        said[action], sum(done[name] for name in counters), action
                    )
                self.assertEqual(said["import"] + said["opt_in"], done["imported"])
                self.assertTrue(said["create"] and said["archive"] and said["move"])
                _run, lines = self.preview()
                self.assertFalse(self.shape(lines))

    def change_everything(self, prefix):
        """Let something of every kind wait for the next run."""
        people = {
            name: self.contact(
                f"{prefix} {name}", f"{prefix}.{name.lower()}@firma.be", city="Ghent"
            )
            for name in ("Change", "Group", "Move", "Leave", "Gone", "Edited", "Twin")
        }
        people["Leave"].active = False
        self.flag(f"{prefix} women", "[('gender', '=', 'female')]")
        self.push()
        self.simulator.advance(60)
        self.audience.unsubscribe(f"{prefix}.gone@firma.be")
        self.audience.edit(f"{prefix}.edited@firma.be", merge_fields={"CITY": "Oslo"})
        self.audience.add_member(f"{prefix}.foreign@firma.be")
        people["Change"].city = "Rome"
        people["Group"].gender = "female"
        people["Move"].email = f"{prefix}.moved@firma.be"
        people["Leave"].active = True
        people["Twin"].active = False
        self.contact(f"{prefix} New", f"{prefix}.new@firma.be")
