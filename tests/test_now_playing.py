"""What plays, how fresh it is, and when to ask again; windows, tokens, accounts."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask

from problems import KINDS
from stand_in import StandIn
from stand_in.failures import answer
from tests.conftest import Browser, Clock, about, people, shown
from tests.wire import CLOSE

HTML = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
HOUR = 3_600  # seconds
LENGTH = 245_581  # milliseconds


def song(left_ms: int | None, **more: Any) -> dict[str, Any]:
    """Return what Spotify answers that many milliseconds before the end of a track."""
    progress = None if left_ms is None else LENGTH - left_ms
    item = {"type": "track", "name": "Second-Best Umbrella", "duration_ms": LENGTH}
    return {"item": item, "is_playing": True, "progress_ms": progress, **more}


def nameless(kind: str, **more: Any) -> dict[str, Any]:
    return {"item": None, "currently_playing_type": kind, "is_playing": True, **more}


PAUSED = song(60_000, is_playing=False)
ENDLESS = {"item": {"name": "Radio"}, "is_playing": True, "progress_ms": 9}


@pytest.fixture
def robin(browser: Browser, spotify: StandIn) -> Browser:
    """The browser of somebody who is logged in and plays a track."""
    spotify.play(song(LENGTH))
    browser.log_in()
    spotify.forget()
    return browser


def endpoints(spotify: StandIn) -> list[str]:
    return [call.endpoint for call in spotify.calls]


def refreshes(spotify: StandIn) -> list[str]:
    """Return the refresh tokens that reached Spotify, oldest first."""
    calls = [call for call in spotify.calls if call.endpoint == "token"]
    return [call.form["refresh_token"] for call in calls if "code" not in call.form]


# ---- The form of an answer


@pytest.mark.parametrize("accept", [None, "*/*", "application/json", "image/png"])
def test_json_is_the_default_and_has_exactly_the_promised_keys(
    accept: str | None, robin: Browser
) -> None:
    page = robin.get("/now-playing", **({"Accept": accept} if accept else {}))
    assert (page.status_code, page.mimetype) == (200, "application/json")
    facts = page.get_json()
    assert facts.pop("poll_after_ms") in about(4_500)
    assert facts == {
        "state": "playing",
        "kind": "track",
        "title": "Second-Best Umbrella",
        **dict.fromkeys(("url", "from", "image")),
        "by": [],
        "explicit": False,
        "progress_ms": 0,
        "duration_ms": LENGTH,
    }


@pytest.mark.parametrize("accept", [HTML, "text/html, application/json;q=.9"])
def test_html_is_the_fragment_that_the_main_page_has_in_it(
    accept: str, robin: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("random.uniform", lambda low, high: high)
    page = robin.get("/now-playing", Accept=accept)
    fragment = page.text.strip()
    assert (page.status_code, page.mimetype) == (200, "text/html")
    assert fragment.startswith('<section id="player" data-state="playing"')
    assert 'data-poll-after-ms="4950"' in fragment
    assert fragment.endswith("</section>")
    assert fragment in robin.get("/").text


def test_logged_out_gets_401_and_never_polls_again(
    browser: Browser, spotify: StandIn
) -> None:
    page = browser.get("/now-playing")
    facts = page.get_json()
    assert page.status_code == 401
    assert facts.keys() == {"error", "message", "poll_after_ms"}
    assert (facts["error"], facts["poll_after_ms"]) == ("logged_out", 0)
    assert shown(browser.get("/now-playing", Accept=HTML)) == "logged_out"
    assert spotify.calls == []


# ---- Progress and the next poll


@pytest.mark.parametrize(
    ("payload", "seconds", "expected"),
    [
        (song(60_000), 1.5, LENGTH - 60_000 + 1_500),
        (song(60_000), 0, LENGTH - 60_000),
        (song(1_000), 1.5, LENGTH),
        (PAUSED, 1.5, LENGTH - 60_000),
        (ENDLESS, 1.5, 1_509),
        (song(None), 1.5, None),
        (nameless("ad", progress_ms=4_000), 1.5, 5_500),
        (nameless("unknown"), 1.5, None),
    ],
)
def test_progress_counts_on_from_the_answer_to_the_end_of_the_track(
    payload: Any, seconds: float, expected: int | None, robin: Browser, clock: Clock
) -> None:
    spotify = robin.spotify
    spotify.play(payload)
    robin.json()
    clock.advance(seconds)
    assert robin.json()["progress_ms"] == expected
    assert spotify.count("player") == 1


@pytest.mark.parametrize(
    ("payload", "age", "expected"),
    [
        (song(60_000), 0, 4_500),
        (song(3_000), 0, 3_800),
        (song(3_000), 1.5, 2_300),
        (song(500), 0, 2_000),
        (song(0), 1.5, 2_000),
        (ENDLESS, 1, 4_500),
        (song(None), 1, 4_500),
        (PAUSED, 1.5, 13_500),
        (None, 0, 27_000),
        (nameless("ad"), 0, 4_500),
        (nameless("unknown"), 1.5, 4_500),
    ],
)
def test_next_poll_comes_when_there_may_be_news(
    payload: Any, age: float, expected: int, robin: Browser, clock: Clock
) -> None:
    """And brings them; a crowd that came at once is spread over a tenth of the time."""
    spotify = robin.spotify
    spotify.play(payload)
    robin.json()
    clock.advance(age)
    waits = [robin.json()["poll_after_ms"] for _ in range(20)]
    assert all(wait in about(expected) for wait in waits)
    assert len(set(waits)) > 1
    assert spotify.count("player") == 1
    clock.advance(expected / 1000)
    robin.json()
    assert spotify.count("player") == 2


def test_a_person_is_asked_about_once_in_two_seconds_however_many_tabs(
    robin: Browser, other: Browser, spotify: StandIn, clock: Clock
) -> None:
    """12 s of three tabs, whether Spotify works or not."""
    other.log_in("mika")
    spotify.forget()
    for tick in range(25):  # from 0 to 12 s
        if tick == 12:
            spotify.fail("player", "server_error")
        for browser in (robin, robin.tab(), other):
            browser.json()
            browser.get("/")
        clock.advance(0.5)
    assert spotify.count("player") == 2 * 7
    assert spotify.count("profile") == spotify.count("token") == 0


# ---- The rate limit: a window for each of Spotify's two hosts


@pytest.mark.parametrize("endpoint", ["player", "profile"])
def test_in_the_window_of_the_api_nobody_asks_and_everybody_is_told(
    endpoint: str, app: Flask, spotify: StandIn, clock: Clock
) -> None:
    """And those who come back do so spread over a second at least."""
    robin, mika = Browser(app, spotify), Browser(app, spotify)
    robin.log_in("robin")
    spotify.fail(endpoint, "rate_limited", 1)
    mika.log_in("mika")
    mika.json()
    spotify.forget()
    for left in (7, 6, 3, 1):
        waits = []
        for browser in (robin, mika) * 5:
            page = browser.get("/now-playing")
            assert page.status_code == 503
            assert page.headers["Retry-After"] == str(left)
            assert shown(browser.get("/")) == "rate_limited"
            waits.append(page.get_json()["poll_after_ms"])
        wait = 1000 * max(left, KINDS["rate_limited"].poll_after)
        assert all(it in about(wait, 1_000) for it in waits)
        assert max(waits) - min(waits) > 100  # else once in 10**7 runs
        clock.advance(1 if left != 6 else 3)
        clock.advance(1 if left == 3 else 0)
    assert spotify.calls == []
    assert robin.json()["state"] == mika.json()["state"] == "playing"


def test_window_of_the_api_stops_no_login(
    robin: Browser, other: Browser, spotify: StandIn, clock: Clock
) -> None:
    """The account's name is not asked for meanwhile; it comes later."""
    spotify.fail("player", "rate_limited", 1)
    robin.json()
    spotify.forget()
    assert other.log_in("mika").headers["Location"] == "/"
    page = other.get("/")
    assert (shown(page), "Mika" in page.text) == ("rate_limited", False)
    assert endpoints(spotify) == ["token"]
    clock.advance(7)
    assert "Mika Okonjo" in other.get("/").text


