"""All that Spotify, or the road to it, can do wrong, and what people then see."""

import logging
import tracemalloc
from concurrent.futures import ThreadPoolExecutor, as_completed
from itertools import cycle
from socket import socket
from threading import Event
from typing import Any

import pytest
from flask import Flask
from markupsafe import escape

from config import Config
from problems import KINDS
from spotify import Sender
from stand_in import FAILURES, StandIn
from stand_in.failures import Failure, How, answer
from tests.conftest import SECRET, Browser, Clock, MakeApp, about, people, shown
from tests.wire import CLOSE, ODD, TRACK, hold

HOUR = 3_600  # seconds

HOWS: dict[str, How] = {**FAILURES, **ODD}
HOWS["not_approved"] = answer(403, {"error": {"message": "USER NOT APPROVED"}}, CLOSE)
HOWS["bytes_403"] = b"HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\n\xff\xfe"
QUOTA = {"error": {"status": 429, "reason": "QUOTA_EXCEEDED"}}
HOWS["quota_silent"] = answer(429, QUOTA, CLOSE)
WAITS = {"rate_limited": 7, "rate_limited_text": 7, "rate_limited_day": 6 * HOUR}
WAITS |= {"rate_limited_silent": 5, "rate_limited_unreadable": 5}
# What a fault is called while logged in, where it is not "unreachable".
ERRORS = dict.fromkeys(WAITS, "rate_limited")
WAITS |= {"quota_exceeded": 7, "quota_exceeded_day": 6 * HOUR, "quota_silent": 600}
for error, names in {
    "quota_exceeded": "quota_exceeded quota_exceeded_day quota_silent",
    "forbidden": "scope forbidden permissions_missing bytes_403",
    "not_registered": "not_registered not_registered_2 not_approved",
    "owner_premium": "owner_premium",
    "wrong_country": "wrong_country",
}.items():
    ERRORS |= dict.fromkeys(names.split(), error)

# Answers to a request for a token, or for a new one.
TOKEN = {"access_token": "a", "refresh_token": "b", "expires_in": HOUR}
BAD = [None, "", "a\r\nX-Evil: 1", "a" * 5000]
BAD_ANSWERS: list[tuple[int, Any]] = [
    *((200, TOKEN | {"access_token": bad}) for bad in BAD),
    (200, {"error": "invalid_grant"}),
    (307, ""),
    (400, "invalid_grant"),
    (400, TOKEN | {"error": ""}),
]
NAMES = "rate_limited invalid_grant invalid_client expired_token html_200 reset"
TOKEN_HOWS: dict[str, How] = {name: HOWS[name] for name in NAMES.split()} | {
    f"{status} {body!a:.30}": answer(status, body, "Location: /api/token", CLOSE)
    for status, body in BAD_ANSWERS
}
TOKEN_HOWS["client 401"] = answer(401, {"error": "invalid_client"}, CLOSE)
# What a fault is called at login, where it is not "login_failed".
LOGIN_ERRORS = {"rate_limited": "login_later", "invalid_grant": "code_refused"}
LOGIN_ERRORS |= {"invalid_client": "client_refused", "client 401": "client_refused"}

FINE = ("empty_200", "expired_token", "invalid_token", "hang")
FAULTS = [("player", name) for name in HOWS if name not in FINE]
FAULTS += [("token", name) for name in TOKEN_HOWS if name != "invalid_grant"]


@pytest.mark.parametrize(("where", "name"), FAULTS)
def test_fault_is_told_in_every_form_and_passes(
    where: str, name: str, browser: Browser, clock: Clock
) -> None:
    """One call, one sentence, never "nothing", and the session stays."""
    spotify, wait = browser.spotify, WAITS.get(name)
    spotify.play("track")
    browser.log_in()
    user_id = browser.user_id
    clock.advance(HOUR if where == "token" else 300)
    spotify.forget()
    spotify.fail(where, (HOWS | TOKEN_HOWS)[name])
    check_trouble(browser, ERRORS.get(name, "unreachable"), wait)
    assert [call.endpoint for call in spotify.calls] == [where]
    spotify.heal()
    clock.advance(wait or 2)
    assert browser.json(look=True)["state"] == "playing"
    assert browser.user_id == user_id


