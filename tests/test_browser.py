"""The pages in a real browser: `python app.py` before it, the stand-in behind it."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from threading import Event
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Route, expect, sync_playwright

from app import create_app
from config import Config
from problems import KINDS, Problem
from stand_in import StandIn
from stand_in.failures import answer
from tests.browser import (
    ADDRESSES,
    COUNT_FULL_SCREEN,
    COUNT_REPAINTS,
    FOCUSED,
    HIDING,
    OUTSIDE,
    Site,
    Visitor,
    go_back,
    heading,
    is_logged_out,
    player,
    shows,
    track,
    violations,
)
from tests.conftest import CLIENT_ID, needs
from tests.wire import hold

ROOT = Path(__file__).parents[1]
UNSET = (  # whatever a developer's .env says
    "SPOTIFY_CLIENT_SECRET",
    "SPOTIFY_REDIRECT_URI",
    "HOST",
    "SECRET_KEY",
    "REDIS_URL",
    "WORKERS",
    "THREADS",
)
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
HOUR = 3_600_000  # milliseconds, as all times of a page

TITLE = "Postcards to the Ferryman"
PLAYS = [  # name in the stand-in, data-state, what the heading says
    ("track", "playing", TITLE),
    ("paused", "paused", "Escalator Waltz"),
    ("ad", "ad", "An advertisement is playing."),
    ("episode", "playing", "Why Does the Fridge Hum at Night?"),
    ("local", "playing", "Kitchen Demo, Take 4"),
    ("nothing", "nothing", "Nothing is playing, or it is a private session."),
    ("unknown", "unknown", "Something is playing that Spotify does not name."),
]
A_SECOND = answer(429, {}, "Connection: close", "Retry-After: 1")
FAILS: list[tuple[str | bytes, str, str]] = [  # how, data-state, what the page says
    ("not_registered", "not_registered", "is not on the app’s list of users. Ask "),
    ("owner_premium", "owner_premium", "while the app’s owner has Premium. The "),
    ("forbidden", "forbidden", "refuses to say what is playing. Log out and "),
    ("server_error", "unreachable", "can’t be reached, or its answer makes no "),
    (A_SECOND, "rate_limited", "asked too often. Nothing is lost: "),
]
LONG_TITLES = ["Endless " * 625, "x" * 5000, "مرحبا بالعالم " * 20, "שלום", "W" * 60]

Arrive = Callable[..., Visitor]


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """Run the app as the README says, with a stand-in for Spotify."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with StandIn(client_id=CLIENT_ID) as spotify:
        settings = dict.fromkeys(UNSET, "") | {
            "SPOTIFY_CLIENT_ID": CLIENT_ID,
            "SPOTIFY_ACCOUNTS_URL": spotify.accounts_url,
            "SPOTIFY_API_URL": spotify.api_url,
            "PORT": str(port),
        }
        app = subprocess.Popen(
            [sys.executable, "app.py"],
            cwd=ROOT,
            env=os.environ | settings,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            while app.poll() is None:
                with suppress(OSError):
                    socket.create_connection(("127.0.0.1", port)).close()
                    break
                with suppress(subprocess.TimeoutExpired):
                    app.wait(0.05)
            assert app.poll() is None, "the app does not start"
            yield Site(f"http://127.0.0.1:{port}", spotify)
        finally:
            app.send_signal(signal.SIGTERM)
            status = app.wait()
        assert status == 0


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    needs("Chromium", program is not None)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=program,
            args=ARGUMENTS,
            # People's browsers keep pages for the way back.
            ignore_default_args=["--disable-back-forward-cache"],
        )
        yield browser
        browser.close()


@pytest.fixture
def arrive(browser: Browser, site: Site) -> Iterator[Arrive]:
    """Give a function that makes a visitor; settings of a context can be given."""
    site.spotify.heal()
    site.spotify.play("track")
    visitors: list[Visitor] = []

    def make(**settings: Any) -> Visitor:
        visitors.append(Visitor(browser, site, **settings))
        return visitors[-1]

    yield make
    for visitor in visitors:
        visitor.context.close()
    assert [words for visitor in visitors for words in visitor.complaints] == []


# ---- The journey


