"""What the log of an installation is blamed for."""

import pytest

from tools.instance import complaints

START = "2026-11-25 11:00:00,000 7 "
OTHERS = [
    f"{START}INFO db odoo.modules.loading: crm_mailchimp loaded",
    f"{START}WARNING ? odoo.tools.config: something about the server",
    f"{START}WARNING db py.warnings: /usr/lib/x.py:1: DeprecationWarning: old\n"
    '  File "/usr/lib/odoo/addons/crm/models/crm_lead.py", line 1, in f\n',
]
OURS = [
    f"{START}WARNING db odoo.models: some other warning",
    f"{START}ERROR db odoo.sql_db: bad query",
    f"{START}WARNING db py.warnings: /usr/lib/odoo/orm/fields.py:845: UserWarning:"
    " Field 'open_run_id' in dependency of crm.mailchimp.account.health_message should"
    " be searchable.",
    f"{START}WARNING db py.warnings: /usr/lib/odoo/x.py:1: DeprecationWarning: old\n"
    '  File "/src/crm_mailchimp/sync/pull.py", line 1, in f\n',
]


@pytest.mark.parametrize("record", OTHERS)
def test_not_ours(record, tmp_path):
    log = tmp_path / "log"
    log.write_text(f"{OTHERS[0]}\n{record}\n")
    assert complaints(log) == []


@pytest.mark.parametrize("record", OURS)
def test_ours(record, tmp_path):
    log = tmp_path / "log"
    log.write_text(f"{OTHERS[0]}\n{record}\n{OTHERS[0]}\n")
    assert complaints(log) == [record.partition("\n")[0]]
