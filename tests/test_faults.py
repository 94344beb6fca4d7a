"""All that Spotify, or the road to it, can do wrong, and what people then see."""

from __future__ import annotations

import base64
import gzip
import json
import logging
import tracemalloc
import zlib
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from socket import create_server, socket
from threading import Event, Semaphore
from typing import Any, NamedTuple

import pytest
from flask import Flask, request
from markupsafe import escape
from werkzeug.test import TestResponse

from problems import KINDS
from stand_in import FAILURES, StandIn
from stand_in.failures import Failure, How, answer
from tests.conftest import SECRET, Browser, Clock, MakeApp, about, people, shown
from tests.wire import CLOSE, ODD, PLAYS, SLOW, TRACK, hold, raw, sized, zipped

PLAYER = "/v1/me/player/currently-playing"
HOUR, DAY = 3_600, 86_400  # seconds


class Fault(NamedTuple):
    """What is sent, and what comes of it where: a state or a problem's name."""

    how: How
    player: str = "unreachable"
    exchange: str = "login_failed"
    refresh: str = "unreachable"
    retry_after: int | None = None


def limit(name: str, retry_after: int) -> Fault:
    return Fault(name, "rate_limited", "login_later", "rate_limited", retry_after)


FAULTS: dict[str, Fault] = {
    **{name: Fault(name) for name in FAILURES},
    **{name: Fault(how) for name, how in {**ODD, **SLOW}.items()},
    **{n: Fault(n, "not_registered") for n in FAILURES if n.startswith("not_reg")},
    "owner_premium": Fault("owner_premium", "owner_premium"),
    "scope": Fault("scope", "forbidden"),
    "forbidden": Fault("forbidden", "forbidden"),
    "rate_limited": limit("rate_limited", 7),
    "rate_limited_text": limit("rate_limited_text", 7),
    "rate_limited_day": limit("rate_limited_day", 6 * HOUR),
    "rate_limited_silent": limit("rate_limited_silent", 5),
    "rate_limited_unreadable": limit("rate_limited_unreadable", 5),
    "quota_exceeded": limit("quota_exceeded", 5),
    "empty_200": Fault("empty_200", "nothing"),
    "expired_token": Fault("expired_token", "logged_out"),
    "invalid_token": Fault("invalid_token", "logged_out"),
    **{
        name: Fault(name, exchange="code_refused", refresh="logged_out")
        for name in (
            *("invalid_code", "code_expired", "invalid_redirect_uri"),
            *("invalid_grant", "refresh_expired"),
        )
    },
    "invalid_client": Fault("invalid_client", exchange="client_refused"),
    **{
        words: Fault(answer(403, words, CLOSE), outcome)
        for words, outcome in {
            "The user is not registered for this application. See x": "not_registered",
            '{"error": {"message": "USER NOT APPROVED FOR APP"}}': "not_registered",
            "Active premium subscription required. Allow hours.": "owner_premium",
            "": "forbidden",
        }.items()
    },
    "403 in HTML": Fault(answer(403, "<h1>No</h1>", CLOSE), "forbidden"),
    "403 of bytes": Fault(
        b"HTTP/1.1 403 No\r\nContent-Length: 4\r\n\r\n\xff\xfe\0\x80", "forbidden"
    ),
    "redirect to the player": Fault(answer(307, TRACK, f"Location: {PLAYER}", CLOSE)),
    "other success": Fault(answer(206, TRACK, CLOSE)),
    "not modified": Fault(answer(304, "", CLOSE)),
    "gateway timeout": Fault(answer(504, TRACK, CLOSE)),
    "unknown status": Fault(answer(799, TRACK, CLOSE)),
    "legal": Fault(answer(451, "<h1>Nothing is playing</h1>", CLOSE)),
    "text": Fault(answer(200, "nothing", CLOSE)),
    "JSON in a string": Fault(answer(200, json.dumps(json.dumps(TRACK)), CLOSE)),
    "error with 200": Fault(answer(200, {"error": {"status": 500}}, CLOSE)),
}


