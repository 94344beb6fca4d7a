"""The session and its cookie: new, revocable, bound to nothing that leaks."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any

import pytest
from flask import Flask, session
from werkzeug.test import TestResponse

from app import create_app
from config import Config
from stand_in import StandIn
from stand_in.failures import answer
from tests.conftest import CLIENT_ID, ORIGIN, SECRET, Browser, Clock, MakeApp

DAY = 86_400
NASTY = [
    "<script>alert(1)</script>",
    "\"'><img src=x onerror=alert(1)>",
    "{{ 7 * 7 }}{% raw %}",
    "</title></section><h1>owned</h1>",
    "\u202egnp.exe \u2067\u05e2\u05d1\u2069 🎷🏳️\u200d🌈",
    "nul\0 and \ud800 alone",
    "&lt;b&gt; &amp;",
    "x" * 5120,
]
LOCAL = {"Sec_Fetch_Site": "same-origin"}


def twin(app: Flask, spotify: StandIn, cookie: str) -> Browser:
    """Return another browser with this cookie."""
    browser = Browser(app, spotify)
    browser.cookie = cookie
    return browser


def cookies(response: TestResponse) -> list[str]:
    return response.headers.getlist("Set-Cookie")


def flags(set_cookie: str) -> tuple[str, set[str]]:
    """Return a cookie's name, and its flags without those that say how long."""
    first, *rest = set_cookie.split("; ")
    timed = ("Expires=", "Max-Age=")
    return first.partition("=")[0], {it for it in rest if not it.startswith(timed)}


def people(app: Flask) -> int:
    return len(app.extensions["store"].users)


@pytest.fixture(scope="module")
def lasting() -> Iterator[Browser]:
    """Somebody whom no test of this file manages to log out."""
    with StandIn() as spotify:
        here = Config(
            client_id=CLIENT_ID, accounts_url=spotify.url, api_url=spotify.api_url
        )
        app = create_app(here)
        browser = Browser(app, spotify)
        browser.log_in()
        yield browser
        pass


# ---- The ID


def test_every_login_has_a_new_id(flow: str, browser: Browser) -> None:
    """C24, C26: never the same, at least 128 bit, not the state, code or token."""
    seen: set[str | None] = set()
    for _ in range(5):
        query = browser.begin_login()
        link = browser.code_for(query)
        browser.get(link)
        seen.add(user_id := browser.user_id)
        assert user_id
        assert re.fullmatch(r"[\w-]{22,}", user_id)
        assert user_id not in f"{query} {link} {browser._spotify.calls}"
        browser.post("/logout")
    assert len(seen) == 5


@pytest.mark.parametrize("how", ["unsigned", "signed by another", "of another person"])
def test_id_that_a_client_brings_is_never_adopted(
    how: str, app: Flask, make_app: MakeApp, browser: Browser, spotify: StandIn
) -> None:
    """C24, C45: not as it is, not signed with another start's key, not at login."""
    if how == "unsigned":
        browser.cookie = "chosen-by-the-client"
    elif how == "signed by another":
        elsewhere = Browser(make_app(), spotify)
        elsewhere.log_in()
        browser.cookie = elsewhere.cookie
    else:
        mika = Browser(app, spotify)
        mika.begin_login()
        browser.cookie = mika.cookie  # planted before the login
    planted = browser.cookie
    assert browser.user_id is None
    browser.log_in()
    assert browser.user_id
    assert browser.cookie != planted
    assert twin(app, spotify, planted).user_id is None


def test_login_again_ends_the_old_session(
    flow: str, app: Flask, browser: Browser, spotify: StandIn
) -> None:
    """C25: on the server, where a copy of the old cookie is worth nothing."""
    second = browser.begin_login()
    browser.log_in()
    old = browser.cookie
    browser.get(browser.code_for(second, "mika"))
    assert people(app) == 1
    assert twin(app, spotify, old).user_id is None
    assert "Mika Okonjo" in browser.get("/").get_data(as_text=True)


