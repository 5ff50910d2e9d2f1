"""What the add-on decides and sends, free of Odoo.

Nothing below this package may import ``odoo``: the rules about consent are tested
in milliseconds, by themselves. Only relative imports are used inside, because the
package is ``odoo.addons.crm_mailchimp.engine`` in Odoo and ``engine`` in its tests.
"""
