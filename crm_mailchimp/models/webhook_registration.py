import logging
import secrets
import time
from datetime import timedelta

from odoo import api, fields, models
from odoo.exceptions import UserError
from odoo.service.model import PG_CONCURRENCY_EXCEPTIONS_TO_RETRY

from ..engine import errors, webhooks
from .webhooks import PATH, SHORT

_logger = logging.getLogger(__name__)

# When to check the webhooks again: normally or after a refusal, and after no answer.
LOOK_EVERY = timedelta(days=1)
LOOK_AFTER_SILENCE = timedelta(minutes=15)
# Seconds to connect and to answer: Mailchimp answers only after it has called Odoo.
TIMEOUT = (5, 25)
# Seconds in all while somebody waits or the add-on is being uninstalled; per tick.
SHORT_SECONDS = 8
TICK_SECONDS = 40


class CrmMailchimpAccount(models.Model):
    """Registering the webhooks in Mailchimp, looking after them, removing them.

    The scheduled action does this if Mailchimp can reach this Odoo by https; saving the
    account makes no call.
    """

    _inherit = "crm.mailchimp.account"

    def write(self, vals):
        result = super().write(vals)
        if "webhook_enabled" in vals:
            self._look_at_webhooks_soon()
        return result

    @api.model
    def _look_at_webhooks_soon(self):
        """Schedule registering or removing webhooks, for after the commit."""
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
                # One account must never stop the others.
                self.env.cr.rollback()
                _logger.exception("No look at the webhooks of account %s", account.id)
            commit(1)
        commit(remaining=0)

    def _look_after_webhooks(self, end):
        """Bring the webhooks in Mailchimp up to date, if it is time to.

        :param float end: monotonic time that no request outlasts
        """
        self.ensure_one()
        account = self.sudo()
        if not account.api_key_secret or account._is_copy():
            return
        formers = account._formers().filtered("webhook_token")
        base, _reason = account._webhook_base()
        # Registered webhooks keep working while Odoo's address is an internal one, as
        # it is after an administrator signed in there.
        target = base or account.webhook_target if account.webhook_enabled else "off"
        now = fields.Datetime.now()
        changed = (target or False) != (account.webhook_target or False)
        nothing = not target or target == "off" and not account.webhook_token
        due = not account.webhook_next_look or account.webhook_next_look <= now
        if not formers and (nothing or not changed and not due):
            if nothing and changed:
                account.write({"webhook_target": target, "webhook_error": False})
            return
        # Set beforehand, in case there is no answer or this process dies.
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
            sentence = account.webhook_error  # unchanged
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
        """Register our webhooks as they should be, and remove our outdated ones.

        :param str base: URL of this Odoo
        :return: why Mailchimp refused one, or ``False``
        """
        commit = self.env["ir.cron"]._commit_progress
        if not self.webhook_token:
            self.webhook_token = secrets.token_urlsafe(32)
        # Mailchimp calls the URL before it answers: the token has to be committed by
        # then.
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
                    # Its secret was lost, or somebody changed what it listens to.
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
                " reachable from the internet; click “Test webhooks” when it is.",
                url=base,
                reason=refused.words,
            )
        for hook in own:
            if hook["url"] not in urls:
                # For an address that Odoo had before.
                gateway.delete_webhook(self.audience_ref, hook["id"])
        return False

    def _webhook_url(self, base, name):
        # Mailchimp allows one webhook per URL, and ignores the query.
        more = "" if name == "people" else f"/{name}"
        return f"{base}{PATH}{self.sudo().webhook_token}{more}"

    def _remove_webhooks(self, gateway):
        """Delete our webhooks in Mailchimp, and forget them."""
        account = self.sudo()
        try:
            listed = gateway.webhooks(account.audience_ref)
        except errors.NotFound:
            listed = []  # they went with the audience
        for hook in account._own_webhooks(listed):
            gateway.delete_webhook(account.audience_ref, hook["id"])
        account.write(
            {"webhook_hooks": False, "webhook_token": False, "webhook_error": False}
        )

    def _try_to_remove_webhooks(self):
        """Delete our webhooks while somebody waits, if that can be done quickly.

        Nothing answers at their URL afterwards. Any that are left in Mailchimp are
        found and deleted when the account is connected again.
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

    def action_disconnect(self):
        self.ensure_one()
        self._check_manager()
        # While there still is a key. In a copy, the webhooks are the other database's.
        if not self._is_copy():
            self._try_to_remove_webhooks()
        return super().action_disconnect()

    def action_connect(self):
        result = super().action_connect()
        self._look_at_webhooks_soon()
        return result

    def _adopt_database(self):
        result = super()._adopt_database()
        # The webhooks lead to the other database until they are registered again.
        self.webhook_next_look = False
        self._look_at_webhooks_soon()
        return result

    def _link_audience(self, audience, root=None):
        account = super()._link_audience(audience, root)
        self._look_at_webhooks_soon()
        return account


def _switched_on(hook, what):
    return {name for name, on in (hook.get(what) or {}).items() if on}
