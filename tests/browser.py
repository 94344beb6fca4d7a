"""A visitor with a real browser, and what the tests ask the pages there."""

from __future__ import annotations

from copy import deepcopy
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from playwright.sync_api import Browser, ConsoleMessage, Locator, Page, Request, expect

from stand_in import StandIn

SPY = Path(__file__).with_suffix(".js").read_text("utf-8")
AXE = files("axe_core_python").joinpath("axe.min.js").read_text("utf-8")


class Visitor:
    """Somebody with a browser of their own, who notices what should not be."""

    def __init__(
        self, browser: Browser, origin: str, spotify: StandIn, **settings: Any
    ) -> None:
        self.origin, self.spotify = origin, spotify
        self.context = browser.new_context(**settings)
        self.context.set_default_timeout(10_000)
        self.context.add_init_script(f"{{{SPY}}}")
        self.complaints: list[str] = []
        self.asked = 0  # how often the pages asked what is playing
        self.context.on("console", self._read)
        self.context.on("weberror", lambda it: self.complaints.append(str(it.error)))
        self.context.on("request", self._see)
        self.page = self.context.new_page()

    def _read(self, message: ConsoleMessage) -> None:
        # Chromium itself notes every answer with an error status, which are wanted.
        if not message.text.startswith("Failed to load resource: "):
            self.complaints.append(message.text)

    def _see(self, request: Request) -> None:
        self.asked += request.url.endswith("/now-playing")
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

    def log_in(self) -> None:
        """Log in, as another tab would; so the app asks Spotify afresh."""
        self.context.clear_cookies()
        ask = self.context.request
        asked = ask.get(f"{self.origin}/login", max_redirects=0).headers["location"]
        query = dict(parse_qsl(urlsplit(asked).query))
        code = self.spotify.grant(**query)
        back = f"{self.origin}/callback?code={code}&state={query['state']}"
        assert ask.get(back, max_redirects=0).status == 307

    def change(self, what: Any) -> None:
        """Play something else, at a time when the app asks Spotify again."""
        self.spotify.play(what)
        self.log_in()  # or it would keep its answer for 2 s

    def meets(self, what: Any) -> Page:
        """Play this, log in and open the page."""
        self.change(what)
        return self.open()

    def hears(self, what: Any, *shown: str, after: int = 5_000) -> None:
        """Play something else, let the time pass after which the page asks, and see."""
        self.change(what)
        self.page.clock.fast_forward(after)
        if shown:
            shows(self.page, *shown)

    def looks_again_at(self, what: Any, *shown: str) -> None:
        """Play something else while the tab is hidden, show the tab again, and see."""
        self.page.evaluate("spy.hide(true)")
        self.change(what)
        self.page.evaluate("spy.hide(false)")
        if shown:
            shows(self.page, *shown)

    def outlast_the_rate_limit(self) -> None:
        """Wait until the app asks Spotify again."""
        while self.context.request.get(f"{self.origin}/now-playing").status == 503:
            pass


def heading(page: Page) -> Locator:
    return page.get_by_role("heading", level=1)


def shows(page: Page, state: str, title: str) -> None:
    expect(page.locator("#player")).to_have_attribute("data-state", state)
    expect(heading(page)).to_have_text(title)


def is_logged_out(page: Page) -> None:
    expect(page.get_by_text("User ID: None")).to_be_visible()
    expect(page.get_by_role("link", name="Log in with Spotify")).to_be_visible()
    expect(page.locator("#player")).to_have_count(0)


def flaws(page: Page) -> list[str]:
    """Return what sticks out at the sides, and what axe finds, in both schemes."""
    found: list[str] = page.evaluate("spy.outside()")
    if not page.evaluate("window.axe"):
        page.evaluate(AXE)
    page.emulate_media(color_scheme="dark", reduced_motion="reduce")
    found += page.evaluate("spy.violations", {})
    page.emulate_media(color_scheme="light")
    found += page.evaluate("spy.violations", {"runOnly": ["color-contrast"]})
    return found


def style(place: Locator, name: str) -> Any:
    return place.evaluate("(it, name) => getComputedStyle(it)[name]", name)


def box(page: Page, selector: str) -> Any:
    return page.locator(selector).bounding_box()
