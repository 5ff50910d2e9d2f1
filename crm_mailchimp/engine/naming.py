"""Names for our groups and tags that do not collide with other people's.

A name already in use in Mailchimp is somebody else's and is never adopted: ours gets a
suffix.
"""

import re
from collections.abc import Iterable

SUFFIX = " (CRM)"
NAME_LENGTH = 100  # the limit for tags; used for groups as well, to be safe
_SUFFIXED = re.compile(r"(.*)( \(CRM\)(?: [2-9]| [1-9]\d+)?)", re.DOTALL)


def free_name(title: str, taken: Iterable[str]) -> str:
    """Return a free name for a group or tag of ours: its title, suffixed if taken.

    :param title: what it should be called
    :param taken: names that other people use; Mailchimp ignores case
    """
    taken = {name.casefold() for name in taken}
    name, number = title, 1
    while name.casefold() in taken:
        suffix = SUFFIX if number == 1 else f"{SUFFIX} {number}"
        name, number = _with(title, suffix), number + 1
    return name


def is_name_of(name: str | None, title: str) -> bool:
    """Return whether :func:`free_name` could have made this name from a title."""
    if name == title:
        return True
    found = _SUFFIXED.fullmatch(name or "")
    return found is not None and name == _with(title, found[2])


def _with(title: str, suffix: str) -> str:
    return title[: NAME_LENGTH - len(suffix)].rstrip() + suffix
