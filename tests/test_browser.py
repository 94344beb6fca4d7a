"""The pages in a real browser: `python app.py` before it, the stand-in behind it."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from random import Random
from typing import Any

import pytest
from flask import render_template
from playwright.sync_api import Browser, Page, Route, expect, sync_playwright
from users import Current

from app import create_app
from config import DEMO_CLIENT_ID, Config
from problems import KINDS, Problem
from spotify.playback import NowPlaying
from stand_in import StandIn
from stand_in.failures import answer
from tests.browser import Visitor, box, flaws, heading, is_logged_out, shows, style
from tests.conftest import CLIENT_ID, needs
from tests.test_server import Server
from tests.wire import hold
from web.pages import Pages

pytestmark = pytest.mark.browser

ROOT = Path(__file__).parents[1]
TITLE = "Postcards to the Ferryman"
DUET = "Second-Best Umbrella"
NOTHING = "Nothing is playing, or the session is private."
PLAYS = [  # name in the stand-in, data-state, what the heading says
    ("track", "playing", TITLE),
    ("paused", "paused", "Escalator Waltz"),
    ("ad", "ad", "An ad is playing."),
    ("episode", "playing", "Why Does the Fridge Hum at Night?"),
    ("local", "playing", "Kitchen Demo, Take 4"),
    ("nothing", "nothing", NOTHING),
    ("unknown", "unknown", "Spotify doesn’t say what’s playing."),
]
FAILS: list[tuple[str | bytes, str]] = [  # how, data-state
    ("not_registered", "not_registered"),
    ("server_error", "unreachable"),
    (answer(429, {}, "Connection: close", "Retry-After: 1"), "rate_limited"),
]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, StandIn]]:
    """Run the app as the README says; give where, and the stand-in for Spotify."""
    with StandIn(client_id=CLIENT_ID) as spotify:
        urls = {"SPOTIFY_ACCOUNTS_URL": spotify.url, "SPOTIFY_API_URL": spotify.api_url}
        folder = tmp_path_factory.mktemp("app")
        with Server(folder, SPOTIFY_CLIENT_ID=CLIENT_ID, **urls) as server:
            yield f"http://127.0.0.1:{server.port}", spotify


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    names = ("chromium", "chromium-browser", "google-chrome")
    program = next(filter(None, map(shutil.which, names)), None)
    needs("Chromium", program is not None)
    with sync_playwright() as playwright:
        # People's browsers keep pages for the way back.
        unwanted = ["--disable-back-forward-cache"]
        yield playwright.chromium.launch(
            executable_path=program, ignore_default_args=unwanted
        )


@pytest.fixture
def visitor(
    browser: Browser, site: tuple[str, StandIn], request: pytest.FixtureRequest
) -> Iterator[Visitor]:
    """Somebody for whose pages time passes only when told to."""
    visitor = Visitor(browser, *site, **getattr(request, "param", {}))
    visitor.spotify.heal()
    visitor.spotify.play("track")
    visitor.context.clock.install(time=1_800_000_000)
    visitor.context.clock.pause_at(1_800_000_001)
    yield visitor
    visitor.context.close()
    assert visitor.complaints == []


def answer_with(visitor: Visitor, path: str, html: str, status: int = 200) -> None:
    """Let this be what comes from a path."""
    told: dict[str, Any] = {"content_type": "text/html; charset=utf-8", "body": html}
    visitor.context.route(f"**{path}", lambda it: it.fulfill(status=status, **told))


def preview(visitor: Visitor, client_id: str, what: Problem | Current) -> Page:
    """Open a page that the app would not show just now."""
    app = create_app(config := Config(client_id))
    with app.test_request_context():
        if isinstance(what, Current):
            html = Pages(app, config).main("x", what)
        else:
            html = render_template("problem.html", problem=what)
    answer_with(visitor, "/preview", html)
    return visitor.open("/preview")


# ---- The journey


@pytest.mark.parametrize(
    ("visitor", "javascript"),
    [({}, True), ({"java_script_enabled": False}, False)],
    indirect=["visitor"],
)
def test_journey_from_localhost(visitor: Visitor, javascript: bool) -> None:
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
    expect(page.get_by_text("Logged in as Robin Vale (robin)")).to_be_visible()
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


def test_way_back_after_log_out_shows_nobody(visitor: Visitor) -> None:
    visitor.context.clock.resume()
    page, other = visitor.meets("track"), visitor.context.new_page()
    visitor.open("/missing")
    other.goto(visitor.origin)
    other.get_by_role("button", name="Log out").click()
    is_logged_out(other)
    for tab in (other, page):
        # Page.go_back waits for a load, and a page that was kept has none.
        tab.evaluate("window.left = true; setTimeout(() => history.back())")
        tab.wait_for_function("!window.left")
        is_logged_out(tab)


# ---- Alive without a reload


def test_every_state_arrives_live_fits_320_px_and_passes_axe(visitor: Visitor) -> None:
    page = visitor.meets("nothing")
    page.clock.resume()
    page.set_viewport_size({"width": 320, "height": 640})
    page.evaluate("window.loaded = 'once'")
    for number, (what, state, title) in enumerate([*PLAYS, *reversed(PLAYS)]):
        visitor.looks_again_at(what, state, title)
        mark = {"playing": "", "paused": "⏸ "}.get(state)
        tab = re.compile(f"^{mark}{re.escape(title)} \N{EN DASH} ")
        expect(page).to_have_title("Now Playing" if mark is None else tab)
        assert number >= len(PLAYS) or flaws(page) == [], what
    assert page.evaluate("window.loaded") == "once"


def test_long_titles_and_trouble_fit_320_px_and_pass_axe(visitor: Visitor) -> None:
    page = visitor.meets("nothing")
    page.clock.resume()
    page.set_viewport_size({"width": 320, "height": 640})
    arabic = "مرحبا بالعالم " * 20
    for title, direction in (("W" * 60, "ltr"), ("x" * 5_000, "ltr"), (arabic, "rtl")):
        named = visitor.track(name=title, artist=title, album=title, explicit=True)
        visitor.looks_again_at(named)
        expect(heading(page)).to_contain_text(title[:60].strip())
        expect(heading(page)).to_have_css("direction", direction)
        assert flaws(page) == [], title
    for how, state in FAILS:
        visitor.looks_again_at("nothing", "nothing", NOTHING)
        visitor.spotify.fail("player", how, 1)
        visitor.looks_again_at("nothing")  # there is no track that could stay
        shows(page, state, KINDS[state].message)
        assert flaws(page) == [], state
    visitor.outlast_the_rate_limit()


def test_pages_on_the_way_fit_320_px_and_pass_axe(visitor: Visitor) -> None:
    page = visitor.open()
    page.clock.resume()
    page.set_viewport_size({"width": 320, "height": 640})
    page.locator("summary").click()
    assert flaws(page) == []
    page.get_by_role("link", name="Log in with Spotify").click()
    assert flaws(page) == []
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator(".notice")).to_contain_text(KINDS["cancelled"].message)
    assert flaws(page) == []
    for name in ("invalid_state", "wrong_host", "client_refused", "login_later"):
        problem = Problem(name, 7)
        preview(visitor, CLIENT_ID, problem)
        expect(heading(page)).to_have_text(problem.message)
        assert flaws(page) == [], problem.name
    for path in ("/switches", "/authorize?client_id=somebody"):
        page.goto(visitor.spotify.url + path)
        assert flaws(page) == [], path


def test_trouble_leaves_the_last_track(visitor: Visitor) -> None:
    page = visitor.meets("track")
    status = page.locator(".status")
    for how, state in FAILS:
        expect(status).to_be_hidden()
        visitor.spotify.fail("player", how, 1)
        visitor.hears("track", state, TITLE)
        expect(status).to_contain_text(KINDS[state].message)
        expect(page.get_by_role("link", name="The Tidewater Clerks")).to_be_visible()
        if state == "rate_limited":
            expect(status).to_contain_text("Trying again shortly.")  # not "in 1 second"
            visitor.outlast_the_rate_limit()
        visitor.hears("track", "playing", TITLE, after=330_000)
    visitor.context.set_offline(True)
    page.clock.run_for(6_000)
    shows(page, "unreachable", TITLE)
    expect(status).to_contain_text("can’t reach its server.")
    visitor.context.set_offline(False)  # and no time passes
    shows(page, "playing", TITLE)


def test_ended_session_leads_to_the_reason(visitor: Visitor) -> None:
    page = visitor.meets("track")
    visitor.log_in()
    visitor.spotify.expire_tokens()
    visitor.spotify.revoke()
    page.clock.run_for(5_000)
    is_logged_out(page)
    expect(page.locator(".notice")).to_contain_text(KINDS["session_ended"].message)


def test_change_shows_in_time(visitor: Visitor) -> None:
    the_end = visitor.track(progress_ms=24_000)  # of 26 s
    waits = [("track", 6_000), ("paused", 16_000), ("nothing", 31_000)]
    for number, (playing, within) in enumerate([*waits, (the_end, 3_100)], 1):
        page = visitor.meets(playing)
        visitor.change("duet")
        page.clock.run_for(within)
        shows(page, "playing", DUET)
        assert visitor.asked == number


def test_hidden_tab_sends_nothing(visitor: Visitor) -> None:
    page = visitor.meets("track")
    page.evaluate("spy.hide(true)")
    page.clock.run_for("03:00:00")
    visitor.change("duet")
    assert visitor.asked == 0
    page.evaluate("spy.hide(false)")  # and no time passes
    shows(page, "playing", DUET)
    assert visitor.asked == 1

    with hold(visitor.spotify, "player") as held:
        visitor.hears("track")
        assert held.arrived()
        with page.expect_event("requestfailed"):
            page.evaluate("spy.hide(true)")
        page.clock.run_for("01:00:00")
        assert visitor.asked == 2
        with page.expect_request("**/now-playing"):
            page.evaluate("spy.hide(false)")
    shows(page, "playing", TITLE)


def test_only_what_changed_is_touched(visitor: Visitor) -> None:
    page, select = visitor.meets("track"), "getSelection().selectAllChildren"
    page.evaluate("spy.countRepaints()")
    visitor.hears(visitor.track(progress_ms=5_000))
    player = page.locator("#player")
    expect(player).to_have_attribute("data-progress-ms", re.compile("^5...$"))
    visitor.hears(visitor.track(is_playing=False), "paused", TITLE)
    assert page.evaluate("spy.repaints") == 0

    page.evaluate(f"{select}(document.querySelector('.source a'))")
    page.get_by_role("link", name="The Tidewater Clerks").focus()
    visitor.hears(visitor.track(name="Another", artist="Ann"), after=15_000)
    shows(page, "playing", "Another")
    assert page.evaluate("`${getSelection()}`") == "Minutes of the Last Meeting"
    expect(page.get_by_role("link", name="Ann")).to_be_focused()
    visitor.hears("nothing", "nothing", NOTHING)  # and so no link
    expect(player).to_be_focused()


def test_progress_runs_on_and_ends(visitor: Visitor) -> None:
    page = visitor.meets(visitor.track(progress_ms=3_750, is_playing=False))
    bar = page.get_by_role("progressbar", name="Playback position")
    elapsed = page.locator("time").first
    page.clock.run_for(9_000)
    expect(bar).to_have_js_property("value", 3_750)  # paused
    expect(elapsed).to_have_text("0:03")
    visitor.hears(visitor.track(progress_ms=3_750), after=15_000)
    expect(page.locator(".label")).to_have_text("Playing")
    page.context.set_offline(True)  # from here on it counts by itself
    start = bar.evaluate("(bar) => bar.value")
    page.clock.run_for(4_000)
    assert 3_000 <= bar.evaluate("(bar) => bar.value") - start <= 4_000
    page.clock.fast_forward(60_000)  # as after a sleep
    expect(bar).to_have_js_property("value", 26_000)
    expect(elapsed).to_have_text("0:26")


# ---- For everyone


def test_keyboard_is_enough(visitor: Visitor) -> None:
    page = visitor.open()

    def tab_through(*stops: str) -> None:
        for words in stops:
            page.keyboard.press("Tab")
            assert re.sub(r"\s+", " ", page.evaluate("spy.focused()")) == words

    tab_through("Now Playing", "Log in with Spotify")
    page.keyboard.press("Enter")
    expect(heading(page)).to_have_text("Log in to the app?")
    tab_through("", "Agree")  # after the choice of a person
    page.keyboard.press("Enter")
    shows(page, "playing", TITLE)
    expect(page.get_by_role("button", name="Full screen")).to_be_visible()
    tab_through("Now Playing", "Full screenLeave full screen", "The Tidewater Clerks")
    tab_through("Minutes of the Last Meeting", "Listen on Spotify")
    tab_through(page.locator(".id").inner_text(), "Remove access on Spotify", "Log out")
    page.keyboard.press("Enter")
    is_logged_out(page)


def test_full_screen_by_button_or_shift_f(visitor: Visitor) -> None:
    page = visitor.meets("track")
    needs("Full screen", page.evaluate("document.fullscreenEnabled"))
    root, idle = page.locator(":root"), re.compile(r"\bidle\b")
    full = page.locator(":root:fullscreen")
    for keys in ("f", "Control+Shift+F", "Alt+Shift+F", "Meta+Shift+F", "Shift+G"):
        page.keyboard.press(keys)
    expect(full).to_have_count(0)
    page.keyboard.down("Shift")
    page.keyboard.down("F")
    expect(full).to_have_count(1)
    page.keyboard.down("F")  # which a key held down does by itself
    page.clock.run_for(2_900)
    expect(root).not_to_have_class(idle)
    page.clock.run_for(100)
    expect(root).to_have_class(idle)
    expect(root).to_have_css("cursor", "none")
    for selector in ("header", ".more .button"):
        expect(page.locator(selector)).to_have_css("opacity", "0")
    for selector in ("h1", ".by", ".source", "progress", ".spotify"):
        expect(page.locator(selector)).to_be_visible()
    expect(page.locator("footer")).to_be_hidden()
    page.mouse.move(50, 50)
    expect(root).not_to_have_class(idle)
    page.get_by_role("button", name="Leave full screen").click()
    expect(full).to_have_count(0)
    page.clock.run_for(9_000)
    expect(root).not_to_have_class(idle)


def test_news_is_said_once(visitor: Visitor) -> None:
    page = visitor.meets("track")
    for region in page.locator("[role=status]").all():
        assert style(region, "display") != "none"  # or what fills it is not said
    page.evaluate("spy.listen()")
    visitor.hears("duet", "playing", DUET)
    page.clock.run_for(4_000)  # progress is not news
    visitor.hears("paused", "paused", "Escalator Waltz")
    visitor.hears("encore", "playing", "Escalator Waltz", after=15_000)
    visitor.spotify.fail("player", "forbidden", 1)
    visitor.hears("ad", "forbidden", "Escalator Waltz")
    trouble = page.locator(".status").inner_text()
    visitor.hears("ad", "ad", "An ad is playing.", after=66_000)
    said = [f"{DUET} \N{EN DASH} Odile Marsh, Halden & Rue"]
    said += ["Paused: Escalator Waltz \N{EN DASH} Nine Quiet Engines", "Playing"]
    said += [trouble, "An ad is playing. Your music will be back in a moment."]
    assert page.evaluate("spy.heard") == said


def test_busy_is_not_worth_a_word_unless_it_lasts(visitor: Visitor) -> None:
    page = visitor.meets("track")
    busy = page.locator("#lost").inner_html().replace("unreachable", "busy")
    busy = busy.replace("<section", '<section id="player" data-poll-after-ms="1000"')
    answer_with(visitor, "/now-playing", busy, 503)
    for wait in (5_000, 1_000):
        with page.expect_response("**/now-playing"):
            page.clock.run_for(wait)
        shows(page, "playing", TITLE)
    page.clock.run_for(1_000)
    shows(page, "busy", TITLE)
    expect(page.locator(".status")).to_be_visible()


def test_old_browsers_stay_current(visitor: Visitor) -> None:
    visitor.context.add_init_script("spy.growOld()")
    page = visitor.meets("track")
    visitor.hears("duet", "playing", DUET)
    expect(page.locator(":root")).to_have_attribute("style", re.compile("--art-back"))
    visitor.spotify.fail("player", "server_error", 1)
    visitor.hears("duet", "unreachable", DUET)
    sheet = (ROOT / "static/style.css").read_text("utf-8").partition("*/")[2]
    assert not re.search(r":has[(]|color-mix|\dlh\b|&", sheet)


# ---- From across the room


def test_words_and_picture_change_together(visitor: Visitor) -> None:
    page, cover = visitor.meets("track"), visitor.page.locator(".art img")
    glyph = page.locator(".art svg")
    page.evaluate("spy.watchTitle()")
    visitor.hears("duet", "playing", DUET)
    assert page.evaluate("spy.pictureSeen")
    held: list[Route] = []
    page.route("**/art/*", lambda route: held.append(route))
    with page.expect_request("**/art/*"):
        visitor.hears("episode", "playing", DUET)
    page.clock.run_for(1_500)  # and no longer
    shows(page, "playing", "Why Does the Fridge Hum at Night?")
    expect(cover).to_be_hidden()
    expect(glyph).to_be_visible()
    for route in held:
        route.continue_()
    expect(cover).to_be_visible()
    expect(glyph).to_be_hidden()
    page.route("**/art/*", lambda route: route.abort())
    visitor.hears("track", "playing", TITLE)
    expect(cover).to_be_hidden()
    expect(glyph).to_be_visible()


def test_colours_come_from_the_cover_where_it_can_be_read(visitor: Visitor) -> None:
    visitor.page.emulate_media(color_scheme="dark", reduced_motion="reduce")
    page = visitor.meets("local")  # which has no cover
    body = page.locator("body")
    own = style(body, "backgroundColor")
    visitor.hears("track")
    expect(body).not_to_have_css("background-color", own)
    page.emulate_media(color_scheme="light")
    expect(body).to_have_css("background-color", re.compile(r"\(2\d\d, 2\d\d, 2"))
    page.emulate_media(color_scheme="dark")
    expect(body).to_have_css("background-color", re.compile(r"\(\d\d, \d\d, \d"))
    visitor.hears("local")
    expect(body).to_have_css("background-color", own)
    locked = {"access-control-allow-origin": "http://elsewhere.example"}
    page.route("**/art/*", lambda it: it.fulfill(response=it.fetch(), headers=locked))
    with page.expect_console_message(lambda message: "blocked" in message.text):
        visitor.hears("duet", "playing", DUET)
    expect(body).to_have_css("background-color", own)
    visitor.complaints.clear()  # of the picture that may not be read


def test_no_cover_makes_the_page_hard_to_read(visitor: Visitor) -> None:
    """WCAG AA for 300 random covers, dark and light."""
    random, page = Random(12), visitor.meets("track")
    levels = [0, 255, *range(0, 256, 17)]
    covers = [[[level] * 3] for level in (0, 127, 255)]
    for number in range(297):  # of one colour, of few, and of many
        colours = [random.choices(levels, k=3) for _ in range(1 + number % 9)]
        covers.append(random.choices(colours, k=48))
    pairs = [*product(("text", "quiet", "accent"), ("back", "plate"))]
    pairs += [("line", "back"), ("line", "plate"), ("accent", "track")]
    script = page.locator("script[src*=palette]").get_attribute("src")
    found = page.evaluate("spy.worstContrasts", [script, covers, pairs])
    assert min(found[:6]) >= 4.5  # text
    assert min(found[6:]) >= 3  # lines, and the bar


def test_lines_are_seen_and_stronger_on_request(visitor: Visitor) -> None:
    page = visitor.meets("nothing")
    button, quiet = page.get_by_role("button").last, page.locator("footer")
    for scheme in ("dark", "light"):
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        back = style(page.locator("body"), "backgroundColor")
        colours = [style(button, "borderTopColor"), back]
        assert page.evaluate("spy.contrast", colours) >= 3
        page.emulate_media(contrast="more")
        strong = style(heading(page), "color")
        assert strong == style(quiet, "color") == style(button, "borderTopColor")
        page.emulate_media(contrast="no-preference")


def test_page_is_in_line_and_large_where_there_is_room(visitor: Visitor) -> None:
    page = visitor.meets("nothing")
    page.set_viewport_size({"width": 1920, "height": 1080})
    for selector in (".art", "h1"):
        place = box(page, selector)
        assert place["x"] + place["width"] / 2 == pytest.approx(960, abs=1)
    visitor.meets("track")
    for selector, least in (("h1", 75), (".by", 40), (".source", 30), (".time", 30)):
        size = style(page.locator(selector), "fontSize")
        assert float(size.removesuffix("px")) >= least
    assert box(page, "progress")["width"] == box(page, ".words")["width"]
    assert box(page, ".spotify")["width"] >= 21
    page.set_viewport_size({"width": 768, "height": 1024})
    names = (".brand", ".art", "h1", "progress", ".account")
    assert len({box(page, name)["x"] for name in names}) == 1
    footer = box(page, "footer")
    assert footer["y"] + footer["height"] <= 1024
    page.set_viewport_size({"width": 320, "height": 640})
    user_id = page.locator(".id")
    assert box(page, ".id")["height"] < 30  # one line
    expect(user_id).to_have_text(re.compile("^User ID: .{32}$"))
    user_id.focus()
    assert user_id.evaluate("(it) => it.scrollWidth <= it.clientWidth")  # all of it


def test_demo_says_so_and_does_without_the_mark(visitor: Visitor) -> None:
    current = Current(None, NowPlaying("playing", "track", TITLE), None)
    page = preview(visitor, DEMO_CLIENT_ID, current)
    demo, button = box(page, ".demo"), box(page, "#fullscreen")
    assert demo["y"] + demo["height"] + 8 <= button["y"]
    expect(page.locator(".spotify")).to_have_count(0)


def test_every_glyph_is_drawn(visitor: Visitor) -> None:
    sprite = (ROOT / "static/glyphs.svg").read_text("utf-8")
    others = "track episode chapter local playing paused nothing ad unknown trouble"
    plain = "session_unknown session_ended login_later wrong_host bad_request"
    drawn = {*KINDS, *others.split()} - {*plain.split()}
    assert {*re.findall(' id="(.+?)"', sprite)} == drawn
    page = visitor.meets("nothing")
    page.wait_for_function("document.querySelector('.art use').getBBox().width > 9")
