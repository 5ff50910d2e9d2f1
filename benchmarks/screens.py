"""The screens' side: one process that loads Odoo and makes the web client's calls.

``python benchmarks/screens.py CONFIG DATABASE account|segments|count|measure [NAME]``
"""

import json
import sys
import time

PATIENCE = 30_000  # milliseconds for one statement
SEGMENTS = [(f"City {n}", f"[('city', '=', 'City {n}')]") for n in range(18)] + [
    ("With opt-in", "[('mailchimp_opt_in', '=', True)]"),
    ("People", "[('is_company', '=', False)]"),
]


def account(env):
    """Create a linked account and its flagged filters."""
    env["crm.mailchimp.account"].create(
        {
            "name": "Bench",
            "lang": "en_US",
            "state": "linked",
            "audience_ref": "canned",
            "audience_name": "Canned",
            "push_enabled": True,
        }
    )
    env["ir.filters"].create(
        [
            {
                "name": name,
                "model_id": "res.partner",
                "domain": domain,
                "mailchimp_sync": True,
                "mailchimp_owner_id": env.ref("base.user_admin").id,
                "user_ids": [],
            }
            for name, domain in SEGMENTS
        ]
    )


def segments(env):
    """Evaluate the segments as a run does."""
    found = env["crm.mailchimp.account"].search([])
    env["crm.mailchimp.segment"]._sync_with_filters(found)
    refs = {name: f"person{n}" for n, (name, _domain) in enumerate(SEGMENTS)}
    for segment in found.segment_ids:
        segment.person_ref = refs[segment.name]
    found.segment_ids._evaluate()


def count(env):
    """Count the contacts twice, as after two runs: all of them, then what differs.

    :return: the seconds of each
    """
    found = env["crm.mailchimp.account"].search([])
    seconds = []
    for _turn in range(2):
        start = time.monotonic()
        found._count_contacts()
        env.cr.commit()
        seconds.append(time.monotonic() - start)
    return seconds


def fields_of(env, model, view_type="list"):
    """Return the fields the web client would ask for, taken from the view itself."""
    view = env[model].get_view(view_type=view_type)
    names = env[model].fields_get(attributes=["type"])
    asked = {}
    for name in view["models"][model]:
        kind = names[name]["type"]
        asked[name] = (
            {"fields": {"display_name": {}}}
            if kind in ("many2one", "many2many", "one2many")
            else {}
        )
    return asked