# ---- What is playing


@pytest.mark.parametrize(
    "name",
    [name for name in FAULTS if FAULTS[name].player != "logged_out"],
)
def test_fault_of_the_player_is_told_in_every_form_and_passes(
    name: str, app: Flask, spotify: StandIn, make_app: MakeApp, clock: Clock
) -> None:
    """One call, one sentence, never "nothing", and the session stays."""
    browser = Browser(app, spotify)
    browser.log_in()
    user_id = browser.user_id
    clock.advance(3)
    spotify.forget()
    fault = FAULTS[name]
    spotify.fail("player", fault.how)
    if name in SLOW:  # on the same logins, but in a hurry
        browser = browser.tab(make_app(like=app, deadline=0.2))
    check_trouble(browser, fault.player, fault.retry_after)
    assert [call.endpoint for call in spotify.calls] == ["player"]
    spotify.heal()
    clock.advance(fault.retry_after or 2)
    browser = browser.tab(app)
    assert browser.json()["state"] == "playing"
    assert browser.user_id == user_id


def check_trouble(browser: Browser, error: str, retry_after: int | None = None) -> None:
    """Check that all three forms of the answer tell the same."""
    answer, page = browser.get("/now-playing"), browser.get("/")
    fragment = browser.get("/now-playing", Accept="text/html")
    facts = answer.get_json()
    assert (shown(page), page.status_code) == (error, 200)
    assert shown(fragment) == error
    if error == "nothing":
        assert facts["state"] == "nothing"
        assert "Nothing is playing" in page.text
        return
    kind = KINDS[error]
    assert facts.keys() == {"error", "message", "poll_after_ms"}
    assert facts["error"] == error
    wait = 1000 * max(kind.poll_after, retry_after or 0)
    assert facts["poll_after_ms"] in about(wait, 1000 * kind.spread)
    assert facts["message"].startswith(kind.message)
    assert escape(kind.message) in page.text
    for form in (answer, fragment):
        assert form.status_code == kind.status
        told = form.headers.get("Retry-After")
        assert told == (retry_after and str(retry_after))


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        *(("1", 1), ("0", 5), ("-5", 5), ("", 5), ("soon", 5), ("\u00b2", 5)),
        *(("9" * 400, 5), ("Mon, 01 Jan 2001 00:00:00 GMT", 5), ("21600", 21_600)),
        ("86400", 21_600),
    ],
)
def test_rate_limit_lasts_as_long_as_spotify_says_up_to_six_hours(
    value: str, seconds: int, browser: Browser, spotify: StandIn, clock: Clock
) -> None:
    """Five seconds, where it says nothing that can be read."""
    browser.log_in()
    head = b"HTTP/1.1 429 No\r\nContent-Length: 0\r\nRetry-After: "
    spotify.fail("player", head + value.encode("latin-1") + b"\r\n\r\n", 1)
    check_trouble(browser, "rate_limited", seconds)
    clock.advance(seconds - 0.5)
    check_trouble(browser, "rate_limited", 1)
    assert spotify.count("player") == 1
    clock.advance(0.5)
    assert browser.json()["state"] == "playing"


def test_other_encodings_and_answers_just_under_the_limit_are_read(
    browser: Browser, spotify: StandIn, clock: Clock
) -> None:
    """1 MB is the limit, and not much less; packed as well."""
    browser.log_in()
    body = PLAYS + b" " * (1_000_000 - len(PLAYS))
    hows = [sized(body), zipped(gzip.compress(body)), raw(body=body)]
    codings = ("utf-8-sig", "utf-16", "utf-32")
    hows += [sized(json.dumps(TRACK).encode(coding)) for coding in codings]
    for how in hows:
        spotify.fail("player", how)
        assert browser.json()["title"] == "Real"
        clock.advance(3)


