"""What ``make demo`` does once Odoo and the simulator are up, all through their APIs.

The story: connect an account, link the empty audience, push the demo contacts, let the
simulated Mailchimp send a year of (backdated) campaigns and people react, import the
results, and say what happened.
"""

import json
import time
import urllib.request
import uuid
from datetime import datetime, timedelta, timezone

# The key the simulator accepts by default.
API_KEY = "0123456789abcdef0123456789abcdef-us21"


class StoryError(Exception):
    """A step failed; the message says which and why."""


def tell(instance, simulator_url, say=print):
    """Play the story and print the numbers; a second run reuses what is there.

    :param instance: running :class:`tools.instance.Instance`
    :param str simulator_url: root of the simulator, without ``/3.0``
    :param say: called with each line to print
    :raise StoryError: when a step fails
    """
    odoo = _Odoo(instance)
    mailchimp = _Mailchimp(simulator_url)
    # The address webhooks are delivered to.
    odoo.call("ir.config_parameter", "set_param", "web.base.url", instance.url)
    _register(odoo, mailchimp, instance.url, say)
    account = _connect(odoo, mailchimp, say)
    run = _run(odoo, account, "action_sync_now")
    _say_push(odoo, account, run, say)
    _send_campaigns(odoo, mailchimp, say)
    _run(odoo, account, "action_sync_now")
    _run(odoo, account, "action_import_stats")
    _say_campaigns(odoo, say)


class _Odoo:
    def __init__(self, instance):
        self.call = instance.rpc

    def read(self, model, domain, fields, **options):
        return self.call(model, "search_read", domain, fields, **options)


class _Mailchimp:
    def __init__(self, url):
        self.url = url.rstrip("/")

    def get(self, path):
        with urllib.request.urlopen(self.url + path, timeout=30) as reply:
            return json.load(reply)

    def post(self, path, **values):
        request = urllib.request.Request(
            self.url + path,
            json.dumps(values).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=120) as reply:
            return json.load(reply)


def _register(odoo, mailchimp, odoo_url, say):
    """Register an app in Mailchimp, so that users can log in instead of using a key."""
    app = {"client_id": "635959587059", "client_secret": uuid.uuid4().hex}
    # Must match the address Mailchimp sends the browser back to: not localhost.
    odoo.call("ir.config_parameter", "set_param", "web.base.url", odoo_url)
    mailchimp.post(
        "/control/apps",
        redirect_uri=f"{odoo_url}/crm_mailchimp/login",
        name="Odoo demo",
        **app,
    )
    settings = odoo.call(
        "res.config.settings",
        "create",
        [{f"mailchimp_{name}": value for name, value in app.items()}],
    )
    odoo.call("res.config.settings", "execute", settings)
    say("Registered an app: “Log in to Mailchimp” works, too.")


def _connect(odoo, mailchimp, say):
    audiences = mailchimp.get("/control/audiences")
    odoo.call(
        "ir.config_parameter",
        "set_param",
        "crm_mailchimp.api_url",
        f"{mailchimp.url}/3.0",
    )
    linked = odoo.read(
        "crm.mailchimp.account",
        [("audience_ref", "!=", False)],
        ["audience_ref", "state"],
        limit=1,
    )
    known = {audience["id"] for audience in audiences}
    if linked and linked[0]["audience_ref"] in known:
        say("The account is connected already.")
        return linked[0]["id"]
    # If the simulator's state file is gone, so is the linked audience: the account
    # then links a new one, just as a user who changes the audience would.
    account = (
        linked[0]["id"]
        if linked
        else odoo.call("crm.mailchimp.account", "create", [{"name": "Mailchimp"}])[0]
    )
    odoo.call("crm.mailchimp.account", "write", [account], {"api_key": API_KEY})
    odoo.call("crm.mailchimp.account", "action_connect", [account])
    wizard = odoo.call("crm.mailchimp.account", "action_choose_audience", [account])[
        "res_id"
    ]
    (lines,) = odoo.call(
        "crm.mailchimp.choose.audience", "read", [wizard], ["line_ids"]
    )
    odoo.call(
        "crm.mailchimp.choose.audience",
        "write",
        [wizard],
        {"line_id": lines["line_ids"][0]},
    )
    action = odoo.call("crm.mailchimp.choose.audience", "action_link", [wizard])
    if action["type"] != "ir.actions.client":
        raise StoryError("The demo audience should be empty, but it is not.")
    say("Connected, and linked the empty audience.")
    # Linking another audience archives the account and continues with a new one.
    linked = odoo.read(
        "crm.mailchimp.account", [("audience_ref", "!=", False)], ["id"], limit=1
    )
    return linked[0]["id"]


def _run(odoo, account, button, patience=300):
    """Press a button and wait for the scheduled action to finish the run."""
    kinds = ["stats"] if button == "action_import_stats" else ["push", "full"]
    domain = [("account_id", "=", account), ("kind", "in", kinds)]
    # The run that linking requested may still be under way: the button would join it.
    fields = ["state", "error_message", "counters", "summary", "progress_label"]
    deadline = time.monotonic() + patience

    def wait():
        while time.monotonic() < deadline:
            runs = odoo.read(
                "crm.mailchimp.run", domain, fields, limit=1, order="id desc"
            )
            if runs and runs[0]["state"] in ("done", "failed", "brake", "cancelled"):
                return runs[0]
            time.sleep(0.5)
        raise StoryError("The scheduled action of Odoo did not finish in time.")

    if odoo.read("crm.mailchimp.run", domain, ["id"], limit=1):
        wait()
    odoo.call("crm.mailchimp.account", button, [account])
    run = wait()
    if run["state"] != "done":
        raise StoryError(run["error_message"] or f"The run is {run['state']}.")
    return run


