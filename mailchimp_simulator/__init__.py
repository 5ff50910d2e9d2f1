"""A stateful stand-in for Mailchimp's Marketing API 3.0, for demos and tests.

It keeps audiences, members and campaigns in memory, answers over real HTTP, and
refuses what Mailchimp refuses with Mailchimp's own error bodies. It is never
imported by the add-on. ``README.md`` beside this file lists the acts, the control
API and the switches.
"""

from .simulator import Simulator
from .switches import Switches

__all__ = ["Simulator", "Switches"]
