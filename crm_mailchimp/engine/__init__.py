"""What the add-on decides and sends, free of Odoo.

Nothing in this package may import ``odoo``, so that the rules about consent can be
tested on their own, in milliseconds. Only relative imports are used inside, because the
package is ``odoo.addons.crm_mailchimp.engine`` in Odoo and ``engine`` in its tests.
"""
