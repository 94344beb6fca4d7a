"""All that Spotify, or the road to it, can do wrong, and what people then see."""

from __future__ import annotations

import base64
import gzip
import json
import logging
import re
import socket
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from itertools import count
from threading import Event
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from config import Config
from stand_in import FAILURES, StandIn
from stand_in.failures import Failure, How, answer
from tests.conftest import CLIENT_ID, SECRET, Browser, Clock, MakeApp, build_app
from tests.wire import LARGE, SLOW, hold

CLOSE = "Connection: close"
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
TRACK = {"item": {"type": "track", "name": "Real"}, "is_playing": True}
PLAYS = json.dumps(TRACK).encode()
DAY = 86_400
OUTCOMES = {  # of an answer that is not a success; all others are unreachable
    **dict.fromkeys([n for n in FAILURES if n.startswith("not_reg")], "not_registered"),
    **dict.fromkeys([n for n in FAILURES if n.startswith("rate_")], "rate_limited"),
    "quota_exceeded": "rate_limited",
    "owner_premium": "owner_premium",
    "scope": "forbidden",
    "forbidden": "forbidden",
    "empty_200": "nothing",
}
ENDED = {"expired_token", "invalid_token"}


def raw(*headers: bytes, body: bytes = PLAYS) -> bytes:
    """Return a 200 with exactly these headers."""
    return HEAD + b"".join(header + b"\r\n" for header in headers) + b"\r\n" + body


def sized(body: bytes, *headers: bytes) -> bytes:
    return raw(b"Content-Length: %d" % len(body), *headers, body=body)


def zipped(body: bytes) -> bytes:
    return sized(body, b"Content-Encoding: gzip")


def dripping(start: bytes, drop: bytes, end: bytes = b"") -> Failure:
    """Make a failure that is never idle for long, and fine in the end: after 3 s."""

    def drip(connection: socket.socket, healed: Event) -> None:
        connection.sendall(start)
        for _ in range(60):
            if healed.wait(0.05):
                break
            connection.sendall(drop)
        connection.sendall(end)

    return drip


def endless(start: bytes, more: bytes) -> Failure:
    def pour(connection: socket.socket, healed: Event) -> None:
        connection.sendall(start)
        while not healed.is_set():
            connection.sendall(more)

    return pour