def _say_push(odoo, account, run, say):
    counters = run["counters"] or {}
    members = odoo.call(
        "crm.mailchimp.member",
        "search_count",
        [("account_id", "=", account), ("status", "=", "subscribed")],
    )
    say(f"Contacts pushed: {counters.get('created', 0)} now, {members} in the audience")
    reasons = dict(
        odoo.call("crm.mailchimp.contact.status", "fields_get", ["reason"])["reason"][
            "selection"
        ]
    )
    skipped = odoo.call(
        "crm.mailchimp.contact.status",
        "formatted_read_group",
        [("account_id", "=", account), ("status", "=", "out")],
        ["reason"],
        ["__count"],
    )
    say("Contacts skipped, by reason:")
    for group in skipped:
        say(f"  {group['__count']:>4}  {reasons.get(group['reason'], group['reason'])}")
    segments = odoo.read(
        "crm.mailchimp.segment",
        [("account_id", "=", account)],
        ["name", "matching_count", "member_count"],
    )
    say(f"Groups created: {counters.get('groups_created', 0)} now, for these filters:")
    for segment in segments:
        say(
            f"  {segment['name']}: contacts that match {segment['matching_count']},"
            f" in Mailchimp {segment['member_count']}"
        )
    if not members:
        raise StoryError("No contact reached the audience.")


# Title, type, days ago; shares of opens, clicks, bounces and unsubscribes.
CAMPAIGNS = (
    ("New Year's greetings", "regular", 318, 0.55, 0.10, 0.0, 0.0),
    ("Spring collection", "regular", 236, 0.40, 0.08, 0.0, 0.05),
    ("Service notice", "plaintext", 171, 0.72, 0.04, 0.0, 0.0),
    ("Summer sale", "regular", 122, 0.34, 0.18, 0.06, 0.05),
    ("Which subject?", "variate", 83, 0.48, 0.14, 0.0, 0.0),
    ("Back to work", "regular", 54, 0.22, 0.03, 0.0, 0.05),
    ("Autumn news", "regular", 24, 0.60, 0.25, 0.0, 0.0),
    ("Invitation", "regular", 5, 0.66, 0.33, 0.04, 0.04),
)
AUTOMATION = ("Welcome", (("Welcome", 47, 0.85, 0.40), ("A week later", 40, 0.60, 0.2)))


def _send_campaigns(odoo, mailchimp, say):
    """Let Mailchimp send campaigns, dated over the past year, and people react."""
    audience = mailchimp.get("/control/audiences")[0]["id"]
    details = mailchimp.get(f"/control/audiences/{audience}?members=false")
    if any(campaign["status"] == "sent" for campaign in details["campaigns"]):
        return
    contacts = odoo.read(
        "res.partner",
        [("mailchimp_opt_in", "=", True), ("email_normalized", "!=", False)],
        ["email_normalized", "mailchimp_opt_in_date"],
    )

    def act(name, **values):
        return mailchimp.post(f"/control/audiences/{audience}/{name}", **values)

    def send(title, kind, days, reactions, parent=None):
        at = datetime.now(timezone.utc).replace(tzinfo=None) - timedelta(days=days)
        campaign = act(
            "add_campaign", title=title, subject=title, type=kind, parent=parent
        )["id"]
        # Nobody got a campaign before opting in.
        recipients = [
            contact["email_normalized"]
            for contact in contacts
            if contact["mailchimp_opt_in_date"] < at.isoformat(" ", "seconds")
        ]
        act(
            "send_campaign",
            campaign=campaign,
            recipients=recipients,
            send_time=at.isoformat(),
        )
        act("generate", campaign=campaign, within=2 * 86400, seed=days, **reactions)

    for title, kind, days, opens, clicks, bounces, unsubscribes in CAMPAIGNS:
        reactions = {
            "opens": opens,
            "clicks": clicks,
            "hard_bounces": bounces,
            "soft_bounces": bounces / 2,
            "unsubscribes": unsubscribes,
        }
        send(title, kind, days, reactions)
    title, mails = AUTOMATION
    parent = act("add_campaign", title=title, subject=title, type="automation")["id"]
    for title, days, opens, clicks in mails:
        send(title, "automation", days, {"opens": opens, "clicks": clicks}, parent)
    say(
        f"Mailchimp sent {len(CAMPAIGNS) + 1} campaigns over the past year, an A/B test"
        " and an automation among them; people opened, clicked and unsubscribed."
    )


def _say_campaigns(odoo, say):
    campaigns = odoo.read(
        "crm.mailchimp.campaign",
        [("status", "in", ("sent", "sending")), ("parent_id", "=", False)],
        ["name", "sent", "opens_unique", "clicks_unique", "unsubscribed", "bounces"],
    )
    if not campaigns:
        raise StoryError("No campaign came back.")
    say(f"Campaigns imported: {len(campaigns)}")
    for campaign in campaigns:
        say(
            f"  {campaign['name']}: sent {campaign['sent']},"
            f" opened by {campaign['opens_unique']},"
            f" clicked by {campaign['clicks_unique']},"
            f" unsubscribed {campaign['unsubscribed']}, bounced {campaign['bounces']}"
        )
