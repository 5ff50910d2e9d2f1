"""What Mailchimp says, made storable: texts for PostgreSQL, and values for columns.

Its entries are other people's input. A value that does not fit in a column is clipped
or left out: one odd entry must not keep the others from being stored.
"""

import math
import re
from datetime import datetime
from typing import Any

from .observe import utc
from .vocabulary import Json

#: The most that columns and their indexes hold.
INTEGER = 2**31 - 1
REF_LENGTH, ADDRESS_LENGTH = 100, 254
#: Mailchimp was founded in 2001.
FIRST_YEAR, LAST_YEAR = 2000, 2100

# NUL, and surrogates, which may lack their other half: a text that was cut can end in
# half an emoji. Written as escapes, or raw.
_SUSPECT = re.compile(rb"\\u(?:0000|[dD][89a-fA-F])|\xed[\xa0-\xbf]")


def is_suspect(content: bytes) -> bool:
    """Return whether a reply (bytes of JSON) may hold texts that cannot be stored."""
    return bool(_SUSPECT.search(content))


def storable(data: Any) -> Any:
    """Return JSON data without the characters in its texts that cannot be stored."""
    if isinstance(data, str):
        if data.isascii() and "\x00" not in data:
            return data  # as nearly all of them, a million times in a report
        return data.encode("utf-8", "replace").decode().replace("\x00", "")
    if isinstance(data, list):
        return [storable(item) for item in data]
    if isinstance(data, dict):
        return {storable(key): storable(value) for key, value in data.items()}
    return data


def moment(stamp: Any) -> datetime | None:
    """Return a time of a report as naive UTC; ``None`` for nothing and for nonsense.

    Times that no campaign can have (year 1, year 9999) are nonsense, too: they cannot
    be shown in every time zone.
    """
    try:
        found = utc(stamp)
    except (ValueError, TypeError, AttributeError, OverflowError):
        return None
    return found if found and FIRST_YEAR <= found.year <= LAST_YEAR else None


def dict_of(source: Json, name: str) -> Json:
    value = source.get(name)
    return value if isinstance(value, dict) else {}


def dicts_in(entries: Any) -> list[Json]:
    if not isinstance(entries, list | tuple):
        return []
    return [entry for entry in entries if isinstance(entry, dict)]


def text_of(value: Any) -> str:
    return (
        storable(str(value)) if isinstance(value, str | int | float) and value else ""
    )


def ref_of(value: Any) -> str:
    """Return a Mailchimp id, no longer than an index takes."""
    return text_of(value)[:REF_LENGTH]


def count_of(value: Any) -> int | None:
    """Return a count that fits in a column; ``None`` for nothing and for nonsense."""
    try:
        return min(max(int(value), 0), INTEGER)
    except OverflowError:
        return INTEGER
    except (TypeError, ValueError):
        return None


def is_told(source: Json, name: str) -> bool:
    return source.get(name) is not None


def number_of(source: Json, name: str) -> int:
    return count_of(source.get(name)) or 0


def fraction_of(value: Any, unit: int = 1) -> float | None:
    """Return a rate as a fraction; ``None`` for nothing and for nonsense.

    :param unit: the value that stands for 100 %
    """
    try:
        rate = float(value) / unit
    except (TypeError, ValueError, OverflowError):
        return None
    return rate if math.isfinite(rate) else None


def share_of(part: float, whole: float) -> float:
    return part / whole if whole else 0.0