GZIP = gzip.compress(PLAYS)
BOMB = gzip.compress(PLAYS + b" " * 20_000_000, 1)
WIRE: dict[str, Failure] = {
    "truncated": raw(b"Content-Length: 500"),
    "length cuts the JSON": raw(b"Content-Length: 20"),
    "length negative": raw(b"Content-Length: -1"),
    "length no number": raw(b"Content-Length: many"),
    "lengths differ": raw(b"Content-Length: 9", b"Content-Length: 99"),
    "length and chunks": raw(b"Content-Length: 9", b"Transfer-Encoding: chunked"),
    "chunk size bad": raw(b"Transfer-Encoding: chunked", body=b"zz\r\n" + PLAYS),
    "chunk size negative": raw(b"Transfer-Encoding: chunked", body=b"-5\r\n" + PLAYS),
    "chunks cut": raw(b"Transfer-Encoding: chunked", body=b"5\r\n{}"),
    "encoding of transfer unknown": raw(b"Transfer-Encoding: gzip", body=GZIP),
    "gzip that is none": zipped(PLAYS),
    "gzip cut": zipped(GZIP[:-20]),
    "gzip cut in its header": zipped(GZIP[:9]),
    "gzip with a bad sum": zipped(GZIP[:-8] + b"\0" * 8),
    "gzip twice": sized(gzip.compress(GZIP), b"Content-Encoding: gzip, gzip"),
    "gzip bomb": zipped(BOMB),
    "gzip, then more than a lot": zipped(GZIP + b" " * 1_000_000),
    "brotli": sized(PLAYS, b"Content-Encoding: br"),
    "too large": sized(PLAYS + b" " * 1_000_000),
    "too large without a length": raw(body=PLAYS + b" " * 1_000_000),
    "HTTP/0.9": b"<html>Hello</html>",
    "status 99": b"HTTP/1.1 099 Odd\r\nContent-Length: 0\r\n\r\n",
    "status word": b"HTTP/1.1 OK\r\nContent-Length: 0\r\n\r\n",
    "switching protocols": b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n",
    "header without a colon": raw(b"nonsense", b"Content-Length: 0"),
    "header with a NUL": raw(b"X: a\0b", b"Content-Length: 0"),
    "headers endless": endless(HEAD, b"X-More: " + b"a" * 999 + b"\r\n"),
    "header endless": endless(HEAD + b"X-More: ", b"a" * 4096),
    "first line endless": endless(b"HTTP/1.1 200 ", b"a" * 4096),
    "no answer": b"",
    "redirect elsewhere": answer(302, "", "Location: http://127.0.0.1:9/v1/me", CLOSE),
    "redirect with a body": answer(307, TRACK, "Location: https://x.example", CLOSE),
    "other success": answer(206, TRACK, CLOSE),
    "not modified": answer(304, "", CLOSE),
    "gateway timeout": answer(504, TRACK, CLOSE),
    "unknown status": answer(799, TRACK, CLOSE),
    "legal": answer(451, "<h1>Nothing is playing</h1>", CLOSE),
    "no JSON but text": answer(200, "playing", CLOSE),
    "word true": answer(200, True, CLOSE),
    "word false": answer(200, False, CLOSE),
    "number": answer(200, 0, CLOSE),
    "string": sized(b'""'),
    "string that looks fine": answer(200, json.dumps(json.dumps(TRACK)), CLOSE),
    "error with 200": answer(200, {"error": {"status": 500}}, CLOSE),
    "deep list": sized(b"[" * 200_000),
    "deep object": sized(b'{"item":' * 100_000),
    "huge integer": sized(
        b'{"item": {"name": "x"}, "progress_ms": 1%s}' % (b"0" * 9999)
    ),
    "bad UTF-8": sized(b'{"item": {"name": "\xff\xfe\xed\xa0\x80"}}'),
    "BOM alone": sized(b"\xef\xbb\xbf"),
    "two values": sized(PLAYS + PLAYS),
}
DRIPS: dict[str, Failure] = {
    "body drips": dripping(
        raw(b"Content-Length: %d" % (len(PLAYS) + 60), body=PLAYS), b" "
    ),
    "chunks drip": dripping(
        raw(b"Transfer-Encoding: chunked", body=b"%x\r\n%s\r\n" % (len(PLAYS), PLAYS)),
        b"1\r\n \r\n",
        b"0\r\n\r\n",
    ),
    "headers drip": dripping(HEAD, b"X-More: a\r\n", b"\r\n" + PLAYS),
    "header drips": dripping(HEAD + b"X-More: ", b"a", b"\r\n\r\n" + PLAYS),
    "interim answers drip": dripping(
        b"", b"HTTP/1.1 103 Early\r\n\r\n", raw(b"Content-Length: 0", body=b"")
    ),
    "interim answers flood": endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "gzip of nothing, for ever": endless(
        raw(b"Content-Encoding: gzip", body=GZIP[:10]), b"\0\0\0\xff\xff" * 800
    ),
}
FEW_DRIPS = {name: DRIPS[name] for name in ("body drips", "headers drip")}


# One stand-in and a few apps for the whole file: a new one for each fault takes longer
# than the test. What a fault leaves behind, the clock and fresh browsers take care of.


@pytest.fixture(scope="module")
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="module")
def one_spotify(clock: Clock) -> Iterator[StandIn]:
    with StandIn(
        client_id=CLIENT_ID, client_secret=SECRET, clock=clock.time
    ) as stand_in:
        yield stand_in


@pytest.fixture(scope="module")
def apps(one_spotify: StandIn, clock: Clock) -> Iterator[Callable[[str, float], Flask]]:
    made: dict[tuple[str, float], Flask] = {}

    def get(flow: str, deadline: float) -> Flask:
        config = Config(
            client_id=CLIENT_ID,
            client_secret=SECRET if flow == "secret" else None,
            accounts_url=one_spotify.accounts_url,
            api_url=one_spotify.api_url,
            deadline=deadline,
        )
        key = flow, deadline
        made[key] = made.get(key) or build_app(config, clock)
        return made[key]

    yield get
    for app in made.values():
        pass


@pytest.fixture
def spotify(one_spotify: StandIn, clock: Clock) -> Iterator[StandIn]:
    one_spotify.play("track")
    yield one_spotify
    one_spotify.heal()
    one_spotify.forget()
    clock.advance(DAY + 1)  # beyond any rate limit


@pytest.fixture
def app(
    apps: Callable[[str, float], Flask], request: pytest.FixtureRequest
) -> Iterator[Flask]:
    """The app; where a fault only ends with the deadline, that is soon."""
    flow = request.getfixturevalue("flow") if "flow" in request.fixturenames else "pkce"
    params = request.node.callspec.params if hasattr(request.node, "callspec") else {}
    slow = [*SLOW.values(), *DRIPS.values()]
    app = apps(flow, 0.4 if params.get("how") in slow else 5.0)
    yield app
    users = app.extensions["store"].users
    for user_id in list(users._entries):
        users.pop(user_id)


def faults(*more: dict[str, Failure]) -> dict[str, How]:
    """Return the known faults and these, except those that end a session."""
    known: dict[str, How] = {name: name for name in FAILURES if name not in ENDED}
    known |= SLOW | LARGE
    for also in more:
        known.update(also)
    return {name.replace(" ", "_"): how for name, how in known.items()}


