from odoo import Command
from odoo.exceptions import AccessError, UserError
from odoo.models import MAGIC_COLUMNS
from odoo.tests import tagged

from .common import long
from .test_roles import ROLES, EverythingCase

# What somebody could make up.
MADE_UP = {
    "char": "forged",
    "text": "forged",
    "integer": 7,
    "float": 7.0,
    "boolean": True,
    "datetime": "2031-01-01 00:00:00",
    "date": "2031-01-01",
    "json": {"forged": True},
}


@tagged("post_install", "-at_install")
class TestGuarded(EverythingCase):
    """Fields that only the add-on writes are refused for everybody, by every way in."""

    def own_fields(self):
        """Yield ``(records, field)`` of all that is read-only and stored, wherever."""
        for name, records in self.records.items():
            if records._transient and name not in (
                "crm.mailchimp.choose.audience.line",
                "crm.mailchimp.choose.audience.opted.out",
            ):
                # What a user enters in a dialog, with no other rights than its own.
                continue
            for field in records._fields.values():
                ours = name.startswith("crm.mailchimp.") or any(
                    "crm_mailchimp" in module for module in (field._modules or ())
                )
                if (
                    ours
                    and field.readonly
                    and field.store
                    and field.name not in MAGIC_COLUMNS
                ):
                    yield records[:1], field

    def made_up(self, record, field):
        value = MADE_UP.get(field.type)
        if field.type == "selection":
            value = field.get_values(self.env)[-1]
        elif field.type == "many2one":
            other = self.env[field.comodel_name].search(
                [("id", "!=", record[field.name].id)], limit=1
            )
            value = other.id
        elif field.type in ("one2many", "many2many"):
            value = [Command.link(self.env[field.comodel_name].search([], limit=1).id)]
        return value

    def stored(self, record, name):
        self.env.flush_all()
        self.env.invalidate_all()
        return record.sudo()[name]

    @long
    def test_no_role_writes_them(self):
        tried = 0
        for record, field in self.own_fields():
            value = self.made_up(record, field)
            before = self.stored(record, field.name)
            for role in ROLES:
                with self.subTest(field=str(field), role=role):
                    try:
                        with self.env.cr.savepoint():
                            self.as_role(role, record).write({field.name: value})
                            self.env.flush_all()
                    except (AccessError, UserError):
                        tried += 1
                    self.assertEqual(self.stored(record, field.name), before)
        self.assertGreater(tried, 500)

    def test_nor_makes_a_record_with_them(self):
        """By ``create``, by an import, by a default of the context or of the user."""
        user = self.stranger
        needed = {
            "crm.mailchimp.account": {"name": "Theirs", "active": False},
            "res.partner": {"name": "Forged", "email": "forged@firma.be"},
            "ir.filters": {"name": "Forged", "model_id": "res.partner"},
        }
        seen = set()
        for record, field in self.own_fields():
            model = record._name
            if model not in needed:
                continue
            value = self.made_up(record, field)
            Model = self.env[model].with_user(user)
            normal = self.stored(Model.create(needed[model]), field.name)
            ways = {
                "create": lambda M=Model, m=model, f=field, v=value: M.create(
                    {**needed[m], f.name: v}
                ),
                "context": lambda M=Model, m=model, f=field, v=value: M.with_context(
                    **{f"default_{f.name}": v}
                ).create(needed[m]),
            }
            if field.type in ("char", "text", "datetime", "integer"):
                ways["import"] = lambda M=Model, m=model, f=field, v=value: M.load(
                    [*needed[m], f.name], [[*map(str, needed[m].values()), str(v)]]
                )
            for way, act in ways.items():
                with self.subTest(field=str(field), way=way):
                    try:
                        with self.env.cr.savepoint():
                            made = act()
                    except (AccessError, UserError):
                        seen.add((model, way))
                        continue
                    if isinstance(made, dict):
                        seen.add((model, way))
                        if field.name in getattr(Model, "_signed", ()):
                            record = Model.browse(made["ids"])
                            found = self.stored(record, field.name)
                            self.assertNotEqual(found.year, 2031)
                        else:
                            self.assertFalse(made["ids"], "the import is refused")
                        continue
                    found = self.stored(made, field.name)
                    if field.type == "datetime" and normal:
                        self.assertNotEqual(found.year, 2031)
                    else:
                        self.assertEqual(found, normal)
        self.assertIn(("crm.mailchimp.account", "create"), seen)
        self.assertIn(("res.partner", "import"), seen)

    def test_a_default_of_the_user(self):
        for model, name, value in (
            ("crm.mailchimp.account", "audience_ref", "forged"),
            ("res.partner", "mailchimp_opt_in_date", "2031-01-01 00:00:00"),
        ):
            self.env["ir.default"].set(model, name, value, user_id=self.stranger.id)
        account = self.env["crm.mailchimp.account"].with_user(self.stranger)
        self.assertFalse(account.create({"name": "Theirs"}).audience_ref)
        partner = self.env["res.partner"].with_user(self.stranger)
        partner = partner.create({"name": "P", "mailchimp_opt_in": True})
        self.assertLess(partner.mailchimp_opt_in_date.year, 2031)

    def test_an_opt_in_by_default_is_dated_and_leaves_a_line(self):
        partner = (
            self.env["res.partner"]
            .with_user(self.sales)
            .with_context(default_mailchimp_opt_in=True)
            .create({"name": "Web", "email": "web@firma.be"})
        )
        self.assertTrue(partner.mailchimp_opt_in)
        self.assertTrue(partner.mailchimp_opt_in_date)
        self.assertEqual(partner.mailchimp_consent_ids.mapped("kind"), ["in"])

    def test_a_linked_account_is_not_deleted_by_a_detour(self):
        account = self.account.with_user(self.manager)
        with self.assertRaises(AccessError):
            account.audience_ref = False
        with self.assertRaises(UserError):
            account.unlink()

    def test_what_a_form_sends_back_unchanged_is_no_change(self):
        account = self.account.with_user(self.manager)
        account.write({"name": "Renamed", "audience_ref": self.account.audience_ref})
        self.assertEqual(self.account.name, "Renamed")

    def test_all_of_that_goes_on_as_a_manager(self):
        """Connecting, linking, mapping, permissions: the add-on still writes them."""
        account = self.account.with_user(self.manager)
        account.action_disconnect()
        account.api_key = self.simulator.api_key
        account.action_connect()
        self.assertEqual(self.account.state, "linked")
        account.action_read_merge_fields()
        line = account.merge_field_ids[:1]
        line.name = "Other"
        permission = self.env["crm.mailchimp.permission"].search([], limit=1)
        permission.with_user(self.manager).on_opt_in = True
        self.assertTrue(permission.after_member)
        second = self.simulator.add_audience("Second")
        wizard = (
            self.env["crm.mailchimp.choose.audience"]
            .with_user(self.manager)
            .create({"account_id": self.account.id})
        )
        wizard.line_id = wizard.line_ids.filtered(
            lambda found: found.audience_ref == second.id
        )
        wizard.action_link()
        if wizard.is_confirming:
            wizard.action_link()
        linked = self.env["crm.mailchimp.account"].search(
            [("company_id", "=", self.company.id)]
        )
        self.assertEqual(linked.audience_ref, second.id)
        self.assertTrue(linked.remote_name)
