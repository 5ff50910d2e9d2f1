from lxml import html

from odoo.tests import HttpCase

from odoo.addons.crm_mailchimp.tests.common import MailchimpCase

TEXT = "Yes, send me news by email."
MORE = "You can unsubscribe at any time."
# As Odoo's website builder writes it.
BOX = """
<div class="s_website_form_field mb-3 col-12 %(hidden)s" data-type="boolean"
     data-name="Field">
  <div class="row s_col_no_resize s_col_no_bgcolor">
    <label class="col-sm-auto s_website_form_label" style="width: 200px" for="box">
      <span class="s_website_form_label_content">%(text)s</span>
      <span class="s_website_form_mark"> *</span>
    </label>
    <div class="col-sm">
      <div class="form-check">
        <input type="%(type)s" value="Yes" name="mailchimp_opt_in" id="box"
               class="s_website_form_input form-check-input" %(checked)s/>
      </div>
      <div class="s_website_form_field_description small form-text text-muted">
        You can unsubscribe
        <b>at any time</b>.
      </div>
    </div>
  </div>
</div>
"""
FORM = """
<section class="s_website_form" data-snippet="s_website_form"><div class="container">
  <form action="/website/form/" method="post" enctype="multipart/form-data"
        class="o_mark_required" data-mark="*" data-model_name="crm.lead"
        data-success-mode="redirect" data-success-page="/contactus-thank-you">
    <div class="s_website_form_rows row s_col_no_bgcolor">
      <div class="s_website_form_field mb-3 col-12" data-type="char" data-name="Field">
        <input type="text" class="form-control s_website_form_input"
               name="contact_name"/>
      </div>
      <div class="s_website_form_field mb-3 col-12" data-type="email">
        <input type="email" class="form-control s_website_form_input"
               name="email_from"/>
      </div>
      <div class="s_website_form_field mb-3 col-12 s_website_form_model_required"
           data-type="char" data-name="Field">
        <input type="text" class="form-control s_website_form_input" name="name"/>
      </div>
      %(box)s
      <div class="mb-0 py-2 col-12 s_website_form_submit" data-name="Submit Button">
        <a href="#" role="button" class="btn btn-primary s_website_form_send">Submit</a>
        <span id="s_website_form_result"></span>
      </div>
    </div>
  </form>
</div></section>
"""
PAGE = """
<t t-name="crm_mailchimp_website.fair">
  <t t-call="website.layout"><div id="wrap" class="oe_structure">%s</div></t>
</t>
"""


def form_markup(text=TEXT, checked="", hidden="", kind="checkbox"):
    box = BOX % {"text": text, "checked": checked, "hidden": hidden, "type": kind}
    return FORM % {"box": box}


class WebsiteFormCase(HttpCase, MailchimpCase):
    """A page with a form that makes leads, and a visitor nobody knows."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.website = cls.env["website"].search([], limit=1)
        # Visits of tests have no language of their own but the website's.
        cls.website.default_lang_id = cls.env.ref("base.lang_en")

    def prepare(self):
        super().prepare()
        self.page = self.make_page()

    def make_page(self, url="/fair", **markup):
        return self.env["website.page"].create(
            {
                "name": "Fair",
                "type": "qweb",
                "url": url,
                "key": f"crm_mailchimp_website.{url[1:]}",
                "is_published": True,
                "website_id": self.website.id,
                "arch": PAGE % form_markup(**markup),
            }
        )

    def visit(self, url="/fair"):
        """Open a page and return what its form would send, nothing filled in."""
        found = self.url_open(url).text
        form = html.fromstring(found).xpath("//form[@data-model_name='crm.lead']")[0]
        return {name: value for name, value in form.form_values() if value}

    def send(self, values, **files):
        """Send a form, and return the lead it made."""
        before = self.env["crm.lead"].search([], limit=1, order="id desc").id
        answer = self.url_open(
            "/website/form/crm.lead", data=values, files=files or None
        ).json()
        self.assertTrue(answer.get("id"), answer)
        self.assertGreater(answer["id"], before)
        return self.env["crm.lead"].browse(answer["id"])

    def fill_in(self, tick=True, url="/fair", **values):
        """Fill in the form of a page as a visitor does, and send it."""
        values = {
            **self.visit(url),
            "contact_name": "Ann",
            "email_from": "ann@firma.be",
            "name": "A question",
            **values,
        }
        if tick:
            values.setdefault("mailchimp_opt_in", "Yes")
        return self.send(values)
