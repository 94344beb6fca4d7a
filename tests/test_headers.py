"""What every answer carries, and which hosts, methods and sizes get one."""

import logging
import re
from collections.abc import Callable
from random import Random
from typing import Any
from urllib.parse import unquote

import pytest
from flask import Flask, abort
from werkzeug.test import TestResponse

from stand_in import StandIn
from tests.conftest import ORIGIN, SECRET, Browser, MakeApp, people

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


def is_protected(answer: TestResponse, cached: str = "no-store") -> None:
    """Check the headers that every answer has, each of them once."""
    for name, value in {
        "Referrer-Policy": "same-origin",
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Cache-Control": cached,
    }.items():
        assert answer.headers.getlist(name) == [value]
    assert len(answer.headers.getlist("Content-Security-Policy")) == 1
    assert "Access-Control-" not in str(answer.headers)


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_every_answer_is_safe_and_not_stored(scheme: str, make_app: MakeApp) -> None:
    """On errors too; HSTS over https alone; CORS never."""
    own = HOST if scheme == "http" else "example.com"
    app = make_app(redirect_uri=f"{scheme}://{own}/callback")
    app.view_functions["healthz"] = broken
    hsts = ["max-age=31536000"] if scheme == "https" else []
    for method, path, status in (
        ("GET", "/", 200),
        ("GET", "/login", 307),
        ("GET", "/callback", 400),
        ("GET", "/now-playing", 401),
        ("GET", f"{app.static_url_path}/../app.py", 404),
        ("GET", "/healthz", 500),
    ):
        answer = ask(app, method, path, own)
        assert answer.status_code == status
        is_protected(answer)
        assert answer.headers.getlist("Strict-Transport-Security") == hsts
    is_protected(ask(app, "GET", "/", "evil.example"))
    is_protected(ask(app, "POST", "/logout", own, HTTP_SEC_FETCH_SITE="cross-site"))


def test_policy_lets_nothing_in_but_its_own(
    app: Flask, make_app: MakeApp, spotify: StandIn
) -> None:
    """Pictures also from where covers are: Spotify's two hosts, or a stand-in."""
    covers = "'self' https://*.scdn.co https://*.spotifycdn.com"
    own = {f"{name}-src 'self'" for name in ("style", "script", "connect", "manifest")}
    none = {"default-src 'none'", "base-uri 'none'", "frame-ancestors 'none'"}
    real = make_app(api_url="https://api.spotify.com/v1")
    for at, pictures in ((app, f"{covers} {spotify.url}"), (real, covers)):
        policy = ask(at, "GET", "/").headers["Content-Security-Policy"].split("; ")
        assert {*policy} == own | none | {"form-action 'self'", f"img-src {pictures}"}


def named_files(text: str, folder: str) -> set[str]:
    """Return the static files that a page, a script or a sheet names."""
    relative = r'(?:from|import|url)[ (]*"?(?:\./)?([\w-]+\.\w+)'
    names = {f"{folder}/{name}" for name in re.findall(relative, text)}
    return names | set(re.findall(rf'{folder}/[^"#]+', text))


def test_page_of_a_person_is_safe_and_its_files_are_light_and_kept(
    browser: Browser,
) -> None:
    """Nothing is inline; files come for any host, at an address with a version."""
    folder = browser.app.static_url_path or ""
    assert re.fullmatch("/static/[0-9a-f]{12}", folder)
    preview = f'"og:image" content="{ORIGIN}{folder}/preview.png"'
    assert preview in browser.get("/").text
    browser.log_in()
    page = browser.get("/")
    is_protected(page)
    is_protected(browser.get("/now-playing"))
    inline = rf"<style|\sstyle=|\son\w+=|<script(?! src=\"{folder}/)"
    assert not re.search(f"{inline}|og:", page.text)
    weight, urls = len(page.data), [*named_files(page.text, folder)]
    assert len(urls) > 4
    for url in urls:  # and those that they name
        answer = ask(browser.app, "GET", url, "evil.example")
        assert answer.status_code == 200
        is_protected(answer, cached="public, max-age=31536000")  # a year
        assert "Set-Cookie" not in answer.headers
        weight += len(answer.data)
        if url.endswith((".js", ".css")):
            urls += named_files(answer.text, folder) - {*urls}
    assert weight < 60_000


def test_large_requests_are_refused_on_any_route(app: Flask) -> None:
    """Over 16 KB, or of unknown length; a length that is none counts as no body."""
    for path in ("/logout", "/readyz", "/missing"):
        for sent in ("CONTENT_LENGTH", "HTTP_TRANSFER_ENCODING"):
            answer = ask(app, "POST", path, **{sent: "16385"})
            assert (answer.status_code, "too large" in answer.text) == (413, True)
    for length in ("16384", "-1", "many"):
        assert ask(app, "POST", "/logout", CONTENT_LENGTH=length).status_code == 303


def test_error_is_a_page_without_a_word_of_it(
    app: Flask, caplog: pytest.LogCaptureFixture
) -> None:
    """500 where the request made sense; the log has the place, but no text either."""
    caplog.set_level(logging.DEBUG, "now_playing")
    views: list[tuple[Callable[[], Any], int, str]] = [
        (broken, 500, "Something went wrong in the app."),
        (lambda: ("x", {"X": f"{SECRET}\n"}), 500, "Something went wrong in the app."),
        (lambda: abort(414, SECRET), 414, 'data-state="bad_request"'),
    ]
    for view, status, words in views:
        app.view_functions["main"] = view
        answer = ask(app, "GET", "/")
        assert answer.status_code == status
        assert words in answer.text
        assert not re.search(rf"Traceback|RuntimeError|\.py|{SECRET}", answer.text)
    assert re.search("RuntimeError at\n.*in broken", caplog.text, re.DOTALL)
    assert not re.search(f"Traceback|{SECRET}", caplog.text)


