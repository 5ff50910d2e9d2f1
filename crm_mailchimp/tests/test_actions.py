from odoo import Command
from odoo.exceptions import AccessError, UserError
from odoo.tests import tagged

from .common import MailchimpCase


@tagged("post_install", "-at_install")
class TestActions(MailchimpCase):
    """What people and automation rules ask for on contacts."""

    def prepare(self):
        super().prepare()
        self.link()
        self.push()

    def tags(self, email):
        return sorted(tag.name for tag in self.member(email).tags)

    def test_push_now(self):
        ann = self.contact("Ann")
        no = self.contact("No", mailchimp_opt_in=False)
        self.simulator.clear_calls()
        toast = (
            self.env.ref("crm_mailchimp.action_push_now")
            .with_context(active_model="res.partner", active_ids=[ann.id, no.id])
            .run()
        )
        self.assertFalse(self.simulator.calls, "a button does not call Mailchimp")
        self.assertIn("1 of 2", toast["params"]["message"])
        self.assertIn("No opt-in (1)", toast["params"]["message"])
        self.tick()
        self.assertEqual(self.status("ann@firma.be"), "subscribed")
        self.assertIsNone(self.status("no@firma.be"))

    def test_tags_by_the_wizard(self):
        ann, bob = self.contact("Ann"), self.contact("Bob")
        self.audience.add_tag("VIP")
        action = (ann + bob).action_mailchimp_add_tag()
        wizard = self.env[action["res_model"]].with_context(**action["context"])
        wizard = wizard.create({"name": "vip, Trade fair"})
        self.simulator.clear_calls()
        wizard.action_add()
        self.assertFalse(self.simulator.calls)
        self.tick()
        # A tag that is there is meant, whoever made it.
        self.assertEqual(self.tags("ann@firma.be"), ["Trade fair", "VIP"])
        self.assertEqual(self.tags("bob@firma.be"), ["Trade fair", "VIP"])
        self.assertEqual(set(ann.mailchimp_tag_ids.mapped("state")), {"done"})
        self.simulator.clear_calls()
        self.push()
        self.assertFalse([c for c in self.simulator.calls if c.method != "GET"])
        ann.mailchimp_add_tag("VIP")
        shown = [tag["name"] for tag in ann.mailchimp_card()["tags"]]
        self.assertEqual(sorted(shown), ["Trade fair", "VIP"], "each once")

    def test_a_tag_waits_for_its_contact(self):
        ann = self.contact("Ann", mailchimp_opt_in=False)
        ann.mailchimp_add_tag("VIP")
        self.tick()
        self.assertEqual(ann.mailchimp_tag_ids.state, "waiting")
        ann.mailchimp_opt_in = True
        self.push()
        self.assertEqual(self.tags("ann@firma.be"), ["VIP"])
        self.assertEqual(ann.mailchimp_tag_ids.state, "done")

    def test_tags_survive_a_merge_of_contacts(self):
        ann, bob = self.contact("Ann"), self.contact("Bob")
        (ann + bob).mailchimp_add_tag("VIP")
        self.env["base.partner.merge.automatic.wizard"]._merge(
            [ann.id, bob.id], ann, extra_checks=False
        )
        self.push()
        self.assertEqual(self.tags("ann@firma.be"), ["VIP"])

    def test_a_lost_answer(self):
        ann = self.contact("Ann")
        ann.mailchimp_add_tag("VIP")
        self.simulator.fault("POST /lists/*/segments/*", "drop_applied")
        run = self.push(state="waiting")
        run.resume_at = False
        self.push()
        self.assertEqual(self.tags("ann@firma.be"), ["VIP"])
        self.assertEqual(ann.mailchimp_tag_ids.state, "done")

    def test_an_automation_rule_can_do_it(self):
        ann = self.contact("Ann")
        action = self.env["ir.actions.server"].create(
            {
                "name": "Tag",
                "model_id": self.env.ref("base.model_res_partner").id,
                "state": "code",
                "code": "records.mailchimp_add_tag('From a rule')\n"
                "records.action_mailchimp_push_now()",
            }
        )
        action.with_context(active_model="res.partner", active_ids=ann.ids).run()
        self.tick()
        self.assertEqual(self.tags("ann@firma.be"), ["From a rule"])

    def test_an_automation_rule_never_fails(self):
        """Whatever it asks for, in every state of the account: contacts are saved."""
        action = self.env["ir.actions.server"].create(
            {
                "name": "Everything",
                "model_id": self.env.ref("base.model_res_partner").id,
                "state": "code",
                "code": "records.mailchimp_add_tag('VIP')\n"
                "records.action_mailchimp_ask_again()\n"
                "records.action_mailchimp_push_now()",
            }
        )
        ann = self.contact("Ann")
        run = action.with_context(active_model="res.partner", active_ids=ann.ids).run
        run()  # nobody to ask
        self.push()
        self.simulator.advance(60)
        self.audience.unsubscribe("ann@firma.be")
        self.push()
        ann.mailchimp_opt_in = True
        self.account.push_enabled = False
        run()
        self.account.push_enabled = True
        self.account.state = "error"
        run()
        self.account.state = "linked"
        self.account.audience_ref = False
        run()
        self.account.audience_ref = self.audience.id
        run()
        self.push()
        self.assertEqual(self.status("ann@firma.be"), "pending")

    def test_rights(self):
        user = self.env["res.users"].create(
            {
                "name": "Seller",
                "login": "seller",
                "group_ids": [
                    Command.link(self.env.ref("sales_team.group_sale_salesman").id)
                ],
            }
        )
        ann = self.contact("Ann").with_user(user)
        for ask in (
            ann.action_mailchimp_push_now,
            ann.action_mailchimp_add_tag,
            ann.action_mailchimp_ask_again,
        ):
            with self.assertRaises(AccessError):
                ask()

    def test_without_an_audience(self):
        self.account.audience_ref = False
        with self.assertRaisesRegex(UserError, "No Mailchimp audience"):
            self.contact("Ann").with_user(
                self.env.ref("base.user_admin")
            ).action_mailchimp_push_now()

    def test_ready_made_filters(self):
        corp = self.contact("Corp", "corp@firma.be", is_company=True)
        ann = self.contact("Ann")
        lead = self.env["crm.lead"].create(
            {"name": "Deal", "partner_id": ann.id, "type": "opportunity"}
        )
        names = {
            record.get_metadata()[0]["xmlid"].split(".")[1]: record
            for record in self.ready_made()
        }
        self.assertEqual(len(names), 6)
        for record in names.values():
            record.with_user(self.env.ref("base.user_admin")).mailchimp_sync = True
        self.push()
        self.assertEqual(
            self.groups("ann@firma.be"),
            sorted(
                [
                    names["filter_people"].name,
                    names["filter_new_contacts"].name,
                    names["filter_open_opportunities"].name,
                    names["filter_leads_of_month"].name,
                ]
            ),
        )
        self.assertEqual(
            self.groups("corp@firma.be"),
            sorted([names["filter_companies"].name, names["filter_new_contacts"].name]),
        )
        lead.action_set_won()
        self.push()
        self.assertIn(names["filter_won"].name, self.groups("ann@firma.be"))
        self.assertNotIn(
            names["filter_open_opportunities"].name, self.groups("ann@firma.be")
        )
        self.assertEqual(corp.mailchimp_status, "in")

    def ready_made(self):
        data = self.env["ir.model.data"].search(
            [("module", "=", "crm_mailchimp"), ("model", "=", "ir.filters")]
        )
        found = data.filtered(lambda line: line.name.startswith("filter_"))
        return self.env["ir.filters"].browse(found.mapped("res_id"))


