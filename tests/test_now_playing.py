"""What plays, how fresh it is, and when to ask again; windows, tokens, accounts."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask

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


@pytest.fixture
def robin(browser: Browser, spotify: StandIn) -> Browser:
    """The browser of somebody who is logged in and plays a track."""
    spotify.play(song(LENGTH))
    browser.log_in()
    spotify.forget()
    return browser


def endpoints(spotify: StandIn) -> list[str]:
    return [call.endpoint for call in spotify.calls]


def test_json_is_the_default_and_html_is_the_player_of_the_main_page(
    robin: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("random.uniform", lambda low, high: high)
    for accept in ("*/*", "image/png", "application/json, text/html;q=.9"):
        page = robin.get("/now-playing", Accept=accept)
        assert page.get_json()["state"] == "playing"
    for accept in (HTML, "text/html, application/json;q=.9"):
        page = robin.get("/now-playing", Accept=accept)
        fragment = page.text.strip()
        assert page.mimetype == "text/html"
        assert fragment.startswith('<section id="player" data-state="playing"')
        assert 'data-poll-after-ms="4950"' in fragment
        assert fragment.endswith("</section>")
        assert fragment in robin.get("/").text


@pytest.mark.parametrize(
    ("payload", "age", "progress", "wait"),
    [
        (song(60_000), 1.5, LENGTH - 58_500, 4_500),
        (song(3_000), 1.5, LENGTH - 1_500, 2_300),
        (song(1_000), 1.5, LENGTH, 2_000),
        (song(60_000, is_playing=False), 1.5, LENGTH - 60_000, 13_500),
        ({"item": {"name": "Radio"}, "progress_ms": 9}, 1.5, 1_509, 4_500),
        (song(None), 1, None, 4_500),
        (None, 0, None, 27_000),
        (song(None, item={"type": "ad"}, progress_ms=4_000), 1.5, 5_500, 4_500),
        (song(None, item=None), 1.5, None, 4_500),
    ],
)
def test_progress_counts_on_and_the_next_poll_comes_when_there_may_be_news(
    payload: Any, age: float, progress: Any, wait: int, robin: Browser, clock: Clock
) -> None:
    """And brings them; a crowd that came at once is spread over a tenth of the time."""
    spotify = robin.spotify
    spotify.play(payload)
    robin.json()
    clock.advance(age)
    answers = [robin.json() for _ in range(20)]
    assert {answer["progress_ms"] for answer in answers} == {progress}
    waits = {answer["poll_after_ms"] for answer in answers}
    assert waits <= {*about(wait)}
    assert len(waits) > 1
    assert spotify.count("player") == 1
    clock.advance(wait / 1000)
    robin.json()
    assert spotify.count("player") == 2


def test_a_person_is_asked_about_once_in_two_seconds_however_many_tabs(
    robin: Browser, other: Browser, spotify: StandIn, clock: Clock
) -> None:
    """6 s of three tabs, whether Spotify works or not."""
    other.log_in("mika")
    spotify.forget()
    for tick in range(13):  # from 0 to 6 s
        if tick == 6:
            spotify.fail("player", "server_error")
        for browser in (robin, robin.tab(), other):
            browser.json()
            browser.get("/")
        clock.advance(0.5)
    assert spotify.count("player") == 2 * 4
    assert spotify.count("profile") == spotify.count("token") == 0


# ---- The rate limit: a window for each of Spotify's two hosts


@pytest.mark.parametrize("endpoint", ["player", "profile"])
def test_in_the_window_of_the_api_everybody_is_told_and_people_still_log_in(
    endpoint: str, app: Flask, spotify: StandIn, clock: Clock
) -> None:
    """Nobody asks; those who come back do so spread over a second at least."""
    robin, mika, ines = (Browser(app, spotify) for _ in range(3))
    robin.log_in("robin")
    spotify.fail(endpoint, "rate_limited", 1)
    mika.log_in("mika")
    mika.json()
    spotify.forget()
    assert ines.log_in("ines").headers["Location"] == "/"
    for left in (7, 4, 1):
        waits = []
        for browser in (robin, mika, ines) * 4:
            page = browser.get("/now-playing")
            assert (page.status_code, page.headers["Retry-After"]) == (503, str(left))
            assert shown(browser.get("/")) == "rate_limited"
            waits.append(page.get_json()["poll_after_ms"])
        assert max(waits) - min(waits) > 100  # else once in 10**9 runs
        clock.advance(3)
    assert endpoints(spotify) == ["token"]
    assert robin.json()["state"] == mika.json()["state"] == "playing"
    assert "Inès Aldana" in ines.get("/").text


def test_window_of_the_accounts_service_stops_no_music_and_no_cancel(
    robin: Browser, other: Browser, spotify: StandIn, clock: Clock
) -> None:
    """Whoever comes back from Spotify meanwhile reloads the page later."""
    clock.advance(HOUR)  # robin needs a new token
    other.log_in("mika")
    spotify.fail("token", "rate_limited", 1)
    assert robin.json()["error"] == "rate_limited"
    spotify.forget()
    late = robin.twin()
    link = late.code_for(late.begin_login())
    refused = late.get(link)
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "7")
    assert 'data-state="login_later"' in refused.text
    state = late.begin_login()["state"]
    late.get(f"/callback?error=access_denied&state={state}")
    assert "You cancelled the login." in late.get("/").text
    assert robin.json()["error"] == "rate_limited"
    assert spotify.calls == []
    assert other.json()["state"] == "playing"
    clock.advance(7)
    assert late.get(link).headers["Location"] == "/"
    assert robin.json()["state"] == "playing"


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


def test_token_is_renewed_a_minute_before_its_end_or_when_it_is_refused(
    flow: str, robin: Browser, spotify: StandIn, clock: Clock
) -> None:
    """Once, and the person notices nothing."""
    for seconds, calls in (
        (HOUR - 60, ["player"]),
        (2, ["token", "player"]),
        (2, ["player", "token", "player"]),
    ):
        clock.advance(seconds)
        spotify.forget()
        assert robin.json()["state"] == "playing"
        assert endpoints(spotify) == calls
        if "token" in calls:
            spotify.expire_tokens()


def test_refused_token_is_not_sent_again_while_a_new_one_has_to_wait(
    robin: Browser, spotify: StandIn, clock: Clock
) -> None:
    clock.advance(2)
    spotify.expire_tokens()
    spotify.fail("token", "rate_limited")
    spotify.forget()
    for _ in range(3):
        assert robin.json()["error"] == "rate_limited"
    assert endpoints(spotify) == ["player", "token"]


@pytest.mark.parametrize("expires_in", [-5, 10**18])
@pytest.mark.parametrize("new", [None, "brand-new", 7])
def test_new_token_serves_as_long_as_it_can(
    expires_in: int, new: Any, robin: Browser, spotify: StandIn, clock: Clock
) -> None:
    """A new refresh token replaces the old one, and none keeps it (RFC 6749 §6)."""
    token = {"access_token": "a", "token_type": "Bearer", "refresh_token": new}
    token |= {"expires_in": expires_in}
    spotify.fail("token", answer(200, token, CLOSE), 1)
    spotify.fail("player", answer(204, "", CLOSE), 1)
    for _ in range(2):
        clock.advance(HOUR)
        robin.json()
    assert spotify.calls[1].headers["authorization"] == "Bearer a"
    calls = [call for call in spotify.calls if call.endpoint == "token"]
    first, second = (call.form["refresh_token"] for call in calls)
    assert second == (new if new == "brand-new" else first)


@pytest.mark.parametrize(
    ("seconds", "revoked", "calls"),
    [
        (2, False, "player token player"),
        (2, True, "player token"),
        (HOUR, True, "token"),
    ],
)
def test_login_that_spotify_ended_is_over_with_the_reason_and_no_loop(
    seconds: int, revoked: bool, calls: str, robin: Browser, clock: Clock
) -> None:
    """Each tab hears it, the main page says it once, Spotify is left alone."""
    spotify, reason = robin.spotify, "Spotify has ended this login"
    over = {"error": "logged_out", "poll_after_ms": 0, "message": ""}
    clock.advance(seconds)
    spotify.fail("player", "invalid_token")
    if revoked:
        spotify.revoke()
    for _ in range(3):
        page = robin.get("/now-playing")
        assert page.status_code == 401
        assert page.get_json() | {"message": ""} == over
        assert reason in page.text
        clock.advance(3)
    assert robin.tab().get("/login").headers["Location"] != "/"
    main = robin.get("/").text
    assert reason in main
    assert "User ID: None" in main
    assert people(robin.app) == 0
    clock.advance(3)
    assert robin.json() | {"message": ""} == over
    assert shown(robin.get("/now-playing", Accept=HTML)) == "logged_out"
    assert reason not in robin.get("/").text
    assert endpoints(spotify) == calls.split()
    spotify.heal()
    robin.log_in()
    assert robin.json()["state"] == "playing"


@pytest.mark.parametrize("known", ["id", "display_name"])
def test_account_is_shown_as_far_as_it_is_known(
    known: str, browser: Browser, spotify: StandIn
) -> None:
    """Asked for at login, kept while one looks around, gone with the log-out."""
    profile = {"id": None, "display_name": " ", known: "Robin"}
    spotify.fail("profile", answer(200, profile, CLOSE))
    browser.log_in()
    for path in ("/", "/now-playing", "/missing", "/login"):
        browser.get(path)
    page = browser.get("/").text.partition("</main>")[2]
    assert [it.split("</bdi>")[0] for it in page.split("<bdi>")[1:]] == ["Robin"]
    assert spotify.count("profile") == 1
    browser.post("/logout")
    assert "<bdi>" not in browser.get("/").text
