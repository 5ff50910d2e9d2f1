"""What the documentation names exists."""

import re
from collections import defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(("document", "number"), [("rules", 80), ("security", 30)])
def test_every_test_that_is_named_exists(document, number):
    text = (ROOT / f"docs/{document}.md").read_text()
    named = re.findall(r"`(test_\w+)::(test_\w+)`", text)
    assert len(named) > number
    files = defaultdict(str)
    for folder in ("crm_mailchimp/tests", "crm_mailchimp_website/tests", "tests"):
        for path in (ROOT / folder).rglob("test_*.py"):
            files[path.stem] += path.read_text()
    missing = [
        f"{file}::{test}" for file, test in named if f"def {test}(" not in files[file]
    ]
    assert not missing


def test_every_model_has_its_line_among_the_tables():
    addon = ROOT / "crm_mailchimp"
    models = {
        name
        for path in addon.rglob("*.py")
        for name in re.findall(r'^    _name = "([\w.]+)"', path.read_text(), re.M)
        if name.startswith("crm.mailchimp.")
    }
    assert len(models) > 30
    text = (ROOT / "docs" / "tables.md").read_text()
    listed = [
        name
        for line in text.splitlines()
        if line.startswith("| `")
        for name in re.findall(r"`(crm\.mailchimp\.[\w.]+)`", line.split("|")[1])
    ]
    assert sorted(listed) == sorted(models)


@pytest.mark.parametrize("addon", ["crm_mailchimp", "crm_mailchimp_website"])
def test_odoo_finds_every_test_of_an_addon(addon):
    """Odoo's own ``--test-enable`` runs only what the package imports."""
    tests = ROOT / addon / "tests"
    imported = re.findall(
        r"import (test_\w+)$", (tests / "__init__.py").read_text(), re.M
    )
    assert imported == sorted(path.stem for path in tests.glob("test_*.py"))
