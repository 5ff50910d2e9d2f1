"""``make screenshots``: the pictures of the guide, taken from a fresh demo.

Each page is also checked: nothing overflows sideways, no technical name shows, nothing
is left in English where there is a translation, and the browser's console has no error.
"""

import contextlib
import functools
import io
import json
import re
import sys
import time
from typing import NamedTuple

import polib
import requests
from PIL import Image, ImageChops

from .browser import Browser
from .demo import start_simulator
from .demo_story import API_KEY, tell
from .instance import Environment, Instance
from .paths import ADDON, ENV, REPOSITORY, SetupError, main, say
from .postgres import free_port

DATABASE = "crm_mailchimp_screenshots"
TARGET = REPOSITORY / "docs" / "guide" / "images"
WIDE, TALL, NARROW, BANNER = (1400, 900), (1400, 1250), (420, 860), (1120, 560)
# Pages marked ``translated`` are pictured in these languages, too.
LANGUAGES = {"nl": "nl_NL", "fr": "fr_FR"}
ACTION = "/odoo/action-crm_mailchimp.action_crm_mailchimp_"
SEARCH = ".o_searchview_dropdown_toggler"
OVERVIEW = ACTION + "overview"
CONTACT = "info@brasseriedegans.example.com"
TECHNICAL = re.compile(
    r"crm\.mailchimp|mailchimp_[a-z]|\bundefined\b|\[object|\bNaN\b|\bnull\b|%\(\w+\)s"
)
# JavaScript: finds a visible element that contains the text; "" matches any.
FIND = """((selector, text) => [...document.querySelectorAll(selector)].find(
    (element) => element.getClientRects().length && element.textContent.includes(text)
))"""
BUSY = ".o_blockUI, .o_loading_indicator, .o_notification"
# Seconds for charts and dialogs to settle.
SETTLE = 1.2
COLOURS = 128
# Pixels kept below the last thing in a picture.
MARGIN = 24
CLOSE_NOTICES = """document.querySelectorAll(".o_notification_close").forEach(
    (button) => button.click()
)"""
# What overflows sideways: the page in the window, or the content of an element.
OVERFLOW = """(() => {
    const found = [];
    if (document.documentElement.scrollWidth > innerWidth + 1) found.push("the page");
    for (const element of document.querySelectorAll(
        ".o_content, .o_form_sheet, .o_list_renderer, .modal-body, .o_control_panel"
    )) {
        if (element.getClientRects().length &&
                element.scrollWidth > element.clientWidth + 1)
            found.push(element.className);
    }
    return found;
})()"""
# Each text a user sees: text nodes, and the placeholders and values of inputs.
TEXTS = """(() => {
    const texts = new Set();
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
        const element = walker.currentNode.parentElement;
        if (element.getClientRects().length && !element.closest("script, style"))
            texts.add(walker.currentNode.textContent.replace(/\\s+/g, " ").trim());
    }
    for (const element of document.querySelectorAll("input, textarea")) {
        if (element.getClientRects().length)
            [element.placeholder, element.value].forEach((text) => texts.add(text));
    }
    return [...texts].filter(Boolean);
})()"""


class Page(NamedTuple):
    """One picture.

    :param url: where to go; empty to continue on the previous page
    :param wait: selector of what the picture must show
    :param record: model and domain of the record to open
    :param fill: pairs of a selector and what to type there
    :param clicks: selectors, or pairs of a selector and a text the element contains
    """

    name: str
    url: str
    wait: str
    record: tuple = ()
    clicks: tuple = ()
    fill: tuple = ()
    user: str = "admin"
    size: tuple = WIDE
    translated: bool = False


