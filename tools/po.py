"""Bring the translations up to the templates; run by ``make po``."""

import sys

import polib

from .paths import ADDON, WEBSITE_ADDON


def merge(template, path):
    """Replace the texts of a language by the template's, and keep its translations.

    New texts are left untranslated, for a test to report. A text that was merely
    re-indented in a view keeps its translation.

    :param template: path of the template
    :param path: path of the ``.po`` file of the language
    """
    language = polib.pofile(str(path))
    known = {_words(entry.msgid): entry.msgstr for entry in language}
    merged = polib.pofile(str(template))
    merged.header = language.header
    merged.metadata = {
        **language.metadata,
        "POT-Creation-Date": merged.metadata["POT-Creation-Date"],
    }
    for entry in merged:
        entry.msgstr = known.get(_words(entry.msgid), "")
    merged.save(str(path))


def _words(text):
    return " ".join(text.split())


def run():
    for addon in (ADDON, WEBSITE_ADDON):
        template = addon / "i18n" / f"{addon.name}.pot"
        for path in sorted(template.parent.glob("*.po")):
            merge(template, path)
    return 0


if __name__ == "__main__":
    sys.exit(run())
