from odoo import models
from odoo.exceptions import UserError


class CrmMailchimpAccount(models.Model):
    _inherit = "crm.mailchimp.account"

    def action_create_audience(self):
        """Open the form for a new audience."""
        self.ensure_one()
        self._check_manager()
        if self.state == "draft" and not self.audience_ref:
            self.action_connect()
        Wizard = self.env["crm.mailchimp.create.audience"]
        wizard = Wizard.create(Wizard._company_values(self))
        return {
            "type": "ir.actions.act_window",
            "name": self.env._("Create an audience"),
            "res_model": wizard._name,
            "res_id": wizard.id,
            "views": [(False, "form")],
            "target": "new",
        }

    def _check_no_audience_under_way(self, body=None):
        """Refuse a second audience while the first is being created.

        :param dict body: the audience asked for now; the same one again, as by a double
            click, is not a second one
        :raise UserError: says which one, and what to do
        """
        run = (
            self.env["crm.mailchimp.run"]
            .sudo()
            .search(
                [
                    ("account_id", "=", self.id),
                    ("kind", "=", "audience"),
                    ("state", "in", self.run_ids.OPEN_STATES),
                ],
                limit=1,
            )
        )
        known = run._get_cursor().audience
        if run and known != body:
            raise UserError(
                self.env._(
                    "The audience %(name)s is already being created. Wait until it is "
                    "linked, or cancel it in the sync history first.",
                    name=known.get("name", ""),
                )
            )

    def _no_room_sentence(self, constraints):
        """Return why the plan allows no further audience, or ``False``."""
        if constraints.get("may_create", True):
            return False
        return self.env._(
            "Your Mailchimp plan does not allow another audience: %(count)s of "
            "%(limit)s are in use. Delete or combine audiences in Mailchimp, change "
            "the plan, or link an existing audience.",
            limit=constraints.get("max_instances", 0),
            count=constraints.get("current_total_instances", 0),
        )
