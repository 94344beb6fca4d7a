"""What /now-playing and the main page answer, in good times and in bad ones."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from app import create_app
from config import Config
from stand_in import FAILURES, StandIn
from stand_in.failures import OK, How, answer
from tests.conftest import CLIENT_ID, SECRET, Browser, Clock, MakeApp
from tests.test_playback import EPISODE, NOTHING, SONG, THE_TRACK, flaw, player
from tests.wire import LARGE, SLOW

HTML = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
HOUR, DAY = 3_600, 86_400  # seconds


def song(left_ms: int = 245_581, **more: Any) -> dict[str, Any]:
    """Return what Spotify answers that many milliseconds before the end of a track."""
    return player(SONG, progress_ms=SONG["duration_ms"] - left_ms, **more)


def raw(body: bytes, kind: str = "application/json") -> bytes:
    """Return these bytes as an answer with status 200."""
    head = OK.replace(b"application/json", kind.encode())
    return head + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body


def state_of(page: TestResponse) -> str:
    """Return the state of the player on a page, empty when there is no player."""
    text = page.get_data(as_text=True)
    found = re.search(r'<section id="player" data-state="(\w+)"', text)
    return found[1] if found else ""


def refreshes(spotify: StandIn) -> list[str]:
    """Return the refresh tokens that reached Spotify, oldest first."""
    calls = [call for call in spotify.calls if call.endpoint == "token"]
    return [call.form["refresh_token"] for call in calls if "code" not in call.form]


# One app serves all the tests here, as one would: they are days apart by its clock,
# and each has people of its own.


@pytest.fixture(scope="module")
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="module")
def spotify(clock: Clock) -> Iterator[StandIn]:
    with StandIn(
        client_id=CLIENT_ID, client_secret=SECRET, clock=clock.time
    ) as stand_in:
        yield stand_in


@pytest.fixture(scope="module")
def app(spotify: StandIn, clock: Clock) -> Iterator[Flask]:
    urls = spotify.accounts_url, spotify.api_url
    config = Config(CLIENT_ID, accounts_url=urls[0], api_url=urls[1], deadline=2.0)
    app = create_app(config, clock=clock)
    yield app
    pass


@pytest.fixture(autouse=True)
def another_day(spotify: StandIn, clock: Clock) -> None:
    clock.advance(2 * DAY)  # no rate limit lasts that long
    spotify.heal()
    spotify.forget()


@pytest.fixture
def robin(browser: Browser, spotify: StandIn) -> Browser:
    """The browser of somebody who is logged in and plays a track."""
    return playing(browser, spotify)


@pytest.fixture
def in_either_flow(flow: str, make_app: MakeApp, spotify: StandIn) -> Browser:
    """The same in an app of its own, with PKCE and with the client secret."""
    return playing(Browser(make_app(), spotify), spotify)


def playing(browser: Browser, spotify: StandIn) -> Browser:
    spotify.play(song())
    browser.log_in()
    spotify.forget()
    return browser


# ---- The form of an answer


@pytest.mark.parametrize("accept", [None, "*/*", "application/json", "image/png", "x"])
def test_json_is_the_default_and_has_exactly_the_promised_keys(
    accept: str | None, robin: Browser
) -> None:
    page = robin.get("/now-playing", **({"Accept": accept} if accept else {}))
    assert (page.status_code, page.mimetype) == (200, "application/json")
    assert page.get_json() == THE_TRACK | {"progress_ms": 0, "poll_after_ms": 5_000}


@pytest.mark.parametrize(
    "accept", ["text/html", HTML, "text/html, application/json;q=.9"]
)
def test_html_is_the_fragment_that_the_main_page_has_in_it(
    accept: str, robin: Browser
) -> None:
    page = robin.get("/now-playing", Accept=accept)
    fragment = page.get_data(as_text=True).strip()
    assert (page.status_code, page.mimetype) == (200, "text/html")
    assert fragment.startswith('<section id="player" data-state="playing"')
    assert fragment.endswith("</section>")
    assert fragment in robin.get("/").get_data(as_text=True)


def test_logged_out_gets_401_and_never_polls_again(
    browser: Browser, spotify: StandIn
) -> None:
    page = browser.get("/now-playing")
    assert page.status_code == 401
    told = page.get_json()
    assert told.keys() == {"error", "message", "poll_after_ms"}
    assert (told["error"], told["poll_after_ms"]) == ("logged_out", 0)
    assert told["message"]
    assert state_of(browser.get("/now-playing", Accept=HTML)) == "logged_out"
    assert spotify.calls == []


# ---- Progress and the next poll


@pytest.mark.parametrize(
    ("payload", "seconds", "expected"),
    [
        (song(60_000), 1.5, 245_581 - 60_000 + 1_500),
        (song(60_000), 0, 245_581 - 60_000),
        (song(1_000), 1.5, 245_581),
        (song(60_000, is_playing=False), 1.5, 245_581 - 60_000),
        (player(SONG | {"duration_ms": None}, progress_ms=9), 1.5, 1_509),
        (player(SONG, progress_ms=None), 1.5, None),
        (player(None, "ad", progress_ms=4_000), 1.5, 5_500),
        (player(None, "unknown", progress_ms=None), 1.5, None),
    ],
)
def test_progress_counts_on_from_the_answer_to_the_end_of_the_track(
    payload: dict[str, Any],
    seconds: float,
    expected: int | None,
    robin: Browser,
    spotify: StandIn,
    clock: Clock,
) -> None:
    spotify.play(payload)
    robin.json()
    clock.advance(seconds)
    assert robin.json()["progress_ms"] == expected
    assert spotify.count("player") == 1


@pytest.mark.parametrize(
    ("payload", "age", "expected"),
    [
        (song(60_000), 0, 5_000),
        (song(60_000), 1.5, 3_500),
        (song(6_000), 0, 5_000),
        (song(3_000), 0, 4_000),
        (song(3_000), 1.5, 2_500),
        (song(500), 0, 2_000),
        (song(0), 0, 2_000),
        (song(500), 0.25, 1_750),
        (player(SONG | {"duration_ms": None}), 1, 4_000),
        (player(SONG, progress_ms=None), 1, 4_000),
        (player(EPISODE, "episode"), 0, 5_000),
        (song(500, is_playing=False), 0, 15_000),
        (song(60_000, is_playing=False), 1.5, 13_500),
        (None, 0, 30_000),
        (None, 1.5, 28_500),
        (player(None, "ad"), 0, 5_000),
        (player(None, "unknown"), 1.5, 3_500),
    ],
)
def test_next_poll_comes_when_there_may_be_news(
    payload: dict[str, Any] | None,
    age: float,
    expected: int,
    robin: Browser,
    spotify: StandIn,
    clock: Clock,
) -> None:
    spotify.play(payload)
    robin.json()
    clock.advance(age)
    assert robin.json()["poll_after_ms"] == expected
    fragment = robin.get("/now-playing", Accept=HTML).get_data(as_text=True)
    assert f'data-poll-after-ms="{expected}"' in fragment
    assert spotify.count("player") == 1
    clock.advance(expected / 1000)
    robin.json()
    assert spotify.count("player") == 2  # the poll brings news


def test_a_person_is_asked_about_once_in_two_seconds_however_many_tabs(
    robin: Browser, other: Browser, spotify: StandIn, clock: Clock
) -> None:
    other.log_in("mika")
    spotify.forget()
    for _ in range(21):  # from 0 to 6 s
        for _ in range(3):
            robin.json()
            robin.get("/")
            other.json()
        clock.advance(0.3)
    assert spotify.count("player") == 2 * 3
    assert spotify.count("profile") == spotify.count("token") == 0


# ---- What goes wrong


class Trouble(NamedTuple):
    """What a failure of the player looks like from outside."""

    status: int
    error: str
    poll_after_ms: int
    retry_after: str | None = None


NOT_REGISTERED = Trouble(403, "not_registered", 60_000)
OWNER_PREMIUM = Trouble(403, "owner_premium", 300_000)
FORBIDDEN = Trouble(403, "forbidden", 60_000)
UNREACHABLE = Trouble(502, "unreachable", 15_000)


def waiting(seconds: int) -> Trouble:
    poll_after_ms = 1000 * max(5, seconds)
    return Trouble(503, "rate_limited", poll_after_ms, str(seconds))


NAMED = {
    "not_registered": NOT_REGISTERED,
    "not_registered_2": NOT_REGISTERED,
    "not_registered_3": NOT_REGISTERED,
    "not_registered_4": NOT_REGISTERED,
    "owner_premium": OWNER_PREMIUM,
    "scope": FORBIDDEN,
    "forbidden": FORBIDDEN,
    "rate_limited": waiting(7),
    "rate_limited_text": waiting(7),
    "rate_limited_day": waiting(86_400),
    "rate_limited_silent": waiting(5),
    "rate_limited_unreadable": waiting(5),
    "quota_exceeded": waiting(5),
}
ELSEWHERE = {"empty_200", "expired_token", "invalid_token"}  # each has its own test
AGAIN = {"reset", "not_http"}  # an idle connection may have died, so it is tried anew
HOWS: dict[str, Any] = {
    name: name for name in sorted(FAILURES.keys() - SLOW.keys())
} | LARGE
TROUBLES: dict[str, tuple[Any, Trouble]] = {
    name: (HOWS[name], NAMED.get(name, UNREACHABLE))
    for name in sorted(HOWS.keys() - ELSEWHERE)
}


def refused(words: object) -> bytes:
    return answer(403, words, "Connection: close")


def limited(*headers: str) -> bytes:
    body = {"error": {"status": 429, "message": "API rate limit exceeded"}}
    return answer(429, body, "Connection: close", *headers)


TROUBLES |= {
    "403 with a link": (
        refused(
            "The user is not registered for this application. Please check your "
            "settings on https://developer.spotify.com/dashboard"
        ),
        NOT_REGISTERED,
    ),
    "403 in JSON": (
        refused({"error": {"status": 403, "message": "User not approved for app"}}),
        NOT_REGISTERED,
    ),
    "403 in capitals": (refused("USER NOT APPROVED FOR APP"), NOT_REGISTERED),
    "403 of two sentences": (
        refused(
            "Active premium subscription required for the owner of the app. If it was "
            "renewed, please allow a few hours."
        ),
        OWNER_PREMIUM,
    ),
    "403 without a word": (refused(""), FORBIDDEN),
    "403 in HTML": (refused("<h1>Forbidden</h1>"), FORBIDDEN),
    "403 of bytes": (refused("").replace(b" 0", b" 4") + b"\xff\xfe\0\x80", FORBIDDEN),
    "Retry-After: 0": (limited("Retry-After: 0"), waiting(1)),
    "Retry-After: -5": (limited("Retry-After: -5"), waiting(5)),
    "Retry-After: 2.5": (limited("Retry-After: 2.5"), waiting(5)),
    "Retry-After: 90000": (limited("Retry-After: 90000"), waiting(86_400)),
    "Retry-After: 1e999": (limited("Retry-After: 1e999"), waiting(5)),
    "Retry-After: 9…": (limited(f"Retry-After: {'9' * 5_000}"), waiting(86_400)),
    "Retry-After: a date": (
        limited("Retry-After: Fri, 31 Dec 2027 23:59:59 GMT"),
        waiting(5),
    ),
    "Retry-After: a small two": (
        limited("Retry-After: @").replace(b"@", b"\xb2"),
        waiting(5),
    ),
    "blanks": (raw(b" \n "), UNREACHABLE),
    "a string": (raw(b'"x"'), UNREACHABLE),
    "an empty string": (raw(b'""'), UNREACHABLE),
    "a number": (raw(b"123"), UNREACHABLE),
    "zero": (raw(b"0"), UNREACHABLE),
    "false": (raw(b"false"), UNREACHABLE),
    "NaN": (raw(b"NaN"), UNREACHABLE),
    "the word nothing": (raw(b"nothing", "text/plain"), UNREACHABLE),
    "not UTF-8": (raw(b'{"item": null, "is_playing": true, "x": "\xff"}'), UNREACHABLE),
    "100,000 brackets": (raw(b"[" * 100_000), UNREACHABLE),
    "an error with status 200": (
        raw(b'{"error": {"status": 500, "message": "Server error"}}'),
        UNREACHABLE,
    ),
}


def assert_trouble(browser: Browser, trouble: Trouble) -> None:
    """Check that all three forms of the answer tell the same trouble."""
    for accept in ("application/json", "text/html"):
        page = browser.get("/now-playing", Accept=accept)
        assert page.status_code == trouble.status
        assert page.headers.get("Retry-After") == trouble.retry_after
        if accept == "application/json":
            told = page.get_json()
            assert told.keys() == {"error", "message", "poll_after_ms"}
            assert told["error"] == trouble.error
            assert told["poll_after_ms"] == trouble.poll_after_ms
            assert told["message"].endswith(".")
        else:
            assert state_of(page) == trouble.error
    page = browser.get("/", Accept=HTML)
    assert (page.status_code, state_of(page)) == (200, trouble.error)
    text = page.get_data(as_text=True)
    assert str(told["message"]).split(".")[0].replace("'", "&#39;") in text
    assert f'data-poll-after-ms="{trouble.poll_after_ms}"' in text


@pytest.mark.parametrize(("how", "trouble"), TROUBLES.values(), ids=TROUBLES)
def test_trouble_is_told_apart_and_passes(
    how: Any, trouble: Trouble, robin: Browser, spotify: StandIn, clock: Clock
) -> None:
    spotify.fail("player", how)
    assert_trouble(robin, trouble)
    # Trouble too is asked for once in 2 s.
    assert spotify.count("player") == (2 if how in AGAIN else 1)
    spotify.heal()
    clock.advance(float(trouble.retry_after or 2))
    assert robin.json()["state"] == "playing"
    assert robin.get("/").status_code == 200


@pytest.mark.parametrize("how", sorted(AGAIN))
def test_nonsense_on_a_new_connection_is_not_asked_for_again(
    how: str, robin: Browser, spotify: StandIn, clock: Clock
) -> None:
    spotify.fail("player", how)
    robin.json()  # the idle connections are gone now
    clock.advance(2)
    spotify.forget()
    assert_trouble(robin, UNREACHABLE)
    assert spotify.count("player") == 1


@pytest.mark.parametrize("how", SLOW.values(), ids=SLOW)
def test_answer_that_takes_too_long_is_unreachable_and_passes(
    how: How, make_app: MakeApp, spotify: StandIn, clock: Clock
) -> None:
    robin = playing(Browser(make_app(deadline=0.3), spotify), spotify)
    spotify.fail("player", how)
    assert_trouble(robin, UNREACHABLE)
    assert spotify.count("player") == 1
    spotify.heal()
    clock.advance(2)
    assert robin.json()["state"] == "playing"


# ---- The rate limit


def test_in_the_window_nobody_asks_and_everybody_is_told_at_once(
    robin: Browser, other: Browser, app: Flask, spotify: StandIn, clock: Clock
) -> None:
    third = Browser(app, spotify)
    code = third.code_for(third.begin_login())
    other.log_in("mika")
    assert other.json()["state"] == "playing"  # and so is still fresh
    spotify.fail("player", "rate_limited", times=1)
    assert_trouble(robin, waiting(7))
    spotify.forget()
    end = clock.now + 7
    for left in (7, 6, 5, 2, 1):
        clock.now = end - left + 0.5  # so 6.5 s are left, told as 7
        for browser in (robin, other):
            assert_trouble(browser, waiting(left))
        refused = third.get(code)
        assert (refused.status_code, refused.headers["Retry-After"]) == (503, str(left))
    assert spotify.calls == []
    assert third.get("/now-playing").status_code == 401  # which needs no Spotify
    clock.now = end
    assert robin.json()["state"] == other.json()["state"] == "playing"
    assert third.get(code).headers["Location"] == "/"  # nothing was used up
    assert third.json()["state"] == "playing"


@pytest.mark.parametrize("endpoint", ["token", "profile", "player"])
def test_any_endpoint_opens_the_window_for_all(
    endpoint: str, browser: Browser, robin: Browser, spotify: StandIn, clock: Clock
) -> None:
    clock.advance(HOUR)
    spotify.fail(endpoint, "rate_limited", times=1)
    if endpoint == "profile":
        browser.get("/logout")
        browser.log_in()
    else:
        browser.json()
    spotify.forget()
    assert_trouble(browser, waiting(7))
    assert spotify.calls == []
    clock.advance(7)
    assert browser.json()["state"] == "playing"


def test_login_that_spotify_limits_is_told_when_to_try_again(
    browser: Browser, spotify: StandIn, clock: Clock
) -> None:
    spotify.fail("token", "rate_limited", times=1)
    page = browser.log_in()
    assert (page.status_code, page.headers["Retry-After"]) == (503, "7")
    clock.advance(7)
    assert browser.log_in().status_code == 307
    assert browser.user_id


# ---- Refresh


@pytest.mark.parametrize(("left", "refreshed"), [(61, 0), (60, 0), (59, 1), (-9, 1)])
def test_token_is_refreshed_with_less_than_a_minute_to_live(
    left: int, refreshed: int, robin: Browser, spotify: StandIn, clock: Clock
) -> None:
    clock.advance(HOUR - left)
    assert robin.json()["state"] == "playing"
    endpoints = ["token"] * refreshed + ["player"]
    assert [call.endpoint for call in spotify.calls] == endpoints


def test_refreshed_token_is_used_and_the_refresh_token_kept_or_replaced(
    flow: str, in_either_flow: Browser, spotify: StandIn, clock: Clock
) -> None:
    robin = in_either_flow
    for _ in range(3):
        clock.advance(HOUR)
        assert robin.json()["state"] == "playing"
    used = refreshes(spotify)
    # With PKCE the stand-in sends a new one each time, and else none at all.
    assert len(used) == 3
    assert len(set(used)) == (3 if flow == "pkce" else 1)
    bearers = {
        call.headers["authorization"]
        for call in spotify.calls
        if call.endpoint == "player"
    }
    assert len(bearers) == 3


@pytest.mark.parametrize(
    ("more", "sent_next"),
    [
        ({"refresh_token": "brand-new"}, "brand-new"),
        ({}, None),
        ({"refresh_token": None}, None),
        ({"refresh_token": ""}, None),
        ({"refresh_token": 7}, None),
        ({"refresh_token": "with space"}, None),
    ],
)
def test_new_refresh_token_is_stored_and_none_keeps_the_old(
    more: dict[str, Any],
    sent_next: str | None,
    in_either_flow: Browser,
    spotify: StandIn,
    clock: Clock,
) -> None:
    robin = in_either_flow
    token = {
        "access_token": "a",
        "token_type": "Bearer",
        "expires_in": HOUR,
        "scope": "",
    }
    spotify.fail("token", answer(200, token | more, "Connection: close"), times=1)
    spotify.fail("player", answer(204, "", "Connection: close"), times=1)
    clock.advance(HOUR)
    assert robin.json()["state"] == "nothing"
    assert spotify.calls[-1].headers["authorization"] == "Bearer a"
    clock.advance(HOUR)
    robin.json()
    first, second = refreshes(spotify)
    assert second == (sent_next or first)


@pytest.mark.parametrize("how", ["expired_token", "invalid_token"])
def test_token_that_the_api_refuses_is_refreshed_once_and_tried_once_more(
    how: str, robin: Browser, spotify: StandIn
) -> None:
    spotify.fail("player", how, times=1)
    assert robin.json()["state"] == "playing"
    endpoints = [call.endpoint for call in spotify.calls]
    assert endpoints == ["player", "token", "player"]
    first, second = (spotify.calls[n].headers["authorization"] for n in (0, 2))
    assert first != second


def end_by_player(spotify: StandIn, clock: Clock) -> list[str]:
    spotify.fail("player", "invalid_token")
    return ["player", "token", "player"]


def end_by_expiry(spotify: StandIn, clock: Clock) -> list[str]:
    spotify.revoke()
    clock.advance(HOUR)
    return ["token"]


def end_by_both(spotify: StandIn, clock: Clock) -> list[str]:
    spotify.revoke()
    spotify.expire_tokens()
    return ["player", "token"]


def end_by_name(spotify: StandIn, clock: Clock) -> list[str]:
    spotify.fail("token", "refresh_expired")
    clock.advance(HOUR)
    return ["token"]


ENDS = [end_by_player, end_by_expiry, end_by_both, end_by_name]


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("path", ["/", "/now-playing"])
def test_login_that_spotify_ended_is_over_with_the_reason_and_no_loop(
    path: str,
    end: Callable[[StandIn, Clock], list[str]],
    in_either_flow: Browser,
    spotify: StandIn,
    clock: Clock,
) -> None:
    robin = in_either_flow
    robin.json()
    clock.advance(2)
    spotify.forget()
    expected = end(spotify, clock)
    if path == "/now-playing":
        for _ in ("one tab", "another tab", "the first tab again"):
            page = robin.get(path)
            assert (page.status_code, page.get_json()["error"]) == (401, "logged_out")
            assert "ended this login" in page.get_json()["message"]
            assert page.get_json()["poll_after_ms"] == 0
            clock.advance(3)
    page = robin.get("/")
    text = page.get_data(as_text=True)
    assert page.status_code == 200
    assert "Spotify has ended this login" in text
    assert "Log in again." in text
    assert "User ID: None" in text
    for _ in range(3):
        clock.advance(3)
        assert robin.get("/now-playing").status_code == 401
        assert "ended this login" not in robin.get("/").get_data(as_text=True)
    assert [call.endpoint for call in spotify.calls] == expected
    spotify.heal()
    robin.log_in()
    assert robin.json()["state"] == "playing"


def test_login_of_an_ended_session_goes_to_spotify_at_once(
    robin: Browser, spotify: StandIn, clock: Clock
) -> None:
    spotify.revoke()
    clock.advance(HOUR)
    assert robin.get("/now-playing").status_code == 401
    assert robin.log_in().status_code == 307
    assert robin.json()["state"] == "playing"


# How the token endpoint fails, and how that is told; none of these ends the session.
ENDING = {"invalid_grant", "refresh_expired", "invalid_code", "code_expired"}
ENDING |= {"invalid_redirect_uri"}  # they all come as invalid_grant
PASSING: dict[str, tuple[Any, Trouble]] = {
    name: (how, NAMED[name] if "rate" in name or "quota" in name else UNREACHABLE)
    for name, how in HOWS.items()
    if name not in ENDING
}
TOKENS: dict[str, Any] = {
    "no access token": {"token_type": "Bearer", "expires_in": 3600},
    "access token null": {"access_token": None, "expires_in": 3600, "scope": ""},
    "access token empty": {"access_token": "", "expires_in": 3600, "scope": ""},
    "access token 7": {"access_token": 7, "expires_in": 3600, "scope": ""},
    "access token split": {"access_token": "a\r\nX: y", "expires_in": 60, "scope": ""},
    "expires_in null": {"access_token": "a", "expires_in": None, "scope": ""},
    "expires_in words": {"access_token": "a", "expires_in": "soon", "scope": ""},
    "expires_in huge": {"access_token": "a", "expires_in": 10**400, "scope": ""},
    "an error with status 200": {"error": "server_error"},
}
PASSING |= {
    name: (
        answer(200, {"token_type": "Bearer"} | body, "Connection: close"),
        UNREACHABLE,
    )
    for name, body in TOKENS.items()
}
PASSING |= {
    "400 of HTML": (answer(400, "<h1>Bad request</h1>"), UNREACHABLE),
    "400 of a list": (answer(400, ["invalid_grant"]), UNREACHABLE),
    "400 of null": (answer(400, None), UNREACHABLE),
    "400 of the words": (answer(400, "invalid_grant"), UNREACHABLE),
    "400 with an object": (answer(400, {"error": {"status": 400}}), UNREACHABLE),
    "401 of HTML": (answer(401, "<h1>Who?</h1>"), UNREACHABLE),
    "401 invalid_client": (answer(401, {"error": "invalid_client"}), UNREACHABLE),
    "500 invalid_grant": (answer(500, {"error": "invalid_grant"}), UNREACHABLE),
    "200 invalid_grant": (answer(200, {"error": "invalid_grant"}), UNREACHABLE),
}


@pytest.mark.parametrize(("how", "trouble"), PASSING.values(), ids=PASSING)
def test_refresh_that_fails_for_now_keeps_the_session(
    how: Any, trouble: Trouble, robin: Browser, spotify: StandIn, clock: Clock
) -> None:
    user_id = robin.user_id
    clock.advance(HOUR)
    spotify.forget()
    spotify.fail("token", how)
    assert_trouble(robin, trouble)
    assert [call.endpoint for call in spotify.calls] == ["token"]
    spotify.heal()
    clock.advance(float(trouble.retry_after or 2))
    assert robin.json()["state"] == "playing"
    assert robin.user_id == user_id


# ---- The account


def test_account_is_shown_with_name_and_spotify_id(robin: Browser) -> None:
    page = robin.get("/").get_data(as_text=True)
    assert "<bdi>Robin Vale</bdi>" in page
    assert "<bdi>robin</bdi>" in page


@pytest.mark.parametrize(
    ("profile", "shown", "hidden"),
    [
        ({"id": "r1", "display_name": "Robin"}, ["Robin", "r1"], []),
        ({"id": "r1", "display_name": None}, ["r1"], ["None"]),
        ({"id": "r1"}, ["r1"], ["None"]),
        ({"id": "r1", "display_name": " "}, ["r1"], [" "]),
        ({"id": None, "display_name": "Robin"}, ["Robin"], ["None"]),
        ({"id": 7, "display_name": ["Robin"], "product": "premium"}, [], ["7", "None"]),
    ],
)
def test_account_is_shown_as_far_as_it_is_known(
    profile: dict[str, Any],
    shown: list[str],
    hidden: list[str],
    browser: Browser,
    spotify: StandIn,
) -> None:
    spotify.fail("profile", answer(200, profile, "Connection: close"))
    browser.log_in()
    page = browser.get("/")
    assert (page.status_code, state_of(page)) == (200, "playing")
    found = re.findall(
        r"<bdi>(.*?)</bdi>", page.get_data(as_text=True).split("</main>")[1]
    )
    assert found == shown
    assert not set(hidden) & set(found)


@pytest.mark.parametrize(
    "how", sorted(FAILURES.keys() - SLOW.keys() - {"rate_limited_day"})
)
def test_account_that_failed_at_login_shows_up_on_a_later_page(
    how: str, browser: Browser, spotify: StandIn, clock: Clock
) -> None:
    spotify.fail("profile", how)
    assert browser.log_in().headers["Location"] == "/"
    once = 2 if how in AGAIN else 1
    assert spotify.count("profile") == once
    clock.advance(7)  # a rate limit would be over
    spotify.forget()
    assert browser.json()["state"] == "playing"
    assert spotify.count("profile") == 0  # which is for the page alone
    clock.advance(7)
    page = browser.get("/")
    assert page.status_code == 200
    assert "User ID: None" not in page.get_data(as_text=True)
    assert spotify.count("profile") == once
    spotify.heal()
    spotify.forget()
    for _ in ("shows up", "stays"):
        clock.advance(7)
        assert "Robin Vale" in browser.get("/").get_data(as_text=True)
    assert spotify.count("profile") == 1


def test_nothing_is_said_only_when_spotify_said_so(
    robin: Browser, spotify: StandIn, clock: Clock
) -> None:
    silences = [None, "empty_200", answer(204, "", "Connection: close")]
    for silence in silences:
        spotify.heal()
        if silence is None:
            spotify.play(None)
        else:
            spotify.fail("player", silence)
        clock.advance(2)
        told = robin.json()
        assert told == NOTHING | {"poll_after_ms": 30_000}
        assert flaw(told) is None
    assert spotify.count("player") == len(silences)
