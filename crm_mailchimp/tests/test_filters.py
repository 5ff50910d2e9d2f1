from odoo import Command
from odoo.exceptions import AccessError, UserError, ValidationError
from odoo.tests import tagged

from .common import MailchimpCase

# Conditions that nobody can use, and what is said of them.
UNUSABLE = (
    ("[('id', '=', active_id)]", "“active_id” has no value here"),
    ("[('no_such', '=', 1)]", "no field “no_such”"),
    ("[('parent_id.no_such', '=', 1)]", "no field “parent_id.no_such”"),
    ("[(", "a bracket, comma or quotation mark may be missing"),
    ("[('id', '=', uid.x)]", "Odoo cannot evaluate it"),
    ("['city']", "Odoo cannot evaluate it"),
)


@tagged("post_install", "-at_install")
class TestFilters(MailchimpCase):
    """Who may decide what leaves the company, and which filters can."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()

        def user(login, group):
            return cls.env["res.users"].create(
                {
                    "name": login,
                    "login": login,
                    "group_ids": [
                        Command.link(cls.env.ref(group).id),
                        Command.link(cls.env.ref("base.group_partner_manager").id),
                    ],
                }
            )

        cls.employee = user("filter-employee", "sales_team.group_sale_salesman")
        cls.syncer = user("filter-syncer", "crm_mailchimp.group_mailchimp_user")
        cls.manager = user("filter-manager", "crm_mailchimp.group_mailchimp_manager")

    def as_user(self, user, **values):
        return (
            self.env["ir.filters"]
            .with_user(user)
            .create(
                {
                    "name": "Ghent",
                    "domain": "[('city', '=', 'Ghent')]",
                    "model_id": "res.partner",
                    "user_ids": [Command.set(user.ids)],
                    **values,
                }
            )
        )

    def test_flagging_needs_the_right(self):
        with self.assertRaises(AccessError):
            self.as_user(self.employee, mailchimp_sync=True)
        record = self.as_user(self.employee)
        with self.assertRaises(AccessError):
            record.mailchimp_sync = True
        flagged = self.as_user(self.syncer, mailchimp_sync=True)
        self.assertEqual(flagged.mailchimp_owner_id, self.syncer)

    def test_the_domain_of_a_flagged_filter_is_guarded(self):
        record = self.as_user(
            self.manager, mailchimp_sync=True, user_ids=[Command.clear()]
        )
        for values in (
            {"domain": "[]"},
            {"active": False},
            {"mailchimp_sync": False},
            {"model_id": "crm.lead"},
            # Its name is the group's, and its users are those who may change it.
            {"name": "Gent"},
            {"user_ids": [Command.set(self.employee.ids)]},
            {"user_ids": [Command.set(self.syncer.ids)]},
            {"mailchimp_owner_id": self.manager.id, "name": "Gent"},
        ):
            for user in (self.employee, self.syncer):
                with self.assertRaises(AccessError):
                    record.with_user(user).write(values)
        with self.assertRaises(AccessError):
            record.with_user(self.employee).unlink()
        record.with_user(self.employee).write({"is_default": True})
        record.with_user(self.manager).write({"domain": "[('city', '=', 'Gent')]"})

    def test_nobody_writes_a_condition_that_works_with_rights_of_another(self):
        """Whoever changes what a filter finds answers for it from then on."""
        admin = self.env.ref("base.user_admin")
        shared = {"mailchimp_sync": True, "user_ids": [Command.clear()]}
        record = self.as_user(admin, **shared)
        self.assertEqual(record.mailchimp_owner_id, admin)
        record.with_user(self.manager).domain = "[('city', '=', 'Gent')]"
        self.assertEqual(record.mailchimp_owner_id, self.manager)
        probe = "[('signup_type', '!=', False)]"
        record = self.as_user(admin, **shared)
        with self.assertRaises(ValidationError):
            record.with_user(self.manager).domain = probe

    def test_defaults_flag_nothing_and_name_nobody(self):
        admin = self.env.ref("base.user_admin")
        defaults = {
            "default_mailchimp_sync": True,
            "default_mailchimp_owner_id": admin.id,
        }
        values = {"name": "Mine", "domain": "[]", "model_id": "res.partner"}
        Filters = self.env["ir.filters"].with_context(**defaults)
        for user_ids in ([], [Command.set(self.employee.ids)]):
            vals = {**values, "user_ids": user_ids}
            with self.assertRaises(AccessError):
                Filters.with_user(self.employee).create(vals)
            with self.assertRaises(AccessError):
                Filters.with_user(self.employee).create_filter(vals)
        with self.assertRaises(AccessError):
            Filters.with_user(self.syncer).create({**values, "user_ids": []})
        mine = {**values, "user_ids": [Command.set(self.syncer.ids)]}
        flagged = Filters.with_user(self.syncer).create(mine)
        self.assertEqual(flagged.mailchimp_owner_id, self.syncer)
        # Stored defaults are the same thing.
        Default = self.env["ir.default"].with_user(admin)
        Default.set("ir.filters", "mailchimp_sync", True)
        Default.set("ir.filters", "mailchimp_owner_id", admin.id)
        plain = self.as_user(self.employee)
        self.assertFalse(plain.mailchimp_sync)
        self.assertFalse(plain.mailchimp_owner_id)
        flagged = self.as_user(self.syncer, mailchimp_sync=True)
        self.assertEqual(flagged.mailchimp_owner_id, self.syncer)

    def test_an_import_and_a_copy_take_nothing_over(self):
        record = self.as_user(
            self.manager, mailchimp_sync=True, user_ids=[Command.clear()]
        )
        admin = self.env.ref("base.user_admin")
        for names, row in (
            (["id", "domain"], ["filter_x", "[]"]),
            (["id", "name"], ["filter_x", "Gent"]),
            (["id", "mailchimp_owner_id/.id"], ["filter_x", str(admin.id)]),
        ):
            self.env["ir.model.data"]._update_xmlids(
                [{"xml_id": "base.filter_x", "record": record}]
            )
            for user in (self.employee, self.syncer):
                row[0] = "base.filter_x"
                result = self.env["ir.filters"].with_user(user).load(names, [row])
                self.assertFalse(result["ids"], result)
                self.env.invalidate_all()
        self.assertEqual(record.mailchimp_owner_id, self.manager)
        names = ["name", "model_id", "domain", "mailchimp_sync"]
        names.append("mailchimp_owner_id/.id")
        row = ["New", "Contact", "[]", "True", str(admin.id)]
        result = self.env["ir.filters"].with_user(self.employee).load(names, [row])
        self.assertFalse(result["ids"])
        copy = record.with_user(self.employee).copy()
        self.assertFalse(copy.mailchimp_sync)
        self.assertFalse(copy.mailchimp_owner_id)

    def test_other_filters_stay_free(self):
        record = self.as_user(self.employee)
        record.domain = "[]"
        record.unlink()

    def test_an_unusable_filter_is_refused_with_the_reason(self):
        for domain, words in UNUSABLE:
            with self.assertRaisesRegex(ValidationError, words) as caught:
                self.as_user(self.syncer, domain=domain, mailchimp_sync=True)
            self.assert_no_code(caught.exception)
        with self.assertRaisesRegex(ValidationError, "without a contact"):
            self.as_user(
                self.syncer, model_id="res.country", domain="[]", mailchimp_sync=True
            )

    def assert_no_code(self, error):
        """Whoever wrote a condition need not know Python."""
        self.assertNotRegex(f"{error}", r"Error|while evaluating|<unknown>|\.\.")

    def test_so_is_an_unusable_condition_of_the_account(self):
        account = self.account.with_user(self.manager)
        for domain, words in UNUSABLE:
            with self.assertRaisesRegex(UserError, words) as caught:
                account.partner_domain = domain
            self.assert_no_code(caught.exception)

    def test_expressions_of_the_web_client(self):
        self.link()
        self.contact("Ann", user_id=self.syncer.id)
        self.contact("Bob")
        for name, domain in (
            ("Mine", "[('user_id', '=', uid)]"),
            (
                "New",
                "[('create_date', '>=', (context_today() - relativedelta(days=1))"
                ".strftime('%Y-%m-%d'))]",
            ),
            ("Newer", "[('create_date', '>=', 'today -30d')]"),
        ):
            self.as_user(self.syncer, name=name, domain=domain, mailchimp_sync=True)
        self.push()
        self.assertEqual(self.groups("ann@firma.be"), ["Mine", "New", "Newer"])
        self.assertEqual(self.groups("bob@firma.be"), ["New", "Newer"])

    def test_a_filter_sees_what_its_owner_may_see(self):
        self.link()
        other = self.env["res.company"].create({"name": "Other"})
        ann = self.contact("Ann")
        rule = self.env["ir.rule"].create(
            {
                "name": "No Ann",
                "model_id": self.env["ir.model"]._get_id("res.partner"),
                "domain_force": f"[('id', '!=', {ann.id})]",
                "groups": [
                    Command.link(self.env.ref("crm_mailchimp.group_mailchimp_user").id)
                ],
            }
        )
        self.assertTrue(rule and other)
        self.contact("Bob")
        self.as_user(self.syncer, name="All", domain="[]", mailchimp_sync=True)
        self.push()
        self.assertEqual(self.groups("ann@firma.be"), [])
        self.assertEqual(self.groups("bob@firma.be"), ["All"])

    def test_two_filters_of_one_name(self):
        self.link()
        self.contact("Ann", city="Ghent")
        self.as_user(self.syncer, mailchimp_sync=True)
        self.as_user(self.manager, mailchimp_sync=True)
        self.push()
        self.assertEqual(
            self.groups("ann@firma.be"),
            ["Ghent (filter-manager)", "Ghent (filter-syncer)"],
        )

    # === AN OWNER THAT CANNOT ANY MORE === #

    def with_members(self):
        """Return a flagged filter of a user with two companies, and its segment."""
        self.link()
        self.other = self.env["res.company"].create({"name": "Other"})
        self.syncer.company_ids = self.company | self.other
        record = self.as_user(self.syncer, mailchimp_sync=True)
        self.contact("Ann", city="Ghent")
        self.push()
        return record, self.account.segment_ids

    def assert_kept(self, segment, words):
        """The segment has its last members and says why; a quiet run stays quiet."""
        self.contact("Bob", city="Ghent")
        self.push()
        self.assertEqual(segment.state, "broken")
        self.assertIn(words, segment.error_message)
        self.assertEqual(segment.matching_count, 1)
        self.assertEqual(self.groups("ann@firma.be"), ["Ghent"])
        self.assertEqual(self.groups("bob@firma.be"), [])

    def test_the_owner_loses_access_to_the_company(self):
        record, segment = self.with_members()
        self.syncer.write(
            {"company_id": self.other.id, "company_ids": [Command.set(self.other.ids)]}
        )
        self.assert_kept(segment, "has no access to")
        self.syncer.company_ids |= self.company
        self.push()
        self.assertEqual(segment.state, "active")
        self.assertFalse(segment.error_message)
        self.assertEqual(self.groups("bob@firma.be"), ["Ghent"])
        # Taking the flag off withdraws it all the same.
        self.syncer.write(
            {"company_ids": [Command.set(self.other.ids)], "company_id": self.other.id}
        )
        record.mailchimp_sync = False
        self.push()
        self.assertEqual(segment.state, "withdrawn")
        self.assertFalse(self.interests())

    def test_the_owner_never_had_access_to_the_company(self):
        self.link()
        other = self.env["res.company"].create({"name": "Other"})
        self.syncer.write(
            {"company_ids": [Command.set(other.ids)], "company_id": other.id}
        )
        self.as_user(self.syncer, mailchimp_sync=True)
        self.push()
        self.assertFalse(self.account.segment_ids)

    def test_the_owner_is_archived(self):
        _record, segment = self.with_members()
        self.syncer.active = False
        self.assert_kept(segment, "archived")

    def test_the_owner_is_deleted(self):
        """Nobody's filter is not evaluated with everybody's rights."""
        record, segment = self.with_members()
        self.syncer.unlink()
        self.assertTrue(record.sudo().mailchimp_sync)
        self.assert_kept(segment, "deleted")

    def test_the_owner_may_not_read_contacts_any_more(self):
        _record, segment = self.with_members()
        access = self.env["ir.model.access"].search(
            [("model_id.model", "=", "res.partner"), ("perm_read", "=", True)]
        )
        access.perm_read = False
        self.addCleanup(access.invalidate_recordset)
        self.env.registry.clear_cache()
        self.account.segment_ids._evaluate()
        self.assertEqual(segment.state, "broken")
        self.assertEqual(segment.matching_count, 1)

    def test_companies_that_are_switched_on(self):
        """As in the web client: here it is the account's company, and no other."""
        self.link()
        other = self.env["res.company"].create({"name": "Other"})
        self.syncer.company_ids |= other
        self.contact("Ann", company_id=self.company.id)
        self.contact("Bob")
        self.as_user(
            self.syncer,
            domain="[('company_id', 'in', allowed_company_ids), ('lang', '=', lang)]",
            mailchimp_sync=True,
        )
        self.account.partner_domain = (
            "[('company_id', 'in', allowed_company_ids + [False])]"
        )
        self.push()
        self.assertEqual(self.groups("ann@firma.be"), ["Ghent"])
        self.assertEqual(self.groups("bob@firma.be"), [])
