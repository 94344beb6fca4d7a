"""The pages in a real browser: the app before it, the stand-in behind it."""

import re
import shutil
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from random import Random
from threading import Thread
from typing import Any

import esprima
import pytest
from flask import Flask
from playwright.sync_api import (
    Browser,
    BrowserContext,
    Playwright,
    Route,
    expect,
    sync_playwright,
)
from werkzeug.serving import ThreadedWSGIServer

from problems import KINDS, Problem
from stand_in import StandIn
from stand_in.failures import answer
from stand_in.server import Connection
from tests.browser import (
    Visitor,
    box,
    flaws,
    heading,
    is_logged_out,
    shows,
    style,
)
from tests.conftest import Clock, MakeApp, needs

# Werkzeug leaves a file open when a page that it belongs to is left.
LEFT = "ignore:Exception ignored:pytest.PytestUnraisableExceptionWarning"
pytestmark = [pytest.mark.browser, pytest.mark.filterwarnings(LEFT)]

STATIC = Path(__file__).parents[1] / "static"
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
WORDS = "Letters from the harbour that nobody ever sent, until all came back again"
TITLES = ["X", TITLE, WORDS[:48], WORDS[:60], WORDS * 4, "W" * 60]
TITLES += ["夜明け前の港に残された手紙と二度と帰らない渡し守の歌" * 2, "مرحبا " * 40]
SIZES = [(800, 480), (1024, 768), (1920, 1080), (768, 1024), (390, 844), (320, 640)]


@pytest.fixture(scope="module")
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as playwright:
        yield playwright


@pytest.fixture(scope="module")
def program() -> str | None:
    names = ("chromium", "chromium-browser", "google-chrome")
    program = next(filter(None, map(shutil.which, names)), None)
    needs("Chromium", program is not None)
    return program


@pytest.fixture(scope="module")
def browser(playwright: Playwright, program: str) -> Browser:
    # People's browsers keep pages for the way back.
    unwanted = ["--disable-back-forward-cache"]
    return playwright.chromium.launch(
        executable_path=program, ignore_default_args=unwanted
    )


@pytest.fixture
def kiosk(
    playwright: Playwright, program: str, tmp_path: Path
) -> Iterator[BrowserContext]:
    """A browser that fills the screen from the start."""
    options: Any = {"args": ["--kiosk"], "no_viewport": True, "color_scheme": "light"}
    context = playwright.chromium.launch_persistent_context(
        tmp_path, executable_path=program, **options
    )
    yield context
    context.close()


@pytest.fixture
def site(make_app: MakeApp) -> Iterator[Flask]:
    """An app that browsers can reach. At /problem/<name> it has that problem."""
    with ThreadedWSGIServer("127.0.0.1", 0, Flask(__name__), Connection) as server:
        uri = f"http://127.0.0.1:{server.port}/callback"
        server.app = app = make_app(redirect_uri=uri, port=server.port)
        app.add_url_rule("/problem/<name>", view_func=have_problem)
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield app
        server.shutdown()


def have_problem(name: str) -> str:
    raise Problem(name, 7)


@pytest.fixture
def visitor(
    request: pytest.FixtureRequest, site: Flask, spotify: StandIn, clock: Clock
) -> Iterator[Visitor]:
    """Somebody with a window; or, in tests that ask for it, in front of a kiosk."""
    if "kiosk" in request.fixturenames:
        context = request.getfixturevalue("kiosk")
    else:
        options = getattr(request, "param", {})
        context = request.getfixturevalue("browser").new_context(**options)
    visitor = Visitor(context, site, spotify, clock)
    spotify.play("track")
    yield visitor
    context.close()
    assert visitor.complaints == []


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
    expect(page.locator(".source")).to_have_text(
        "from Minutes of the Last Meeting\N{NO-BREAK SPACE}·\N{NO-BREAK SPACE}2024"
    )
    cover = page.get_by_role("img", name="Cover of Minutes of the Last Meeting")
    expect(cover).to_have_js_property("naturalWidth", 640)
    button = page.get_by_role("button", name="Full screen")
    expect(button).to_have_count(int(javascript))
    refresh = page.locator("meta[http-equiv=refresh]")
    expect(refresh).to_have_count(int(not javascript))
    words = "Without JavaScript, this page reloads by itself."
    expect(page.locator("noscript p")).to_have_text([] if javascript else [words])
    page.get_by_role("button", name="Log out").click()
    expect(page).to_have_url(f"{origin}/")
    is_logged_out(page)


