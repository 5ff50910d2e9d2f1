import hashlib
import logging
import secrets
import time
from datetime import timedelta
from functools import partial
from urllib.parse import urlsplit

from odoo import api, fields, models
from odoo.exceptions import AccessError, UserError
from odoo.http import STORED_SESSION_BYTES, request
from odoo.service.model import PG_CONCURRENCY_EXCEPTIONS_TO_RETRY, retrying
from odoo.tools import SQL, consteq
from odoo.tools.misc import hash_sign, verify_hash_signed

from ..engine import errors
from ..engine.login import Login

_logger = logging.getLogger(__name__)

CALLBACK = "/crm_mailchimp/login"
SCOPE = "crm_mailchimp.login"
# Time from the button until the browser is back.
LIFETIME = timedelta(minutes=10)
# A state that comes back later than this no longer belongs to any login.
KEEP = timedelta(hours=1)
# Seconds to connect and to answer: a user is waiting.
TIMEOUT = 5, 10
# Seconds for all API requests together.
SECONDS = 20


class CrmMailchimpLogin(models.Model):
    """One login at Mailchimp (OAuth 2), from the button until the browser is back.

    ``state``, which travels with the browser, is signed and contains the id of this
    record and a secret of which only the hash is stored. It is valid once, for some
    minutes, for the user and session that began the login. A failed login stores only a
    sentence that tells that user why; nothing else in the database has changed then.

    The code Mailchimp sends is valid once, too, while Odoo repeats a request whenever
    its transaction conflicts with another. So a returning login writes nothing in the
    request's transaction, which therefore cannot conflict: its changes are committed in
    short transactions of their own, one before Mailchimp is asked and one after, and
    only these are repeated.
    """

    _name = "crm.mailchimp.login"
    _description = "Login at Mailchimp"
    _order = "id desc"

    account_id = fields.Many2one("crm.mailchimp.account", ondelete="cascade")
    user_id = fields.Many2one("res.users", required=True, ondelete="cascade")
    session_hash = fields.Char(groups=fields.NO_ACCESS)
    secret_hash = fields.Char(groups=fields.NO_ACCESS)
    used = fields.Boolean()
    # The audience has to be chosen again: it may be another Mailchimp account.
    anew = fields.Boolean()
    guided = fields.Boolean()
    message = fields.Text()

    @api.model
    def _redirect_uri(self):
        base = self.env["ir.config_parameter"].sudo().get_param("web.base.url") or ""
        return base.rstrip("/") + CALLBACK

    @api.model
    def _client(self):
        """Return the calls of the registered app.

        :raise UserError: if no app is registered
        :raise InvalidUrl: if the system parameter is unusable
        """
        app = self.env["crm.mailchimp.app"]._get()
        if not app.client_secret:
            raise UserError(self.env["crm.mailchimp.account"]._no_app_sentence())
        api_url = (
            self.env["ir.config_parameter"].sudo().get_param("crm_mailchimp.api_url")
        )
        return Login(
            app.client_id,
            app.client_secret,
            self._redirect_uri(),
            api_url=api_url or None,
            timeout=TIMEOUT,
        )

    # === GOING THERE === #

    @api.model
    def _begin(self, account, anew=False, guided=False):
        """Return the URL of Mailchimp's login, for this user and session.

        :raise UserError: if no app is registered, or the browser could not come back
        """
        try:
            client = self._client()
        except errors.InvalidUrl as error:
            raise UserError(account._error_sentence(error)) from error
        base = urlsplit(self._redirect_uri())
        # The port does not matter: a browser's session cookie belongs to the host.
        here = request and urlsplit(f"//{request.httprequest.host}").hostname
        if not here or here != base.hostname:
            raise UserError(
                self.env._(
                    "Mailchimp sends you back to %(url)s, where you are not signed in."
                    " Open Odoo at that address and log in to Mailchimp from there.",
                    url=f"{base.scheme}://{base.netloc}",
                )
            )
        secret = secrets.token_urlsafe(32)
        login = self.sudo().create(
            {
                "account_id": account.id,
                "user_id": self.env.uid,
                "session_hash": _session_hash(),
                "secret_hash": _hash(secret),
                "anew": anew,
                "guided": guided,
            }
        )
        return client.authorize_url(
            hash_sign(self.env(su=True), SCOPE, [login.id, secret])
        )

    # === COMING BACK === #

    @api.model
    def _come_back(self, state, code, error):
        """Finish a login, and return where to send the browser.

        :param str state, code, error: from Mailchimp, or from anybody
        :raise AccessError: if the user is not a Mailchimp manager
        """
        accounts = self.env["crm.mailchimp.account"]
        if not self.env.user.has_group("crm_mailchimp.group_mailchimp_manager"):
            raise AccessError(accounts._managers_only_sentence())
        login = self._mine(state)
        account = login.account_id.with_env(self.env) or accounts._overview_account()
        guided = login.guided
        sentence = None
        try:
            if not login._take():
                raise UserError(
                    self.env._(
                        "This login was used already, took longer than 10 minutes, or"
                        " began in another session. Nothing was changed. Log in to"
                        " Mailchimp again."
                    )
                )
            account._check_manager()
            login._finish(account, code, error)
        except errors.MailchimpError as refused:
            _logger.info("The login at Mailchimp failed: %s", refused)
            sentence = self._error_sentence(account, refused)
        except AccessError:
            # The user may no longer see the account.
            account = accounts._overview_account()
            sentence = accounts._managers_only_sentence()
        except UserError as refused:
            sentence = str(refused.args[0])
        except PG_CONCURRENCY_EXCEPTIONS_TO_RETRY:
            sentence = self.env._(
                "The login was not saved, because somebody else kept changing this"
                " account at the same time. Log in to Mailchimp again."
            )
        if sentence:
            self._apart(lambda own: own._tell(account, sentence))
        if account and (sentence or not guided):
            return (
                f"/odoo/action-crm_mailchimp.action_crm_mailchimp_account/{account.id}"
            )
        return "/odoo/action-crm_mailchimp.action_crm_mailchimp_overview"

    def _mine(self, state):
        """Return the login a state names, if this user began it in this session."""
        try:
            login_id, secret = verify_hash_signed(self.env(su=True), SCOPE, state)
        except (TypeError, ValueError, AttributeError):
            return self.sudo().browse()
        login = self.sudo().browse(login_id).exists()
        mine = (
            login
            and login.user_id.id == self.env.uid
            and consteq(login.session_hash or "", _session_hash())
            and consteq(login.secret_hash or "", _hash(secret))
        )
        return login if mine else login.browse()

    def _take(self):
        """Mark the login as used, and return whether it was still valid."""
        if not self or self.create_date < fields.Datetime.now() - LIFETIME:
            return False

        def take(own):
            return own.env.execute_query(
                SQL(
                    "UPDATE crm_mailchimp_login SET used = TRUE"
                    " WHERE id = %s AND used IS NOT TRUE RETURNING id",
                    self.id,
                )
            )

        return bool(self._apart(take))

    def _finish(self, account, code, error):
        """Exchange the code for a token, check what it opens, and go on with it.

        :raise UserError, MailchimpError: on failure; nothing was changed then
        """
        _ = self.env._
        if account._is_neutralized():
            account._check_database()
        if error == "access_denied":
            raise UserError(
                _("The login was cancelled in Mailchimp. Nothing was changed.")
            )
        client = self._client()
        if error or not code:
            raise UserError(
                _(
                    "Mailchimp refused the login. Nothing was changed. Log in to"
                    " Mailchimp again; if it happens again, an administrator should"
                    " compare the registered app with Settings > CRM > Mailchimp."
                )
            )
        token = client.token(code)
        data_center = client.data_center(token)
        gateway = account._new_gateway(
            token, data_center=data_center, timeout=client.timeout
        )
        gateway.until(time.monotonic() + SECONDS)
        with gateway:
            root = gateway.root()
            account._check_role(root)
            other = account._is_other(root)
            if other and not self.anew:
                raise UserError(account._other_login_sentence(root))
            trouble = None if other else account._audience_trouble(gateway)
        if trouble and not account.account_ref and not self.anew:
            # Nobody knows yet whether this is the account of the audience.
            raise UserError(account._other_login_sentence(root))
        values = {
            "auth_method": "oauth2",
            "api_key_secret": token,
            "api_key_hint": f"…{token[-4:]}-{data_center}",
            "data_center": data_center,
        }

        def go_on(own):
            changed = own.env["crm.mailchimp.account"].browse(account.id)
            changed._check_manager()
            if not changed.active or changed.audience_ref != audience:
                raise UserError(
                    own.env._(
                        "Somebody chose another audience meanwhile. Nothing was"
                        " changed. Log in to Mailchimp again."
                    )
                )
            own._forget(changed)
            if other:
                changed._wait_for_audience(root, values)
            else:
                changed._go_on(root, trouble, values)

        audience = account.audience_ref
        self._apart(go_on)

    def _apart(self, act):
        """Carry out ``act`` in its own transaction, again if another conflicts.

        :param act: called with this model in that transaction, with the user's rights
        """
        with self.env.registry.cursor() as cr:
            own = self.env(cr=cr, su=False)[self._name]
            return retrying(partial(act, own), own.env)

    # === WHAT CAME OF IT === #

    @api.model
    def _tell(self, account, sentence):
        self._forget(account)
        self.sudo().create(
            {
                "account_id": account.id,
                "user_id": self.env.uid,
                "used": True,
                "message": sentence,
            }
        )

    @api.model
    def _forget(self, account):
        """Delete what this user was told about logins of an account."""
        self.sudo().search(
            [
                ("account_id", "=", account.id),
                ("user_id", "=", self.env.uid),
                ("message", "!=", False),
            ]
        ).unlink()

    @api.model
    def _last_message(self, account):
        """Return why the user's last login failed, if that was minutes ago."""
        return (
            self.sudo()
            .search(
                [
                    ("account_id", "=", account.id),
                    ("user_id", "=", self.env.uid),
                    ("create_date", ">", fields.Datetime.now() - LIFETIME),
                ],
                limit=1,
            )
            .message
        )

    @api.autovacuum
    def _gc_logins(self):
        old = fields.Datetime.now() - KEEP
        self.sudo().search([("create_date", "<", old)]).unlink()

    @api.model
    def _error_sentence(self, account, error):
        _ = self.env._
        if isinstance(error, errors.LoginRefused) and error.code in (
            "invalid_client",
            "unauthorized_client",
        ):
            return _(
                "Mailchimp does not know the registered app, or its secret was"
                " replaced. Nothing was changed. An administrator should enter both"
                " again in Settings > CRM > Mailchimp."
            )
        if isinstance(error, errors.LoginRefused | errors.AuthLost | errors.InvalidKey):
            return _(
                "Mailchimp did not accept the login: it took too long, or was revoked"
                " at once. Nothing was changed. Log in to Mailchimp again."
            )
        if isinstance(error, errors.PASSING):
            return _(
                "Mailchimp did not answer the login in time, or not in a way that makes"
                " sense. Nothing was changed. Log in to Mailchimp again in some"
                " minutes."
            )
        return account._error_sentence(error)


