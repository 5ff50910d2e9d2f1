import inspect
import os
from pathlib import Path

from odoo import Command, fields
from odoo.exceptions import AccessError, UserError
from odoo.tests import tagged

from .common import long
from .test_rights import RightsCase

DOCUMENT = Path(__file__).parents[2] / "docs" / "security.md"
ROLES = {
    "portal": "Portal",
    "employee": "Employee",
    "sales": "Salesperson",
    "syncer": "Mailchimp user",
    "manager": "Mailchimp manager",
    "stranger": "Manager of another company",
}
# The four operations have a table of their own.
OPERATIONS = {"create", "write", "unlink", "copy"}
MARK = "zebra"
# Not only ours, but all that a call could change.
TABLES = (
    *("res_partner", "res_users", "ir_filters", "mail_blacklist", "mail_message"),
    *("mail_activity", "ir_config_parameter", "ir_attachment", "ir_cron_trigger"),
)
# What may be passed to a method from outside, hostile values included.
ARGUMENTS = {
    "default_get": [([],)],
    "export_data": [(["id"],)],
    "get_overview": [("90",), ("'; DROP TABLE res_partner; --",), (0,)],
    "get_overview_mine": [("90",), ("'; DROP TABLE res_partner; --",), (0,)],
    "mailchimp_add_tag": [("Vip",), ("', 'x'); --",)],
}


# How a call ends, the most it comes to last.
ENDS = ("refused", "not now", "shows", "does")


class Undo(Exception):
    """Takes back what a call did."""


