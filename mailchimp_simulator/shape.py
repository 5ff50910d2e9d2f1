"""Checks the shape of request bodies and words the findings as Mailchimp does.

Shapes are small JSON Schemas (type, enum, required, properties, items,
additionalProperties, anyOf). This is the server's own check, needed with or without
the specification file; ``spec.py`` is a second opinion on the client.
"""

_NAMES = {
    type(None): "NULL",
    bool: "boolean",
    int: "integer",
    float: "double",
    str: "string",
    list: "array",
    dict: "object",
}
_ACCEPTED = {
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
    "array": (list,),
    "object": (dict,),
}


def findings(shape, value, field=""):
    """Return everything that is wrong with a value.

    :return: ``[(field, message), ...]``, empty when the value has the shape.
    """
    kind = shape.get("type")
    if kind:
        accepted = _ACCEPTED[kind]
        if type(value) not in accepted:
            found = _NAMES[type(value)]
            return [(field, f"Schema describes {kind}, {found} found instead")]
    if "anyOf" in shape:
        if all(findings(one, value, field) for one in shape["anyOf"]):
            return [
                (field, "Data did not match any of the schemas described in anyOf.")
            ]
        return []
    enum = shape.get("enum")
    if enum and value not in enum:
        accepted = ", ".join(enum)
        return [
            (field, f"Data presented is not one of the accepted values: {accepted}.")
        ]
    if kind == "object":
        return _object(shape, value, field)
    if kind == "array":
        return _array(shape, value, field)
    return []


def _object(shape, value, field):
    lacking = [name for name in shape.get("required", ()) if name not in value]
    if lacking:
        names = ", ".join(lacking)
        return [(field, f"Required fields were not provided: {names}")]
    properties = shape.get("properties", {})
    rest = shape.get("additionalProperties")
    if not properties and not rest:
        return []
    found = []
    for name, item in value.items():
        inner = properties.get(name, rest)
        if inner:
            # A shortcut: most values are strings where any string will do.
            if type(item) is str and inner.get("any_text"):
                continue
            label = f"{field}.{name}" if field else name
            found += findings(inner, item, label)
    return found


def _array(shape, value, field):
    limit = shape.get("maxItems")
    if limit is not None and len(value) > limit:
        return [(field, f"Array contains more than {limit} items")]
    inner = shape.get("items")
    if not inner:
        return []
    found = []
    for index, item in enumerate(value):
        found += findings(inner, item, f"{field}.item:{index}")
    return found


STRING = {"type": "string", "any_text": True}
BOOLEAN = {"type": "boolean"}
INTEGER = {"type": "integer"}
NUMBER = {"type": "number"}
STRINGS = {"type": "array", "items": STRING}


def choice(*names):
    return {"type": "string", "enum": list(names)}


def obj(required=(), /, **properties):
    return {
        "type": "object",
        "required": list(required),
        "properties": properties,
    }
