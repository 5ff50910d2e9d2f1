"""``make guide``: HTML from Markdown, so that the guide can be read inside Odoo.

``docs/guide`` becomes ``crm_mailchimp/static/guide``, page by page, and
``docs/app-page.md`` the app store page. A test generates both again and compares.

On pages in other languages, ``[Synchronise now]`` stands for a text of the interface:
the HTML shows its translation, from the same file as the screens.
"""

import functools
import re
import shutil

import polib
from markdown import Markdown

from .paths import ADDON, REPOSITORY, main

SOURCE = REPOSITORY / "docs" / "guide"
TARGET = ADDON / "static" / "guide"
APP_SOURCE = REPOSITORY / "docs" / "app-page.md"
APP_TARGET = ADDON / "static" / "description"
#: A text of the interface; brackets followed by an address are a link.
INTERFACE = re.compile(r"\[([^\[\]]+)\](?![(\[])")
#: The lists on the index page are the menu of every page.
MENU = re.compile(r"^## .*", re.MULTILINE | re.DOTALL)
#: A placeholder for a number or a name in a text of the interface.
GAP = re.compile(r"%(?:\(\w+\))?[sd]")
TEMPLATE = """<!DOCTYPE html>
<html lang="{lang}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<link rel="stylesheet" href="{root}guide.css">
</head>
<body>
<nav>{menu}</nav>
<main>
{body}
</main>
</body>
</html>
"""
# What the app store shows: sections, without scripts, custom styles or links.
APP_SECTION = (
    '<section class="oe_container">\n<div class="oe_row">\n{}\n</div>\n</section>'
)


# Files in the target folders that are not made from docs/.
BY_HAND = {"guide.css", "icon.png", "banner.png"}


def run():
    for path in [*TARGET.rglob("*.*"), *APP_TARGET.glob("*.*")]:
        if path.name not in BY_HAND:
            path.unlink()
    write(TARGET, APP_TARGET)
    return 0


def write(target, app_target):
    """Write the guide and the app store page into two folders."""
    pages = sorted(SOURCE.rglob("*.md"))
    for path in pages:
        inside = path.relative_to(SOURCE).with_suffix(".html")
        place = target / inside
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(page(path))
    _copy(SOURCE / "images", target / "images", pictures(pages))
    app_target.mkdir(parents=True, exist_ok=True)
    text = APP_SOURCE.read_text()
    (app_target / "index.html").write_text(app_page(text))
    _copy(SOURCE / "images", app_target, pictures([APP_SOURCE]))


def page(path):
    """Return the HTML of a guide page."""
    inside = path.relative_to(SOURCE)
    lang = inside.parent.name or "en"
    text = localised(path)
    return TEMPLATE.format(
        lang=lang,
        title=text.partition("\n")[0].lstrip("# "),
        root="../" * len(inside.parent.parts),
        menu=_html(MENU.search((path.parent / "index.md").read_text())[0]),
        body=_html(text),
    )


def localised(path):
    """Return the text of a page, with interface texts and pictures in its language."""
    text, lang = path.read_text(), path.parent.name
    if path.parent == SOURCE or SOURCE not in path.parents:
        return text

    def picture(found):
        name = f"{found[1]}-{lang}.png"
        return f"images/{name}" if (SOURCE / "images" / name).exists() else found[0]

    text = re.sub(r"images/([\w-]+)\.png", picture, text)
    return INTERFACE.sub(lambda found: translation(lang, found[1]), text)


def app_page(text):
    """Return the HTML of the app store page, with a section for each heading."""
    sections = re.split(r"^(?=## )", text, flags=re.MULTILINE)
    html = (_html(section.replace("guide/images/", "")) for section in sections)
    html = "\n".join(APP_SECTION.format(section) for section in html)
    return html.replace("<img ", '<img class="img img-fluid" ') + "\n"


def _html(text):
    text = re.sub(r"\]\(([\w/.-]+)\.md(#[\w-]+)?\)", r"](\1.html\2)", text)
    return Markdown(extensions=["tables", "toc"]).convert(text)


def pictures(pages):
    """Return the names of the pictures that pages show."""
    shown = re.compile(r"!\[[^\]]*\]\([\w./]*images/([\w.-]+)\)")
    return {name for path in pages for name in shown.findall(localised(path))}


def _copy(source, target, names):
    target.mkdir(parents=True, exist_ok=True)
    for name in sorted(names):
        shutil.copyfile(source / name, target / name)


# === TEXTS OF THE INTERFACE === #


def plain(text):
    """Return a text of the interface as a user sees it, with … for each value."""
    return " ".join(GAP.sub("…", text).replace("%%", "%").split())


def first(text):
    """Return the first sentence of a text of the interface, as a user sees it."""
    return re.split(r"(?<=[.?!])\s", plain(text))[0]


@functools.cache
def catalog(lang):
    """Return ``{text: translation}`` of a language, also for first sentences alone.

    ``en`` has every text of the interface.
    """
    path = ADDON / "i18n" / ("crm_mailchimp.pot" if lang == "en" else f"{lang}.po")
    entries = polib.pofile(str(path)) if path.exists() else ()
    sentences = {first(entry.msgid): first(entry.msgstr) for entry in entries}
    return sentences | {plain(entry.msgid): plain(entry.msgstr) for entry in entries}


def translation(lang, text):
    """Return a text of the interface in a language, or in English if untranslated."""
    return catalog(lang).get(plain(text)) or text


if __name__ == "__main__":
    main(run)
