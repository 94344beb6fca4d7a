"""What every answer carries, and which hosts, methods and sizes get one."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from stand_in import StandIn
from tests.conftest import ORIGIN, SECRET, Browser, MakeApp

HEADERS = {
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
ROUTES = ["/", "/login", "/callback", "/logout", "/now-playing", "/healthz", "/readyz"]
HOST = "127.0.0.1:5000"


def ask(
    app: Flask, method: str, path: str, host: str = HOST, query: str = "", **more: str
) -> TestResponse:
    """Send just this: no cookies, and nothing tidied up on the way."""
    environ = {"HTTP_HOST": host, "PATH_INFO": path, "QUERY_STRING": query, **more}
    client = app.test_client(use_cookies=False)
    return client.open("/", method=method, environ_overrides=environ, buffered=True)


def broken() -> str:
    raise RuntimeError(SECRET)


def answers(app: Flask, host: str = HOST) -> Iterator[tuple[int, TestResponse]]:
    """Yield an answer of each kind, and the status that it should have."""
    app.view_functions["healthz"] = broken
    yield 200, ask(app, "GET", "/", host)
    yield 200, ask(app, "OPTIONS", "/", host)
    yield 307, ask(app, "GET", "/login", host)
    yield 307, ask(app, "GET", "/", "localhost:5000")
    yield 307, ask(app, "GET", "/logout", host)
    yield 303, ask(app, "POST", "/logout", host)
    yield 400, ask(app, "GET", "/callback", host)
    yield 400, ask(app, "GET", "/", "evil.example")
    yield 401, ask(app, "GET", "/now-playing", host)
    yield 403, ask(app, "POST", "/logout", host, HTTP_SEC_FETCH_SITE="cross-site")
    yield 404, ask(app, "GET", "/missing", host)
    yield 404, ask(app, "GET", "/static/missing.css", host)
    yield 404, ask(app, "GET", "/static/../app.py", host)
    yield 405, ask(app, "POST", "/", host)
    yield 405, ask(app, "HEAD", "/login", host)
    yield 413, ask(app, "POST", "/logout", host, CONTENT_LENGTH="16385")
    yield 500, ask(app, "GET", "/healthz", host)


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_every_answer_is_protected_and_not_stored(
    scheme: str, make_app: MakeApp
) -> None:
    """C36, C38, C39, C40: each header once, on errors too; HSTS over https alone."""
    host = HOST if scheme == "http" else "example.com"
    app = make_app(redirect_uri=f"{scheme}://{host}/callback")
    hsts = ["max-age=31536000"] if scheme == "https" else []
    for status, answer in answers(app, host):
        assert answer.status_code == status
        for name, value in HEADERS.items():
            assert answer.headers.getlist(name) == [value]
        assert len(answer.headers.getlist("Content-Security-Policy")) == 1
        assert answer.headers.getlist("Cache-Control") == ["no-store"]
        assert answer.headers.getlist("Strict-Transport-Security") == hsts
        assert "X-Powered-By" not in answer.headers


def test_player_is_protected_and_not_stored_either(browser: Browser) -> None:
    """C36, C40: neither the page of a person nor the facts about them."""
    answers = [browser.log_in(), browser.get("/"), browser.get("/now-playing")]
    answers.append(browser.get("/now-playing", Accept="text/html"))
    for answer in answers:
        assert answer.headers.getlist("Cache-Control") == ["no-store"]
        assert HEADERS.items() <= dict(answer.headers).items()
        assert "Cookie" in answer.headers["Vary"]


def test_policy_lets_nothing_in_but_its_own(app: Flask, spotify: StandIn) -> None:
    """C37: own style, script and connections; pictures also from where covers are."""
    policy = ask(app, "GET", "/").headers["Content-Security-Policy"]
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    pictures = f"'self' https://*.scdn.co https://*.spotifycdn.com {spotify.url}"
    assert rules == {
        "default-src": "'none'",
        "style-src": "'self'",
        "script-src": "'self'",
        "connect-src": "'self'",
        "manifest-src": "'self'",
        "img-src": pictures,
        "base-uri": "'none'",
        "frame-ancestors": "'none'",
        "form-action": "'self'",
    }


def test_policy_names_no_stand_in_at_the_real_spotify(make_app: MakeApp) -> None:
    """C37: pictures come from the page itself and Spotify's two hosts."""
    app = make_app(api_url="https://api.spotify.com/v1")
    policy = ask(app, "GET", "/").headers["Content-Security-Policy"]
    assert "img-src 'self' https://*.scdn.co https://*.spotifycdn.com;" in policy
    assert "http:" not in policy


