"""The web page: look at the account, and act as Mailchimp."""

from pathlib import Path
from urllib.parse import parse_qs, urlencode

from jinja2 import Environment, FileSystemLoader

from . import oauth
from .problems import Problem
from .render import member_view
from .routes.activity import history
from .routes.reports import numbers
from .routing import parse_query
from .server import Reply
from .state import STATUSES, iso

PAGE = 20
RECENT = 25


def _moment(seconds):
    """Return a time in a form for people."""
    return iso(int(seconds)).replace("T", " ").removesuffix("+00:00")


_templates = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=True,
    trim_blocks=True,
    lstrip_blocks=True,
)
_templates.filters["moment"] = _moment
_templates.filters["percent"] = lambda share: f"{100 * share:.1f} %"


def answer(simulator, received):
    parts = [part for part in received.path.split("/") if part]
    query = parse_query(received.query)
    if parts == ["oauth2", "authorize"]:
        with simulator.lock:
            return oauth.authorize(
                simulator,
                received,
                lambda status, name, **values: _html(
                    status, _render(name, simulator, {}, **values)
                ),
            )
    if received.method == "POST":
        form = parse_qs(received.body.decode(), keep_blank_values=True)
        form = {name: values[-1].strip() for name, values in form.items()}
        return _act(simulator, parts, form)
    try:
        with simulator.lock:
            return _html(200, _page(simulator, parts, query))
    except KeyError:
        return _html(404, _render("missing.html", simulator, query))


def _html(status, text):
    headers = {
        "Content-Type": "text/html; charset=utf-8",
        "Cache-Control": "no-store",
        "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'",
    }
    return Reply(status, headers, text.encode())


def _page(simulator, parts, query):
    if not parts:
        return _render("index.html", simulator, query, **_recent(simulator))
    if parts == ["calls"]:
        return _render("calls.html", simulator, query, **_recent(simulator, 500))
    if parts[0] != "audiences" or len(parts) not in (2, 4):
        raise KeyError
    audience = simulator.audience(parts[1])
    if len(parts) == 2:
        return _audience_page(simulator, audience, query)
    if parts[2] == "members":
        member = audience.by_hash[parts[3]]
        return _render(
            "member.html",
            simulator,
            query,
            audience=audience,
            member=member,
            view=member_view(member),
            history=history(member),
        )
    if parts[2] == "campaigns":
        campaign = audience.account.campaigns[parts[3]]
        return _render(
            "campaign.html",
            simulator,
            query,
            audience=audience,
            campaign=campaign,
            numbers=numbers(campaign),
            interests=_interests(audience),
        )
    raise KeyError


