"""A plugin for pytest that leaves out what takes long: ``make test`` without a choice.

Tests of the add-on say so with ``long`` of its ``tests/common.py``, which Odoo's own
runner does not know; all others with ``pytest.mark.long``.
"""


def pytest_collection_modifyitems(config, items):
    long = [item for item in items if is_long(item)]
    items[:] = [item for item in items if not is_long(item)]
    config.hook.pytest_deselected(items=long)


def is_long(item):
    marked = (getattr(part, "is_long", False) for part in (item.obj, item.cls))
    return item.get_closest_marker("long") is not None or any(marked)
