import logging
from typing import NamedTuple

import psycopg2

from odoo import api, fields, models
from odoo.exceptions import UserError
from odoo.tools import SQL, format_date

from ..engine import errors
from ..engine.lease import Mark, judge, place_hash, read_mark

_logger = logging.getLogger(__name__)

HIDDEN = "hidden"
# Nonces to keep: a request that was given up may still arrive after later ones.
NONCES = 5
VERDICTS = ("other", "older", "ours")


class FoundMark(NamedTuple):
    """The mark of an audience.

    :param ref: id of its category; ``None`` if there is none
    :param mark: the mark; also ``None`` if somebody renamed the category
    :param verdict: one of ``VERDICTS``, see :func:`..engine.lease.judge`
    """

    ref: str | None
    mark: Mark | None
    verdict: str


class CrmMailchimpAccount(models.Model):
    """Which database may use the account: this one, an older state of it, or another.

    Two things tell them apart. ``database_ref`` says, without any call, in which
    database the account was connected: see ``_is_copy``. A mark in the audience says
    which database wrote to it last: see :mod:`..engine.lease`. The mark is looked at
    before anything is written, at most once per slice of a run, and rewritten once per
    run that writes; a run with nothing to send makes no call for it.

    ``lease`` holds what this database knows about the mark:

    - ``ref``: id of the category in Mailchimp
    - ``count``, ``known``: what was last written, or about to be. They are committed
      before the call, so that the mark is recognised as our own even if the process
      dies after it.
    - ``take``: a manager decided that this is the database to use; ``True``, or the
      nonce that was there at the time
    - ``must_read``: only opt-outs are written until the whole audience has been read
    - ``seen``: the nonce that was there when this database was found to be an older one
    """

    _inherit = "crm.mailchimp.account"

    lease = fields.Json(readonly=True, copy=False)
    # Since when the mark in Mailchimp is another database's.
    other_since = fields.Date(readonly=True, copy=False)
    database_message = fields.Text(compute="_compute_database_message")
    is_older = fields.Boolean(compute="_compute_is_older")

    # === THE DATABASE === #

    @api.model
    def _database_ref(self):
        """Return what distinguishes this database from its copies.

        :return: ``uuid/name/system identifier``. A copy made by Odoo has another uuid,
            one beside the original has another name, and a dump restored elsewhere
            under the same name is in another PostgreSQL cluster. The last part is empty
            where PostgreSQL does not reveal it. No host name: containers get a new one
            each time.
        """
        get_param = self.env["ir.config_parameter"].sudo().get_param
        cr = self.env.cr
        cluster = ""
        try:
            with cr.savepoint(flush=False):
                cr.execute(
                    "SELECT system_identifier FROM pg_control_system()",
                    log_exceptions=False,
                )
                (cluster,) = cr.fetchone()
        except psycopg2.Error as error:
            _logger.debug("PostgreSQL does not tell its identifier: %s", error)
        return f"{get_param('database.uuid')}/{cr.dbname}/{cluster}"

    def _is_elsewhere(self):
        """Return whether the account was connected in another database than this one.

        Only parts that both references have are compared: earlier versions stored two.
        """
        if not self.database_ref:
            return False
        noted, here = self.database_ref.split("/"), self._database_ref().split("/")
        return any(
            one and another and one != another
            for one, another in zip(noted, here, strict=False)
        )

    def _complete_database_ref(self):
        """Complete a reference that was stored without its last part."""
        if not (self.database_ref or "").strip("/").count("/") == 1:
            return
        here = self._database_ref()
        if not here.endswith("/"):
            self.database_ref = here

    def _is_neutralized(self):
        get_param = self.env["ir.config_parameter"].sudo().get_param
        return bool(get_param("database.is_neutralized"))

    def _is_copy(self):
        """Return whether this database must not talk to Mailchimp for the account."""
        return self._is_neutralized() or bool(self.other_since) or self._is_elsewhere()

    @api.depends("database_ref", "other_since", "api_key_hint")
    def _compute_database_message(self):
        for account in self:
            account.database_message = (
                account.api_key_hint
                and not account._is_neutralized()
                and account._database_sentence()
            )

    def _compute_is_older(self):
        for account in self:
            account.is_older = account.open_run_id.is_older

    def _database_sentence(self):
        """Return why this database must not use the account, and what to do."""
        _ = self.env._
        if self.other_since:
            return _(
                "Another Odoo database has been syncing this audience since %(date)s, "
                "so nothing is sent from this one, not even opt-outs. If this is the "
                "database to use from now on, click “Use this database from now on”: "
                "the whole audience is read before anything is sent, and the other "
                "database stops and asks. If this one is a copy, click “Disconnect”.",
                date=format_date(self.env, self.other_since),
            )
        if self._is_elsewhere():
            return _(
                "This is not the database that was connected to Mailchimp: it was "
                "renamed, moved to another server, or is a copy. Nothing is sent or "
                "read, not even opt-outs. If this is the database to use from now on, "
                "click “Use this database from now on”: the whole audience is read "
                "before anything is sent. If it is a copy, click “Disconnect”."
            )
        return False

    def _check_database(self):
        """Refuse to work in a copy of the database the account was connected in.

        A restored copy holds the key and thinks it owns the audience.

        :raise UserError: a sentence that says what to do
        """
        if self._is_neutralized():
            raise UserError(
                self.env._(
                    "This is a neutralized copy of a database: it does not connect to "
                    "Mailchimp."
                )
            )
        sentence = self._database_sentence()
        if sentence:
            raise UserError(sentence)

    def _stop_elsewhere(self, mark=None):
        """Stop the account in a database that must not use it, and notify its managers.

        A neutralized database is silent: whoever made it knows what it is.

        :param mark: the mark of the other database, if that is what revealed it
        """
        if self._is_neutralized():
            return
        if mark:
            self.other_since = mark.since
        sentence = self._database_sentence()
        if sentence and self.error_message != sentence:
            self._stop()
            self._set_error(UserError(sentence))

    def action_adopt_database(self):
        """Use this database from now on: read the whole audience, then go on."""
        self.ensure_one()
        self._check_manager()
        if self._is_neutralized():
            self._check_database()
        account = self.sudo()
        account._stop()
        account._adopt_database()
        account.write(
            {
                "state": "linked" if self.audience_ref else "connected",
                "error_message": False,
            }
        )
        account._forget_attention()
        if not self.audience_ref:
            return self._toast(self.env._("Next, choose an audience."))
        self._request_run("full")
        return self._toast(
            self.env._(
                "This is the database to use from now on. The whole audience is read, "
                "then syncing continues."
            )
        )

    def _adopt_database(self):
        self.write({"database_ref": self._database_ref(), "other_since": False})
        if self.audience_ref:
            self._take_lease()

    # === THE LEASE === #

    def _set_lease(self, **values):
        """Change keys of ``lease``; ``None`` removes one."""
        lease = dict(self.lease or {}, **values)
        self.lease = {key: value for key, value in lease.items() if value is not None}

    def _take_lease(self, nonce=True):
        """Let the next run take the lease, once it has read the whole audience.

        :param nonce: take it only if this nonce is still there; ``True`` for any
        """
        self._set_lease(take=nonce, must_read=True)

    def _known_nonces(self, audience=None):
        """Return the nonces this database wrote to its audience, by any account.

        Two companies may share an audience, and an audience may be linked again.
        """
        accounts = (
            self.sudo()
            .with_context(active_test=False)
            .search([("audience_ref", "=", audience or self.audience_ref)])
        )
        return {
            nonce
            for account in accounts
            for nonce in (account.lease or {}).get("known", ())
        }

    def _judge(self, mark, audience=None):
        here = self._database_ref()
        return judge(
            mark,
            place_hash(here),
            self._known_nonces(audience),
            # A database name is unique in a cluster, and a system identifier belongs to
            # one cluster (except for copies of whole disks).
            proven=not here.endswith("/"),
            seen=(self.lease or {}).get("seen") if not audience else None,
        )

    def _find_mark(self, gateway, audience=None):
        """Read the mark of an audience.

        :param audience: id of an audience other than the account's
        :return: :class:`FoundMark`
        """
        ref = None if audience else (self.lease or {}).get("ref")
        if ref:
            try:
                category = gateway.category(self.audience_ref, ref)
                mark = read_mark(category.get("title"))
                return FoundMark(ref, mark, self._judge(mark))
            except errors.NotFound:
                _logger.info("The mark was deleted in Mailchimp: made anew.")
        found = [
            FoundMark(ref, mark, self._judge(mark, audience))
            for ref, mark in gateway.marks(audience or self.audience_ref)
        ]
        # A mark of another database counts more than a leftover one of ours.
        found.sort(key=lambda entry: VERDICTS.index(entry.verdict))
        return found[0] if found else FoundMark(None, None, "ours")

    def _check_lease(self, gateway):
        """Check which database has the audience; stop the account if it is another.

        Nothing is written to Mailchimp.

        :return: ``ours`` (anything may be sent), ``older`` (opt-outs only: the run that
            finds this asks a manager) or ``other`` (nothing may be sent)
        """
        _ref, mark, verdict = self._find_mark(gateway)
        verdict = self._decided(mark, verdict)
        if verdict == "other":
            self._stop_elsewhere(mark)
        return verdict

    def _decided(self, mark, verdict):
        """Return the verdict, given what a manager decided about it."""
        take = (self.lease or {}).get("take")
        if not take or verdict == "ours":
            return verdict
        # A manager decided about an older state; with another nonce, another database
        # has been writing since.
        return "ours" if take is True or mark.nonce == take else "other"

    def _write_mark(self, gateway, commit, ref, mark):
        """Write a new mark.

        :param commit: called before the request, to keep what is about to be sent
        :param ref: id of the category, or ``None`` to create one
        :param mark: the mark that is there, or ``None``
        :return: as ``_find_mark``
        """
        place = place_hash(self._database_ref())
        lease = self.lease or {}
        count = max(lease.get("count", 0), mark.count if mark else 0)
        since = str(fields.Date.today())
        if mark and mark.place == place:
            since = mark.since
        mark = Mark(since, count, "", place).next()
        self._set_lease(
            count=mark.count, known=[*lease.get("known", ()), mark.nonce][-NONCES:]
        )
        commit()
        audience = self.audience_ref
        try:
            if ref:
                gateway.rename_category(audience, ref, mark.title, HIDDEN)
            else:
                ref = gateway.create_category(audience, mark.title, HIDDEN)["id"]
        except errors.Rejected as error:
            # The mark is one guard of several: contacts do not wait for it.
            _logger.warning("Mailchimp does not take the mark: %s", error)
        self._set_lease(ref=ref, take=None, must_read=None, seen=None)
        commit()
        return FoundMark(ref, mark, "ours")

    def _forget_own_archiving(self):
        """Leave archived members archived: a database that lost track cannot know why.

        Odoo brings back members it archived itself, unless the person has said no
        since. Members archived by a lost state of this database may have said no to
        that one.
        """
        self.env["crm.mailchimp.member"].flush_model()
        self.env.cr.execute(
            SQL(
                """UPDATE crm_mailchimp_member
                      SET archived_by = 'mailchimp', reason = 'archived',
                          refused_at = DATE_TRUNC('second', NOW() AT TIME ZONE 'UTC')
                    WHERE account_id = %s AND status = 'archived'
                      AND (archived_by = 'odoo' OR reason IS NULL)""",
                self.id,
            )
        )
        self.env.cr.execute(
            SQL(
                "UPDATE crm_mailchimp_member SET operation = NULL"
                " WHERE account_id = %s AND operation IN ('restore', 'readmit', 'ask')",
                self.id,
            )
        )
        self.env["crm.mailchimp.member"].invalidate_model(flush=False)

    def action_confirm_older(self):
        """Resume the run that waits because the database is an older one."""
        self.ensure_one()
        self._check_manager()
        return self.open_run_id.action_confirm_archiving()


class CrmMailchimpRun(models.Model):
    """A run that waits because the database is older than what Mailchimp has seen."""

    _inherit = "crm.mailchimp.run"

    is_older = fields.Boolean(compute="_compute_is_older")

    @api.depends("cursor", "state")
    def _compute_is_older(self):
        for run in self:
            run.is_older = run.state == "brake" and run._asks_as_older()

    def _asks_as_older(self):
        return bool(self._get_cursor().older)

    def action_confirm_archiving(self):
        self.ensure_one()
        if not self._asks_as_older():
            return super().action_confirm_archiving()
        account = self.account_id
        account._check_manager()
        if self.state == "brake":
            run = self.sudo()
            account.sudo()._take_lease(self._get_cursor().older)
            account._forget_attention()
            run._set_cursor(older=None, brake_confirmed=True)
            run.write({"state": "running", "phase": "segments", "error_message": False})
            self.env.ref("crm_mailchimp.ir_cron_push").sudo()._trigger()
