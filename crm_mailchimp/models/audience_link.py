from odoo import models


class CrmMailchimpAccount(models.Model):
    """Choosing an account's audience, and switching from one audience to another."""

    _inherit = "crm.mailchimp.account"

    def action_choose_audience(self):
        """Open the dialog for choosing the audience to link."""
        self.ensure_one()
        self._check_manager()
        if self.state == "draft" and not self.audience_ref:
            self.action_connect()
        wizard = self.env["crm.mailchimp.choose.audience"].create(
            {"account_id": self.id}
        )
        if not wizard.line_ids:
            # There is nothing to choose.
            return self.action_create_audience()
        return wizard._reopen()

    def _link_audience(self, audience, root=None):
        """Link an audience; switching to another one starts a new account and ledger.

        :param dict audience: an audience as Mailchimp's API returns it
        :param dict root: the Mailchimp account it is in, as the API returns it; by
            default, that of the present audience
        :return: the account the audience is now linked to: a copy of this one if
            another audience was linked before
        """
        self.ensure_one()
        account = self
        owner = {"account_ref": self.account_ref, "remote_name": self.remote_name}
        if root and root.get("account_id") != self.account_ref:
            owner = {
                "account_ref": root.get("account_id"),
                "remote_name": root.get("account_name"),
                # Another key may have been entered since ``root`` was read.
                "key_verified": False,
            }
        if self.audience_ref and self.audience_ref != audience["id"]:
            key, database_ref = self.sudo().api_key_secret, self.database_ref
            hint, center = self.api_key_hint, self.data_center
            self.sudo()._stop()
            self._clear_error(active=False, api_key_secret=False)
            self.flush_recordset()
            # As the superuser, so that what other users signed stays signed by them.
            account = self.sudo().copy({"name": self.name, "active": True})
            account = account.with_env(self.env)
            account.sudo().write(
                {
                    "api_key_secret": key,
                    "api_key_hint": hint,
                    "data_center": center,
                    "database_ref": database_ref,
                    "key_verified": self.key_verified,
                    "remote_name": self.remote_name,
                }
            )
            self._replaced_by(account)
        account._clear_error(
            state="linked",
            linked_at=self._mailchimp_now(),
            audience_ref=audience["id"],
            audience_name=audience["name"],
            audience_url=(
                f"https://{account.data_center}.admin.mailchimp.com/lists/members/"
                f"?id={audience['web_id']}"
                if audience.get("web_id")
                else False
            ),
            **owner,
        )
        account.merge_field_ids or account._create_default_mapping()
        account._request_run("push")
        return account

    def _create_default_mapping(self):
        self.env["crm.mailchimp.merge.field"].sudo().create(
            [
                dict(line, account_id=self.id)
                for line in self.env["crm.mailchimp.merge.field"]._default_lines()
            ]
        )
