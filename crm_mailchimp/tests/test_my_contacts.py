from odoo.exceptions import UserError
from odoo.tests import new_test_user, tagged

from .test_engagement import MailingCase


@tagged("post_install", "-at_install")
class TestMyContacts(MailingCase):
    """What a salesperson sees first: what the own contacts did with campaigns."""

    def prepare(self):
        super().prepare()
        self.sam = new_test_user(
            self.env, "sam", groups="sales_team.group_sale_salesman"
        )
        self.audience.clean("hard@firma.be")
        self.push()

    def mine(self, user=None, period="all"):
        self.env.flush_all()
        Account = self.env["crm.mailchimp.account"]
        return Account.with_user(user or self.sam).get_overview_mine(period)

    def numbers(self, **kwargs):
        found = self.mine(**kwargs)
        names = ("opened", "clicked", "unsubscribed", "invalid")
        return tuple(found[name] for name in names)

    def test_contacts_of_the_salesperson(self):
        self.assertEqual(self.mine(), {}, "nobody is Sam's")
        for name in ("Open", "Click", "Leaves", "Hard"):
            self.people[name].user_id = self.sam
        opened = 2 if self.people["Click"].mailchimp_last_open else 1
        self.assertEqual(self.numbers(), (opened, 1, 1, 1))
        self.assertEqual(
            [line["name"] for line in self.mine()["latest"]],
            [self.people["Click"].display_name],
        )
        self.people["Click"].user_id = self.env.ref("base.user_admin")
        self.assertEqual(self.numbers()[1], 0)
        self.assertFalse(self.mine()["latest"])

    def test_contacts_of_the_leads_of_the_salesperson(self):
        self.env["crm.lead"].create(
            {
                "name": "L",
                "partner_id": self.people["Click"].id,
                "user_id": self.sam.id,
            }
        )
        self.assertEqual(self.numbers()[1], 1)

    def test_the_period(self):
        self.people["Click"].user_id = self.sam
        self.assertEqual(self.numbers(period="30")[1], 1)
        with self.assertRaises(UserError):
            self.mine(period="'; DROP TABLE res_partner; --")

    def test_the_lists_it_leads_to(self):
        """The filter *My contacts* finds the same people."""
        self.people["Hard"].user_id = self.sam
        self.people["Open"].user_id = self.sam
        for xmlid, model, found in (
            ("crm_mailchimp_recipient_view_search", "recipient", {"Hard", "Open"}),
            ("crm_mailchimp_invalid_email_view_search", "invalid.email", {"Hard"}),
        ):
            arch = self.env.ref(f"crm_mailchimp.{xmlid}").arch
            self.assertIn("partner_id.opportunity_ids.user_id", arch)
            domain = [
                "|",
                ("partner_id.user_id", "=", self.sam.id),
                ("partner_id.opportunity_ids.user_id", "=", self.sam.id),
            ]
            lines = self.env[f"crm.mailchimp.{model}"].with_user(self.sam)
            names = set(lines.search(domain).partner_id.mapped("name"))
            self.assertEqual(names, found)
