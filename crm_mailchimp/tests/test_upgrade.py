from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

from odoo.tests import tagged

from .common import MailchimpCase

SCRIPTS = Path(__file__).parents[1] / "migrations"


def migrate(cr, script, version):
    spec = spec_from_file_location("script", SCRIPTS / script)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    module.migrate(cr, version)


@tagged("post_install", "-at_install")
class TestUpgrade(MailchimpCase):
    """A database of the version before the list of "no" goes on with its ledger."""

    def setUp(self):
        super().setUp()
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
        self.migrate()

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

    def migrate(self):
        migrate(self.env.cr, "19.0.2.0.0/post-migrate.py", "19.0.1.0.0")
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
        creating = self.account._refs()["creating"]
        [(key, name)] = creating["names"].items()
        self.account._set_refs(
            creating={"key": key, "name": name, "known": creating["known"]}
        )
        self.env.flush_all()
        migrate(self.env.cr, "19.0.2.1.0/post-creating.py", "19.0.2.0.0")
        self.env.invalidate_all()
        run.resume_at = False
        self.tick()
        self.assertEqual(self.groups(ann.email), ["Ghent"])
        self.assertEqual(len(self.interests()), 1)
