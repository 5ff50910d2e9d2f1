"""Which members are in a segment."""

from . import problems


def members_of(audience, segment, statuses=("subscribed",)):
    """Return the members of a static or saved segment with one of the statuses."""
    if segment.type == "static":
        return [m for m in segment.members if m.status in statuses]
    test = conditions_test(audience, segment.options or {})
    return [m for s in statuses for m in audience.by_status[s] if test(m)]


def conditions_test(audience, options):
    """Return a test for the conditions that are simulated: groups, tags, merge text.

    :raise Problem: 400 for any other condition.
    """
    tests = [_condition(audience, c) for c in options.get("conditions") or ()]
    combine = all if options.get("match") == "all" else any
    return lambda member: combine(test(member) for test in tests)


def _condition(audience, condition):
    kind, value = condition.get("condition_type"), condition.get("value")
    op, field = condition.get("op"), condition.get("field", "")
    if kind == "Interests":
        wanted = set(value)
        return {
            "interestcontains": lambda m: not wanted.isdisjoint(m.interests),
            "interestcontainsall": lambda m: wanted <= m.interests,
            "interestnotcontains": lambda m: wanted.isdisjoint(m.interests),
        }[op]
    if kind == "StaticSegment":
        tag = audience.segments.get(int(value))
        return lambda m: (tag in m.tags) == (op == "static_is")
    if kind == "TextMerge" and op in ("is", "not"):
        return lambda m: (m.merge_fields.get(field) == value) == (op == "is")
    raise problems.schema(
        ("options.conditions", f"The condition {kind} {op} is not simulated.")
    )
