from odoo import models

from .archive import RUNS


class Base(models.AbstractModel):
    """Exports of our models hold no formula.

    What comes from Mailchimp, or from a form on the web, may begin with what a
    spreadsheet runs. Odoo takes care of some of it in CSV files, and of none in XLSX.
    """

    _inherit = "base"

    def export_data(self, fields_to_export):
        exported = super().export_data(fields_to_export)
        if self._name.startswith("crm.mailchimp."):
            for row in exported["datas"]:
                row[:] = [
                    f"'{cell}"
                    if isinstance(cell, str) and cell[:1] and cell[0] in RUNS
                    else cell
                    for cell in row
                ]
        return exported