def test_way_back_after_log_out_shows_nobody(visitor: Visitor) -> None:
    visitor.context.clock.resume()
    page = visitor.meets("track")
    page.get_by_role("button", name="Log out").click()
    is_logged_out(page)
    # Page.go_back waits for a load, and a page that was kept has none.
    page.evaluate("window.left = true; setTimeout(() => history.back())")
    page.wait_for_function("!window.left")
    is_logged_out(page)


def test_tab_starts_anew_when_somebody_else_logs_in(visitor: Visitor) -> None:
    page = visitor.meets("track")
    other = visitor.context.new_page()
    visitor.log_in("mika")
    other.goto(visitor.origin)
    theirs = other.locator("#user-id").inner_text()
    assert page.locator("#user-id").inner_text() != theirs
    visitor.hears("duet")
    expect(page.locator("#user-id")).to_have_text(theirs)
    shows(page, "playing", DUET)


def test_ended_login_says_why_and_leads_on(visitor: Visitor) -> None:
    page = visitor.meets("track")
    visitor.spotify.expire_tokens()
    visitor.spotify.revoke()
    visitor.hears("track", "logged_out", KINDS["session_ended"].message)
    expect(page).to_have_title("Now Playing")
    is_logged_out(page)
    asked = len(visitor.asked)
    page.clock.run_for("01:00:00")
    page.mouse.move(9, 9)
    assert len(visitor.asked) == asked


def test_passing_problem_asks_again_by_itself(visitor: Visitor, site: Flask) -> None:
    views = site.view_functions
    main, views["main"] = views["main"], lambda: have_problem("unavailable")
    page = visitor.open()
    expect(heading(page)).to_have_text(KINDS["unavailable"].message)
    views["main"] = main
    page.clock.run_for(11_500)
    is_logged_out(page)


# ---- Alive without a reload


def test_every_state_arrives_live_fits_320_px_and_passes_axe(visitor: Visitor) -> None:
    page = visitor.meets("nothing")
    page.set_viewport_size({"width": 320, "height": 640})
    page.evaluate("window.loaded = 'once'")
    for what, state, title in PLAYS:
        visitor.hears(what, state, title)
        mark = {"playing": "", "paused": "⏸ "}.get(state)
        tab = re.compile(f"^{mark}{re.escape(title)} \N{EN DASH} ")
        expect(page).to_have_title("Now Playing" if mark is None else tab)
        assert page.evaluate("spy.drawn()"), what
        assert flaws(page) == [], what
    visitor.hears(visitor.track(name="W" * 60, artist="x" * 5_000, explicit=True))
    expect(heading(page)).to_have_text("W" * 60)
    assert flaws(page) == []
    for how, state in FAILS:
        visitor.hears("nothing", "nothing", NOTHING)
        visitor.spotify.fail("player", how, 1)
        visitor.hears("nothing")  # there is no track that could stay
        shows(page, state, KINDS[state].message)
        assert flaws(page) == [], state
    assert page.evaluate("window.loaded") == "once"


def test_pages_on_the_way_fit_320_px_and_pass_axe(visitor: Visitor) -> None:
    page = visitor.open()
    page.set_viewport_size({"width": 320, "height": 640})
    page.locator("summary").click()
    assert flaws(page) == []
    page.get_by_role("link", name="Log in with Spotify").click()
    assert flaws(page) == []
    page.get_by_role("button", name="Cancel").click()
    expect(heading(page)).to_have_text(KINDS["cancelled"].message)
    expect(page.get_by_role("link", name="Log in with Spotify")).to_be_visible()
    for name in ("client_refused", "login_later", "wrong_host"):
        visitor.open(f"/problem/{name}")
        expect(heading(page)).to_have_text(KINDS[name].message)
        assert flaws(page) == [], name
    assert visitor.origin in page.locator("main").inner_text()
    expect(page.locator("main a")).to_have_count(0)  # it would lead to this device
    visitor.open("/missing")
    expect(page.locator("main a")).to_have_text("Go to the main page")
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
        visitor.hears("track", "playing", TITLE)
    visitor.context.set_offline(True)
    page.clock.run_for(60_000)
    shows(page, "unreachable", TITLE)
    expect(status).to_contain_text("can’t reach its server.")
    visitor.context.set_offline(False)  # and no time passes
    shows(page, "playing", TITLE)


def test_long_waits_end_at_a_time_of_day(visitor: Visitor) -> None:
    page = visitor.meets("nothing")
    wait = answer(429, {}, "Connection: close", "Retry-After: 14400")
    visitor.spotify.fail("player", wait)
    visitor.hears("nothing", "rate_limited", KINDS["rate_limited"].message)
    expect(page.locator(".lead")).to_contain_text(re.compile(r"at \d"))


