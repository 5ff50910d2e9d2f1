from datetime import datetime, time, timedelta

from odoo import api, fields, models
from odoo.tools import SQL

from .crm_mailchimp_run import PUSHES

NIGHT = time(1, 0)  # UTC
COMPARE_EVERY = timedelta(days=7)


class CrmMailchimpAccount(models.Model):
    """When an account is due: nightly, when asked, to resume, or for an opt-out."""

    _inherit = "crm.mailchimp.account"

    @api.model
    def _due_for_push(self):
        """Return the runs to enter now, creating those that are due by time."""
        return self._due("push")

    @api.model
    def _due_for_stats(self):
        return self._due("stats")

    def _due(self, kind):
        Run = self.env["crm.mailchimp.run"]
        now = fields.Datetime.now()
        due = Run
        for account in self.search([("state", "in", ("connected", "linked"))]):
            if account._is_copy():
                account._stop_elsewhere()
                continue
            account._complete_database_ref()
            stats = kind == "stats"
            # The oldest first: a run is followed by the one queued behind it.
            open_runs = Run.search(
                [("account_id", "=", account.id), ("state", "in", Run.OPEN_STATES)],
                order="id",
            )
            run = open_runs.filtered(
                lambda run, kinds=("stats",) if stats else PUSHES: run.kind in kinds
            )[:1]
            if not stats:
                due |= open_runs.filtered(
                    lambda run: run.kind in ("preview", "audience") and run._is_due(now)
                )
            if account.state != "linked":
                continue
            if not run and (stats or account._push_due(now)):
                weekly = not stats and account._full_due(now)
                run, _created = Run._get_or_create(account, "full" if weekly else kind)
            if run and run._is_due(now):
                due |= run
            elif run.state in ("waiting", "brake") and account._opt_outs_wait():
                # The brake and Mailchimp's batches hold up everything but an opt-out.
                due |= run
        return due

    def _push_due(self, now):
        """Tell whether the night has come, or somebody opted out."""
        last = self.env["crm.mailchimp.run"].search(
            [("account_id", "=", self.id), ("kind", "in", PUSHES)], limit=1
        )
        night = datetime.combine(now.date(), NIGHT)
        if now < night:
            night -= timedelta(days=1)
        return not last or last.create_date < night or self._opt_outs_wait()

    def _full_due(self, now):
        """Tell whether the weekly comparison of the whole audience is due.

        The first reading, when an audience is linked, is one, too.
        """
        return not self.env["crm.mailchimp.run"].search(
            [
                ("account_id", "=", self.id),
                ("state", "=", "done"),
                ("read_all", "=", True),
                ("create_date", ">", now - COMPARE_EVERY),
            ],
            limit=1,
        )

    def _opt_outs_wait(self):
        """Tell whether a contact opted out whose address is still reachable."""
        return bool(
            self.env.execute_query(
                SQL(
                    """SELECT 1 FROM crm_mailchimp_consent c
                         JOIN crm_mailchimp_member m
                           ON (m.email_normalized = c.email_normalized
                               OR m.partner_id = c.partner_id)
                        WHERE c.kind = 'out' AND c.date > %s AND m.account_id = %s
                          AND m.origin <> 'foreign' AND m.reason IS NULL
                          AND m.status IN ('subscribed', 'pending')
                          AND NOT EXISTS (
                              SELECT FROM res_partner p
                               WHERE p.id = m.partner_id AND p.mailchimp_opt_in
                                 AND p.mailchimp_opt_in_date >= c.date)
                        LIMIT 1""",
                    fields.Datetime.now() - timedelta(days=2),
                    self.id,
                )
            )
        )


class CrmMailchimpRun(models.Model):
    _inherit = "crm.mailchimp.run"

    def _is_due(self, now):
        """Tell whether the run is to be entered now."""
        return self.state in ("queued", "running") or (
            self.state == "waiting" and (not self.resume_at or self.resume_at <= now)
        )