class CrmMailchimpAccount(models.Model):
    """Connecting by a login instead of a key."""

    _inherit = "crm.mailchimp.account"

    can_log_in = fields.Boolean(compute="_compute_login")
    login_message = fields.Text(compute="_compute_login")

    @api.depends_context("uid")
    def _compute_login(self):
        can_log_in = bool(self.env["crm.mailchimp.app"]._get().client_secret)
        for account in self:
            account.can_log_in = can_log_in
            account.login_message = self.env["crm.mailchimp.login"]._last_message(
                account._origin
            )

    def _no_app_sentence(self):
        return self.env._(
            "To log in to Mailchimp, an app has to be registered there once: an"
            " administrator does so in Settings > CRM > Mailchimp. An API key works"
            " without."
        )

    def action_login(self):
        """Go to Mailchimp's login, to resume with the same Mailchimp account."""
        return self._log_in()

    def action_login_anew(self):
        """Go to Mailchimp's login for another account, to choose its audience."""
        return self._log_in(anew=True)

    def action_setup_login(self):
        """Go to Mailchimp's login from the checklist, and return to it."""
        return self._log_in(guided=True)

    def _log_in(self, **options):
        self.ensure_one()
        self._check_manager()
        if self._is_neutralized():
            self._check_database()
        return {
            "type": "ir.actions.act_url",
            "url": self.env["crm.mailchimp.login"]._begin(self, **options),
            "target": "self",
        }


def _hash(text):
    return hashlib.sha256(str(text).encode()).hexdigest()


def _session_hash():
    """Return a hash of the part of the session id that survives its rotation."""
    return _hash(request.session.sid[:STORED_SESSION_BYTES])