def test_bomb_is_not_unpacked(browser: Browser, spotify: StandIn) -> None:
    """100 MB in 100 KB take a few MB at the most."""
    browser.log_in()
    bomb = zipped(gzip.compress(PLAYS + b" " * 100_000_000, 1))
    spotify.fail("player", bomb)
    tracemalloc.start()
    try:
        assert browser.json()["error"] == "unreachable"
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()


# ---- The token: at login, and when it has to be renewed

TOKEN: dict[str, Any] = {
    "access_token": "access",
    "token_type": "Bearer",
    "scope": "user-read-currently-playing",
    "expires_in": 3600,
    "refresh_token": "refresh",
}
BAD_FIELDS: list[dict[str, Any]] = [
    *({"access_token": bad} for bad in (None, "", 7, ["access"], "a b", "\ud800")),
    *({"access_token": bad} for bad in ("a\r\nX-Evil: 1", "zugänglich", "a" * 5000)),
    *({"expires_in": bad} for bad in (None, "soon", [3600], 10**400)),
    *({"scope": bad} for bad in (None, 7)),
]
TOKEN_FAULTS: dict[str, Fault] = {
    **{
        name: FAULTS[name]
        for name in (
            *("rate_limited", "rate_limited_text", "rate_limited_silent"),
            *("invalid_code", "invalid_grant", "refresh_expired", "invalid_client"),
            *("invalid_request", "server_error_html", "forbidden", "expired_token"),
            *("html_200", "empty_200", "null_200", "reset"),
            *("cut_short", "not_http", "hang", "body drips", "gzip bomb", "no answer"),
        )
    },
    **{
        f"field {bad!a:.40}": Fault(answer(200, TOKEN | bad, CLOSE))
        for bad in BAD_FIELDS
    },
    "without expires_in": Fault(answer(200, {"access_token": "access"}, CLOSE)),
    "redirect": Fault(answer(307, "", "Location: /api/token", CLOSE)),
    "400 empty": Fault(answer(400, "", CLOSE)),
    "400 list": Fault(answer(400, ["invalid_grant"], CLOSE)),
    "400 object": Fault(answer(400, {"error": {"invalid_grant": 1}}, CLOSE)),
    "400 null": Fault(answer(400, {"error": None}, CLOSE)),
    "400 words": Fault(answer(400, "invalid_grant", CLOSE)),
    "401 text": Fault(answer(401, "Unauthorized", CLOSE)),
    "401 invalid_client": Fault(
        answer(401, {"error": "invalid_client"}, CLOSE), exchange="client_refused"
    ),
    "200 invalid_grant": Fault(answer(200, {"error": "invalid_grant"}, CLOSE)),
    "500 invalid_grant": Fault(answer(500, {"error": "invalid_grant"}, CLOSE)),
}
WITH_SECRET = ("rate_limited", "invalid_grant", "invalid_client", "reset", "400 list")


@pytest.mark.parametrize(
    ("flow", "name"),
    [
        *(("pkce", name) for name in TOKEN_FAULTS),
        *(("secret", name) for name in WITH_SECRET),
    ],
)
def test_fault_of_the_token_endpoint_is_told_and_passes(
    name: str, flow: str, browser: Browser, make_app: MakeApp, clock: Clock
) -> None:
    """At login nobody is in; later only invalid_grant ends a login.

    A code or a refresh token is sent once, whatever becomes of it.
    """
    fault, app, spotify = TOKEN_FAULTS[name], browser.app, browser.spotify
    hurried = make_app(like=app, deadline=0.2) if name in SLOW else app
    spotify.fail("token", fault.how)
    visitor = Browser(hurried, spotify)
    page = visitor.log_in()
    assert page.status_code == KINDS[fault.exchange].status
    assert f'data-state="{fault.exchange}"' in page.text
    assert page.headers.get("Retry-After") == (
        fault.retry_after and str(fault.retry_after)
    )
    assert [call.endpoint for call in spotify.calls] == ["token"]
    assert (people(app), visitor.user_id) == (0, None)

    spotify.heal()
    clock.advance(DAY)
    browser.log_in()
    user_id = browser.user_id
    clock.advance(HOUR)
    spotify.forget()
    spotify.fail("token", fault.how)
    if fault.refresh == "logged_out":
        assert browser.get("/now-playing").status_code == 401
    else:
        check_trouble(browser.tab(hurried), fault.refresh, fault.retry_after)
    assert [call.endpoint for call in spotify.calls] == ["token"]
    spotify.heal()
    clock.advance(fault.retry_after or 2)
    assert browser.user_id == (None if fault.refresh == "logged_out" else user_id)


