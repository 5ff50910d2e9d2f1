import errno
import logging
import math
import time
from datetime import timedelta

import psycopg2

from odoo import api, fields, models
from odoo.exceptions import UserError
from odoo.service.model import PG_CONCURRENCY_EXCEPTIONS_TO_RETRY
from odoo.tools import config

from ..engine import errors
from ..engine.vocabulary import PUSHES
from ..results import import_results
from ..sync.audience import AudienceCreation
from ..sync.preview import Preview
from ..sync.push import Push
from ..sync.webhooks import WebhookReading
from .clock import short_moment

_logger = logging.getLogger(__name__)

# Seconds of work per call of the scheduled action, for all accounts. Requests in flight
# come on top, but none outlasts its share of Odoo's time limit for a job: beyond that,
# a prefork server kills the worker, and a threaded one restarts.
SLICE_SECONDS = 20
SHARE = 0.75
LONGEST_SECONDS = 90
# After an unanswered or refused request: minutes until the next try.
BACK_OFF = (1, 2, 5, 15, 30, 60)
# Most requests at once: Mailchimp allows ten, and results, opt-outs and users need
# theirs beside a push.
IN_FLIGHT = {"push": 8, "full": 8, "stats": 1}


def end_of_job():
    """Return the time by which a scheduled action that begins now should be over.

    :return: monotonic time, well before Odoo's own limit
    """
    # As Odoo's server reads them: -1 means the limit for requests, 0 means none.
    limit = config["limit_time_real_cron"]
    limit = config["limit_time_real"] if limit is None or limit < 0 else limit
    return time.monotonic() + min(SHARE * (limit or math.inf), LONGEST_SECONDS)


def is_out_of_space(error):
    """Return whether PostgreSQL or the file system has no room for what is written."""
    return isinstance(error, psycopg2.errors.DiskFull) or (
        isinstance(error, OSError) and error.errno == errno.ENOSPC
    )