def test_window_of_the_accounts_service_stops_no_music(
    robin: Browser, other: Browser, app: Flask, spotify: StandIn, clock: Clock
) -> None:
    """Whoever comes back from Spotify meanwhile reloads the page later."""
    late = Browser(app, spotify)
    late.log_in("ines")
    spotify.fail("token", "rate_limited", 1)
    clock.advance(HOUR)
    assert late.json()["error"] == "rate_limited"  # it needs a new token
    spotify.forget()
    link = other.code_for(other.begin_login(), "mika")
    refused = other.get(link)
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "7")
    assert 'data-state="login_later"' in refused.text
    assert late.json()["error"] == "rate_limited"
    assert spotify.calls == []
    clock.advance(7)
    assert other.get(link).headers["Location"] == "/"
    assert other.json()["state"] == late.json()["state"] == "playing"
    spotify.fail("token", "rate_limited", 1)
    assert robin.twin().log_in().status_code == 503
    clock.advance(3)
    assert other.json()["state"] == "playing"


def test_cancel_in_a_window_is_a_cancel(browser: Browser, spotify: StandIn) -> None:
    spotify.fail("token", "rate_limited", 1)
    assert browser.log_in().status_code == 503
    state = browser.begin_login()["state"]
    browser.get(f"/callback?error=access_denied&state={state}")
    assert "You cancelled the login." in browser.get("/").text


