import logging
from datetime import datetime, time, timedelta

import pytz

from odoo import api, fields, models

from ..engine.vocabulary import PUSHES

_logger = logging.getLogger(__name__)

NIGHT = time(2, 0)  # in the time zone of the user an account syncs as
COMPARE_EVERY = timedelta(days=7)


class CrmMailchimpAccount(models.Model):
    """When an account is due: nightly, when asked, or to resume."""

    _inherit = "crm.mailchimp.account"

    @api.model
    def _due_for_push(self):
        """Return the runs to enter now, creating those whose time has come."""
        return self._due("push")

    @api.model
    def _due_for_stats(self):
        return self._due("stats")

    def _due(self, kind):
        due = self.env["crm.mailchimp.run"]
        for account in self.search([("state", "in", ("connected", "linked"))]):
            try:
                with self.env.cr.savepoint():
                    due |= account._due_runs(kind, fields.Datetime.now())
            except Exception:
                # One account must never stop the others.
                _logger.exception("Mailchimp account %s is passed over", account.id)
        return due

    def _due_runs(self, kind, now):
        """Return the runs of this account to enter now."""
        Run = self.env["crm.mailchimp.run"]
        due = Run
        if self._is_copy():
            self._stop_elsewhere()
            return due
        self._complete_database_ref()
        stats = kind == "stats"
        # The oldest first: a run is followed by the one queued behind it.
        open_runs = Run.search(
            [("account_id", "=", self.id), ("state", "in", Run.OPEN_STATES)],
            order="id",
        )
        run = open_runs.filtered(
            lambda run: run.kind in (("stats",) if stats else PUSHES)
        )[:1]
        if not stats:
            due |= open_runs.filtered(
                lambda run: run.kind in ("preview", "audience") and run._is_due(now)
            )
        if self.state != "linked":
            return due
        if not run and (stats or self._push_due(now)):
            weekly = not stats and self._full_due(now)
            run, _created = Run._get_or_create(self, "full" if weekly else kind)
        if run and run._is_due(now):
            due |= run
        return due

    def _push_due(self, now):
        """Return whether the nightly push is due."""
        last = self.env["crm.mailchimp.run"].search(
            [("account_id", "=", self.id), ("kind", "in", PUSHES)], limit=1
        )
        return not last or last.create_date < self._nights(now)[0]

    def _nights(self, now):
        """Return when the last nightly sync was due, and when the next one is.

        :param datetime now: in UTC, without a time zone
        :return: two datetimes of the same kind
        """
        zone = self.with_context(tz=self.sync_user_id.tz).env.tz
        today = pytz.utc.localize(now).astimezone(zone).date()
        nights = [
            zone.localize(datetime.combine(today + timedelta(days=days), NIGHT))
            .astimezone(pytz.utc)
            .replace(tzinfo=None)
            for days in (-1, 0, 1)
        ]
        return max(n for n in nights if n <= now), min(n for n in nights if n > now)

    def _full_due(self, now):
        """Return whether the weekly comparison of the whole audience is due.

        The first reading after an audience is linked is one, too.
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


class CrmMailchimpRun(models.Model):
    _inherit = "crm.mailchimp.run"

    def _is_due(self, now):
        """Return whether the run is to be entered now."""
        return self.state in ("queued", "running") or (
            self.state == "waiting" and (not self.resume_at or self.resume_at <= now)
        )
