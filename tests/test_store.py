"""One contract for both stores, then what only one of them has to promise."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import replace
from threading import Barrier
from time import monotonic

import pytest
from users import User

from config import Config
from problems import Problem
from spotify.client import Account, Token
from spotify.playback import NowPlaying
from stand_in import StandIn
from store import Store, open_store
from tests.conftest import SECRET, Browser, Clock, MakeApp
from tests.redis_server import RedisProxy, RedisServer
from tests.wire import hold

FULL = User(
    Token("access-canary", "refresh-canary", 1234.5),
    Account("Robin", "robin"),
    NowPlaying("playing", "track", "Title", progress_ms=1000, duration_ms=2000),
    None,
    99.5,
)
BARE = User(Token("a", None, 0.0))

Pass = Callable[[float], None]


@pytest.fixture
def proxy(redis: RedisServer) -> Iterator[RedisProxy]:
    with RedisProxy(redis.port) as proxy:
        yield proxy


def opened(
    clock: Clock, url: str | None = None, key: str = SECRET, threads: int = 4
) -> Store[User]:
    config = Config(client_id="x", redis_url=url, secret_key=key, threads=threads)
    return open_store(config, User, clock)


@pytest.fixture(params=["memory", "redis"])
def shared(request: pytest.FixtureRequest) -> RedisServer | None:
    """The Redis of the store; None is for dicts."""
    return request.getfixturevalue("redis") if request.param == "redis" else None


@pytest.fixture
def store(shared: RedisServer | None, clock: Clock) -> Store[User]:
    return opened(clock, shared.url if shared else None)


@pytest.fixture
def let_pass(shared: RedisServer | None, clock: Clock) -> Pass:
    """Let time pass in the store."""
    return shared.let_pass if shared else clock.advance


# ---- The contract


def test_a_user_comes_back_as_it_went_in(store: Store[User]) -> None:
    in_trouble = replace(BARE, account=Account(None, "x"), problem="unreachable")
    for user in (FULL, BARE, in_trouble):
        store.users.put("a", user)
        assert store.users.get("a") == user
        assert store.users.get("b") is None


def test_an_auth_is_taken_once_by_one_of_many(store: Store[User]) -> None:
    store.auths.put("state", "")  # the verifier, where there is a secret
    with ThreadPoolExecutor(20) as threads:
        taken = list(threads.map(lambda _: store.auths.pop("state"), range(50)))
    assert sorted(taken, key=str) == [""] + [None] * 49


def test_an_update_changes_who_is_there_and_revives_nobody(store: Store[User]) -> None:
    store.users.put("a", FULL)
    assert store.users.update("a", lambda user: BARE) == BARE
    assert store.users.pop("a") == BARE
    assert store.users.update("a", lambda user: FULL, known=BARE) is None
    assert store.users.get("a") is None


def add_one(user: User) -> User:
    return replace(user, answered_at=user.answered_at + 1)


def test_no_update_of_many_at_once_gets_lost(store: Store[User]) -> None:
    store.users.put("a", BARE)
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda _: store.users.update("a", add_one), range(4)))
    assert store.users.get("a") == replace(BARE, answered_at=4)


def test_users_expire_after_thirty_idle_days_and_auths_after_ten_minutes(
    store: Store[User], let_pass: Pass
) -> None:
    store.users.put("used", FULL)
    store.users.put("idle", FULL)
    let_pass(30 * 86_400 - 600)
    store.auths.put("early", "1")
    let_pass(599)
    store.auths.put("late", "2")
    assert store.users.get("used") == FULL
    let_pass(1)
    assert [store.auths.pop(key) for key in ("early", "late")] == [None, "2"]
    assert [store.users.get(key) for key in ("used", "idle")] == [FULL, None]


def test_one_at_a_time_holds_a_lock_and_who_waits_gets_it(store: Store[User]) -> None:
    lock, begun = store.users.lock, Barrier(4)

    def wait(_: int) -> bool:
        begun.wait(10)
        with lock("a", monotonic() + 30):
            return True

    with ThreadPoolExecutor(3) as threads:
        with lock("a", 0), lock("b", 0):
            results = threads.map(wait, range(3))
            begun.wait(10)
            with pytest.raises(Problem), lock("a", 0):
                pass
        assert list(results) == [True] * 3


def test_a_pause_ends_by_itself_and_no_shorter_one_ends_it(
    store: Store[User], let_pass: Pass
) -> None:
    store.pause("api", 100)
    store.pause("api", 10)
    assert 90 < store.paused("api") <= 100
    assert store.paused("accounts") == 0
    let_pass(101)
    assert store.paused("api") == 0


# ---- Dicts


def test_the_least_recently_used_makes_room(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("store.memory.MOST_USERS", 3)
    users = opened(clock).users
    for key in "012":
        users.put(key, FULL)
    assert users.get("0")
    users.put("3", FULL)
    assert [key for key in "0123" if users.get(key)] == ["0", "2", "3"]


@pytest.mark.slow
def test_without_redis_url_neither_redis_nor_cryptography_is_imported() -> None:
    code = (
        "import sys, app, config; app.create_app(config.Config(client_id='0' * 32));"
        "sys.exit('redis' in sys.modules or 'cryptography' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# ---- Redis


def test_redis_holds_nothing_readable(redis: RedisServer, clock: Clock) -> None:
    """IDs are hashed, values sealed."""
    store = opened(clock, redis.url)
    store.users.put("user-id-canary", FULL)
    store.auths.put("state-canary", "verifier-canary")
    keys = redis.client.keys("*")
    assert len(keys) == 2
    everything = b" ".join(keys + [redis.client.get(key) for key in keys])
    for word in (b"canary", b"Robin", b"Title"):
        assert word not in everything


def test_what_redis_can_not_open_is_not_there(redis: RedisServer, clock: Clock) -> None:
    users = opened(clock, redis.url).users
    users.put("b", FULL)
    (name_b,) = redis.client.keys("*")
    users.put("a", FULL)
    (name_a,) = set(redis.client.keys("*")) - {name_b}
    assert opened(clock, redis.url, "some other secret key").users.get("a") is None
    assert users.get("a") == FULL
    for wrong in (b"garbage", b"", redis.client.get(name_b)):
        redis.client.set(name_a, wrong)
        assert users.get("a") is users.update("a", lambda user: BARE) is None
    redis.client.delete(name_a)
    redis.client.lpush(name_a, "of another type")
    assert users.get("a") is users.pop("a") is None


def two_servers(make_app: MakeApp, spotify: StandIn, url: str) -> list[Browser]:
    """Return one person, logged in, at two servers with one Redis."""
    settings = {"redis_url": url, "secret_key": SECRET, "deadline": 8.0}
    one = Browser(make_app(**settings), spotify)
    one.log_in()
    return [one, one.tab(make_app(**settings))]


@pytest.fixture
def at_two(make_app: MakeApp, spotify: StandIn, redis: RedisServer) -> list[Browser]:
    return two_servers(make_app, spotify, redis.url)


def test_twenty_requests_at_two_servers_refresh_once(
    at_two: list[Browser], spotify: StandIn, clock: Clock
) -> None:
    """The two share one Redis."""
    clock.advance(3600)
    spotify.forget()
    tabs = [browser.tab() for browser in at_two * 10]
    with ThreadPoolExecutor(20) as threads:
        states = list(threads.map(lambda tab: tab.json().get("state"), tabs))
    assert states == ["playing"] * 20
    assert (spotify.count("token"), spotify.count("player")) == (1, 1)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["freeze", "kill"])
def test_without_redis_a_page_says_so_and_it_heals(
    at_two: list[Browser], redis: RedisServer, how: str
) -> None:
    """503, never logged in, nothing lost."""
    browser = at_two[0]
    user_id = str(browser.user_id)
    getattr(redis, how)()
    try:
        for path in ("/", "/now-playing", "/login"):
            answer = browser.get(path)
            assert answer.status_code == 503
            assert user_id not in answer.text
        assert browser.json()["error"] == "unavailable"
        assert browser.get("/readyz").status_code == 503
        assert browser.get("/healthz").status_code == 200
    finally:
        redis.thaw() if how == "freeze" else redis.start()
    assert browser.get("/readyz").status_code == 200
    # A killed Redis has forgotten everybody; a frozen one nobody.
    assert browser.user_id == (user_id if how == "freeze" else None)


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["hang", "drop", "lose", "refuse"])
def test_a_login_survives_a_redis_that_fails_while_its_token_is_saved(
    make_app: MakeApp, spotify: StandIn, clock: Clock, proxy: RedisProxy, fault: str
) -> None:
    """And no used-up refresh token is sent again, by either server."""
    via_proxy = two_servers(make_app, spotify, proxy.url)
    clock.advance(3600)
    spotify.forget()
    with ThreadPoolExecutor(1) as threads, hold(spotify, "token") as held:
        first = threads.submit(via_proxy[0].json)
        assert held.arrived()
        proxy.fault = fault
        held.release()
        assert first.result().get("error") in (None, "unavailable")
    proxy.fault = ""
    # It is saved half a second later; until then the other server has to wait.
    assert [tab.json().get("state") for tab in via_proxy[::-1]] == ["playing"] * 2
    assert spotify.count("token") == 1


def test_lock_outlasts_an_outage_while_a_token_is_refreshed(
    at_two: list[Browser], redis: RedisServer, spotify: StandIn, clock: Clock
) -> None:
    """Or the other server would send the old token, too."""
    clock.advance(3600)
    with ThreadPoolExecutor(1) as threads, hold(spotify, "token") as held:
        page = threads.submit(at_two[0].json)
        assert held.arrived()
        redis.let_pass(100)
        assert redis.client.keys("*:lock")
        held.release()
    assert page.result()["state"] == "playing"
    assert not redis.client.keys("*:lock")


def test_token_that_never_ends_can_be_stored(
    at_two: list[Browser], spotify: StandIn
) -> None:
    # JSON knows no word for it.
    spotify.expires_in = math.inf  # type: ignore[assignment]
    browser = at_two[0].twin()
    browser.log_in()
    assert browser.json()["state"] == "playing"


def test_a_later_token_is_not_lost_while_an_earlier_one_is_unsaved(
    redis: RedisServer, proxy: RedisProxy, clock: Clock
) -> None:
    """With PKCE each is good for one use, and an outage may be long."""
    table, other = opened(clock, proxy.url).users, opened(clock, redis.url).users
    table.put("a", BARE)
    proxy.fault = "refuse"
    for _ in range(2):
        table.update("a", add_one, known=table.get("a"))
    assert other.get("a") == BARE
    assert table.get("a") == replace(BARE, answered_at=2)
    proxy.fault = ""
    while other.get("a") == BARE:
        pass
    assert other.get("a") == replace(BARE, answered_at=2)


def test_a_lock_that_nobody_gives_back_keeps_a_visit_until_its_deadline(
    redis: RedisServer, clock: Clock
) -> None:
    """Then it is busy, and later visits do not queue behind it for ever."""
    vanished, lock = (opened(clock, redis.url).users.lock for _ in range(2))
    with vanished("a", 0):
        for _ in range(2):
            with pytest.raises(Problem, match="busy"), lock("a", monotonic() + 0.1):
                pass


def test_no_more_than_a_few_wait_for_the_locks_of_other_servers(
    redis: RedisServer, clock: Clock
) -> None:
    """So that they can't take every thread; here two may wait."""
    lock, other = (opened(clock, redis.url, threads=1).users.lock for _ in range(2))

    def wait(key: str) -> None:
        with lock(key, monotonic() + 30):
            pass

    with ThreadPoolExecutor(3) as threads, other("a", 0), other("b", 0), other("c", 0):
        waits = [threads.submit(wait, key) for key in "abc"]
        with pytest.raises(Problem, match="busy"):
            next(as_completed(waits)).result()
    assert sum(it.exception() is None for it in waits) == 2


def test_a_holder_whose_lock_ran_out_does_not_overwrite_newer_data(
    at_two: list[Browser], redis: RedisServer, spotify: StandIn, clock: Clock
) -> None:
    """The token that the other server got meanwhile stays."""
    with ThreadPoolExecutor(1) as threads, hold(spotify, "player") as held:
        late = threads.submit(at_two[0].json)
        assert held.arrived()
        redis.client.delete(*redis.client.keys("*:lock"))
        del spotify.holds["player"]
        clock.advance(3600)
        assert at_two[1].json()["state"] == "playing"
        spotify.holds["player"] = held.wait
        held.release()
        late.result()
    spotify.forget()
    for tab in at_two:
        clock.advance(3)
        assert tab.json()["state"] == "playing"
    assert spotify.count("token") == 0
