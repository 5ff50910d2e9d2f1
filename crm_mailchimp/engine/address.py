"""Addresses: what counts as one, and how Mailchimp names the member behind it."""

import hashlib
import re

# One pattern for Python and for PostgreSQL (``~``), hence no look-around and no
# Python-only classes. Odoo's normaliser is no validator: it lets zero-width blanks,
# domains without a dot and non-ASCII local parts through. Mailchimp refuses those,
# and for a non-ASCII local part not even the member hash is defined.
ADDRESS_PATTERN = (
    r"^[a-z0-9!#$%&'*+/=?^_`{|}~-]+([.][a-z0-9!#$%&'*+/=?^_`{|}~-]+)*"
    r"@([^][@[:cntrl:][:space:].,;:<>()\\\"]+[.])+[^][@[:cntrl:][:space:].,;:<>()\\\"]{2,}$"
)
_PYTHON_PATTERN = re.compile(
    ADDRESS_PATTERN.replace("[:cntrl:]", r"\x00-\x1f\x7f")
    .replace("[:space:]", r"\s")
    .replace("[^][", r"[^\]\[")
)


def is_address(address: str | None) -> bool:
    """Return whether a lower-cased address is one that Mailchimp can take.

    :param address: an address as in ``res.partner.email_normalized``
    """
    # ``fullmatch``, because ``$`` lets a final line break through.
    return bool(address and len(address) <= 254 and _PYTHON_PATTERN.fullmatch(address))


def member_hash(address: str) -> str:
    """Return the subscriber hash: MD5 of the whole address in lower case.

    Mailchimp answers "Member Exists" to a hash that does not match the address in the
    body, so this is the only place that computes one (Mailchimp API reference).

    :param address: the address, in upper or lower case, blanks around it allowed
    :return: 32 hexadecimal digits
    """
    # Hosts that only allow approved algorithms (FIPS) refuse MD5 without this flag.
    return hashlib.md5(
        address.strip().lower().encode(), usedforsecurity=False
    ).hexdigest()