#: Before anything is set up.
SET_UP = (
    Page(
        "setup-start",
        OVERVIEW,
        "[data-step=connect][data-state=next]",
    ),
    Page(
        "setup-key",
        "",
        ".modal [name=api_key] input",
        clicks=("[data-step=connect] .btn-primary",),
    ),
    Page(
        "setup-audience",
        "",
        ".modal [name=line_id] input:checked",
        fill=((".modal [name=api_key] input", API_KEY),),
        clicks=(".modal footer [name=action_setup_key]",),
    ),
    Page(
        "setup-steps",
        "",
        "[data-step=start][data-state=next]",
        clicks=(".modal footer [name=action_link]",),
    ),
    Page(
        "setup-preview",
        "",
        ".o_data_row",
        clicks=(
            "[data-step=preview] button",
            "[name=action_open_preview]",
        ),
    ),
)
#: After contacts were pushed and campaigns sent.
DAILY = (
    Page(
        "overview",
        OVERVIEW,
        ".o_mailchimp_skipped .list-group",
        size=TALL,
        translated=True,
    ),
    Page("overview-sales", OVERVIEW, ".o_mailchimp_mine", user="demo"),
    Page("overview-narrow", OVERVIEW, ".o_mailchimp_tiles", size=NARROW),
    Page(
        "account",
        ACTION + "account",
        ".o_mailchimp_standing",
        record=("crm.mailchimp.account", []),
        size=TALL,
        translated=True,
    ),
    Page(
        "contact",
        "/odoo/contacts",
        "[name=mailchimp_opt_in]",
        record=("res.partner", [("email", "=", CONTACT)]),
        user="demo",
    ),
    Page(
        "contact-marketing",
        "",
        ".tab-pane table",
        clicks=(".o_notebook .nav-link[name=mailchimp]",),
        user="demo",
        size=TALL,
    ),
    Page(
        "contacts",
        ACTION + "contact_status",
        ".o_data_row .text-bg-warning",
        clicks=(SEARCH, (".o-dropdown-item", "Not in Mailchimp"), SEARCH),
    ),
    Page("segments", ACTION + "segment", ".o_data_row"),
    Page(
        "segment",
        ACTION + "segment",
        ".o_form_view [name=action_create_campaign]",
        record=("crm.mailchimp.segment", [("name", "=", "Companies")]),
    ),
    Page(
        "save-search",
        "/odoo/contacts?view_type=list",
        ".o_favorite_menu input:checked",
        clicks=(SEARCH, ".o_add_favorite", (".o_favorite_menu label", "Mailchimp")),
    ),
    Page("campaigns", ACTION + "campaign", ".o_data_row"),
    Page(
        "campaign",
        ACTION + "campaign",
        ".o_form_view .o_field_widget[name=name]",
        record=("crm.mailchimp.campaign", [("name", "=", "Invitation")]),
    ),
    Page("invalid-emails", ACTION + "invalid_email", ".o_data_row"),
    Page(
        "correct-email",
        "",
        ".modal footer",
        clicks=(
            ".o_data_row .o_list_record_selector input",
            ("button", "Correct"),
        ),
    ),
)


def run():
    """Set up a fresh demo and take its pictures."""
    with Environment(browser=True) as environment, contextlib.ExitStack() as stack:
        fresh = f"{DATABASE}_{environment.addon_digest()}"
        if environment.postgres.exists(fresh):
            environment.clone_database(fresh, DATABASE)
        else:
            say("Making the demo database (one or two minutes) …")
            environment.install(DATABASE, demo=True)
            environment.clone_database(DATABASE, fresh)
        port, state = free_port(), ENV / "screenshots.json"
        state.unlink(missing_ok=True)
        simulator = start_simulator(environment, port, state)
        stack.callback(simulator.wait, 10)
        stack.callback(simulator.terminate)
        instance = stack.enter_context(Instance(environment, DATABASE))
        browser = stack.enter_context(Browser(environment.browser))
        photographer = Photographer(instance, browser)
        photographer.work(f"http://127.0.0.1:{port}")
    for problem in photographer.problems:
        print(problem, file=sys.stderr)
    return int(bool(photographer.problems))


