"""From contact values to what Mailchimp stores, and the difference between two states.

The values of one member travel through the add-on in one canonical shape::

    {"m": {"FNAME": "Ann"}, "i": ["4fbc1a9e0d"], "l": "fr"}

that is, the merge fields that have a value, the ids of those of our groups that the
member is in (sorted), and the language. If two shapes are equal, there is nothing to
send.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, TypedDict

from .vocabulary import Json

_URL = re.compile(r"^https?://[^\s/]+\.[^\s]+$", re.IGNORECASE)
TEXT_BYTES = 255  # Mailchimp cuts or refuses longer merge field texts
ADDRESS_PARTS = ("addr1", "addr2", "city", "state", "zip", "country")
ADDRESS_REQUIRED = ("addr1", "city", "state", "zip")
# Mailchimp names most languages by two letters, a few with their country.
REGIONAL_LANGUAGES = {"fr_CA", "es_ES", "pt_PT"}
# Mailchimp has one Norwegian; Odoo has both written forms.
OTHER_LANGUAGES = {"nb": "no", "nn": "no"}
# Stands for a value that may not be sent, so that what Mailchimp holds is left alone.
KEEP = object()
# Ten digits of the North American numbering plan, in which neither the area code nor
# the exchange begins with 0 or 1.
_AMERICAN = re.compile(r"1?([2-9]\d\d)([2-9]\d\d)(\d{4})")


class _Values(TypedDict):
    m: dict[str, Any]
    i: list[str]


class Values(_Values, total=False):
    """The canonical shape; see above."""

    l: str | None  # noqa: E741


def _text(value: Any, spec: MergeField) -> str | None:
    if isinstance(value, dict):
        return None
    text = " ".join(str(value).split())
    return text.encode()[:TEXT_BYTES].decode(errors="ignore") or None


def _url(value: Any, spec: MergeField) -> str | None:
    text = str(value).strip()
    return text if _URL.match(text) and len(text.encode()) <= TEXT_BYTES else None


def _number(value: Any, spec: MergeField) -> float | None:
    number = float(value)
    if not math.isfinite(number):
        return None
    return int(number) if number.is_integer() else number


def _date(value: Any, spec: MergeField) -> str:
    if isinstance(value, datetime):
        value = value.date()
    if not isinstance(value, date):
        value = date.fromisoformat(str(value)[:10])
    return value.isoformat()


def _birthday(value: Any, spec: MergeField) -> str:
    # A birthday has no year in Mailchimp; a full date is refused.
    year_month_day = _date(value, spec)
    return f"{year_month_day[5:7]}/{year_month_day[8:10]}"


def _choice(value: Any, spec: MergeField) -> str | None:
    text = str(value).strip()
    return text if text in spec.choices else None


def _zip(value: Any, spec: MergeField) -> str | None:
    text = str(value).strip()
    return text if len(text) == 5 and text.isdigit() else None


def _phone(value: Any, spec: MergeField) -> str | None:
    if spec.phone_format != "US":
        return _text(value, spec)
    text = str(value).strip()
    digits = "".join(char for char in text if char in "0123456789")
    # The last ten digits of another country's number would be somebody else's.
    found = _AMERICAN.fullmatch(digits)
    if not found or (text.startswith("+") and not digits.startswith("1")):
        return None
    return "-".join(found.groups())


def _address(value: Any, spec: MergeField) -> dict[str, str] | None:
    if not isinstance(value, dict):
        return None
    # Mailchimp refuses the whole member for an incomplete address: all or nothing.
    parts = {part: _text(value.get(part) or "", spec) for part in ADDRESS_PARTS}
    if not all(parts[part] for part in ADDRESS_REQUIRED):
        return None
    return {part: text for part, text in parts.items() if text}


# Any other kind is a text.
_FORMATTERS = {
    "number": _number,
    "address": _address,
    "phone": _phone,
    "date": _date,
    "birthday": _birthday,
    "url": _url,
    "imageurl": _url,
    "radio": _choice,
    "dropdown": _choice,
    "zip": _zip,
}


@dataclass(frozen=True)
class MergeField:
    """One merge field of the audience, as Mailchimp describes it.

    :param tag: the merge tag, such as ``FNAME``
    :param kind: Mailchimp's type of the field, such as ``text`` or ``dropdown``
    :param choices: the exact values a dropdown or radio field accepts
    :param phone_format: ``US`` or ``none``
    """

    tag: str
    kind: str = "text"
    choices: tuple[str, ...] = ()
    phone_format: str = "none"
    formatter: Callable[[Any, MergeField], Any] = field(
        init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        object.__setattr__(self, "formatter", _FORMATTERS.get(self.kind, _text))

    def format(self, value: Any) -> Any:
        """Return ``value`` as Mailchimp takes and returns it, or ``None``.

        :param value: what Odoo holds: text, number, date, a dict for an address
        :return: a string, number or address dict; ``None`` when there is no value or
            none this kind of field can take (it is then left out, never half sent)
        """
        if value is None or value is False or value == "":
            return None
        try:
            return self.formatter(value, self)
        except (ValueError, TypeError, OverflowError):
            return None

    def is_unfit(self, value: Any) -> bool:
        """Return whether there is a value, but none this kind of field can take."""
        if isinstance(value, str):
            value = value.strip()
        elif isinstance(value, dict) and not any(value.values()):
            return False
        if value is None or value is False or value == "":
            return False
        return self.format(value) is None


def split_name(name: str | None, is_company: bool) -> tuple[str, str]:
    """Return ``(first name, last name)`` of a contact that has one name field.

    :param name: the contact's name
    :param is_company: a company's whole name is its first name
    """
    name = " ".join((name or "").split())
    if is_company or " " not in name:
        return name, ""
    first, last = name.split(" ", 1)
    return first, last


def language(code: str | None) -> str | None:
    """Return Mailchimp's code of an Odoo language: ``nl_BE`` is ``nl``."""
    if not code:
        return None
    if code in REGIONAL_LANGUAGES:
        return code
    code = code.split("_")[0].split("@")[0]
    return OTHER_LANGUAGES.get(code, code)


