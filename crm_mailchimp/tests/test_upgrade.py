from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

from odoo.tests import TransactionCase, new_test_user, tagged

from ..hooks import COLUMNS
from .common import MailchimpCase

MIGRATIONS = Path(__file__).parents[1] / "migrations"


def migrate(env, version, former, script="post-migrate.py"):
    """Run a migration script of a version."""
    script = MIGRATIONS / version / script
    spec = spec_from_file_location("post_migrate", script)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    env.flush_all()
    module.migrate(env.cr, former)
    env.invalidate_all()


@tagged("post_install", "-at_install")
class TestInstallation(TransactionCase):
    def test_no_column_of_contacts_or_leads_is_left_to_odoo(self):
        """Odoo would lock their tables until all of the add-on is installed."""
        for model in ("res.partner", "crm.lead"):
            ours = {
                name: field.column_type[0]
                for name, field in self.env[model]._fields.items()
                if field._module == "crm_mailchimp" and field.store
                if field.column_type
            }
            self.assertEqual(COLUMNS[self.env[model]._table], ours)


@tagged("post_install", "-at_install")
class TestUpgrade(MailchimpCase):
    """A database of the version before the list of "no" goes on with its ledger."""

    def prepare(self):
        super().prepare()
        self.link()
        self.people = {
            name: self.contact(name)
            for name in ("Ann", "Bob", "Carol", "Dan", "Eve", "Fay")
        }
        self.push()
        self.simulator.advance(60)
        self.audience.unsubscribe("ann@firma.be", reason="Enough")
        self.audience.bounce("carol@firma.be")
        self.audience.delete_permanently("eve@firma.be")
        self.opt_out(self.people["Bob"])
        self.env["mail.blacklist"].create({"email": "dan@firma.be"})
        self.push()
        self.push("full")
        self.as_before()
        migrate(self.env, "19.0.2.0.0", "19.0.1.0.0")

    def as_before(self):
        """Leave what the former version knew."""
        self.env.flush_all()
        self.env.cr.execute("DELETE FROM crm_mailchimp_suppression")
        self.env.cr.execute("UPDATE crm_mailchimp_consent SET noted_at = NULL")
        self.env.cr.execute(
            "UPDATE crm_mailchimp_account SET linked_at = NULL, clock_skew = NULL"
        )
        self.env.cr.execute(
            "UPDATE crm_mailchimp_member SET opt_in_seen = NULL, opt_in_seen_at = NULL,"
            " opt_out_at = NULL, opt_out_confirmed_at = NULL, sending = NULL"
        )
        self.env.invalidate_all()

    def test_what_was_known_is_on_the_list(self):
        found = self.env["crm.mailchimp.suppression"].search([])
        said = {(no.email_normalized.split("@")[0], no.kind) for no in found}
        self.assertLessEqual(
            {
                ("ann", "unsubscribed"),
                ("bob", "opt_out"),
                ("carol", "cleaned"),
                ("dan", "blacklist"),
                ("eve", "forgotten"),
            },
            said,
        )
        self.assertNotIn("fay", {name for name, _kind in said})
        ann = found.filtered(lambda no: no.kind == "unsubscribed")
        self.assertEqual((ann.note, ann.audience_name), ("Enough", "Test audience"))
        self.assertTrue(self.account.linked_at)
        self.assertFalse(
            self.env["crm.mailchimp.consent"].search([("noted_at", "=", False)])
        )

    def test_nobody_is_subscribed_again_and_the_rest_goes_on(self):
        gone = [self.people[name] for name in ("Ann", "Carol", "Dan", "Eve")]
        for partner in gone:
            partner.mailchimp_opt_in = True
        self.people["Fay"].city = "Rome"
        new = self.contact("New")
        self.push()
        self.push()
        for partner in gone:
            self.assertNotEqual(self.status(partner.email), "subscribed")
            self.assertEqual(partner.mailchimp_status, "out")
        self.assertEqual(self.status("bob@firma.be"), "archived")
        self.assertEqual(self.member("fay@firma.be").merge_fields["CITY"], "Rome")
        self.assertEqual(new.mailchimp_status, "in")
        self.opt_out(self.people["Fay"])
        self.assertEqual(self.status("fay@firma.be"), "archived")


@tagged("post_install", "-at_install")
class TestUpgradeDuringCreation(MailchimpCase):
    def test_a_group_that_was_being_created_is_there_once(self):
        self.link()
        ann = self.contact("Ann", city="Ghent")
        self.flag("Ghent", "[('city', '=', 'Ghent')]")
        route = "POST /lists/*/interest-categories/*/interests"
        self.simulator.fault(route, "drop_applied")
        run = self.push(state="waiting")
        creating = self.account.remote_refs["creating"]
        [(key, name)] = creating["names"].items()
        former = {"key": key, "name": name, "known": creating["known"]}
        self.account.remote_refs = dict(self.account.remote_refs, creating=former)
        migrate(self.env, "19.0.2.1.0", "19.0.2.0.0", "post-creating.py")
        run.resume_at = False
        self.tick()
        self.assertEqual(self.groups(ann.email), ["Ghent"])
        self.assertEqual(len(self.interests()), 1)


@tagged("post_install", "-at_install")
class TestUpgradeAuthors(MailchimpCase):
    """Conditions, mapped fields and consent lines of before have an author, too."""

    def test_who_made_the_account_answers_for_it(self):
        self.link()
        manager = new_test_user(
            self.env, "upgrade", groups="crm_mailchimp.group_mailchimp_manager"
        )
        ann = self.contact("Ann", company_id=self.company.id, city="Ghent")
        self.contact("Bob", city="Paris")
        self.account.partner_domain = "[('city', '=', 'Ghent')]"
        rule = self.env.ref("crm_mailchimp.crm_mailchimp_consent_rule")
        rule.domain_force = "[('partner_id', '=', False)]"
        self.env.flush_all()
        for query in (
            "UPDATE crm_mailchimp_account SET partner_domain_user_id = NULL,"
            " partner_domain_date = NULL, create_uid = %(manager)s",
            "UPDATE crm_mailchimp_merge_field SET author_id = NULL, authored_at = NULL",
            "UPDATE crm_mailchimp_consent SET company_id = NULL",
        ):
            self.env.cr.execute(query, {"manager": manager.id})
        self.env.invalidate_all()
        migrate(self.env, "19.0.2.1.0", "19.0.2.0.0")
        self.assertEqual(self.account.partner_domain_user_id, manager)
        self.assertEqual(self.account.merge_field_ids.author_id, manager)
        self.assertFalse(any(self.account.merge_field_ids.mapped("warning")))
        self.assertEqual(ann.mailchimp_consent_ids.company_id, self.company)
        self.assertIn("company_ids", rule.domain_force)
        self.push()
        self.assertEqual(set(self.audience.members), {"ann@firma.be"})
        self.assertEqual(self.member("ann@firma.be").merge_fields["CITY"], "Ghent")