def test_pages_need_no_exception_from_the_policy(browser: Browser) -> None:
    """C37: no inline script, style or handler in any page."""
    browser.log_in()
    for path in ("/", "/callback", "/missing"):
        page = browser.get(path).get_data(as_text=True)
        assert not re.search(
            r"<style|\sstyle=|\son\w+=|<script(?! src=\"/static/)", page
        )


@pytest.mark.parametrize("path", [*ROUTES, "/static/style.css", "/missing"])
@pytest.mark.parametrize("method", ["GET", "OPTIONS"])
def test_no_other_origin_may_read_anything(method: str, path: str, app: Flask) -> None:
    """C39: no CORS header, whoever asks."""
    for origin in ("https://evil.example", "null", ORIGIN):
        answer = ask(
            app,
            method,
            path,
            HTTP_ORIGIN=origin,
            HTTP_ACCESS_CONTROL_REQUEST_METHOD="POST",
            HTTP_ACCESS_CONTROL_REQUEST_PRIVATE_NETWORK="true",
        )
        names = {name.lower() for name in dict(answer.headers)}
        assert not any(name.startswith("access-control-") for name in names)


@pytest.mark.parametrize("name", ["style.css", "player.js", "favicon.svg"])
def test_static_files_are_kept_under_addresses_of_their_own(
    name: str, browser: Browser
) -> None:
    """C40: protected like the rest; the page's address of it changes with the file."""
    browser.log_in()
    page = browser.get("/").get_data(as_text=True)
    urls = set(re.findall(rf'/static/{name}\?v=[0-9a-f]{{12}}(?=")', page))
    assert len(urls) == 1
    answer = browser.get(urls.pop())
    answer.close()
    assert answer.status_code == 200
    for header, value in HEADERS.items():
        assert answer.headers.getlist(header) == [value]
    assert answer.headers.getlist("Cache-Control") != ["no-store"]
    assert "Set-Cookie" not in answer.headers
    assert (answer.cache_control.max_age or 0) >= 30 * 86_400


@pytest.mark.parametrize("path", [*ROUTES, "/static/style.css", "/missing"])
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE"])
@pytest.mark.parametrize(
    "sent",
    [
        {"CONTENT_LENGTH": "16385"},
        {"CONTENT_LENGTH": "99999999999999999999"},
        {"HTTP_TRANSFER_ENCODING": "chunked"},
        {"HTTP_TRANSFER_ENCODING": "Chunked"},
        {"HTTP_TRANSFER_ENCODING": "gzip, chunked"},
    ],
    ids=str,
)
def test_large_requests_are_refused(
    sent: dict[str, str], method: str, path: str, idle_app: Flask
) -> None:
    """C51: over 16 KB, or of unknown length, on any route."""
    answer = ask(idle_app, method, path, **sent)
    assert answer.status_code == 413
    assert "too large" in answer.get_data(as_text=True)


@pytest.fixture(scope="module")
def idle_app() -> Flask:
    """An app that is never asked for anything that it would pass on."""
    from app import create_app
    from config import Config

    return create_app(Config(client_id="x"))


def test_small_bodies_are_fine(app: Flask) -> None:
    """C51: 16 KB and no more; a length that is none counts as no body."""
    for length in ("0", "16384", "-1", "many", ""):
        assert ask(app, "POST", "/logout", CONTENT_LENGTH=length).status_code == 303


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/"),
        ("POST", "/login"),
        ("POST", "/callback"),
        ("PUT", "/logout"),
        ("DELETE", "/now-playing"),
        ("POST", "/static/style.css"),
        ("PROPFIND", "/"),
        ("TRACE", "/"),
        ("HEAD", "/login"),
        ("HEAD", "/callback"),
        ("HEAD", "/logout"),
    ],
)
def test_wrong_method_hears_the_right_ones(
    method: str, path: str, idle_app: Flask
) -> None:
    """C40: 405 says what is allowed (RFC 9110 §15.5.6), and not what was not."""
    answer = ask(idle_app, method, path)
    assert answer.status_code == 405
    allowed = set(re.split(", *", answer.headers.get("Allow", "")))
    assert allowed & {"GET", "POST"}
    assert method not in allowed