def split_as(
    name: str | None, *pairs: tuple[str | None, str | None]
) -> tuple[str, str] | None:
    """Return the halves of a name as somebody split it before.

    Odoo's single name field does not show whether a first name has two words.

    :param name: the contact's name
    :param pairs: known first and last names, the best first
    :return: the first pair that makes up the name, or ``None``
    """
    name = " ".join((name or "").split())
    for first, last in pairs:
        whole = f"{first or ''} {last or ''}"
        if name and " ".join(whole.split()) == name:
            return first or "", last or ""
    return None


def values(
    merge_fields: Iterable[MergeField],
    raw: Iterable[Any],
    interests: Iterable[str],
    lang: str | None,
    held: Values | None = None,
) -> Values:
    """Return the canonical values of a member.

    A value that its merge field cannot take, or that may not be sent, is no reason to
    empty the field in Mailchimp: what Mailchimp holds is desired instead.

    :param merge_fields: :class:`MergeField` of each raw value, in order
    :param raw: the values Odoo holds, in the same order; :data:`KEEP` for a value that
        the user who mapped it may not read
    :param interests: ids of our groups the contact belongs to
    :param lang: Odoo language code of the contact, or ``None``
    :param held: canonical values Mailchimp holds, if it has the member
    """
    merge: dict[str, Any] = {}
    present = held["m"] if held else {}
    for merge_field, value in zip(merge_fields, raw, strict=True):
        formatted = None if value is KEEP else merge_field.format(value)
        if value is KEEP or (formatted is None and merge_field.is_unfit(value)):
            formatted = present.get(merge_field.tag)
        if formatted is not None:
            merge[merge_field.tag] = formatted
    result: Values = {"m": merge, "i": sorted(interests)}
    if lang:
        result["l"] = language(lang)
    return result


