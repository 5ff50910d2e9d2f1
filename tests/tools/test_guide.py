"""The guide covers what users meet, and what it names is there."""

import ast
import re
from pathlib import Path

import pytest

from tools import guide

ROOT = Path(__file__).resolve().parents[2]
ADDON = ROOT / "crm_mailchimp"
PYTHON = [
    path
    for path in sorted(ADDON.rglob("*.py"))
    if not {"tests", "migrations"} & set(path.parts)
]
TROUBLE = "troubleshooting"
# Methods whose texts say that something is wrong; what is raised does so anywhere.
SAYING = re.compile(
    r"_(\w*sentence\w*|(\w+_)?trouble|second_look|warnings|choice_warnings"
    r"|mapping_messages|compute_(health|clock|failure)_(message|note)|problem|why_\w+"
    r"|mailchimp_contacts|scope_domain|create_groups|explain_\w+|look_for_opted_out"
    r"|attribution|evaluate|confirm_gone|findings|preview_brake)"
)
RAISED = {"UserError", "ValidationError", "AccessError", "Constraint", "UniqueIndex"}


def sentences():
    """Yield ``(where, text)`` of what tells users that something is wrong."""
    for path in PYTHON:
        tree = ast.parse(path.read_text())
        places = [
            node
            for node in ast.walk(tree)
            if (isinstance(node, ast.FunctionDef) and SAYING.fullmatch(node.name))
            or (isinstance(node, ast.Call) and name_of(node) in RAISED)
        ]
        for place in places:
            for node in ast.walk(place):
                if isinstance(node, ast.Call) and node.args:
                    is_text = name_of(node) in {"_", "_lt", "Constraint", "UniqueIndex"}
                    text = node.args[-1]
                    if is_text and isinstance(text, ast.Constant):
                        yield f"{path.name}:{node.lineno}", text.value


def name_of(call):
    return getattr(call.func, "attr", getattr(call.func, "id", ""))


def first(text):
    """Return the first sentence of a text, as a user meets it."""
    return re.split(r"(?<=\w\w[.?:!])\s|\n", guide.plain(text))[0]


if __name__ == "__main__":
    seen = set()
    for where, text in sentences():
        if text not in seen and re.search(r"[.?]$", text):
            seen.add(text)
            print(where, "|", first(text))
