from odoo import models
from odoo.tools import float_compare


class CrmMailchimpMirrored(models.AbstractModel):
    """A record of something in Mailchimp, written only when it changed."""

    _name = "crm.mailchimp.mirrored"
    _description = "Record of Something in Mailchimp"

    def _differs(self, vals):
        """Return whether a value differs from what is stored.

        :param dict vals: values as for ``write``, without x2many fields
        """
        self.ensure_one()
        for name, value in vals.items():
            stored = self._fields[name].convert_to_write(self[name], self)
            if isinstance(value, float):
                if float_compare(stored, value, precision_digits=6):
                    return True
            elif (stored or False) != (value or False):
                return True
        return False

    def _write_changes(self, vals):
        """Write ``vals`` if any of them differs: a quiet run writes no row."""
        if self._differs(vals):
            self.write(vals)