def test_login_when_logged_in_leads_back_to_the_page(
    app: Flask, browser: Browser
) -> None:
    """A live session is not replaced, and nothing is begun."""
    browser.log_in()
    assert browser.get("/login").headers["Location"] == "/"
    assert len(app.extensions["store"].auths) == 0


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_logout_ends_the_session_on_the_server(
    method: str, flow: str, app: Flask, browser: Browser, spotify: StandIn
) -> None:
    """C27: the saved cookie is logged out too, and Spotify is not asked for it."""
    browser.log_in()
    saved = browser.cookie
    response = browser.open(method, "/logout", **LOCAL)
    assert response.status_code == (303 if method == "POST" else 307)
    assert response.headers["Location"] == "/"
    assert people(app) == 0
    replay = twin(app, spotify, saved)
    spotify.forget()
    assert replay.json()["error"] == "logged_out"
    assert replay.user_id is None
    assert spotify.calls == []


@pytest.mark.parametrize("method", ["GET", "POST", "HEAD"])
@pytest.mark.parametrize(
    "headers",
    [
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
        {"Sec_Fetch_Site": "cross-site", "Origin": ORIGIN, "Referer": f"{ORIGIN}/"},
        {"Sec_Fetch_Site": "same-origin, cross-site"},
        {"Sec_Fetch_Site": "nonsense"},
        {"Sec_Fetch_Site": ""},
        {"Sec_Fetch_Site": "same-origin", "Sec_Purpose": "prefetch"},
        {"Sec_Purpose": "prefetch;prerender"},
        {"Purpose": "prefetch"},
        {"X_Moz": "prefetch"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": f"{ORIGIN}.evil.example"},
        {"Origin": "https://127.0.0.1:5000"},
        {"Origin": "http://127.0.0.1:5001"},
        {"Origin": "http://localhost:5000"},
        {"Origin": "https://evil.example", "Referer": f"{ORIGIN}/"},
        {"Referer": "https://evil.example/http://127.0.0.1:5000/"},
        {"Referer": f"{ORIGIN}@evil.example/"},
        {"Referer": f"{ORIGIN}\\@evil.example/"},
        {"Referer": "http://127.0.0.1:50001/"},
    ],
    ids=str,
)
def test_logout_that_the_person_did_not_want_is_refused(
    method: str, headers: dict[str, str], lasting: Browser
) -> None:
    """C28: cross-site, same-site but foreign, ahead of time: still logged in."""
    user_id = lasting.user_id
    assert user_id
    response = lasting.open(method, "/logout", **headers)
    assert response.status_code == (405 if method == "HEAD" else 403)
    assert cookies(response) == []
    assert lasting.user_id == user_id


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(
    "headers",
    [
        {},
        LOCAL,
        {"Sec_Fetch_Site": "none"},
        {"Origin": ORIGIN},
        {"Origin": ORIGIN.upper()},
        {"Referer": f"{ORIGIN}/"},
        {"Referer": ORIGIN},
        {"Sec_Fetch_Site": "same-origin", "Sec_Fetch_Dest": "document"},
    ],
    ids=str,
)
def test_logout_that_the_person_wanted_is_done(
    method: str, headers: dict[str, str], browser: Browser
) -> None:
    """C28: by the button, by the address bar, by a browser that says nothing."""
    browser.log_in()
    response = browser.open(method, "/logout", **headers)
    assert response.status_code == (303 if method == "POST" else 307)
    assert browser.user_id is None


def test_idle_session_ends_on_the_server(
    app: Flask, browser: Browser, clock: Clock, spotify: StandIn
) -> None:
    """C30: after 30 days without use; each use begins them anew."""
    browser.log_in()
    for _ in range(3):
        clock.advance(30 * DAY - 1)
        assert browser.user_id
    clock.advance(30 * DAY)
    spotify.forget()
    assert browser.json()["error"] == "logged_out"
    assert browser.user_id is None
    assert spotify.calls == []


# ---- The cookie


def test_broken_cookies_mean_logged_out(
    app: Flask, browser: Browser, spotify: StandIn
) -> None:
    """C31: truncated, flipped, 8 KB, unicode, twice, empty: never an error."""
    browser.log_in()
    good = browser.cookie
    flipped = [
        good[:n] + ("A" if good[n] != "A" else "B") + good[n + 1 :]
        for n in range(0, len(good) - 1, 7)
    ]
    broken = [good[:n] for n in range(0, len(good), 11)] + flipped
    broken += ["a" * 8192, good + "a" * 8192, "ü✓", "%00", '"', ".", "..", ".e30.x.y"]
    broken += [f"x{good}", good.replace(".", "", 1), good.swapcase(), good[::-1]]
    client = app.test_client(use_cookies=False)
    for value in broken:
        sent = value.encode().decode("latin-1")
        for header in (
            f"now_playing={sent}",
            f"now_playing={sent}; now_playing={sent}",
        ):
            page = client.get("/", base_url=ORIGIN, headers={"Cookie": header})
            assert page.status_code == 200
            assert "User ID: None" in page.get_data(as_text=True)
    twice = {"Cookie": f"now_playing=bad; now_playing={good}"}
    assert client.get("/", base_url=ORIGIN, headers=twice).status_code == 200
    assert browser.user_id


def test_abandoned_logins_leave_little(browser: Browser) -> None:
    """C32: 50 of them: one cookie, under 1 KB."""
    names = set()
    for _ in range(50):
        names |= {flags(cookie)[0] for cookie in cookies(browser.get("/login"))}
        assert len(browser.cookie) < 1000
    assert names == {"now_playing"}


@pytest.mark.parametrize("origin", [ORIGIN, "https://example.com", "http://[::1]:5000"])
def test_cookie_has_every_protection_that_its_origin_allows(
    origin: str, make_app: MakeApp, spotify: StandIn
) -> None:
    """C34, C35: HttpOnly, Lax, own name; __Host- and Secure on https; cleared alike."""
    app = make_app(redirect_uri=f"{origin}/callback")
    client = app.test_client()
    secure = origin.startswith("https:")
    name = "__Host-now_playing" if secure else "now_playing"
    expected = {"HttpOnly", "SameSite=Lax", "Path=/"} | (
        {"Secure"} if secure else set()
    )
    begun = client.get("/login", base_url=origin)
    query = dict(
        pair.split("=")
        for pair in begun.headers["Location"].partition("?")[2].split("&")
    )
    code = spotify.grant(
        f"{origin}/callback",
        client_id=query["client_id"],
        code_challenge=query["code_challenge"],
    )
    link = f"/callback?code={code}&state={query['state']}"
    done = client.get(link, base_url=origin)
    assert done.status_code == 307
    out = client.post("/logout", base_url=origin)
    for response in (begun, done, out):
        (cookie,) = cookies(response)
        assert flags(cookie) == (name, expected)
    assert "Max-Age=0" in cookies(out)[0]
    assert cookies(out)[0].startswith(f"{name}=;")


def test_cookie_holds_references_alone(flow: str, app: Flask, browser: Browser) -> None:
    """C26, C43: no token, code, state, name or secret is in what its owner can read."""
    browser.log_in()
    with app.test_request_context(headers={"Cookie": f"now_playing={browser.cookie}"}):
        assert set(session) == {"_permanent", "browser", "user"}
        assert session["user"] == browser.user_id


# ---- What Spotify says is text


class Skeleton(HTMLParser):
    """A page's tags with the names of their attributes, and its texts."""

    def __init__(self, page: TestResponse) -> None:
        super().__init__()
        self.tags: list[tuple[str, list[str]]] = []
        self.texts: list[str] = []
        self.feed(page.get_data(as_text=True))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, [name for name, _ in attrs]))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


