"""The session and its cookies, the text of others, and the log."""

import logging
import re
from concurrent.futures import ThreadPoolExecutor

import pytest
from flask import Flask, session

from stand_in import StandIn
from tests.conftest import ORIGIN, Browser, Clock, MakeApp, people, query_of
from tests.wire import hold

# ---- The ID


def test_id_that_a_client_brings_is_never_adopted(browser: Browser) -> None:
    """Nor does a cookie from before the login let its owner in after it."""
    attacker, victim = browser.twin(), browser.twin()
    attacker.begin_login()
    victim.cookie = planted = attacker.cookie
    victim.log_in()
    assert victim.user_id
    assert victim.cookie != planted
    assert attacker.user_id is None


def test_logout_that_the_person_did_not_want_is_refused(browser: Browser) -> None:
    browser.log_in()
    user_id = browser.user_id
    unwanted = [{"Sec_Fetch_Site": "same-origin", "Sec_Purpose": "prefetch"}]
    unwanted += [{"Sec_Fetch_Site": "cross-site", "Origin": ORIGIN}]
    unwanted += [{"Sec_Fetch_Site": "same-site"}, {"Referer": f"{ORIGIN}.x"}]
    unwanted += [{"Origin": "null", "Referer": f"{ORIGIN}/"}]
    for headers in unwanted:
        for method, status in (("GET", 403), ("POST", 403), ("HEAD", 405)):
            response = browser.open(method, "/logout", **headers)
            assert response.status_code == status, headers
            assert "Set-Cookie" not in response.headers
    assert response.headers["Allow"] == "GET, OPTIONS, POST"  # RFC 9110 §15.5.6
    assert browser.user_id == user_id


def test_logout_that_the_person_wanted_ends_the_session(browser: Browser) -> None:
    """By the button, by the address bar, by a browser that says nothing."""
    wanted = [{}, {"Sec_Fetch_Site": "none"}, {"Sec_Fetch_Site": "same-origin"}]
    for headers in [*wanted, {"Origin": ORIGIN.upper()}, {"Referer": f"{ORIGIN}/"}]:
        for method, status in (("GET", 307), ("POST", 303)):
            browser.log_in()
            replay = browser.tab()
            response = browser.open(method, "/logout", **headers)
            assert (response.status_code, response.location) == (status, "/")
            browser.spotify.forget()
            assert replay.json()["error"] == "logged_out"
            assert replay.user_id is browser.user_id is None
            assert (browser.spotify.calls, people(browser.app)) == ([], 0)


def test_a_slow_page_undoes_no_login_of_another_tab(
    browser: Browser, clock: Clock
) -> None:
    """It may come after that, so only an answer at once changes the cookie."""
    browser.log_in()
    old = browser.tab()
    clock.advance(3600)
    with ThreadPoolExecutor(1) as threads, hold(browser.spotify, "token") as held:
        slow = threads.submit(old.get, "/")
        assert held.arrived()
        browser.post("/logout")
        held.release()
        pages = [slow.result(), old.get("/"), old.get("/")]
    assert ["Set-Cookie" in page.headers for page in pages] == [False, True, False]


# ---- The cookies


def test_broken_cookies_mean_logged_out(make_app: MakeApp, browser: Browser) -> None:
    """Truncated, changed, 8 KB, another start's: said once, and never an error."""
    elsewhere = Browser(make_app(), browser.spotify)
    for visitor in (browser, elsewhere):
        visitor.log_in()
    good = browser.cookie
    broken = [elsewhere.cookie, good[:-9], good + "a" * 8192, "", "ü✓"]
    client = browser.app.test_client(use_cookies=False)
    for value in broken:
        sent = f"now_playing={value}".encode().decode("latin-1")
        for header in (sent, f"{sent}; {sent}"):
            page = client.get("/", base_url=ORIGIN, headers={"Cookie": header})
            assert "User ID: None" in page.text
            assert "You’ve been logged out." in page.text
            assert page.headers["Set-Cookie"].startswith("now_playing=; Expires=")
    assert "You’ve been logged out." not in browser.twin().get("/").text
    assert browser.user_id


@pytest.mark.parametrize("origin", [ORIGIN, "https://example.com"])
def test_cookies_have_every_protection_that_their_origin_allows(
    origin: str, make_app: MakeApp, spotify: StandIn
) -> None:
    """HttpOnly, Lax, own name; __Host- and Secure on https; cleared just so."""
    browser = Browser(make_app(redirect_uri=f"{origin}/callback"), spotify)
    first = browser.get("/login")
    done = browser.get(browser.code_for(query_of(first)))
    prefix, secure = ("__Host-", "Secure; ") if origin != ORIGIN else ("", "")
    for response, start in (
        (first, "now_playing=[^;]+"),
        (done, "now_playing=[^;]+; Expires=[^;]+"),
        (browser.get("/logout"), "now_playing=; Expires=[^;]+; Max-Age=0"),
    ):
        (cookie,) = response.headers.getlist("Set-Cookie")
        protected = f"{prefix}{start}; {secure}HttpOnly; Path=/; SameSite=Lax"
        assert re.fullmatch(protected, cookie)


def test_cookie_holds_references_alone(app: Flask, browser: Browser) -> None:
    """No token, code, state, name or secret, whatever logins were begun before."""
    for _ in range(3):
        browser.begin_login()
    browser.log_in()
    with app.test_request_context(headers={"Cookie": f"now_playing={browser.cookie}"}):
        assert set(session) == {"_permanent", "browser", "user"}
        assert session["user"] == browser.user_id


# ---- The log


def test_log_tells_who_comes_and_goes_and_what_fails(
    browser: Browser, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """Users go by a hash of their ID; what goes well would bury the rest."""
    caplog.set_level(logging.INFO, "now_playing")
    browser.get("/callback?code=x&state=y")
    browser.log_in()
    user_id = str(browser.user_id)
    for path in ("/", "/now-playing", "/healthz", "/x%0d%0a?code=x", "/logout"):
        browser.get(path)
    browser.log_in()
    browser.spotify.revoke()
    clock.advance(3600)
    browser.get("/")
    assert user_id not in caplog.text
    records = [f"{it.levelname[0]} {it.getMessage()}" for it in caplog.records]
    assert [re.sub(" user [0-9a-f]{8}$", "", it) for it in records] == [
        "I GET /callback: invalid_state",
        "I login of",
        "I GET /x%0D%0A: not_found",
        "I log-out of",
        "I login of",
        f"W Spotify: POST {browser.spotify.url}/api/token: status 400",
        "W no token: invalid_grant",
        "I Spotify ended the login of",
    ]