def tampered(spotify: StandIn, **changes: Any) -> Failure:
    """Make a token endpoint that works, but for these fields; ... leaves one out."""

    def send(connection: socket, _: Event) -> None:
        call = spotify.calls[-1]
        body = spotify.token(call.form, call.headers.get("authorization", "")) | changes
        body = {name: value for name, value in body.items() if value is not ...}
        connection.sendall(answer(200, body, CLOSE))

    return send


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("expires_in", it) for it in (-5, 0, 59, 1.5, 10**18, True)),
        *(("refresh_token", it) for it in (..., None, "", 7, "a\r\nX: 1", "a" * 5000)),
    ],
)
def test_odd_token_serves_as_long_as_it_can(
    name: str, value: Any, browser: Browser, spotify: StandIn, clock: Clock
) -> None:
    """Too short a life: renewed at the next look; too long: when it is refused.

    Without a usable refresh token it ends with a reason, and nothing is sent.
    """
    spotify.play("track")
    spotify.fail("token", tampered(spotify, **{name: value}))
    assert browser.log_in().status_code == 307
    assert shown(browser.get("/")) == "playing"
    clock.advance(HOUR)
    page = browser.get("/")
    if name == "expires_in":
        assert shown(page) == "playing"
        assert spotify.count("token") <= 3
    else:
        assert "Spotify has ended this login" in page.text
        assert spotify.count("token") == 1


# ---- The profile


@pytest.mark.parametrize(
    "how",
    [
        *("rate_limited", "forbidden", "invalid_token", "server_error", "html_200"),
        *("empty_200", "object_200", "null_200", "reset", "hang"),
        answer(200, {"id": ["x"], "display_name": 5}, CLOSE),
        answer(200, {"id": " ", "display_name": ""}, CLOSE),
    ],
)
def test_fault_of_the_profile_stops_no_login_and_no_page(
    how: How, app: Flask, spotify: StandIn, make_app: MakeApp, clock: Clock
) -> None:
    """The name comes when it can, asked for by the page alone."""
    spotify.fail("profile", how)
    hurried = make_app(like=app, deadline=0.2) if how == "hang" else app
    visitor = Browser(hurried, spotify)
    assert visitor.log_in().headers["Location"] == "/"
    browser = visitor.tab(app)
    assert spotify.count("profile") == 1
    clock.advance(7)  # a rate limit would be over
    assert browser.json()["state"] == "playing"
    assert spotify.count("profile") == 1
    clock.advance(7)
    page = browser.tab(hurried).get("/")
    assert page.status_code == 200
    assert "User ID: None" not in page.text
    assert "Logged in as" not in page.text
    assert spotify.count("profile") == 2
    spotify.heal()
    for _ in ("shows up", "stays"):
        clock.advance(7)
        assert "Robin Vale" in browser.get("/").text
    assert spotify.count("profile") == 3


# ---- The road


