"""A visitor with a real browser, and what the tests ask the pages there."""

from contextlib import suppress
from copy import deepcopy
from importlib.resources import files
from pathlib import Path
from typing import Any

from flask import Flask
from playwright.sync_api import (
    BrowserContext,
    ConsoleMessage,
    Locator,
    Page,
    Request,
    TimeoutError,
    expect,
)

from stand_in import StandIn
from tests.conftest import Browser, Clock

SPY = Path(__file__).with_suffix(".js").read_text("utf-8")
AXE = files("axe_core_python").joinpath("axe.min.js").read_text("utf-8")
LONG = 150  # seconds; after that the app asks Spotify again, whatever it knows
expect.set_options(timeout=10_000)  # as for everything else in a Visitor


class Visitor:
    """Somebody with a browser of their own, who notices what should not be.

    For their pages time passes only when told to, and for the app too.
    """

    def __init__(
        self, context: BrowserContext, site: Flask, spotify: StandIn, clock: Clock
    ) -> None:
        self.context, self.site, self.origin = context, site, site.config["ORIGIN"]
        self.spotify, self.clock = spotify, clock
        context.set_default_timeout(10_000)
        context.add_init_script(f"{{{SPY}}}")
        context.clock.install(time=1_800_000_000)
        context.clock.pause_at(1_800_000_001)
        self.complaints: list[str] = []
        self.asked: list[str | None] = []  # each poll's Cache-Control
        context.on("console", self._read)
        context.on("weberror", lambda it: self.complaints.append(str(it.error)))
        context.on("request", self._see)
        self.page = context.pages[0] if context.pages else context.new_page()

    def _read(self, message: ConsoleMessage) -> None:
        # Chromium itself notes every answer with an error status, which are wanted.
        if not message.text.startswith("Failed to load resource: "):
            self.complaints.append(message.text)

    def _see(self, request: Request) -> None:
        if request.url.endswith("/now-playing"):
            self.asked.append(request.headers.get("cache-control"))
        own = self.origin, self.origin.replace("127.0.0.1", "localhost")
        if not request.url.startswith((*own, self.spotify.url)):
            self.complaints.append(f"A request left this machine: {request.url}")

    def track(self, **changed: Any) -> dict[str, Any]:
        """Return Spotify's answer for a track with this changed, names too."""
        payload = deepcopy(self.spotify.programme["track"].answer)
        assert payload
        item = payload["item"]
        item["artists"][0]["name"] = changed.pop("artist", item["artists"][0]["name"])
        item["album"]["name"] = changed.pop("album", item["album"]["name"])
        item |= {name: changed.pop(name) for name in [*item] if name in changed}
        return payload | {"progress_ms": 0, "is_playing": True} | changed

    def open(self, path: str = "/") -> Page:
        self.page.goto(self.origin + path)
        return self.page

    def log_in(self, person: str = "robin") -> None:
        """Log in, as another tab would."""
        tab = Browser(self.site, self.spotify)
        assert tab.log_in(person).status_code == 307
        name, url = self.site.config["SESSION_COOKIE_NAME"], self.origin
        self.context.add_cookies([{"name": name, "value": tab.cookie, "url": url}])

    def change(self, what: Any) -> None:
        """Play something else, when the app would ask Spotify again."""
        self.spotify.play(what)  # already, for a request that is on its way
        self.clock.advance(LONG)
        self.spotify.play(what)

    def meets(self, what: Any) -> Page:
        """Play this, log in and open the page."""
        self.change(what)
        self.log_in()
        return self.open()

    def hears(self, what: Any, *shown: str, after: int = 1_000) -> None:
        """Play something else, let the time pass after which the page asks, and see."""
        self.change(what)
        self.page.evaluate("0")  # what was sent before is counted before
        asked = len(self.asked)
        while len(self.asked) == asked:  # an answer may just be on its way
            wait = self.page.locator("#player").get_attribute("data-poll-after-ms")
            # Or a later call would let the time pass while the page waits for this one.
            answer = self.page.expect_response("**/now-playing", timeout=2_000)
            with suppress(TimeoutError), answer:
                self.page.clock.fast_forward(int(wait or 0) + after)
        if shown:
            shows(self.page, *shown)


def heading(page: Page) -> Locator:
    return page.get_by_role("heading", level=1)


def shows(page: Page, state: str, title: str) -> None:
    expect(page.locator("#player")).to_have_attribute("data-state", state)
    expect(heading(page)).to_have_text(title)


def is_logged_out(page: Page) -> None:
    expect(page.get_by_text("User ID: None")).to_be_visible()
    expect(page.get_by_role("link", name="Log in with Spotify")).to_be_visible()
    expect(page.get_by_role("button", name="Log out")).to_have_count(0)
    expect(page.get_by_text("Logged in as")).to_have_count(0)


def flaws(page: Page) -> list[str]:
    """Return what sticks out at the sides, and what axe finds, in both schemes."""
    found: list[str] = page.evaluate("spy.outside()")
    page.clock.resume()  # axe takes its time
    if not page.evaluate("window.axe"):
        page.evaluate(AXE)
    page.emulate_media(color_scheme="dark", reduced_motion="reduce")
    found += page.evaluate("spy.violations", {})
    page.emulate_media(color_scheme="light")
    found += page.evaluate("spy.violations", {"runOnly": ["color-contrast"]})
    page.clock.pause_at(page.evaluate("Date.now()") / 1000 + 1)
    return found


def style(place: Locator, name: str) -> Any:
    return place.evaluate("(it, name) => getComputedStyle(it)[name]", name)


def box(page: Page, selector: str) -> Any:
    return page.locator(selector).bounding_box()