def cases(table: dict[str, str], *more: dict[str, Failure]) -> list[Any]:
    """Return each fault with its outcome."""
    return [
        pytest.param(how, table.get(name, "unreachable"), id=name)
        for name, how in faults(*more).items()
    ]


def shown(page: TestResponse) -> str:
    """Return what the player on a page says it is."""
    found = re.search(r'<section id="player" data-state="(\w+)"', page.text)
    return found[1] if found else ""


def heals(browser: Browser, spotify: StandIn, clock: Clock) -> bool:
    """Tell whether the track comes back; busy machines get more than one chance."""
    spotify.heal()
    clock.advance(DAY + 1)
    for _ in range(5):
        if shown(browser.get("/")) == "playing":
            return True
        clock.advance(3)
    return False


def people(app: Flask) -> int:
    return len(app.extensions["store"].users)


# ---- What is playing


@pytest.mark.parametrize(("how", "outcome"), cases(OUTCOMES, WIRE, DRIPS))
def test_fault_of_the_player_is_named_and_heals(
    how: How, outcome: str, browser: Browser, spotify: StandIn, clock: Clock
) -> None:
    """C53, C55, C57: page 200 with a sentence, never "nothing", session kept."""
    browser.log_in()
    user_id, before = browser.user_id, spotify.count("player")
    spotify.fail("player", how)
    clock.advance(5)
    page = browser.get("/")
    assert page.status_code == 200
    assert shown(page) == outcome
    assert ("Nothing is playing" in page.text) == (outcome == "nothing")
    facts = browser.json()
    assert facts.get("error", facts.get("state")) == outcome
    assert facts["poll_after_ms"] > 0
    # Once, and once more where an idle connection seemed to have died.
    assert 1 <= spotify.count("player") - before <= 2
    assert spotify.count("token") == 1
    assert heals(browser, spotify, clock)
    assert browser.user_id == user_id


@pytest.mark.parametrize(
    ("payload", "state"),
    [
        ({"item": "x", "is_playing": True}, "unknown"),
        ({"item": [], "is_playing": True}, "unknown"),
        ({"item": {}, "is_playing": True}, "unknown"),
        ({"item": {"name": ["x"]}, "is_playing": True}, "unknown"),
        ({"item": {"name": "x"}, "progress_ms": float("nan")}, "playing"),
        ({"item": {"name": "x", "duration_ms": float("inf")}}, "playing"),
        ({"item": {"name": "x", "duration_ms": 10**400}}, "playing"),
        ({"item": {"name": "x", "duration_ms": -1}, "progress_ms": -9}, "playing"),
        ({"item": {"name": "x", "duration_ms": 0}, "progress_ms": 1e300}, "playing"),
        ({"item": {"name": "x", "artists": [None, 1, {"name": 2}]}}, "playing"),
        ({"item": {"name": "x", "album": {"images": [{"url": "["}]}}}, "playing"),
        ({"item": {"name": "\ud800\0"}, "is_playing": False}, "paused"),
        ({"item": {"name": "x", "type": {"a": 1}, "uri": 5}}, "playing"),
        ({"item": {"name": "x"}, "is_playing": "no"}, "playing"),
    ],
    ids=repr,
)
def test_odd_payload_is_read_as_far_as_it_goes(
    payload: object, state: str, browser: Browser, spotify: StandIn
) -> None:
    """C57: strange fields cost themselves, not the page."""
    spotify.play(payload)
    browser.log_in()
    page = browser.get("/")
    assert (page.status_code, shown(page)) == (200, state)
    facts = browser.get("/now-playing").get_data()
    assert json.loads(facts, parse_constant=pytest.fail)["state"] == state


@pytest.mark.parametrize("coding", ["utf-8-sig", "utf-16", "utf-32", "utf-16-le"])
def test_other_encodings_of_json_are_read(
    coding: str, browser: Browser, spotify: StandIn
) -> None:
    """C57: or refused, but not taken for silence."""
    browser.log_in()
    spotify.fail("player", sized(json.dumps(TRACK).encode(coding)))
    assert browser.json()["title"] == "Real"


def test_answer_just_under_the_limit_is_read(
    browser: Browser, spotify: StandIn
) -> None:
    """C53: 1 MB is the limit, and not much less; packed as well."""
    browser.log_in()
    body = PLAYS + b" " * (1_000_000 - len(PLAYS))
    for how in (sized(body), zipped(gzip.compress(body)), raw(body=body)):
        spotify.fail("player", how)
        assert browser.json()["title"] == "Real"
        spotify.heal()