def test_cookies_of_spotify_go_nowhere(
    flow: str, browser: Browser, other: Browser, spotify: StandIn, clock: Clock
) -> None:
    """Not back to Spotify, for anybody, and not on to a browser."""
    cookie = "Set-Cookie: canary=robin; Path=/; Max-Age=9999"
    spotify.fail("token", answer(400, {"error": "x"}, cookie, CLOSE), 1)
    browser.log_in()
    browser.log_in()
    spotify.fail("player", answer(200, TRACK, cookie))
    spotify.fail("profile", answer(500, TRACK, cookie))
    responses = [browser.get("/"), other.log_in("mika"), other.get("/")]
    clock.advance(HOUR)
    responses += [browser.get("/"), other.get("/"), browser.get("/now-playing")]
    assert len(spotify.calls) >= 10
    assert not any("cookie" in call.headers for call in spotify.calls)
    for response in responses:
        assert "canary" not in f"{response.headers}{response.text}"


def test_every_request_has_a_connection_of_its_own(
    flow: str, spotify: StandIn, make_app: MakeApp, clock: Clock
) -> None:
    """Over HTTP/1.1, where the stand-in would keep each of them open."""
    ports: list[int] = []
    spotify.website.before_request(lambda: ports.append(request.environ["REMOTE_PORT"]))
    app = make_app()
    browsers = [Browser(app, spotify) for _ in range(3)]
    for browser in browsers:
        browser.log_in()
    for _ in range(3):
        for browser in browsers:
            assert browser.get("/now-playing").status_code == 200
        clock.advance(HOUR / 2)
    assert len(ports) == len(set(ports)) == len(spotify.calls) >= 18


CHUNKED = b"Transfer-Encoding: chunked"
EARLY = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
NOT_YOURS = {
    "player": {"item": {"name": "Not yours"}, "is_playing": True},
    "profile": {"id": "not-yours", "display_name": "Not yours"},
}
SHAPES = {  # how each of the two answers is sent, and when the second
    "two in one segment": ("sized", "same segment"),
    "one more at once": ("sized", "at once"),
    "one more before the next request": ("sized", "before the next"),
    "one more upon the next request": ("sized", "upon the next"),
    "two after a 103": ("early", "same segment"),
    "two in chunks": ("chunked", "same segment"),
    "one more in chunks, later": ("chunked", "before the next"),
}


@pytest.mark.parametrize("endpoint", ["player", "profile"])
@pytest.mark.parametrize(("form", "when"), SHAPES.values(), ids=SHAPES)
def test_answer_that_nobody_asked_for_reaches_nobody(
    form: str, when: str, endpoint: str, app: Flask, spotify: StandIn, clock: Clock
) -> None:
    """Neither whose connection it was, nor the next, nor anybody after."""

    def packed(fields: object) -> bytes:
        body = json.dumps(fields).encode()
        if form == "chunked":
            return raw(CHUNKED, body=b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body))
        return (EARLY if form == "early" else b"") + sized(body)

    def answer_twice(connection: socket, healed: Event) -> None:
        if when == "same segment":
            return connection.sendall(packed(first) + packed(NOT_YOURS[endpoint]))
        connection.sendall(packed(first))
        if when == "before the next":
            healed.wait()
        arrived = when == "upon the next" and connection.recv(1)
        if arrived or when != "upon the next":
            connection.sendall(packed(NOT_YOURS[endpoint]))
        sent.set()
        over.wait()

    first = {
        "player": {"item": {"name": "First"}, "is_playing": True},
        "profile": {"id": "robin", "display_name": "First"},
    }[endpoint]
    sent, over = Event(), Event()
    robin, mika = Browser(app, spotify), Browser(app, spotify)
    for name in ("robin", "mika"):
        spotify.play({"item": {"name": f"Song of {name}"}, "is_playing": True}, name)
    spotify.fail(endpoint, answer_twice, 1)
    robin.log_in("robin")
    assert "First" in robin.get("/").text
    spotify.heal()
    if when in ("at once", "before the next"):
        assert sent.wait(10)
    mika.log_in("mika")
    for _ in range(3):
        for name, browser in (("mika", mika), ("robin", robin)):
            page = browser.get("/").text
            assert "Not yours" not in page
            assert (f"Song of {name}" in page) or "First" in page
            assert ("Mika Okonjo" in page) == (name == "mika")
        clock.advance(3)
    over.set()