class Photographer:
    """Takes pictures of pages, and notes what is wrong with them.

    :param instance: running :class:`tools.instance.Instance`
    :param browser: :class:`tools.browser.Browser`
    """

    def __init__(self, instance, browser):
        self.instance = instance
        self.browser = browser
        self.user = None
        self.problems = []

    def work(self, mailchimp):
        """Take all pictures.

        :param str mailchimp: root of the simulated Mailchimp
        """
        call = self.instance.rpc
        api = f"{mailchimp}/3.0"
        call("ir.config_parameter", "set_param", "crm_mailchimp.api_url", api)
        self.take(SET_UP)
        tell(self.instance, mailchimp, say)
        self.take(DAILY)
        for code, lang in LANGUAGES.items():
            if (ADDON / "i18n" / f"{code}.po").exists():
                self._speak(lang)
                self.take([page for page in DAILY if page.translated], code)
        self._speak("en_US")
        self._banner()

    def take(self, pages, code=None):
        """Take pictures of pages; the code of another language goes into the names."""
        for page in pages:
            name = f"{page.name}-{code}" if code else page.name
            say(f"{name} …")
            try:
                self._show(page)
            except SetupError as error:
                self._note(name, str(error))
                continue
            self._inspect(name, code)
            self._save(name)

    def _note(self, name, problem):
        self.problems.append(f"{name}: {problem}")

    def _speak(self, lang):
        """Switch the administrator's screens to a language."""
        call = self.instance.rpc
        known = [("code", "=", lang), ("active", "in", [True, False])]
        langs = call("res.lang", "search", known)
        # In a call of its own: a concurrent request may cache that the language is
        # missing.
        call("res.lang", "write", langs, {"active": True})
        wizard = call("base.language.install", "create", [{"lang_ids": langs}])
        call("base.language.install", "lang_install", wizard)
        admin = call("res.users", "search", [("login", "=", "admin")])
        call("res.users", "write", admin, {"lang": lang})

    # === SHOWING === #

    def _show(self, page):
        """Go to a page, fill in and click as it says, and wait until it has settled."""
        self.browser.resize(*page.size)
        if page.url:
            self._log_in(page.user)
            self.browser.open(self._url(page))
        for selector, value in page.fill:
            self._act(selector, "", f"element.value = {json.dumps(value)}", "input")
            self._act(selector, "", "element.blur()", "change")
        for click in page.clicks:
            selector, text = (click, "") if isinstance(click, str) else click
            self._act(selector, text, "element.click()")
        self._await(page.wait, "")
        self.browser.evaluate("document.fonts.ready.then(() => true)")
        time.sleep(SETTLE)
        self.browser.evaluate(CLOSE_NOTICES)
        self.browser.wait(f"!{FIND}({json.dumps(BUSY)}, '')", "anything but loading")

    def _log_in(self, user):
        if user == self.user:
            return
        session = requests.Session()
        session.post(
            f"{self.instance.url}/web/session/authenticate",
            json={
                "params": {
                    "db": self.instance.database,
                    "login": user,
                    "password": user,
                }
            },
            timeout=60,
        ).raise_for_status()
        self.browser.call(
            "Network.setCookie",
            name="session_id",
            value=session.cookies["session_id"],
            url=self.instance.url,
        )
        self.user = user

    def _url(self, page):
        if not page.record:
            return self.instance.url + page.url
        model, domain = page.record
        (found,) = self.instance.rpc(model, "search", domain, limit=1)
        return f"{self.instance.url}{page.url}/{found}"

    def _await(self, selector, text):
        script = f"{FIND}({json.dumps(selector)}, {json.dumps(text)})"
        self.browser.wait(script, f"“{selector}” {text}".strip())
        return script

    def _act(self, selector, text, script, event=None):
        """Do something with an element once it is visible."""
        found = self._await(selector, text)
        if event:
            happens = f"new Event('{event}', {{bubbles: true}})"
            script += f"; element.dispatchEvent({happens})"
        self.browser.evaluate(f"((element) => {{{script}}})({found})")

    # === LOOKING === #

    def _inspect(self, name, code):
        """Note what a user should not see."""
        for what in self.browser.evaluate(OVERFLOW):
            self._note(name, f"sticks out sideways: {what}")
        texts = self.browser.evaluate(TEXTS)
        for text in texts:
            if TECHNICAL.search(text):
                self._note(name, f"technical: {text}")
        for text in sorted(untranslated(code).intersection(texts)) if code else ():
            self._note(name, f"not translated: {text}")
        for complaint in self.browser.complaints:
            self._note(name, f"console: {complaint}")
        self.browser.complaints.clear()

    def _save(self, name, folder=TARGET):
        """Save a picture with few colours, without the empty space at the bottom."""
        folder.mkdir(parents=True, exist_ok=True)
        picture = Image.open(io.BytesIO(self.browser.picture())).convert("RGB")
        foot = picture.getpixel((0, picture.height - 1))
        empty = Image.new("RGB", picture.size, foot)
        used = ImageChops.difference(picture, empty).getbbox() or (0, 0, *picture.size)
        bottom = min(used[3] + MARGIN, picture.height)
        picture = picture.crop((0, 0, picture.width, bottom))
        picture = picture.quantize(COLOURS, dither=Image.Dither.NONE)
        picture.save(folder / f"{name}.png", optimize=True)

    def _banner(self):
        """Save the banner of the app store page."""
        self.browser.resize(*BANNER)
        self.browser.open((REPOSITORY / "tools" / "banner.html").as_uri())
        self.browser.wait("document.querySelector('.screen')?.complete", "the banner")
        self._save("banner", ADDON / "static" / "description")


@functools.cache
def untranslated(code):
    """Return the English texts that must not show in a language.

    Texts that are the same in both languages may show.
    """
    entries = {
        entry.msgid: entry.msgstr
        for entry in polib.pofile(str(ADDON / "i18n" / f"{code}.po"))
    }
    template = polib.pofile(str(ADDON / "i18n" / "crm_mailchimp.pot"))
    return {
        " ".join(entry.msgid.split())
        for entry in template
        if entries.get(entry.msgid) != entry.msgid
    }


if __name__ == "__main__":
    main(run)
