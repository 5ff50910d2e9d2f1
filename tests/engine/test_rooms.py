"""Data goes one way: which rooms of the add-on may import which."""

import ast
from pathlib import Path

import pytest

ADDON = Path(__file__).parents[2] / "crm_mailchimp"
MAY_IMPORT = {
    "engine": set(),
    "sync": {"engine"},
    "results": {"engine", "sync"},
    "models": {"engine", "sync", "results"},
}


def imports(path):
    """Yield the modules a file imports: ``odoo.x``, or a room of the add-on."""
    level = len(path.relative_to(ADDON).parts)
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module
        elif isinstance(node, ast.ImportFrom) and node.level == level:
            names = [node.module] if node.module else [a.name for a in node.names]
            yield from ("." + name.partition(".")[0] for name in names)


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_a_room_imports_only_what_is_below_it(room):
    files = sorted((ADDON / room).rglob("*.py"))
    assert files
    found = {
        f"{path.name}: {name[1:]}"
        for path in files
        for name in imports(path)
        if name.startswith(".") and name[1:] not in {room, *MAY_IMPORT[room]}
    }
    assert not found


def test_the_engine_knows_nothing_of_odoo():
    found = {
        f"{path.name}: {name}"
        for path in (ADDON / "engine").rglob("*.py")
        for name in imports(path)
        if name.partition(".")[0] == "odoo"
    }
    assert not found


def test_the_rule_finds_what_breaks_it(tmp_path, monkeypatch):
    (tmp_path / "engine").mkdir()
    path = tmp_path / "engine" / "wrong.py"
    path.write_text("import odoo.fields\nfrom ..models import account\n")
    monkeypatch.setattr(f"{__name__}.ADDON", tmp_path)
    assert {"odoo.fields", ".models"} <= set(imports(path))
