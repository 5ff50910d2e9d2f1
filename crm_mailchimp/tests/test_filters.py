from odoo import Command
from odoo.exceptions import AccessError, ValidationError
from odoo.tests import tagged

from .common import MailchimpCase


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
        ):
            for user in (self.employee, self.syncer):
                with self.assertRaises(AccessError):
                    record.with_user(user).write(values)
        with self.assertRaises(AccessError):
            record.with_user(self.employee).unlink()
        record.with_user(self.employee).write({"name": "Gent"})
        record.with_user(self.manager).write({"domain": "[('city', '=', 'Gent')]"})

    def test_other_filters_stay_free(self):
        record = self.as_user(self.employee)
        record.domain = "[]"
        record.unlink()

    def test_an_unusable_filter_is_refused_with_the_reason(self):
        for domain, words in (
            ("[('id', '=', active_id)]", "active_id"),
            ("[('no_such', '=', 1)]", "no_such"),
            ("[(", "Ghent"),
        ):
            with self.assertRaisesRegex(ValidationError, words):
                self.as_user(self.syncer, domain=domain, mailchimp_sync=True)
        with self.assertRaisesRegex(ValidationError, "no contact"):
            self.as_user(
                self.syncer, model_id="res.country", domain="[]", mailchimp_sync=True
            )

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
