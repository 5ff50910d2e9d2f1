import logging
import re

from odoo import api, fields, models
from odoo.exceptions import UserError
from odoo.tools import consteq

from ..engine import webhooks
from ..engine.vocabulary import PUSHES
from .clock import short_moment

_logger = logging.getLogger(__name__)

PATH = "/crm_mailchimp/webhook/"
TOKEN = re.compile("[A-Za-z0-9_-]{20,100}")
# Seconds to connect and to answer, while somebody waits.
SHORT = (2, 4)


class CrmMailchimpAccount(models.Model):
    """The account's webhooks: what users see of them, and what they deliver.

    They only speed up what runs find anyway. Ours are recognised by the token in their
    URL, so others are left alone, whatever they are.

    ``webhook_hooks`` holds what Mailchimp knows about ours, by the names of
    :data:`..engine.webhooks.HOOKS`: ``ref`` (the id), ``url`` and ``secret``, which may
    be ``None``. Mailchimp returns the secret only once. If that answer is lost, the
    webhook is found by its URL, deleted, and created again.
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
    # What the scheduled action was to set up when it last called Mailchimp: the base
    # URL of the webhooks, or "off".
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
        """Return when the last delivery came, by Mailchimp's clock, or ``False``."""
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
        """Return the account whose webhooks have this token, or no record.

        A copy of the database, or an account that is not connected, has none.
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
        # The search uses an index; the whole token is compared in constant time.
        if not account or not consteq(account.webhook_token, token):
            return self.browse()
        return account.browse() if account._is_copy() else account

    def _receive_delivery(self, hook, raw, content_type, header):
        """Store what a request brought, if Mailchimp sent it.

        :param str hook: name of the webhook
        :param bytes raw: the body
        :param content_type: type of the body, without parameters
        :param header: the signature, if there is one
        :return: ``True`` if it was stored, ``False`` if it is not Mailchimp's, ``None``
            if it has to be delivered again later
        """
        self.ensure_one()
        known = (self.webhook_hooks or {}).get(hook)
        if not known or content_type != webhooks.CONTENT_TYPE:
            return False
        now = self._mailchimp_now()
        seconds = (now - fields.Datetime.to_datetime("1970-01-01")).total_seconds()
        # Webhooks from before there were signatures have no secret, but their path has
        # one.
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

    # === BUTTONS === #

    def action_test_webhook(self):
        """Call Odoo's address as Mailchimp does, and ask Mailchimp for the webhooks.

        Mailchimp cannot be made to send a delivery, but both ends can be tested.
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
        """List what webhooks delivered."""
        self.ensure_one()
        self._check_manager()
        return self._open("crm_mailchimp.action_crm_mailchimp_webhook_delivery")

    def _due_runs(self, kind, now):
        """Add the run that processes deliveries, unless a push does so anyway."""
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