def test_bomb_is_not_unpacked(browser: Browser, spotify: StandIn, clock: Clock) -> None:
    """C53: 100 MB in 100 KB take a few MB at the most."""
    browser.log_in()
    bomb = zipped(gzip.compress(PLAYS + b" " * 100_000_000, 1))
    spotify.fail("player", bomb)
    tracemalloc.start()
    try:
        assert browser.json()["error"] == "unreachable"
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7),
        ("0", 1),
        ("-5", 5),
        ("1.5", 5),
        ("", 5),
        ("soon", 5),
        ("7, 9", 5),
        ("\u00b2", 5),
        ("86400", DAY),
        ("9" * 400, DAY),
    ],
)
def test_rate_limit_holds_everybody_back_and_then_nobody(
    value: str,
    seconds: int,
    app: Flask,
    browser: Browser,
    other: Browser,
    spotify: StandIn,
    clock: Clock,
) -> None:
    """C52: nobody asks, nobody waits, all are told for how long; at most a day."""
    browser.log_in()
    other.log_in("mika")
    third = Browser(app, spotify)
    link = third.code_for(third.begin_login(), "ines")
    limit = answer(429, {}, CLOSE).replace(
        b"\r\n", b"\r\nRetry-After: " + value.encode("latin-1") + b"\r\n", 1
    )
    spotify.fail("player", limit, 1)
    assert browser.json()["error"] == "rate_limited"
    spotify.forget()
    clock.advance(seconds - 0.5)
    for someone in (browser, other):
        response = someone.get("/now-playing")
        assert response.status_code == 503
        assert response.headers["Retry-After"] == "1"
        assert shown(someone.get("/")) == "rate_limited"
    later = third.get(link)
    assert (later.status_code, later.headers["Retry-After"]) == (503, "1")
    assert spotify.calls == []
    clock.advance(0.5)
    if seconds == DAY:  # by now the code is too old, too
        link = third.code_for(third.begin_login(), "ines")
    assert third.get(link).status_code == 307
    assert [someone.json()["state"] for someone in (browser, other, third)] == [
        "playing"
    ] * 3


# ---- The token: at login, and when it has to be renewed

TOKEN = {
    "access_token": "access",
    "token_type": "Bearer",
    "scope": "user-read-currently-playing",
    "expires_in": 3600,
    "refresh_token": "refresh",
}
BAD_FIELDS: list[dict[str, Any]] = [
    {"access_token": None},
    {"access_token": ""},
    {"access_token": 7},
    {"access_token": ["access"]},
    {"access_token": "a\r\nX-Evil: 1"},
    {"access_token": "a b"},
    {"access_token": "zugänglich"},
    {"access_token": "\ud800"},
    {"access_token": "a" * 5000},
    {"expires_in": None},
    {"expires_in": "soon"},
    {"expires_in": [3600]},
    {"expires_in": {}},
    {"expires_in": 10**400},
    {"scope": None},
    {"scope": 7},
]
TOKENS: dict[str, Failure] = {
    **{
        f"field {fields!a:.40}": answer(200, TOKEN | fields, CLOSE)
        for fields in BAD_FIELDS
    },
    **{
        f"without {name}": answer(
            200, {n: v for n, v in TOKEN.items() if n != name}, CLOSE
        )
        for name in ("access_token", "expires_in")
    },
    "204": answer(204, "", CLOSE),
    "401 text": answer(401, "Unauthorized", CLOSE),
    "401 JSON": answer(401, {"error": "unauthorized"}, CLOSE),
    "403 HTML": answer(403, "<h1>Forbidden</h1>", CLOSE),
    "400 empty": answer(400, "", CLOSE),
    "400 HTML": answer(400, "<h1>Bad</h1>", CLOSE),
    "400 list": answer(400, ["invalid_grant"], CLOSE),
    "400 error is an object": answer(400, {"error": {"invalid_grant": 1}}, CLOSE),
    "400 error is null": answer(400, {"error": None}, CLOSE),
    "400 unknown error": answer(400, {"error": "unsupported_grant_type"}, CLOSE),
    "200 with an error": answer(200, {"error": "invalid_grant"}, CLOSE),
    "500 invalid_grant": answer(500, {"error": "invalid_grant"}, CLOSE),
    "503 invalid_grant": answer(503, {"error": "invalid_grant"}, CLOSE),
}
REFUSED = ("invalid_code", "code_expired", "invalid_redirect_uri", "invalid_grant")
GRANTS = dict.fromkeys((*REFUSED, "refresh_expired"), "code_refused")
LIMITS = {n: o for n, o in OUTCOMES.items() if o == "rate_limited"}
EXCHANGE = {**LIMITS, **GRANTS, "invalid_client": "client_refused"}
REFRESH = {**LIMITS, **dict.fromkeys(GRANTS, "session_ended")}
STATUS = {
    "code_refused": (400, "did not accept the code"),
    "client_refused": (502, "client ID or secret"),
    "rate_limited": (503, "has asked this app to wait"),
    "unreachable": (502, "did not complete the login"),
}