class EverythingCase(RightsCase):
    """A record of each model of one company, about contacts named like an animal."""

    def prepare(self):
        super().prepare()
        self.link()
        self.ann = self.contact("Ann Zebra", city="Ghent", company_id=self.company.id)
        self.gone = self.contact("Bob Zebra", company_id=self.company.id)
        self.filter = self.env["ir.filters"].create(
            {
                "name": "All zebras",
                "domain": "[('name', 'like', 'Zebra')]",
                "model_id": "res.partner",
                "user_ids": [],
                "mailchimp_sync": True,
                "mailchimp_owner_id": self.manager.id,
            }
        )
        self.push()
        self.records = self.everything()
        self.env.flush_all()

    def everything(self):
        """Return ``{model: records}`` with a record of each model of ours."""
        member = self.ledger("bob.zebra@firma.be")
        member.status = "cleaned"
        self.env["crm.mailchimp.contact.tag"]._request(
            self.account, self.ann, ["Zebra"]
        )
        preview = self.env["crm.mailchimp.run"].create(
            {"account_id": self.account.id, "kind": "preview", "state": "done"}
        )
        self.env["crm.mailchimp.run"].create(
            {"account_id": self.account.id, "kind": "push", "state": "queued"}
        )
        line = self.env["crm.mailchimp.preview.line"].create(
            {
                "run_id": preview.id,
                "partner_id": self.ann.id,
                "email_normalized": self.ann.email,
                "action": "update",
            }
        )
        campaign = self.env["crm.mailchimp.campaign"].create(
            {
                "account_id": self.account.id,
                "campaign_ref": "c1",
                "name": "Zebra news",
                "url": "https://zebra.example",
                "company_id": self.company.id,
            }
        )
        link = self.env["crm.mailchimp.campaign.link"].create(
            {"campaign_id": campaign.id, "link_ref": "l", "url": "https://z.zebra"}
        )
        variant = self.env["crm.mailchimp.campaign.variant"].create(
            {"campaign_id": campaign.id, "variant_ref": "v", "name": "V"}
        )
        recipient = self.env["crm.mailchimp.recipient"].create(
            {
                "campaign_id": campaign.id,
                "partner_id": self.gone.id,
                "member_id": member.id,
                "email_normalized": self.gone.email,
                "email_hash": "zebra",
                "status": "hard",
                "event_ids": [Command.create({"kind": "bounce", "date": "2026-01-01"})],
            }
        )
        self.env["crm.mailchimp.suppression"]._note(
            [self.account._no_row(self.gone.email, "cleaned", fields.Datetime.now())]
        )
        self.env["crm.mailchimp.permission"].create(
            {"account_id": self.account.id, "permission_ref": "p", "name": "Zebra"}
        )
        self.env["crm.mailchimp.webhook.delivery"].create(
            {
                "account_id": self.account.id,
                "kind": "unsubscribe",
                "email_normalized": self.gone.email,
                "received_at": fields.Datetime.now(),
                "digest": "zebra",
            }
        )
        wizards = {
            "crm.mailchimp.add.tag": {
                "name": "Zebra",
                "partner_ids": [Command.set(self.ann.ids)],
            },
            "crm.mailchimp.correct.email": {
                "line_ids": [
                    Command.create(
                        {
                            "partner_id": self.gone.id,
                            "old_email": self.gone.email,
                            "new_email": "zebra@new.example",
                        }
                    )
                ]
            },
            "crm.mailchimp.choose.audience": {
                "account_id": self.account.id,
                "opted_out_ids": [Command.create({"email": "zebra@firma.be"})],
            },
            "crm.mailchimp.create.audience": {
                "account_id": self.account.id,
                "name": "Zebra",
            },
        }
        found = {
            "res.partner": self.ann,
            "crm.lead": self.env["crm.lead"].create(
                {
                    "name": "Zebra deal",
                    "partner_id": self.ann.id,
                    "company_id": self.company.id,
                }
            ),
            "ir.filters": self.filter,
            "crm.mailchimp.account": self.account,
            "crm.mailchimp.run": self.account.run_ids,
            "crm.mailchimp.preview.line": line,
            "crm.mailchimp.campaign": campaign,
            "crm.mailchimp.campaign.link": link,
            "crm.mailchimp.campaign.variant": variant,
            "crm.mailchimp.recipient": recipient,
            "crm.mailchimp.recipient.event": recipient.event_ids,
        }
        self.env["crm.mailchimp.erasure"]._request(
            self.account, ["zebra@erased.example"], False
        )
        found["crm.mailchimp.app"] = self.env["crm.mailchimp.app"].create(
            {"client_id": "zebra", "client_secret": "zebra"}
        )
        found["crm.mailchimp.login"] = self.env["crm.mailchimp.login"].create(
            {
                "account_id": self.account.id,
                "user_id": self.manager.id,
                "message": "Zebra",
            }
        )
        wizards["crm.mailchimp.restore"] = {}
        wizards["crm.mailchimp.erase"] = {"addresses": "zebra@firma.be"}
        for model, values in wizards.items():
            # As the add-on does, for whoever opened the dialog.
            wizard = self.env[model].with_user(self.manager).sudo()
            found[model] = wizard.create(values).sudo(False)
        # What is counted where there are many contacts.
        self.account._count_contacts()
        self.env["crm.mailchimp.growth"].create(
            {"account_id": self.account.id, "date": fields.Datetime.now()}
        )
        self.env["crm.mailchimp.segment.gap"].create(
            {
                "segment_id": self.account.segment_ids[:1].id,
                "partner_ref": self.account.partner_domain_user_id.partner_id.id,
            }
        )
        self.env.flush_all()
        for model in self.models():
            if model not in found:
                found[model] = self.env[model].search([])
            self.assertTrue(found[model], f"{model} has nothing to test with")
        return found

    def models(self):
        return sorted(
            name
            for name, model in self.env.registry.items()
            if name.startswith("crm.mailchimp.") and not model._abstract
        )

    def as_role(self, role, records):
        """Return records as a user has them, with nothing in the cache."""
        user = getattr(self, role)
        self.env.invalidate_all()
        return (
            self.env[records._name]
            .with_user(user)
            .with_context(allowed_company_ids=user.company_id.ids)
            .browse(records.ids)
        )

    def document(self, mark, table):
        """Compare a table with the one in the documents; or write it there."""
        if not DOCUMENT.exists():
            self.skipTest("The documents are not beside the add-on.")
        text = DOCUMENT.read_text()
        begin, end = f"<!-- {mark} -->\n", f"<!-- end of {mark} -->\n"
        head, _begin, rest = text.partition(begin)
        old, _end, tail = rest.partition(end)
        new = "\n" + table + "\n"
        if os.environ.get("WRITE_DOCS"):
            DOCUMENT.write_text(head + begin + new + end + tail)
        else:
            self.assertEqual(old, new, "WRITE_DOCS=1 writes the table anew.")


