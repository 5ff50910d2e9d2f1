from odoo import fields, models
from odoo.exceptions import UserError

from ..engine import errors


class CrmMailchimpAccount(models.Model):
    """Another key or login for an account that has an audience.

    If it opens the same Mailchimp account, the synchronisation goes on. If it opens
    another one, it is used for nothing but choosing an audience there: no member of
    another account is ever touched. A login is checked while the user waits. Saving a
    key never touches the network, so its gateway checks before it sends anything else
    (see :class:`..engine.transport.Transport`).
    """

    _inherit = "crm.mailchimp.account"

    # Mailchimp's id of the account that the audience is in.
    account_ref = fields.Char(string="Account ID", readonly=True, copy=False)
    # The key or token was seen to open that account.
    key_verified = fields.Boolean(readonly=True, copy=False)

    def _is_other(self, root):
        """Return whether ``root`` is another Mailchimp account than the audience's."""
        return bool(
            self.audience_ref
            and self.account_ref
            and root.get("account_id") != self.account_ref
        )

    def _note_account(self, gateway):
        """Note whose account the key opens, as a gateway found out.

        Called after the linked audience was used: for an account that was connected by
        an earlier version, only that proves it is the right one.
        """
        found = gateway.account_ref
        if found and gateway.uses(self.sudo().api_key_secret):
            self.sudo().write({"account_ref": found, "key_verified": True})

    def _check_role(self, root):
        """Refuse a Mailchimp user who may not manage contacts.

        :param dict root: the account as Mailchimp returns it
        """
        if root.get("role") and root["role"] not in ("owner", "admin", "manager"):
            raise UserError(
                self.env._(
                    "The Mailchimp user has the role %(role)s, which may not manage"
                    " contacts. Use a key or a login of an owner, admin or manager.",
                    role=root["role"],
                )
            )

    def _go_on(self, root, trouble, values=()):
        """Go on with a key or token that works, and catch up.

        :param dict root: the account as Mailchimp returns it
        :param trouble: why the audience cannot be used, or nothing
        :param values: dict of the new key or token, to be stored
        :return: whether all is well
        """
        # Connecting here means that this is the database to use.
        adopted = self._is_copy()
        if adopted:
            self.sudo()._stop()
            self.sudo()._adopt_database()
        values = dict(
            values,
            remote_name=root.get("account_name"),
            database_ref=self._database_ref(),
        )
        # Without its audience, nobody knows whether this is still the same account.
        if root.get("account_id") and (self.account_ref or not trouble):
            values.update(account_ref=root["account_id"], key_verified=True)
        self._clear_error(**values)
        if trouble:
            self.sudo()._set_error(trouble)
            return False
        if self.audience_ref:
            self._request_run("full" if adopted else "push")
        return True

    def _wait_for_audience(self, root, values):
        """Keep the token of another Mailchimp account until its audience is chosen.

        It is not the account of the present audience, so it is used for nothing else.
        """
        account = self.sudo()
        account._stop()
        account.write(dict(values, key_verified=False))
        account._set_error(errors.OtherAccount(name=root.get("account_name") or ""))

    def _other_account_sentence(self, name):
        """Return that the key opens another Mailchimp account than the audience's."""
        return self.env._(
            "The audience %(audience)s is in the Mailchimp account %(owner)s, but the"
            " key or login is of the account %(other)s. Nothing was read or sent. Enter"
            " a key of %(owner)s or log in there; or click “Change audience” to go"
            " on with an audience of %(other)s.",
            audience=self.audience_name or self.audience_ref,
            owner=self.remote_name or self.account_ref,
            other=name or self.env._("without a name"),
        )

    def _other_login_sentence(self, root):
        """Return that the user logged in to another Mailchimp account."""
        return self.env._(
            "You logged in to the Mailchimp account %(other)s, but the audience"
            " %(audience)s is in another one: %(owner)s. Nothing was changed. Log in"
            " there; or click “Use another Mailchimp account”, and choose the audience"
            " anew.",
            audience=self.audience_name or self.audience_ref,
            owner=self.remote_name or self.account_ref,
            other=root.get("account_name") or self.env._("without a name"),
        )
