"""Sentences with a number read right for one: it stands behind what it counts.

Odoo's translations have no plural forms, so it is "Groups created: 1" everywhere.
"""

import ast
import re
from pathlib import Path

import pytest

ADDON = Path(__file__).parents[2] / "crm_mailchimp"
ADDONS = (ADDON, ADDON.with_name("crm_mailchimp_website"))
FILES = sorted(path for addon in ADDONS for path in addon.rglob("*.*"))
PYTHON = [p for p in FILES if p.suffix == ".py" and "tests" not in p.parts]
XML = [p for p in FILES if p.suffix == ".xml" and "demo" not in p.parts]
JS = [p for p in FILES if p.suffix == ".js" and "tests" not in p.parts]
# What stands in a sentence as a name, a date, or a text.
NO_NUMBERS = set(
    "address at button campaign cause companies company date detail email error"
    " field fields filter kind link method name names path reason seconds sentence"
    " status subject"
    " tag tags text user value why other others url model record owner audience key"
    " database first second choices choice option options example addresses former"
    " account filters".split()
)
# Never one.
NO_NUMBERS.add("limit")
# Units have no plural.
UNIT = r"(?:min\b|UTC\b)"


def texts(path):
    """Yield ``(line, text)`` of each translatable text of a module."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and node.args:
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            text = node.args[0]
            if name in ("_", "_lt", "LazyTranslate") and isinstance(text, ast.Constant):
                yield node.lineno, text.value


# What a run counts for itself, and not for whoever reads its summary.
INTERNAL = {"sent", "read", "reports", "full_reads"}


def test_a_summary_says_all_that_was_done():
    """Each counter of a run has words; without any, there was nothing to do."""
    counted = set()
    for path in PYTHON:
        for node in ast.walk(ast.parse(path.read_text())):
            name = isinstance(node, ast.Call) and getattr(node.func, "attr", "")
            if name in ("_count", "count"):
                counted |= {keyword.arg for keyword in node.keywords} - {None}
    run = (ADDON / "models" / "crm_mailchimp_run.py").read_text()
    labels = set(re.findall(r'"(\w+)": _\("[^"]*: %s"\)', run))
    assert counted > INTERNAL
    assert counted - labels <= INTERNAL


@pytest.mark.parametrize("path", PYTHON, ids=lambda path: path.stem)
def test_python(path):
    for line, text in texts(path):
        for found in re.finditer(
            rf"%(?:\((\w+)\))?[sd](?! {UNIT})(?! of )( ?[a-z]+)", text
        ):
            assert found[1] in NO_NUMBERS, f"{path.name}:{line}: {text}"


@pytest.mark.parametrize("path", XML, ids=lambda path: path.stem)
def test_xml(path):
    text = path.read_text()
    counted = r'(?:t-esc="count\([^"]*\)"|<field\s+name="\w+"[^>]*)\s*/>\s*[a-z]+'
    for found in re.finditer(rf"{counted}|'%s [a-z]+", text):
        pytest.fail(f"{path.name}: {' '.join(found[0].split())}")


@pytest.mark.parametrize("path", JS, ids=lambda path: path.stem)
def test_javascript(path):
    for found in re.finditer(r'_t\(\s*"([^"]*%s [a-z][^"]*)"', path.read_text()):
        pytest.fail(f"{path.name}: {found[1]}")
