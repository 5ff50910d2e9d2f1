import base64
import csv
import io
import json
import zipfile

from odoo import fields
from odoo.exceptions import AccessError, UserError
from odoo.tests import HttpCase, tagged

from ..models.archive import FILES
from ..models.labelled import RUNS
from .common import long
from .test_rights import RightsCase

HOSTILE = [
    "=HYPERLINK('http://evil.example','x')",
    "+1+cmd|' /C calc'!A0",
    "-2+3",
    "@SUM(1)",
    "\t=1",
    "\r=1",
    "'quoted",
    "＝1",
]


@tagged("post_install", "-at_install")
class TestArchive(RightsCase):
    """What is left behind by an uninstall can be read, runs nothing, and comes back."""

    def prepare(self):
        super().prepare()
        self.link()
        self.hostile = self.contact(
            HOSTILE[0], "hostile@firma.be", company_id=self.company.id, gender="other"
        )
        self.ann = self.contact("Ann")
        self.env["crm.lead"].create(
            {
                "name": "Lead",
                "email_from": "lead@firma.be",
                "mailchimp_opt_in": True,
                "mailchimp_opt_in_note": HOSTILE[0],
            }
        )
        self.bob = self.contact("Bob")
        self.flag("Ghent", "[('city', '=', 'Ghent')]")
        self.ann.city = "Ghent"
        self.push()
        campaign = self.audience.add_campaign("regular", title=HOSTILE[3])
        self.audience.send_campaign(campaign)
        self.audience.open(campaign.id, "ann@firma.be")
        self.simulator.advance(60)
        self.audience.unsubscribe("bob@firma.be", reason=HOSTILE[1])
        self.push()
        self.push("stats")
        self.assertFalse(self.bob.mailchimp_opt_in)
        self.attachment = self.env["crm.mailchimp.archive"]._write_archive()

    def archive(self):
        return zipfile.ZipFile(io.BytesIO(self.attachment.raw))

    def rows(self, name):
        text = self.archive().read(f"{name}.csv").decode()
        return list(csv.DictReader(io.StringIO(text, newline="")))

    def tables(self):
        return [self.env[model]._table for model in FILES]

    def reinstall(self):
        """Leave the database as a new installation finds it."""
        cr = self.env.cr
        self.env.flush_all()
        cr.execute("SELECT last_value FROM crm_mailchimp_consent_id_seq")
        # Sequences know no rollback.
        last = cr.fetchone()[0] + 1000
        self.addCleanup(
            cr.execute, "SELECT SETVAL('crm_mailchimp_consent_id_seq', %s)", [last]
        )
        cr.execute("SELECT SETVAL('crm_mailchimp_consent_id_seq', 1, FALSE)")
        for table in self.tables():
            cr.execute(f"DELETE FROM {table}")
        cr.execute(
            "UPDATE crm_lead SET mailchimp_opt_in = NULL,"
            " mailchimp_opt_in_date = NULL, mailchimp_opt_in_note = NULL"
        )
        cr.execute(
            "UPDATE res_partner SET mailchimp_opt_in = NULL, gender = NULL,"
            " mailchimp_opt_in_date = NULL"
        )
        cr.execute(
            "UPDATE ir_filters SET mailchimp_sync = NULL, mailchimp_owner_id = NULL"
        )
        self.env.invalidate_all()
        self.env["crm.mailchimp.suppression"]._note_blacklist()

    def restore(self, user=None, attachment=None):
        wizard = (
            self.env["crm.mailchimp.restore"]
            .with_user(user or self.manager_of_all())
            .create({"archive": str((attachment or self.attachment).id)})
        )
        wizard.action_preview()
        action = wizard.action_restore()
        self.env.invalidate_all()
        return wizard, action

    def manager_of_all(self):
        return self.env.ref("base.user_admin")

    def snapshot(self):
        """Return all rows of ours, without numbers that a new row gets."""
        self.env.flush_all()
        found = {}
        for model, name in FILES.items():
            if not name or name == "runs":
                continue
            dropped = [
                *("id", "write_date", "write_uid", "create_date", "create_uid"),
                *("fingerprint", "seen_in_run", "activity_noted_id", "next_look"),
                *("account_id", "campaign_id", "recipient_id", "member_id"),
                *(
                    "parent_id",
                    "look_again",
                    "state",
                    "push_enabled",
                    "activity_noted_from",
                ),
                # Whoever connects it enters a key, which has to be looked at.
                *("api_key_secret", "api_key_hint", "key_verified", "after_member"),
                *("operation", "sending", "sent_at", "values_sending"),
            ]
            self.env.cr.execute(
                f"SELECT to_jsonb(t) - %s::text[] FROM {self.env[model]._table} t",
                [dropped],
            )
            found[name] = sorted(
                # Of a boolean, unknown is no.
                json.dumps({k: v or None for k, v in row.items()}, sort_keys=True)
                for (row,) in self.env.cr.fetchall()
            )
        self.env.cr.execute(
            "SELECT id, mailchimp_opt_in IS TRUE, mailchimp_opt_in_date, gender"
            " FROM res_partner ORDER BY id"
        )
        found["contacts"] = self.env.cr.fetchall()
        self.env.cr.execute(
            "SELECT id, mailchimp_opt_in, mailchimp_opt_in_date, mailchimp_opt_in_note"
            " FROM crm_lead WHERE mailchimp_opt_in ORDER BY id"
        )
        found["leads"] = self.env.cr.fetchall()
        return found

    # === WHAT IS IN IT === #

    def test_every_model_is_in_it_or_follows_from_the_others(self):
        stored = {
            name
            for name, model in self.env.registry.items()
            if name.startswith("crm.mailchimp.")
            and not (model._abstract or model._transient)
            and self.env[name]._auto
            and not self.env[name]._table_query
        }
        self.assertEqual(stored, set(FILES))

    def test_it_is_complete_and_names_what_it_is_about(self):
        [hostile] = [
            r for r in self.rows("contacts") if r["id"] == str(self.hostile.id)
        ]
        self.assertEqual(hostile["name"], "'" + HOSTILE[0])
        self.assertEqual(hostile["mailchimp_opt_in"], "true")
        self.assertTrue(hostile["mailchimp_opt_in_date"])
        self.assertEqual(hostile["company_id/name"], self.company.name)
        [bob] = [r for r in self.rows("contacts") if r["id"] == str(self.bob.id)]
        self.assertEqual(bob["mailchimp_opt_in"], "false")
        names = {row["partner_id/name"] for row in self.rows("consent")}
        self.assertLessEqual({"Ann", "Bob", "'" + HOSTILE[0]}, names)
        for name in ("members", "campaigns"):
            self.assertEqual(
                {row["account_id/name"] for row in self.rows(name)}, {"Test"}
            )
        [account] = self.rows("accounts")
        self.assertEqual(account["audience_name"], "Test audience")
        self.assertEqual(account["company_id/name"], self.company.name)
        self.assertEqual(account["segment_target"], "group")
        self.assertNotIn("api_key_secret", account)
        for name in self.archive().namelist():
            self.assertNotIn(
                self.simulator.api_key.encode(), self.archive().read(name), name
            )
        self.assertEqual([row["name"] for row in self.rows("filters")], ["Ghent"])
        self.assertTrue(self.rows("events"))
        self.assertIn(b"contacts.csv", self.archive().read("README.txt"))

    def test_no_cell_is_a_formula_and_each_can_be_read_back(self):
        for text in HOSTILE:
            self.contact(f"{text} ", f"h{HOSTILE.index(text)}@firma.be")
        self.env["crm.mailchimp.consent"].create(
            [{"kind": "in", "source": "user", "note": text} for text in HOSTILE]
        )
        self.attachment = self.env["crm.mailchimp.archive"]._write_archive()
        for name in self.archive().namelist():
            if name.endswith(".csv"):
                for row in self.rows(name[:-4]):
                    for column, cell in row.items():
                        where = (name, column, cell)
                        self.assertNotIn(cell[:1] or " ", RUNS, where)
        notes = {row["note"][1:] for row in self.rows("consent") if row["note"]}
        self.assertLessEqual(set(HOSTILE), notes)

    def test_only_administrators_open_it(self):
        for user in (self.sales, self.syncer, self.manager):
            with self.assertRaises(AccessError):
                self.attachment.with_user(user).read(["raw"])

    # === COMING BACK === #

    def test_all_comes_back_and_twice_is_the_same(self):
        before = self.snapshot()
        self.reinstall()
        self.assertFalse(self.ann.mailchimp_opt_in)
        self.simulator.clear_calls()
        wizard, _action = self.restore()
        self.assertIn("Consent lines", wizard.preview)
        after = self.snapshot()
        for name, rows in before.items():
            self.assertEqual(after[name], rows, name)
        self.assertFalse(self.simulator.calls)
        account = self.env["crm.mailchimp.account"].search([])
        self.assertEqual((account.state, account.push_enabled), ("draft", False))
        _wizard, action = self.restore()
        self.assertIn("here already", action["params"]["message"])
        again = self.snapshot()
        for name, rows in after.items():
            self.assertEqual(again[name], rows, name)

    def test_it_goes_on_where_it_was(self):
        self.reinstall()
        self.restore()
        statuses = {e: m.status for e, m in self.audience.members.items()}
        account = self.env["crm.mailchimp.account"].search([])
        type(self).account, former = account, self.account
        self.addCleanup(setattr, type(self), "account", former)
        account.api_key = self.simulator.api_key
        account.action_connect()
        self.assertEqual(account.state, "linked")
        account.push_enabled = True
        self.simulator.clear_calls()
        self.push()
        self.assertEqual(
            {e: m.status for e, m in self.audience.members.items()}, statuses
        )
        self.assertFalse(self.simulator.count("POST /lists/*"))
        self.assertEqual(self.groups("ann@firma.be"), ["Ghent"])
        self.assertEqual(len(self.interests()), 1, "the group is known to be ours")
        self.ann.city = "Paris"
        self.push()
        self.assertEqual(self.groups("ann@firma.be"), [])

    def test_nothing_newer_is_overruled(self):
        carol = self.contact("Carol")
        dan = self.contact("Dan")
        eve = self.contact("Eve")
        self.push()
        self.attachment = self.env["crm.mailchimp.archive"]._write_archive()
        self.reinstall()
        # Ticked and taken back, by hand.
        carol.mailchimp_opt_in = True
        carol.mailchimp_opt_in = False
        # Said no in Mailchimp, as the first reading after the reinstall finds it.
        later = fields.Datetime.add(fields.Datetime.now(), days=1)
        self.env["crm.mailchimp.suppression"]._note(
            [
                {
                    "email": "dan@firma.be",
                    "source": "mailchimp",
                    "kind": "unsubscribed",
                    "date": later,
                    "audience_ref": self.audience.id,
                }
            ]
        )
        # Another address, which said no.
        eve.email = "Eve <eve@firma.be>, eve@other.example"
        self.env["crm.mailchimp.suppression"]._note(
            [
                {
                    "email": "eve@other.example",
                    "source": "mailchimp",
                    "kind": "complained",
                    "date": later,
                    "audience_ref": self.audience.id,
                }
            ]
        )
        # Opted in since: that date stays.
        self.ann.mailchimp_opt_in = True
        since = self.ann.mailchimp_opt_in_date
        # Ours, and a "no" that is still open.
        self.restore()
        self.assertFalse(carol.mailchimp_opt_in)
        self.assertFalse(dan.mailchimp_opt_in)
        self.assertFalse(eve.mailchimp_opt_in)
        self.assertFalse(self.bob.mailchimp_opt_in)
        self.assertEqual(self.ann.mailchimp_opt_in_date, since)
        self.assertTrue(self.hostile.mailchimp_opt_in)
        # The order of the lines is that of time: what was said last is last.
        self.assertEqual(carol.mailchimp_consent_ids[0].kind, "out")
        self.assertEqual(
            carol.mailchimp_consent_ids.mapped("kind"), ["out", "in", "in"]
        )
        line = self.env["crm.mailchimp.consent"].create(
            {"kind": "in", "partner_id": carol.id}
        )
        self.env.invalidate_all()
        self.assertEqual(carol.mailchimp_consent_ids[0], line)

    def test_a_sign_up_since_lifts_an_archived_no(self):
        self.reinstall()
        account = self.env["crm.mailchimp.account"].create({"name": "New"})
        self.env["crm.mailchimp.member"].create(
            {
                "account_id": account.id,
                "email_normalized": "bob@firma.be",
                "status": "subscribed",
                "origin": "foreign",
                "opt_in_date": fields.Datetime.add(fields.Datetime.now(), days=1),
            }
        )
        self.restore()
        said = self.env["crm.mailchimp.suppression"].search(
            [("email_normalized", "=", "bob@firma.be"), ("source", "=", "mailchimp")]
        )
        self.assertTrue(said)
        self.assertEqual(set(said.mapped("lifted_by")), {"mailchimp"})

    def test_the_same_audience_was_linked_since(self):
        """Its account and ledger stay; campaigns and consent come beside them."""
        self.reinstall()
        account = self.env["crm.mailchimp.account"].create(
            {"name": "Anew", "lang": "en_US", "segment_target": "tag"}
        )
        type(self).account, former = account, self.account
        self.addCleanup(setattr, type(self), "account", former)
        account.api_key = self.simulator.api_key
        account.action_connect()
        self.link()
        self.push()
        self.push("stats")
        members = account.env["crm.mailchimp.member"].search_count([])
        campaigns = account.env["crm.mailchimp.campaign"].search_count([])
        events = account.env["crm.mailchimp.recipient.event"].search_count([])
        self.restore()
        Account = self.env["crm.mailchimp.account"].with_context(active_test=False)
        self.assertEqual(Account.search([]), account)
        self.assertEqual((account.name, account.segment_target), ("Anew", "tag"))
        self.assertEqual(account.state, "linked")
        for model, count in (
            ("member", members),
            ("campaign", campaigns),
            ("recipient.event", events),
        ):
            self.assertEqual(self.env[f"crm.mailchimp.{model}"].search_count([]), count)
        self.assertTrue(self.ann.mailchimp_opt_in)
        self.push()
        self.assertEqual(self.status("ann@firma.be"), "subscribed")
        self.assertEqual(self.status("bob@firma.be"), "unsubscribed")

    def test_a_contact_of_the_same_number_that_is_another(self):
        self.reinstall()
        self.env.cr.execute(
            "UPDATE res_partner SET create_date = create_date - INTERVAL '1 day'"
            " WHERE id = %s",
            [self.ann.id],
        )
        self.env.invalidate_all()
        self.restore()
        self.assertFalse(self.ann.mailchimp_opt_in)
        self.assertFalse(self.ann.mailchimp_consent_ids)
        lines = self.env["crm.mailchimp.consent"].search(
            [("email_normalized", "=", "ann@firma.be")]
        )
        self.assertTrue(lines, "the evidence of the address stays")

    def test_a_filter_that_was_changed_is_not_flagged(self):
        ghent = self.env["ir.filters"].search([("name", "=", "Ghent")])
        self.reinstall()
        ghent.domain = "[]"
        self.restore()
        self.assertFalse(ghent.mailchimp_sync)
        self.assertFalse(self.env["crm.mailchimp.segment"].search([]))

    def test_who_was_erased_since_stays_erased(self):
        self.reinstall()
        account = self.env["crm.mailchimp.account"].create({"name": "New"})
        self.env["crm.mailchimp.erasure"]._request(account, ["ann@firma.be"], False)
        self.tick("ir_cron_opt_out")
        self.restore()
        for model in ("consent", "member", "recipient", "suppression"):
            self.assertFalse(
                self.env[f"crm.mailchimp.{model}"].search(
                    [("email_normalized", "=", "ann@firma.be")]
                ),
                model,
            )

    # === WHO, AND WHICH FILE === #

    def test_a_forged_archive(self):
        """Evidence cannot be made up: any change, and any other database, shows."""
        self.reinstall()
        raw = self.attachment.raw
        forged = {
            "no zip": b"PK",
            "changed": self.rewritten(raw, "consent.csv", lambda b: b + b"\n"),
            "manifest": self.rewritten(
                raw,
                "manifest.json",
                lambda b: b.replace(b'"format": 1', b'"format": 0'),
            ),
            "signature": self.rewritten(raw, "signature.txt", lambda b: b"0" * 64),
            "incomplete": self.rewritten(raw, "signature.txt", None),
            "a file less": self.rewritten(raw, "events.csv", None),
        }
        admin = self.manager_of_all()
        for what, content in forged.items():
            with self.subTest(what):
                wizard = (
                    self.env["crm.mailchimp.restore"]
                    .with_user(admin)
                    .create({"upload": base64.b64encode(content)})
                )
                for method in (wizard.action_preview, wizard.action_restore):
                    with self.assertRaises(UserError), self.env.cr.savepoint():
                        method()
                self.assertFalse(self.env["crm.mailchimp.consent"].search([]))
        wizard.upload = base64.b64encode(raw)
        wizard.action_restore()
        self.assertTrue(self.env["crm.mailchimp.consent"].search([]))

    def rewritten(self, raw, name, change):
        content = io.BytesIO()
        with (
            zipfile.ZipFile(io.BytesIO(raw)) as old,
            zipfile.ZipFile(content, "w") as new,
        ):
            for each in old.namelist():
                if each != name:
                    new.writestr(each, old.read(each))
                elif change:
                    new.writestr(each, change(old.read(each)))
        return content.getvalue()

    def test_who_may_restore(self):
        Restore = self.env["crm.mailchimp.restore"]
        for user in (self.employee, self.sales, self.syncer):
            with self.assertRaises(AccessError):
                Restore.with_user(user).create({})
        self.reinstall()
        # A manager of another company neither sees nor restores what is of this one.
        wizard = Restore.with_user(self.stranger).create(
            {"archive": str(self.attachment.id)}
        )
        with self.assertRaises(UserError) as caught, self.env.cr.savepoint():
            wizard.action_restore()
        self.assertIn(self.company.name, str(caught.exception))
        # An attachment that merely has the name.
        fake = self.env["ir.attachment"].create(
            {
                "name": self.attachment.name,
                "raw": b"PK\x05\x06" + b"\0" * 18,
                "mimetype": "application/zip",
            }
        )
        with self.assertRaises(UserError), self.env.cr.savepoint():
            self.restore(attachment=fake)


@tagged("post_install", "-at_install")
class TestRestoreTour(HttpCase):
    @long
    def test_restore_an_archive(self):
        self.env["res.partner"].create({"name": "Ann", "mailchimp_opt_in": True})
        self.env["crm.mailchimp.archive"]._write_archive()
        self.start_tour(
            "/odoo/action-crm_mailchimp.action_crm_mailchimp_restore",
            "crm_mailchimp_restore",
            login="admin",
        )
