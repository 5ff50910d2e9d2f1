from odoo import api, fields, models
from odoo.exceptions import UserError

CHUNK = 100


class CrmMailchimpPermission(models.Model):
    """A marketing permission (GDPR) of the audience, and whether an opt-in gives it.

    Mailchimp lists permissions only on members, and adds members without any, so each
    new member takes a call of its own. A permission is given once, to members that Odoo
    adds after it was switched on; later changes are up to the person.
    """

    _name = "crm.mailchimp.permission"
    _inherit = ["crm.mailchimp.guarded"]
    _description = "Mailchimp Marketing Permission"
    _order = "id"

    account_id = fields.Many2one(
        "crm.mailchimp.account",
        required=True,
        ondelete="cascade",
        index=True,
        readonly=True,
    )
    company_id = fields.Many2one(related="account_id.company_id")
    permission_ref = fields.Char(required=True, readonly=True)
    name = fields.Char(string="Permission", required=True, readonly=True)
    on_opt_in = fields.Boolean(
        string="Covered by the opt-in",
        help="Members that Odoo adds from now on get this permission. Turn it on if "
        "your contacts' opt-in covers it.",
    )
    # Members with a higher id were added after it was switched on.
    after_member = fields.Integer(readonly=True)
    error_message = fields.Char(string="Problem", readonly=True)

    _ref_uniq = models.Constraint(
        "UNIQUE(account_id, permission_ref)", "This permission is already listed."
    )

    def write(self, vals):
        if vals.get("on_opt_in"):
            last = (
                self.env["crm.mailchimp.member"]
                .sudo()
                .search([], order="id desc", limit=1)
            )
            fresh = self.filtered(lambda permission: not permission.on_opt_in)
            super(CrmMailchimpPermission, fresh.sudo()).write(
                {"after_member": last.id, "error_message": False}
            )
        result = super().write(vals)
        # The permission must not end up in an account of another company.
        self.check_access("write")
        return result


class CrmMailchimpAccount(models.Model):
    _inherit = "crm.mailchimp.account"

    permission_ids = fields.One2many("crm.mailchimp.permission", "account_id")
    gives_permissions = fields.Boolean(compute="_compute_gives_permissions")

    @api.depends("permission_ids.on_opt_in")
    def _compute_gives_permissions(self):
        for account in self:
            account.gives_permissions = any(account.permission_ids.mapped("on_opt_in"))

    def action_read_permissions(self):
        """List the marketing permissions of the audience.

        :raise UserError: if it has none, or none can be read yet
        """
        self.ensure_one()
        self._check_manager()
        if not self.audience_ref:
            raise UserError(self.env._("Choose an audience first."))
        with self._asking() as gateway:
            asked = gateway.audience(self.audience_ref).get("marketing_permissions")
            members = gateway.members(
                self.audience_ref,
                count=1,
                fields=["members.id", "members.marketing_permissions"],
            )["members"]
        if not asked:
            self.sudo().permission_ids.unlink()
            raise UserError(
                self.env._(
                    "This audience does not use marketing permissions. Turn on GDPR "
                    "fields in the settings of the audience in Mailchimp."
                )
            )
        if not members:
            raise UserError(
                self.env._(
                    "Mailchimp lists marketing permissions only with members, and "
                    "this audience has no members yet. Add one contact, then refresh."
                )
            )
        found = {
            one["marketing_permission_id"]: one["text"]
            for one in members[0].get("marketing_permissions") or ()
        }
        account = self.sudo()
        account.permission_ids.filtered(
            lambda permission: permission.permission_ref not in found
        ).unlink()
        known = {one.permission_ref: one for one in account.permission_ids}
        for ref, text in found.items():
            if ref in known:
                known[ref].name = text
            else:
                account.permission_ids.create(
                    {"account_id": account.id, "permission_ref": ref, "name": text}
                )
        return self._toast(self.env._("Marketing permissions read: %s.", len(found)))