def absent(member: Json, tags: Iterable[str]) -> list[str]:
    """Return the tags that a member from the API does not have at all, even empty.

    Mailchimp shows every merge field of the audience with each member, so these were
    deleted or have a different tag by now.

    :return: a list; empty when the member was read without its values
    """
    merge = member.get("merge_fields")
    return [tag for tag in tags if tag not in merge] if isinstance(merge, dict) else []


def stored(desired: Values, member: Json, before: Values | None = None) -> Values:
    """Return the values that were stored: what the reply does not show was dropped.

    :param desired: canonical values that were sent
    :param member: the member as the reply shows it
    :param before: canonical values it had before, where that is known
    :return: canonical values
    """
    gone = absent(member, desired["m"])
    if not gone:
        return desired
    had = before["m"] if before else {}
    merge = {tag: value for tag, value in desired["m"].items() if tag not in gone}
    merge.update({tag: had[tag] for tag in gone if tag in had})
    return {**desired, "m": merge}


def seen_values(
    member: Json,
    tags: Collection[str],
    owned: Iterable[str],
    held: Values | None = None,
) -> Values:
    """Return the canonical values of a member as Mailchimp shows it.

    :param member: a member from the API, with or without its values
    :param tags: the mapped merge tags; others are none of our business
    :param owned: ids of our groups; likewise
    :param held: canonical values it was known to have. If a merge field is not shown at
        all, that says nothing about the member: its value counts as unchanged.
    :return: canonical values
    """
    merge = member.get("merge_fields") or {}
    if held:
        unshown = held["m"].keys() & set(absent(member, tags))
        merge = {**merge, **{tag: held["m"][tag] for tag in unshown}}
    interests = member.get("interests") or {}
    result: Values = {
        "m": {tag: merge[tag] for tag in tags if merge.get(tag) not in (None, "")},
        "i": sorted(ref for ref in owned if interests.get(ref)),
    }
    if member.get("language"):
        result["l"] = member["language"]
    return result


def same_values(one: Values, other: Values, owned: Iterable[str]) -> bool:
    """Return whether two canonical states say the same about a member.

    Mailchimp gives every member a language, so one that nobody chose does not count.

    :param owned: ids of our groups; others are left out of the comparison
    """
    if one["m"] != other["m"]:
        tags = one["m"].keys() | other["m"].keys()
        if _merge_difference(one["m"], other["m"], tags):
            return False
    if one["i"] != other["i"] and (set(one["i"]) ^ set(other["i"])) & set(owned):
        return False
    return "l" not in one or "l" not in other or one["l"] == other["l"]


def missing(desired: Values, required: Iterable[str]) -> list[str]:
    """Return the required merge tags that have no value, in order.

    :param desired: canonical values wanted
    :param required: tags of the merge fields the audience requires
    """
    return [tag for tag in required if tag not in desired["m"]]


def reconcile(
    desired: Values,
    sent: Values | None,
    held: Values,
    tags: Iterable[str],
    writable: Collection[str],
    direction: str,
    winner: str,
    unfit: Collection[str] = (),
) -> tuple[Values, Json]:
    """Settle the merge fields of a member that exists on both sides.

    A value has changed on a side if it differs from the one last sent. A change on one
    side only wins; for a change on both, ``winner`` decides. Before anything was sent
    there is nothing to compare with: a value that only one side has wins, and between
    two different ones ``winner`` decides.

    :param desired: canonical values Odoo holds
    :param sent: canonical values last sent, or ``None``
    :param held: canonical values Mailchimp holds
    :param tags: the mapped merge tags
    :param writable: those whose value can be written to a contact
    :param direction: ``push``, ``pull`` (only what changed in Mailchimp travels)
        or ``both``
    :param winner: ``odoo`` or ``mailchimp``
    :param unfit: tags for which Odoo has a value that Mailchimp cannot take: what
        Mailchimp holds stays, and Odoo's value counts as unchanged
    :return: ``(target, back)``: the canonical values both sides should hold, and
        ``{tag: value}`` to write in Odoo, ``None`` where it is to be emptied
    """
    if direction == "push":
        return desired, {}
    merge, back = dict(desired["m"]), {}
    base = sent["m"] if sent else {}
    for tag in tags:
        ours, theirs, before = merge.get(tag), held["m"].get(tag), base.get(tag)
        left = tag in unfit
        if left:
            ours = before
        if _same(ours, theirs):
            continue
        if sent is None:
            # An empty field in Mailchimp does not empty the contact's.
            lacking = ours is None and not left
            take = theirs is not None and (
                lacking or direction == "pull" or winner == "mailchimp"
            )
        else:
            changed_here = not _same(ours, before)
            changed_there = not _same(theirs, before)
            take = changed_there and (
                direction == "pull" or not changed_here or winner == "mailchimp"
            )
        take = take and tag in writable
        if take:
            back[tag] = theirs
        if take or left or direction == "pull":
            merge.pop(tag, None)
            if theirs is not None:
                merge[tag] = theirs
    return {**desired, "m": merge}, back


