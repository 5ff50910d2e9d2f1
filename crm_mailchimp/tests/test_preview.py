from unittest.mock import patch

from odoo.tests import tagged

from .common import MailchimpCase
from .test_budget import InsertContacts


@tagged("post_install", "-at_install")
class TestPreview(InsertContacts, MailchimpCase):
    """A preview says what the next run does, and does nothing itself."""

    def setUp(self):
        super().setUp()
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
                "change@firma.be": ("update", "CITY: Ghent → Rome", "", "Ghent"),
                "group@firma.be": ("update", "GENDER:  → Female", "Women", ""),
                "moved@new.be": ("move", "move@firma.be", "", ""),
                "leave@firma.be": ("archive", "Contact archived", "", ""),
                "optout@firma.be": ("archive", "Opt-out", "", ""),
                "gone@firma.be": ("opt_out", "too many mails", "", ""),
                "edited@firma.be": ("bring_back", "Name: Edith", "", ""),
                "new@firma.be": ("create", "", "Ghent", ""),
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
                "bob@firma.be": ("create", "", "Ghent", ""),
                "cat@firma.be": ("held", "No value for: CITY", "", ""),
            },
        )
        moved = lines.filtered(lambda line: line.action == "segment")
        self.assertEqual(moved.partner_id, ann)

    def test_the_brake_is_announced(self):
        for number in range(60):
            self.contact(f"C{number}", city="Ghent")
        self.push()
        self.account.partner_domain = "[('city', '=', 'Paris')]"
        run, lines = self.preview()
        self.assertEqual(len(lines), 60)
        self.assertIn("wait for a manager", run.error_message)

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
