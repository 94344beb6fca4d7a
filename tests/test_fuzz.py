"""Ten thousand random requests."""

from __future__ import annotations

from random import Random

import pytest
from flask import Flask
from werkzeug.test import create_environ, run_wsgi_app

from stand_in import StandIn
from tests.conftest import ORIGIN, Browser, people

PATHS = "/ /login /callback /logout /now-playing /healthz /readyz /static/ * /x"
BITS = "/ // .. % %00 %2e \\ \0 %0d%0a ? # ; : @ & = [] + ' < {{7*7}} \xff \xed\xa0\x80"
BITS += ' " state code error access_denied next user -1 1e9'
METHODS = "GET " * 12 + "HEAD OPTIONS POST PUT DELETE TRACE FOO "
HOSTS = "127.0.0.1:5000 " * 8 + "localhost:5000 [::1]:5000 x.example [ "
HEADERS = """
    ACCEPT ACCEPT_LANGUAGE ORIGIN REFERER RANGE IF_RANGE IF_MATCH IF_NONE_MATCH EXPECT
    IF_MODIFIED_SINCE AUTHORIZATION X_FORWARDED_HOST SEC_FETCH_SITE SEC_FETCH_DEST
    SEC_PURPOSE TRANSFER_ENCODING UPGRADE
"""
VALUES = f"""
    text/html */*;q=x bytes=9-1 bytes=0-0,-1 bytes=99999999- W/ "x" same-origin document
    cross-site prefetch chunked Basic http://[ 100-continue websocket None {ORIGIN}
"""


@pytest.mark.slow
def test_ten_thousand_random_requests_break_nothing(
    app: Flask, browser: Browser, spotify: StandIn
) -> None:
    """No 5xx, no session, no call to Spotify, and the witness stays logged in."""
    browser.log_in()
    user_id, cookie = browser.user_id, browser.cookie
    spotify.forget()
    random = Random(4)
    base = create_environ("/", ORIGIN)
    paths, bits = [*PATHS.split(), "/static/style.css", ""], [*BITS.split(" "), " "]
    methods, hosts = METHODS.split(" "), HOSTS.split(" ")
    headers, values = HEADERS.split(), VALUES.split()

    def text(start: str) -> str:
        return start + "".join(random.choices(bits, k=random.choice((0, 0, 1, 2, 5))))

    def a_cookie() -> str:
        at = random.randrange(1, len(cookie) - 2)
        broken = [cookie[:at] + "." + cookie[at:], text("e30."), text(".")]
        return f"{random.choice(('now_playing', 'x'))}={random.choice(broken)}"

    statuses = set()
    for number in range(10_000):
        environ = base | {
            "REQUEST_METHOD": random.choice(methods),
            "PATH_INFO": text(random.choice(paths)),
            "QUERY_STRING": text(random.choice(("", "state=x&code=", "error=&state="))),
            "HTTP_HOST": random.choice(hosts),
            "HTTP_COOKIE": "; ".join(a_cookie() for _ in range(random.randrange(3))),
            "CONTENT_LENGTH": random.choice(("", "0", "1", "-1", "x", "9" * 30)),
        }
        for name in random.choices(headers, k=random.randrange(4)):
            environ[f"HTTP_{name}"] = random.choice((random.choice(values), text("")))
        _, status, _ = run_wsgi_app(app, environ, buffered=True)
        statuses.add(code := int(status[:3]))
        assert code < 500, f"request {number}: {environ}"
    assert {200, 303, 307, 400, 401, 403, 404, 405, 413} <= statuses
    assert spotify.calls == []
    assert (people(app), browser.user_id) == (1, user_id)