def test_spotify_that_is_gone_is_unreachable_until_it_is_back(
    make_app: MakeApp, spotify: StandIn, clock: Clock
) -> None:
    """Nobody listens at its port any more, and then somebody does again."""
    app = make_app()
    browser, other = Browser(app, spotify), Browser(app, spotify)
    browser.log_in()
    with create_server(("127.0.0.1", 0)) as nobody:
        gone = f"http://127.0.0.1:{nobody.getsockname()[1]}"
    offline = make_app(like=app, accounts_url=gone, api_url=f"{gone}/v1")
    check_trouble(browser.tab(offline), "unreachable")
    query = other.begin_login()
    late = other.tab(offline).get(other.code_for(query))
    assert late.status_code == 502
    clock.advance(2)
    assert browser.json()["state"] == "playing"


def test_visit_without_time_left_makes_no_call(
    make_app: MakeApp, spotify: StandIn
) -> None:
    """A deadline that is over is not one that is switched off."""
    browser = Browser(make_app(deadline=0.0), spotify)
    assert browser.log_in().status_code == 502
    assert spotify.count("token") == 0


# ---- Many people


@pytest.fixture
def crowd(make_app: MakeApp, spotify: StandIn) -> list[Browser]:
    """Eight people at an app that makes one call at a time, while four may queue."""
    app = make_app(threads=1, deadline=60.0)
    browsers = [Browser(app, spotify) for _ in range(8)]
    for browser in browsers:
        browser.log_in()
    return browsers


def test_strangers_logins_leave_room_for_refreshes(
    make_app: MakeApp, spotify: StandIn, clock: Clock
) -> None:
    """While every login hangs, a refresh still reaches Spotify, which ends it here."""
    app = make_app(threads=4, deadline=60.0)
    listener = Browser(app, spotify)
    listener.log_in()
    clock.advance(HOUR)
    arrived = Semaphore(0)

    def hang_logins(connection: socket, healed: Event) -> None:
        if spotify.calls[-1].form["grant_type"] == "refresh_token":
            connection.sendall(answer(400, {"error": "invalid_grant"}, CLOSE))
        else:
            arrived.release()
            healed.wait()

    spotify.fail("token", hang_logins)
    with ThreadPoolExecutor(2) as pool:
        for stranger in (Browser(app, spotify), Browser(app, spotify)):
            pool.submit(stranger.get, stranger.code_for(stranger.begin_login()))
            assert arrived.acquire(timeout=20)
        assert listener.json()["error"] == "logged_out"
        spotify.heal()


