"""The control API: everything the Python handle can do, for other processes.

JSON in, JSON out, under ``/control``. README.md has the table.
"""

import json

from .acts import PUBLIC
from .problems import Problem
from .render import member_view
from .routing import parse_query
from .server import Reply
from .state import Member


def answer(simulator, received):
    """Return a Reply with JSON; 400 and 404 have ``{"error": sentence}``."""
    parts = [part for part in received.path.split("/") if part][1:]
    try:
        body = json.loads(received.body) if received.body.strip() else {}
        data = _dispatch(simulator, received.method, parts, body, received)
    except Problem as problem:
        return _reply(400, {"error": problem.detail, **problem.body("")})
    except KeyError as error:
        return _reply(404, {"error": str(error.args[0])})
    except (TypeError, ValueError) as error:
        return _reply(400, {"error": str(error)})
    return _reply(200, data)


def _reply(status, data):
    raw = json.dumps(data, default=plain).encode()
    return Reply(status, {"Content-Type": "application/json"}, raw)


def plain(value):
    """Return what identifies an object that an act returned, as plain data."""
    if isinstance(value, Member):
        return member_view(value)
    if isinstance(value, (set, tuple, frozenset)):
        return sorted(value)
    shown = {"id": getattr(value, "id", None)}
    for name in ("name", "title", "tag", "merge_id", "type", "status"):
        if hasattr(value, name):
            shown[name] = getattr(value, name)
    return shown


def _dispatch(simulator, method, parts, body, received):
    name = parts[0] if parts else ""
    if name == "audiences":
        return _audiences(simulator, method, parts[1:], body, received)
    handler = _HANDLERS.get((method, name))
    if handler is None or len(parts) > 1:
        raise KeyError(f"There is no {method} {received.path}; see the README.")
    return handler(simulator, body, parse_query(received.query))


def _audiences(simulator, method, parts, body, received):
    if not parts:
        if method == "POST":
            return _summary(simulator.add_audience(**body))
        return [_summary(audience) for audience in simulator.audiences]
    audience = simulator.audience(parts[0])
    if len(parts) == 1 and method == "GET":
        return _details(audience, parse_query(received.query))
    if len(parts) == 2 and method == "POST":
        if parts[1] not in PUBLIC:
            raise KeyError(f"There is no act {parts[1]!r}; known: {', '.join(PUBLIC)}.")
        with simulator.lock:
            return json.loads(
                json.dumps(getattr(audience, parts[1])(**body), default=plain)
            )
    raise KeyError(f"There is no {method} {received.path}; see the README.")


def _summary(audience):
    return {"id": audience.id, "name": audience.name, "counts": audience.counts()}


def _details(audience, query):
    """Return an audience with its groups, tags and campaigns, and with its members.

    ``?members=false`` leaves the members out.
    """
    with audience._lock:
        data = _summary(audience)
        data["merge_fields"] = [f.tag for f in audience.merge_fields.values()]
        data["categories"] = [
            {
                "id": c.id,
                "title": c.title,
                "interests": [
                    {
                        "id": i.id,
                        "name": i.name,
                        "members": sum(i.id in m.interests for m in audience.current),
                    }
                    for i in c.interests.values()
                ],
            }
            for c in audience.categories.values()
        ]
        data["segments"] = [
            {"id": s.id, "name": s.name, "type": s.type, "members": len(s.members)}
            for s in audience.segments.values()
        ]
        data["forgotten"] = len(audience.forgotten)
        data["campaigns"] = [
            {
                "id": c.id,
                "title": c.title,
                "type": c.type,
                "status": c.status,
                "emails_sent": len(c.recipients),
            }
            for c in audience.account.campaigns.values()
            if c.audience.id == audience.id
        ]
        if query.get("members") != "false":
            data["members"] = {
                address: {
                    "status": m.status,
                    "merge_fields": m.merge_fields,
                    "interests": m.interest_names,
                    "tags": m.tag_names,
                }
                for address, m in audience.members.items()
            }
        return data


