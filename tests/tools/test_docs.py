"""What the documentation names exists."""

import re
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_every_test_named_in_the_rules_exists():
    named = re.findall(
        r"`(test_\w+)::(test_\w+)`", (ROOT / "docs/rules.md").read_text()
    )
    assert len(named) > 80
    files = defaultdict(str)
    for folder in ("crm_mailchimp/tests", "tests"):
        for path in (ROOT / folder).rglob("test_*.py"):
            files[path.stem] += path.read_text()
    missing = [
        f"{file}::{test}" for file, test in named if f"def {test}(" not in files[file]
    ]
    assert not missing
