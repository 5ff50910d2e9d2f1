from ast import literal_eval
from datetime import timedelta

from lxml import etree, html

from odoo import fields
from odoo.tests import HttpCase, new_test_user, tagged

from .common import MailchimpCase, long
from .test_engagement import MailingCase

SALES = "sales_team.group_sale_salesman"
CONTACTS = ("crm.mailchimp.contact.status", "crm.mailchimp.segment.contact")


@tagged("post_install", "-at_install")
class TestScreens(MailchimpCase):
    """What screens say, offer and lead to."""

    def prepare(self):
        super().prepare()
        self.link()

    def action(self, name):
        return self.env["ir.actions.act_window"]._for_xml_id(f"crm_mailchimp.{name}")

    def test_empty_screens_have_a_button_that_leads_somewhere(self):
        for name in ("campaign", "contact_status", "member", "segment", "run"):
            with self.subTest(name):
                action = self.action(f"action_crm_mailchimp_{name}")
                # The guide, which other links lead to, is no button.
                (link,) = html.fromstring(action["help"]).iterfind(
                    ".//a[@type='action']"
                )
                target = self.env["ir.actions.actions"].browse(int(link.get("name")))
                self.assertTrue(target.exists())
                self.assertTrue(link.text_content().strip())

    def ours(self, model):
        """Return the records of a model that the add-on comes with."""
        known = self.env["ir.model.data"].search(
            [("module", "=", "crm_mailchimp"), ("model", "=", model)]
        )
        return self.env[model].browse(known.mapped("res_id")).exists()

    def archs(self):
        """Yield the model and what each of our views consists of."""
        for view in self.ours("ir.ui.view").filtered("model"):
            yield view.model, etree.fromstring(view.arch)

    def test_phones_have_cards(self):
        """A list would be cut."""
        for action in self.ours("ir.actions.act_window"):
            modes = action.view_mode.split(",")
            if "list" in modes:
                self.assertIn("kanban", modes, action.name)
        for model, arch in self.archs():
            for shown in arch.xpath("//field[list]"):
                columns = shown.xpath("list/field[not(@column_invisible)]")
                # Permissions: a name and a switch, beside the problem if there is one.
                if len(columns) > 3:
                    self.assertEqual(
                        shown.get("mode"),
                        "list,kanban",
                        f"{model}: {shown.get('name')}",
                    )

    def test_every_group_has_a_name(self):
        """A list grouped by a selection names no group of records without a value."""
        # These always have one.
        always = {
            *((model, "status") for model in CONTACTS),
            *((model, "outcome") for model in CONTACTS),
            ("crm.mailchimp.disclosure", "kind"),
            ("crm.mailchimp.invalid.email", "kind"),
            ("crm.mailchimp.recipient", "status"),
        }
        found = 0
        for model, arch in self.archs():
            for group in arch.xpath("//search//filter[contains(@context, 'group_by')]"):
                name = literal_eval(group.get("context"))["group_by"].split(":")[0]
                field = self.env[model]._fields[name]
                named = field.required or field.falsy_value_label
                self.assertTrue(named or (model, name) in always, f"{model}: {name}")
                found += 1
        self.assertGreater(found, 15)
        self.env["res.lang"]._activate_lang("nl_NL")
        dutch = self.env["crm.mailchimp.member"].with_context(lang="nl_NL")
        self.assertEqual(
            dutch.fields_get(["reason"])["reason"]["falsy_value_label"],
            "Niet geweigerd",
        )

    def test_a_question_is_answered_by_a_verb(self):
        """Not by "Ok"."""
        for model, arch in self.archs():
            for button in arch.xpath("//button[@confirm]"):
                self.assertTrue(
                    button.get("confirm-label"), f"{model}: {button.get('name')}"
                )

    def test_only_fields_with_a_label_are_offered(self):
        """In custom filters and groups: the books of a run are nobody's question."""
        for model, technical, labelled in (
            ("member", ("seen_in_run", "opt_in_seen"), ("archived_by", "next_try")),
            ("campaign", ("list_known", "read_marks"), ("open_rate", "send_time")),
            ("run", ("pulled_until",), ("started_at",)),
            ("recipient", ("email_hash",), ("unsubscribe_reason",)),
        ):
            found = self.env[f"crm.mailchimp.{model}"].fields_get(
                [*technical, *labelled], ["groupable", "searchable", "string"]
            )
            for name in technical:
                self.assertFalse(found[name]["searchable"], name)
                self.assertFalse(found[name].get("groupable"), name)
            for name in labelled:
                self.assertTrue(found[name]["searchable"], name)

    def test_labels_in_one_case(self):
        """The words of lists are in sentence case, as Odoo's are."""
        for name in ("campaign", "member", "segment", "run", "recipient"):
            model = self.env[f"crm.mailchimp.{name}"]
            shown = {
                node.get("name")
                for kind, path in (
                    ("list", "/list/field"),
                    ("form", "//group/field[not(@nolabel)]"),
                )
                for node in etree.fromstring(
                    model.get_view(view_type=kind)["arch"]
                ).xpath(path)
                if "1" not in (node.get("invisible"), node.get("column_invisible"))
                and not node.get("string")
            }
            for field in shown:
                label = model._fields[field]._description_string(self.env)
                self.assertFalse(
                    "_" in field and label == field.replace("_", " ").title(),
                    f"{name}: {label}",
                )

    def test_a_word_on_asking_again_for_who_may_press_it(self):
        ann = self.contact("Ann")
        self.push()
        self.audience.archive("ann@firma.be")
        self.push()
        Status = self.env["crm.mailchimp.contact.status"]
        line = [("partner_id", "=", ann.id)]
        sales = new_test_user(self.env, "sam", groups=SALES)
        user = new_test_user(
            self.env, "max", groups=f"{SALES},crm_mailchimp.group_mailchimp_user"
        )
        ann.user_id = sales
        self.assertIn("Use “Ask again”", Status.with_user(user).search(line).remedy)
        remedy = Status.with_user(sales).search(line).remedy
        self.assertIn("Ask a Mailchimp user", remedy)

    # === FLAGGING A FILTER === #

    def test_flagging_a_filter_says_who_is_sent(self):
        self.contact("Ann", city="Ghent")
        self.contact("Bob", city="Ghent").email = "no address"
        self.contact("Cat", city="Ghent").mailchimp_opt_in = False
        record = self.flag("Ghent", "[('city', '=', 'Ghent')]")
        record = record.with_user(self.env.ref("base.user_admin"))
        record.mailchimp_sync = False
        notice = record.action_mailchimp_flag()["params"]
        self.assertTrue(record.mailchimp_sync)
        self.assertIn("Matching contacts: 3", notice["message"])
        self.assertIn("sync: 1", notice["message"])
        server = self.env.ref(notice["action"])
        self.assertEqual(notice["button"], "Sync now")
        server.with_user(record.env.user).run()
        self.tick()
        self.assertEqual(self.groups("ann@firma.be"), ["Ghent"])
        self.account.action_pause()
        message = record.action_mailchimp_outlook()["params"]["message"]
        self.assertIn("is resumed: 1", message)
        record.action_mailchimp_unflag()
        self.assertFalse(record.mailchimp_sync)

    def test_before_anything_is_set_up(self):
        self.account.active = False
        record = self.flag("Everybody", "[]")
        notice = record.action_mailchimp_outlook()["params"]
        self.assertIn("once Mailchimp is set up", notice["message"])
        self.assertEqual(
            notice["action"], "crm_mailchimp.action_crm_mailchimp_overview"
        )

    def test_ready_made_filters_are_favourites_once_they_are_wanted(self):
        admin = self.env.ref("base.user_admin")
        Filters = self.env["ir.filters"].with_user(admin)
        ready = self.env.ref("crm_mailchimp.filter_companies").with_user(admin)

        def favourites():
            return {one["id"] for one in Filters.get_filters("res.partner")}

        self.assertNotIn(ready.id, favourites())
        action = self.action("action_ir_filters")
        listed = Filters.with_context(**literal_eval(action["context"])).search(
            literal_eval(action["domain"])
        )
        self.assertIn(ready, listed)
        ready.action_mailchimp_flag()
        self.assertIn(ready.id, favourites())
        self.push()
        self.assertTrue(ready.mailchimp_segment_ids)

    # === AUTOMATIONS === #

    def test_a_running_automation(self):
        """It is in the list, its mails are not, and its numbers lead to people."""
        self.contact("Ann")
        self.contact("Bob")
        self.push()
        parent = self.audience.add_campaign(type="automation", title="Welcome")
        for title in ("Mail 1", "Mail 2"):
            mail = self.audience.add_campaign(
                type="automation", title=title, subject=title, parent=parent
            )
            self.audience.send_campaign(mail)
            self.audience.open(mail, "ann@firma.be")
        draft = self.audience.add_campaign(title="Draft")
        self.push("stats")
        Campaign = self.env["crm.mailchimp.campaign"]
        self.assertTrue(Campaign.search([("campaign_ref", "=", draft.id)]))
        search = etree.fromstring(Campaign.get_view(view_type="search")["arch"])
        (sent,) = search.xpath("//filter[@name='sent']")
        listed = Campaign.search(literal_eval(sent.get("domain")))
        self.assertEqual(listed.mapped("name"), ["Welcome"])
        self.assertEqual(listed.recipient_count, 4)
        action = listed.with_context(search_default_opened=1).action_open_recipients()
        opened = self.env["crm.mailchimp.recipient"].search(
            [*action["domain"], ("open_count", ">", 0)]
        )
        self.assertEqual(
            opened.mapped("email_normalized"), ["ann@firma.be", "ann@firma.be"]
        )