def test_last_resort_is_a_page_without_a_word_of_the_error(
    app: Flask, caplog: pytest.LogCaptureFixture
) -> None:
    """C43, C46: the log has the place, nobody has the text: it may hold a secret."""
    caplog.set_level(logging.DEBUG, "now_playing")
    for endpoint in ("main", "login", "callback", "now_playing", "healthz"):
        app.view_functions[endpoint] = broken
    for path in ("/", "/login", "/callback", "/now-playing", "/healthz"):
        answer = ask(app, "GET", path)
        page = answer.get_data(as_text=True)
        assert answer.status_code == 500
        assert "Something went wrong in the app." in page
        assert not re.search(r"Traceback|RuntimeError|\.py|line \d", page)
        assert SECRET not in page
        assert "RuntimeError" in caplog.text
        assert "in broken" in caplog.text
        assert SECRET not in caplog.text
        caplog.clear()


@pytest.mark.parametrize("returned", [None, 7, (), ("x", {"X-Bad": "a\nb"})], ids=repr)
def test_error_after_the_view_is_an_error_of_ours(
    returned: object, app: Flask, caplog: pytest.LogCaptureFixture
) -> None:
    """C43: 500 and not 400, since the request made sense; and no exception's text."""
    app.view_functions["main"] = lambda: returned  # type: ignore[assignment]
    answer = ask(app, "GET", "/")
    assert answer.status_code == 500
    assert "Something went wrong in the app." in answer.get_data(as_text=True)
    assert "Traceback" not in caplog.text


# ---- Hosts


@pytest.mark.parametrize(
    "host",
    [
        "",
        "a b",
        "evil.example",
        "evil.example:5000",
        "127.0.0.1.evil.example",
        "127.0.0.1.evil.example:5000",
        "localhost.evil.example:5000",
        "127.0.0.1:5000.evil.example",
        "127.0.0.1:5000@evil.example",
        "evil.example@127.0.0.1:5000",
        "evil.example#@127.0.0.1:5000",
        "evil.example/127.0.0.1:5000",
        "127.0.0.1:5000/evil",
        "127.0.0.1:5000?evil",
        "127.0.0.1:5000,evil.example",
        "127.0.0.1:5000 evil.example",
        "127.0.0.1:evil",
        "127.0.0.1:5001",
        "127.0.0.1",
        "localhost",
        "localhost:80",
        "localhost:5000:5000",
        "0.0.0.0:5000",
        "0x7f000001:5000",
        "2130706433:5000",
        "127.1:5000",
        "[::]:5000",
        "[::1",
        "[evil]:5000",
        "::1",
        "xn--evil:5000",
        "\u2460\u2461.0.0.1:5000",
        "evil\r\nX-Evil: 1",
        "evil\0",
        "e" * 8192,
    ],
    ids=lambda host: ascii(host)[:40],
)
@pytest.mark.parametrize("path", ["/", "/login", "/callback", "/logout", "//login"])
def test_foreign_hosts_are_refused_and_never_named(
    path: str, host: str, idle_app: Flask
) -> None:
    """C21: 400, nothing of the host in it, no cookie, no way anywhere."""
    sent = host.encode().decode("latin-1")
    for method in ("GET", "HEAD", "POST", "OPTIONS"):
        answer = ask(idle_app, method, path, sent, query="state=evil&next=evil")
        assert answer.status_code == 400
        assert not {"Location", "Set-Cookie"} & set(answer.headers.keys())
        seen = f"{answer.headers}{answer.get_data(as_text=True)}"
        assert "evil" not in seen
        assert len(seen) < 4000


@pytest.mark.parametrize(
    "host", ["localhost:5000", "LOCALHOST:5000", "[::1]:5000", "127.0.0.2:5000"]
)
@pytest.mark.parametrize(
    ("path", "query", "where"),
    [
        ("/", "", "/"),
        ("/login", "", "/login"),
        ("/callback", "code=a%2Bb+c&state=x%20y", "/callback?code=a%2Bb+c&state=x%20y"),
        ("//evil.example", "", "/evil.example"),
        ("///evil.example/..", "", "/evil.example/.."),
        ("/\\evil.example", "", "/%5Cevil.example"),
        ("/@evil.example", "", "/%40evil.example"),
        ("/x\r\nX-Evil: 1", "", "/x%0D%0AX-Evil%3A%201"),
        ("/", "x=%0d%0aX-Evil:1", "/?x=%0d%0aX-Evil%3A1"),
        ("/", "x=\r\nX-Evil:1", "/?x=%0D%0AX-Evil%3A1"),
        ("/", '"><script>', "/?%22%3E%3Cscript%3E"),
        ("/\xc3\xbc\xe2\x9c\x93", "\xc3\xbc", "/%C3%BC%E2%9C%93?%C3%BC"),
        ("/%2e%2e/%2F", "", "/%252e%252e/%252F"),
        ("/.evil.example", "", "/.evil.example"),
    ],
)
def test_localhost_moves_to_the_canonical_origin_and_nowhere_else(
    path: str, query: str, where: str, host: str, idle_app: Flask
) -> None:
    """C15, C20: no trick with the path or the query leads the hop astray."""
    answer = ask(idle_app, "GET", path, host, query)
    assert answer.status_code == 307
    assert answer.headers["Location"] == f"{ORIGIN}{where}"
    assert not {"X-Evil", "Set-Cookie"} & set(answer.headers.keys())
    assert "<script" not in answer.get_data(as_text=True)


