import logging
from datetime import timedelta

from odoo import api, fields, models
from odoo.exceptions import AccessError
from odoo.tools import SQL

from ..engine.json_columns import Cursor
from ..engine.vocabulary import PUSHES
from .clock import short_moment

_logger = logging.getLogger(__name__)

KEEP_DAYS = 90
# A preview is out of date soon, and has a line for each contact.
KEEP_PREVIEW_DAYS = 7
# There may be one of these a minute.
KEEP_WEBHOOK_DAYS = 7
# Phase -> counters of what there is to do in it and of what is done.
COUNTED = {"send": ("to_send", "sent"), "recipients": ("to_read", "read")}


class CrmMailchimpRun(models.Model):
    """One run: what it is doing, how far it got, and what came of it.

    queued -> running -> done | failed | cancelled; *waiting* until Mailchimp is
    reachable again (``resume_at``), *brake* until a manager decides. At most one run
    per account and kind is under way, and one queued behind it. ``phase`` and
    ``cursor`` are the resume point: a run that was killed continues from there, after
    looking again at what Mailchimp holds.

    The work itself is in the packages ``sync`` (contacts, audiences, previews) and
    ``results`` (campaigns), with a class for each phase.
    """

    _name = "crm.mailchimp.run"
    _inherit = ["crm.mailchimp.labelled"]
    _description = "Mailchimp Run"
    _order = "id desc"

    OPEN_STATES = ("queued", "running", "waiting", "brake")

    account_id = fields.Many2one(
        "crm.mailchimp.account", required=True, ondelete="cascade", readonly=True
    )
    company_id = fields.Many2one(related="account_id.company_id")
    kind = fields.Selection(
        [
            ("push", "Sync"),
            ("full", "Compare the whole audience"),
            ("preview", "Preview"),
            ("audience", "New audience"),
            ("stats", "Campaign results"),
            ("webhook", "Webhooks"),
        ],
        string="Type",
        required=True,
        readonly=True,
    )
    state = fields.Selection(
        [
            ("queued", "Queued"),
            ("running", "Running"),
            ("waiting", "Waiting for Mailchimp"),
            ("brake", "Needs approval"),
            ("done", "Done"),
            ("failed", "Failed"),
            ("cancelled", "Cancelled"),
        ],
        default="queued",
        required=True,
        readonly=True,
    )
    is_open = fields.Boolean(compute="_compute_is_open")
    can_undo_scope = fields.Boolean(related="account_id.can_undo_scope")
    phase = fields.Selection(
        [
            ("pull", "Read changes from Mailchimp"),
            ("segments", "Update segments"),
            ("diff", "Compare"),
            ("brake", "Check before archiving"),
            ("send", "Send"),
            ("verify", "Verify"),
            ("campaigns", "Read campaigns"),
            ("reports", "Read results"),
            ("recipients", "Read recipients"),
        ],
        readonly=True,
    )
    cursor = fields.Json(readonly=True)
    counters = fields.Json(readonly=True)
    progress = fields.Float(compute="_compute_progress")
    progress_label = fields.Char(string="Current step", compute="_compute_progress")
    summary = fields.Char(compute="_compute_summary")
    error_message = fields.Text(string="Problem", readonly=True)
    error_detail = fields.Text(
        readonly=True, groups="base.group_system", string="Details for administrators"
    )
    attempts = fields.Integer(readonly=True)
    resume_at = fields.Datetime(string="Resumes at", readonly=True)
    started_at = fields.Datetime(string="Started on", readonly=True)
    ended_at = fields.Datetime(string="Ended on", readonly=True)
    # Members changed in Mailchimp up to this time are in the ledger.
    pulled_until = fields.Datetime(readonly=True)
    read_all = fields.Boolean(string="Compared everything", readonly=True)
    requested_by_id = fields.Many2one(
        "res.users", ondelete="set null", readonly=True, string="Requested by"
    )

    _open_uniq = models.UniqueIndex(
        "(account_id, (CASE WHEN kind = 'full' THEN 'push' ELSE kind END),"
        " (state = 'queued'))"
        " WHERE state IN ('queued', 'running', 'waiting', 'brake')",
        "A sync of this account is already in progress.",
    )
    _account_idx = models.Index("(account_id, id DESC)")

    # === COMPUTES === #

    @api.depends("kind", "create_date")
    def _compute_display_name(self):
        for run in self:
            moment = short_moment(self.env, run.create_date) if run.id else ""
            run.display_name = f"{run._kind_label()} {moment}".strip()

    def _kind_label(self):
        kinds = dict(self._fields["kind"]._description_selection(self.env))
        return kinds.get(self.kind, "")

    @api.depends("state")
    def _compute_is_open(self):
        for run in self:
            run.is_open = run.state in self.OPEN_STATES

    @api.depends("phase", "counters", "state")
    def _compute_progress(self):
        phases = dict(self._fields["phase"]._description_selection(self.env))
        states = dict(self._fields["state"]._description_selection(self.env))
        for run in self:
            counters = run.counters or {}
            names = COUNTED.get(run.phase, ())
            total, done = (counters.get(name, 0) for name in names or ("", ""))
            run.progress = 100.0 if run.state == "done" else 0.0
            run.progress_label = states[run.state]
            if run.state == "running" and run.phase:
                run.progress_label = phases[run.phase]
                if total:
                    run.progress = min(100.0 * done / total, 99.0)
                    run.progress_label = f"{phases[run.phase]}: {done} / {total}"

    def _counter_labels(self):
        _ = self.env._
        return {
            "created": _("Added: %s"),
            "updated": _("Updated: %s"),
            "archived": _("Archived: %s"),
            "let_go": _("Opt-outs sent: %s"),
            "moved": _("Addresses changed: %s"),
            "restored": _("Subscribed again: %s"),
            "asked": _("Asked again: %s"),
            "brought_back": _("Contacts updated: %s"),
            "imported": _("Contacts created: %s"),
            "unsubscribed": _("Unsubscribed in Mailchimp: %s"),
            "told_no": _("Noted from webhooks: %s"),
            "repaired": _("Differences found and fixed: %s"),
            "deleted_in_mailchimp": _("Deleted in Mailchimp: %s"),
            "refused": _("Refused: %s"),
            "not_taken": _("Refused by Odoo: %s"),
            "not_blacklisted": _("Not blacklisted: %s"),
            "lacking": _("Without a required value: %s"),
            "no_room": _("Waiting for room in Mailchimp: %s"),
            "opted_out": _("Opt-ins removed: %s"),
            "merge_fields_created": _("Merge fields created: %s"),
            "merge_fields_refused": _("Merge fields refused: %s"),
            "groups_created": _("Groups created: %s"),
            "groups_deleted": _("Groups deleted: %s"),
            "tags_created": _("Tags created: %s"),
            "tags_deleted": _("Tags deleted: %s"),
            "tagged": _("Tags added or removed: %s"),
            "untaggable": _("Tags refused: %s"),
            "permitted": _("Marketing permissions set: %s"),
            "campaigns": _("Campaigns: %s"),
            "campaigns_failed": _("Campaigns that could not be read: %s"),
            "events": _("Opens, clicks and other events: %s"),
        }

    def _preview_labels(self):
        _ = self.env._
        return {
            "create": _("To add: %s"),
            "update": _("To update: %s"),
            "segment": _("Groups or tags to update: %s"),
            "move": _("Addresses to change: %s"),
            "restore": _("To subscribe again: %s"),
            "readmit": _("To bring back: %s"),
            "ask": _("To ask again: %s"),
            "inquire": _("To check: %s"),
            "permit": _("Marketing permissions to set: %s"),
            "archive": _("To archive: %s"),
            "held": _("Without a required value: %s"),
            "opt_out": _("Opt-ins to remove: %s"),
            "bring_back": _("Contacts to update: %s"),
            "import": _("Contacts to create: %s"),
            "opt_in": _("Contacts to opt in: %s"),
            "not_taken": _("Refused by Odoo: %s"),
        }

    @api.depends("counters", "cursor", "kind", "state")
    def _compute_summary(self):
        for run in self:
            counters = run.counters or {}
            preview = run.kind == "preview"
            labels = self._preview_labels() if preview else self._counter_labels()
            run.summary = ", ".join(
                label % counters[name]
                for name, label in labels.items()
                if counters.get(name)
            )
            archives = run._get_cursor().brake
            if run.state == "brake" and archives is not None:
                run.summary = self.env._("Members to archive: %s", archives)
            if not run.summary and run.state == "done":
                run.summary = run._quiet_summary()

    def _quiet_summary(self):
        """Return a summary, in words, of a run that counted nothing."""
        if self.kind == "audience":
            return self.env._("Audience created")
        if self.kind == "webhook":
            return self.env._("Nothing new")
        if self.kind in PUSHES and not self.phase:
            # Sending contacts has not been started yet, or is paused.
            return self.env._("Changes read from Mailchimp")
        return self.env._("Nothing to do")

    # === LIFE OF A RUN === #

    @api.model
    def _get_or_create(self, account, kind):
        """Return the run that will do what is asked for: an open one, or a new one.

        A full comparison requested while a push is queued takes its place. A run that
        has already compared does not see what changes now, so another one is queued
        behind it.

        :return: ``(run, created)``
        """
        domain = [
            ("account_id", "=", account.id),
            ("state", "in", self.OPEN_STATES),
            ("kind", "in", PUSHES if kind in PUSHES else (kind,)),
        ]
        runs = self.search(domain)
        queued = runs.filtered(lambda run: run.state == "queued")
        under_way = runs - queued
        if queued:
            if kind == "full":
                queued.kind = kind
            return queued, False
        if under_way.state == "waiting":
            # Somebody fixed the cause and does not want to wait.
            under_way.resume_at = fields.Datetime.now()
        if under_way.state == "brake":
            # It compares again before it goes on.
            under_way._plan_again(kind)
            return under_way, False
        if under_way and not under_way._is_too_late_for(kind):
            return under_way, False
        # Two users may ask at once: the second insert conflicts with the first one's
        # row.
        rows = self.env.execute_query(
            SQL(
                """INSERT INTO crm_mailchimp_run
                        (account_id, kind, state, requested_by_id,
                         create_uid, create_date, write_uid, write_date)
                   VALUES (%s, %s, 'queued', %s, %s, NOW() AT TIME ZONE 'UTC',
                           %s, NOW() AT TIME ZONE 'UTC')
                   ON CONFLICT DO NOTHING RETURNING id""",
                account.id,
                kind,
                self.env.user.id,
                self.env.uid,
                self.env.uid,
            )
        )
        self.invalidate_model()
        account.invalidate_recordset(["run_ids", "open_run_id", "last_run_id"])
        if rows:
            return self.browse(rows[0][0]), True
        return self.search(domain, limit=1), False

    def _is_too_late_for(self, kind):
        """Return whether this run, under way, can no longer do what is asked for."""
        if kind == "full" and self.kind != kind:
            return True
        if kind not in PUSHES:
            return False
        # Past its first step, it may have evaluated the filters.
        return self.phase in ("send", "verify") or bool(self._get_cursor().step)

    def _end(self, state, error=None):
        """Close runs; ``error`` is an error of the engine or a sentence."""
        for run in self:
            vals = {
                "state": state,
                "ended_at": fields.Datetime.now(),
                "resume_at": False,
            }
            if error is not None:
                vals.update(run._error_vals(error))
            elif state == "done":
                vals.update(error_message=False, error_detail=False)
                if run.kind in PUSHES:
                    run._count_opt_outs()
            run.write(vals)
            if run.kind in PUSHES:
                run.account_id._count_soon()
            run._notify()
            if run.kind in PUSHES:
                run.account_id._forget_attention()

    def _count_opt_outs(self):
        """Count the opt-outs delivered since the last run, but not by this one.

        The lane of opt-outs has no runs of its own to report them.
        """
        last = self.search(
            [
                ("account_id", "=", self.account_id.id),
                ("kind", "in", PUSHES),
                ("state", "=", "done"),
                ("id", "<", self.id),
            ],
            limit=1,
        )
        # By Mailchimp's clock, like the times it is compared with.
        since = last._get_cursor().let_go_until or fields.Datetime.to_string(
            self.account_id._mailchimp_now() - timedelta(seconds=1)
        )
        domain = [
            ("account_id", "=", self.account_id.id),
            ("opt_out_confirmed_at", ">", since),
            # Always true, but there is an index on it.
            ("opt_out_at", "!=", False),
        ]
        [(number, until)] = self.env["crm.mailchimp.member"]._read_group(
            domain, [], ["__count", "opt_out_confirmed_at:max"]
        )
        self._count(let_go=max(number - self._get_cursor().let_go, 0))
        until = until and fields.Datetime.to_string(until)
        self._set_cursor(let_go_until=until or since)

    def _read_everything(self):
        """Make a run of kind *stats* read the totals of all campaigns, however old."""
        if self.state in ("queued", "waiting"):
            self._set_cursor(everything=True, report_offset=None)
            self.phase = False

    def _error_vals(self, error):
        if isinstance(error, str):
            return {"error_message": error}
        return {
            "error_message": self.account_id._error_sentence(error),
            "error_detail": str(error),
        }

    def _count(self, **numbers):
        """Add to the counters of the run."""
        counters = dict(self.counters or {})
        for name, number in numbers.items():
            if number:
                counters[name] = counters.get(name, 0) + number
        self.counters = counters

    def _get_cursor(self):
        return Cursor.from_json(self.cursor)

    def _set_cursor(self, **values):
        """Change keys of the cursor; ``None`` removes one."""
        self.cursor = self._get_cursor().changed(**values).to_json()

    def _commit(self):
        """Commit what was done so far; of a preview, only what it read."""
        if self.kind == "preview" and self.phase != "pull":
            return self.env.flush_all()
        return self.env["ir.cron"]._commit_progress()

    def _notify(self):
        """Send the run's progress to users who may synchronise, after the commit.

        To each of them rather than the group: a run concerns its own company only.
        """
        group = self.env.ref("crm_mailchimp.group_mailchimp_user")
        for run in self:
            company = run.account_id.company_id
            # Fetch only what is needed: this runs at each checkpoint, with an empty
            # cache.
            users = (
                self.env["res.users"]
                .sudo()
                .search_fetch(
                    [
                        ("all_group_ids", "in", group.id),
                        ("share", "=", False),
                        ("company_ids", "in", company.id),
                    ],
                    ["partner_id"],
                    order="id",
                )
            )
            progress = {
                "run_id": run.id,
                "account_id": run.account_id.id,
                "company_id": company.id,
                "started": run.account_id.push_enabled,
                "kind": run.kind,
                "name": run._kind_label(),
                "asked_by": run.requested_by_id.id,
                "state": run.state,
                "label": run.progress_label,
                "progress": run.progress,
                "summary": run.summary if not run.is_open else "",
                "error": run.error_message or "",
            }
            users.partner_id._bus_send("crm_mailchimp/progress", progress)

    def action_cancel(self):
        """Stop a run. What was sent stays sent; the next run does the rest."""
        self._check_sync_right()
        self.sudo().filtered("is_open")._end("cancelled")

    def action_open_result(self):
        """Open the result of the run, for whoever asked for it."""
        self.ensure_one()
        return {
            "type": "ir.actions.act_window",
            "res_model": self._name,
            "res_id": self.id,
            "views": [(False, "form")],
        }

    def action_open_archiving(self):
        """List the members that would be archived."""
        self.ensure_one()
        action = self.env["ir.actions.act_window"]._for_xml_id(
            "crm_mailchimp.action_crm_mailchimp_member"
        )
        action["domain"] = self._archiving_domain()
        action["context"] = {"search_default_group_cause": 1}
        action["name"] = action["display_name"] = self.env._("Members to archive")
        return action

    def action_undo_scope(self):
        return self.account_id.action_undo_scope()

    def _check_sync_right(self):
        self.check_access("read")
        if not self.env.su and not self.env.user.has_group(
            "crm_mailchimp.group_mailchimp_user"
        ):
            raise AccessError(
                self.env._("You need the Mailchimp User access right to do this.")
            )

    @api.autovacuum
    def _gc_runs(self):
        """Delete old runs, but never the last one that holds an account's pull mark."""
        now = fields.Datetime.now()
        limit = now - timedelta(days=KEEP_DAYS)
        keep = [
            run_id
            for (run_id,) in self.env.execute_query(
                SQL(
                    "SELECT MAX(id) FROM crm_mailchimp_run"
                    " WHERE pulled_until IS NOT NULL"
                    " GROUP BY account_id"
                )
            )
        ]
        self.search(
            [
                ("create_date", "<", now - timedelta(days=KEEP_PREVIEW_DAYS)),
                ("kind", "=", "preview"),
                ("state", "not in", self.OPEN_STATES),
                ("id", "not in", keep),
            ],
            limit=20,
        ).unlink()
        runs = self.search(
            [
                "|",
                ("create_date", "<", limit),
                "&",
                ("create_date", "<", now - timedelta(days=KEEP_WEBHOOK_DAYS)),
                ("kind", "=", "webhook"),
                ("state", "not in", self.OPEN_STATES),
                ("id", "not in", keep),
            ],
            limit=1000,
        )
        runs.unlink()
        return len(runs), len(runs) == 1000