def test_crowd_beyond_the_seats_queues_and_only_the_rest_is_told_busy(
    crowd: list[Browser], spotify: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody is told that Spotify is gone; nothing is remembered."""
    monkeypatch.setattr("spotify.sender.QUEUE_SECONDS", 60.0)
    stranger = crowd[0].twin()
    with ThreadPoolExecutor(8) as pool, hold(spotify, "player") as held:
        polls: list[Future[tuple[Browser, TestResponse]]]
        polls = [pool.submit(lambda b: (b, b.get("/now-playing")), b) for b in crowd]
        done = as_completed(polls, timeout=20)
        turned_away = [next(done).result() for _ in range(3)]
        assert held.arrived()
        for path in ("/healthz", "/readyz", "/", "/login"):
            assert stranger.get(path).status_code in (200, 307)
        assert sum(poll.done() for poll in polls) == 3
        held.release()
        served = [poll.result() for poll in done]
    for _, told in turned_away:
        assert (told.status_code, told.get_json()["error"]) == (503, "busy")
        assert told.get_json()["poll_after_ms"] in about(1_000, 2_000)
    assert [answer.get_json()["state"] for _, answer in served] == ["playing"] * 5
    assert all(shown(browser.get("/")) == "playing" for browser, _ in turned_away)
    assert spotify.count("player") == 8


def test_who_queued_in_vain_is_told_busy(
    crowd: list[Browser], spotify: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two seconds in earnest; then the page comes back soon."""
    monkeypatch.setattr("spotify.sender.QUEUE_SECONDS", 0.05)
    with ThreadPoolExecutor(1) as pool, hold(spotify, "player") as held:
        first = pool.submit(crowd[0].json)
        assert held.arrived()
        check_trouble(crowd[1], "busy")
        held.release()
        assert first.result()["state"] == "playing"
    assert crowd[1].json()["state"] == "playing"


def test_strangers_at_a_hanging_accounts_service_stop_no_music(
    make_app: MakeApp, spotify: StandIn
) -> None:
    """Logins have a limit of their own, and beyond it they may be repeated."""
    app = make_app(threads=1, deadline=60.0)
    browser = Browser(app, spotify)
    browser.log_in()
    strangers = [Browser(app, spotify) for _ in range(8)]  # one call, four may queue
    with ThreadPoolExecutor(8) as pool, hold(spotify, "token") as held:
        logins = [pool.submit(stranger.log_in) for stranger in strangers]
        assert held.arrived()
        assert browser.json()["state"] == "playing"
        busy = next(as_completed(logins, timeout=20)).result()
        assert (busy.status_code, 'data-state="busy"' in busy.text) == (503, True)
        held.release()
        statuses = {login.result().status_code for login in logins}
    assert statuses == {307, 503}


# ---- Secrets


def echo(spotify: StandIn, status: int) -> Failure:
    """Make an endpoint that says back all it was told."""

    def send(connection: socket, _: Event) -> None:
        told = f"{spotify.calls[-1].headers} {spotify.calls[-1].form}"
        fields = ("error", "error_description", "access_token", "message", "item")
        connection.sendall(answer(status, dict.fromkeys(fields, told), CLOSE))

    return send


def decoded(cookie: str) -> str:
    """Return what the owner of a cookie can read in it."""
    packed, payload = cookie.startswith("."), cookie.lstrip(".").partition(".")[0]
    data = base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4))
    return (zlib.decompress(data) if packed else data).decode()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("flow", "endpoint"),
    [("pkce", "token"), ("secret", "token"), ("secret", "profile"), ("pkce", "player")],
)
def test_no_secret_leaves_the_app_whatever_fails(
    endpoint: str, flow: str, app: Flask, spotify: StandIn, clock: Clock, caplog: Any
) -> None:
    """Tokens, codes, secret, verifiers: in no answer, cookie, log or traceback."""
    caplog.set_level(logging.DEBUG)
    hows = [fault.how for fault in TOKEN_FAULTS.values()][::3]
    hows += [echo(spotify, status) for status in (200, 400, 401, 403, 500)]
    seen: list[str] = []
    secrets = {SECRET}
    for number, how in enumerate(how for how in hows if how not in SLOW.values()):
        person = f"p{number}"
        browser, late = Browser(app, spotify), Browser(app, spotify)
        answers = [browser.log_in(person)]
        spotify.fail(endpoint, how)
        link = late.code_for(late.begin_login(), person)
        secrets.add(link.partition("code=")[2].partition("&")[0])
        answers.append(late.get(link))
        clock.advance(HOUR)
        answers += [browser.get(path) for path in ("/", "/now-playing", link)]
        spotify.heal()
        clock.advance(DAY + 1)
        seen += [decoded(browser.cookie), decoded(late.cookie)]
        answers += [browser.get("/"), browser.post("/logout")]
        seen += [f"{answer.headers}{answer.text}" for answer in answers]
    secrets |= {*spotify._access, *spotify._refresh}
    for call in spotify.calls:
        names = ("code", "code_verifier", "refresh_token")
        secrets |= {call.form.get(name, "") for name in names}
        secrets.add(call.headers.get("authorization", "").partition(" ")[2])
    secrets.discard("")
    assert len(secrets) > 3 * number
    everything = "\n".join([*seen, caplog.text])
    assert [secret for secret in secrets if secret in everything] == []
