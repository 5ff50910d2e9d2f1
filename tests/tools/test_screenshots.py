"""What the tool that takes the pictures of the guide objects to."""

import pytest

from tools import screenshots


@pytest.mark.parametrize(
    "text",
    [
        "crm.mailchimp.run(3,)",
        "Invalid field mailchimp_status",
        "Opens: undefined",
        "[object Object]",
        "NaN %",
        "Members: %(count)s",
    ],
)
def test_technical(text):
    assert screenshots.TECHNICAL.search(text)


@pytest.mark.parametrize("text", ["CRM Mailchimp", "Mailchimp account", "Banana"])
def test_not_technical(text):
    assert not screenshots.TECHNICAL.search(text)


def test_what_is_not_translated(tmp_path, monkeypatch):
    folder = tmp_path / "i18n"
    folder.mkdir()
    entries = {"Audience": "Audience", "Sync now": "Nu synchroniseren", "Pause": ""}
    template = dict.fromkeys(entries, "")
    for name, texts in (("crm_mailchimp.pot", template), ("nl.po", entries)):
        lines = [f'msgid "{text}"\nmsgstr "{said}"\n' for text, said in texts.items()]
        (folder / name).write_text("\n".join(['msgid ""\nmsgstr ""\n', *lines]))
    monkeypatch.setattr(screenshots, "ADDON", tmp_path)
    screenshots.untranslated.cache_clear()
    assert screenshots.untranslated("nl") == {"Sync now", "Pause"}
    screenshots.untranslated.cache_clear()


def test_every_picture_is_taken_by_the_tool():
    pages = [*screenshots.SET_UP, *screenshots.DAILY]
    names = [page.name for page in pages]
    assert len(names) == len(set(names))
    taken = {*names}
    for page in pages:
        if page.translated:
            taken |= {f"{page.name}-{code}" for code in screenshots.LANGUAGES}
    assert {path.stem for path in screenshots.TARGET.glob("*.png")} <= taken
