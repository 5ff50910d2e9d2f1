from contextlib import contextmanager

from odoo import fields, models

from ..engine.json_columns import RemoteRefs

# Removals of groups and tags to remember: see ``_noting_removal``.
REMOVALS = 100


class CrmMailchimpAccount(models.Model):
    _inherit = "crm.mailchimp.account"

    show_groups = fields.Boolean(
        string="Show groups to subscribers",
        help="Groups are named after your filters, which are internal. If shown, they "
        "appear on Mailchimp's sign-up forms and on the pages where subscribers "
        "change their preferences, and subscribers can tick them.",
    )

    def _group_kind(self):
        """Return Mailchimp's type of our categories."""
        return "checkboxes" if self.show_groups else "hidden"

    def _refs(self):
        return RemoteRefs.from_json(self.remote_refs)

    @contextmanager
    def _noting_removal(self, gateway):
        """Note when a group or tag was removed, since that changes members.

        A call without an answer is not noted: nobody knows when it was carried out.
        """
        first = gateway.clock()
        yield
        last = gateway.clock()
        known = self._refs().removals
        times = [fields.Datetime.to_string(moment) for moment in (first, last)]
        self._set_refs(removals=[*known, times][-REMOVALS:])

    def _removals(self):
        """Return ``(first, last)`` moment of each of the last removals."""
        return [
            tuple(map(fields.Datetime.to_datetime, times))
            for times in self._refs().removals
        ]

    def _set_refs(self, **values):
        """Change keys of ``remote_refs``; ``None`` removes one."""
        refs = self._refs()
        changed = refs.changed(**values)
        if changed != refs:
            self.sudo().remote_refs = changed.to_json()
