{
    "name": "CRM Mailchimp: Website Forms",
    "summary": "An opt-in on the website's contact form, with evidence of consent",
    "version": "19.0.1.0.0",
    "author": "crm_mailchimp contributors",
    "website": "https://github.com/crm-mailchimp/crm_mailchimp",
    "license": "LGPL-3",
    "category": "Website/Website",
    "depends": ["crm_mailchimp", "website_crm"],
    "auto_install": True,
    "data": ["views/crm_lead_views.xml"],
    "assets": {
        "website.website_builder_assets": [
            "crm_mailchimp_website/static/src/website_builder/**/*",
        ],
        "web.assets_tests": ["crm_mailchimp_website/static/tests/tours/**/*"],
    },
}