@pytest.mark.parametrize(("how", "outcome"), cases(EXCHANGE, TOKENS))
def test_fault_of_the_exchange_is_explained_and_heals(
    how: How,
    outcome: str,
    flow: str,
    app: Flask,
    browser: Browser,
    spotify: StandIn,
    clock: Clock,
) -> None:
    """C53, C57: a page of its own, nobody logged in, one call: a code goes out once."""
    spotify.fail("token", how)
    response = browser.log_in()
    status, words = STATUS[outcome]
    assert response.status_code == status
    assert words in response.text
    assert [call.endpoint for call in spotify.calls] == ["token"]
    assert people(app) == 0
    assert browser.user_id is None
    spotify.heal()
    clock.advance(DAY + 1)
    assert browser.log_in().status_code == 307
    assert heals(browser, spotify, clock)


@pytest.mark.parametrize(("how", "outcome"), cases(REFRESH, WIRE, TOKENS, FEW_DRIPS))
def test_fault_of_the_refresh_keeps_or_ends_the_session(
    how: How,
    outcome: str,
    flow: str,
    app: Flask,
    browser: Browser,
    spotify: StandIn,
    clock: Clock,
) -> None:
    """C53, C55, C57: invalid_grant ends it with a reason; all else keeps it."""
    browser.log_in()
    user_id = browser.user_id
    clock.advance(3600)
    spotify.forget()
    spotify.fail("token", how)
    response = browser.get("/now-playing")
    assert [call.endpoint for call in spotify.calls] == ["token"]
    error = "logged_out" if outcome == "session_ended" else outcome
    assert response.get_json()["error"] == error
    page = browser.get("/")
    assert page.status_code == 200
    assert spotify.count("token") == 1
    if outcome == "session_ended":
        spotify.heal()
        assert "Spotify has ended this login" in page.text
        assert "User ID: None" in page.text
        assert people(app) == 0
        assert "has ended" not in browser.get("/").text
        assert spotify.count("token") == 1
    else:
        assert shown(page) == outcome
        assert heals(browser, spotify, clock)
        assert browser.user_id == user_id


def tampered(spotify: StandIn, **changes: Any) -> Failure:
    """Make a token endpoint that works, but for these fields; ... leaves one out."""

    def send(connection: socket.socket, _: Event) -> None:
        call = spotify.calls[-1]
        body = spotify.token(call.form, call.headers.get("authorization", "")) | changes
        body = {name: value for name, value in body.items() if value is not ...}
        connection.sendall(answer(200, body, CLOSE))

    return send


@pytest.mark.parametrize("expires_in", [-5, 0, 1, 59, 1.5, 10**12, 10**18, True])
def test_odd_lifetimes_of_a_token_do_no_harm(
    expires_in: Any, flow: str, browser: Browser, spotify: StandIn, clock: Clock
) -> None:
    """C57: too short: renewed at the next look; too long: renewed when refused."""
    spotify.fail("token", tampered(spotify, expires_in=expires_in))
    assert browser.log_in().status_code == 307
    assert shown(browser.get("/")) == "playing"
    clock.advance(3600)
    assert shown(browser.get("/")) == "playing"
    assert spotify.count("token") <= 3


@pytest.mark.parametrize(
    "refresh",
    [..., None, "", 7, "a\r\nX-Evil: 1", "zugänglich", ["refresh"], "a" * 5000],
)
def test_login_without_a_usable_refresh_token_lasts_an_hour(
    refresh: Any,
    flow: str,
    app: Flask,
    browser: Browser,
    spotify: StandIn,
    clock: Clock,
) -> None:
    """C55, C57: then it ends with a reason, and nothing is sent."""
    spotify.fail("token", tampered(spotify, refresh_token=refresh), 1)
    assert browser.log_in().status_code == 307
    assert shown(browser.get("/")) == "playing"
    clock.advance(3600)
    assert "Spotify has ended this login" in browser.get("/").text
    assert spotify.count("token") == 1
    assert people(app) == 0


def test_refresh_that_brings_no_refresh_token_keeps_the_old_one(
    flow: str, browser: Browser, spotify: StandIn, clock: Clock
) -> None:
    """C55: as Spotify does it with a secret (RFC 6749 §6)."""
    browser.log_in()
    sent = []
    for _ in range(2):
        clock.advance(3600)
        body = {n: v for n, v in TOKEN.items() if n != "refresh_token"}
        spotify.fail("token", answer(200, body, CLOSE), 1)
        spotify.fail("player", sized(PLAYS), 1)
        assert browser.json()["title"] == "Real"
        sent.append(spotify.calls[-2].form["refresh_token"])
    assert sent[0] == sent[1]


