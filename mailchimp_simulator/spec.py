"""A second opinion on every request, from Mailchimp's own specification.

Reads the Swagger 2.0 file named by ``MAILCHIMP_SPEC``, or the one beside the
repository if there is one, and corrects it where the service has moved on since.
Without the file, only the case of booleans in queries is checked here.
"""

import copy
import json
import os
from functools import lru_cache
from pathlib import Path

from . import rules, shape

_BESIDE = Path(__file__).parents[2] / "shared" / "mailchimp-api" / "marketing-spec.json"
_BATCH = "/lists/{list_id}"
_MEMBER = "/lists/{list_id}/members/{subscriber_hash}"


def path():
    """Return the path of the specification, or None."""
    named = os.environ.get("MAILCHIMP_SPEC")
    found = Path(named) if named else _BESIDE
    return found if found.is_file() else None


@lru_cache(maxsize=2)
def load(where):
    """Return the specification as a dict, corrected to Mailchimp's rules of 2026."""
    spec = json.loads(Path(where).read_text(encoding="utf-8"))
    batch = body_schema(spec, _BATCH, "post")
    item = batch["properties"]["members"]["items"]
    put = body_schema(spec, _MEMBER, "put")
    patch = body_schema(spec, _MEMBER, "patch")
    post = body_schema(spec, "/lists/{list_id}/members", "post")
    status = item["properties"]["status"]
    item["properties"].update(tags=shape.STRINGS, status_if_new=status)
    put["required"] = ["email_address"]
    put["properties"]["tags"] = shape.STRINGS
    patch["properties"]["status"] = status
    number = {"anyOf": [shape.NUMBER, shape.STRING]}
    for schema in (item, put, patch, post):
        schema["properties"]["merge_fields"]["additionalProperties"] = rules.VALUE_SHAPE
        schema["properties"]["location"]["properties"] = {
            "latitude": number,
            "longitude": number,
        }
    return spec


def body_schema(spec, template, method):
    """Return the schema of a request body, or None."""
    parameters = spec["paths"].get(template, {}).get(method, {}).get("parameters", ())
    return next((p["schema"] for p in parameters if p["in"] == "body"), None)


def response_schema(spec, template, method, code="200"):
    """Return the schema of an answer, or None."""
    operation = spec["paths"].get(template, {}).get(method, {})
    return operation.get("responses", {}).get(code, {}).get("schema")


class Checker:
    """Checks requests against the specification.

    :param where: its path, or None to check only the case of booleans.
    """

    def __init__(self, where):
        self.spec = load(str(where)) if where else None

    def findings(self, request):
        """Return what the specification does not know in a request.

        :return: ``[(field, message), ...]``
        """
        found = [
            (name, "Booleans are written in lower case: true, false.")
            for name, value in request.query.items()
            if value in ("True", "False")
        ]
        if self.spec is None or request.template not in self.spec["paths"]:
            return found
        operation = self.spec["paths"][request.template].get(request.method.lower())
        if operation is None:
            return found
        found += _query_findings(operation, request.query)
        schema = body_schema(self.spec, request.template, request.method.lower())
        if schema and request.body is not None:
            found += _unknown(schema, request.body, "")
            # The service checks the members of a batch subscribe one by one.
            if request.template != _BATCH:
                found += shape.findings(_plain(schema), request.body)
        return found


def _query_findings(operation, query):
    known = {
        p["name"]: p for p in operation.get("parameters", ()) if p["in"] == "query"
    }
    found = []
    for name, value in query.items():
        parameter = known.get(name)
        if parameter is None:
            found.append((name, "Unknown query parameter."))
        elif parameter["type"] == "boolean":
            if value not in ("true", "false", "True", "False"):
                found.append((name, "Schema describes boolean"))
        elif parameter["type"] == "integer":
            if not value.lstrip("-").isdecimal():
                found.append((name, "Schema describes integer"))
            elif int(value) > parameter.get("maximum", int(value)):
                found.append((name, f"Must be at most {parameter['maximum']}."))
        elif parameter["type"] == "string" and parameter.get("enum"):
            if value not in parameter["enum"]:
                found.append((name, "Not one of the accepted values."))
    for name, parameter in known.items():
        if parameter.get("required") and name not in query:
            found.append((name, "Required query parameter."))
    return found


def _unknown(schema, value, field):
    """Return the keys of a body that the schema does not name."""
    found = []
    if isinstance(value, dict) and "properties" in schema:
        rest = schema.get("additionalProperties")
        for name, inner in value.items():
            label = f"{field}.{name}" if field else name
            if name in schema["properties"]:
                found += _unknown(schema["properties"][name], inner, label)
            elif not rest:
                found.append((label, "Unknown property."))
    elif isinstance(value, list) and isinstance(schema.get("items"), dict):
        for index, inner in enumerate(value):
            found += _unknown(schema["items"], inner, f"{field}.item:{index}")
    return found


_plain_cache = {}


def _plain(schema):
    """Return the schema without enums of non-strings, which ``shape`` cannot read."""
    key = id(schema)
    if key not in _plain_cache:
        _plain_cache[key] = schema, _stripped(copy.deepcopy(schema))
    return _plain_cache[key][1]


def _stripped(schema):
    if isinstance(schema.get("enum"), list) and schema.get("type") != "string":
        del schema["enum"]
    for inner in (schema.get("properties") or {}).values():
        _stripped(inner)
    if isinstance(schema.get("items"), dict):
        _stripped(schema["items"])
    return schema