@pytest.mark.parametrize("method", ["POST", "PUT", "OPTIONS"])
def test_only_reading_moves_to_the_canonical_origin(
    method: str, idle_app: Flask
) -> None:
    """C15: a form is not sent on to another origin."""
    assert ask(idle_app, method, "/logout", "localhost:5000").status_code == 400


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("//login", 307),
        ("//", 200),
        ("//evil.example", 404),
        ("/evil/..//", 404),
        ("/login/", 404),
        ("/login//evil.example", 404),
        ("//callback", 400),
        ("/callback/..;/", 404),
        ("/static//style.css", 404),
        ("/static//evil.example/%2e%2e", 404),
        ("/static/..\\..\\app.py", 404),
        ("/static/style.css\0", 404),
        ("/static/" + "e" * 8192, 404),
    ],
    ids=lambda value: ascii(value)[:40],
)
def test_odd_paths_show_nothing_of_themselves(
    path: str, status: int, idle_app: Flask
) -> None:
    """C18, C20: slashes too many and dots lead nowhere, and nothing is echoed."""
    answer = ask(idle_app, "GET", path, query="x=evil&code=evil&state=evil")
    assert answer.status_code == status
    assert "evil" not in f"{answer.headers}{answer.get_data(as_text=True)}"


@pytest.mark.parametrize("path", ROUTES)
@pytest.mark.parametrize(
    "query", ["\xff", "state=\xed\xa0\x80", "code=\xc3\xbc&a=\x80"]
)
def test_query_that_is_not_utf_8_is_no_error_of_ours(
    query: str, path: str, idle_app: Flask
) -> None:
    """C17, C23: raw bytes that some servers let through."""
    for host in (HOST, "localhost:5000"):
        assert ask(idle_app, "GET", path, host, query).status_code < 500


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
@pytest.mark.parametrize("host", [HOST, "10.0.0.7:5000", "app.internal", "", "a b"])
def test_probes_answer_any_host_and_tell_nothing(
    host: str, path: str, idle_app: Flask
) -> None:
    """C58: two words, no cookie, no name of anything."""
    answer = ask(idle_app, "GET", path, host)
    assert answer.status_code == 200
    assert answer.get_data(as_text=True) in ("alive", "ready")
    assert "Set-Cookie" not in answer.headers


@pytest.mark.parametrize(
    "name",
    ["HOST", "PROTO", "PORT", "PREFIX", "FOR", "SERVER", "SSL", "SCHEME"],
)
def test_forwarded_headers_have_no_effect(name: str, app: Flask) -> None:
    """C22: not on addresses, not on cookies, not on which host this is."""
    more = {f"HTTP_X_FORWARDED_{name}": "localhost:5000"}
    plain = ask(app, "GET", "/login")
    answer = ask(app, "GET", "/login", **more)
    pattern = r"(state|code_challenge)=[\w-]+|now_playing=[^;]+|\d+"
    assert re.sub(pattern, "", str(answer.headers)) == re.sub(
        pattern, "", str(plain.headers)
    )
    assert ask(app, "GET", "/", "evil.example", **more).status_code == 400


@pytest.mark.parametrize(
    ("path", "name"),
    [("/callback", "invalid_state"), ("/missing", "not_found"), ("/", "bad_request")],
)
def test_problem_page_names_its_problem(path: str, name: str, idle_app: Flask) -> None:
    host = "evil.example" if name == "bad_request" else HOST
    page = ask(idle_app, "GET", path, host).get_data(as_text=True)
    assert f'data-state="{name}"' in page