@tagged("post_install", "-at_install")
class TestCreateAudience(MailchimpCase):
    """An audience made from Odoo: complete, within the plan, and only one."""

    def prepare(self):
        super().prepare()
        self.company.partner_id.write(
            {
                "street": "Main street 1",
                "city": "Ghent",
                "zip": "9000",
                "country_id": self.env.ref("base.be").id,
                "email": "office@firma.be",
            }
        )

    def wizard(self):
        action = self.account.action_create_audience()
        return self.env[action["res_model"]].browse(action["res_id"])

    def audiences(self):
        return [audience.name for audience in self.simulator.audiences]

    def tearDown(self):
        self.simulator.switches.update(max_audiences=-1)
        super().tearDown()

    def test_created_and_linked(self):
        wizard = self.wizard()
        self.assertEqual(wizard.city, "Ghent")
        wizard.name = "Newsletter"
        wizard.action_create()
        self.assertEqual(self.audiences(), ["Test audience"])
        self.tick()
        self.assertEqual(self.audiences(), ["Test audience", "Newsletter"])
        self.assertEqual(self.account.state, "linked")
        self.assertEqual(self.account.audience_name, "Newsletter")
        audience = list(self.simulator.audiences)[-1]
        self.assertEqual(audience.contact["country"], "BE")
        self.assertEqual(audience.campaign_defaults["from_email"], "office@firma.be")
        self.assertFalse(self.simulator.violations)
        self.contact("Ann")
        self.account.push_enabled = True
        self.push()
        self.assertEqual(audience.count("subscribed"), 1)

    def test_opt_outs_leave_the_audience_before(self):
        self.link()
        ann = self.contact("Ann")
        self.push()
        ann.mailchimp_opt_in = False
        self.wizard().action_create()
        self.tick()
        self.assertNotEqual(self.account.search([]).audience_ref, self.audience.id)
        self.assertEqual(self.status("ann@firma.be"), "archived")

    def test_a_company_without_a_postal_code(self):
        wizard = self.wizard()
        wizard.zip = False
        wizard.action_create()
        self.tick()
        self.assertIn(wizard.name, self.audiences())
        self.assertFalse(self.simulator.violations)

    def test_a_refusal_says_which_field_and_why(self):
        wizard = self.wizard()
        body = wizard._body()
        body["contact"]["zip"] = False
        self.patch(type(wizard), "_body", lambda self: body)
        wizard.action_create()
        self.tick()
        message = self.account.health_message
        self.assertNotIn("errors' array", message)
        self.assertIn("contact.zip", message)

    def test_the_plan_has_no_room(self):
        self.simulator.switches.update(max_audiences=1)
        with self.assertRaisesRegex(
            UserError, "does not allow another audience: 1 of 1"
        ):
            self.wizard()
        self.simulator.switches.update(max_audiences=-1)
        wizard = self.wizard()
        self.simulator.switches.update(max_audiences=1)
        wizard.action_create()
        self.tick()
        self.assertEqual(self.audiences(), ["Test audience"])
        self.assertIn("not allow another audience", self.account.health_message)
        self.assertEqual(self.account.state, "connected")

    def test_what_is_missing_is_named_before_any_call(self):
        wizard = self.wizard()
        wizard.write({"city": False, "from_email": " "})
        self.simulator.clear_calls()
        with self.assertRaisesRegex(UserError, "City, Sender's address"):
            wizard.action_create()
        self.assertFalse(self.simulator.calls)

    def test_never_two_from_one_click(self):
        wizard = self.wizard()
        wizard.name = "Newsletter"
        wizard.action_create()
        wizard.action_create()
        self.simulator.fault("POST /lists", "drop_applied")
        self.tick()
        run = self.account.open_run_id
        self.assertEqual(run.state, "waiting")
        run.resume_at = False
        self.tick()
        self.tick()
        self.assertEqual(self.audiences(), ["Test audience", "Newsletter"])
        self.assertEqual(self.account.audience_name, "Newsletter")

    def test_a_second_one_is_told(self):
        first, second = self.wizard(), self.wizard()
        first.name, second.name = "Newsletter", "Offers"
        first.action_create()
        with self.assertRaisesRegex(UserError, "Newsletter is already being created"):
            second.action_create()
        with self.assertRaisesRegex(UserError, "Newsletter is already being created"):
            self.wizard()
        self.tick()
        self.assertEqual(self.audiences(), ["Test audience", "Newsletter"])
        # Afterwards it is another audience to link, as ever.
        self.wizard()

    def test_an_audience_of_the_name_is_never_taken(self):
        wizard = self.wizard()
        wizard.name = "Test audience"
        wizard.action_create()
        self.tick()
        self.assertEqual(self.audiences(), ["Test audience", "Test audience (CRM)"])
        self.assertEqual(self.account.audience_name, "Test audience (CRM)")
