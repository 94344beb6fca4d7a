"""One contract for both stores, then what only Redis has to promise."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path

import pytest
from flask import Flask
from redis_store import VERSION, RedisStore
from user import Account, Answer, Token, User

from config import Config
from spotify.playback import Link, NowPlaying
from stand_in import StandIn
from store import (
    AUTH_SECONDS,
    MOST_AUTHS,
    USER_SECONDS,
    MemoryStore,
    MemoryTable,
    Store,
)
from tests.conftest import Browser, Clock, MakeApp, needs
from tests.redis_server import RedisServer, is_installed, running

SECRET_KEY = "the secret key of the tests"
PLAYING = NowPlaying(
    "playing",
    "track",
    "Title",
    "https://open.spotify.com/track/1",
    (Link("A", None), Link("B", "https://open.spotify.com/artist/2")),
    Link("Album", None),
    "https://i.scdn.co/image/1",
    True,
    1000,
    2000,
)
FULL = User(
    Token("access-canary", "refresh-canary", 1234.5),
    Account("Robin", "robin"),
    Answer(99.5, PLAYING),
)
USERS = [
    FULL,
    User(Token("a", None, 0.0)),
    User(Token("a", "r", 1.0), Account(None, "x"), Answer(1.0, None, "unreachable")),
]

Pass = Callable[[float], None]


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    needs("redis-server", is_installed())
    with running(Path(tmp_path_factory.mktemp("redis"))) as server:
        yield server


@pytest.fixture
def redis(redis_server: RedisServer) -> RedisServer:
    redis_server.client.flushall()
    return redis_server


def redis_store(server: RedisServer, secret_key: str = SECRET_KEY) -> RedisStore:
    return RedisStore(server.url, secret_key, nullcontext)


@pytest.fixture(params=["memory", "redis"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def store(kind: str, clock: Clock, request: pytest.FixtureRequest) -> Iterator[Store]:
    if kind == "memory":
        yield MemoryStore(nullcontext, clock)
        return
    store = redis_store(request.getfixturevalue("redis"))
    yield store
    store.close()


@pytest.fixture
def let_pass(kind: str, clock: Clock, request: pytest.FixtureRequest) -> Pass:
    """Let time pass in the store."""
    if kind == "memory":
        return clock.advance
    server: RedisServer = request.getfixturevalue("redis")
    return server.let_pass


def test_nothing_is_there_at_first(store: Store) -> None:
    assert store.auths.pop("a") is None
    assert store.users.get("a") is None
    assert not store.users.replace("a", FULL)
    assert store.users.get("a") is None
    assert store.paused() == 0
    assert store.ready()


@pytest.mark.parametrize("user", USERS)
def test_a_user_comes_back_as_it_went_in(store: Store, user: User) -> None:
    store.users.put("a", user)
    assert store.users.get("a") == user
    assert store.users.get("b") is None


def test_an_auth_is_taken_once_by_one_of_many(store: Store) -> None:
    store.auths.put("state", "verifier")
    with ThreadPoolExecutor(20) as threads:
        taken = list(threads.map(lambda _: store.auths.pop("state"), range(50)))
    assert sorted(taken, key=str) == [None] * 49 + ["verifier"]


def test_an_empty_verifier_is_not_nothing(store: Store) -> None:
    store.auths.put("state", "")
    assert store.auths.pop("state") == ""


def test_replace_changes_who_is_there_and_revives_nobody(store: Store) -> None:
    store.users.put("a", FULL)
    assert store.users.replace("a", USERS[1])
    assert store.users.get("a") == USERS[1]
    assert store.users.pop("a") == USERS[1]
    assert not store.users.replace("a", FULL)
    assert store.users.get("a") is None


def test_auths_expire_after_ten_minutes(store: Store, let_pass: Pass) -> None:
    store.auths.put("early", "1")
    let_pass(AUTH_SECONDS - 1)
    store.auths.put("late", "2")
    let_pass(1)
    assert store.auths.pop("early") is None
    assert store.auths.pop("late") == "2"


def test_users_expire_after_thirty_idle_days(store: Store, let_pass: Pass) -> None:
    store.users.put("used", FULL)
    store.users.put("idle", FULL)
    let_pass(USER_SECONDS - 1)
    assert store.users.get("used") == FULL
    let_pass(1)
    assert store.users.get("used") == FULL
    assert store.users.get("idle") is None
    assert not store.users.replace("idle", FULL)


def test_one_at_a_time_has_the_turn(store: Store) -> None:
    store.users.put("a", FULL)
    with store.users.turn("a", 0) as mine:
        assert mine
        with store.users.turn("a", 0) as also_mine:
            assert not also_mine
        with store.users.turn("b", 0) as of_another:
            assert of_another
    with store.users.turn("a", 0) as again:
        assert again


def test_who_waits_for_a_turn_goes_on_when_it_is_over(store: Store) -> None:
    store.users.put("a", FULL)
    begun, results = threading.Barrier(4), []

    def wait() -> None:
        begun.wait()
        with store.users.turn("a", 10) as mine:
            results.append((mine, store.users.get("a")))

    waiting = [threading.Thread(target=wait) for _ in range(3)]
    with store.users.turn("a", 0):
        for thread in waiting:
            thread.start()
        begun.wait()
        store.users.replace("a", USERS[1])
    for thread in waiting:
        thread.join()
    assert [user for _, user in results] == [USERS[1]] * 3


def test_a_pause_lasts_as_long_as_was_said(store: Store) -> None:
    store.pause(30)
    store.pause(5)  # does not shorten it
    assert 29 < store.paused() <= 30


def test_a_pause_in_memory_is_over_when_its_time_is(clock: Clock) -> None:
    store = MemoryStore(nullcontext, clock)
    store.pause(30)
    clock.advance(29)
    assert store.paused() == 1
    clock.advance(1)
    assert store.paused() == 0


def test_a_pause_in_redis_is_shared_until_its_time_is_over(redis: RedisServer) -> None:
    one, other, third = (redis_store(redis) for _ in range(3))
    one.pause(30)
    other.pause(5)  # does not shorten it for anybody
    assert 29 < third.paused() <= 30
    redis.let_pass(30)
    assert third.paused() == 0
    for store in (one, other, third):
        store.close()


def test_memory_is_bounded_and_the_least_used_go_first(clock: Clock) -> None:
    table: MemoryTable[int] = MemoryTable(60, 3, nullcontext, clock)
    for number in range(3):
        table.put(str(number), number)
    assert table.get("0") == 0
    table.put("3", 3)
    assert [table.get(key) for key in "0123"] == [0, None, 2, 3]
    assert len(table) == 3


def test_memory_gives_back_what_has_expired(clock: Clock) -> None:
    """C50: two at a time, so that nobody waits for a sweep."""
    table: MemoryTable[int] = MemoryTable(60, MOST_AUTHS, nullcontext, clock)
    for number in range(100):
        table.put(str(number), number)
    clock.advance(60)
    for number in range(50):
        table.put(f"new {number}", number)
    assert len(table) == 50


def test_redis_holds_nothing_readable(redis: RedisServer) -> None:
    """C47: IDs are hashed, values sealed."""
    store = redis_store(redis)
    store.users.put("user-id-canary", FULL)
    store.auths.put("state-canary", "verifier-canary")
    keys = redis.client.keys("*")
    assert len(keys) == 2
    everything = b" ".join(keys + [redis.client.get(key) for key in keys])
    for word in (b"canary", b"Robin", b"Title"):
        assert word not in everything
    store.close()


def test_what_redis_can_not_open_is_not_there(redis: RedisServer) -> None:
    store, stranger = redis_store(redis), redis_store(redis, "some other secret key")
    store.users.put("a", FULL)
    store.users.put("b", USERS[1])
    key_a = store.users._key("a")
    sealed = {key: redis.client.get(key) for key in (key_a, store.users._key("b"))}
    assert stranger.users.get("a") is None

    def seal(value: object) -> bytes:
        fields = {"version": VERSION, "key": key_a, "value": value}
        return store.fernet.encrypt(json.dumps(fields).encode())

    for wrong in (
        b"garbage",
        b"",
        sealed[store.users._key("b")],  # of another person
        store.fernet.encrypt(
            json.dumps({"version": 0, "key": key_a, "value": asdict(FULL)}).encode()
        ),
        store.fernet.encrypt(b'{"of": "an unknown form"}'),
        store.fernet.encrypt(b"[]"),
        seal({"token": "of an unknown form"}),
        seal(["list"]),
    ):
        redis.client.set(key_a, wrong)
        assert store.users.get("a") is None
    redis.client.set(key_a, sealed[key_a])
    assert store.users.get("a") == FULL
    store.close()
    stranger.close()


def test_a_refresh_keeps_the_time_to_live(redis: RedisServer) -> None:
    store = redis_store(redis)
    store.users.put("a", FULL)
    redis.let_pass(1000)
    store.users.replace("a", USERS[1])
    assert redis.client.ttl(store.users._key("a")) <= USER_SECONDS - 1000
    store.close()


@pytest.fixture
def shared_apps(make_app: MakeApp, redis: RedisServer) -> list[Flask]:
    """Two servers with one Redis."""
    return [
        make_app(redis_url=redis.url, secret_key=SECRET_KEY, deadline=8.0)
        for _ in range(2)
    ]


def test_a_login_at_one_server_counts_at_the_other(
    shared_apps: list[Flask], spotify: StandIn, flow: str
) -> None:
    for number in range(20):
        one, two = (Browser(app, spotify) for app in shared_apps)
        query = one.begin_login()
        two.cookie = one.cookie
        assert two.get(two.code_for(query, f"person{number}")).status_code == 307
        one.cookie = two.cookie
        assert f"person{number}" in one.get("/").get_data(as_text=True)
        two.post("/logout")
        assert one.user_id is None


def parallel(browsers: list[Browser], path: str, count: int) -> list[int]:
    """Send the same request count times at once, through the browsers in turn."""
    cookie = browsers[0].cookie

    def send(number: int) -> int:
        browser = browsers[number % len(browsers)].twin()
        browser.cookie = cookie
        return browser.get(path).status_code

    with ThreadPoolExecutor(count) as threads:
        return list(threads.map(send, range(count)))


def test_forty_requests_at_two_servers_refresh_once(
    shared_apps: list[Flask], spotify: StandIn, clock: Clock
) -> None:
    """C54, over two servers."""
    browsers = [Browser(app, spotify) for app in shared_apps]
    browsers[0].log_in()
    clock.advance(3600)
    spotify.forget()
    assert parallel(browsers, "/now-playing", 40) == [200] * 40
    assert (spotify.count("token"), spotify.count("player")) == (1, 1)


def test_thirty_callbacks_at_two_servers_exchange_once(
    shared_apps: list[Flask], spotify: StandIn
) -> None:
    """C5, over two servers."""
    browsers = [Browser(app, spotify) for app in shared_apps]
    path = browsers[0].code_for(browsers[0].begin_login())
    statuses = parallel(browsers, path, 30)
    assert sorted(statuses) == [307] + [400] * 29
    assert spotify.count("token") == 1


def test_the_rate_limit_window_is_shared(
    shared_apps: list[Flask], spotify: StandIn
) -> None:
    one, two = (Browser(app, spotify) for app in shared_apps)
    one.log_in("robin")
    two.log_in("mika")
    spotify.fail("player", "rate_limited")
    assert one.get("/now-playing").status_code == 503
    spotify.forget()
    answer = two.get("/now-playing")
    assert (answer.status_code, answer.get_json()["error"]) == (503, "rate_limited")
    assert int(answer.headers["Retry-After"]) > 0
    assert spotify.count("player") == 0


@pytest.mark.parametrize("how", ["freeze", "kill"])
def test_without_redis_a_page_says_so_and_it_heals(
    shared_apps: list[Flask], spotify: StandIn, redis: RedisServer, how: str
) -> None:
    """C59: 503, never logged in, nothing lost."""
    browser = Browser(shared_apps[0], spotify)
    browser.log_in()
    user_id = browser.user_id or ""
    assert user_id
    getattr(redis, how)()
    try:
        for path in ("/", "/now-playing", "/login"):
            answer = browser.get(path)
            assert answer.status_code == 503
            assert user_id not in answer.get_data(as_text=True)
        assert browser.json()["error"] == "unavailable"
        assert browser.get("/readyz").status_code == 503
        assert browser.get("/healthz").status_code == 200
    finally:
        redis.thaw() if how == "freeze" else redis.start()
    assert browser.get("/readyz").status_code == 200
    # A killed Redis has forgotten everybody; a frozen one nobody.
    assert browser.user_id == (user_id if how == "freeze" else None)


def test_without_redis_url_neither_redis_nor_cryptography_is_imported() -> None:
    code = (
        "import sys, app, config; app.create_app(config.Config(client_id='0' * 32));"
        "sys.exit('redis' in sys.modules or 'cryptography' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_redis_url_is_not_shown() -> None:
    config = Config(client_id="0" * 32, redis_url="redis://:password@localhost")
    assert "password" not in repr(config)