# ---- Hosts

HOSTS = """
    evil.example:5000 127.0.0.1:5000@evil.example evil.example#@127.0.0.1:5000 [::1
    127.0.0.1:5000/evil 127.0.0.1:5001 127.0.0.1 [::]:5000 127.0.0.1:5000:80
    127.1:5000 \u2460\u2461.0.0.1:5000
"""


def test_foreign_hosts_are_refused_and_never_named_but_in_the_log(
    app: Flask, caplog: pytest.LogCaptureFixture
) -> None:
    """No cookie, no way anywhere; the log says both addresses, in one line."""
    for host in ["", "evil\r\nX-Evil: 1", "e" * 8192, *HOSTS.split()]:
        sent = host.encode().decode("latin-1")
        for method, path in (("GET", "/"), ("HEAD", "/login")):
            caplog.clear()
            answer = ask(app, method, path, sent, query="state=evil&next=evil")
            assert answer.status_code == 400
            assert not {"Location", "Set-Cookie"} & set(answer.headers.keys())
            assert "evil" not in f"{answer.headers}{answer.text}"
            [line] = [it for it in caplog.messages if it.startswith("unknown host")]
            assert line.isprintable()
            assert sent.lower() in unquote(line)
            assert ORIGIN in line


def test_localhost_moves_to_the_own_origin_and_nowhere_else(make_app: MakeApp) -> None:
    """No trick with the path or the query leads the hop astray; forms do not hop."""
    app = make_app(port=8000)  # behind a forwarded port, as in a container
    for path, query, where in (
        ("/callback", "code=a%2Bb+c&state=x%20y", "/callback?code=a%2Bb+c&state=x%20y"),
        ("///evil.example/..", "", "/evil.example/.."),
        ("/x\r\nX-Evil: 1", "\r\nX:1%0d", "/x%0D%0AX-Evil:%201?%0D%0AX:1%0d"),
        ("/\xc3\xbc/%2F", "<script>", "/%C3%BC/%2F?%3Cscript%3E"),
    ):
        for host in ("localhost:5000", "LOCALHOST:8000", "[::1]:5000"):
            answer = ask(app, "GET", path, host, query)
            assert answer.status_code == 307
            assert answer.headers["Location"] == f"{ORIGIN}{where}"
            assert not {"X-Evil", "Set-Cookie"} & set(answer.headers.keys())
            assert "<script" not in answer.text
            assert ask(app, "POST", path, host, query).status_code == 400


def test_no_name_moves_to_an_app_that_is_elsewhere(make_app: MakeApp) -> None:
    """Or a proxy that rewrites Host would send people in circles."""
    app = make_app(redirect_uri="https://example.com/callback")
    for host in ("localhost:5000", HOST, "127.0.0.1"):
        answer = ask(app, "GET", "/", host)
        assert (answer.status_code, "Location" in answer.headers) == (400, False)
        assert "https://example.com" in answer.text
    for host in ("EXAMPLE.com", "example.com:443"):
        assert ask(app, "GET", "/", host).status_code == 200


def test_odd_paths_and_queries_show_nothing_of_themselves(app: Flask) -> None:
    """Slashes too many, dots and raw bytes lead nowhere, and nothing is echoed."""
    static = app.static_url_path or ""
    odd = ("//evil.example", f"{static}/..\\..\\app.py", f"{static}/style.css\0")
    for path in ("//callback", *odd):
        answer = ask(app, "GET", path, query="x=evil&code=evil&state=evil")
        assert answer.status_code == (404 if path in odd else 400)
        assert "evil" not in f"{answer.headers}{answer.text}"
    for query in ("\xff", "code=\xc3\xbc&a=\x80"):
        assert ask(app, "GET", "/login", query=query).status_code == 400


def test_probes_answer_any_host_and_tell_nothing(app: Flask) -> None:
    for path, word in (("/healthz", "alive"), ("/readyz", "ready")):
        for host in ("10.0.0.7:5000", ""):
            answer = ask(app, "GET", path, host)
            assert (answer.status_code, answer.text) == (200, word)
            assert "Set-Cookie" not in answer.headers


# ---- Thousands of random requests

PATHS = "/ /login /callback /logout /now-playing /healthz /readyz /static/ * /x"
BITS = "/ .. % %00 \\ \0 %0d%0a ? & = [] ' < {{7*7}} \xff \xed\xa0\x80 state bytes=9-1"
NAMES = """CONTENT_LENGTH HTTP_ACCEPT HTTP_CACHE_CONTROL HTTP_ORIGIN HTTP_RANGE
    HTTP_IF_RANGE HTTP_IF_NONE_MATCH HTTP_COOKIE HTTP_HOST HTTP_SEC_FETCH_SITE"""


@pytest.mark.slow
def test_random_requests_break_nothing(app: Flask, spotify: StandIn) -> None:
    """No 5xx, no session, no call to Spotify."""
    random, bits, names = Random(4), BITS.split(), NAMES.split()

    def text(start: str) -> str:
        return start + "".join(random.choices(bits, k=random.randrange(4)))

    for _ in range(3_000):
        method = random.choice(("GET", "GET", "POST"))
        path = random.choice(PATHS.split())
        some = random.choices(names, k=random.randrange(3))
        sent = {"query": text("state=x&code="), **{name: text("") for name in some}}
        answer = ask(app, method, text(path), **sent)
        assert answer.status_code < 500, (method, path, sent)
    assert (spotify.calls, people(app)) == ([], 0)
