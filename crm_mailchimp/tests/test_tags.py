from odoo.exceptions import UserError
from odoo.tests import tagged

from .common import MailchimpCase


@tagged("post_install", "-at_install")
class TestTags(MailchimpCase):
    """Pushing chosen contacts and giving them tags, by hand and by automation rules."""

    def prepare(self):
        super().prepare()
        self.link()
        self.ann = self.contact("Ann")
        self.bob = self.contact("Bob", mailchimp_opt_in=False)
        self.push()

    def run_action(self, name, partners, **context):
        return (
            self.env.ref(f"crm_mailchimp.action_{name}")
            .with_context(
                active_model="res.partner", active_ids=partners.ids, **context
            )
            .run()
        )

    def add(self, partners, names):
        action = self.run_action("add_tag", partners)
        wizard = self.env[action["res_model"]].with_context(**action["context"])
        return wizard.create({"name": names}).action_add()

    def tags(self, email):
        return sorted(self.member(email).tag_names)

    def rows(self, partner):
        return [
            (row.name, row.state, row.why or "") for row in partner.mailchimp_tag_ids
        ]

    def test_a_rule_never_keeps_a_contact_from_being_saved(self):
        admin = self.env.ref("base.user_admin")
        # As Odoo runs the actions of automation rules, whoever saves the contact.
        rule = (
            self.env["ir.actions.server"]
            .create(
                {
                    "name": "Tag",
                    "model_id": self.env.ref("base.model_res_partner").id,
                    "state": "code",
                    "code": "records.mailchimp_add_tag('Rule')\n"
                    "action = records.action_mailchimp_push_now()",
                }
            )
            .with_context(active_model="res.partner", active_ids=self.ann.ids)
        )
        self.account.write({"state": "error", "error_message": "The key was revoked."})
        rule.run()
        self.assertFalse(self.account.run_ids.filtered("is_open"))
        with self.assertRaisesRegex(UserError, "revoked"):
            self.ann.with_user(admin).action_mailchimp_push_now()
        self.account.push_enabled = False
        self.account.state = "linked"
        rule.run()
        with self.assertRaisesRegex(UserError, "not been started"):
            self.ann.with_user(admin).action_mailchimp_push_now()
        self.account.push_enabled = True
        self.account.audience_ref = False
        rule.run()
        self.account.audience_ref = self.audience.id
        # What was asked for meanwhile is not lost.
        self.push()
        self.assertEqual(self.tags("ann@firma.be"), ["Rule"])

    def test_the_notice_leads_to_those_who_do_not_go(self):
        eve = self.contact("Eve")
        params = self.run_action("push_now", self.ann + self.bob + eve)["params"]
        self.assertIn("afterwards: 2 of 3.", params["message"])
        status = self.env[params["action"]["res_model"]].search(
            params["action"]["domain"]
        )
        self.assertEqual(status.partner_id, self.bob)
        params = self.run_action("push_now", self.ann)["params"]
        self.assertEqual(params["type"], "success")
        self.assertNotIn("action", params)

    def test_contacts_of_another_company(self):
        other = self.env["res.company"].create({"name": "Other"})
        eve = self.contact("Eve", company_id=other.id)
        params = self.run_action("push_now", self.ann + eve)["params"]
        self.assertIn("1 of 2", params["message"])
        self.assertIn("Belongs to another company (1)", params["message"])

    def test_a_tag_is_created_once_and_given_500_a_call(self):
        eve = self.contact("Eve")
        self.simulator.clear_calls()
        notice = self.add(self.ann + self.bob + eve, " VIP , Webinar 2026, vip")
        self.env.flush_all()
        self.assertFalse(self.simulator.calls)
        self.assertIn("No opt-in (1)", notice["params"]["message"])
        self.tick()
        self.assertEqual(self.tags("ann@firma.be"), ["VIP", "Webinar 2026"])
        self.assertEqual(self.tags("eve@firma.be"), ["VIP", "Webinar 2026"])
        segments = f"/lists/{self.audience.id}/segments"
        self.assertEqual(self.simulator.count("GET", segments), 1)
        self.assertEqual(self.simulator.count("POST", segments), 2)
        self.assertEqual(self.simulator.count("POST", segments + "/*"), 2)
        self.assertEqual(
            [row[1:] for row in self.rows(self.bob)], [("waiting", "No opt-in")] * 2
        )

    def test_it_waits_for_the_contact_to_be_a_member(self):
        self.add(self.bob, "VIP")
        self.push()
        self.simulator.clear_calls()
        self.push()
        self.assertFalse(self.simulator.count("GET", "/lists/*/segments"))
        self.assertFalse(self.simulator.count("POST"))
        self.bob.mailchimp_opt_in = True
        self.assertEqual(self.rows(self.bob)[0][2], "Waiting for the next sync")
        self.push()
        self.assertEqual(self.tags("bob@firma.be"), ["VIP"])
        self.assertEqual(self.rows(self.bob), [("VIP", "done", "")])

    def test_an_existing_tag_is_used_whatever_its_spelling(self):
        self.audience.add_tag("Vip", ["ann@firma.be"])
        eve = self.contact("Eve")
        self.add(self.ann + eve, "VIP")
        self.push()
        self.assertEqual(self.tags("eve@firma.be"), ["Vip"])
        self.assertEqual(self.tags("ann@firma.be"), ["Vip"])
        self.assertEqual(self.rows(self.ann)[0][1], "done")

    def test_the_tag_of_a_saved_filter_is_left_to_it(self):
        self.account.segment_target = "tag"
        self.flag("Ghent", "[('city', '=', 'Ghent')]")
        self.contact("Eve", city="Ghent")
        self.push()
        self.add(self.ann, "ghent")
        self.push()
        self.assertEqual(self.tags("ann@firma.be"), [])
        self.assertEqual(self.rows(self.ann)[0][1], "refused")
        self.assertIn("saved filter “Ghent”", self.rows(self.ann)[0][2])

    def test_who_unsubscribed_meanwhile_is_refused_in_words(self):
        eve = self.contact("Eve")
        self.push()
        self.add(self.ann + eve, "VIP")
        with self.before(
            "POST",
            lambda: self.audience.unsubscribe("ann@firma.be", reason=""),
            depth=4,
        ):
            self.push()
        self.assertEqual(self.tags("eve@firma.be"), ["VIP"])
        self.assertEqual(
            self.rows(self.ann),
            [("VIP", "refused", "Email addresses not subscribed to list")],
        )

    def test_a_name_mailchimp_does_not_take(self):
        self.audience.add_segment("Old buyers", "saved", {"match": "any"})
        eve = self.contact("Eve")
        self.ann.mailchimp_add_tag("Old buyers")
        eve.mailchimp_add_tag("VIP," + "x" * 101)
        self.push()
        self.assertEqual(self.rows(self.ann)[0][:2], ("Old buyers", "refused"))
        self.assertIn("already exists", self.rows(self.ann)[0][2])
        self.assertEqual(self.tags("eve@firma.be"), ["VIP", "x" * 100])

    def test_a_tag_deleted_while_it_is_given_is_made_again(self):
        self.audience.add_tag("VIP")
        self.add(self.ann, "VIP")
        with self.before("POST", self.audience.segments.clear):
            self.push()
        self.assertEqual(self.tags("ann@firma.be"), ["VIP"])

    def test_lost_answers_double_nothing(self):
        self.add(self.ann, "VIP")
        segments = f"/lists/{self.audience.id}/segments"
        for route in (segments, segments + "/*"):
            self.simulator.fault(f"POST {route}", "drop_applied")
            run = self.push(state="waiting")
            run.resume_at = False
            run.state = "queued"
        self.push()
        self.assertEqual(self.tags("ann@firma.be"), ["VIP"])
        self.assertEqual(self.simulator.count("POST", segments), 1)
        self.assertEqual(self.rows(self.ann), [("VIP", "done", "")])

    def test_asking_twice_and_merging_contacts(self):
        twin = self.contact("Twin", email="ann@firma.be")
        self.add(self.ann + twin, "VIP")
        self.ann.mailchimp_add_tag("vip ")
        self.assertEqual(len(self.ann.mailchimp_tag_ids), 1)
        self.env["base.partner.merge.automatic.wizard"]._merge(
            (self.ann + twin).ids, self.ann, extra_checks=False
        )
        self.env.invalidate_all()
        self.assertEqual(len(self.ann.mailchimp_tag_ids), 2)
        self.push()
        self.assertEqual(self.tags("ann@firma.be"), ["VIP"])
        self.assertEqual({row[1] for row in self.rows(self.ann)}, {"done"})

    def test_every_address_of_a_contact_gets_it(self):
        self.account.email_scope = "all"
        self.ann.email = "ann@firma.be, ann@home.be"
        self.push()
        self.add(self.ann, "VIP")
        self.push()
        self.assertEqual(self.tags("ann@firma.be"), ["VIP"])
        self.assertEqual(self.tags("ann@home.be"), ["VIP"])

    def test_more_than_one_call_holds(self):
        partners = self.env["res.partner"].create(
            [
                {
                    "name": f"P{number}",
                    "email": f"p{number}@firma.be",
                    "mailchimp_opt_in": True,
                }
                for number in range(501)
            ]
        )
        partners.mailchimp_add_tag("Many")
        self.push()
        self.assertEqual(
            self.simulator.count("POST", f"/lists/{self.audience.id}/segments/*"), 2
        )
        (tag,) = [s for s in self.audience.segments.values() if s.name == "Many"]
        self.assertEqual(len(tag.members), 501)
