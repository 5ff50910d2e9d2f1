import re

from odoo import models
from odoo.http import Response, request

from .webhooks import PATH

COOKIE_SECONDS = 31 * 24 * 3600  # as long as Odoo keeps its own


class IrHttp(models.AbstractModel):
    """Attribute leads by Mailchimp's ``mc_cid``, and keep the raw body of webhooks.

    ``mc_cid`` counts where a link carries no ``utm_campaign``.
    """

    _inherit = "ir.http"

    @classmethod
    def _pre_dispatch(cls, rule, args):
        result = super()._pre_dispatch(rule, args)
        if rule.rule.startswith(PATH):
            # Mailchimp signs the raw body. Odoo parses a form before it calls the
            # controller, and then nothing is left of the body unless it was read here.
            request.httprequest.get_data()
        return result

    @classmethod
    def _set_utm(cls, response):
        super()._set_utm(response)
        ref = request.params.get("mc_cid")
        if "utm_campaign" in request.params or not isinstance(ref, str):
            return
        if not re.fullmatch("[0-9a-f]{8,16}", ref):
            return
        name = "odoo_utm_campaign"
        if request.cookies.get(name) != ref:
            # ``crm.mailchimp.campaign`` finds its leads by this name, too.
            Response.load(response).set_cookie(
                name,
                ref,
                max_age=COOKIE_SECONDS,
                domain=cls.get_utm_domain_cookies(),
                cookie_type="optional",
            )