def table(first, rows):
    """Return a table of Markdown: ``{name: {role: cell}}``."""
    lines = [[first, *ROLES.values()], ["---"] * (len(ROLES) + 1)]
    lines += [
        [f"`{name}`", *(cells[role] for role in ROLES)] for name, cells in rows.items()
    ]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


@tagged("post_install", "-at_install")
class TestRoles(EverythingCase):
    """What each role may do with each model, done."""

    @long
    def test_each_operation(self):
        rows = {}
        for model in self.models():
            rows[model] = {role: self.done(role, self.records[model]) for role in ROLES}
            for role in ("portal", "employee"):
                self.assertEqual(rows[model][role], "", f"{role} and {model}")
        for model, cells in rows.items():
            # They may make records of their own, and do nothing with others'.
            self.assertLessEqual(set(cells["stranger"]), set("c"), model)
        self.document(
            "operations",
            table(
                "Model",
                {
                    model: {role: cell or "–" for role, cell in cells.items()}
                    for model, cells in rows.items()
                },
            ),
        )

    def done(self, role, records):
        """Return what a role can do: c(reate), r(ead), u(pdate), d(elete)."""
        done = ""
        for letter, act in (
            ("c", lambda r: r.browse().create({})),
            ("r", lambda r: r.read(["display_name"])),
            ("u", lambda r: r.write({})),
            ("d", lambda r: r.unlink()),
        ):
            refused = False
            try:
                with self.env.cr.savepoint():
                    act(self.as_role(role, records))
                    self.env.flush_all()
                    raise Undo
            except AccessError:
                refused = True
            except UserError:
                # By the rules of the model itself; who may is asked before that.
                refused = letter in "ud"
            except Undo:
                refused = False
            except Exception:  # noqa: BLE001 (what lacks a value: it was let through)
                self.assertEqual(letter, "c")
            self.env.invalidate_all(flush=False)
            done += "" if refused else letter
        return done


@tagged("post_install", "-at_install")
class TestPublicMethods(EverythingCase):
    """Every method that can be called from outside, by everybody, with anything."""

    def methods(self):
        """Yield ``(model, name)`` of the methods of ours that RPC may call."""
        for model, cls in sorted(self.env.registry.items()):
            if cls._abstract:
                continue
            for name, method in inspect.getmembers(cls, callable):
                if (
                    name.startswith("_")
                    or name in OPERATIONS
                    or getattr(method, "_api_private", False)
                ):
                    continue
                owners = [
                    vars(base)[name]
                    for base in cls.__mro__
                    if name in vars(base) and base.__module__ != "odoo.api"
                ]
                if any(
                    getattr(owner, "__module__", "").startswith(
                        "odoo.addons.crm_mailchimp."
                    )
                    for owner in owners
                ):
                    yield model, name

    def fingerprint(self):
        """Return what the database holds, and how many calls Mailchimp got."""
        self.env.flush_all()
        self.env.cr.execute(
            "SELECT relname FROM pg_class WHERE relkind = 'r'"
            " AND (relname LIKE 'crm_mailchimp_%%' OR relname = ANY(%s))",
            [list(TABLES)],
        )
        found = {"calls": len(self.simulator.calls)}
        for (name,) in self.env.cr.fetchall():
            self.env.cr.execute(
                f"SELECT md5(string_agg(t::text, '|' ORDER BY t::text)) FROM {name} t"
            )
            found[name] = self.env.cr.fetchone()[0]
        return found

    def outcome(self, role, records, name, arguments, before):
        """Return how a call ends: refused, not now, shows, does."""
        found = []
        try:
            with self.env.cr.savepoint():
                called = self.as_role(role, records)
                result = getattr(called, name)(*arguments)
                changed = [
                    key
                    for key, value in self.fingerprint().items()
                    if before.get(key) != value
                ]
                found = [str(result), changed]
                raise Undo
        except AccessError:
            return "refused", found
        except UserError:
            return "not now", found
        except Undo:
            return "does" if found[1] else "shows", found
        finally:
            self.env.invalidate_all(flush=False)

    @long
    def test_each_method_as_each_role(self):
        methods = list(self.methods())
        self.assertGreater(len(methods), 40)
        rows, before = {}, self.fingerprint()
        for model, name in methods:
            records = self.records[model]
            cells = rows[f"{model}.{name}"] = {}
            for role in ROLES:
                for arguments in ARGUMENTS.get(name, [()]):
                    for record in self.singles(records, name):
                        before["calls"] = len(self.simulator.calls)
                        with self.subTest(model=model, name=name, role=role):
                            outcome, found = self.outcome(
                                role, record, name, arguments, before
                            )
                            cells[role] = max(
                                cells.get(role, outcome), outcome, key=ENDS.index
                            )
                            if role in ("portal", "employee", "stranger"):
                                self.assertNotEqual(outcome, "does", found)
                                self.assertNotIn(MARK, str(found).lower())
        self.document("methods", table("Method", rows))

    def singles(self, records, name):
        """Return what a method is called on: each record, where there are some."""
        return [record for record in records][:2] or [records]