@pytest.mark.parametrize("set_ahead", [-HOUR, 40 * 86_400])
def test_clock_that_somebody_sets_changes_nothing_but_what_spotify_counts_by(
    set_ahead: int, robin: Browser, other: Browser, spotify: StandIn, clock: Clock
) -> None:
    """Pauses, logins and their ages go on; set ahead, tokens are renewed early."""
    link = other.code_for(other.begin_login(), "mika")
    spotify.fail("player", "rate_limited", 1)
    robin.json()
    spotify.forget()
    clock.advance(3)
    clock.set_ahead = set_ahead
    assert robin.get("/now-playing").headers["Retry-After"] == "4"
    assert spotify.count("player") == 0
    clock.advance(4)
    assert robin.json()["state"] == "playing"
    assert endpoints(spotify) == ["token"] * (set_ahead > 0) + ["player"]
    clock.set_ahead = 0
    robin.json()
    assert spotify.count("player") == 1
    assert other.get(link).headers["Location"] == "/"


# ---- Refresh


@pytest.mark.parametrize(("left", "refreshed"), [(60, 0), (59, 1), (-9, 1)])
def test_token_is_refreshed_with_less_than_a_minute_to_live(
    left: int, refreshed: int, robin: Browser, spotify: StandIn, clock: Clock
) -> None:
    clock.advance(HOUR - left)
    assert robin.json()["state"] == "playing"
    assert endpoints(spotify) == ["token"] * refreshed + ["player"]


@pytest.mark.parametrize("new", [..., "brand-new", None, 7, "with space"])
def test_new_refresh_token_is_stored_and_none_keeps_the_old(
    new: Any, robin: Browser, spotify: StandIn, clock: Clock
) -> None:
    """RFC 6749 §6."""
    token = {"access_token": "a", "token_type": "Bearer", "expires_in": 1, "scope": ""}
    token |= {} if new is ... else {"refresh_token": new}
    spotify.fail("token", answer(200, token, CLOSE), 1)
    spotify.fail("player", answer(204, "", CLOSE), 1)
    clock.advance(HOUR)
    assert robin.json()["state"] == "nothing"
    assert spotify.calls[-1].headers["authorization"] == "Bearer a"
    clock.advance(HOUR)
    robin.json()
    first, second = refreshes(spotify)
    assert second == (new if new == "brand-new" else first)