def check_trouble(browser: Browser, error: str, retry_after: int | None = None) -> None:
    """Check that all three forms of the answer tell the same."""
    answer, page = browser.get("/now-playing"), browser.get("/")
    fragment = browser.get("/now-playing", Accept="text/html")
    assert (shown(page), shown(fragment), page.status_code) == (error, error, 200)
    kind, facts = KINDS[error], answer.get_json()
    assert facts.keys() == {"error", "message", "poll_after_ms"}
    assert facts["error"] == error
    wait = 1000 * max(kind.poll_after, retry_after or 0)
    assert facts["poll_after_ms"] in about(wait, 1000)
    assert facts["message"].startswith(kind.message)
    assert escape(kind.message) in page.text
    for form in (answer, fragment):
        assert form.status_code == kind.status
        assert form.headers.get("Retry-After") == (retry_after and str(retry_after))


@pytest.mark.parametrize("how", [ODD["gzip bomb"], answer(429, " " * 900_000, CLOSE)])
def test_large_answer_takes_little_memory_and_keeps_none(
    how: Failure, browser: Browser, spotify: StandIn, caplog: Any
) -> None:
    """The bomb would be 20 MB."""
    caplog.set_level(logging.ERROR, "now_playing")  # or pytest keeps what is logged
    browser.log_in()
    spotify.fail("player", how)
    tracemalloc.start()
    browser.json()
    kept, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 10_000_000
    assert kept < 500_000


@pytest.mark.parametrize("name", TOKEN_HOWS)
def test_fault_of_a_login_is_told_and_passes(
    name: str, browser: Browser, app: Flask, clock: Clock
) -> None:
    """Nobody is in, and nothing is sent again."""
    spotify, wait = browser.spotify, WAITS.get(name)
    error = LOGIN_ERRORS.get(name, "login_failed")
    spotify.fail("token", TOKEN_HOWS[name])
    page = browser.log_in()
    assert (page.status_code, shown(page)) == (KINDS[error].status, error)
    assert page.headers.get("Retry-After") == (wait and str(wait))
    assert [call.endpoint for call in spotify.calls] == ["token"]
    assert (people(app), browser.user_id) == (0, None)
    spotify.heal()
    clock.advance(wait or 0)
    assert browser.log_in().headers["Location"] == "/"


@pytest.mark.parametrize(
    "odd",
    [
        {},
        {"expires_in": None, "scope": None, "token_type": None},
        {"expires_in": "3600", "scope": 7},
        {"expires_in": "soon"},
        {"expires_in": 0},
        {"expires_in": 10**400},
    ],
)
def test_token_answer_with_odd_fields_serves_for_an_hour_less_a_minute(
    odd: Any, browser: Browser, spotify: StandIn, clock: Clock
) -> None:
    """Refusing it would lose the login: the code, or the old token, is used up."""
    spotify.fail("token", answer(200, TOKEN | odd, CLOSE))
    spotify.fail("player", answer(200, TRACK, CLOSE))
    browser.log_in()
    for seconds, requests in ((HOUR - 61, 1), (2, 2), (HOUR - 61, 2)):
        clock.advance(seconds)
        assert browser.json(look=True)["title"] == "Real"
        assert spotify.count("token") == requests


@pytest.mark.parametrize("refresh_token", [None, "a\r"])
def test_login_without_a_usable_refresh_token_ends_when_its_token_does(
    refresh_token: Any, browser: Browser, spotify: StandIn, clock: Clock
) -> None:
    """With a reason, and nothing is sent."""
    token = TOKEN | {"refresh_token": refresh_token}
    spotify.fail("token", answer(200, token, CLOSE))
    spotify.fail("player", answer(200, TRACK, CLOSE))
    browser.log_in()
    assert shown(browser.get("/")) == "playing"
    clock.advance(HOUR)
    assert "Spotify has ended this login" in browser.get("/").text
    assert spotify.count("token") == 1


