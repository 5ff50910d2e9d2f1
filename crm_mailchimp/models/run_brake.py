from datetime import timedelta

from odoo import api, fields, models

from ..engine.plan import REACHABLE, brake

# A run at the brake is planned again: maybe somebody has corrected the cause.
AGAIN = timedelta(hours=1)
# What decides who belongs to the audience, and how many may leave it at once.
SCOPE = ("partner_kind", "email_scope", "partner_domain")
CAUSES = {"archive_brake_percent", *SCOPE}


class CrmMailchimpRun(models.Model):
    """Phase *brake*: wait for a manager when unusually many members would leave.

    An opt-out never waits; but when a filter, a scope or an import goes wrong, many
    members would leave at once, and in Mailchimp that cannot simply be undone. What a
    manager confirms is a number: the run is planned again, on what holds by then, and
    asks again if there are more. Once the cause is corrected nobody has to confirm.
    """

    _inherit = "crm.mailchimp.run"

    def _phase_brake(self, gateway, deadline):
        """Go on, or wait for a manager."""
        archives, sentence = self._brake_sentence()
        confirmed = (self.cursor or {}).get("brake_confirmed")
        if sentence and confirmed is not True and archives > (confirmed or 0):
            self._wait_at_brake(archives, sentence)
            return "wait"
        if "brake" in (self.cursor or {}):
            self._set_cursor(brake=None)
            self.account_id._forget_attention()
        self.error_message = False
        self.account_id._note_scope()
        to_send = self.env["crm.mailchimp.member"].search_count(
            [("account_id", "=", self.account_id.id), ("operation", "!=", False)]
        )
        counters = self.counters or {}
        self.counters = dict(counters, to_send=to_send + counters.get("sent", 0))
        return "send" if to_send or self._tags_wait() else "verify"

    def _brake_sentence(self):
        """Return ``(number, sentence)``: how many would leave, and the question.

        There is no question while they are no more than usual. Members that are only
        in Mailchimp neither leave by themselves nor count for the share.
        """
        account = self.account_id
        Member = self.env["crm.mailchimp.member"]
        causes = dict(
            Member._read_group(self._archiving_domain(), ["cause"], ["__count"])
        )
        archives = sum(causes.values())
        members = Member.search_count(
            [
                ("account_id", "=", account.id),
                ("status", "in", REACHABLE),
                ("origin", "!=", "foreign"),
            ]
        )
        if not brake(archives, members, account.archive_brake_percent):
            return archives, None
        return archives, self.env._(
            "This sync would archive an unusually large number of contacts for "
            "reasons other than an opt-out: %(archives)s of the %(members)s. "
            "%(causes)s. View the list, then confirm, or correct the cause: the sync "
            "is planned again every hour and with “Sync now”, and continues "
            "automatically once it would archive no more than usual.",
            archives=archives,
            members=members,
            causes=". ".join(self._causes_in_words(causes)),
        )

    def _archiving_domain(self):
        """Return the domain of the members a manager has to decide about."""
        return [
            ("account_id", "=", self.account_id.id),
            ("operation", "=", "archive"),
            ("cause", "not in", ("opt_out", "foreign")),
        ]

    def _causes_in_words(self, causes):
        """Yield why members leave, the most common cause first.

        :param dict causes: cause -> number of members
        """
        labels = dict(
            self.env["crm.mailchimp.member"]
            ._fields["cause"]
            ._description_selection(self.env)
        )
        for cause, number in sorted(causes.items(), key=lambda item: -item[1]):
            change = cause == "scope" and self.account_id._scope_change()
            if change:
                yield self.env._(
                    "%(change)s; members who would leave because of it: %(number)s",
                    change=change,
                    number=number,
                )
            else:
                yield f"{labels.get(cause, cause)}: {number}"

    def _wait_at_brake(self, archives, sentence):
        account = self.account_id
        if self.error_message != sentence:
            account.activity_unlink(["mail.mail_activity_data_todo"])
            account._notify_managers(sentence)
        at = fields.Datetime.now() + AGAIN
        self._set_cursor(brake=archives, brake_confirmed=None)
        self.write(
            {
                "state": "brake",
                "phase": "segments",
                "error_message": sentence,
                "resume_at": at,
            }
        )
        self.env.ref("crm_mailchimp.ir_cron_push")._trigger(at=at)
        self._notify()

    def _is_due(self, now):
        if self._is_planned_again():
            return not self.resume_at or self.resume_at <= now
        return super()._is_due(now)

    def _is_planned_again(self):
        """Tell whether this run waits at the brake, and not as an older database."""
        return self.state == "brake" and not self._asks_as_older()

    def _plan_again(self, kind=None):
        """Have runs that wait at the brake planned again at once.

        :param str kind: ``full`` to read the whole audience before
        """
        for run in self.filtered(lambda run: run._is_planned_again()):
            vals = {"resume_at": fields.Datetime.now()}
            if kind == "full":
                vals["kind"] = kind
                run._set_cursor(full_read=None)
            run.write(vals)
            self.env.ref("crm_mailchimp.ir_cron_push").sudo()._trigger()

    def _waiting_sentence(self):
        """Tell whoever asks for a run what this one, at the brake, waits for."""
        if not self._is_planned_again():
            return self.error_message
        return self.env._(
            "The sync is waiting for a manager. %s It is being planned again.",
            self.error_message,
        )

    def action_confirm_archiving(self):
        """Let a run that waits at the brake archive as many members as it said."""
        self.ensure_one()
        self.account_id._check_manager()
        if self.state == "brake":
            run = self.sudo()
            run.account_id._forget_attention()
            run._set_cursor(brake_confirmed=(run.cursor or {}).get("brake") or True)
            run.write({"state": "running", "phase": "segments", "resume_at": False})
            self.env.ref("crm_mailchimp.ir_cron_push").sudo()._trigger()


class CrmMailchimpAccount(models.Model):
    """What decides who belongs to the audience, and how to take a change of it back."""

    _inherit = "crm.mailchimp.account"

    # The values of SCOPE by which members were last sent; none before the first push.
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
        """Return the names of fields of SCOPE that changed since the last push."""
        sent = self.scope_sent or {}
        return [name for name in SCOPE if name in sent and self[name] != sent[name]]

    def _scope_change(self):
        """Word what changed since the last push; empty when nothing did."""
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
        """Take back what changed since the last push, and plan a waiting run again."""
        self.ensure_one()
        self._check_manager()
        self.write({name: self.scope_sent[name] for name in self._changed_scope()})
        return self._toast(
            self.env._("The change was undone. The sync is being planned again.")
        )

    def action_open_run(self):
        """Open the run that is under way, or waits; all of them if there is none."""
        self.ensure_one()
        self.check_access("read")
        run = self.open_run_id
        return run.action_open_result() if run else self.action_open_runs()

    def write(self, vals):
        result = super().write(vals)
        if CAUSES & vals.keys():
            self.sudo().run_ids._plan_again()
        return result
