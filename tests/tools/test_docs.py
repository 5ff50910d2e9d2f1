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
