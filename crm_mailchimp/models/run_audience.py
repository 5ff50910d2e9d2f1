from odoo import models
from odoo.exceptions import UserError

from ..engine import errors


class CrmMailchimpRun(models.Model):
    """Runs of kind *audience*: create the audience somebody asked for, once."""

    _inherit = "crm.mailchimp.run"

    def _phase_audience(self, gateway):
        """Create and link the audience of the cursor.

        When the answer got lost, an audience of the name that was not there before is
        the one; another one of that name is never taken.
        """
        account = self.account_id
        body = (self.cursor or {}).get("audience")
        found = gateway.audiences()
        existing = {audience["id"]: audience["name"] for audience in found["lists"]}
        key = f"audience {self.id}"
        sentence = account._no_room_sentence(found["constraints"])
        if sentence and not self._is_tried(key):
            self._end("failed", sentence)
            return True
        try:
            ref = self._create_once(
                key,
                body["name"],
                existing,
                lambda name: gateway.create_audience(dict(body, name=name))["id"],
            )
        except (errors.Forbidden, errors.Rejected) as error:
            account._set_refs(creating=None)
            self._end("failed", self._why_no_audience(error))
            return True
        audience = gateway.audience(ref)
        account._set_refs(creating=None)
        # Linking ends what is open on the account; this run is done by then.
        self._end("done")
        account._link_audience(audience)
        self._commit()
        return True

    def _why_no_audience(self, error):
        if isinstance(error, errors.Forbidden):
            return self.env._(
                "Mailchimp refused to create an audience. Either the plan does not "
                "allow another one (delete or combine audiences in Mailchimp, or "
                "change the plan), or the user of the API key is not allowed to "
                "create audiences."
            )
        return self.account_id._error_sentence(error)


class CrmMailchimpAccount(models.Model):
    _inherit = "crm.mailchimp.account"

    def action_create_audience(self):
        """Open the form for a new audience."""
        self.ensure_one()
        self._check_manager()
        if self.state == "draft":
            self.action_connect()
        Wizard = self.env["crm.mailchimp.create.audience"]
        wizard = Wizard.create(Wizard._company_values(self))
        return {
            "type": "ir.actions.act_window",
            "name": self.env._("Create an audience"),
            "res_model": wizard._name,
            "res_id": wizard.id,
            "view_mode": "form",
            "target": "new",
        }

    def _check_no_audience_under_way(self, body=None):
        """Refuse a second audience while the first is being created.

        :param dict body: what is asked for now; the same once more, as by a double
            click, is no second one
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
        known = (run.cursor or {}).get("audience") or {}
        if run and known != body:
            raise UserError(
                self.env._(
                    "The audience %(name)s is already being created. Wait until it is "
                    "linked, or cancel it in the sync history first.",
                    name=known.get("name", ""),
                )
            )

    def _no_room_sentence(self, constraints):
        """Return why the plan allows no further audience, or nothing."""
        if constraints.get("may_create", True):
            return False
        return self.env._(
            "Your Mailchimp plan does not allow another audience: %(count)s of "
            "%(limit)s are in use. Delete or combine audiences in Mailchimp, change "
            "the plan, or link an existing audience.",
            limit=constraints.get("max_instances", 0),
            count=constraints.get("current_total_instances", 0),
        )