@pytest.mark.parametrize("how", sorted(ENDED))
def test_token_that_is_refused_early_is_renewed_once(
    how: str, flow: str, browser: Browser, spotify: StandIn, clock: Clock
) -> None:
    """C56: one forced refresh, one retry, and the person notices nothing."""
    browser.log_in()
    user_id = browser.user_id
    clock.advance(3)
    spotify.forget()
    spotify.fail("player", how, 1)
    assert browser.json()["state"] == "playing"
    assert [c.endpoint for c in spotify.calls] == ["player", "token", "player"]
    assert browser.user_id == user_id


@pytest.mark.parametrize("how", sorted(ENDED))
def test_token_that_is_refused_again_ends_the_session(
    how: str, flow: str, app: Flask, browser: Browser, spotify: StandIn
) -> None:
    """C56: after one refresh and one retry, with a reason and without a loop."""
    browser.log_in()
    spotify.forget()
    spotify.fail("player", how)
    page = browser.get("/")
    assert "Spotify has ended this login" in page.text
    assert "User ID: None" in page.text
    assert [c.endpoint for c in spotify.calls] == ["player", "token", "player"]
    assert people(app) == 0
    for _ in range(3):
        assert "has ended" not in browser.get("/").text
    assert len(spotify.calls) == 3
    spotify.heal()
    assert browser.log_in().status_code == 307
    assert browser.json()["state"] == "playing"


# ---- The profile

PROFILES: dict[str, Failure] = {
    "name is a number": answer(200, {"id": 5, "display_name": 5}, CLOSE),
    "names are lists": answer(200, {"id": ["x"], "display_name": {}}, CLOSE),
    "error with 200": answer(200, {"error": {"status": 500}}, CLOSE),
    "names are blank": answer(200, {"id": " ", "display_name": ""}, CLOSE),
}


@pytest.mark.parametrize("how", faults(PROFILES).values(), ids=faults(PROFILES))
def test_fault_of_the_profile_does_not_stop_the_login(
    how: How, browser: Browser, spotify: StandIn, clock: Clock
) -> None:
    """C53, C57: logged in all the same; the account's name comes when it can."""
    spotify.fail("profile", how)
    response = browser.log_in()
    assert (response.status_code, response.headers["Location"]) == (307, "/")
    page = browser.get("/")
    assert page.status_code == 200
    assert "Logged in as" not in page.text
    assert "User ID: None" not in page.text
    assert heals(browser, spotify, clock)
    assert "Logged in as <b><bdi>Robin Vale</bdi></b>" in browser.get("/").text


def test_everything_fails_at_once(
    flow: str, app: Flask, browser: Browser, spotify: StandIn, clock: Clock
) -> None:
    """C53, C55: and comes back at once."""
    browser.log_in()
    clock.advance(3600)
    for endpoint in ("token", "profile", "player"):
        spotify.fail(endpoint, "reset")
    assert shown(browser.get("/")) == "unreachable"
    spotify.heal()
    clock.advance(3)
    assert shown(browser.get("/")) == "playing"


# ---- The road


def test_redirect_is_not_followed(
    flow: str, browser: Browser, spotify: StandIn, clock: Clock
) -> None:
    """C11, C53: no code and no token goes where an answer points."""
    with StandIn(clock=clock.time) as elsewhere:
        browser.log_in()
        for endpoint, path in (("player", "/v1/me"), ("token", "/api/token")):
            clock.advance(3600)
            for status in (301, 302, 303, 307, 308):
                to = f"Location: {elsewhere.url}{path}"
                spotify.fail(endpoint, answer(status, "", to, CLOSE))
                clock.advance(3)
                assert browser.json()["error"] == "unreachable"
            spotify.heal()
        assert elsewhere.calls == []


def test_cookies_of_spotify_go_nowhere(
    flow: str,
    app: Flask,
    browser: Browser,
    other: Browser,
    spotify: StandIn,
    clock: Clock,
) -> None:
    """C53: not back to Spotify, for anybody, and not on to a browser."""
    cookie = "Set-Cookie: canary=robin; Path=/; Max-Age=9999"
    spotify.fail("token", answer(400, {"error": "x"}, cookie, CLOSE), 1)
    browser.log_in()
    browser.log_in()
    spotify.fail("player", answer(200, TRACK, cookie))
    spotify.fail("profile", answer(500, TRACK, cookie))
    responses = [browser.get("/"), other.log_in("mika"), other.get("/")]
    clock.advance(3600)
    responses += [browser.get("/"), other.get("/"), browser.get("/now-playing")]
    assert len(spotify.calls) >= 10
    assert not any("cookie" in call.headers for call in spotify.calls)
    for response in responses:
        assert "canary" not in f"{response.headers}{response.text}"