def test_who_looks_gets_the_truth_at_once(visitor: Visitor) -> None:
    page = visitor.meets("nothing")
    page.mouse.move(50, 50)
    page.clock.fast_forward(4_000)
    page.mouse.move(60, 60)
    assert visitor.asked == []  # the page is new enough
    looks: list[Callable[[], object]] = [
        lambda: page.mouse.move(70, 70),
        lambda: page.keyboard.press("a"),
        lambda: page.evaluate("dispatchEvent(new Event('focus'))"),
        lambda: page.evaluate("spy.hide(true); spy.hide(false)"),
        lambda: page.mouse.down(),
    ]
    for number, look in enumerate(looks):
        what, _, title = PLAYS[(1, 5)[number % 2]]  # which wait longer than 6 s
        visitor.change(what)
        page.clock.fast_forward(6_000)
        place = 70 if number else 60
        page.evaluate("spy.movePointerTo", [place, place])  # as after a layout
        with page.expect_response("**/now-playing"):
            look()
        expect(heading(page)).to_have_text(title)
    assert visitor.asked == ["no-cache"] * len(looks)
    visitor.hears("duet", "playing", DUET)
    assert visitor.asked[-1] is None


def test_hidden_tab_sends_nothing(visitor: Visitor) -> None:
    page = visitor.meets("track")
    page.evaluate("spy.hide(true)")
    page.clock.run_for("03:00:00")
    page.mouse.move(9, 9)
    visitor.change("duet")
    assert visitor.asked == []
    page.evaluate("spy.hide(false)")  # and no time passes
    shows(page, "playing", DUET)
    assert len(visitor.asked) == 1


def test_only_what_changed_is_touched(visitor: Visitor) -> None:
    page, player = visitor.meets("track"), visitor.page.locator("#player")
    page.evaluate("spy.countRepaints()")
    visitor.hears(visitor.track(progress_ms=5_000))
    expect(player).to_have_attribute("data-progress-ms", "5000")
    visitor.hears(visitor.track(is_playing=False), "paused", TITLE)
    assert page.evaluate("spy.repaints") == 0
    page.get_by_role("link", name="The Tidewater Clerks").focus()
    visitor.hears(visitor.track(name="Another", artist="Ann"), "playing", "Another")
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
    visitor.hears(visitor.track(progress_ms=3_750), "playing", TITLE)
    page.context.set_offline(True)  # from here on it counts by itself
    start = bar.evaluate("(bar) => bar.value")
    page.clock.run_for(4_000)
    assert 3_000 <= bar.evaluate("(bar) => bar.value") - start <= 4_000
    page.clock.fast_forward(60_000)  # as after a sleep
    expect(bar).to_have_js_property("value", 26_000)
    expect(elapsed).to_have_text("0:26")


def test_a_day_left_open_leaves_nothing_behind(visitor: Visitor) -> None:
    page = visitor.meets("track")
    page.emulate_media(reduced_motion="reduce")
    page.evaluate("spy.countTimers()")
    inside = visitor.context.new_cdp_session(page)
    inside.send("Performance.enable")
    sizes = []
    for number in range(1, 73):  # times 20 minutes
        visitor.hears(*PLAYS[number % 3], after=1_200_000)
        page.mouse.move(number, 9)
        if number % 24 == 0:
            inside.send("HeapProfiler.collectGarbage")
            found = inside.send("Performance.getMetrics")["metrics"]
            metrics = {it["name"]: it["value"] for it in found}
            sizes.append((metrics["Nodes"], metrics["JSEventListeners"]))
            assert page.evaluate("spy.timers.size") <= 5
    assert sizes[2][0] <= sizes[0][0] * 1.1
    assert sizes[2][1] <= sizes[0][1] + 3


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
    page.wait_for_load_state()  # or its sheet may still be on the way
    tab_through("", "Agree")  # after the choice of a person
    page.keyboard.press("Enter")
    shows(page, "playing", TITLE)
    expect(page.get_by_role("button", name="Full screen")).to_be_visible()
    tab_through("Now Playing", "Full screen", "The Tidewater Clerks")
    tab_through("Minutes of the Last Meeting", "Listen on Spotify")
    user_id = page.locator("#user-id").inner_text()
    tab_through(user_id, "Remove access on Spotify", "Log out")
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
    page.keyboard.down("F")  # which a key held down does by itself
    expect(full).to_have_count(1)
    # The page hears of it a moment later, and then its seconds begin.
    expect(page.get_by_role("button", name="Leave full screen")).to_be_visible()
    page.clock.run_for(2_900)
    expect(root).not_to_have_class(idle)
    page.clock.run_for(100)
    expect(root).to_have_class(idle)
    expect(root).to_have_css("cursor", "none")
    for selector in ("header", "footer"):
        expect(page.locator(selector)).to_have_css("opacity", "0")
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
    visitor.hears("encore", "playing", "Escalator Waltz")
    visitor.spotify.fail("player", "forbidden", 1)
    visitor.hears("ad", "forbidden", "Escalator Waltz")
    trouble = page.locator(".status").inner_text()
    visitor.hears("ad", "ad", "An ad is playing.")
    said = [f"{DUET} \N{EN DASH} Odile Marsh, Halden & Rue"]
    said += ["Paused: Escalator Waltz \N{EN DASH} Nine Quiet Engines", "Playing"]
    said += [trouble, "An ad is playing. Your music will be back in a moment."]
    assert page.evaluate("spy.heard") == said


