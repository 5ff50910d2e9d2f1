from odoo import models

# A spreadsheet reads a cell that begins with one of these as a formula, or strips the
# character and looks again.
RUNS = tuple("=+@\t\r\n＝＋－＠-")


class CrmMailchimpLabelled(models.AbstractModel):
    """Offers to search and group only by fields that were given a label.

    For all others Odoo makes up labels such as *Values Seen* from their names: they are
    the bookkeeping of the synchronisation, which no user asks about.
    """

    _name = "crm.mailchimp.labelled"
    _description = "Model with Technical Fields"

    def fields_get(self, allfields=None, attributes=None):
        result = super().fields_get(allfields, attributes)
        for name, description in result.items():
            if "_" in name and self._fields[name].string == _made_up(name):
                for attribute in {"groupable", "searchable"} & description.keys():
                    description[attribute] = False
        return result

    def export_data(self, fields_to_export):
        """Export no formulas: a spreadsheet would run, say, a campaign's title.

        Odoo defuses some of them in CSV files, and none in XLSX.
        """
        exported = super().export_data(fields_to_export)
        for row in exported["datas"]:
            row[:] = [
                f"'{cell}" if isinstance(cell, str) and cell[:1] in RUNS else cell
                for cell in row
            ]
        return exported


def _made_up(name):
    """Return the label Odoo makes up for a field of this name."""
    name = name.removesuffix("_ids").removesuffix("_id")
    return name.replace("_", " ").title()
