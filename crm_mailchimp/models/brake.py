from odoo import api, fields, models

# SCOPE decides who belongs in the audience; CAUSES adds how many may leave at once.
SCOPE = ("partner_kind", "email_scope", "partner_domain")
CAUSES = {"archive_brake_percent", *SCOPE}


class CrmMailchimpRun(models.Model):
    """A run that waits at the brake: see :class:`..sync.brake.Brake`."""

    _inherit = "crm.mailchimp.run"

    def _archiving_domain(self):
        """Return the domain of the members a manager has to decide about."""
        return [
            ("account_id", "=", self.account_id.id),
            ("operation", "=", "archive"),
            ("cause", "not in", ("opt_out", "foreign")),
        ]

    def _is_due(self, now):
        if self._is_planned_again():
            return not self.resume_at or self.resume_at <= now
        return super()._is_due(now)

    def _is_planned_again(self):
        """Return whether this run is at the brake, but not as an older database."""
        return self.state == "brake" and not self._asks_as_older()

    def _plan_again(self, kind=None):
        """Plan the runs that wait at the brake again, without delay.

        :param str kind: ``full`` to read the whole audience first
        """
        for run in self.filtered(lambda run: run._is_planned_again()):
            vals = {"resume_at": fields.Datetime.now()}
            if kind == "full":
                vals["kind"] = kind
                run._set_cursor(full_read=None)
            run.write(vals)
            self.env.ref("crm_mailchimp.ir_cron_push").sudo()._trigger()

    def _waiting_sentence(self):
        """Return a sentence about what this run, at the brake, is waiting for."""
        if not self._is_planned_again():
            return self.error_message
        return self.env._(
            "The sync is waiting for a manager. %s It is being planned again.",
            self.error_message,
        )

    def action_confirm_archiving(self):
        """Confirm that a run may archive as many members as it announced."""
        self.ensure_one()
        self.account_id._check_manager()
        if self.state == "brake":
            run = self.sudo()
            run.account_id._forget_attention()
            run._set_cursor(brake_confirmed=run._get_cursor().brake or True)
            run.write({"state": "running", "phase": "segments", "resume_at": False})
            self.env.ref("crm_mailchimp.ir_cron_push").sudo()._trigger()


class CrmMailchimpAccount(models.Model):
    """What decides who belongs in the audience, and how to undo a change to it."""

    _inherit = "crm.mailchimp.account"

    # The values of SCOPE when members were last sent; empty before the first push.
    scope_sent = fields.Json(readonly=True, copy=False)
    can_undo_scope = fields.Boolean(compute="_compute_can_undo_scope")

    @api.depends("scope_sent", "run_ids.state", *SCOPE)
    def _compute_can_undo_scope(self):
        for account in self:
            account.can_undo_scope = (
                account.open_run_id.state == "brake" and account._changed_scope()
            )

    def _note_scope(self):
        scope = {name: self[name] for name in SCOPE}
        if self.scope_sent != scope:
            self.scope_sent = scope

    def _changed_scope(self):
        """Return the names of the SCOPE fields that changed since the last push."""
        sent = self.scope_sent or {}
        return [name for name in SCOPE if name in sent and self[name] != sent[name]]

    def _scope_change(self):
        """Return what changed since the last push, in words; empty if nothing did."""
        changes = []
        for name in self._changed_scope():
            field = self._fields[name]
            label = field._description_string(self.env)
            if field.type == "selection":
                words = dict(field._description_selection(self.env))
                changes.append(
                    self.env._(
                        "“%(option)s” was changed from “%(old)s” to “%(new)s”",
                        option=label,
                        old=words.get(self.scope_sent[name], ""),
                        new=words[self[name]],
                    )
                )
            else:
                changes.append(self.env._("“%(option)s” was changed", option=label))
        return ", ".join(changes)

    def action_undo_scope(self):
        """Undo what changed since the last push, and plan a waiting run again."""
        self.ensure_one()
        self._check_manager()
        self.write({name: self.scope_sent[name] for name in self._changed_scope()})
        return self._toast(
            self.env._("The change was undone. The sync is being planned again.")
        )

    def action_open_run(self):
        """Open the run that is under way or waiting, or else the list of runs."""
        self.ensure_one()
        self.check_access("read")
        run = self.open_run_id
        return run.action_open_result() if run else self.action_open_runs()

    def write(self, vals):
        result = super().write(vals)
        if CAUSES & vals.keys():
            self.sudo().run_ids._plan_again()
        return result