def test_connection_that_died_idle_is_replaced_once_for_a_get(
    flow: str, browser: Browser, spotify: StandIn, clock: Clock
) -> None:
    """C53: closed between requests, or just as it is used: nobody notices."""
    for how in (b"", "reset"):
        browser.log_in()  # the profile leaves a connection behind
        spotify.forget()
        spotify.fail("player", how, 1)
        assert browser.json()["state"] == "playing"
        assert spotify.count("player") == 2
        browser.post("/logout")
    browser.log_in()
    spotify.fail("player", sized(PLAYS), 1)  # says nothing of closing, and closes
    assert browser.json()["title"] == "Real"
    clock.advance(3)
    assert browser.json()["state"] == "playing"


def test_get_that_fails_twice_is_not_asked_a_third_time(
    browser: Browser, spotify: StandIn
) -> None:
    """C53: one retry, not a loop."""
    browser.log_in()
    spotify.forget()
    spotify.fail("player", b"", 2)
    assert browser.json()["error"] == "unreachable"
    assert spotify.count("player") == 2


@pytest.mark.parametrize("how", [b"", "reset", "cut_short", "server_error_html"])
def test_get_on_a_connection_of_its_own_is_not_asked_again(
    how: How, spotify: StandIn, make_app: MakeApp
) -> None:
    """C53: what fails there is Spotify, not an idle connection."""
    fresh = Browser(make_app(), spotify)
    spotify.fail("profile", how)
    fresh.log_in()
    assert spotify.count("profile") == 1


@pytest.mark.parametrize("extra", [PLAYS, b""], ids=["200", "empty"])
def test_answer_that_nobody_asked_for_reaches_nobody(
    extra: bytes, app: Flask, spotify: StandIn, clock: Clock
) -> None:
    """C53: neither the next person on that connection, nor anybody after."""

    def answer_twice(connection: socket.socket, healed: Event) -> None:
        connection.sendall(sized(json.dumps({"item": {"name": "First"}}).encode()))
        healed.wait()
        connection.sendall(sized(extra))
        twice.set()
        over.wait()

    twice, over = Event(), Event()
    people = {name: Browser(app, spotify) for name in ("robin", "mika", "ines")}
    for name, browser in people.items():
        browser.log_in(name)
        spotify.play({"item": {"name": name}}, name)
    spotify.fail("player", answer_twice, 1)
    assert people["robin"].json()["title"] == "First"
    spotify.heal()
    assert twice.wait(10)
    for _ in range(3):
        clock.advance(3)
        titles = [browser.json().get("title") for browser in people.values()]
        assert titles == list(people)
    over.set()


@pytest.mark.parametrize("how", [b"", "reset", "cut_short", "not_http"])
def test_post_is_never_sent_twice(
    how: How, flow: str, browser: Browser, spotify: StandIn, clock: Clock
) -> None:
    """C53: neither a code nor a refresh token, even where connections lie idle."""
    browser.log_in()
    clock.advance(3600)
    browser.get("/")
    clock.advance(3600)
    spotify.forget()
    spotify.fail("token", how)
    browser.get("/")
    assert spotify.count("token") == 1
    browser.post("/logout")
    browser.log_in()
    assert spotify.count("token") == 2


def test_spotify_that_is_gone_is_unreachable(
    make_app: MakeApp, spotify: StandIn, clock: Clock
) -> None:
    """C53, C57: nobody listens there any more, and then somebody does again."""
    gone = StandIn(client_id=CLIENT_ID, clock=clock.time)
    with gone:
        app = make_app(accounts_url=gone.url, api_url=gone.api_url)
        browser = Browser(app, gone)
        browser.log_in()
        assert shown(browser.get("/")) == "playing"
    clock.advance(3)
    assert shown(browser.get("/")) == "unreachable"
    other = Browser(app, gone)
    assert other.log_in().status_code == 502
    assert other.get("/").status_code == 200


def test_visit_without_time_left_makes_no_call(
    make_app: MakeApp, spotify: StandIn
) -> None:
    """C53: a deadline that is over is not one that is switched off."""
    browser = Browser(make_app(deadline=0.0), spotify)
    assert browser.log_in().status_code == 502
    assert spotify.count("token") == 0


