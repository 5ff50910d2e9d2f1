from odoo import models

# A spreadsheet takes what begins with one of these for a formula, or strips it and
# looks again.
RUNS = tuple("=+@\t\r\n＝＋－＠-")


class CrmMailchimpLabelled(models.AbstractModel):
    """Offers to search and group by the fields that somebody gave a label, no others.

    Odoo makes up labels such as *Values Seen* of the names of all others: they are the
    books of the synchronisation, and nobody's question.
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
        """Export no formula: a spreadsheet would run what Mailchimp calls a title.

        Odoo takes care of some of it in CSV files, and of none in XLSX.
        """
        exported = super().export_data(fields_to_export)
        for row in exported["datas"]:
            row[:] = [
                f"'{cell}" if isinstance(cell, str) and cell[:1] in RUNS else cell
                for cell in row
            ]
        return exported


def _made_up(name):
    """Return the label Odoo gives a field of this name that has none."""
    name = name.removesuffix("_ids").removesuffix("_id")
    return name.replace("_", " ").title()
