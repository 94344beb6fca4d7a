"""Ten thousand random requests, and a hundred thousand logins that nobody ends."""

from __future__ import annotations

from itertools import pairwise
from random import Random

from flask import Flask
from werkzeug.test import create_environ, run_wsgi_app

from stand_in import StandIn
from store import AUTH_SECONDS, MOST_AUTHS
from tests.conftest import ORIGIN, Browser, Clock

PATHS = ["/", "/login", "/callback", "/logout", "/now-playing", "/healthz", "/readyz"]
PATHS += ["/static/style.css", "/static/", "/favicon.ico", "*", "", "/index.html"]
BITS = [
    *(
        "/",
        "//",
        "..",
        "%",
        "%00",
        "%2e",
        "\\",
        "\0",
        "%0d%0a",
        "?",
        "#",
        ";",
        ":",
        "@",
    ),
    *(
        "&",
        "=",
        "[]",
        "+",
        " ",
        "'",
        '"',
        "<",
        "{{7*7}}",
        "${x}",
        "\xff",
        "\xed\xa0\x80",
    ),
    *(
        "state",
        "code",
        "error",
        "access_denied",
        "next",
        "user",
        "A" * 300,
        "-1",
        "1e9",
    ),
]
METHODS = ["GET"] * 12 + [
    "HEAD",
    "OPTIONS",
    "POST",
    "PUT",
    "DELETE",
    "TRACE",
    "FOO",
    "",
]
HOSTS = ["127.0.0.1:5000"] * 8 + [
    "localhost:5000",
    "[::1]:5000",
    "evil.example",
    "",
    "[",
]
HEADERS = [
    *(
        "ACCEPT",
        "ACCEPT_LANGUAGE",
        "ORIGIN",
        "REFERER",
        "RANGE",
        "IF_RANGE",
        "IF_MATCH",
    ),
    *(
        "IF_NONE_MATCH",
        "IF_MODIFIED_SINCE",
        "AUTHORIZATION",
        "X_FORWARDED_HOST",
        "EXPECT",
    ),
    *(
        "SEC_FETCH_SITE",
        "SEC_FETCH_DEST",
        "SEC_PURPOSE",
        "TRANSFER_ENCODING",
        "UPGRADE",
    ),
]
VALUES = [
    *(
        "text/html",
        "*/*;q=x",
        "bytes=9-1",
        "bytes=0-0,-1",
        "bytes=99999999-",
        "W/",
        '"x"',
    ),
    *(
        "same-origin",
        "cross-site",
        "document",
        "prefetch",
        "chunked",
        "Basic !",
        "http://[",
    ),
    *("Thu, 99 Xxx 9999", "100-continue", "websocket", "None", ORIGIN),
]


def test_ten_thousand_random_requests_break_nothing(
    app: Flask, browser: Browser, spotify: StandIn
) -> None:
    """C23: no 5xx, no session, no call to Spotify, and the witness stays logged in."""
    browser.log_in()
    user_id, cookie = browser.user_id, browser.cookie
    spotify.forget()
    random = Random(4)
    base = create_environ("/", ORIGIN)

    def text(start: str) -> str:
        return start + "".join(random.choices(BITS, k=random.choice((0, 0, 1, 2, 5))))

    def a_cookie() -> str:
        at = random.randrange(1, len(cookie) - 2)
        value = random.choice(
            [cookie[:at] + "." + cookie[at:], text("e30."), text(".")]
        )
        return f"{random.choice(('now_playing', '', 'x'))}={value}"

    statuses = set()
    for number in range(10_000):
        environ = base | {
            "REQUEST_METHOD": random.choice(METHODS),
            "PATH_INFO": text(random.choice(PATHS)),
            "QUERY_STRING": text(random.choice(("", "state=x&code=", "error=&state="))),
            "HTTP_HOST": random.choice(HOSTS),
            "HTTP_COOKIE": "; ".join(a_cookie() for _ in range(random.randrange(3))),
            "CONTENT_LENGTH": random.choice(("", "0", "1", "-1", "x", "9" * 30)),
        }
        for name in random.choices(HEADERS, k=random.randrange(4)):
            environ[f"HTTP_{name}"] = random.choice((random.choice(VALUES), text("")))
        body, status, _ = run_wsgi_app(app, environ, buffered=True)
        statuses.add(code := int(status[:3]))
        assert code < 500, f"request {number}: {environ}"
        if number % 1000 == 0:
            assert b"Traceback" not in b"".join(body)
    assert {200, 303, 307, 400, 401, 403, 404, 405, 413} <= statuses
    assert spotify.calls == []
    assert len(app.extensions["store"].users) == 1
    assert browser.user_id == user_id


def test_hundred_thousand_logins_that_nobody_ends_are_bounded(
    app: Flask, browser: Browser, spotify: StandIn, clock: Clock
) -> None:
    """C49: 10,000 are kept, and a logged-in person notices nothing."""
    browser.log_in()
    auths = app.extensions["store"].auths
    environ = create_environ("/login", ORIGIN)
    for _ in range(MOST_AUTHS + 500):  # over the route, until it is full
        run_wsgi_app(app, environ)
    assert len(auths) == MOST_AUTHS
    for n in range(100_000 - MOST_AUTHS):  # and then what the route does, alone
        auths.put(f"{n:064}", "v" * 86)
    assert len(auths) == MOST_AUTHS
    clock.advance(3)
    assert browser.json()["state"] == "playing"
    fresh = Browser(app, spotify)
    assert fresh.log_in("mika").status_code == 307


def test_expired_logins_are_swept_a_little_at_a_time(
    app: Flask, browser: Browser, clock: Clock
) -> None:
    """C50: no request has to clear up after ten thousand others."""
    auths = app.extensions["store"].auths
    for n in range(1000):
        auths.put(str(n), "")
    clock.advance(AUTH_SECONDS)
    sizes = [len(auths)]
    for _ in range(600):
        browser.get("/login")
        sizes.append(len(auths))
    assert max(a - b for a, b in pairwise(sizes)) <= 10
    assert sizes[-1] <= 600


def test_expired_people_are_swept_a_little_at_a_time(
    app: Flask, spotify: StandIn, clock: Clock
) -> None:
    """C50: and all of them in the end, as others log in."""
    users = app.extensions["store"].users
    Browser(app, spotify).log_in()
    (somebody,) = users._entries
    user = users.get(somebody)
    for n in range(100):
        users.put(str(n), user)
    clock.advance(31 * 86_400)
    before = len(users)
    for _ in range(60):
        Browser(app, spotify).log_in()
        assert before - len(users) <= 10
        before = len(users)
    assert len(users) <= 60
