import json
import tempfile
from collections import Counter

from odoo import models
from odoo.tools import SQL

from ..engine.dry_run import DryRun
from ..engine.plan import brake, held
from .member_values import MemberValues

CHUNK = 2000
COLUMNS = "partner_id, email_normalized, action, detail, entering, leaving"


class CrmMailchimpRun(models.Model):
    """Runs of kind *preview*: the phases of a real run, of which nothing stays.

    They work on a gateway that only reads and in a transaction that is rolled back, so
    a preview can say nothing else than what the next run does. Its lines go to a file
    first, since the database forgets them, too.
    """

    _inherit = "crm.mailchimp.run"

    def _commit(self):
        """Keep what was done so far, unless it is a preview."""
        if self.kind != "preview":
            return super()._commit()
        return self.env.flush_all()

    def _work_preview(self, gateway):
        with tempfile.TemporaryFile("w+") as spool:
            counters = Counter()
            for line in self._preview_lines(DryRun(gateway)):
                counters[line[2]] += 1
                json.dump(line, spool)
                spool.write("\n")
            sentence = self._preview_brake(counters)
            self.env.cr.rollback()
            self._store_lines(spool)
        self.counters = dict(counters)
        self._end("done", sentence)
        return True

    def _store_lines(self, spool):
        spool.seek(0)
        self.env.cr.execute_values(
            f"INSERT INTO crm_mailchimp_preview_line (run_id, {COLUMNS})"  # pylint: disable=sql-injection
            " VALUES %s",
            ((self.id, *json.loads(line)) for line in spool),
            page_size=1000,
        )
        self.env["crm.mailchimp.preview.line"].invalidate_model(flush=False)

    def _preview_brake(self, counters):
        """Return what the next run would say at the brake, or nothing."""
        account = self.account_id
        Member = self.env["crm.mailchimp.member"]
        archives = Member.search_count(
            [
                ("account_id", "=", account.id),
                ("operation", "=", "archive"),
                ("cause", "not in", ("opt_out", "foreign")),
            ]
        )
        members = Member.search_count(
            [("account_id", "=", account.id), ("status", "=", "subscribed")]
        )
        if not brake(archives, members, account.archive_brake_percent):
            return None
        return self.env._(
            "The run would wait for a manager before it archives so many members:"
            " %(archives)s of %(members)s.",
            archives=archives,
            members=members,
        )

    def _preview_lines(self, gateway):
        """Go through the phases and yield what they would do.

        :return: generator of tuples of ``COLUMNS``
        """
        account = self.account_id
        self._pull(gateway)
        for partner_id, email, _date, reason in self._said_no():
            yield (partner_id, email, "opt_out", reason, "", "")
        if account.foreign_members == "import":
            for member_id, partner_id in self._foreign_to_import():
                member = self.env["crm.mailchimp.member"].browse(member_id)
                yield (partner_id, member.email_normalized, "import", "", "", "")
        brought_back = []
        self = self.with_context(mailchimp_brought_back=brought_back)
        self._phase_segments(gateway, float("inf"))
        self._phase_diff(gateway, float("inf"))
        for partner_id, values in brought_back:
            partner = self.env["res.partner"].browse(partner_id)
            detail = self._describe_vals(partner, values)
            yield (partner_id, partner.email_normalized, "bring_back", detail, "", "")
        reader = MemberValues(account)
        names = {
            segment[f"{kind}_ref"]: segment.name
            for segment in account.segment_ids
            for kind in ("person", "company")
            if segment[f"{kind}_ref"]
        }
        tags = self._tags_of_contacts()
        after = ""
        while True:
            rows = reader.chunk(
                SQL("m.operation IS NOT NULL AND m.email_normalized > %s", after), CHUNK
            )
            if not rows:
                break
            after = rows[-1][1]
            yield from self._preview_rows(reader, rows, names, tags)
            self.env.invalidate_all()
        yield from self._preview_tags()

    def _preview_rows(self, reader, rows, names, tags):
        causes = dict(
            self.env["crm.mailchimp.member"]
            ._fields["cause"]
            ._description_selection(self.env)
        )
        creates = [row for row in rows if reader.known(row)["operation"] == "create"]
        permissions = _join(self._permissions_to_give().mapped("name"))
        for item, row, desired in self._creation_items(reader, creates, "subscribed"):
            entering = [names[ref] for ref in desired["i"]]
            entering += tags.get(row[2], ())
            email = item["email_address"]
            yield (row[2], email, "create", permissions, _join(entering), "")
        for row in self._held_rows(reader, creates):
            yield row
        for row in rows:
            known = reader.known(row)
            operation = known["operation"]
            if operation == "update":
                for _row, _desired, body in self._update_bodies(reader, [row]):
                    yield self._preview_update(reader, row, body, names)
            elif operation in ("move", "restore", "readmit", "ask"):
                old = self.env["crm.mailchimp.member"].browse(known["moved_from_id"])
                detail = old.email_normalized if operation == "move" else ""
                yield (row[2], row[1], operation, detail, "", "")
            elif operation == "archive":
                cause = causes.get(self._cause(row[0]), "")
                yield (row[2], row[1], "archive", cause, "", "")

    def _held_rows(self, reader, rows):
        ids = [row[0] for row in rows]
        for member in self.env["crm.mailchimp.member"].search(
            [("id", "in", ids), ("reason", "=", "required_field")]
        ):
            yield (
                member.partner_id.id or None,
                member.email_normalized,
                "held",
                member.reason_text,
                "",
                "",
            )

    def _cause(self, member_id):
        return self.env["crm.mailchimp.member"].browse(member_id).cause

    def _preview_update(self, reader, row, body, names):
        before = held(reader.state(row))["m"]
        changes = [
            f"{tag}: {_text(before.get(tag))} → {_text(value)}"
            for tag, value in (body.get("merge_fields") or {}).items()
        ]
        if body.get("language"):
            changes.append(f"{self.env._('Language')}: {body['language']}")
        interests = body.get("interests") or {}
        entering = [names.get(ref, ref) for ref, inside in interests.items() if inside]
        leaving = [
            names.get(ref, ref) for ref, inside in interests.items() if not inside
        ]
        action = "update" if changes else "segment"
        return (
            row[2],
            row[1],
            action,
            "; ".join(changes),
            _join(entering),
            _join(leaving),
        )

    def _describe_vals(self, partner, values):
        return "; ".join(
            f"{partner._fields[name]._description_string(self.env)}: {value or ''}"
            for name, value in values.items()
        )

    def _tags_of_contacts(self):
        """Return ``{contact id: names of tags}`` for contacts that are not members."""
        if self.account_id.segment_target == "group":
            return {}
        return dict(
            self.env.execute_query(
                SQL(
                    """SELECT m.partner_id, ARRAY_AGG(s.name ORDER BY s.name)
                         FROM crm_mailchimp_member m
                         JOIN crm_mailchimp_segment_partner r
                           ON r.partner_id = m.partner_id
                         JOIN crm_mailchimp_segment s ON s.id = r.segment_id
                        WHERE m.account_id = %(account)s AND m.operation = 'create'
                          AND s.account_id = %(account)s AND s.tag_ref IS NOT NULL
                     GROUP BY m.partner_id""",
                    account=self.account_id.id,
                )
            )
        )

    def _preview_tags(self):
        """Yield a line for each member that is there and enters or leaves tags."""
        found = {}
        for segment in self._tag_segments().filtered("tag_ref"):
            for index, rows in enumerate(self._tags_to_change(segment, limit=None)):
                for member_id, email in rows:
                    entry = found.setdefault((member_id, email), ([], []))
                    entry[index].append(segment.name)
        for (member_id, email), (entering, leaving) in found.items():
            member = self.env["crm.mailchimp.member"].browse(member_id)
            yield (
                member.partner_id.id or None,
                email,
                "segment",
                "",
                _join(entering),
                _join(leaving),
            )

    def _write_contacts(self, changes):
        if self.kind != "preview":
            return super()._write_contacts(changes)
        self.env.context["mailchimp_brought_back"].extend(changes.items())
        return set(changes)

    def action_open_result(self):
        if self.kind == "preview" and self.state == "done":
            return self.action_open_preview()
        return super().action_open_result()

    def action_open_preview(self):
        """List what the next run would do, contact by contact."""
        self.ensure_one()
        action = self.env["ir.actions.act_window"]._for_xml_id(
            "crm_mailchimp.action_crm_mailchimp_preview_line"
        )
        action["domain"] = [("run_id", "=", self.id)]
        return action


class CrmMailchimpAccount(models.Model):
    _inherit = "crm.mailchimp.account"

    def action_preview(self):
        """Find out what the next run would do; nothing is written anywhere."""
        self.ensure_one()
        self._check_ready()
        run, _created = self._request_run("preview")
        return run.action_open_result()


def _join(names):
    return ", ".join(sorted(names))


def _text(value):
    if isinstance(value, dict):
        return ", ".join(str(part) for part in value.values() if part)
    return "" if value is None else str(value)
