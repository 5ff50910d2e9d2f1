from odoo import Command
from odoo.exceptions import AccessError
from odoo.tests import new_test_user, tagged

from ..models.ir_rule import ABOUT_CONTACTS
from .common import MailchimpCase

ROLES = (
    "sales_team.group_sale_salesman",
    "sales_team.group_sale_salesman_all_leads",
    "crm_mailchimp.group_mailchimp_user",
    "crm_mailchimp.group_mailchimp_manager",
)
MODELS = (*ABOUT_CONTACTS, "crm.mailchimp.suppression")


@tagged("post_install", "-at_install")
class TestContactAccess(MailchimpCase):
    """Whoever may not read a contact finds it in no list, number or file of ours."""

    def prepare(self):
        super().prepare()
        self.link()
        self.other = self.env["res.company"].create({"name": "Other"})
        self.seen = self.contact("Seen")
        self.hidden = self.contact("Hidden")
        self.theirs = self.contact("Theirs", company_id=self.other.id)
        self.flag("All", "[('email', 'like', '@firma.be')]")
        self.push()
        # Any database may have rules of its own on contacts.
        self.hidden.ref = "secret"
        self.env["ir.rule"].create(
            {
                "name": "Secret contacts",
                "model_id": self.env["ir.model"]._get_id("res.partner"),
                "domain_force": "['|', ('ref', '=', False), ('ref', '!=', 'secret')]",
            }
        )

    def user(self, group):
        return new_test_user(
            self.env,
            group,
            groups=f"{group},base.group_allow_export",
            company_id=self.company.id,
            company_ids=[Command.set(self.company.ids)],
        )

    def populate(self):
        """Make a record of every model about each contact."""
        contacts = self.seen | self.hidden
        self.env["crm.mailchimp.contact.tag"]._request(self.account, contacts, ["Vip"])
        preview = self.env["crm.mailchimp.run"].create(
            {"account_id": self.account.id, "kind": "preview", "state": "done"}
        )
        campaign = self.env["crm.mailchimp.campaign"].create(
            {
                "account_id": self.account.id,
                "campaign_ref": "c1",
                "name": "News",
                "company_id": self.company.id,
            }
        )
        for contact in contacts:
            email = contact.email_normalized
            member = self.ledger(email)
            member.partner_id = contact
            self.env["crm.mailchimp.preview.line"].create(
                {
                    "run_id": preview.id,
                    "partner_id": contact.id,
                    "email_normalized": email,
                    "action": "update",
                }
            )
            self.env["crm.mailchimp.recipient"].create(
                {
                    "campaign_id": campaign.id,
                    "partner_id": contact.id,
                    "member_id": member.id,
                    "email_normalized": email,
                    "email_hash": email,
                    "status": "hard",
                    "event_ids": [
                        Command.create({"kind": "bounce", "date": "2026-01-01"})
                    ],
                }
            )
            member.status = "cleaned"
            self.env["crm.mailchimp.suppression"]._note(
                [self.account._no_row(email, "cleaned", "2026-01-01")]
            )

    def of(self, model, contact):
        """Return the records about a contact, whoever may read them."""
        records = self.env[model].sudo()
        if model == "crm.mailchimp.suppression":
            domain = [("email_normalized", "=", contact.email_normalized)]
        else:
            domain = [(ABOUT_CONTACTS[model], "=", contact.id)]
        found = records.search(domain)
        self.assertTrue(found, f"{model} has nothing to test with")
        return found

    def test_every_model_as_every_role(self):
        self.populate()
        self.env.flush_all()
        for group in ROLES:
            user = self.user(group)
            for model in MODELS:
                if not self.env[model].with_user(user).has_access("read"):
                    self.assertEqual(model, "crm.mailchimp.suppression")
                    continue
                with self.subTest(role=group, model=model):
                    self.check(self.env[model].with_user(user), model)

    def check(self, records, model):
        seen, hidden = self.of(model, self.seen), self.of(model, self.hidden)
        found = records.search([])
        self.assertLessEqual(set(seen.ids), set(found.ids))
        self.assertFalse(set(hidden.ids) & set(found.ids), "searched")
        self.assertFalse(records.search_count([("id", "in", hidden.ids)]), "counted")
        name = "partner_id"
        if "email_normalized" in records._fields:
            name = "email_normalized"
        # The events' contact is not stored, so they are grouped by what is.
        by = name if records._fields[name].store else "recipient_id"
        groups = records._read_group([], [by], ["__count"])
        self.assertNotIn("hidden@firma.be", str([group[0] for group in groups]))
        self.assertNotIn(
            self.hidden.id, [getattr(group[0], "id", None) for group in groups]
        )
        self.assertEqual(sum(group[-1] for group in groups), len(found), "grouped")
        rows = found.export_data(["display_name", name])["datas"]
        self.assertNotIn("idden", str(rows), "exported")
        self.env.invalidate_all()
        with self.assertRaises(AccessError, msg="read"):
            records.browse(hidden.ids).read([name])
        self.env.invalidate_all()
        records.browse(seen.ids).read([name])

    def test_contacts_of_another_company(self):
        """They are in the status list with a reason, for those who may see them."""
        Line = self.env["crm.mailchimp.contact.status"]
        everything = Line.search([("partner_id", "=", self.theirs.id)])
        self.assertEqual(everything.reason, "other_company")
        for group in ROLES:
            user = self.user(group)
            lines = Line.with_user(user).search([])
            self.assertIn(self.seen.id, lines.partner_id.ids)
            self.assertNotIn(self.theirs, lines.sudo().partner_id)
            self.assertFalse(
                Line.with_user(user).search_count(
                    [("email", "=", self.theirs.email_normalized)]
                )
            )
        both = self.user("base.group_user")
        both.write(
            {
                "group_ids": [Command.link(self.env.ref(ROLES[0]).id)],
                "company_ids": [Command.link(self.other.id)],
            }
        )
        lines = Line.with_user(both).with_context(
            allowed_company_ids=(self.company | self.other).ids
        )
        self.assertIn(self.theirs, lines.search([]).partner_id)

    def test_who_has_the_address_is_not_named(self):
        sharer = self.contact("Sharer", self.hidden.email)
        self.hidden.mailchimp_opt_in_date = "2020-01-01 00:00:00"
        self.env.flush_all()
        user = self.user(ROLES[0])
        line = (
            self.env["crm.mailchimp.contact.status"]
            .with_user(user)
            .search([("partner_id", "=", sharer.id)])
        )
        self.assertEqual(line.reason, "shared_address")
        self.assertFalse(line.winner_id)
        self.assertIn("may not see", line.remedy)
        self.assertNotIn("Hidden", str(line.read()))
        card = sharer.with_user(user).mailchimp_card()
        self.assertIn("may not see", card["remedy"])
        line = self.env["crm.mailchimp.contact.status"].search(
            [("partner_id", "=", sharer.id)]
        )
        self.assertIn("Hidden", line.remedy)

    def test_lists_that_are_counted(self):
        self.account._count_contacts()
        for role in ROLES:
            user = self.user(role)
            for model in ("contact.status", "segment.contact"):
                lines = self.env[f"crm.mailchimp.{model}"].with_user(user).search([])
                self.assertTrue(all(lines.mapped("counted_at")))
                shown = lines.sudo().partner_id
                self.assertIn(self.seen, shown, (role, model))
                self.assertFalse(shown & (self.hidden | self.theirs), (role, model))

    def test_the_numbers_of_the_overview(self):
        self.hidden.email = False
        self.push()
        counts = {
            entry["reason"]: entry["count"]
            for entry in self.env["crm.mailchimp.account"].get_overview_audience()[
                "skipped"
            ]
        }
        self.assertEqual(counts["no_address"], 1)
        user = self.user(ROLES[0])
        found = self.env["crm.mailchimp.account"].with_user(user)
        reasons = [
            entry["reason"] for entry in found.get_overview_audience()["skipped"]
        ]
        self.assertNotIn("no_address", reasons)
        self.assertNotIn("other_company", reasons)
        # The same as what the rules of members let the user see.
        shown = found.get_overview_audience()["statuses"]
        members = self.env["crm.mailchimp.member"].with_user(user)
        self.assertEqual(
            {line["status"]: line["count"] for line in shown},
            dict(
                members._read_group([("status", "!=", False)], ["status"], ["__count"])
            ),
        )
        self.assertLess(
            members.search_count([]), members.sudo().search_count([]), "some are hidden"
        )