@pytest.mark.parametrize("javascript", [True, False])
def test_journey_from_localhost(arrive: Arrive, javascript: bool) -> None:
    visitor = arrive(java_script_enabled=javascript)
    page, origin = visitor.page, visitor.origin
    page.goto(origin.replace("127.0.0.1", "localhost"))
    expect(page).to_have_url(f"{origin}/")
    is_logged_out(page)
    expect(page.locator("code")).to_have_text(f"{origin}/callback")

    page.get_by_role("link", name="Log in with Spotify").click()
    expect(page).to_have_url(re.compile(f"^{visitor.spotify.url}/authorize[?]"))
    page.get_by_role("button", name="Agree").click()
    expect(page).to_have_url(f"{origin}/")  # and no code in it
    shows(page, "playing", TITLE)
    expect(page).to_have_title(f"{TITLE} \N{EN DASH} The Tidewater Clerks")
    expect(page.get_by_text("Logged in as Robin Vale (robin).")).to_be_visible()
    cover = page.get_by_role("img", name="Cover of Minutes of the Last Meeting")
    expect(cover).to_have_js_property("naturalWidth", 300)

    button = page.get_by_role("button", name="Full screen")
    expect(button).to_have_count(int(javascript))
    refresh = page.locator("meta[http-equiv=refresh][content='30']")
    expect(refresh).to_have_count(int(not javascript))
    words = "Without JavaScript, this page reloads every 30 seconds."
    expect(page.locator("noscript p")).to_have_text([] if javascript else [words])

    page.get_by_role("button", name="Log out").click()
    expect(page).to_have_url(f"{origin}/")
    is_logged_out(page)


def test_cancel_leads_back_with_a_sentence(arrive: Arrive) -> None:
    page = arrive().open()
    page.get_by_role("link", name="Log in with Spotify").click()
    page.get_by_role("button", name="Cancel").click()
    is_logged_out(page)
    expect(page.locator(".notice")).to_contain_text("The login was cancelled, so")
    page.reload()
    is_logged_out(page)
    expect(page.locator(".notice")).to_have_count(0)


def test_way_back_after_login_begins_nothing_twice(arrive: Arrive) -> None:
    page = arrive().open()
    page.get_by_role("link", name="Log in with Spotify").click()
    page.get_by_role("button", name="Agree").click()
    shows(page, "playing", TITLE)
    go_back(page)
    page.get_by_role("button", name="Agree").click()  # once more, with the same state
    expect(heading(page)).to_contain_text("Invalid state!")
    page.get_by_role("link", name="Back to the start").click()
    shows(page, "playing", TITLE)
    go_back(page, 3)
    shows(page, "playing", TITLE)  # where the logged-out page was


def test_way_back_after_log_out_shows_nobody(arrive: Arrive) -> None:
    visitor = arrive()
    page, other = visitor.meets("track"), visitor.context.new_page()
    visitor.open("/missing")
    other.goto(visitor.origin)
    other.get_by_role("button", name="Log out").click()
    is_logged_out(other)
    go_back(other)
    is_logged_out(other)
    go_back(page)
    is_logged_out(page)


# ---- Alive without a reload


def test_every_state_arrives_live(arrive: Arrive) -> None:
    visitor = arrive().stop_the_clock()
    page = visitor.meets("nothing")
    page.evaluate("window.loaded = 'once'")
    for what, state, title in [*PLAYS, *reversed(PLAYS)]:
        visitor.hears(what, after=30_000)
        shows(page, state, title)
        tab = re.compile(f"^{re.escape(title)}( \N{EN DASH} |$)")
        expect(page).to_have_title(tab if state == "playing" else "Now Playing")
    assert page.evaluate("window.loaded") == "once"


@pytest.mark.parametrize(("how", "state", "words"), FAILS, ids=[f[1] for f in FAILS])
def test_trouble_leaves_the_last_track(
    arrive: Arrive, how: str | bytes, state: str, words: str
) -> None:
    visitor = arrive().stop_the_clock()
    page = visitor.meets("track")
    status = page.locator(".status")
    expect(status).to_be_hidden()
    visitor.spotify.fail("player", how, 1)
    visitor.hears("track")
    shows(page, state, TITLE)
    expect(status).to_contain_text(words)
    expect(page.get_by_role("link", name="The Tidewater Clerks")).to_be_visible()
    visitor.hears("episode", after=300_000)
    shows(page, "playing", "Why Does the Fridge Hum at Night?")
    expect(status).to_be_hidden()

    visitor.hears("ad")
    shows(page, "ad", "An advertisement is playing.")
    visitor.spotify.fail("player", how, 1)
    visitor.hears("ad")  # there is no track that could stay
    expect(player(page)).to_have_attribute("data-state", state)
    expect(heading(page)).to_contain_text(words.partition(". ")[0])
    visitor.hears("track", after=300_000)
    shows(page, "playing", TITLE)