def test_name_that_nobody_resolves_costs_no_more_than_the_deadline(
    make_app: MakeApp, spotify: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C53: the system's resolver has no timeout that we could set."""
    ended, resolve = Event(), socket.getaddrinfo

    def hang(*args: Any, **kwargs: Any) -> Any:
        ended.wait()
        return resolve(*args, **kwargs)

    base = spotify.url.replace("127.0.0.1", "localhost")
    browser = Browser(make_app(accounts_url=base, deadline=0.4), spotify)
    query = dict(parse_qsl(urlsplit(browser.get("/login").headers["Location"]).query))
    path = browser.code_for(query)
    with monkeypatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", hang)
        assert browser.get(path).status_code == 502
    ended.set()
    assert spotify.count("token") == 0


@pytest.mark.parametrize("endpoint", ["player", "token"])
def test_hanging_spotify_takes_only_the_people_who_wait_for_it(
    endpoint: str, flow: str, make_app: MakeApp, spotify: StandIn, clock: Clock
) -> None:
    """C53: more waiting than there are seats: the rest hear so at once, all go on."""
    app = make_app(threads=12, deadline=60.0)
    browsers = [Browser(app, spotify) for _ in range(20)]
    for browser in browsers:
        browser.log_in()
    if endpoint == "token":
        clock.advance(3600)
    stranger = Browser(app, spotify)
    with ThreadPoolExecutor(20) as pool, hold(spotify, endpoint) as held:
        pages: list[Future[TestResponse]]
        pages = [pool.submit(browser.get, "/") for browser in browsers]
        at_once = as_completed(pages, timeout=30)
        for _ in range(8):
            assert shown(next(at_once).result()) == "unreachable"
        assert held.arrived(12)
        assert stranger.get("/healthz").text == "alive"
        assert stranger.get("/readyz").text == "ready"
        assert "User ID: None" in stranger.get("/").text
        assert stranger.get("/login").status_code == 307
        assert sum(page.done() for page in pages) == 8
        held.release()
        assert [shown(page.result()) for page in at_once] == ["playing"] * 12
    clock.advance(3)
    assert [shown(browser.get("/")) for browser in browsers] == ["playing"] * 20


# ---- Secrets


def echo(spotify: StandIn, status: int) -> Failure:
    """Make an endpoint that says back all it was told."""

    def send(connection: socket.socket, _: Event) -> None:
        told = f"{spotify.calls[-1].headers} {spotify.calls[-1].form}"
        fields = ("error", "error_description", "access_token", "message", "item")
        connection.sendall(answer(status, dict.fromkeys(fields, told), CLOSE))

    return send


def decoded(cookie: str) -> str:
    """Return what the owner of a cookie can read in it."""
    packed, payload = cookie.startswith("."), cookie.lstrip(".").partition(".")[0]
    data = base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4))
    return (zlib.decompress(data) if packed else data).decode()


@pytest.mark.parametrize(
    ("flow", "endpoint", "more"),
    [
        ("pkce", "token", TOKENS),
        ("secret", "token", {}),
        ("secret", "profile", PROFILES),
        ("pkce", "player", {}),
    ],
)
def test_no_secret_leaves_the_app_whatever_fails(
    endpoint: str,
    flow: str,
    more: dict[str, Failure],
    app: Flask,
    spotify: StandIn,
    clock: Clock,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """C43: tokens, codes, secret, verifiers: in no answer, cookie, log or traceback."""
    caplog.set_level(logging.DEBUG, "now_playing")
    hows: dict[str, How] = {name: name for name in FAILURES.keys() - SLOW.keys()}
    hows |= more | {f"echo {n}": echo(spotify, n) for n in (200, 400, 401, 403, 500)}
    seen: list[str] = []
    codes: list[str] = []
    numbers = count()

    def look(response: TestResponse) -> None:
        seen.append(f"{response.headers}{response.text}")

    for how in hows.values():
        person = f"p{next(numbers)}"
        browser, late = Browser(app, spotify), Browser(app, spotify)
        for someone, healed in ((browser, True), (late, False)):
            if not healed:
                spotify.fail(endpoint, how)
            query = someone.begin_login()
            link = someone.code_for(query, person)
            codes.append(link.partition("code=")[2].partition("&")[0])
            look(someone.get(link))
        clock.advance(3600)
        for path in ("/", "/now-playing", link):
            look(browser.get(path))
        seen += [decoded(someone.cookie) for someone in (browser, late)]
        spotify.heal()
        clock.advance(DAY + 1)
        look(browser.get("/"))
        look(browser.post("/logout"))
    secrets = {SECRET, *codes}
    for call in spotify.calls:
        secrets |= {
            call.form.get(name, "") for name in ("code_verifier", "refresh_token")
        }
        secrets.add(call.headers.get("authorization", "").partition(" ")[2])
    secrets |= {*spotify._access, *spotify._refresh}
    secrets.discard("")
    assert len(secrets) > 3 * len(hows)
    out = "".join(capfd.readouterr())
    places = {"answer or cookie": "\n".join(seen), "log": caplog.text, "output": out}
    found = [(s, where) for s in secrets for where in places if s in places[where]]
    assert found == []