def test_fault_of_the_profile_stops_no_login_and_no_page(
    browser: Browser, spotify: StandIn, clock: Clock
) -> None:
    """The name comes when it can, asked for by the page alone."""
    spotify.fail("profile", "html_200")
    assert browser.log_in().headers["Location"] == "/"
    assert browser.json()["state"] == "playing"
    assert spotify.count("profile") == 1
    clock.advance(7)
    assert "Logged in as" not in browser.get("/").text
    spotify.heal()
    for _ in ("shows up", "stays"):
        clock.advance(7)
        assert "Robin Vale" in browser.get("/").text
    assert spotify.count("profile") == 3


# ---- The road


@pytest.mark.parametrize("when", ["in one segment", "later", "upon the next request"])
def test_answer_that_nobody_asked_for_reaches_nobody(
    when: str, browser: Browser, other: Browser, clock: Clock
) -> None:
    """Neither whose connection it was, nor the next, nor anybody after."""

    def answer_twice(connection: socket, healed: Event) -> None:
        titles = [TRACK | {"item": {"name": name}} for name in ("First", "Not yours")]
        first, second = (answer(200, title) for title in titles)
        connection.sendall(first + second if when == "in one segment" else first)
        if when != "in one segment":
            healed.wait() if when == "later" else connection.recv(1)
            connection.sendall(second)
        over.wait()

    over = Event()
    browser.spotify.fail("player", answer_twice, 1)
    browser.log_in()
    assert "First" in browser.get("/").text
    browser.spotify.heal()
    other.log_in("mika")
    for _ in range(3):
        clock.advance(3)
        pages = [other.get("/").text, browser.get("/").text]
        assert "Not yours" not in "".join(pages)
        assert ("Mika Okonjo" in pages[0], "Mika Okonjo" in pages[1]) == (True, False)
    over.set()


# ---- Many people


@pytest.fixture
def crowd(make_app: MakeApp, spotify: StandIn, monkeypatch: Any) -> list[Browser]:
    """Eight people at an app that makes one call at a time, while three may queue."""
    for limit in ("CALL_SECONDS", "TOKEN_SECONDS", "QUEUE_SECONDS"):
        monkeypatch.setattr(f"spotify.sender.{limit}", 60.0)
    app = make_app(threads=1)
    return [Browser(app, spotify) for _ in range(8)]


def test_who_came_first_is_served_first(clock: Clock) -> None:
    """Or some would wait for seconds, while others are served at once."""
    lane = Sender(Config("x", threads=1), clock.monotonic)._api
    served = []

    def visit(number: int) -> None:
        with lane._handle():
            served.append(number)

    with ThreadPoolExecutor(3) as pool:
        with lane._handle():
            for number in range(3):  # as many as may wait, until one is served
                pool.submit(visit, number)
                while lane._waiting <= number:
                    pass
        visit(3)
    assert served == [0, 1, 2, 3]


def test_visit_that_waited_too_long_is_told_busy(
    crowd: list[Browser], monkeypatch: pytest.MonkeyPatch
) -> None:
    """For another person's call, or for that of another tab; their calls go on."""
    monkeypatch.setattr("spotify.sender.QUEUE_SECONDS", 0.05)
    monkeypatch.setattr("player.WAIT_SECONDS", 0.05)
    first, second, *_ = crowd
    first.log_in()
    second.log_in()
    with ThreadPoolExecutor(1) as pool, hold(first.spotify, "player") as held:
        visit = pool.submit(first.json)
        assert held.arrived()
        check_trouble(second, "busy")
        check_trouble(first.tab(), "busy")
        held.release()
        assert visit.result()["state"] == "playing"
    assert second.json()["state"] == "playing"