def _same(one: Any, other: Any) -> bool:
    """Return whether two merge values are equal, or Mailchimp only added to ours."""
    if isinstance(one, dict) and isinstance(other, dict):
        return all(other.get(part) == text for part, text in one.items()) or all(
            one.get(part) == text for part, text in other.items()
        )
    return one == other


def difference(
    desired: Values,
    held: Values,
    tags: Iterable[str],
    owned: Iterable[str],
    required: Collection[str] = (),
) -> Json:
    """Return the body parts that turn what Mailchimp holds into what is desired.

    They hold only keys that differ: a merge field or group that is not sent stays as it
    is. A value that is gone is cleared with ``""``, except an address, which Mailchimp
    cannot clear.

    :param desired: canonical values wanted
    :param held: canonical values Mailchimp holds, as far as known
    :param tags: the mapped merge tags; others are left alone
    :param owned: ids of our groups; others are left alone
    :param required: tags of fields that Mailchimp does not allow to be cleared
    :return: a dict with ``merge_fields``, ``interests``, ``language`` where they differ
    """
    body: Json = {}
    merge = _merge_difference(desired["m"], held["m"], tags, required)
    if merge:
        body["merge_fields"] = merge
    inside = set(desired["i"])
    interests = {ref: ref in inside for ref in (inside ^ set(held["i"])) & set(owned)}
    if interests:
        body["interests"] = interests
    if desired.get("l") and desired["l"] != held.get("l"):
        body["language"] = desired["l"]
    return body


def _merge_difference(
    wanted: Json, present: Json, tags: Iterable[str], required: Collection[str] = ()
) -> Json:
    merge = {}
    for tag in tags:
        new, old = wanted.get(tag), present.get(tag)
        if new == old or (new is None and (isinstance(old, dict) or tag in required)):
            continue
        if isinstance(new, dict) and isinstance(old, dict):
            # Mailchimp adds parts nobody sent, such as its default country.
            if all(old.get(part) == text for part, text in new.items()):
                continue
        merge[tag] = "" if new is None else new
    return merge


def creation(
    address: str, desired: Values, status: str, opt_in_date: datetime | None = None
) -> Json:
    """Return the item for one member in a batch subscribe call.

    :param status: ``subscribed`` or ``pending`` (double opt-in)
    :param opt_in_date: UTC time of the opt-in, as proof of consent
    """
    item: Json = {"email_address": address, "status": status}
    if desired["m"]:
        item["merge_fields"] = desired["m"]
    if desired["i"]:
        item["interests"] = dict.fromkeys(desired["i"], True)
    if desired.get("l"):
        item["language"] = desired["l"]
    if opt_in_date:
        stamp = opt_in_date.strftime("%Y-%m-%dT%H:%M:%S+00:00")
        item["timestamp_signup"] = stamp
        if status == "subscribed":
            item["timestamp_opt"] = stamp
    return item