def _audience_page(simulator, audience, query):
    wanted = query.get("q", "").strip().lower()
    status = query.get("status", "")
    members = audience.members.values()
    if status in STATUSES:
        members = audience.by_status[status]
    found = [m for m in members if not wanted or _matches(m, wanted)]
    found.sort(key=lambda member: member.last_changed, reverse=True)
    last_page = max((len(found) - 1) // PAGE, 0)
    page = query.get("page", "0")
    page = min(int(page) if page.isdecimal() else 0, last_page)
    return _render(
        "audience.html",
        simulator,
        query,
        audience=audience,
        members=found[page * PAGE : (page + 1) * PAGE],
        total=len(found),
        page=page,
        last_page=last_page,
        wanted=query.get("q", ""),
        status=status,
        statuses=STATUSES,
        interests=_interests(audience),
        campaigns=[
            (campaign, numbers(campaign))
            for campaign in audience.account.campaigns.values()
            if campaign.audience.id == audience.id
        ],
        link=lambda **changed: "?" + urlencode({**query, "said": "", **changed}),
        **_recent(simulator),
    )


def _matches(member, wanted):
    values = " ".join(str(value) for value in member.merge_fields.values())
    return wanted in f"{member.email} {values}".lower()


def _interests(audience):
    """Return (interest, category, number of members) for each group."""
    return [
        (
            interest,
            category,
            sum(interest.id in member.interests for member in audience.current),
        )
        for category in audience.categories.values()
        for interest in category.interests.values()
    ]


def _recent(simulator, count=RECENT):
    calls = list(simulator.calls)
    return {
        "calls": calls[: -count - 1 : -1],
        "total_calls": len(calls),
        "violations": simulator.violations[:-11:-1],
    }


def _render(name, simulator, query, **values):
    template = _templates.get_template(name)
    return template.render(
        simulator=simulator,
        said=query.get("said", ""),
        failed=query.get("failed", ""),
        now=simulator.clock.now(),
        **values,
    )


# --- forms -----------------------------------------------------------------------


def _act(simulator, parts, form):
    """Do what a form asks for, and redirect to the page it came from."""
    back = form.pop("back", "/")
    if not back.startswith("/") or back.startswith("//"):
        back = "/"
    name = form.pop("act", "")
    try:
        act = _ACTS[name]
        if not parts:
            said = act(simulator, form)
        else:
            said = act(simulator.audience(parts[1]), form)
        outcome = {"said": said}
    except Problem as problem:
        details = [f"{field}: {text}" for field, text in problem.errors or ()]
        outcome = {"failed": " ".join([problem.detail, *details])}
    except (KeyError, TypeError, ValueError) as error:
        outcome = {"failed": str(error.args[0] if error.args else error)}
    return Reply(303, {"Location": f"{back}?{urlencode(outcome)}"})


def _add_audience(simulator, form):
    audience = simulator.add_audience(form.get("name") or "Audience")
    return f"Created the audience {audience.name}."


def _advance(simulator, form):
    hours = float(form["hours"])
    simulator.advance(hours * 3600)
    return f"It is {hours:g} hours later now."


def _revoke_app(simulator, form):
    simulator.revoke_app(form["client_id"])
    return "The app may not use the account any more."


def _add_member(audience, form):
    audience.add_member(
        form["email"], form.get("status", "subscribed"), merge_fields=_merges(form)
    )
    return f"{form['email']} is in the audience now."


def _merges(form):
    """Return the merge values of a form, which has no boxes for address fields."""
    return {
        name.removeprefix("merge_"): value
        for name, value in form.items()
        if name.startswith("merge_")
    }


def _edit(audience, form):
    member = audience.member(form["email"])
    interests = {
        interest_id: f"interest_{interest_id}" in form
        for interest_id in audience.interest_ids
    }
    audience.edit(member.email, merge_fields=_merges(form), interests=interests)
    if form.get("tag"):
        audience.tag(member.email, form["tag"])
    return f"Changed {member.email}."


def _change_address(audience, form):
    audience.change_address(form["email"], form["new"])
    return f"{form['email']} is {form['new']} now."


def _send(audience, form):
    wanted = form.get("to", "all")
    kind, _colon, value = wanted.partition(":")
    recipients = {kind: value} if value else "all"
    count = audience.send_campaign(form["campaign"], recipients)
    return f"Sent to {count} people."


def _generate(audience, form):
    shares = {
        name: float(form.get(name) or 0) / 100
        for name in (
            "opens",
            "clicks",
            "hard_bounces",
            "soft_bounces",
            "unsubscribes",
            "complaints",
        )
    }
    counts = audience.generate(form["campaign"], seed=None, **shares)
    return ", ".join(f"{name.replace('_', ' ')}: {n}" for name, n in counts.items())


def _add_campaign(audience, form):
    campaign = audience.add_campaign(
        form.get("type", "regular"), title=form.get("title") or None
    )
    return f"Created the campaign {campaign.title}."


def _simple(name, sentence):
    def act(audience, form):
        getattr(audience, name)(form["email"])
        return sentence.format(form["email"])

    return act


_ACTS = {
    "add_audience": _add_audience,
    "advance": _advance,
    "revoke_app": _revoke_app,
    "add_member": _add_member,
    "edit": _edit,
    "change_address": _change_address,
    "unsubscribe": _simple("unsubscribe", "{} unsubscribed."),
    "complain": _simple("complain", "{} complained."),
    "bounce": _simple("bounce", "Mail to {} bounced; the address is cleaned."),
    "archive": _simple("archive", "{} is archived."),
    "confirm": _simple("confirm", "{} confirmed the subscription."),
    "sign_up": _simple("sign_up", "{} signed up."),
    "delete_permanently": _simple("delete_permanently", "{} is deleted for good."),
    "add_campaign": _add_campaign,
    "send_campaign": _send,
    "generate": _generate,
}