def test_busy_is_not_worth_a_word_unless_it_lasts(visitor: Visitor) -> None:
    page = visitor.meets("track")
    busy = page.locator("#server-lost").inner_html().replace("unreachable", "busy")
    busy = busy.replace("<section", '<section id="player" data-poll-after-ms="1000"')
    page.route("**/now-playing", lambda it: it.fulfill(status=503, body=busy))
    for state in ("playing", "playing", "busy"):
        with page.expect_response("**/now-playing"):
            page.clock.fast_forward(8_000)
        shows(page, state, TITLE)


# ---- Old browsers


@pytest.mark.parametrize("script", sorted(STATIC.glob("*.js")), ids=lambda it: it.name)
def test_browsers_of_2018_can_read_the_scripts(script: Path) -> None:
    text = script.read_text("utf-8")
    parse = esprima.parseScript if script.stem == "reload" else esprima.parseModule
    parse(text)  # it knows nothing newer than ES2018
    assert text.count("\n") <= 130


def test_browsers_of_2018_find_something_plain_in_the_sheets() -> None:
    newer = r"\b(min|max)[(]|[^-]gap:|inset:|aspect-ratio:|\dsvh|:has|:is|color-mix|&"
    for sheet in STATIC.glob("*.css"):
        text = re.sub(r"(?s)/[*].*?[*]/", "", sheet.read_text("utf-8"))
        text = re.sub(r"(?ms)^@supports.*?^}", "", text)
        assert not re.search(newer, text), sheet.name
        for line in re.findall("(.*)clamp[(]", text):
            assert text.count(line) == 2  # the first of them is plain


def test_old_browsers_stay_current(visitor: Visitor) -> None:
    visitor.context.add_init_script("spy.growOld()")
    page = visitor.meets("track")
    visitor.hears("duet", "playing", DUET)
    expect(page.locator(":root")).to_have_attribute("style", re.compile("--art-back"))
    visitor.spotify.fail("player", "server_error", 1)
    visitor.hears("duet", "unreachable", DUET)


def test_page_reloads_where_its_scripts_do_not_run(visitor: Visitor) -> None:
    page = visitor.page
    broken = {"body": "a?.b.;", "content_type": "text/javascript"}
    page.route("**/poll.js", lambda it: it.fulfill(**broken), times=1)
    visitor.meets("track")
    visitor.change("duet")
    page.clock.run_for(8_000)
    shows(page, "playing", DUET)
    assert visitor.complaints == ["Unexpected token ';'"]
    visitor.complaints.clear()


# ---- From across the room


def test_full_screen_words_always_fit(visitor: Visitor) -> None:
    page = visitor.meets("track")
    needs("Full screen", page.evaluate("document.fullscreenEnabled"))
    page.emulate_media(reduced_motion="reduce")
    page.keyboard.press("Shift+F")

    def resize(width: int, height: int) -> None:
        page.set_viewport_size({"width": width, "height": height})
        page.wait_for_function(f"innerWidth === {width} && innerHeight === {height}")
        page.evaluate("dispatchEvent(new Event('resize'))")

    for number, title in enumerate(TITLES):
        artist = "Ludwig van Beethoven, Anna Tomowa-Sintow, " * 3 if number % 2 else "A"
        named = visitor.track(name=title, artist=artist, album=title)
        visitor.hears(named, "playing", title.strip())
        for size in SIZES:
            resize(*size)
            assert page.evaluate("spy.misfits()") == [], (title, size)
        visitor.hears(named)
        visitor.hears(named)  # the same again, after which nothing is measured
        assert page.evaluate("spy.misfits()") == [], title
    resize(768, 1024)
    assert box(page, ".art")["width"] > 690
    resize(1920, 1080)
    visitor.hears(visitor.track(name="X"), "playing", "X")
    assert float(style(heading(page), "fontSize")[:-2]) >= 0.115 * 1080
    expect(page.locator(".label .playing")).to_be_hidden()
    visitor.hears("paused", "paused", "Escalator Waltz")
    expect(page.locator(".label .paused")).to_be_visible()


