"""Random histories on a real Odoo, over HTTP, with the real scheduled action.

``HISTORIES`` and ``SEED`` say how many and which; both are printed, so that a failure
can be played again.
"""

import os
from functools import partial

from on_odoo.agreement import Agreement
from on_odoo.audiences import Audiences
from on_odoo.backups import Backups
from on_odoo.clocks import Clocks
from on_odoo.contacts import Contacts
from on_odoo.opt_outs import OptOuts
from on_odoo.options import Choices
from on_odoo.previews import Previews
from on_odoo.quiet import Quiet
from watcher.play import play

from odoo.tests import tagged

from odoo.addons.crm_mailchimp.tests.common import MailchimpCase

HISTORIES = int(os.environ.get("HISTORIES") or 60)
STEPS = int(os.environ.get("STEPS") or 30)
SEED = int(os.environ.get("SEED") or 1)


class OdooHistories(
    Contacts, Choices, Agreement, OptOuts, Audiences, Backups, Clocks, Previews, Quiet
):
    """All that may happen in a history on a real Odoo."""


@tagged("standard", "post_install", "-at_install")
class TestHistories(MailchimpCase):
    def prepare(self):
        super().prepare()
        self.other = self.env["res.company"].create({"name": "Another company"})

    def test_random_histories(self):
        print(f"\nHISTORIES={HISTORIES} STEPS={STEPS} SEED={SEED}")
        play(partial(OdooHistories, self), HISTORIES, STEPS, SEED)
