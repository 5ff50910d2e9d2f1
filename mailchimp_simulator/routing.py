"""Finds the handler for a method and path, and defines the request it is given."""

from dataclasses import dataclass
from datetime import timezone
from urllib.parse import parse_qsl, unquote

from . import problems
from .state import parse_time

MAX_COUNT = 1000


@dataclass
class Request:
    """One API call, direct or inside a batch."""

    account: object
    method: str
    path: str
    query: dict
    body: object = None
    ip: str = "127.0.0.1"
    #: Where the client reaches the API, for links in answers.
    base_url: str = ""
    #: Template of the matched route, as the specification writes it.
    template: str = ""
    #: Set by handlers: the number of members the call dealt with, for latency.
    weight: int = 0
    #: The user's key (``state.ApiKey``); none inside a batch.
    key: object = None

    def flag(self, name):
        """Return a boolean of the query; only lower case counts, unless switched on."""
        value = self.query.get(name, "")
        if self.account.switches.capital_true_counts:
            value = value.lower()
        return value in ("true", "1")

    def integer(self, name, default, largest=None):
        text = self.query.get(name)
        if text is None:
            return default
        try:
            value = int(text)
        except ValueError:
            raise problems.schema(
                (name, "Schema describes integer, string found instead")
            ) from None
        if value < 0 or (largest is not None and value > largest):
            limits = "at least 0" if largest is None else f"between 0 and {largest}"
            raise problems.schema((name, f"Must be {limits}."))
        return value

    def page(self):
        """:return: (count, offset)."""
        return self.integer("count", 10, MAX_COUNT), self.integer("offset", 0)

    def choice(self, name, *allowed):
        value = self.query.get(name)
        if value is not None and value not in allowed:
            raise problems.schema(
                (
                    name,
                    "Data presented is not one of the accepted values: "
                    f"{', '.join(allowed)}.",
                )
            )
        return value

    def time(self, name):
        """Return a time in the query as seconds since 1970, or None.

        Its UTC offset is ignored unless a switch says otherwise, as observed in the
        real service.
        """
        text = self.query.get(name)
        if text is None:
            return None
        try:
            moment = parse_time(text)
        except ValueError:
            raise problems.schema((name, "Invalid date or time")) from None
        if self.account.switches.query_offset_ignored:
            moment = moment.replace(tzinfo=timezone.utc)
        return moment.timestamp()

    def window(self, since, before, value):
        """Return whether ``value`` (seconds) lies between two times of the query.

        ``since`` and ``before`` come from ``time()``; None leaves a side open.
        """
        if since is not None:
            if value < since:
                return False
            if value == since and not self.account.switches.since_inclusive:
                return False
        return before is None or value < before

    def audience(self, list_id):
        """Return the audience with this id. :raise Problem: 404."""
        found = self.account.audiences.get(list_id)
        if found is None:
            raise problems.not_found()
        return found


@dataclass
class Route:
    method: str
    template: str
    handler: object
    #: Run under the simulator's lock. Off for handlers that wait for another server.
    locked: bool = True


_ROUTES = {}


def route(method, template, locked=True):
    """Register a handler: ``handler(request, **path_values) -> data``.

    ``data`` is a dict (200) or None (204); to refuse, the handler raises a Problem.
    """

    def register(handler):
        pattern = tuple(template.strip("/").split("/"))
        found = _ROUTES.setdefault(len(pattern), {})
        methods = found.setdefault(pattern, {})
        methods[method] = Route(method, template, handler, locked)
        return handler

    return register


def match(method, path):
    """:return: (Route, path values). :raise Problem: 404 or 405."""
    parts = [unquote(part) for part in path.strip("/").split("/")]
    candidates = _ROUTES.get(len(parts), {})
    best = None
    for pattern, methods in candidates.items():
        values = {}
        for wanted, part in zip(pattern, parts, strict=True):
            if wanted[:1] == "{":
                values[wanted[1:-1]] = part
            elif wanted != part:
                break
        else:
            # A constant beats a variable: the route with fewer values is more specific.
            if best is None or len(values) < len(best[1]):
                best = methods, values
    if best is None:
        raise problems.not_found()
    methods, values = best
    if method not in methods:
        raise problems.method_not_allowed(methods)
    return methods[method], values


def parse_query(text):
    """Return a query string as a dict; the last value of a repeated key counts."""
    return dict(parse_qsl(text, keep_blank_values=True))


def page_of(items, request):
    """Return the page of a list that the query asks for."""
    count, offset = request.page()
    return items[offset : offset + count]


# --- fields and exclude_fields ---------------------------------------------------


def shaped(data, query):
    """Return what ``fields`` or ``exclude_fields`` leaves of an answer."""
    if not isinstance(data, dict):
        return data
    if query.get("fields"):
        return _keep(data, _tree(query["fields"]))
    if query.get("exclude_fields"):
        return _drop(data, _tree(query["exclude_fields"]))
    return data


def _tree(names):
    tree = {}
    for name in names.split(","):
        node = tree
        *parents, leaf = name.strip().split(".")
        for part in parents:
            node = node.setdefault(part, {})
            if node is None:
                break
        else:
            node[leaf] = None
    return tree


def _keep(data, tree):
    if isinstance(data, list):
        return [_keep(item, tree) for item in data]
    if not isinstance(data, dict):
        return data
    return {
        name: data[name] if inner is None else _keep(data[name], inner)
        for name, inner in tree.items()
        if name in data
    }


def _drop(data, tree):
    if isinstance(data, list):
        return [_drop(item, tree) for item in data]
    if not isinstance(data, dict):
        return data
    kept = {}
    for name, value in data.items():
        if name not in tree:
            kept[name] = value
        elif tree[name] is not None:
            kept[name] = _drop(value, tree[name])
    return kept
