"""What a visitor was shown beside the opt-in of a form, signed by this server.

The form sends it back in a hidden field. So the page and the text kept as evidence of
consent are those this server rendered, in the visitor's language, whatever a visitor
sends, and whatever an editor does to the page in the meantime.
"""

import re
from typing import NamedTuple
from urllib.parse import quote

from lxml import etree

from odoo.tools.misc import hash_sign, verify_hash_signed

OPT_IN = "mailchimp_opt_in"
PROOF = "mailchimp_opt_in_proof"
SCOPE = "crm_mailchimp_website.opt_in"
# A page may stay open over a weekend; an older proof is no evidence of what was seen.
VALID_HOURS = 7 * 24
# Lengths in characters.
TEXT_LIMIT = 1000
PATH_LIMIT = 200
PROOF_LIMIT = 20_000
HIDDEN = {"s_website_form_field_hidden", "s_website_form_dnone"}


class Evidence(NamedTuple):
    """What a visitor was shown.

    :param str page: path of the page, percent-encoded
    :param str text: the text beside the box
    :param str value: what the form sends when the box is ticked
    """

    page: str
    text: str
    value: str

    @property
    def note(self):
        return f"{self.page}: “{self.text}”"


def sign(env, path, text, value):
    """Return the proof that this server showed a text on a page.

    :param env: environment of the superuser
    :param str path: path of the page, as the browser requested it
    """
    # Encoded, a path cannot pass for text: anybody can make one up for a page that is
    # not found, and a form in the footer is shown there, too.
    page = _shortened(quote(path, safe="/"), PATH_LIMIT)
    return hash_sign(env, SCOPE, [page, text, value], expiration_hours=VALID_HOURS)


def read(env, proof):
    """Return the :class:`Evidence` in a proof, ``None`` if this server did not sign it.

    :param env: environment of the superuser
    :param proof: whatever a visitor sent
    """
    if not isinstance(proof, str) or not 0 < len(proof) <= PROOF_LIMIT:
        return None
    try:
        values = verify_hash_signed(env, SCOPE, proof)
    except ValueError:  # not even encoded like a proof
        return None
    return Evidence(*values) if values else None


def prepare(fragment, attributes):
    """Untick the opt-in of each form that creates leads, and add proof of its text.

    :param fragment: element tree of a template or a field, changed in place
    :param attributes: function that gets the text and the value of the box, and
        returns the attributes of the hidden field that holds the proof
    """
    for form in fragment.iter("form"):
        # Left from an earlier rendering that an editor saved.
        for old in form.xpath(f".//input[@name='{PROOF}']"):
            old.getparent().remove(old)
        if "crm.lead" not in (
            form.get("data-force_action"),
            form.get("data-model_name"),
        ):
            continue
        boxes = form.xpath(f".//input[@name='{OPT_IN}']")
        for box in boxes:
            # Consent is given, never taken for granted.
            for name in [n for n in box.attrib if n.rpartition("-")[2] == "checked"]:
                del box.attrib[name]
        text = len(boxes) == 1 and _text(boxes[0])
        if text:
            hidden = {"type": "hidden", "name": PROOF}
            hidden |= attributes(text, boxes[0].get("value", "on"))
            form.append(etree.Element("input", hidden))


def _text(box):
    """Return what a visitor reads beside a box; an empty text if it is not shown."""
    fields = [
        node for node in box.iterancestors() if "s_website_form_field" in _classes(node)
    ]
    if box.get("type") != "checkbox" or not fields or HIDDEN & _classes(fields[0]):
        return ""
    shown = []
    for node in fields[0].iter(etree.Element):
        classes = _classes(node)
        if "s_website_form_label_content" in classes:
            if not any(
                "d-none" in _classes(parent) for parent in node.iterancestors("label")
            ):
                shown.append("".join(node.itertext()))
        elif "s_website_form_field_description" in classes:
            shown.append("".join(node.itertext()))
    return _shortened(" ".join(" ".join(shown).split()), TEXT_LIMIT)


def _classes(node):
    return set(re.split(r"\s+", node.get("class", "")))


def _shortened(text, limit):
    return text if len(text) <= limit else text[: limit - 1] + "…"