def test_kiosk_is_dark_and_goes_to_rest(
    visitor: Visitor, kiosk: BrowserContext
) -> None:
    page = visitor.meets("nothing")
    rest, body = page.locator("#rest"), page.locator("body")
    assert page.evaluate("matchMedia('(prefers-color-scheme: light)').matches")
    assert style(body, "backgroundColor") == "rgb(31, 24, 23)"
    expect(page.get_by_role("button", name="ull screen")).to_have_count(0)
    page.clock.run_for(3_000)
    expect(page.locator(":root")).to_have_class(re.compile(r"\bidle\b"))
    visitor.hears("paused", "paused", "Escalator Waltz")
    page.clock.run_for("09:00")
    expect(rest).to_have_count(0)
    page.clock.run_for("01:00")
    expect(rest).to_have_text(re.compile(r"\d:\d\d"))
    for controls in ("header", "footer"):  # which fade by a clock of their own
        expect(page.locator(controls)).to_have_css("opacity", "0")
    assert flaws(page) == []
    before = rest.inner_text(), box(page, "#rest time")
    page.clock.run_for("01:00")
    after = rest.inner_text(), box(page, "#rest time")
    assert before[0] != after[0]
    assert before[1] != after[1]
    visitor.spotify.fail("player", "server_error", 1)
    visitor.hears("nothing")
    expect(rest).to_be_visible()  # trouble wakes nobody
    page.mouse.move(20, 20)
    expect(rest).to_have_count(0)
    expect(page.get_by_role("button", name="Log out")).to_be_visible()
    page.clock.run_for("10:00")
    expect(rest).to_be_visible()
    visitor.hears("track", "playing", TITLE)
    expect(rest).to_have_count(0)


def test_words_and_picture_change_together(visitor: Visitor) -> None:
    page, cover = visitor.meets("track"), visitor.page.locator(".art img")
    page.evaluate("spy.watchTitle()")
    visitor.hears("duet", "playing", DUET)
    visitor.hears("duet", "playing", DUET)
    assert page.evaluate("spy.pictureSeen")
    page.emulate_media(reduced_motion="reduce")
    visitor.hears("track", "playing", TITLE)
    assert page.evaluate("spy.fades") == 1  # of two changes
    held: list[Route] = []
    page.route("**/art/*", lambda route: held.append(route))
    with page.expect_request("**/art/*"):
        visitor.hears("episode", "playing", TITLE)
    page.clock.run_for(1_500)  # and no longer
    shows(page, "playing", "Why Does the Fridge Hum at Night?")
    expect(cover).to_be_hidden()
    for route in held:
        route.continue_()
    expect(cover).to_be_visible()
    page.route("**/art/*", lambda route: route.abort())
    visitor.hears("duet", "playing", DUET)
    expect(cover).to_be_hidden()
    expect(page.locator(".art svg")).to_be_visible()


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
    locked = {"access-control-allow-origin": "http://elsewhere.example"}
    page.route("**/art/*", lambda it: it.fulfill(response=it.fetch(), headers=locked))
    with page.expect_console_message(lambda message: "blocked" in message.text):
        visitor.hears("duet", "playing", DUET)
    expect(body).to_have_css("background-color", own)
    visitor.complaints.clear()  # of the picture that may not be read


def test_text_is_readable_whatever_the_cover(visitor: Visitor) -> None:
    """WCAG AA for 300 random covers, dark and light."""
    random, page = Random(12), visitor.meets("track")
    levels = [0, 255, *range(0, 256, 17)]
    covers = [[[level] * 3] for level in (0, 127, 255)]
    for number in range(297):  # of one colour, of few, and of many
        colours = [random.choices(levels, k=3) for _ in range(1 + number % 9)]
        covers.append(random.choices(colours, k=48))
    pairs = [*product(("text", "quiet", "accent"), ("back", "plate"))]
    pairs += [("line", "back"), ("line", "plate")]
    pairs += [("accent", "track"), ("track", "back")]
    script = page.locator("script[src*=main]").get_attribute("src")
    assert script
    script = script.replace("main", "palette")
    found = page.evaluate("spy.worstContrasts", [script, covers, pairs])
    assert min(found[:6]) >= 4.5  # text
    assert min(found[6:]) >= 3  # lines, and the bar