def test_strangers_at_a_hanging_accounts_service_stop_no_music_and_no_refresh(
    crowd: list[Browser], spotify: StandIn, clock: Clock
) -> None:
    """Logins have a limit of their own: one at a time, three in the queue."""
    robin, mika, *strangers = crowd
    robin.log_in()
    clock.advance(HOUR)
    mika.log_in("mika")

    def hold_logins() -> None:
        if "code" in spotify.calls[-1].form:
            held.wait()

    with ThreadPoolExecutor(6) as pool, hold(spotify, "token") as held:
        spotify.holds["token"] = hold_logins
        logins = [pool.submit(stranger.log_in) for stranger in strangers]
        assert held.arrived()
        assert mika.json()["state"] == "playing"
        assert robin.json()["state"] == "playing"  # with a new token
        done = as_completed(logins, timeout=20)
        turned_away = [shown(next(done).result()) for _ in range(2)]
        held.release()
        served = [login.result().status_code for login in done]
    assert (turned_away, served) == (["busy"] * 2, [307] * 4)


def test_time_limits_are_those_of_calls_and_a_late_token_is_not_lost(
    make_app: MakeApp, spotify: StandIn, clock: Clock, monkeypatch: Any
) -> None:
    """A person's visits wait for one call that hangs; tokens have longer than that."""
    monkeypatch.setattr("spotify.sender.CALL_SECONDS", 1.0)
    robin = Browser(make_app(), spotify)
    mika, ines = robin.twin(), robin.twin()
    robin.log_in()
    clock.advance(HOUR)
    mika.log_in("mika")
    spotify.fail("player", "hang", 1)
    with ThreadPoolExecutor(5) as pool, hold(spotify, "token") as held:
        refresh, login = pool.submit(robin.json), pool.submit(ines.log_in)
        assert held.arrived(2)
        for visit in [pool.submit(mika.json) for _ in range(3)]:
            assert visit.result(20)["error"] == "unreachable"
        held.release()  # now that the time of a call is over
        assert "state" in refresh.result()
        assert login.result().headers["Location"] == "/"
    assert spotify.count("player") == 2
    clock.advance(HOUR)
    assert "state" in robin.json()


@pytest.mark.slow
@pytest.mark.parametrize("endpoint", ["token", "profile", "player"])
def test_no_secret_leaves_the_app_whatever_fails(
    endpoint: str, flow: str, app: Flask, spotify: StandIn, clock: Clock, caplog: Any
) -> None:
    """Tokens, codes, secret, verifiers: in no answer, log or traceback."""

    def echo(connection: socket, _: Event) -> None:
        """Say back all that was told."""
        fields = ("error", "error_description", "access_token", "message", "item")
        told = dict.fromkeys(fields, str(spotify.calls[-1]))
        connection.sendall(answer(next(statuses), told, CLOSE))

    caplog.set_level(logging.DEBUG)
    statuses = cycle((200, 400, 401, 403, 500))
    seen: list[str] = []
    for how in (HOWS["reset"], HOWS["html_200"], *[echo] * 15):
        browser, late = Browser(app, spotify), Browser(app, spotify)
        answers = [browser.log_in()]
        spotify.fail(endpoint, how)
        link = late.code_for(late.begin_login())
        clock.advance(HOUR)
        paths = ("/", "/now-playing", link)
        answers += [late.get(link), *(browser.get(path) for path in paths)]
        spotify.heal()
        clock.advance(24 * HOUR + 1)
        answers += [browser.get("/"), browser.post("/logout")]
        seen += [f"{answer.headers}{answer.text}" for answer in answers]
    secrets = {SECRET, *spotify._access, *spotify._refresh}
    for call in spotify.calls:
        fields = ("code", "code_verifier", "refresh_token")
        secrets |= {call.form[name] for name in fields if name in call.form}
    assert len(secrets) > 3 * 17
    everything = "\n".join([*seen, caplog.text])
    assert [secret for secret in secrets if secret in everything] == []
