"""The guide covers what users meet, and what the documentation names is there."""

import ast
import re
from pathlib import Path

import pytest
from engine import vocabulary

from tools import guide

ROOT = Path(__file__).resolve().parents[2]
ADDON = ROOT / "crm_mailchimp"
GUIDE = ROOT / "docs" / "guide"
PAGES = sorted(GUIDE.rglob("*.md"))
DOCUMENTS = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
PYTHON = [
    path
    for path in sorted(ADDON.rglob("*.py"))
    if not {"tests", "migrations"} & set(path.parts)
]
# Methods whose texts say that something is wrong; what is raised says so anywhere.
SAYING = re.compile(
    r"_(\w*sentence|(\w+_)?trouble|second_look|warnings|choice_warnings"
    r"|mapping_messages|compute_(health|clock|failure)_(message|note)|problem|why_\w+"
    r"|mailchimp_contacts|scope_domain|create_groups|explain_\w+|look_for_opted_out"
    r"|attribution|evaluate|confirm_gone|preview_brake)"
)
NOT_SAYING = {"_sentence"}  # what a person did with a campaign
RAISED = {"UserError", "ValidationError", "AccessError", "Constraint", "UniqueIndex"}
#: What the guide names that is not ours: Odoo's own words.
OF_ODOO = {"CRM", "Contacts"}
LINK = re.compile(r"(!?)\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)


def name_of(call):
    return getattr(call.func, "attr", getattr(call.func, "id", ""))


def sentences():
    """Yield ``(where, text)`` of what tells users that something is wrong."""
    for path in PYTHON:
        for place in ast.walk(ast.parse(path.read_text())):
            if isinstance(place, ast.FunctionDef):
                says = SAYING.fullmatch(place.name) and place.name not in NOT_SAYING
            else:
                says = isinstance(place, ast.Call) and name_of(place) in RAISED
            for node in ast.walk(place) if says else ():
                if isinstance(node, ast.Call) and node.args:
                    text = node.args[-1]
                    is_text = name_of(node) in {"_", "_lt", *RAISED}
                    if is_text and isinstance(text, ast.Constant):
                        yield f"{path.name}:{node.lineno}", str(text.value)


def words(text):
    """Return a text as one line without quotation marks of Markdown."""
    return " ".join(re.sub(r"^> ?", "", text, flags=re.MULTILINE).split())


def slug(heading):
    """Return the anchor that GitHub and the HTML give a heading."""
    text = re.sub(r"<[^>]+>|[`*]", "", heading).strip().lower()
    return re.sub(r"[^\w\- ]", "", text).replace(" ", "-")


def anchors(path):
    text = path.read_text()
    given = set(re.findall(r'<a id="([\w-]+)">', text))
    return given | {slug(heading) for heading in HEADING.findall(text)}


# === WHAT USERS MEET === #


def test_every_sentence_is_explained():
    page = words((GUIDE / "troubleshooting.md").read_text())
    found = [(where, text) for where, text in sentences() if text.endswith((".", "?"))]
    assert len(found) > 100
    missing = {
        f"{where}: {guide.first(text)}"
        for where, text in found
        if guide.first(text) not in page
    }
    assert not missing, "\n".join(["docs/guide/troubleshooting.md lacks", *missing])


@pytest.mark.parametrize("lang", ["", "nl", "fr"])
def test_every_reason_has_its_place(lang):
    """The list of contacts links to the reason of each line."""
    source = (ADDON / "models" / "crm_mailchimp_contact_status.py").read_text()
    member = (ADDON / "models" / "crm_mailchimp_member.py").read_text()
    reasons = {**selection(source, "REASONS"), **selection(member, "REFUSALS")}
    assert len(reasons) > 20
    page = GUIDE / lang / "troubleshooting.md"
    assert not set(reasons) - anchors(page)
    if not lang:
        text = page.read_text()
        assert not [label for label in reasons.values() if label not in text]


def selection(source, name):
    """Return ``{value: label}`` of a list of pairs in a module."""
    assigned = {
        node.targets[0].id: node.value
        for node in ast.parse(source).body
        if isinstance(node, ast.Assign)
    }
    return {
        getattr(pair.elts[0], "value", None)
        or getattr(vocabulary, pair.elts[0].id): pair.elts[1].value
        for pair in assigned[name].elts
        if isinstance(pair, ast.Tuple)
    }


@pytest.mark.parametrize(
    "path",
    [*PAGES, ROOT / "README.md", guide.APP_SOURCE],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_what_is_named_is_on_the_screens(path):
    """Bold and brackets name texts of the interface, and nothing else."""
    known = OF_ODOO | set(guide.catalog("en"))
    text = path.read_text()
    named = re.findall(r"\*\*([^*]+)\*\*", text)
    if path.parent in (GUIDE / "nl", GUIDE / "fr"):
        named = [re.sub(r"[\[\]]", "", name) for name in named]
        named += guide.INTERFACE.findall(text)
    parts = {guide.plain(part) for name in named for part in name.split(" > ")}
    assert parts <= known, parts - known


# === WHAT IS NAMED EXISTS === #


@pytest.mark.parametrize(
    "path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT))
)
def test_links(path):
    for is_picture, address in LINK.findall(path.read_text()):
        if address.startswith(("https://", "mailto:")):
            assert not is_picture, address
            continue
        name, _hash, anchor = address.partition("#")
        target = (path.parent / name).resolve() if name else path
        assert target.exists(), address
        if anchor:
            assert anchor in anchors(target), address


def test_links_of_the_screens():
    """Screens lead to pages, and places on them, that are there in every language."""
    sources = [
        *PYTHON,
        *ADDON.rglob("*.xml"),
        *(ADDON / "static" / "src").rglob("*.js"),
    ]
    found = {
        link
        for path in sources
        for link in re.findall(
            r"/crm_mailchimp/guide/([\w-]+)(?:#([\w-]+))?", path.read_text()
        )
    }
    assert len(found) > 3
    for page, anchor in found:
        places = [path for path in PAGES if path.stem == page]
        assert GUIDE / f"{page}.md" in places, page
        for place in places:
            assert not anchor or anchor in anchors(place), (place, anchor)


def test_every_picture_is_shown():
    shown = guide.pictures(DOCUMENTS)
    there = {path.name for path in (GUIDE / "images").glob("*")}
    assert shown == there


def test_the_index_lists_every_page():
    for index in GUIDE.rglob("index.md"):
        listed = {address for _picture, address in LINK.findall(index.read_text())}
        pages = {path.name for path in index.parent.glob("*.md")} - {"index.md"}
        assert pages <= listed, index


def test_architecture_names_what_is_there():
    text = (ROOT / "docs" / "architecture.md").read_text()
    rows = re.findall(
        r"^\| \.\.\. .* \| `([\w/.]+)` \| `(\w+)` \|$", text, re.MULTILINE
    )
    assert len(rows) >= 10
    for file, function in rows:
        assert re.search(rf"^ *def {function}\(", (ROOT / file).read_text(), re.M), file
    sources = "".join(path.read_text() for path in PYTHON)
    paths = text.partition("## Three paths")[2].partition("## Where")[0]
    for name in re.findall(r"`(_?[a-z]\w*)`", paths):
        assert re.search(rf"def {name}\b", sources), name
    for name in re.findall(r"`([\w/]+\.py)`", paths):
        assert list(ADDON.rglob(name.removeprefix("crm_mailchimp/"))), name


# === WHAT IS SHIPPED === #


def test_the_shipped_guide_is_up_to_date(tmp_path):
    """`make guide` was run after the last change."""
    guide.write(tmp_path / "guide", tmp_path / "description")
    for made, shipped in (("guide", guide.TARGET), ("description", guide.APP_TARGET)):
        files = {p.relative_to(tmp_path / made) for p in (tmp_path / made).rglob("*.*")}
        kept = {p.relative_to(shipped) for p in shipped.rglob("*.*")}
        assert {path for path in kept if path.name not in guide.BY_HAND} == files
        for file in files:
            assert (shipped / file).read_bytes() == (
                tmp_path / made / file
            ).read_bytes(), f"{file}: run make guide"


def test_the_app_page_keeps_the_rules_of_the_store():
    """No script, no link, no picture from elsewhere; icon and banner are there."""
    page = (guide.APP_TARGET / "index.html").read_text()
    assert not re.search(r"<(script|style|iframe|a|link)\b|https?:|\bon\w+=", page)
    for name in re.findall(r'src="([^"]+)"', page):
        assert (guide.APP_TARGET / name).exists(), name
    assert (guide.APP_TARGET / "icon.png").exists()
    manifest = ast.literal_eval((ADDON / "__manifest__.py").read_text())
    for name in manifest["images"]:
        assert (ADDON / name).exists(), name
