from odoo.http import request

from odoo.addons.website_crm.controllers import website_form

from .. import evidence


class WebsiteForm(website_form.WebsiteForm):
    def extract_data(self, model_sudo, values):
        """Take the opt-in of a lead only from a form this server rendered."""
        if model_sudo.model != "crm.lead":
            return super().extract_data(model_sudo, values)
        values = dict(values)
        ticked = values.pop(evidence.OPT_IN, None)
        shown = evidence.read(model_sudo.env, values.pop(evidence.PROOF, None))
        data = super().extract_data(model_sudo, values)
        if ticked and shown and ticked == shown.value:
            data["record"].update(
                mailchimp_opt_in=True,
                mailchimp_opt_in_page=shown.page,
                mailchimp_opt_in_note=shown.note,
            )
        elif ticked:
            # The lead is worth keeping, but nobody can tell what was agreed to.
            unproved = request.env._(
                "Opt-in marketing mails: ticked, but not on a page of this website, or"
                " too long ago. Ask the person before you tick it."
            )
            data["custom"] = "\n".join(filter(None, [data["custom"], unproved]))
        return data