@pytest.mark.parametrize("name", NASTY, ids=range(len(NASTY)))
def test_names_are_shown_as_text(name: str, app: Flask, spotify: StandIn) -> None:
    """C42: markup, quotes, templates, other directions, NUL and 5 KB change nothing."""
    seen = name[:500].replace("\0", "\ufffd").replace("\ud800", "?")
    skeletons = []
    for shown in ("x" * len(name), name):
        browser = Browser(app, spotify)
        evil = {"spotify": "javascript:alert(1)"}
        named: dict[str, Any] = {"name": shown, "external_urls": evil}
        images = [{"url": "https://evil.example/x.png", "width": 640}]
        album = {**named, "images": images}
        item = {**named, "type": "track", "artists": [named], "album": album}
        spotify.play({"item": item, "is_playing": True})
        profile = {"id": shown, "display_name": shown}
        spotify.fail("profile", answer(200, profile, "Connection: close"), 1)
        browser.log_in()
        pages = browser.get("/"), browser.get("/now-playing", Accept="text/html")
        for page in pages:
            assert "javascript:" not in page.get_data(as_text=True)
            assert "evil.example" not in page.get_data(as_text=True)
        skeletons.append([Skeleton(page) for page in pages])
        facts = browser.json()
        assert facts["url"] is facts["by"][0]["url"] is facts["image"] is None
    assert facts["title"] == facts["by"][0]["name"] == facts["from"]["name"] == seen
    for harmless, nasty in zip(*skeletons, strict=True):
        assert nasty.tags == harmless.tags
        assert nasty.texts.count(seen) == harmless.texts.count("x" * len(seen)) >= 3