@long
@tagged("post_install", "-at_install")
class TestScreenTours(MailingCase, HttpCase):
    """The same in a browser."""

    def tour(self, url, name):
        self.env.flush_all()
        self.start_tour(url, name, login="admin")
        self.env.invalidate_all()

    @long
    def test_the_dialog_for_a_tag_closes(self):
        partner = self.people["Open"]
        self.tour(f"/odoo/res.partner/{partner.id}", "crm_mailchimp_add_tag")
        self.assertEqual(partner.mailchimp_tag_ids.name, "VIP")

    def test_buttons_stand_where_they_can_do_something(self):
        self.audience.add_member("foreign@firma.be")
        self.account.foreign_members = "archive"
        self.push()
        self.assertEqual(self.account.foreign_count, 1)
        self.tour(
            "/odoo/action-crm_mailchimp.action_crm_mailchimp_member",
            "crm_mailchimp_member_buttons",
        )
        self.tick()
        self.assertEqual(self.status("foreign@firma.be"), "archived")
        self.assertEqual(self.status("open@firma.be"), "subscribed")

    def test_groups_without_a_value_have_a_name(self):
        self.tour(
            "/odoo/action-crm_mailchimp.action_crm_mailchimp_member",
            "crm_mailchimp_group_names",
        )

    @long
    def test_asking_again_refreshes_the_page(self):
        partner = self.people["Leaves"]
        self.simulator.advance(60)
        partner.mailchimp_opt_in = True
        self.tour(f"/odoo/res.partner/{partner.id}", "crm_mailchimp_ask_again")
        self.assertEqual(self.ledger("leaves@firma.be").operation, "ask")

    def test_pausing_and_resuming(self):
        self.tour(
            f"/odoo/crm.mailchimp.account/{self.account.id}", "crm_mailchimp_pause"
        )
        self.assertTrue(self.account.push_enabled)


