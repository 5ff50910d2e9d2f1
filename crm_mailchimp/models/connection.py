import logging
from contextlib import contextmanager

from odoo import models
from odoo.exceptions import UserError

from ..engine import errors
from ..engine.gateway import Gateway

_logger = logging.getLogger(__name__)


class CrmMailchimpAccount(models.Model):
    """How an account reaches Mailchimp, and how it says what is wrong."""

    _inherit = "crm.mailchimp.account"

    # === GATEWAY === #

    def _new_gateway(self, key):
        """Return a gateway for ``key``.

        :raise UserError: when the key has no data centre, or the base URL is unusable
        """
        api_url = (
            self.env["ir.config_parameter"].sudo().get_param("crm_mailchimp.api_url")
        )
        try:
            return Gateway(key, api_url=api_url or None)
        except errors.MailchimpError as error:
            raise UserError(self._error_sentence(error)) from error

    def _gateway(self):
        """Return the gateway of this account, the only way to Mailchimp.

        :raise UserError: when there is no key, or this database must not use it
        """
        self.ensure_one()
        self._check_database()
        key = self.sudo().api_key_secret
        if not key:
            raise UserError(
                self.env._(
                    "Enter the API key of your Mailchimp account and press Connect."
                )
            )
        return self._new_gateway(key)

    @contextmanager
    def _asking(self, gateway=None):
        """Give a gateway for a question whose answer a user waits for.

        :param gateway: another one than the account's
        :raise UserError: an error of Mailchimp, as a sentence
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
        """Word an error of the engine for users: what is wrong and what to do."""
        _ = self.env._
        if isinstance(error, UserError):
            return str(error.args[0])
        if isinstance(error, errors.InvalidKey):
            return _(
                "This is no complete Mailchimp API key. It ends with a dash and the"
                " data centre, for example -us21. Copy the whole key from Mailchimp:"
                " Account & billing > Extras > API keys."
            )
        if isinstance(error, errors.InvalidUrl):
            return _(
                "The system parameter crm_mailchimp.api_url must be a complete URL"
                " that ends in /3.0, with https unless it is on this machine."
            )
        if isinstance(error, errors.AuthLost):
            return _(
                "Mailchimp does not accept the API key any more. Create a new key in"
                " Mailchimp (Account & billing > Extras > API keys), enter it here and"
                " press Connect."
            )
        if isinstance(error, errors.Forbidden):
            return _(
                "The Mailchimp user of this API key may not do this, or the Mailchimp"
                " plan does not include it. Check the user's role and the plan in"
                " Mailchimp, then press Synchronise now."
            )
        if isinstance(error, errors.NotFound):
            return _(
                "Mailchimp does not find what is asked for. If the audience was"
                " deleted in Mailchimp, choose another one."
            )
        if isinstance(error, errors.Retryable):
            return _(
                "Mailchimp cannot be reached or is overloaded at the moment. Nothing"
                " is lost; it is tried again by itself."
            )
        if isinstance(error, errors.Protocol):
            return _(
                "Mailchimp gave an answer that makes no sense. Nothing is lost; it is"
                " tried again by itself. If it lasts, check status.mailchimp.com."
            )
        return _(
            "Mailchimp refused the request: %(detail)s",
            detail=getattr(error, "detail", None)
            or getattr(error, "title", None)
            or _("no reason given"),
        )

    def _set_error(self, error):
        """Stop the account and tell its managers once."""
        for account in self:
            sentence = account._error_sentence(error)
            if account.state != "error":
                account._notify_managers(sentence)
            account.write({"state": "error", "error_message": sentence})

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

    # === BUTTONS === #

    def action_connect(self):
        """Test the key and remember whose account it opens.

        :raise UserError: one sentence that says what to do
        """
        self.ensure_one()
        self._check_manager()
        # Entering the key and pressing Connect is how a person says that this very
        # database is the one to use.
        key = self.sudo().api_key_secret
        if not key or self._is_neutralized():
            self._gateway()
        with self._asking(self._new_gateway(key)) as gateway:
            root = gateway.root()
        if root.get("role") and root["role"] not in ("owner", "admin", "manager"):
            raise UserError(
                self.env._(
                    "The Mailchimp user of this key has the role %(role)s, which may"
                    " not manage contacts. Use a key of an owner, admin or manager.",
                    role=root["role"],
                )
            )
        adopted = self._is_copy()
        if adopted:
            self.sudo()._stop()
            self.sudo()._adopt_database()
        self.sudo().write(
            {
                "state": "linked" if self.audience_ref else "connected",
                "error_message": False,
                "remote_name": root.get("account_name"),
                "database_ref": self._database_ref(),
            }
        )
        self.sudo().activity_unlink(["mail.mail_activity_data_todo"])
        if self.audience_ref:
            self._request_run("full" if adopted else "push")
            return self._toast(
                self.env._("Connected again. What was missed is caught up now.")
            )
        return self._toast(
            self.env._(
                "Connected to %(name)s. Choose the audience next.",
                name=root.get("account_name") or "Mailchimp",
            )
        )

    def action_reauthorize(self):
        """Connect with the key just entered and catch up."""
        return self.action_connect()

    def action_disconnect(self):
        """Forget the key and stop. Contacts, members and campaigns stay."""
        self.ensure_one()
        self._check_manager()
        self.sudo()._stop()
        self.sudo().write(
            {
                "state": "draft",
                "api_key_secret": False,
                "api_key_hint": False,
                "push_enabled": False,
                "error_message": False,
                "other_since": False,
            }
        )
        return self._toast(
            self.env._(
                "Disconnected. No contact, member or campaign was deleted, neither here"
                " nor in Mailchimp."
            )
        )

    def _stop(self):
        self.run_ids.filtered("is_open")._end("cancelled")
