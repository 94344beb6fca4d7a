"""The real app with the stand-in for Spotify behind it, and people who use it."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from flask import Flask
from jinja2 import FileSystemBytecodeCache
from werkzeug.test import TestResponse

from app import create_app
from config import Config
from player import User
from stand_in import StandIn
from store import open_store
from tests.redis_server import RedisServer

ORIGIN = "http://127.0.0.1:5000"
CLIENT_ID = "0123456789abcdef0123456789abcdef"
SECRET = "the-client-secret-of-the-tests"

# Templates as compiled for the first app, or that would take half of a test's time.
COMPILED = TemporaryDirectory()
Flask.jinja_options = {"bytecode_cache": FileSystemBytecodeCache(COMPILED.name)}


class Clock:
    """Both clocks of the time module, as told."""

    def __init__(self) -> None:
        self.passed = 0.0
        self.set_ahead = 0.0  # seconds by which somebody has set the clock

    def time(self) -> float:
        return 1_800_000_000.0 + self.passed + self.set_ahead

    def monotonic(self) -> float:
        return 5_000.0 + self.passed

    def advance(self, seconds: float) -> None:
        self.passed += seconds


class Browser:
    """Somebody's browser: one cookie jar, at one app."""

    def __init__(self, app: Flask, spotify: StandIn) -> None:
        self.app = app
        self._client = app.test_client()
        self.spotify = spotify

    def twin(self) -> Browser:
        """Return another browser at the same app; it has no cookies yet."""
        return Browser(self.app, self.spotify)

    def tab(self, app: Flask | None = None) -> Browser:
        """Return another browser with the same session cookie, maybe at another app."""
        tab = Browser(app or self.app, self.spotify)
        tab.cookie = self.cookie
        return tab

    def get(self, path: str, **headers: str) -> TestResponse:
        return self.open("GET", path, **headers)

    def post(self, path: str, **headers: str) -> TestResponse:
        return self.open("POST", path, **headers)

    def open(self, method: str, path: str, **headers: str) -> TestResponse:
        """Send a request. Headers: Sec_Fetch_Site="cross-site" and so on."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        origin = self.app.config.get("ORIGIN", ORIGIN)
        return self._client.open(path, base_url=origin, method=method, headers=named)

    def begin_login(self) -> dict[str, str]:
        """Go to /login and return the query of Spotify's authorise page."""
        return query_of(self.get("/login"))

    def code_for(self, query: dict[str, str], person: str = "robin") -> str:
        """Agree on Spotify's page, and return the path that it sends the browser to."""
        code = self.spotify.grant(person=person, **query)
        return f"/callback?code={code}&state={query['state']}"

    def log_in(self, person: str = "robin") -> TestResponse:
        """Log in from the start, and return the callback's answer."""
        return self.get(self.code_for(self.begin_login(), person))

    def json(self, look: bool = False) -> dict[str, Any]:
        """Return what /now-playing answers; look: as somebody who looks."""
        headers = {"Cache_Control": "no-cache"} if look else {}
        answer: dict[str, Any] = self.get("/now-playing", **headers).get_json()
        return answer

    @property
    def cookie(self) -> str:
        """The session cookie's value, empty when there is none."""
        cookie = self._client.get_cookie("now_playing", domain="127.0.0.1")
        return cookie.value if cookie else ""

    @cookie.setter
    def cookie(self, value: str) -> None:
        self._client.set_cookie("now_playing", value, domain="127.0.0.1")

    @property
    def user_id(self) -> str | None:
        """The user ID that the main page shows."""
        shown = self.get("/").text.partition("User ID: ")[2].split("<")[0].strip()
        return None if shown == "None" else shown


def query_of(redirect: TestResponse) -> dict[str, str]:
    """Return the query of the address that a redirect leads to."""
    return dict(parse_qsl(urlsplit(redirect.headers["Location"]).query))


def shown(page: TestResponse) -> str:
    """Return the player's state or the problem's name; empty if there is neither."""
    found = re.search(r'<section[^>]* data-state="(\w+)"', page.text)
    return found[1] if found else ""


def about(ms: int, by: int = 0) -> range:
    """Return the milliseconds up to a tenth later, or up to `by` ms if that is more."""
    return range(ms, ms + max(ms // 10, by) + 1)


def people(app: Flask) -> int:
    return len(app.extensions["store"].users._entries)


def pending(app: Flask) -> int:
    return len(app.extensions["store"].auths._entries)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["pkce", "secret"])
def flow(request: pytest.FixtureRequest) -> str:
    """Ask for this one to run a test in both flows."""
    return str(request.param)


@pytest.fixture
def spotify(clock: Clock) -> Iterator[StandIn]:
    stand_in = StandIn(client_id=CLIENT_ID, client_secret=SECRET, clock=clock.time)
    with stand_in:
        yield stand_in


MakeApp = Callable[..., Flask]


@pytest.fixture
def make_app(spotify: StandIn, clock: Clock, request: pytest.FixtureRequest) -> MakeApp:
    """Give a function that makes an app. like: one whose logins and key it shares."""

    def make(like: Flask | None = None, **settings: Any) -> Flask:
        settings.setdefault("accounts_url", spotify.accounts_url)
        settings.setdefault("api_url", spotify.api_url)
        flow = request.getfixturevalue("flow") if "flow" in request.fixturenames else ""
        if flow == "secret":
            settings["client_secret"] = SECRET
        if like:
            settings["secret_key"] = like.secret_key
        config = Config(CLIENT_ID, **settings)
        store = like.extensions["store"] if like else open_store(config, User, clock)
        app = create_app(config, store, clock)
        app.extensions["store"] = store  # so that tests can look into it
        return app

    return make


@pytest.fixture
def app(make_app: MakeApp) -> Flask:
    return make_app()


@pytest.fixture
def browser(app: Flask, spotify: StandIn) -> Browser:
    return Browser(app, spotify)


@pytest.fixture
def other(app: Flask, spotify: StandIn) -> Browser:
    """Somebody else's browser."""
    return Browser(app, spotify)


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    needs("redis-server", shutil.which("redis-server") is not None)
    with RedisServer() as server:
        yield server


@pytest.fixture
def redis(redis_server: RedisServer) -> RedisServer:
    redis_server.client.flushall()
    return redis_server


def needs(what: str, there: bool) -> None:
    """Skip the test, or fail it where everything has to be there (REQUIRE_ALL)."""
    if not there:
        give_up = pytest.fail if os.environ.get("REQUIRE_ALL") else pytest.skip
        give_up(f"install {what} to run this")