@long
@tagged("post_install", "-at_install")
class TestPhoneTours(MailchimpCase, HttpCase):
    """What is a list elsewhere is cards in a narrow window."""

    browser_size = "420x860"
    touch_enabled = True

    def tour(self, url, name):
        self.env.flush_all()
        self.start_tour(url, name, login="admin")
        self.env.invalidate_all()

    def test_members_who_opted_out(self):
        self.contact("Ann").mailchimp_opt_in = False
        self.env["mail.blacklist"].create({"email": "bob@firma.be"})
        self.env["crm.mailchimp.suppression"].search([]).date = (
            fields.Datetime.now() - timedelta(minutes=10)
        )
        for name in ("ann", "bob"):
            member = self.audience.add_member(f"{name}@firma.be")
            signed_up = self.simulator.clock.now() - 1000
            member.timestamp_opt = member.timestamp_signup = signed_up
        self.tour(
            f"/odoo/crm.mailchimp.account/{self.account.id}",
            "crm_mailchimp_phone_opted_out",
        )
        self.assertEqual(self.account.audience_ref, self.audience.id)

    def test_the_preview(self):
        self.link()
        self.push()
        self.contact("Ann")
        self.push("preview")
        self.tour(
            "/odoo/action-crm_mailchimp.action_crm_mailchimp_preview_line",
            "crm_mailchimp_phone_preview",
        )

    def test_correcting_an_address(self):
        self.link()
        hard = self.contact("Hard")
        self.push()
        self.audience.clean("hard@firma.be")
        self.push()
        self.tour(
            "/odoo/action-crm_mailchimp.action_crm_mailchimp_invalid_email",
            "crm_mailchimp_phone_correct",
        )
        self.assertEqual(hard.email, "better@firma.be")
