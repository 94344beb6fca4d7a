"""What plays, and when Spotify is asked again; windows, tokens, accounts."""

from typing import Any

import pytest

from stand_in import StandIn
from stand_in.failures import answer
from tests.conftest import Browser, Clock, MakeApp, about, people, shown
from tests.wire import CLOSE

HTML = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
HOUR = 3_600  # seconds
LENGTH = 245_581  # milliseconds


def song(progress_ms: int | None, **more: Any) -> dict[str, Any]:
    """Return what Spotify answers so far into a track."""
    item = {"type": "track", "name": "Second-Best Umbrella", "duration_ms": LENGTH}
    return {"item": item, "is_playing": True, "progress_ms": progress_ms, **more}


MINUTE_IN = song(60_000)  # asked about again after 30 s


@pytest.fixture
def robin(browser: Browser, spotify: StandIn) -> Browser:
    """The browser of somebody who is logged in and plays a track."""
    spotify.play(MINUTE_IN)
    browser.log_in()
    spotify.forget()
    return browser


def endpoints(spotify: StandIn) -> list[str]:
    """Return what was asked of Spotify since the last time."""
    calls = [call.endpoint for call in spotify.calls]
    spotify.forget()
    return calls


# ---- When to ask


def test_json_is_the_default_and_html_is_the_player_of_the_main_page(
    robin: Browser,
) -> None:
    for accept in ("*/*", "image/png"):
        facts = robin.get("/now-playing", Accept=accept).get_json()
        assert facts["state"] == "playing"
    assert robin.post("/now-playing").get_json()["error"] == "method_not_allowed"
    page = robin.get("/now-playing", Accept=HTML)
    assert (page.mimetype, shown(page)) == ("text/html", "playing")
    assert f'data-poll-after-ms="{facts["poll_after_ms"]}"' in page.text
    assert page.text.strip() in robin.get("/").text


@pytest.mark.parametrize(
    ("payload", "progress", "wait"),
    [
        (MINUTE_IN, 61_500, 30_000),
        (song(LENGTH - 1_000), LENGTH, 1_800),
        (song(4_000, item={"type": "ad"}), 5_500, 10_000),
        (song(None, item=None), None, 30_000),
    ],
)
def test_answer_serves_every_poll_until_its_time_has_come(
    payload: Any, progress: int | None, wait: int, robin: Browser, clock: Clock
) -> None:
    """Moved on, and with the rest of the wait; which ends soon after a track does."""
    robin.spotify.play(payload)
    first = robin.json()["poll_after_ms"]
    assert first in about(wait, 600)
    clock.advance(1.5)
    for tab in (robin, robin.tab(), robin):
        facts = tab.json()
        assert facts["progress_ms"] == progress
        assert 0 <= first - facts["poll_after_ms"] - 1_500 <= 1
    clock.advance(facts["poll_after_ms"] / 1000 - 0.002)
    robin.json()
    assert endpoints(robin.spotify) == ["player"]
    clock.advance(0.002)
    robin.json()
    assert endpoints(robin.spotify) == ["player"]


@pytest.mark.parametrize(
    ("failure", "first"), [(None, 30_000), ("server_error", 15_000)]
)
def test_waits_grow_while_nothing_changes_and_start_anew_when_it_does(
    failure: str | None, first: int, robin: Browser, clock: Clock
) -> None:
    spotify, waits = robin.spotify, []
    if failure:
        spotify.fail("player", failure)
    spotify.play(None)
    for _ in range(9):
        waits.append(robin.json()["poll_after_ms"])
        clock.advance(waits[-1] / 1000)
    assert waits[0] in about(first)
    assert waits[3] > 1.5 * waits[1]
    assert waits[-1] in about(120_000)
    assert endpoints(spotify) == ["player"] * 9
    spotify.heal()
    spotify.play(song(0))
    assert robin.json()["poll_after_ms"] in about(5_000)


def test_looks_take_a_call_in_two_seconds_and_a_daily_limit_slows_polls_alone(
    make_app: MakeApp, spotify: StandIn, clock: Clock
) -> None:
    robin = Browser(make_app(daily_calls=100), spotify)
    spotify.play(MINUTE_IN)
    robin.log_in()
    for _ in range(140):
        clock.advance(1)
        robin.json(look=True)
    assert spotify.count("player") == 70
    assert 60_000 < robin.json()["poll_after_ms"] < 180_000
    clock.advance(24 * HOUR)
    assert robin.json()["poll_after_ms"] in about(30_000)


# ---- Windows in which Spotify is not asked


@pytest.mark.parametrize(
    ("endpoint", "error"),
    [("profile", "rate_limited"), ("player", "quota_exceeded")],
)
def test_in_a_window_of_the_api_everybody_is_told_and_people_still_log_in(
    endpoint: str, error: str, robin: Browser, clock: Clock, caplog: Any
) -> None:
    """Nobody asks; those who come back do so spread over a second at least."""
    spotify, mika, ines = robin.spotify, robin.twin(), robin.twin()
    spotify.fail(endpoint, error, 1)
    mika.log_in("mika")
    mika.json()
    spotify.forget()
    assert ines.log_in("ines").headers["Location"] == "/"
    for left in (7, 1):
        waits = []
        for browser in (robin, mika, ines) * 4:
            page = browser.get("/now-playing", Cache_Control="no-cache")
            assert (page.status_code, page.headers["Retry-After"]) == (503, str(left))
            assert page.get_json()["error"] == shown(browser.get("/")) == error
            waits.append(page.get_json()["poll_after_ms"])
        assert max(waits) - min(waits) > 100  # else once in 10**9 runs
        clock.advance(left - 1 or 1)
    assert endpoints(spotify) == ["token"]
    assert ("the app's is 200 from now on" in caplog.text) == (endpoint == "player")
    assert robin.json()["state"] == mika.json()["state"] == "playing"
    assert "Inès Aldana" in ines.get("/").text