def test_lost_server_is_asked_again_once_online(arrive: Arrive) -> None:
    visitor = arrive().stop_the_clock()
    page = visitor.meets("track")
    visitor.context.set_offline(True)
    page.clock.run_for(5_000)
    shows(page, "unreachable", TITLE)
    expect(page.locator(".status")).to_contain_text("lost touch with its server.")
    visitor.context.set_offline(False)
    shows(page, "playing", TITLE)


def test_ended_session_leads_to_the_reason(arrive: Arrive) -> None:
    visitor = arrive().stop_the_clock()
    page = visitor.meets("track")
    visitor.log_in()
    visitor.spotify.expire_tokens()
    visitor.spotify.revoke()
    page.clock.run_for(5_000)
    is_logged_out(page)
    expect(page.locator(".notice")).to_contain_text("Spotify has ended this login: ")


@pytest.mark.parametrize(
    ("playing", "within"),
    [("track", 6_000), ("paused", 16_000), ("nothing", 31_000), ("the end", 3_100)],
)
def test_change_shows_in_time(arrive: Arrive, playing: str, within: int) -> None:
    visitor = arrive().stop_the_clock()
    the_end = track(visitor.spotify, progress_ms=24_000)  # of 26 s
    page = visitor.meets(the_end if playing == "the end" else playing)
    visitor.change("duet")
    page.clock.run_for(within)
    shows(page, "playing", "Second-Best Umbrella")
    assert visitor.asked == 1


def test_hidden_tab_sends_nothing(arrive: Arrive) -> None:
    visitor = arrive().stop_the_clock()
    visitor.context.add_init_script(HIDING)
    page = visitor.meets("track")
    page.evaluate("hide(true)")
    page.clock.run_for(3 * HOUR)
    visitor.hears("duet", after=HOUR)
    assert visitor.asked == 0
    page.evaluate("hide(false)")  # and no time passes
    shows(page, "playing", "Second-Best Umbrella")
    assert visitor.asked == 1

    with hold(visitor.spotify, "player") as held:
        visitor.hears("track")
        assert held.arrived()
        with page.expect_event("requestfailed"):
            page.evaluate("hide(true)")
        page.clock.run_for(HOUR)
        assert visitor.asked == 2
        with page.expect_request("**/now-playing"):
            page.evaluate("hide(false)")
    shows(page, "playing", TITLE)


def test_log_out_reaches_the_other_tab(arrive: Arrive) -> None:
    visitor = arrive().stop_the_clock()
    page = visitor.meets("track")
    other = visitor.context.new_page()
    other.goto(visitor.origin)
    other.get_by_role("button", name="Log out").click()
    is_logged_out(other)
    shows(page, "playing", TITLE)
    page.clock.run_for(5_000)
    is_logged_out(page)


def test_five_tabs_ask_spotify_as_one(arrive: Arrive) -> None:
    visitor = arrive().stop_the_clock()
    times: list[float] = []

    def note(connection: socket.socket, _: Event) -> None:
        times.append(time.monotonic())
        connection.sendall(answer(200, visitor.spotify.playing("robin")))

    visitor.spotify.fail("player", note)
    pages = [visitor.meets("track")]
    pages += [visitor.context.new_page() for _ in range(4)]
    for page in pages[1:]:
        page.goto(visitor.origin)
    while len(times) < 3:
        for page in pages:
            page.clock.fast_forward(5_000)
    assert visitor.asked > 3 * 5
    assert [b - a for a, b in pairwise(times) if b - a < 1.95] == []


def test_unchanged_track_is_not_touched(arrive: Arrive) -> None:
    visitor = arrive().stop_the_clock()
    page = visitor.meets("track")
    page.evaluate(COUNT_REPAINTS)
    visitor.hears(track(visitor.spotify, progress_ms=5_000))
    expect(player(page)).to_have_attribute("data-progress-ms", re.compile("^5...$"))
    visitor.hears(track(visitor.spotify, is_playing=False))
    shows(page, "paused", TITLE)
    assert page.evaluate("repaints") == 0
    expect(page.locator("[aria-live]")).to_have_text([TITLE])


