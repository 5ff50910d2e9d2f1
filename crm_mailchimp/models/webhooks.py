import logging
import re
import secrets
import time
from datetime import timedelta

from odoo import api, fields, models
from odoo.exceptions import UserError
from odoo.service.model import PG_CONCURRENCY_EXCEPTIONS_TO_RETRY
from odoo.tools import consteq

from ..engine import errors, webhooks
from ..engine.vocabulary import PUSHES
from .clock import short_moment

_logger = logging.getLogger(__name__)

PATH = "/crm_mailchimp/webhook/"
TOKEN = re.compile("[A-Za-z0-9_-]{20,100}")
# When to look again whether the webhooks are there, after a refusal, and without an
# answer.
LOOK_EVERY = timedelta(days=1)
LOOK_AFTER_SILENCE = timedelta(minutes=15)
# Seconds for a connection and an answer. Mailchimp answers only after it asked Odoo.
TIMEOUT = (5, 25)
# While somebody waits, or the add-on is being uninstalled.
SHORT = (2, 4)
SHORT_SECONDS = 8
TICK_SECONDS = 40


class CrmMailchimpAccount(models.Model):
    """The webhooks of the account: registered, looked after, tested, removed.

    They make faster what runs find anyway. The scheduled action registers them when
    this Odoo can be reached by https; nothing is called when somebody saves the
    account. Ours are known by the token in their URL, so those of others are left
    alone, whatever they are.

    ``webhook_hooks`` holds what Mailchimp knows of ours, by the names of
    :data:`..engine.webhooks.HOOKS`: ``ref`` (its id), ``url`` and ``secret``, which may
    be ``None``. The secret is told once. If that answer got lost, the webhook is found
    by its URL, deleted, and made anew.
    """

    _inherit = "crm.mailchimp.account"

    webhook_enabled = fields.Boolean(
        string="Receive changes at once",
        default=True,
        help="Mailchimp tells Odoo at once, by webhooks, who unsubscribed, signed up or"
        " changed. Without them Odoo finds out with the next sync.",
    )
    webhook_token = fields.Char(
        groups=fields.NO_ACCESS, copy=False, prefetch=False, index="btree_not_null"
    )
    webhook_hooks = fields.Json(groups=fields.NO_ACCESS, copy=False, prefetch=False)
    # What the scheduled action was to bring about when it last asked Mailchimp.
    webhook_target = fields.Char(readonly=True, copy=False)
    webhook_error = fields.Char(readonly=True, copy=False)
    webhook_next_look = fields.Datetime(readonly=True, copy=False)
    webhook_delivery_at = fields.Datetime(
        string="Last delivery on", readonly=True, copy=False
    )
    webhook_state = fields.Selection(
        [
            ("off", "Switched off"),
            ("unreachable", "Not registered"),
            ("refused", "Refused"),
            ("registering", "Being registered"),
            ("waiting", "Waiting for the first delivery"),
            ("receiving", "Receiving"),
        ],
        string="Webhooks",
        compute="_compute_webhook",
    )
    webhook_message = fields.Char(string="Deliveries", compute="_compute_webhook")

    # === WHAT PEOPLE SEE === #

    @api.depends(
        *("webhook_enabled", "webhook_hooks", "webhook_error", "webhook_delivery_at"),
        *("state", "audience_ref"),
    )
    def _compute_webhook(self):
        _ = self.env._
        for account in self:
            hooks = account.sudo().webhook_hooks or {}
            base, reason = account._webhook_base()
            last = account._last_delivery()
            if not account.webhook_enabled:
                state, message = (
                    "off",
                    _("Switched off: Odoo reads changes with each sync."),
                )
            elif not hooks and not base:
                state, message = "unreachable", reason
            elif account.webhook_error:
                state, message = "refused", account.webhook_error
            elif not hooks:
                state = "registering"
                message = _("Not registered yet: that is done in a moment.")
            elif not last:
                state = "waiting"
                message = _("Registered. Waiting for the first delivery.")
            else:
                state = "receiving"
                message = _(
                    "Receiving. Last delivery: %s.", short_moment(self.env, last)
                )
            account.webhook_state, account.webhook_message = state, message

    def _last_delivery(self):
        """Return when the last delivery came, by Mailchimp's clock, or nothing."""
        newest = (
            self.env["crm.mailchimp.webhook.delivery"]
            .sudo()
            .search_fetch(
                [("account_id", "=", self.id)],
                ["received_at"],
                order="received_at desc",
                limit=1,
            )
        )
        found = [moment for moment in (newest.received_at, self.webhook_delivery_at)]
        return max(filter(None, found), default=False)

    def _note_delivery(self, received_at):
        if not self.webhook_delivery_at or self.webhook_delivery_at < received_at:
            self.webhook_delivery_at = received_at

    @api.model
    def _webhook_base(self):
        """Return where Mailchimp can reach this Odoo.

        :return: ``(URL without a slash at its end, None)``, or ``(None, why not)``
        """
        get_param = self.env["ir.config_parameter"].sudo().get_param
        base = (get_param("web.base.url") or "").rstrip("/")
        if webhooks.is_reachable(base, get_param("crm_mailchimp.api_url")):
            return base, None
        return None, self.env._(
            "Not registered: Mailchimp needs an address that begins with https, and"
            " Odoo's is %s. Until then Odoo reads changes with each sync. An"
            " administrator can set the system parameter web.base.url.",
            base or self.env._("not set"),
        )

    # === RECEIVING === #

    @api.model
    def _of_webhook(self, token):
        """Return the account whose webhooks have this token, or none.

        A copy of the database, and an account that is not connected, has none.
        """
        if not TOKEN.fullmatch(token):
            return self.browse()
        account = self.sudo().search(
            [
                ("webhook_token", "=", token),
                ("webhook_enabled", "=", True),
                ("audience_ref", "!=", False),
                ("state", "in", ("linked", "error")),
            ],
            limit=1,
        )
        # The look-up is by an index; only a whole token is taken.
        if not account or not consteq(account.webhook_token, token):
            return self.browse()
        return account.browse() if account._is_copy() else account

    def _receive_delivery(self, hook, raw, content_type, header):
        """Keep what a request brought, if Mailchimp sent it.

        :param str hook: name of the webhook
        :param bytes raw: the body
        :param content_type: of the body, without parameters
        :param header: the signature, if there is one
        :return: ``True``, ``False`` if it is none of Mailchimp's, ``None`` if it has to
            come again later
        """
        self.ensure_one()
        known = (self.webhook_hooks or {}).get(hook)
        if not known or content_type != webhooks.CONTENT_TYPE:
            return False
        now = self._mailchimp_now()
        seconds = (now - fields.Datetime.to_datetime("1970-01-01")).total_seconds()
        # Webhooks of the time before signatures have no secret: their path has one.
        secret = known.get("secret")
        if secret and not webhooks.is_signed(header, secret, raw, seconds):
            return False
        try:
            event = webhooks.read(raw)
        except webhooks.Malformed as error:
            _logger.info("A webhook delivery that cannot be read: %s", error)
            return False
        if event.audience and event.audience != self.audience_ref:
            return False
        Delivery = self.env["crm.mailchimp.webhook.delivery"]
        taken = Delivery._receive(self, hook, raw, event, now)
        Delivery._wake()
        return taken or None

    # === SCHEDULED ACTION === #

    def write(self, vals):
        result = super().write(vals)
        if "webhook_enabled" in vals:
            self._look_at_webhooks_soon()
        return result

    @api.model
    def _look_at_webhooks_soon(self):
        """Schedule the registering or removing of webhooks, for after the commit."""
        cron = self.env.ref("crm_mailchimp.ir_cron_webhook", raise_if_not_found=False)
        if cron:
            cron.sudo()._trigger()

    @api.model
    def _cron_webhooks(self):
        """Register, look after and remove webhooks, account by account."""
        commit = self.env["ir.cron"]._commit_progress
        accounts = self.search(
            [("state", "=", "linked")], order="webhook_next_look, id"
        )
        commit(remaining=len(accounts))
        end = time.monotonic() + TICK_SECONDS
        for account in accounts:
            if time.monotonic() >= end:
                break
            try:
                account._look_after_webhooks(end)
            except PG_CONCURRENCY_EXCEPTIONS_TO_RETRY:
                self.env.cr.rollback()
            except Exception:
                # One account never stops another.
                self.env.cr.rollback()
                _logger.exception("No look at the webhooks of account %s", account.id)
            commit(1)
        commit(remaining=0)

    def _look_after_webhooks(self, end):
        """Bring Mailchimp's webhooks in line, if it is time to.

        :param float end: monotonic time that no request outlasts
        """
        self.ensure_one()
        account = self.sudo()
        if not account.api_key_secret or account._is_copy():
            return
        formers = account._formers().filtered("webhook_token")
        base, _reason = account._webhook_base()
        # What is registered keeps working while Odoo's address is an inner one, as it
        # is after an administrator signed in by that.
        target = base or account.webhook_target if account.webhook_enabled else "off"
        now = fields.Datetime.now()
        changed = (target or False) != (account.webhook_target or False)
        nothing = not target or target == "off" and not account.webhook_token
        due = not account.webhook_next_look or account.webhook_next_look <= now
        if not formers and (nothing or not changed and not due):
            if nothing and changed:
                account.write({"webhook_target": target, "webhook_error": False})
            return
        # Also if there is no answer, or this process dies.
        account.write(
            {"webhook_target": target, "webhook_next_look": now + LOOK_AFTER_SILENCE}
        )
        self.env["ir.cron"]._commit_progress()
        sentence, again = False, LOOK_EVERY
        try:
            with account._gateway(timeout=TIMEOUT) as gateway:
                gateway.until(end + TIMEOUT[1])
                if account._check_lease(gateway) == "other":
                    return
                for former in formers:
                    former._remove_webhooks(gateway)
                if target == "off":
                    account._remove_webhooks(gateway)
                elif base:
                    sentence = account._register_webhooks(gateway, base)
                account._note_clock(gateway)
        except errors.PASSING as error:
            _logger.info("Webhooks of account %s: %s", self.id, error)
            again = LOOK_AFTER_SILENCE
            sentence = account.webhook_error  # of before
        except (errors.MailchimpError, UserError) as error:
            sentence = account._error_sentence(error)
        account.write(
            {
                "webhook_error": sentence,
                "webhook_next_look": fields.Datetime.now() + again,
            }
        )

    def _own_webhooks(self, listed):
        """Return those of an audience's webhooks that have our token in their URL."""
        token = self.webhook_token
        return [
            hook
            for hook in listed
            if token and f"{PATH}{token}" in str(hook.get("url") or "")
        ]

    def _register_webhooks(self, gateway, base):
        """Register our webhooks as they should be, and remove others of ours.

        :param str base: URL of this Odoo
        :return: why Mailchimp refused one, or ``False``
        """
        commit = self.env["ir.cron"]._commit_progress
        if not self.webhook_token:
            self.webhook_token = secrets.token_urlsafe(32)
        # Mailchimp asks the URL before it answers: the token has to be there.
        commit()
        own = self._own_webhooks(gateway.webhooks(self.audience_ref))
        right, urls, refused = set(), set(), False
        for name, (events, sources) in webhooks.HOOKS.items():
            url = self._webhook_url(base, name)
            urls.add(url)
            known = (self.webhook_hooks or {}).get(name) or {}
            for hook in own:
                if hook["url"] != url:
                    continue
                listens = (_switched_on(hook, "events"), _switched_on(hook, "sources"))
                if hook["id"] == known.get("ref") and listens == (
                    set(events),
                    set(sources),
                ):
                    right.add(hook["id"])
                else:
                    # Its secret got lost, or somebody changed what it listens to.
                    gateway.delete_webhook(self.audience_ref, hook["id"])
            if known.get("ref") in right:
                continue
            try:
                made = gateway.create_webhook(self.audience_ref, url, events, sources)
            except errors.Rejected as error:
                refused = error
                continue
            right.add(made["id"])
            self.webhook_hooks = {
                **(self.webhook_hooks or {}),
                name: {
                    "ref": made["id"],
                    "url": url,
                    "secret": made.get("signing_secret"),
                },
            }
            commit()
        if refused:
            return self.env._(
                "Mailchimp does not accept Odoo's address %(url)s: %(reason)s Until"
                " then Odoo reads changes with each sync. The address has to be"
                " reachable from the internet; click “Test it” when it is.",
                url=base,
                reason=refused.words,
            )
        for hook in own:
            if hook["url"] not in urls:
                # Of an address that Odoo had before.
                gateway.delete_webhook(self.audience_ref, hook["id"])
        return False

    def _webhook_url(self, base, name):
        # Mailchimp takes one webhook a URL, and does not look at a query.
        more = "" if name == "people" else f"/{name}"
        return f"{base}{PATH}{self.sudo().webhook_token}{more}"

    def _remove_webhooks(self, gateway):
        """Delete our webhooks in Mailchimp, and forget them."""
        account = self.sudo()
        try:
            listed = gateway.webhooks(account.audience_ref)
        except errors.NotFound:
            listed = []  # the audience went, and they with it
        for hook in account._own_webhooks(listed):
            gateway.delete_webhook(account.audience_ref, hook["id"])
        account.write(
            {"webhook_hooks": False, "webhook_token": False, "webhook_error": False}
        )

    def _try_to_remove_webhooks(self):
        """Delete our webhooks while somebody waits: briefly, and come what may.

        Nothing answers their URL afterwards. What is left in Mailchimp is found, and
        deleted, when the account is connected again.
        """
        end = time.monotonic() + SHORT_SECONDS
        for account in self.sudo():
            if not account.webhook_token or not account.api_key_secret:
                continue
            try:
                with account._gateway(timeout=SHORT) as gateway:
                    gateway.until(end)
                    account._remove_webhooks(gateway)
            except Exception as error:
                # Neither disconnecting nor uninstalling waits for Mailchimp.
                _logger.info("Webhooks of account %s stay: %s", account.id, error)
                account.webhook_hooks = False
            account.webhook_next_look = False

    # === BUTTONS === #

    def action_test_webhook(self):
        """Ask Odoo's own address as Mailchimp does, and Mailchimp for the webhooks.

        Mailchimp cannot be made to send a delivery; both ends of the way can be tested.
        """
        self.ensure_one()
        self._check_manager()
        self._check_ready()
        _ = self.env._
        account = self.sudo()
        base, reason = account._webhook_base()
        if not account.webhook_enabled or not base:
            raise UserError(reason or account.webhook_message)
        hooks = account.webhook_hooks or {}
        with account._asking(account._gateway(timeout=SHORT)) as gateway:
            own = {
                hook["id"]
                for hook in account._own_webhooks(
                    gateway.webhooks(account.audience_ref)
                )
            }
        there = all(hooks.get(name, {}).get("ref") in own for name in webhooks.HOOKS)
        if not there:
            account.webhook_next_look = False
            self._look_at_webhooks_soon()
        if not account.webhook_token:
            sentence = _("They are registered in a moment. Test again then.")
            return self._webhook_toast(sentence, good=False)
        answer = webhooks.probe(
            account._webhook_url(base, "people"), SHORT, base.startswith("http:")
        )
        good = there and answer == 200
        sentences = [
            _("Odoo's address answers as it should.")
            if answer == 200
            else _(
                "Odoo's address %(url)s does not answer Odoo itself as it should"
                " (%(answer)s). Check the address, the certificate and the proxy.",
                url=base,
                answer=answer or _("no answer"),
            ),
            _("Mailchimp has the webhooks.")
            if there
            else _("Mailchimp lacks a webhook: it is registered in a moment."),
        ]
        last = account._last_delivery()
        if last:
            last = short_moment(self.env, last)
            sentences.append(_("Last delivery: %s.", last))
        elif good:
            sentences.append(_("Change a contact in Mailchimp to see a delivery come."))
        return self._webhook_toast(" ".join(sentences), good)

    def _webhook_toast(self, sentence, good):
        toast = self._toast(sentence)
        if not good:
            toast["params"].update(type="warning", sticky=True)
        return toast

    def action_open_deliveries(self):
        """List what webhooks told."""
        self.ensure_one()
        self._check_manager()
        return self._open("crm_mailchimp.action_crm_mailchimp_webhook_delivery")

    def action_disconnect(self):
        self.ensure_one()
        self._check_manager()
        # While there is a key. In a copy they are the other database's.
        if not self._is_copy():
            self._try_to_remove_webhooks()
        return super().action_disconnect()

    def action_connect(self):
        result = super().action_connect()
        self._look_at_webhooks_soon()
        return result

    def _due_runs(self, kind, now):
        """Add the run that reads what webhooks told, unless a push does so anyway."""
        due = super()._due_runs(kind, now)
        if kind == "stats" or self.state != "linked":
            return due
        Run = self.env["crm.mailchimp.run"]
        open_runs = Run.search(
            [("account_id", "=", self.id), ("state", "in", Run.OPEN_STATES)]
        )
        run = open_runs.filtered(lambda run: run.kind == "webhook")
        pushing = open_runs.filtered(
            lambda run: run.kind in PUSHES and run.state in ("queued", "running")
        )
        waiting = self.env["crm.mailchimp.webhook.delivery"]._last_waiting(self)
        if not (run or waiting) or self._is_copy():
            return due
        if not run and not pushing:
            run, _created = Run._get_or_create(self, "webhook")
        return due | run.filtered(lambda run: run._is_due(now))

    def _adopt_database(self):
        result = super()._adopt_database()
        # They lead to the other database until they are registered anew.
        self.webhook_next_look = False
        self._look_at_webhooks_soon()
        return result

    def _link_audience(self, audience, root=None):
        account = super()._link_audience(audience, root)
        self._look_at_webhooks_soon()
        return account


def _switched_on(hook, what):
    return {name for name, on in (hook.get(what) or {}).items() if on}
