"""The add-on's side: one process that loads Odoo, works, and reports what it cost.

``python benchmarks/push.py CONFIG DATABASE WHAT [URL [IN_FLIGHT]]``, where WHAT is one
of idle, link, push, change, stats and totals. Two more do not use the add-on: *floor*
fetches the pages of a campaign and inserts their rows; *copy* reads the contacts as a
push does, and writes the rows of a ledger.
"""

import json
import sys
import tempfile
import time

from benchmarks import peak

LINK = """
env["ir.config_parameter"].set_param("crm_mailchimp.api_url", URL)
account = env["crm.mailchimp.account"].search([], limit=1)
if not account:
    account = env["crm.mailchimp.account"].create({"name": "Bench", "lang": "en_US"})
account.api_key = "0123456789abcdef0123456789abcdef-us21"
account.action_connect()
if not account.audience_ref:
    wizard = env["crm.mailchimp.choose.audience"].create({"account_id": account.id})
    wizard.line_id = wizard.line_ids[:1]
    wizard.action_link()
account.push_enabled = True
"""


def floor(cr, url):
    """Fetch every page as the add-on does, insert its rows, commit; nothing more."""
    import requests

    cr.execute(
        "INSERT INTO crm_mailchimp_campaign (account_id, campaign_ref, name)"
        " SELECT id, 'floor', 'Floor' FROM crm_mailchimp_account RETURNING id"
    )
    [campaign] = cr.fetchone()
    session, ids = requests.Session(), {}

    def pages(part, key):
        offset, total = 0, 1
        while offset < total:
            reply = session.get(
                f"{url}/reports/0123456789/{part}",
                params={"count": 500, "offset": offset},
                timeout=60,
            ).json()
            yield reply[key]
            offset, total = offset + len(reply[key]), reply["total_items"]
            cr.commit()

    for page in pages("sent-to", "sent_to"):
        rows = []
        for entry in page:
            number = ids[entry["email_id"]] = -len(ids) - 1
            rows.append(
                (number, campaign, entry["email_id"], entry["email_address"], "sent")
            )
        cr.execute_values(
            "INSERT INTO crm_mailchimp_recipient"
            " (id, campaign_id, email_hash, email_normalized, status) VALUES %s",
            rows,
            page_size=5000,
        )
    for page in pages("email-activity", "emails"):
        cr.execute_values(
            "INSERT INTO crm_mailchimp_recipient_event"
            " (recipient_id, kind, date, url, number) VALUES %s",
            [
                (
                    ids[entry["email_id"]],
                    event["action"],
                    event["timestamp"],
                    event.get("url", ""),
                    1,
                )
                for entry in page
                for event in entry["activity"]
            ],
            page_size=5000,
        )


def copy(cr):
    """Read contacts as a push does and write a ledger of as many rows, by COPY.

    :return: seconds
    """
    with tempfile.TemporaryFile() as rows, tempfile.TemporaryFile() as contacts:
        cr.copy_expert("COPY crm_mailchimp_member TO STDOUT", rows)
        rows.seek(0)
        cr.execute(
            "CREATE TABLE ledger_floor (LIKE crm_mailchimp_member INCLUDING ALL)"
        )
        start = time.monotonic()
        cr.copy_expert(
            "COPY (SELECT id, name, email, city, gender, lang, is_company, country_id,"
            " mailchimp_opt_in_date FROM res_partner WHERE mailchimp_opt_in) TO STDOUT",
            contacts,
        )
        cr.copy_expert("COPY ledger_floor FROM STDIN", rows)
        cr.commit()
        took = time.monotonic() - start
        cr.execute("DROP TABLE ledger_floor")
    return took


def change(env):
    """Change the contact of the first member sent: the one the server remembers."""
    member = env["crm.mailchimp.member"].search([], limit=1)
    member.partner_id.city = "Elsewhere"


def main(config, database, what, url="", in_flight=8):
    from odoo import SUPERUSER_ID, api
    from odoo.modules.registry import Registry
    from odoo.tools import config as settings

    settings.parse_config(["--config", config, "--database", database])
    registry = Registry(database)

    def run(function):
        with registry.cursor() as cr:
            return function(api.Environment(cr, SUPERUSER_ID, {}))

    run(lambda env: env["res.partner"].search([], limit=1).name)
    if what == "link":
        run(lambda env: exec(LINK, {"env": env, "URL": url}))
        what = "push"
    name = "odoo.addons.crm_mailchimp.models.slices"
    sys.modules[name].IN_FLIGHT["push"] = int(in_flight)
    if what == "change":
        run(change)
        what = "push"
    cpu, wall = time.process_time(), time.monotonic()
    if what == "floor":
        run(lambda env: floor(env.cr, url))
    took = run(lambda env: copy(env.cr)) if what == "copy" else None
    slices = []
    goal, what = what, "stats" if what == "totals" else what
    if what in ("push", "stats"):
        cron = f"crm_mailchimp.ir_cron_{what}"

        def ask(env):
            env["crm.mailchimp.account"].search([], limit=1)._request_run(what)

        def tick(env):
            env.ref(cron).method_direct_trigger()

        def state(env):
            return env["crm.mailchimp.run"].search([("kind", "=", what)], limit=1).state

        def totals(env):
            """Return whether the totals of every campaign are there."""
            known = env["crm.mailchimp.campaign"].search([])
            return known and all(known.mapped("report_date"))

        run(ask)
        while run(state) in ("queued", "running"):
            start = time.monotonic()
            run(tick)
            slices.append(time.monotonic() - start)
            if goal == "totals" and run(totals):
                break
    print(
        json.dumps(
            {
                "wall": took or time.monotonic() - wall,
                "cpu": time.process_time() - cpu,
                "longest": max(slices, default=0),
                "peak": peak(),
                "state": (
                    "done"
                    if goal == "totals"
                    else run(state)
                    if what in ("push", "stats")
                    else ""
                ),
            }
        )
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
