"""Thousands of random requests."""

from __future__ import annotations

from random import Random

import pytest
from flask import Flask
from werkzeug.test import create_environ, run_wsgi_app

from stand_in import StandIn
from tests.conftest import ORIGIN, Browser, people

PATHS = "/ /login /callback /logout /now-playing /healthz /readyz /static/ * /x"
BITS = "/ // .. % %00 \\ \0 %0d%0a ? & = [] ' < {{7*7}} \xff \xed\xa0\x80 state"
METHODS = "GET " * 12 + "HEAD OPTIONS POST PUT DELETE TRACE FOO"
HOSTS = "127.0.0.1:5000 " * 8 + "localhost:5000 [::1]:5000 x.example ["
HEADERS = """
    ACCEPT CACHE_CONTROL ORIGIN REFERER RANGE IF_RANGE IF_NONE_MATCH IF_MODIFIED_SINCE
    AUTHORIZATION SEC_FETCH_SITE SEC_FETCH_DEST SEC_PURPOSE TRANSFER_ENCODING
"""
VALUES = f"""
    text/html */*;q=x bytes=9-1 bytes=0-0,-1 W/ "x" same-origin document cross-site
    prefetch chunked Basic http://[ None {ORIGIN}
"""


@pytest.mark.slow
def test_random_requests_break_nothing(
    app: Flask, browser: Browser, spotify: StandIn
) -> None:
    """No 5xx, no session, no call to Spotify, and the witness stays logged in."""
    browser.log_in()
    user_id, cookie = browser.user_id, browser.cookie
    spotify.forget()
    random, words = Random(4), (PATHS, BITS, METHODS, HOSTS, HEADERS, VALUES)
    paths, bits, methods, hosts, headers, values = map(str.split, words)

    def text(start: str) -> str:
        return start + "".join(random.choices(bits, k=random.choice((0, 0, 1, 2, 5))))

    statuses = set()
    for number in range(5_000):
        at = random.randrange(1, len(cookie) - 2)
        environ = create_environ("/", ORIGIN) | {
            "REQUEST_METHOD": random.choice(methods),
            "PATH_INFO": text(random.choice(paths)),
            "QUERY_STRING": text(random.choice(("", "state=x&code=", "error=&state="))),
            "HTTP_HOST": random.choice(hosts),
            "HTTP_COOKIE": f"now_playing={cookie[:at]}{text('.')}{cookie[at:]}",
            "CONTENT_LENGTH": random.choice(("", "0", "1", "-1", "x", "9" * 30)),
        }
        for name in random.choices(headers, k=random.randrange(4)):
            environ[f"HTTP_{name}"] = random.choice(values)
        _, status, _ = run_wsgi_app(app, environ, buffered=True)
        statuses.add(code := int(status[:3]))
        assert code < 500, f"request {number}: {environ}"
    assert {200, 303, 307, 400, 401, 403, 404, 405, 413} <= statuses
    assert spotify.calls == []
    assert (people(app), browser.user_id) == (1, user_id)