# ---- The log


def test_log_tells_what_happened_to_sessions(
    flow: str,
    browser: Browser,
    spotify: StandIn,
    clock: Clock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """C48: login, refused state, logout, dead refresh and rate limit."""
    caplog.set_level(logging.INFO, "now_playing")

    def said(*words: str) -> bool:
        text = caplog.text
        caplog.clear()
        return all(word in text for word in words)

    browser.get("/callback?code=x&state=y")
    assert said("WARNING", "login refused", "invalid state")
    browser.log_in()
    assert said("login of user")
    spotify.fail("player", "rate_limited", 1)
    browser.get("/")
    assert said("WARNING", "rate limit", "7 s")
    clock.advance(8)
    browser.post("/logout")
    assert said("logout of user")
    browser.log_in()
    spotify.revoke()
    clock.advance(3600)
    browser.get("/")
    assert said("WARNING", "ended the login of user")
    user_id = browser.user_id
    browser.log_in()
    user_id = browser.user_id
    assert user_id
    assert user_id not in caplog.text  # its hash is enough to follow somebody


def test_log_has_what_people_do_and_what_fails_but_not_each_page(
    browser: Browser, caplog: pytest.LogCaptureFixture
) -> None:
    """C44: a page asks every few seconds, which would bury the rest."""
    caplog.set_level(logging.INFO, "now_playing")
    browser.log_in()
    for path in ("/", "/now-playing", "/healthz", "/readyz", "/missing"):
        browser.get(path)
    browser.post("/logout")
    browser.get("/now-playing")
    lines = [record.getMessage() for record in caplog.records]
    requests = [line.rpartition(" ")[0].rpartition(" ")[0] for line in lines]
    assert [line for line in requests if line.startswith(("GET", "POST"))] == [
        "GET /login 307",
        "GET /callback 307",
        "GET /missing 404",
        "POST /logout 303",
        "GET /now-playing 401",
    ]


def test_log_cannot_be_forged(
    browser: Browser, spotify: StandIn, caplog: pytest.LogCaptureFixture
) -> None:
    """C48: one line a request, without its query, whatever it and Spotify say."""
    caplog.set_level(logging.DEBUG, "now_playing")
    forged = "%0d%0aINFO login of user admin%1b[2J%e2%80%a8%00"
    name = {"id": "x\r\nforged", "display_name": "\x1b[2Jforged\n"}
    spotify.fail("profile", answer(200, name, "Connection: close"))
    browser.log_in()
    caplog.clear()
    spotify.fail("player", answer(500, "forged\r\n", "X-Forged: forged"))
    for path in ("/", "/login/", "/callback", "/logout/", "/now-playing"):
        browser.get(f"{path}{forged}?error={forged}&state={forged}&code={SECRET}")
        browser.get(f"{path}?error={forged}&state={forged}&code={SECRET}")
    lines = [r.getMessage() for r in caplog.records if r.name == "now_playing"]
    assert sum(line.startswith("GET /") for line in lines) == 10
    for line in lines:
        assert line.isprintable()
        assert "?" not in line
        assert "forged" not in line
        assert SECRET not in line


def test_spotify_user_id_stays_while_one_looks_around_and_goes_at_logout(
    browser: Browser, spotify: StandIn
) -> None:
    """The second example's promise: saved at login, preserved, deleted at log-out."""
    browser.log_in("mika")
    for path in ("/", "/now-playing", "/", "/missing", "/login", "/"):
        browser.get(path)
    assert "(<bdi>mika</bdi>)" in browser.get("/").get_data(as_text=True)
    assert spotify.count("profile") == 1
    cookie = browser.cookie
    browser.post("/logout")
    assert "mika" not in browser.get("/").get_data(as_text=True)
    browser.cookie = cookie
    assert "mika" not in browser.get("/").get_data(as_text=True)
