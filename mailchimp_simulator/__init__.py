"""A stateful stand-in for Mailchimp's Marketing API 3.0, for demos and tests.

It keeps audiences, members and campaigns in memory, answers over real HTTP, and
refuses what Mailchimp refuses, with Mailchimp's own error bodies. The add-on never
imports it. The ``README.md`` next to this file describes the acts and the control API.
"""

from .simulator import Simulator
from .switches import Switches

__all__ = ["Simulator", "Switches"]