@tagged("post_install", "-at_install")
class TestCompanies(EverythingCase):
    """What no method, but a value or a message could let through."""

    def test_nothing_is_moved_into_another_company(self):
        account = (
            self.env["crm.mailchimp.account"]
            .with_user(self.stranger)
            .create({"name": "Theirs"})
        )
        self.account.active = False
        with self.assertRaises(AccessError):
            account.company_id = self.company
        with self.assertRaises(AccessError):
            self.env["crm.mailchimp.account"].with_user(self.stranger).create(
                {"company_id": self.company.id}
            )
        line = (
            self.env["crm.mailchimp.merge.field"]
            .with_user(self.stranger)
            .create(
                {
                    "account_id": account.id,
                    "tag": "X",
                    "name": "X",
                    "field_path": "comment",
                }
            )
        )
        with self.assertRaises(AccessError):
            line.account_id = self.account
        with self.assertRaises(UserError):
            self.manager.company_ids |= self.other
            self.account.with_user(self.manager).with_context(
                allowed_company_ids=(self.company | self.other).ids
            ).company_id = self.other

    def test_consent_of_deleted_contacts(self):
        """It stays with the company of the contact, for managers, as evidence."""
        partner = self.contact("Zoe", company_id=self.company.id)
        moved = self.contact("Max", company_id=self.other.id)
        moved.company_id = self.company
        Consent = self.env["crm.mailchimp.consent"]
        lines = Consent.search([("partner_id", "in", (partner | moved).ids)])
        self.assertEqual(len(lines), 2)
        (partner | moved).unlink()
        self.assertEqual(lines.exists(), lines)
        self.assertEqual(lines.company_id, self.company)
        for user, sees in (
            *((self.sales, False), (self.syncer, False)),
            *((self.stranger, False), (self.manager, True)),
        ):
            found = Consent.with_user(user).search([("id", "in", lines.ids)])
            self.assertEqual(found.ids, lines.ids if sees else [], user.login)
            count = Consent.with_user(user).search_count(
                [("email_normalized", "in", ["zoe@firma.be", "max@firma.be"])]
            )
            self.assertEqual(count, 2 * sees)

    def test_progress_is_told_to_the_company_only(self):
        self.env["bus.bus"].search([]).unlink()
        run = self.account.run_ids[0]
        run._notify()
        self.env.cr.precommit.run()
        told = self.env["bus.bus"].search([]).mapped("channel")
        self.assertTrue(told)

        def is_told(user):
            mark = f'"res.partner",{user.partner_id.id}]'
            return any(mark in channel.replace(" ", "") for channel in told)

        for user, hears in (
            *((self.manager, True), (self.syncer, True)),
            *((self.stranger, False), (self.sales, False)),
        ):
            self.assertEqual(is_told(user), hears, (user.login, told))
        self.assertNotIn("res.groups", str(told))
