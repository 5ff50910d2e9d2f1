"""Every doubt has tests for both of its answers."""

import re
from dataclasses import fields
from pathlib import Path

import pytest

from mailchimp_simulator import Simulator, Switches

TESTS = "\n".join(
    path.read_text(encoding="utf-8")
    for path in Path(__file__).parent.glob("test_sim_*.py")
)


@pytest.mark.parametrize("switch", [field.name for field in fields(Switches)])
def test_no_switch_is_left_untested(switch):
    assert re.search(rf"\b{switch}=", TESTS), f"No test sets {switch}."


def test_an_unknown_switch_is_refused():
    with pytest.raises(ValueError, match="magic"):
        Simulator(magic=True)
