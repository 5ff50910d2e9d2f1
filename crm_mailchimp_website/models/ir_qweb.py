from functools import partial

from lxml import etree
from markupsafe import Markup

from odoo import api, models
from odoo.http import request

from .. import evidence


class IrQweb(models.AbstractModel):
    _inherit = "ir.qweb"

    def _get_template(self, template):
        element, document, ref = super()._get_template(template)
        if self.env.context.get("website_id"):
            # The compiled template serves every page, so the path is known only at
            # rendering.
            evidence.prepare(
                element,
                lambda text, value: {
                    "t-att-value": "mailchimp_opt_in_proof"
                    f" and mailchimp_opt_in_proof({text!r}, {value!r})"
                },
            )
        return element, document, ref

    def _prepare_frontend_environment(self, values):
        irQweb = super()._prepare_frontend_environment(values)
        values["mailchimp_opt_in_proof"] = partial(
            evidence.sign, irQweb.sudo().env, request.httprequest.path
        )
        return irQweb


class IrQwebFieldHtml(models.AbstractModel):
    _inherit = "ir.qweb.field.html"

    @api.model
    def value_to_html(self, value, options):
        """Prepare forms in content that is no page itself: a blog post, a product."""
        found = super().value_to_html(value, options)
        if not request or evidence.OPT_IN not in (found or ""):
            return found
        # Parsed as Odoo's website does to sign its own forms.
        body = etree.fromstring(f"<body>{found}</body>", etree.HTMLParser())[0]
        sign = partial(evidence.sign, self.sudo().env, request.httprequest.path)
        evidence.prepare(body, lambda text, value: {"value": sign(text, value)})
        return Markup(etree.tostring(body, encoding="unicode", method="html")[6:-7])
