"""Merge field values: what each type accepts, and how it reads back.

Source: Mailchimp's merge field documentation and request constraints.
"""

import math
import re
from datetime import date

_ADDRESS = ("addr1", "addr2", "city", "state", "zip", "country")
_US_PHONE = re.compile(r"^\(?(\d{3})\)?[-. ]?(\d{3})[-. ]?(\d{4})$")
_URL = re.compile(r"^https?://[^\s/]+\.[^\s]+$", re.IGNORECASE)
MAX_TEXT_BYTES = 255


class BadValue(Exception):
    """A value its field's type refuses.

    :param code: a key of each language in ``problems.MESSAGES``.
    """

    def __init__(self, code):
        super().__init__(code)
        self.code = code


def clean(field, value, switches):
    """Return the value as Mailchimp stores it; an empty string clears any type.

    :raise BadValue: when the type refuses it.
    """
    if value == "":
        return ""
    return _CHECKS[field.type](field, value, switches)


def _text(field, value, switches):
    if isinstance(value, dict):
        raise BadValue("value")
    value = str(value)
    raw = value.encode()
    if len(raw) > MAX_TEXT_BYTES:
        if switches.long_text == "refuse":
            raise BadValue("long")
        value = raw[:MAX_TEXT_BYTES].decode(errors="ignore")
    return value


def _number(field, value, switches):
    if isinstance(value, dict):
        raise BadValue("number")
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            raise BadValue("number") from None
    if not math.isfinite(value):
        raise BadValue("number")
    return int(value) if value == int(value) else value


def _address(field, value, switches):
    if not isinstance(value, dict):
        raise BadValue("address")
    needed = ["addr1", "city", "zip"]
    if switches.address_needs_state:
        needed.append("state")
    if not all(str(value.get(part) or "").strip() for part in needed):
        raise BadValue("address")
    kept = {part: str(value.get(part) or "") for part in _ADDRESS}
    kept["country"] = kept["country"] or "US"
    return kept


def _phone(field, value, switches):
    value = _text(field, value, switches)
    if field.options.get("phone_format") == "US":
        found = _US_PHONE.match(value.strip())
        if not found:
            raise BadValue("phone")
        return "-".join(found.groups())
    return value


def _date(field, value, switches):
    text = str(value).strip()
    iso = re.match(r"^(\d{4})-(\d{1,2})-(\d{1,2})$", text)
    american = re.match(r"^(\d{1,2})/(\d{1,2})/(\d{4})$", text)
    try:
        if iso:
            year, month, day = (int(part) for part in iso.groups())
        else:
            month, day, year = (int(part) for part in american.groups())
        return date(year, month, day).isoformat()
    except (AttributeError, ValueError):
        raise BadValue("date") from None


def _birthday(field, value, switches):
    found = re.match(r"^(\d{1,2})/(\d{1,2})$", str(value).strip())
    try:
        first, second = (int(part) for part in found.groups())
        if field.options.get("date_format") == "DD/MM":
            first, second = second, first
        date(2000, first, second)
    except (AttributeError, ValueError):
        raise BadValue("birthday") from None
    return f"{first:02d}/{second:02d}"


def _choice(field, value, switches):
    if value not in field.options.get("choices", ()):
        raise BadValue("choice")
    return value


def _url(field, value, switches):
    value = _text(field, value, switches)
    if not _URL.match(value):
        raise BadValue("url")
    return value


def _zip(field, value, switches):
    text = str(value).strip()
    if not re.match(r"^\d{5}$", text):
        raise BadValue("zip")
    return text


_CHECKS = {
    "text": _text,
    "number": _number,
    "address": _address,
    "phone": _phone,
    "date": _date,
    "birthday": _birthday,
    "radio": _choice,
    "dropdown": _choice,
    "url": _url,
    "imageurl": _url,
    "zip": _zip,
}
