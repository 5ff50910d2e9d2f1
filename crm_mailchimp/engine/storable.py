"""Texts of Mailchimp that PostgreSQL cannot store, made storable."""

import re
from typing import Any

# NUL, and halves of characters beyond the 16 bits of JSON's escapes: half an emoji is
# what is left of a text that was cut. Written as escapes, or raw.
_SUSPECT = re.compile(rb"\\u(?:0000|[dD][89a-fA-F])|\xed[\xa0-\xbf]")


def is_suspect(content: bytes) -> bool:
    """Return whether a reply (bytes of JSON) may hold texts that cannot be stored."""
    return bool(_SUSPECT.search(content))


def storable(data: Any) -> Any:
    """Return data of JSON with the same texts, less what cannot be stored."""
    if isinstance(data, str):
        return data.encode("utf-8", "replace").decode().replace("\x00", "")
    if isinstance(data, list):
        return [storable(item) for item in data]
    if isinstance(data, dict):
        return {storable(key): storable(value) for key, value in data.items()}
    return data