def _calls(simulator, body, query):
    data = simulator.overview()
    if query.get("bodies") != "true":
        for call in data["calls"]:
            del call["body"]
    if "since" in query:
        since = int(query["since"])
        data["calls"] = [c for c in data["calls"] if c["number"] > since]
    return data


def _clear(simulator, body, query):
    simulator.clear_calls()
    return {}


def _reset(simulator, body, query):
    simulator.reset()
    return {}


def _faults(simulator, body, query):
    return simulator.faults.describe()


def _add_fault(simulator, body, query):
    simulator.faults.add(**body)
    return simulator.faults.describe()


def _clear_faults(simulator, body, query):
    simulator.faults.clear()
    return {}


def _latency(simulator, body, query):
    simulator.latency(**body)
    return simulator.faults.describe()


def _hold(simulator, body, query):
    simulator.hold(**body)
    return simulator.faults.describe()


def _paused(simulator, body, query):
    return {"paused": simulator.paused()}


def _release(simulator, body, query):
    return {"released": simulator.release()}


def _switches(simulator, body, query):
    return vars(simulator.switches)


def _set_switches(simulator, body, query):
    simulator.switches.update(**body)
    return vars(simulator.switches)


def _clock(simulator, body, query):
    if "advance" in body:
        simulator.advance(float(body["advance"]))
    if "set" in body:
        simulator.clock.set(body["set"])
    return {"now": simulator.clock.now(), "offset": simulator.clock.offset}


def _keys(simulator, body, query):
    """``{"key": ..., "do": "add"|"revoke"|"restore"|"disable", "role": ...}``"""
    key = body.get("key") or simulator.api_key
    act = body.get("do", "add")
    if act == "add":
        simulator.add_key(key, body.get("role", "owner"))
    elif act == "revoke":
        simulator.revoke_key(key)
    elif act == "restore":
        simulator.restore_key(key)
    elif act == "disable":
        simulator.disable_user(key)
    else:
        raise ValueError('What to "do" with a key: add, revoke, restore, disable.')
    return {}


def _add_app(simulator, body, query):
    """``{"client_id", "client_secret", "redirect_uri", "name"}``"""
    simulator.add_app(**body)
    return {}


def _revoke_app(simulator, body, query):
    """``?client_id=``; without one, revoke the logins of all apps."""
    simulator.revoke_app(query.get("client_id"))
    return {}


def _deliveries(simulator, body, query):
    return {
        "deliveries": simulator.deliveries.log,
        "waiting": len(simulator.deliveries.waiting),
    }


def _handle_deliveries(simulator, body, query):
    """``{"do": "hold"}``, or ``{"do": "release"}`` with ``order, times, seed``."""
    act = body.pop("do", "release")
    if act == "hold":
        simulator.deliveries.hold()
        return {}
    if act == "release":
        return {"released": simulator.deliveries.release(**body)}
    raise ValueError('What to "do" with deliveries: hold, release.')


_HANDLERS = {
    ("GET", "calls"): _calls,
    ("DELETE", "calls"): _clear,
    ("POST", "reset"): _reset,
    ("GET", "faults"): _faults,
    ("POST", "faults"): _add_fault,
    ("DELETE", "faults"): _clear_faults,
    ("POST", "latency"): _latency,
    ("POST", "hold"): _hold,
    ("GET", "paused"): _paused,
    ("POST", "release"): _release,
    ("GET", "switches"): _switches,
    ("POST", "switches"): _set_switches,
    ("GET", "clock"): _clock,
    ("POST", "clock"): _clock,
    ("POST", "keys"): _keys,
    ("POST", "apps"): _add_app,
    ("DELETE", "apps"): _revoke_app,
    ("GET", "deliveries"): _deliveries,
    ("POST", "deliveries"): _handle_deliveries,
}
