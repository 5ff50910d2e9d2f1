"""Each language has every text, and each translation fits where its text stands.

Odoo shows the English text wherever a translation is missing or does not load.
"""

import re
import shutil
from pathlib import Path

import polib
import pytest

from tools.po import merge

ROOT = Path(__file__).parents[2]
ADDONS = ("crm_mailchimp", "crm_mailchimp_website")
I18N = ROOT / "crm_mailchimp" / "i18n"
LANGUAGES = ("nl", "de", "it", "fr", "es")
PLACEHOLDER = re.compile(r"%(?:\(\w+\))?[sd]")
TAG = re.compile(r"<[^>]+>|&(?!amp;)\w+;")
QUOTED = re.compile(r"“([^”]+)”")


@pytest.fixture(scope="module", params=ADDONS)
def addon(request):
    return request.param


@pytest.fixture(scope="module")
def template(addon):
    return polib.pofile(str(ROOT / addon / "i18n" / f"{addon}.pot"))


@pytest.fixture(scope="module", params=LANGUAGES)
def language(addon, request):
    return polib.pofile((ROOT / addon / "i18n" / f"{request.param}.po").read_text())


def translated(language):
    return {
        entry.msgid: entry.msgstr
        for entry in language
        if entry.msgstr and not entry.fuzzy and not entry.obsolete
    }


def test_complete(template, language):
    missing = {entry.msgid for entry in template} - set(translated(language))
    assert not missing


def test_places(template, language):
    """Odoo finds where a translation belongs by its references alone."""
    places = {entry.msgid: set(entry.occurrences) for entry in language}
    stale = [
        entry.msgid
        for entry in template
        if places.get(entry.msgid) != set(entry.occurrences)
    ]
    assert not stale, "make po"


def test_placeholders(language):
    """A placeholder too few loses a value, one too many loses the translation."""
    for text, translation in translated(language).items():
        found = sorted(PLACEHOLDER.findall(translation))
        assert found == sorted(PLACEHOLDER.findall(text)), (text, translation)


def test_markup(language):
    for text, translation in translated(language).items():
        assert TAG.findall(translation) == TAG.findall(text), (text, translation)


def test_blanks(language):
    """Some texts are parts of a sentence: their first and last blanks count."""
    for text, translation in translated(language).items():
        for edge in (r"^\s*", r"\s*$"):
            blanks = re.search(edge, text)[0]
            assert re.search(edge, translation)[0] == blanks, (text, translation)


def test_names_of_buttons(language):
    """A sentence that names a button or menu uses the word that is on the screen."""
    known = translated(language)
    for text, translation in known.items():
        for name in QUOTED.findall(text):
            assert known.get(name, "") in translation, (text, name)


def test_merge(tmp_path):
    """A text indented anew keeps its translation; a new text waits for one."""
    target = tmp_path / "nl.po"
    shutil.copy(I18N / "nl.po", target)
    language = polib.pofile(str(target))
    kept = language[0].msgid
    template = polib.POFile()
    template.metadata = {"POT-Creation-Date": "2030-01-01 00:00+0000"}
    places = [("model_terms:ir.ui.view,arch_db:crm_mailchimp.a_view", "")]
    for text in (kept.replace(" ", "\n    ", 1), "A new text"):
        template.append(polib.POEntry(msgid=text, occurrences=places))
    template.save(str(tmp_path / "crm_mailchimp.pot"))
    merge(tmp_path / "crm_mailchimp.pot", target)
    merged = polib.pofile(str(target))
    assert [entry.msgstr for entry in merged] == [language[0].msgstr, ""]
    assert merged[0].occurrences == places
    assert merged.metadata["Language"] == "nl"
    assert merged.metadata["POT-Creation-Date"] == "2030-01-01 00:00+0000"