def test_token_that_the_api_refuses_is_renewed_once_and_tried_once_more(
    flow: str, robin: Browser, spotify: StandIn
) -> None:
    """And the person notices nothing."""
    spotify.fail("player", "expired_token", 1)
    assert robin.json()["state"] == "playing"
    assert endpoints(spotify) == ["player", "token", "player"]
    first, second = (spotify.calls[n].headers["authorization"] for n in (0, 2))
    assert first != second


@pytest.mark.parametrize(
    ("seconds", "revoked", "expected"),
    [
        (2, False, "player token player"),
        (HOUR, True, "token"),
        (2, True, "player token"),
    ],
)
@pytest.mark.parametrize("polled", [True, False])
def test_login_that_spotify_ended_is_over_with_the_reason_and_no_loop(
    seconds: int,
    revoked: bool,
    expected: str,
    polled: bool,
    robin: Browser,
    clock: Clock,
) -> None:
    """Each tab hears it, the main page says it once, Spotify is left alone."""
    spotify = robin.spotify
    robin.json()
    clock.advance(seconds)
    spotify.forget()
    spotify.fail("player", "invalid_token")
    if revoked:
        spotify.revoke()
    for _ in ("one tab", "another tab", "the first tab again") if polled else ():
        page = robin.get("/now-playing")
        assert (page.status_code, page.get_json()["error"]) == (401, "logged_out")
        assert "Spotify has ended this login" in page.get_json()["message"]
        assert page.get_json()["poll_after_ms"] == 0
        clock.advance(3)
    if polled:
        assert robin.tab().get("/login").headers["Location"] != "/"
    page = robin.get("/")
    assert page.status_code == 200
    assert "Spotify has ended this login" in page.text
    assert "User ID: None" in page.text
    assert people(robin.app) == 0
    for _ in range(3):
        clock.advance(3)
        assert robin.get("/now-playing").status_code == 401
        assert "has ended" not in robin.get("/").text
    assert endpoints(spotify) == expected.split()
    spotify.heal()
    robin.log_in()
    assert robin.json()["state"] == "playing"


# ---- The account


@pytest.mark.parametrize(
    ("profile", "names"),
    [
        ({"id": "r1", "display_name": "Robin"}, ["Robin", "r1"]),
        ({"id": "r1", "display_name": None}, ["r1"]),
        ({"id": "r1", "display_name": " "}, ["r1"]),
        ({"id": None, "display_name": "Robin"}, ["Robin"]),
    ],
)
def test_account_is_shown_as_far_as_it_is_known(
    profile: dict[str, Any], names: list[str], browser: Browser, spotify: StandIn
) -> None:
    spotify.fail("profile", answer(200, profile, CLOSE))
    browser.log_in()
    page = browser.get("/").text.partition("</main>")[2]
    assert [it.split("</bdi>")[0] for it in page.split("<bdi>")[1:]] == names


def test_spotify_account_stays_while_one_looks_around_and_goes_at_logout(
    browser: Browser, spotify: StandIn
) -> None:
    """The second example's promise: saved at login, preserved, deleted at log-out."""
    browser.log_in("mika")
    for path in ("/", "/now-playing", "/", "/missing", "/login", "/"):
        browser.get(path)
    assert "(<bdi>mika</bdi>)" in browser.get("/").text
    assert spotify.count("profile") == 1
    cookie = browser.cookie
    browser.post("/logout")
    assert "mika" not in browser.get("/").text
    browser.cookie = cookie
    assert "mika" not in browser.get("/").text
