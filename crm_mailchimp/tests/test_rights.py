import contextlib

from odoo import Command
from odoo.exceptions import AccessError, UserError, ValidationError
from odoo.tests import new_test_user, tagged

from .common import MailchimpCase

MANAGER = "crm_mailchimp.group_mailchimp_manager"
SYNCER = "crm_mailchimp.group_mailchimp_user"
SALES = "sales_team.group_sale_salesman"


class RightsCase(MailchimpCase):
    """A manager of each of two companies, and users with fewer rights."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.other = cls.env["res.company"].create({"name": "Other"})
        for name, group, company in (
            ("manager", MANAGER, cls.company),
            ("syncer", SYNCER, cls.company),
            ("sales", SALES, cls.company),
            ("employee", "base.group_user", cls.company),
            ("portal", "base.group_portal", cls.company),
            ("stranger", MANAGER, cls.other),
        ):
            user = new_test_user(
                cls.env,
                f"rights-{name}",
                groups=group,
                company_id=company.id,
                company_ids=[Command.set(company.ids)],
            )
            setattr(cls, name, user)

    def secret_rule(self):
        """Hide contacts with a reference from everybody."""
        self.env["ir.rule"].create(
            {
                "name": "Secret contacts",
                "model_id": self.env["ir.model"]._get_id("res.partner"),
                "domain_force": "[('ref', '=', False)]",
            }
        )


# Every way a condition can ask for what nobody may read.
PROBES = (
    "[('mailchimp_segment_ids.account_id.api_key_secret', '=like', 'a%')]",
    "[('mailchimp_segment_ids', 'any',"
    " [('account_id', 'any', [('api_key_secret', '=like', 'a%')])])]",
    "[('mailchimp_segment_ids', 'not any', [('account_id.api_key_secret', '!=', 0)])]",
    "['!', ('mailchimp_segment_ids.account_id.api_key_secret', 'ilike', 'a')]",
    "['|', ('id', '>', 0), ('user_ids.totp_secret', '=like', 'A%')]",
    "[('user_ids.password', '=like', '$pbkdf2%')]",
    "[('user_ids.api_key_ids.key', '!=', False)]",
    "[('signup_type', '!=', False)]",
    "[('create_uid.totp_secret', '!=', False)]",
    "[('child_ids.user_ids.totp_secret', '!=', False)]",
    "[('mailchimp_segment_ids.account_id.api_key_secret', 'in', ['a', False])]",
)


@tagged("post_install", "-at_install")
class TestConditions(RightsCase):
    """Who is in the audience tells nothing that its author may not read."""

    def prepare(self):
        super().prepare()
        self.link()

    def test_a_condition_is_no_oracle(self):
        """Neither a manager nor an administrator finds the key by who matches."""
        self.manager.group_ids |= self.env.ref("base.group_system")
        admin = self.env.ref("base.user_admin")
        for user in (self.manager, admin):
            account = self.account.with_user(user)
            for probe in PROBES:
                if "signup_type" in probe:
                    continue  # administrators may read it
                with self.subTest(user=user.login, probe=probe):
                    with self.assertRaises(UserError) as caught:
                        account.partner_domain = probe
                    self.assertRegex(str(caught.exception), "secret|may not read")
        self.assertEqual(self.account.partner_domain, "[]")

    def test_nor_for_fields_of_other_groups(self):
        with self.assertRaises(UserError) as caught:
            self.account.with_user(
                self.manager
            ).partner_domain = "[('signup_type', '!=', False)]"
        self.assertIn("may not read signup_type", str(caught.exception))

    def test_a_filter_is_no_oracle(self):
        for user in (self.syncer, self.manager):
            for probe in PROBES:
                with self.subTest(user=user.login, probe=probe):
                    with self.assertRaises(UserError):
                        self.env["ir.filters"].with_user(user).create(
                            {
                                "name": "Probe",
                                "model_id": "res.partner",
                                "domain": probe,
                                "user_ids": [Command.set(user.ids)],
                                "mailchimp_sync": True,
                            }
                        )

    def test_the_secret_is_not_found_by_any_other_way(self):
        """Searching, sorting, grouping, reading, exporting and looking up by name."""
        admin = self.env.ref("base.user_admin")
        for user in (self.sales, self.syncer, self.manager, admin):
            Account = self.env["crm.mailchimp.account"].with_user(user)
            Partner = self.env["res.partner"].with_user(user)
            account = Account.browse(self.account.id)
            for attempt in (
                lambda A=Account: A.search([("api_key_secret", "=like", "%")]),
                lambda A=Account: A.search([], order="api_key_secret"),
                lambda A=Account: A.search_count([("api_key_secret", "!=", False)]),
                lambda A=Account: A._read_group([], ["api_key_secret"]),
                lambda A=Account: A.formatted_read_group([], ["api_key_secret"]),
                lambda A=Account: A.name_search(
                    "", [("api_key_secret", "=like", "0%")]
                ),
                lambda a=account: a.read(["api_key_secret"]),
                lambda a=account: a.export_data(["api_key_secret"]),
                lambda a=account: a.filtered_domain([("api_key_secret", "!=", False)]),
                lambda a=account: a.web_read({"api_key_secret": {}}),
                lambda P=Partner: P.search(
                    [("mailchimp_segment_ids.account_id.api_key_secret", "!=", 0)]
                ),
                lambda P=Partner: P.search(
                    [], order="mailchimp_segment_ids.account_id.api_key_secret"
                ),
                lambda u=user: (
                    self.env["crm.mailchimp.segment"]
                    .with_user(u)
                    ._read_group([], ["account_id.api_key_secret"])
                ),
            ):
                refused = False
                with contextlib.suppress(UserError, ValueError):
                    refused = True
                    with self.env.cr.savepoint():
                        found = attempt()
                    refused = False
                self.assertTrue(refused, not refused and found)
                self.env.invalidate_all()
            self.assertNotIn(self.simulator.api_key, str(account.read()))
            self.assertFalse(account.api_key)

    def test_nor_is_that_of_the_registered_app(self):
        """Nobody but Odoo itself gets at the app, administrators included."""
        self.env["crm.mailchimp.app"]._set(client_id="app")
        self.env["crm.mailchimp.app"]._set(client_secret="hush-hush")
        app = self.env["crm.mailchimp.app"]._get()
        self.env["crm.mailchimp.login"].create(
            {"user_id": self.env.uid, "secret_hash": "h", "session_hash": "s"}
        )
        for user in (
            self.sales,
            self.syncer,
            self.manager,
            self.env.ref("base.user_admin"),
        ):
            for name in ("crm.mailchimp.app", "crm.mailchimp.login"):
                Model = self.env[name].with_user(user)
                for attempt in (
                    lambda M=Model: M.search([]),
                    lambda M=Model: M.search_count([]),
                    lambda M=Model: M.name_search(""),
                    lambda M=Model: M._read_group([], ["create_uid"]),
                    lambda M=Model: M.search_read([], ["id"]),
                    lambda M=Model: M.create({"client_id": "x"}),
                    lambda a=app, u=user: a.with_user(u).read(["client_secret"]),
                    lambda a=app, u=user: a.with_user(u).client_id,
                    lambda a=app, u=user: a.with_user(u).write({"client_id": "evil"}),
                    lambda a=app, u=user: a.with_user(u).export_data(["client_secret"]),
                ):
                    # Who may export nothing at all gets another error first.
                    with self.assertRaises(UserError), self.env.cr.savepoint():
                        attempt()
                    self.env.invalidate_all()
        for user in (self.sales, self.syncer, self.manager):
            with self.assertRaises(AccessError):
                self.env["res.config.settings"].with_user(user).create(
                    {"mailchimp_client_secret": "evil"}
                )
        self.assertEqual(app.client_secret, "hush-hush")

    def test_the_condition_works_with_the_rights_of_its_author(self):
        self.secret_rule()
        self.contact("Ann", city="Ghent")
        hidden = self.contact("Bob", city="Ghent", ref="secret")
        self.account.with_user(self.manager).partner_domain = "[('city', '=', 'Ghent')]"
        self.assertEqual(self.account.partner_domain_user_id, self.manager)
        self.push()
        self.assertEqual(set(self.audience.members), {"ann@firma.be"})
        self.assertEqual(hidden.mailchimp_reason, "out_of_scope")

    def test_nobody_signs_for_somebody_else(self):
        admin = self.env.ref("base.user_admin")
        account = self.account.with_user(self.manager)
        domain = "[('city', '=', 'Ghent')]"
        account.write({"partner_domain": domain, "partner_domain_user_id": admin.id})
        self.assertEqual(self.account.partner_domain_user_id, self.manager)
        account.partner_domain_user_id = admin
        self.env.invalidate_all()
        self.assertEqual(self.account.partner_domain_user_id, self.manager)
        created = (
            self.env["crm.mailchimp.account"]
            .with_user(self.stranger)
            .with_context(default_partner_domain_user_id=admin.id)
            .create({"partner_domain": domain, "partner_domain_user_id": admin.id})
        )
        self.assertEqual(created.partner_domain_user_id, self.stranger)

    def test_an_author_who_is_gone_stops_the_run_and_archives_nobody(self):
        self.contact("Ann", city="Ghent")
        self.account.with_user(self.manager).partner_domain = "[('city', '=', 'Ghent')]"
        self.push()
        self.manager.active = False
        run = self.push(state="failed")
        self.assertIn("archived", run.error_message)
        self.assertIn("set it again", run.error_message)
        self.assertEqual(self.status("ann@firma.be"), "subscribed")
        self.account.partner_domain = "[('city', '=', 'Ghent'), ('id', '>', 0)]"
        self.push()

    def test_linking_another_audience_keeps_the_authors(self):
        domain = "[('city', '=', 'Ghent')]"
        self.account.with_user(self.manager).partner_domain = domain
        line = self.account.merge_field_ids[0]
        line.with_user(self.manager).write({"source": "field", "field_path": "vat"})
        second = self.simulator.add_audience("Second")
        account = self.account._link_audience(
            {"id": second.id, "name": second.name, "web_id": second.web_id}
        )
        self.assertNotEqual(account, self.account)
        self.assertEqual(account.partner_domain_user_id, self.manager)
        self.assertEqual(account.merge_field_ids[0].author_id, self.manager)


@tagged("post_install", "-at_install")
class TestMappedFields(RightsCase):
    """A mapped field sends what its author may read, and never a secret."""

    def prepare(self):
        super().prepare()
        self.link()

    def map(self, path, user=None, tag="PROBE", **values):
        return (
            self.env["crm.mailchimp.merge.field"]
            .with_user(user or self.manager)
            .create(
                {
                    "account_id": self.account.id,
                    "tag": tag,
                    "name": tag,
                    "source": "field",
                    "field_path": path,
                    **values,
                }
            )
        )

    def value(self, email="ann@firma.be", tag="PROBE"):
        return self.member(email).merge_fields.get(tag)

    def test_secrets_cannot_be_mapped_by_anybody(self):
        for user in (self.manager, self.env.ref("base.user_admin"), self.env.user):
            for path in (
                *("user_id.totp_secret", "user_id.password", "user_id.new_password"),
                *("signup_type", "create_uid.totp_secret", "user_id.api_key_ids"),
                *("parent_id.user_id.totp_secret", "company_id.create_uid.password"),
            ):
                with self.subTest(user=user.login, path=path):
                    with self.assertRaises(ValidationError):
                        self.map(path, user)
                    line = self.account.merge_field_ids[0].with_user(user)
                    with self.assertRaises(ValidationError):
                        line.write({"source": "field", "field_path": path})
                    self.env.invalidate_all()

    def test_no_field_that_has_groups_or_a_secret_name(self):
        """Of all fields of contacts and of what is behind them."""
        line = self.map("vat")
        for path, field in self.paths():
            line_path = f"user_id.{path}"
            kept = "base.group_user" not in (field.groups or "base.group_user")
            kept |= any(
                word in field.name for word in ("password", "token", "secret", "totp")
            )
            if not kept:
                continue
            with self.subTest(path=line_path), self.assertRaises(ValidationError):
                line.field_path = line_path
            self.env.invalidate_all()

    def paths(self):
        found = [
            (name, field)
            for name, field in self.env["res.users"]._fields.items()
            if not field.type.endswith("2many")
        ]
        self.assertGreater(len([f for _n, f in found if f.groups]), 3)
        return found

    def test_a_secret_that_came_in_by_another_door_is_not_sent(self):
        """Fields get groups by an update; lines are older than the rule."""
        line = self.map("vat")
        user = self.env.ref("base.user_admin")
        self.contact("Ann", vat="BE0477472701", user_id=user.id)
        self.push()
        self.assertEqual(self.value(), "BE0477472701")
        self.env.flush_all()
        self.env.cr.execute(
            "UPDATE crm_mailchimp_merge_field SET field_path = 'user_id.totp_secret'"
            " WHERE id = %s",
            [line.id],
        )
        self.env.cr.execute(
            "UPDATE res_users SET totp_secret = 'JBSWY3DP' WHERE id = %s", [user.id]
        )
        self.env.invalidate_all()
        self.push("full")
        self.assertEqual(self.value(), "BE0477472701", "left alone")
        self.assertIn("a secret", line.warning)
        self.assertNotIn("JBSWY3DP", str(self.simulator.calls))

    def test_contacts_and_records_behind_them_that_the_author_may_not_see(self):
        self.secret_rule()
        parent = self.contact("Parent", ref="secret", is_company=True)
        self.contact("Ann", parent_id=parent.id, comment="<p>Hello</p>")
        self.contact("Bob", ref="secret", comment="<p>Private</p>")
        self.map("parent_id.name")
        self.map("comment", tag="NOTES")
        self.map("parent_id.display_name", tag="SLOW")
        self.map("commercial_company_name", tag="SLOWER")
        self.push()
        self.assertFalse(self.value())
        self.assertEqual(self.value(tag="NOTES"), "Hello")
        self.assertFalse(self.value(tag="SLOW"))
        self.assertFalse(self.value("bob@firma.be", "NOTES"))
        # The default mapping is Odoo's own here.
        self.assertEqual(self.value("bob@firma.be", "FNAME"), "Bob")

    def test_another_company_behind_a_contact(self):
        parent = self.contact("Parent", company_id=self.other.id, vat="OTHER")
        ann = self.contact("Ann")
        self.env.flush_all()
        self.env.cr.execute(
            "UPDATE res_partner SET parent_id = %s WHERE id = %s", [parent.id, ann.id]
        )
        self.env.invalidate_all()
        self.map("parent_id.vat")
        self.push()
        self.assertFalse(self.value())

    def test_what_may_not_be_sent_any_more_empties_nothing(self):
        line = self.map("city")
        ann = self.contact("Ann", city="Ghent")
        self.push()
        self.assertEqual(self.value(), "Ghent")
        self.manager.active = False
        ann.city = "Paris"
        self.push()
        self.assertEqual(self.value(), "Ghent")
        self.assertEqual(self.value(tag="CITY"), "Paris")
        self.assertIn("archived", line.warning)
        self.assertIn("No longer sent: PROBE", self.account.mapping_message)
        # Another manager answers for it.
        other = new_test_user(self.env, "rights-other", groups=MANAGER)
        line.with_user(other).action_take_over()
        self.assertFalse(line.warning)
        self.push()
        self.assertEqual(self.value(), "Paris")

    def test_what_leaves_the_company(self):
        """One page says what, from where, with whose rights, and who changed it."""
        line = self.map("vat")
        self.account.with_user(self.manager).partner_domain = "[('city', '!=', 'X')]"
        flagged = (
            self.env["ir.filters"]
            .with_user(self.syncer)
            .create(
                {
                    "name": "Ghent",
                    "domain": "[('city', '=', 'Ghent')]",
                    "model_id": "res.partner",
                    "user_ids": [Command.set(self.syncer.ids)],
                    "mailchimp_sync": True,
                }
            )
        )
        action = self.account.with_user(self.syncer).action_open_disclosures()
        Page = self.env[action["res_model"]].with_user(self.manager)
        lines = Page.search(action["domain"])
        found = {page.name: page for page in lines}
        self.assertLessEqual(
            {
                *("PROBE (PROBE)", "FNAME (First Name)", "Ghent"),
                *("Only contacts matching", "Address, language and time of the opt-in"),
            },
            set(found),
        )
        for name, detail, user in (
            ("PROBE (PROBE)", "vat", self.manager),
            ("Only contacts matching", "[('city', '!=', 'X')]", self.manager),
            ("Ghent", "res.partner: [('city', '=', 'Ghent')]", self.syncer),
        ):
            page = found[name]
            self.assertEqual((page.detail, page.user_id), (detail, user))
            self.assertEqual(page.changed_by_id, user)
            self.assertEqual(page.can_take_over, user != self.manager)
            self.assertTrue(page.changed_at)
            self.assertFalse(page.problem)
        for user in (self.sales, self.employee):
            with self.assertRaises(AccessError):
                Page.with_user(user).search([])
        self.assertFalse(Page.with_user(self.stranger).search([]))
        # Who wrote them is gone: the page says so, and another manager takes over.
        (self.manager | self.syncer).active = False
        other = new_test_user(self.env, "rights-other", groups=MANAGER)
        lines = Page.with_user(other).search([("user_id", "!=", False)])
        lines = lines.filtered(lambda page: page.user_id != self.env.user)
        self.assertEqual(len(lines.filtered("problem")), 3)
        lines.action_take_over()
        lines = Page.with_user(other).browse(lines.ids)
        self.assertFalse(any(lines.mapped("problem")))
        self.assertEqual(lines.user_id, other)
        self.assertEqual(line.author_id, other)
        self.assertEqual(flagged.mailchimp_owner_id, other)
        self.assertEqual(self.account.partner_domain_user_id, other)

    def test_nobody_maps_in_the_name_of_somebody_else(self):
        admin = self.env.ref("base.user_admin")
        line = self.map("vat", author_id=admin.id)
        self.assertEqual(line.author_id, self.manager)
        line.write({"author_id": admin.id})
        self.assertEqual(line.author_id, self.manager)
        line.with_user(admin).field_path = "city"
        self.assertEqual(line.author_id, admin)
        with self.assertRaises(AccessError):
            line.with_user(self.syncer).action_take_over()
        with self.assertRaises(AccessError):
            line.with_user(self.stranger).action_take_over()