class CrmMailchimpRun(models.Model):
    """How the scheduled actions work on runs: a slice each, in time, whatever fails."""

    _inherit = "crm.mailchimp.run"

    @api.model
    def _cron_push(self):
        """Enter the runs that are due, one slice each.

        Only this scheduled action enters them: the lock Odoo holds on its row is what
        keeps two workers apart (locks on accounts would not survive the commits).
        """
        accounts = self.env["crm.mailchimp.account"]
        self._enter(accounts._due_for_push())
        accounts._look_at_stopped()

    @api.model
    def _cron_stats(self):
        self._enter(self.env["crm.mailchimp.account"]._due_for_stats())

    @api.model
    def _enter(self, runs):
        commit = self.env["ir.cron"]._commit_progress
        cron = self.env["ir.cron"].browse(self.env.context.get("cron_id"))
        commit(remaining=len(runs))
        started, end = time.monotonic(), end_of_job()
        unfinished = False
        # The run that waited longest comes first; the remaining time is shared fairly.
        runs = runs.sorted("write_date")
        for turn, run in enumerate(runs):
            now, left = time.monotonic(), len(runs) - turn
            share = (started + SLICE_SECONDS - now) / left
            if share <= 0 and turn:
                unfinished = True
                break
            # A run that gets no answer must not use up the others' time. What is begun
            # last has as much time for its answer as there was to begin something.
            patience = (end - now) / left
            finished = run._try_slice(now + min(share, patience / 2), now + patience)
            unfinished |= not finished or run._is_followed()
            commit(1)
        if unfinished and cron:
            cron._trigger()
        # Runs that are left are not reported: Odoo would call such a job up to ten
        # times in a row, each time for as long as this one.
        commit(remaining=0)

    def _try_slice(self, deadline, end):
        """Work on the run; whatever happens, the runs of other accounts go on."""
        try:
            return self._run_slice(deadline, end)
        except PG_CONCURRENCY_EXCEPTIONS_TO_RETRY:
            self.env.cr.rollback()
            return False
        except Exception:
            # Even noting the error failed.
            self.env.cr.rollback()
            _logger.exception("Mailchimp run %s failed", self.id)
            return True

    def _is_followed(self):
        """Return whether this run is over and another one was queued behind it."""
        return not self.is_open and bool(
            self.search_count(
                [
                    ("account_id", "=", self.account_id.id),
                    ("kind", "in", PUSHES if self.kind in PUSHES else (self.kind,)),
                    ("state", "=", "queued"),
                ],
                limit=1,
            )
        )

    def _run_slice(self, deadline, end=math.inf):
        """Work on the run until it is done, waits, or time is up.

        :param float deadline: monotonic time after which no new work is begun
        :param float end: monotonic time that no request outlasts
        :return: ``False`` when work remains that can go on at once
        """
        self.ensure_one()
        account = self.account_id
        self = self.with_company(account.company_id).with_context(
            lang=account.sync_user_id.lang, tz=account.sync_user_id.tz
        )
        try:
            options = {"max_in_flight": IN_FLIGHT.get(self.kind, 4)}
            if self.kind == "audience":
                # Which Mailchimp account it is does not matter before there is an
                # audience.
                options["account"] = None
            gateway = account._gateway(**options)
        except UserError as error:
            self._end("failed", error)
            return True
        gateway.until(end)
        commit = self.env["ir.cron"]._commit_progress
        try:
            self.write(
                {
                    "state": "running",
                    "resume_at": False,
                    "started_at": self.started_at or fields.Datetime.now(),
                }
            )
            commit()
            finished = self._work(gateway, deadline)
            if self.attempts:
                self.attempts = 0
            if self.kind in PUSHES:
                account._note_account(gateway)
            commit()
            return finished
        except PG_CONCURRENCY_EXCEPTIONS_TO_RETRY:
            # Somebody else wrote the same rows: go on from the last commit.
            self.env.cr.rollback()
            return False
        except errors.MailchimpError as error:
            self.env.cr.rollback()
            return self._fail(error, gateway)
        except UserError as error:
            # Something in Odoo is set up wrong. The account shows it, and the nightly
            # run tries again; opt-outs go on meanwhile.
            self.env.cr.rollback()
            self._end("failed", error)
            return True
        except Exception as error:
            self.env.cr.rollback()
            if is_out_of_space(error):
                return self._wait_for_space(error)
            # A bug of ours must not leave a run open forever: the log has the details,
            # the account reports it, and the next run starts afresh.
            _logger.exception("Mailchimp run %s failed", self.id)
            self._end(
                "failed",
                self.env._(
                    "An unexpected error stopped the sync. Nothing is lost; the next "
                    "sync picks up where it stopped. Ask your administrator to check "
                    "the log."
                ),
            )
            return True
        finally:
            gateway.close()

    def _work(self, gateway, deadline):
        """Work on the run, by its kind.

        :return: ``False`` when work remains that can go on at once
        """
        if self.kind == "stats":
            return import_results(self, gateway, deadline)
        work = {
            "audience": AudienceCreation,
            "preview": Preview,
            "webhook": WebhookReading,
        }.get(self.kind, Push)
        return work(self, gateway, deadline).work()

    def _fail(self, error, gateway):
        """Handle an error of the engine: go on, come back later, or stop and report.

        One refused request says nothing about the account: it stops only when a second
        look confirms that the account or its audience cannot be used. Everything else
        is tried again later, so that opt-outs and unsubscribes keep flowing.

        :param gateway: the gateway that was used
        :return: ``False`` when the run can go on at once
        """
        _logger.info("Mailchimp run %s: %s", self.id, error)
        if not self.is_open:
            # Cancelled, or the account disconnected, while Mailchimp was asked.
            return True
        account = self.account_id
        lost = isinstance(error, errors.AuthLost)
        if lost and not gateway.uses(account.sudo().api_key_secret):
            # Somebody replaced the key since the run began to use it.
            return False
        if not isinstance(error, errors.PASSING):
            try:
                trouble = account._second_look()
            except errors.PASSING as unanswered:
                error = unanswered
            else:
                if trouble:
                    account._set_error(trouble)
                    self._end("failed", account.error_message)
                    self.error_detail = str(error)
                    return True
        self._wait(error)
        return True

    def _wait(self, error):
        """Try again later; the wait grows with each failed try."""
        minutes = BACK_OFF[min(self.attempts, len(BACK_OFF) - 1)]
        after = getattr(error, "after", None) or 0
        at = fields.Datetime.now() + timedelta(
            seconds=max(minutes * 60, min(after, 3600))
        )
        self.write(
            dict(
                self._error_vals(error),
                state="waiting",
                attempts=self.attempts + 1,
                resume_at=at,
            )
        )
        if not isinstance(error, errors.PASSING):
            self.error_message = self._refusal_sentence(error)
        cron = "ir_cron_stats" if self.kind == "stats" else "ir_cron_push"
        self.env.ref(f"crm_mailchimp.{cron}")._trigger(at=at)
        self._notify()

    def _wait_for_space(self, error):
        """Come back when PostgreSQL or the file system has room again.

        What Mailchimp has done is not lost: it was noted before the calls that it has
        to be looked at. If not even this can be written on a full disk, the run stays
        as it was, and the next tick enters it again.
        """
        _logger.warning("Mailchimp run %s: no space left: %s", self.id, error)
        if not self.attempts:
            self.account_id._notify_managers(self._space_sentence())
        self._wait(errors.Retryable("No space left."))
        self.error_message = self._space_sentence()
        return True

    def _space_sentence(self):
        return self.env._(
            "Odoo's server is out of disk space, so Mailchimp's replies cannot be"
            " saved. Ask your administrator to free some space. Nothing is lost, and"
            " Odoo tries again automatically."
        )

    def _refusal_sentence(self, error):
        """Return what was refused although the account works, and when it is retried.

        The button it names is on the account's form.
        """
        _ = self.env._
        account = self.account_id
        sentences = [
            _(
                "Mailchimp refused a request, although the account itself works."
                " Affected: %(subject)s.",
                subject=account._subject_label(errors.subject(error)),
            )
        ]
        if isinstance(error, errors.Forbidden):
            sentences.append(
                _("In Mailchimp, check your plan and the role of the API key's user.")
            )
        elif error.words and not isinstance(error, errors.AuthLost):
            sentences.append(
                _(
                    "Reason given by Mailchimp: %(reason)s.",
                    reason=error.words.rstrip(" ."),
                )
            )
        at = short_moment(self.env, self.resume_at)
        button = {
            "preview": _("Preview"),
            "stats": _("Update results"),
            **dict.fromkeys(PUSHES, _("Sync now") if account.push_enabled else None),
        }.get(self.kind)
        if button:
            sentences.append(
                _(
                    "Odoo tries again on %(at)s; to try now, click “%(button)s”.",
                    at=at,
                    button=button,
                )
            )
        else:
            sentences.append(_("Odoo tries again on %(at)s.", at=at))
        return " ".join(sentences)