def calls(env):
    """Return ``{name: function}``; each function asks the server for one screen."""
    Status = env["crm.mailchimp.contact.status"]
    Difference = env["crm.mailchimp.segment.contact"]
    Partner, Lead = env["res.partner"], env["crm.lead"]
    Account = env["crm.mailchimp.account"]
    segments = {
        segment.name: segment.id for segment in env["crm.mailchimp.segment"].search([])
    }
    with_opt_in = [("reason", "!=", "no_opt_in")]

    def page(model, domain, offset=0, limit=80):
        asked = fields_of(env, model._name)

        def read():
            found = model.web_search_read(
                domain, asked, offset=offset, limit=limit, count_limit=10001
            )
            return found["length"]

        return read

    def groups(model, domain, by):
        return lambda: [
            (group[by], group["__count"])
            for group in model.web_read_group(
                domain, [by], ["__count"], limit=80, auto_unfold=False
            )["groups"]
        ][:8]

    def form(record, asked=None):
        asked = asked or fields_of(env, record._name, "form")
        return lambda: len(record.web_read(asked))

    lead, lead_of_contact = (
        Lead.search([("partner_id", operator, False)], limit=1, order="id")
        for operator in ("=", "!=")
    )
    contact = Partner.browse(1000012)

    def count(model, domain):
        return lambda: model.search_count(domain)

    def first(model, domain):
        return lambda: len(model.search(domain, limit=80))

    found = {
        "status list, first page": page(Status, with_opt_in),
        "status list, page 100": page(Status, with_opt_in, offset=8000),
        "status list, all contacts": page(Status, []),
        "status list, out": page(Status, [("status", "=", "out")]),
        "status list, waiting": page(Status, [("status", "=", "waiting")]),
        "status list, one name": page(Status, [("partner_id", "ilike", "First777 ")]),
        "status list, one address": page(Status, [("email", "ilike", "p777@")]),
        "counts by reason": groups(Status, with_opt_in, "reason"),
        "counts by status": groups(Status, [], "status"),
        "list of segments": page(env["crm.mailchimp.segment"], []),
    }
    for name in ("City 7", "With opt-in"):
        domain = [("segment_id", "=", segments[name])]
        missing = [*domain, ("status", "!=", "in")]
        found[f"segment {name}: missing"] = page(Difference, missing)
        found[f"segment {name}: by reason"] = groups(Difference, missing, "reason")
        found[f"segment {name}: all"] = page(Difference, domain)
    for period in ("30", "90", "365", "all"):
        found[f"overview, {period} days"] = lambda period=period: len(
            Account.get_overview(period)
        )
    found["overview, audience"] = lambda: [
        (line["reason"], line["count"])
        for line in Account.get_overview_audience()["skipped"]
    ][:8]
    invalid = env["crm.mailchimp.invalid.email"]
    found["invalid emails"] = page(invalid, [])
    found["members"] = page(env["crm.mailchimp.member"], [])
    for field, values in {
        "mailchimp_status": ("in", "waiting", "out"),
        "mailchimp_reason": ("cleaned", "shared_address"),
    }.items():
        for value in values:
            domain = [(field, "=", value)]
            found[f"contacts: {field} = {value}"] = page(Partner, domain)
    for model, title in ((Partner, "contacts"), (Lead, "leads")):
        for domain in (
            [("mailchimp_never_opened", "=", True)],
            [("mailchimp_never_opened", "=", False)],
            [("mailchimp_last_open", "=", False)],
            [("mailchimp_last_open", "!=", False)],
            [("mailchimp_last_open", ">", "2026-10-01")],
            [("mailchimp_last_open", "<", "2026-06-01")],
            [("mailchimp_last_click", "=", False)],
            [("mailchimp_last_click", "<", "2026-06-01")],
            [("mailchimp_bounced", "=", "hard")],
            [("mailchimp_bounced", "=", False)],
            [("mailchimp_campaign_count", ">", 5)],
            [("mailchimp_campaign_count", "=", 0)],
        ):
            found[f"{title}: {' '.join(map(str, domain[0]))}"] = page(model, domain)
    found["segment: never opened"] = count(
        Partner, [("mailchimp_never_opened", "=", True)]
    )
    found["segment: last open not set"] = count(
        Partner, [("mailchimp_last_open", "=", False)]
    )
    found["form of a contact"] = form(contact)
    found["page Marketing of a contact"] = lambda: len(contact.mailchimp_card())
    found["form of a lead"] = form(lead)
    found["form of a lead with a contact"] = form(lead_of_contact)
    shown = {
        name: {}
        for name in (
            *("mailchimp_campaign_count", "mailchimp_last_open", "mailchimp_bounced"),
            *("mailchimp_last_click", "mailchimp_never_opened"),
        )
    }
    for model, title in ((Partner, "contacts"), (Lead, "leads")):
        records = model.search([("id", ">", 1000) if model == Partner else (1, "=", 1)])
        found[f"engagement of 80 {title}"] = form(records[:80], shown)
    return found


def measure(env, wanted=""):
    """Ask three times and return the best: others use the machine, too.

    :param wanted: measure only the screens whose name contains this
    :return: ``{name: (seconds, queries, result)}``
    """
    from psycopg2.errors import QueryCanceled

    from odoo.tools import mute_logger

    env = env(user=env.ref("base.user_admin"))
    figures = {}
    for name, call in calls(env).items():
        if wanted and wanted not in name:
            continue
        best = None
        for _turn in range(3):
            env.invalidate_all()
            start, before = time.monotonic(), env.cr.sql_log_count
            result = "given up"
            try:
                with mute_logger("odoo.sql_db"), env.cr.savepoint():
                    env.cr.execute("SET LOCAL statement_timeout = %s", (PATIENCE,))
                    result = call()
            except QueryCanceled:
                pass
            seconds = time.monotonic() - start
            queries = env.cr.sql_log_count - before
            if best is None or seconds < best[0]:
                best = seconds, queries, str(result)[:60]
            if seconds > 5:
                break
        figures[name] = best
        if wanted:
            print(name, *figures[name], file=sys.stderr, flush=True)
    return figures


def main(config, database, what, *arguments):
    from odoo import SUPERUSER_ID, api
    from odoo.modules.registry import Registry
    from odoo.tools import config as settings

    settings.parse_config(["--config", config, "--database", database])
    with Registry(database).cursor() as cr:
        env = api.Environment(cr, SUPERUSER_ID, {})
        print(json.dumps(globals()[what](env, *arguments)))


if __name__ == "__main__":
    main(*sys.argv[1:])
