import logging
import time
from contextlib import contextmanager
from datetime import timedelta

from odoo import api, fields, models
from odoo.exceptions import UserError

from ..engine import errors
from ..engine.gateway import Gateway

_logger = logging.getLogger(__name__)

# When to check whether an account that stopped works again.
LOOK_FIRST = timedelta(minutes=15)
LOOK_EVERY = timedelta(hours=1)
# Seconds to connect and to answer: such a check must not hold up the others, and an
# account that is slower is checked again anyway.
LOOK_SECONDS = (5, 10)
LOOKING_SECONDS = 20
# Errors that end only with another key or login, never by themselves.
NEW_KEY = (errors.AuthLost, errors.OtherAccount)


class CrmMailchimpAccount(models.Model):
    """How an account reaches Mailchimp and reports what is wrong."""

    _inherit = "crm.mailchimp.account"

    # === GATEWAY === #

    def _new_gateway(self, key, **options):
        """Return a gateway for a key, or for a token with its ``data_center``.

        :param options: options of the gateway, such as ``timeout``
        :raise UserError: when the key has no data centre, or the base URL is unusable
        """
        api_url = (
            self.env["ir.config_parameter"].sudo().get_param("crm_mailchimp.api_url")
        )
        try:
            return Gateway(key, api_url=api_url or None, **options)
        except errors.MailchimpError as error:
            raise UserError(self._error_sentence(error)) from error

    def _gateway(self, **options):
        """Return the gateway of this account, the only way to Mailchimp.

        Saving a key never touches the network, so whether it opens the audience's
        Mailchimp account is not known then: the gateway checks that before it sends
        anything else.

        :param options: options of the gateway; ``account=None`` accepts any account
        :raise UserError: when there is no key, or this database must not use it
        """
        self.ensure_one()
        self._check_database()
        key = self.sudo().api_key_secret
        if not key:
            raise UserError(
                self.env._(
                    "Enter the API key of your Mailchimp account and click “Connect”,"
                    " or log in to Mailchimp."
                )
            )
        if not self.key_verified:
            expected = self.audience_ref and self.account_ref
            options.setdefault("account", expected or "")
        return self._new_gateway(key, **{**self._place_of_token(), **options})

    def _place_of_token(self):
        """Return a token's data centre as an option; a key names its own."""
        if self.auth_method != "oauth2":
            return {}
        return {"data_center": self.data_center or ""}

    @contextmanager
    def _asking(self, gateway=None):
        """Yield a gateway for a request whose answer a user is waiting for; close it.

        :param gateway: one to use instead of the account's
        :raise UserError: states Mailchimp's error in a sentence
        """
        gateway = gateway or self._gateway()
        try:
            yield gateway
        except errors.MailchimpError as error:
            _logger.info("Mailchimp did not answer a user's question: %s", error)
            raise UserError(self._error_sentence(error)) from error
        finally:
            gateway.close()

    def _error_sentence(self, error):
        """Return what is wrong and what to do about it, in a sentence for users."""
        _ = self.env._
        if isinstance(error, UserError):
            return str(error.args[0])
        if isinstance(error, errors.InvalidKey):
            return _(
                "This is not a complete Mailchimp API key. A key ends with a dash and "
                "the data center, for example -us21. Copy the whole key from "
                "Mailchimp: Account & billing > Extras > API keys."
            )
        if isinstance(error, errors.InvalidUrl):
            return _(
                "The system parameter crm_mailchimp.api_url must be a complete URL "
                "ending in /3.0, with https unless it is on this machine."
            )
        if isinstance(error, errors.AuthLost):
            return self._key_sentence(self.state)
        if isinstance(error, errors.OtherAccount):
            return self._other_account_sentence(error.name)
        if isinstance(error, errors.NoRoom):
            return _(
                "Mailchimp takes no new contact for this account, most likely because"
                " the contact limit of its plan is reached. Archive contacts you no"
                " longer need, or choose a larger plan in Mailchimp, then try again."
            )
        if isinstance(error, errors.Forbidden):
            return _(
                "The Mailchimp user of this connection may not do this, or the"
                " Mailchimp plan does not include it. Check the user's role and the"
                " plan in Mailchimp, then try again."
            )
        if isinstance(error, errors.NotFound):
            return _(
                "Mailchimp cannot find what was requested. Check whether it was "
                "deleted there, then try again."
            )
        if isinstance(error, errors.Retryable):
            return _(
                "Mailchimp cannot be reached or is overloaded at the moment. Nothing "
                "is lost; Odoo tries again automatically."
            )
        if isinstance(error, errors.Protocol):
            return _(
                "Mailchimp sent an answer Odoo does not understand. Nothing is lost; "
                "Odoo tries again automatically. If it keeps happening, check "
                "status.mailchimp.com."
            )
        return _(
            "Mailchimp refused the request: %(detail)s",
            detail=getattr(error, "words", None) or _("no reason given"),
        )

    def _key_sentence(self, state):
        """Return that the key is refused, and which button helps in this state."""
        _ = self.env._
        if self.auth_method == "oauth2":
            if not self.can_log_in:
                return _(
                    "Mailchimp no longer accepts the login, and no app is registered to"
                    " log in again: an administrator can register one in Settings > CRM"
                    " > Mailchimp. An API key works without one."
                )
            return _(
                "Mailchimp no longer accepts the login: it was revoked there, or the"
                " user is gone. Click “Log in again”."
            )
        if state == "draft":
            return _(
                "Mailchimp does not accept this API key. Copy the whole key, or "
                "create a new one in Mailchimp (Account & billing > Extras > API "
                "keys), enter it here and click “Connect”."
            )
        sentence = _(
            "Mailchimp no longer accepts the API key. Create a new key in Mailchimp "
            "(Account & billing > Extras > API keys)"
        )
        if state == "error":
            return _("%s, enter it in the account and click “Try again”.", sentence)
        return _("%s, enter it in the account and save.", sentence)

    def _subject_label(self, subject):
        """Return what a request was about, in words: see :func:`.errors.subject`."""
        _ = self.env._
        return {
            "account": _("the account"),
            "audience": _("the audience"),
            "members": _("the members of the audience"),
            "groups": _("the groups of the audience"),
            "fields": _("the fields of the audience"),
            "tags": _("the tags of the audience"),
            "campaigns": _("the list of campaigns"),
            "reports": _("the results of campaigns"),
        }[subject]

    # === STOPPING, AND GOING ON BY ITSELF === #

    def _second_look(self):
        """Check whether the account and its audience can be used at all.

        Two requests with short timeouts, as the rest of the work waits for them.

        :return: why the account has to stop, as :meth:`_set_error` takes it, or
            ``None``
        :raise Retryable, Protocol: if there is no usable answer
        """
        _ = self.env._
        with self._gateway(timeout=LOOK_SECONDS) as gateway:
            try:
                gateway.root()
            except NEW_KEY as error:
                return error
            except errors.REFUSED:
                return _(
                    "Mailchimp has suspended the whole account, as it does when an "
                    "account is under review or unpaid. Sign in to Mailchimp and do "
                    "what it asks; then click “Try again”."
                )
            trouble = self._audience_trouble(gateway)
            if not trouble and self.audience_ref:
                self._note_account(gateway)
            return trouble

    def _audience_trouble(self, gateway):
        """Return why the linked audience is unusable, as :meth:`_second_look` does."""
        _ = self.env._
        if not self.audience_ref:
            return None
        try:
            gateway.audience(self.audience_ref)
        except errors.AuthLost as error:
            return error
        except errors.NotFound:
            return _(
                "The audience %(name)s is no longer in this Mailchimp account. If it"
                " was deleted, click “Change audience”. If the key or login belongs to"
                " another Mailchimp account, enter the right key and click “Try again”,"
                " or log in again.",
                name=self.audience_name or self.audience_ref,
            )
        except errors.REFUSED:
            return _(
                "The user of the key or login has no access to the audience %(name)s in"
                " Mailchimp. Check the user's role in Mailchimp, or enter another"
                " user's key; then click “Try again”.",
                name=self.audience_name or self.audience_ref,
            )
        return None

    def _set_error(self, error):
        """Stop the account, notify its managers once, and schedule another check.

        :param error: an error of the engine, or a sentence for the users
        """
        now = fields.Datetime.now()
        for account in self:
            again = account.state == "error"
            # Set first: the sentence names a button that is shown in this state.
            account.state = "error"
            sentence = (
                error if isinstance(error, str) else account._error_sentence(error)
            )
            if not again:
                account._notify_managers(sentence)
            account.write(
                {
                    "error_message": sentence,
                    "needs_new_key": isinstance(error, NEW_KEY),
                    "next_look": now + (LOOK_EVERY if again else LOOK_FIRST),
                }
            )

    def _clear_error(self, **vals):
        """Resume the account, and remove the activities of its managers.

        :param vals: further values to write
        """
        for account in self.sudo():
            account.write(
                {
                    "state": "linked" if account.audience_ref else "connected",
                    "error_message": False,
                    "needs_new_key": False,
                    "next_look": False,
                    **vals,
                }
            )
        self._forget_attention()

    def _look_soon(self):
        """Schedule a check of the accounts that stopped, as soon as possible."""
        stopped = self.filtered(lambda account: account.state == "error")
        if stopped:
            stopped.sudo().next_look = fields.Datetime.now()
            self.env.ref("crm_mailchimp.ir_cron_push").sudo()._trigger()

    @api.model
    def _look_at_stopped(self):
        """Check accounts that stopped, and resume those that work again.

        A key is reinstated, a bill is paid, Mailchimp ends a review: nobody should have
        to tell Odoo. Called by the scheduled action; commits after each account.
        """
        deadline = time.monotonic() + LOOKING_SECONDS
        stopped = self.search(
            [
                ("state", "=", "error"),
                "|",
                ("next_look", "=", False),
                ("next_look", "<=", fields.Datetime.now()),
            ],
            order="next_look",
        )
        for account in stopped:
            if not account.sudo().api_key_secret or account._is_copy():
                continue
            if time.monotonic() >= deadline:
                return
            try:
                account._try_stopped()
            except Exception:
                # One account must never stop the others.
                self.env.cr.rollback()
                _logger.exception("No look at Mailchimp account %s", account.id)
            self.env["ir.cron"]._commit_progress()

    def _try_stopped(self):
        # Set beforehand, so that it also holds if there is no answer or our code fails.
        self.next_look = fields.Datetime.now() + LOOK_EVERY
        self.env["ir.cron"]._commit_progress()
        try:
            trouble = self._second_look()
        except errors.PASSING as error:
            _logger.info("Mailchimp account %s cannot be looked at: %s", self.id, error)
            return
        if trouble:
            # The trouble may be different from before.
            self._set_error(trouble)
            return
        self._clear_error()
        if self.audience_ref:
            self._request_run("push")

    def _notify_managers(self, sentence):
        managers = self.env.ref("crm_mailchimp.group_mailchimp_manager").all_user_ids
        for user in managers.filtered(
            lambda user: (
                not user.share
                and user != self.env.ref("base.user_root")
                and self.company_id in user.company_ids
            )
        ):
            self.sudo().with_context(mail_activity_quick_update=True).activity_schedule(
                "mail.mail_activity_data_todo",
                summary=self.env._("Mailchimp needs attention"),
                note=sentence,
                user_id=user.id,
            )

    def _forget_attention(self):
        """Remove the managers' activities as soon as nothing waits for them.

        They must not outlive their reason: an error that has been resolved, or a run at
        the brake that went on, was cancelled or failed.
        """
        self.sudo().filtered(lambda account: account.state != "error").activity_unlink(
            ["mail.mail_activity_data_todo"]
        )

    # === BUTTONS === #

    def action_connect(self):
        """Test the key or token and remember whose account it opens.

        :raise UserError: one sentence that says what to do
        """
        self.ensure_one()
        self._check_manager()
        key = self.sudo().api_key_secret
        if not key or self._is_neutralized():
            self._gateway()
        gateway = self._new_gateway(key, **self._place_of_token())
        with self._asking(gateway):
            root = gateway.root()
            self._check_role(root)
            if self._is_other(root):
                raise UserError(self._other_account_sentence(root.get("account_name")))
            trouble = self._audience_trouble(gateway)
        self.env["crm.mailchimp.login"]._forget(self)
        if not self._go_on(root, trouble):
            # The key works but the audience does not; the form has the buttons that
            # help.
            return {"type": "ir.actions.client", "tag": "soft_reload"}
        if self.audience_ref:
            return self._toast(
                self.env._("Connected again. Odoo is catching up on what it missed.")
            )
        return self._toast(
            self.env._(
                "Connected to %(name)s. Next, choose an audience.",
                name=root.get("account_name") or "Mailchimp",
            )
        )

    def action_reauthorize(self):
        """Check whether the current key or login works, and catch up."""
        return self.action_connect()

    def action_disconnect(self):
        """Forget the key and stop. Contacts, members and campaigns stay."""
        self.ensure_one()
        self._check_manager()
        self.sudo()._stop()
        self.sudo().write(
            {
                "state": "draft",
                "auth_method": "api_key",
                "api_key_secret": False,
                "api_key_hint": False,
                "key_verified": False,
                "push_enabled": False,
                "error_message": False,
                "needs_new_key": False,
                "next_look": False,
                "other_since": False,
            }
        )
        self._forget_attention()
        return self._toast(
            self.env._(
                "Disconnected. No contact, member or campaign was deleted, neither here"
                " nor in Mailchimp."
            )
        )

    def _stop(self):
        self.run_ids.filtered("is_open")._end("cancelled")
