"""The add-on's side: one process that loads Odoo and pushes, and says what it cost.

``python benchmarks/push.py CONFIG DATABASE idle|link|push [URL]``
"""

import json
import resource
import sys
import time

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


def main(config, database, what, url=""):
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
    cpu, wall = time.process_time(), time.monotonic()
    if what == "push":

        def ask(env):
            env["crm.mailchimp.account"].search([], limit=1)._request_run("push")

        def tick(env):
            env.ref("crm_mailchimp.ir_cron_push").method_direct_trigger()

        def state(env):
            return (
                env["crm.mailchimp.run"].search([("kind", "=", "push")], limit=1).state
            )

        run(ask)
        while run(state) in ("queued", "running"):
            run(tick)
    print(
        json.dumps(
            {
                "wall": time.monotonic() - wall,
                "cpu": time.process_time() - cpu,
                "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
                "state": run(state) if what == "push" else "",
            }
        )
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