def test_windows_of_logins_refreshes_and_the_api_are_apart(
    robin: Browser, other: Browser, spotify: StandIn, clock: Clock
) -> None:
    """A stranger's code stops no music; who comes back meanwhile reloads later."""
    clock.advance(HOUR)
    link = other.code_for(other.begin_login())
    spotify.fail("token", "rate_limited", 1)
    for _ in range(2):
        refused = other.get(link)
        assert (refused.status_code, refused.headers["Retry-After"]) == (503, "7")
        assert shown(refused) == "login_later"
    assert robin.json()["state"] == "playing"
    assert endpoints(spotify) == ["token", "token", "player"]
    clock.advance(7)
    assert other.get(link).headers["Location"] == "/"
    clock.advance(HOUR)
    spotify.fail("token", "rate_limited", 1)
    for _ in range(2):
        assert robin.json()["error"] == "rate_limited"
    assert other.twin().log_in().headers["Location"] == "/"


@pytest.mark.parametrize("set_ahead", [-HOUR, 40 * 86_400])
def test_clock_that_somebody_sets_changes_nothing_but_what_spotify_counts_by(
    set_ahead: int, robin: Browser, other: Browser, spotify: StandIn, clock: Clock
) -> None:
    """Pauses, logins and their ages go on; set ahead, tokens are renewed early."""
    link = other.code_for(other.begin_login(), "mika")
    spotify.fail("player", "rate_limited", 1)
    robin.json()
    clock.advance(3)
    clock.set_ahead = set_ahead
    assert robin.get("/now-playing").headers["Retry-After"] == "4"
    clock.advance(4)
    assert robin.json()["state"] == "playing"
    assert endpoints(spotify) == ["player", *["token"] * (set_ahead > 0), "player"]
    clock.set_ahead = 0
    robin.json()
    assert endpoints(spotify) == []
    assert other.get(link).headers["Location"] == "/"


# ---- Tokens


def test_an_api_that_refuses_every_token_is_in_trouble_itself(
    robin: Browser, spotify: StandIn, clock: Clock
) -> None:
    """So a token is renewed at most once a minute for that, and the login stays."""
    spotify.fail("player", "invalid_token")
    for seconds, calls in ((3, "player"), (57, "player token player"), (3, "player")):
        clock.advance(seconds)
        assert robin.json(look=True)["error"] == "unreachable"
        assert endpoints(spotify) == calls.split()
    spotify.heal()
    clock.advance(3)
    assert robin.json(look=True)["state"] == "playing"


def test_refused_token_is_not_sent_again_while_a_new_one_has_to_wait(
    robin: Browser, spotify: StandIn, clock: Clock
) -> None:
    clock.advance(60)
    spotify.expire_tokens()
    spotify.fail("token", "rate_limited", 1)
    for _ in range(3):
        assert robin.json(look=True)["error"] == "rate_limited"
    assert endpoints(spotify) == ["player", "token"]
    clock.advance(7)
    assert robin.json()["state"] == "playing"
    assert endpoints(spotify) == ["token", "player"]


@pytest.mark.parametrize(
    ("new", "expires_in"), [(None, 10**18), ("brand-new", -5), (7, HOUR)]
)
def test_new_token_serves_as_long_as_it_can(
    new: Any, expires_in: int, robin: Browser, spotify: StandIn, clock: Clock
) -> None:
    """A new refresh token replaces the old one, and none keeps it (RFC 6749 §6)."""
    token = {"access_token": "a", "refresh_token": new, "expires_in": expires_in}
    spotify.fail("token", answer(200, token, CLOSE), 1)
    spotify.fail("player", answer(204, "", CLOSE), 1)
    for _ in range(2):
        clock.advance(HOUR)
        robin.json()
    assert spotify.calls[1].headers["authorization"] == "Bearer a"
    calls = [call for call in spotify.calls if call.endpoint == "token"]
    first, second = (call.form["refresh_token"] for call in calls)
    assert second == (new if new == "brand-new" else first)


@pytest.mark.parametrize(("seconds", "calls"), [(60, "player token"), (HOUR, "token")])
def test_login_that_spotify_ended_is_over_with_the_reason_and_no_loop(
    seconds: int, calls: str, robin: Browser, spotify: StandIn, clock: Clock
) -> None:
    """Who met the end hears why, all other tabs that they are logged out."""
    clock.advance(seconds)
    spotify.expire_tokens()
    spotify.revoke()
    for reason in ("Spotify has ended this login", "You’ve been logged out."):
        facts = robin.tab().json()
        assert (facts["error"], facts["poll_after_ms"]) == ("logged_out", 0)
        assert facts["message"].startswith(reason)
    assert shown(robin.get("/now-playing", Accept=HTML)) == "logged_out"
    assert people(robin.app) == 0
    for told in (True, False):
        assert ("You’ve been logged out." in robin.get("/").text) is told
    assert endpoints(spotify) == calls.split()