def test_focus_and_selection_survive(arrive: Arrive) -> None:
    visitor = arrive().stop_the_clock()
    page, select = visitor.meets("track"), "getSelection().selectAllChildren"
    page.evaluate(f"{select}(document.querySelector('.source a'))")
    page.get_by_role("link", name="The Tidewater Clerks").focus()
    visitor.hears(track(visitor.spotify, name="Another", artist="Somebody"))
    shows(page, "playing", "Another")
    assert page.evaluate("`${getSelection()}`") == "Minutes of the Last Meeting"
    expect(page.get_by_role("link", name="Somebody")).to_be_focused()
    visitor.hears("nothing")  # and so no link
    shows(page, "nothing", "Nothing is playing, or it is a private session.")
    expect(player(page)).to_be_focused()


def test_progress_runs_on_and_ends(arrive: Arrive) -> None:
    visitor = arrive().stop_the_clock()
    page = visitor.meets(track(visitor.spotify, progress_ms=3_750, is_playing=False))
    bar = page.get_by_role("progressbar", name="How far it has played")
    elapsed = page.locator("time").first
    page.clock.run_for(9_000)
    expect(bar).to_have_js_property("value", 3_750)  # paused
    expect(elapsed).to_have_text("0:03")
    visitor.hears(track(visitor.spotify, progress_ms=3_750), after=15_000)
    expect(page.locator(".label")).to_have_text("Playing")
    page.context.set_offline(True)  # from here on it counts by itself
    start = bar.evaluate("(bar) => bar.value")
    page.clock.run_for(4_000)
    assert 3_000 <= bar.evaluate("(bar) => bar.value") - start <= 4_000
    page.clock.fast_forward(60_000)  # as after a sleep
    expect(bar).to_have_js_property("value", 26_000)
    expect(elapsed).to_have_text("0:26")


# ---- For everyone


def test_nothing_is_wider_than_320_px(arrive: Arrive) -> None:
    visitor = arrive(viewport={"width": 320, "height": 640})
    page, spotify = visitor.open(), visitor.spotify
    page.locator("summary").click()
    assert page.evaluate(OUTSIDE) == []
    page.get_by_role("link", name="Log in with Spotify").click()
    assert page.evaluate(OUTSIDE) == []
    visitor.open("/callback")
    assert page.evaluate(OUTSIDE) == []
    long = [track(spotify, name=t, artist=t, album=t) for t in LONG_TITLES]
    for what in [*(what for what, *_ in PLAYS), *long]:
        visitor.meets(what)
        assert page.evaluate(OUTSIDE) == [], what
    expect(heading(page)).to_have_css("direction", "ltr")
    for how, *_ in FAILS:
        spotify.fail("player", how, 1)
        visitor.meets("track")
        assert page.evaluate(OUTSIDE) == [], how
    visitor.meets(long[3])
    expect(heading(page)).to_have_css("direction", "rtl")


def test_keyboard_is_enough(arrive: Arrive) -> None:
    page = arrive().open()

    def stops(*names: str) -> list[str]:
        seen = []
        for _ in names:
            page.keyboard.press("Tab")
            seen.append(re.sub(r"\s+", " ", page.evaluate(FOCUSED)))
        return seen

    out = ["Now Playing", "Log in with Spotify"]
    assert stops(*out) == out
    page.keyboard.press("Enter")
    expect(heading(page)).to_have_text("Log in to the app?")
    assert stops("the first person", "Agree") == ["", "Agree"]
    page.keyboard.press("Enter")
    shows(page, "playing", TITLE)
    expect(page.get_by_role("button", name="Full screen")).to_be_visible()
    links = ["The Tidewater Clerks", "Minutes of the Last Meeting", "Listen on Spotify"]
    stops_in = ["Now Playing", "Full screenLeave full screen f", *links]
    stops_in += ["Disconnect at Spotify", "Log out"]
    assert stops(*stops_in) == stops_in
    page.keyboard.press("Enter")
    is_logged_out(page)


