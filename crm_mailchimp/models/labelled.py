from odoo import models


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


def _made_up(name):
    """Return the label Odoo gives a field of this name that has none."""
    name = name.removesuffix("_ids").removesuffix("_id")
    return name.replace("_", " ").title()
