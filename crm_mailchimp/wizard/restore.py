import base64
import io
from contextlib import closing

from markupsafe import Markup

from odoo import api, fields, models
from odoo.exceptions import AccessError, UserError

from ..models.clock import short_moment


class Preview(Exception):
    """Raised to roll back what was restored for a preview only."""


class CrmMailchimpRestore(models.TransientModel):
    """Bring back what the uninstalled add-on left behind, after a preview."""

    _name = "crm.mailchimp.restore"
    _description = "Restore an Archive"

    archive = fields.Selection(
        selection="_select_archive",
        default=lambda self: self._default_archive(),
        help="An archive is created when the add-on is uninstalled.",
    )
    upload = fields.Binary(
        string="Or upload a file",
        attachment=False,
        help="If you keep the archive elsewhere.",
    )
    preview = fields.Html(readonly=True)

    @api.model
    def _select_archive(self):
        """Return the archives in this database; only administrators may open them."""
        if not self._is_manager():
            return []
        return [
            (
                str(attachment.id),
                self.env._(
                    "Of %(date)s, size: %(size)s MB",
                    date=short_moment(self.env, attachment.create_date),
                    size=max(1, attachment.file_size // 1_000_000),
                ),
            )
            for attachment in self.env["crm.mailchimp.archive"]._found()
        ]

    @api.model
    def _default_archive(self):
        return next((value for value, _label in self._select_archive()), False)

    @api.onchange("archive", "upload")
    def _onchange_archive(self):
        self.preview = False

    def _is_manager(self):
        return self.env.user.has_group("crm_mailchimp.group_mailchimp_manager")

    def _open(self):
        """Return the chosen archive as an open file."""
        if not self._is_manager():
            raise AccessError(
                self.env._("Only a Mailchimp manager may restore an archive.")
            )
        if self.upload:
            return io.BytesIO(base64.b64decode(self.upload))
        Archive = self.env["crm.mailchimp.archive"]
        found = Archive._found().filtered(lambda a: str(a.id) == self.archive)
        if not found:
            raise UserError(
                self.env._(
                    "Choose an archive. If there is none in the list, upload the file"
                    " that was kept when the add-on was uninstalled."
                )
            )
        return Archive._open_attachment(found)

    def action_preview(self):
        """Show what restoring would do: it is done, counted and rolled back."""
        self.ensure_one()
        counts = {}
        with closing(self._open()) as file:
            try:
                with self.env.cr.savepoint():
                    counts = self.env["crm.mailchimp.archive"]._restore(file)
                    raise Preview
            except Preview:
                self.env.invalidate_all(flush=False)
        self.preview = self._counted(counts)
        return {
            "type": "ir.actions.act_window",
            "name": self.env._("Restore an archive"),
            "res_model": self._name,
            "res_id": self.id,
            "view_mode": "form",
            "target": "new",
        }

    def action_restore(self):
        """Restore what the preview showed."""
        self.ensure_one()
        with closing(self._open()) as file:
            counts = self.env["crm.mailchimp.archive"]._restore(file)
        total = sum(restored for _rows, restored in counts.values())
        account = self.env["crm.mailchimp.account"]
        return account._toast(
            self.env._(
                "Restored entries: %s. Nothing is sent until somebody enters the API"
                " key of the account, connects it and starts syncing.",
                total,
            )
            if total
            else self.env._("Everything in the archive is here already.")
        )

    def _counted(self, counts):
        _ = self.env._
        labels = {
            "accounts": _("Accounts and their settings"),
            "field_mapping": _("Mapped fields"),
            "permissions": _("Marketing permissions"),
            "filters": _("Saved filters synced again"),
            "segments": _("Groups and tags of these filters"),
            "contacts": _("Opt-ins switched on again"),
            "leads": _("Opt-ins of leads switched on again"),
            "consent": _("Consent lines"),
            "suppressions": _("Do-not-email list"),
            "erasures": _("Erased addresses"),
            "members": _("Members"),
            "tags": _("Requested tags"),
            "campaigns": _("Campaigns"),
            "links": _("Links"),
            "variants": _("Variants"),
            "recipients": _("Recipients"),
            "events": _("Opens, clicks and other events"),
            "growth": _("Audience growth figures"),
        }
        number = Markup("<td class='text-end'>%s</td>")
        row = Markup("<tr><td>%s</td>") + number + number + Markup("</tr>")
        head = Markup("<tr><th>%s</th><th>%s</th><th>%s</th></tr>") % (
            "",
            _("In the archive"),
            _("Would be restored"),
        )
        rows = [row % (label, *counts[n]) for n, label in labels.items() if n in counts]
        return Markup("<table class='table table-sm'>%s%s</table>") % (
            head,
            Markup().join(rows),
        )