def test_f_is_full_screen(arrive: Arrive) -> None:
    visitor = arrive().stop_the_clock()
    visitor.context.add_init_script(COUNT_FULL_SCREEN)
    page = visitor.meets("track")
    needs("Full screen", page.evaluate("document.fullscreenEnabled"))
    root = page.locator(":root")
    full, idle = page.locator(":root:fullscreen"), re.compile(r"\bidle\b")
    for keys in ("Control+f", "Alt+f", "Meta+f", "Shift+F", "g", "Space", "Enter"):
        page.keyboard.press(keys)
    assert page.evaluate("asked") == 0
    page.keyboard.press("f")
    page.wait_for_function("changed === 1")
    expect(full).to_have_count(1)
    page.clock.run_for(2_900)
    expect(root).not_to_have_class(idle)
    page.clock.run_for(100)
    expect(root).to_have_class(idle)
    expect(root).to_have_css("cursor", "none")
    leave = page.get_by_role("button", name="Leave full screen")
    expect(leave).to_have_css("opacity", "0")
    expect(heading(page)).to_be_visible()
    page.mouse.move(50, 50)
    expect(root).not_to_have_class(idle)
    leave.click()
    expect(full).to_have_count(0)
    page.keyboard.down("f")
    page.keyboard.down("f")  # which a key held down does by itself
    expect(full).to_have_count(1)
    assert page.evaluate("asked") == 2
    page.keyboard.up("f")
    page.keyboard.press("f")
    expect(full).to_have_count(0)
    page.clock.run_for(9_000)
    expect(root).not_to_have_class(idle)


# ---- Weight


def test_page_is_light(arrive: Arrive) -> None:
    visitor = arrive()
    page, get = visitor.meets("duet"), visitor.context.request.get
    paths = set(page.evaluate(ADDRESSES))
    assert sorted(urlsplit(url).path for url in paths) == [
        "/static/favicon.svg",
        "/static/player.js",
        "/static/style.css",
    ]
    assert sum(len(get(url).body()) for url in {page.url, *paths}) < 30_000


def test_static_files_are_kept_until_they_change(arrive: Arrive) -> None:
    visitor = arrive()
    for url in visitor.meets("track").evaluate(ADDRESSES):
        assert re.search(r"\?v=[0-9a-f]{12}$", url)
        rule = visitor.context.request.get(url).headers["cache-control"]
        seconds = re.search(r"max-age=(\d+)", rule)
        assert int(seconds[1] if seconds else 0) >= 31_536_000, rule  # a year


# ---- axe-core


def fulfil(html: str) -> Callable[[Route], None]:
    return lambda route: route.fulfill(body=html, content_type="text/html")


def test_axe_finds_nothing_while_logged_in(arrive: Arrive) -> None:
    visitor = arrive()
    long = [track(visitor.spotify, name=title) for title in LONG_TITLES]
    for what in [*(what for what, *_ in PLAYS), "explicit", *long]:
        assert violations(visitor.meets(what)) == [], what
    for how, state, _ in FAILS:
        visitor.spotify.fail("player", how, 1)
        page = visitor.meets("track")
        expect(player(page)).to_have_attribute("data-state", state)
        assert violations(page) == [], state
    visitor.meets("track")


def test_axe_finds_nothing_on_the_way(arrive: Arrive) -> None:
    visitor = arrive()
    page = visitor.open()
    page.locator("summary").click()
    assert violations(page) == []
    page.get_by_role("link", name="Log in with Spotify").click()
    assert violations(page) == []
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator(".notice")).to_be_visible()
    assert violations(page) == []
    for path in ("/", "/switches", "/authorize?client_id=somebody"):
        page.goto(visitor.spotify.url + path)
        assert violations(page) == [], path


def test_axe_finds_nothing_on_any_problem_page(arrive: Arrive) -> None:
    visitor = arrive()
    app = create_app(Config(CLIENT_ID))
    for name in KINDS:
        with app.test_request_context():
            html = app.jinja_env.get_template("problem.html").render(
                problem=Problem(name, 7 if KINDS[name].status == 503 else None)
            )
        url = f"{visitor.origin}/problem/{name}"
        visitor.context.route(url, fulfil(html))
        page = visitor.open(f"/problem/{name}")
        expect(heading(page)).to_have_text(KINDS[name].message)
        assert violations(page) == [], name
