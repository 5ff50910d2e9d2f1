"""Webhooks of an audience."""

from .. import problems, rules, shape
from ..routing import route
from ..webhooks import EVENTS, SOURCES, Webhook, probe

HOOKS = "/lists/{list_id}/webhooks"
HOOK = HOOKS + "/{webhook_id}"
_HOOK = shape.obj(
    url=shape.STRING,
    events=shape.obj(**dict.fromkeys(EVENTS, shape.BOOLEAN)),
    sources=shape.obj(**dict.fromkeys(SOURCES, shape.BOOLEAN)),
)


def hook_view(audience, hook):
    return {
        "id": hook.id,
        "url": hook.url,
        "events": {name: name in hook.events for name in EVENTS},
        "sources": {name: name in hook.sources for name in SOURCES},
        "list_id": audience.id,
    }


@route("GET", HOOKS)
def get_webhooks(request, list_id):
    audience = request.audience(list_id)
    found = [hook_view(audience, h) for h in audience.webhooks.values()]
    return {"webhooks": found, "list_id": list_id, "total_items": len(found)}


@route("POST", HOOKS, locked=False)
def add_webhook(request, list_id):
    audience = request.audience(list_id)
    body = request.body
    rules.check_shape(_HOOK, body)
    if not body.get("url"):
        raise problems.missing("url")
    _check_url(audience, body["url"])
    hook = Webhook(request.account.new_id(), body["url"])
    _apply(hook, body)
    if not request.account.switches.webhooks_signed:
        hook.secret = None
    audience.webhooks[hook.id] = hook
    # The secret is shown only here, once.
    secret = {"signing_secret": hook.secret} if hook.secret else {}
    return {**hook_view(audience, hook), **secret}


def _check_url(audience, url):
    """Probe the URL as Mailchimp does; no lock is held while its answer is awaited."""
    plain = url.partition("?")[0]
    if any(h.url.partition("?")[0] == plain for h in audience.webhooks.values()):
        raise problems.Problem(
            400,
            "Resource Conflict",
            "Sorry, you can't set up multiple WebHooks for one URL",
        )
    status = probe(url)
    if status != 200:
        raise problems.schema(
            (
                "url",
                "We couldn't verify the URL is working. Please double check and try "
                f"again. HTTP Code: {status}",
            )
        )


def _apply(hook, body):
    """Set events and sources, which are off unless switched on."""
    for name in ("events", "sources"):
        if name in body:
            on = {key for key, value in body[name].items() if value}
            off = set(body[name]) - on
            setattr(hook, name, (getattr(hook, name) | on) - off)


def _find(request, list_id, webhook_id):
    audience = request.audience(list_id)
    hook = audience.webhooks.get(webhook_id)
    if hook is None:
        raise problems.not_found()
    return audience, hook


@route("GET", HOOK)
def get_webhook(request, list_id, webhook_id):
    return hook_view(*_find(request, list_id, webhook_id))


@route("PATCH", HOOK, locked=False)
def change_webhook(request, list_id, webhook_id):
    audience, hook = _find(request, list_id, webhook_id)
    rules.check_shape(_HOOK, request.body)
    url = request.body.get("url", hook.url)
    if url != hook.url:
        _check_url(audience, url)
        hook.url = url
    _apply(hook, request.body)
    return hook_view(audience, hook)


@route("DELETE", HOOK)
def delete_webhook(request, list_id, webhook_id):
    audience, hook = _find(request, list_id, webhook_id)
    del audience.webhooks[hook.id]
