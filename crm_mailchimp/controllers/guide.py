from odoo.http import Controller, request, route
from odoo.tools import file_path


class CrmMailchimpGuide(Controller):
    """The guide, which is part of the add-on and needs no internet."""

    @route(
        "/crm_mailchimp/guide/<string:page>", type="http", auth="user", readonly=True
    )
    def guide(self, page):
        """Redirect to a page of the guide, in the user's language if there is one.

        The browser keeps the anchor. An unknown page leads to the index.
        """
        lang = (request.env.lang or "en").partition("_")[0]
        for path in (f"{lang}/{page}", page, "index"):
            file = f"crm_mailchimp/static/guide/{path}.html"
            try:
                file_path(file)
            except FileNotFoundError:
                continue
            return request.redirect(f"/{file}")
        raise request.not_found()
