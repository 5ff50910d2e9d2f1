from odoo import models
from odoo.exceptions import AccessError, UserError


class CrmMailchimpAccount(models.Model):
    """What users ask for: buttons queue runs, and scheduled actions do the work."""

    _inherit = "crm.mailchimp.account"

    def _check_ready(self):
        """Refuse users who may not synchronise, and accounts that are not ready.

        :raise AccessError: if the user may not synchronise these accounts
        :raise UserError: if the account is not ready; says what to do
        """
        self.check_access("read")
        if not self.env.su and not self.env.user.has_group(
            "crm_mailchimp.group_mailchimp_user"
        ):
            raise AccessError(
                self.env._("You need the Mailchimp User access right to do this.")
            )
        if self.state != "linked":
            raise UserError(
                self.error_message
                or self.env._("Connect the account and choose an audience first.")
            )
        self._check_database()

    def action_sync_now(self):
        """Request a run; the scheduled action does the work.

        Pressed on an account that never pushed, it starts the first push (the button
        says so and asks for confirmation).
        """
        self.ensure_one()
        self._check_ready()
        if not self.push_enabled:
            self._check_manager()
            self.sudo().push_enabled = True
        run, created = self._request_run("push")
        if created and self.open_run_id != run:
            return self._toast(self.env._("Another sync starts when this one is done."))
        if created:
            return self._toast(self.env._("The sync starts in a moment."))
        if run.state == "brake":
            toast = self._toast(run._waiting_sentence())
            toast["params"].update(type="warning", sticky=True)
            return toast
        return self._toast(
            self.env._("A sync is already in progress: %s", run.progress_label)
        )

    def _not_sending_sentence(self):
        """Return why nothing that was asked for is sent, and who can change that."""
        return self.env._(
            "Contacts are not being synced: syncing has not been started, or is "
            "paused. A Mailchimp manager can start it in CRM > Mailing > Overview, or "
            "resume it on the account."
        )

    def action_pause(self):
        """Send no contacts until somebody resumes; opt-outs are still sent.

        A run under way ends with its next slice; what it has sent stays sent.
        """
        self.ensure_one()
        self._check_manager()
        self.sudo().push_enabled = False
        return self._toast(
            self.env._(
                "Paused: no contacts, field values or segments are synced until "
                "somebody resumes. Opt-outs and unsubscribes are still applied on both "
                "sides."
            )
        )

    def action_resync(self):
        """Request a run that first reads the whole audience again."""
        self.ensure_one()
        self._check_ready()
        self._request_run("full")
        return self._toast(
            self.env._("The whole audience is read and compared in a moment.")
        )

    def action_import_stats(self):
        """Request an import of campaigns and their results."""
        self.ensure_one()
        self._check_ready()
        self._request_run("stats")
        return self._toast(
            self.env._("Campaigns and their results are updated in a moment.")
        )

    def _request_run(self, kind):
        """Queue a run and wake the scheduled action; a second request joins the first.

        Unless the first has already compared: see ``_get_or_create``.

        :param str kind: ``push``, ``full``, ``preview``, ``audience`` or ``stats``
        :return: ``(run, created)``
        """
        self.ensure_one()
        cron = "ir_cron_stats" if kind == "stats" else "ir_cron_push"
        run, created = (
            self.env["crm.mailchimp.run"].sudo()._get_or_create(self.sudo(), kind)
        )
        if kind == "stats":
            run._read_everything()
        self.env.ref(f"crm_mailchimp.{cron}").sudo()._trigger()
        return run, created
