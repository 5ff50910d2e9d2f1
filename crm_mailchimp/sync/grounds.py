from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple


class Said(NamedTuple):
    """Which address said it, when (by Mailchimp's clock), and in which words."""

    email: str
    date: datetime
    note: str | None


@dataclass(frozen=True)
class Grounds:
    """Why an opt-in changes without a user ticking the box.

    It is passed in the context as ``mailchimp_grounds``. What comes in from outside is
    JSON and can never be an object of this class, so nobody can forge one.

    :param str source: a value of the consent line's ``source``
    :param dict said: :class:`Said` by contact id
    """

    source: str
    said: dict = field(default_factory=dict)
