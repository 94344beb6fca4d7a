"""One contract for every store, then what only one of them has to promise."""

import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from config import Config
from player import User
from spotify.client import Account
from spotify.sender import QUEUE_SECONDS, TOKEN_SECONDS
from spotify.tokens import Token
from stand_in import StandIn
from store import Store, open_store
from store.redis import LOCK_SECONDS, SAVE_SECONDS, SOCKET_SECONDS, name_of
from tests.conftest import SECRET, Browser, Clock, MakeApp
from tests.redis_server import RedisProxy, RedisServer

TOKEN = Token("access-canary", "refresh-canary", 1_800_003_600.1, 1_800_000_000.2, True)
FULL = User(TOKEN, Account("canary", "robin"))
BARE = User(Token("a", None, 0.0, 0.0, False))

Pass = Callable[[float], None]


def opened(clock: Clock, url: str | None = None, key: str = SECRET) -> Store[User]:
    config = Config(client_id="x", redis_url=url, secret_key=key)
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
    for user in (FULL, BARE):
        store.users.put("a", user)
        assert store.users.get("a") == user
    assert store.ready()


def test_an_auth_is_taken_once_by_one_of_many(store: Store[User]) -> None:
    store.auths.put("state", "")  # the verifier, where there is a secret
    with ThreadPoolExecutor(20) as threads:
        taken = list(threads.map(lambda _: store.auths.pop("state"), range(50)))
    assert sorted(taken, key=str) == [""] + [None] * 49


def test_users_expire_after_thirty_idle_days_and_auths_after_ten_minutes(
    store: Store[User], let_pass: Pass
) -> None:
    """Whatever is done with a user renews it, but for taking it out, which is final."""
    users, auths, keys = store.users, store.auths, ("idle", "got", "put", "replaced")
    for key in keys:
        users.put(key, FULL)
    let_pass(30 * 86_400 - 600)
    auths.put("early", "1")
    let_pass(599)
    auths.put("late", "2")
    assert [users.get("got"), users.replace("replaced", BARE)] == [FULL, True]
    users.put("put", FULL)
    let_pass(1)
    assert [auths.pop(key) for key in ("early", "late")] == [None, "2"]
    assert not users.replace("idle", FULL)
    assert [users.pop(key) for key in keys] == [None, FULL, FULL, BARE]
    assert not users.replace("put", FULL)
    assert [users.get(key) for key in keys] == [None] * 4


# ---- Redis


def test_redis_holds_nothing_readable(redis: RedisServer, clock: Clock) -> None:
    """IDs are hashed, values encrypted."""
    store = opened(clock, redis.url)
    store.users.put("canary", FULL)
    store.auths.put("canary", "verifier-canary")
    with store.lock("canary"):
        keys = redis.client.keys("*")
        everything = b" ".join(keys + [redis.client.get(key) for key in keys])
    assert (len(keys), b"canary" in everything) == (3, False)


def test_what_redis_can_not_decrypt_is_not_there(
    redis: RedisServer, clock: Clock
) -> None:
    users, name = opened(clock, redis.url).users, name_of("user", "a")
    for key in "ab":
        users.put(key, FULL)
    assert opened(clock, redis.url, "some other secret key").users.get("a") is None
    assert users.get("a") == FULL
    for wrong in (b"garbage", redis.client.get(name_of("user", "b"))):
        redis.client.set(name, wrong)
        assert users.get("a") is None
    redis.client.delete(name)
    redis.client.lpush(name, "of another type")
    assert users.get("a") is users.pop("a") is None


@pytest.fixture
def proxy(redis: RedisServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[RedisProxy]:
    """A way to Redis that may fail; the app is not as patient as usual."""
    monkeypatch.setattr("store.redis.SAVE_SECONDS", 1.0)
    monkeypatch.setattr("store.redis.SAVE_AGAIN_SECONDS", 0.02)
    with RedisProxy(redis.port) as proxy:
        yield proxy


def test_every_thread_may_ask_redis_at_the_same_time(
    proxy: RedisProxy, clock: Clock
) -> None:
    users = opened(clock, proxy.url).users
    users.put("a", FULL)
    proxy.fault = "freeze"
    with ThreadPoolExecutor(110) as threads:
        saved = [threads.submit(users.replace, "a", FULL) for _ in range(110)]
        assert all(proxy.saves.acquire(timeout=10) for _ in saved)
        proxy.heal()
        assert all(save.result() for save in saved)


# ---- Two servers with one Redis


@pytest.fixture
def at_two(make_app: MakeApp, spotify: StandIn, proxy: RedisProxy) -> list[Browser]:
    """One person, logged in, at two servers with one Redis."""
    spotify.play("track")
    apps = [make_app(redis_url=proxy.url, secret_key=SECRET) for _ in range(2)]
    one = Browser(apps[0], spotify)
    one.log_in()
    spotify.forget()
    return [one, one.tab(apps[1])]


def test_a_poll_costs_redis_one_read(at_two: list[Browser], redis: RedisServer) -> None:
    at_two[0].json()
    redis.client.config_resetstat()
    at_two[0].json()
    commands = redis.client.info("commandstats")
    own = [it for it in commands if "info" not in it and "config" not in it]
    assert own == ["cmdstat_getex"]


def test_twenty_requests_at_two_servers_refresh_once(
    at_two: list[Browser], spotify: StandIn, clock: Clock
) -> None:
    """And each server asks for itself, once."""
    clock.advance(3600)
    tabs = [browser.tab() for browser in at_two * 10]
    with ThreadPoolExecutor(20) as threads:
        states = list(threads.map(lambda tab: tab.json().get("state"), tabs))
    assert states == ["playing"] * 20
    assert (spotify.count("token"), spotify.count("player")) == (1, 2)


@pytest.mark.parametrize("fault", ["lose", "freeze"])
def test_a_login_survives_a_redis_that_is_gone_while_its_token_is_saved(
    at_two: list[Browser], proxy: RedisProxy, clock: Clock, fault: str
) -> None:
    """And no used-up refresh token is sent again, by either server."""
    clock.advance(3600)
    proxy.fault = fault
    with ThreadPoolExecutor(1) as threads:
        first = threads.submit(at_two[0].json)
        for _ in range(1 if fault == "freeze" else 3):
            assert proxy.saves.acquire(timeout=10)
        proxy.heal()
        assert first.result()["state"] == "playing"
    assert at_two[1].json()["state"] == "playing"
    assert at_two[0].spotify.count("token") == 1


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["refuse", "freeze"])
def test_a_login_whose_token_can_not_be_saved_ends_with_the_reason(
    at_two: list[Browser], proxy: RedisProxy, clock: Clock, fault: str
) -> None:
    """With PKCE; the used-up one is sent once more, and a late save revives nobody."""
    one, two = at_two
    clock.advance(3600)
    proxy.fault = fault
    assert one.json()["error"] == "unavailable"
    assert two.json()["message"].startswith("Spotify has ended this login")
    proxy.heal()
    assert [tab.json()["error"] for tab in (one, two)] == ["logged_out"] * 2
    assert one.spotify.count("token") == 2


def test_a_lock_that_nobody_gives_back_keeps_visits_for_a_while(
    at_two: list[Browser], redis: RedisServer, clock: Clock
) -> None:
    """They are busy, and do not queue behind it for ever; then it expires."""
    vanished, user_id = opened(clock, redis.url), str(at_two[0].user_id)
    clock.advance(3600)
    with pytest.MonkeyPatch.context() as patch, vanished.lock(user_id):
        patch.setattr("store.redis.LOCK_WAIT_SECONDS", 0.1)
        assert [at_two[n].json()["error"] for n in (0, 0, 1)] == ["busy"] * 3
        redis.let_pass(20)
        assert [browser.json()["state"] for browser in at_two] == ["playing"] * 2


def test_a_lock_outlives_every_call_inside() -> None:
    """Or the other server would send the same refresh token."""
    reads_and_saves = 2 * SOCKET_SECONDS + 2 * SAVE_SECONDS  # each may connect first
    assert QUEUE_SECONDS + TOKEN_SECONDS + reads_and_saves < LOCK_SECONDS


@pytest.mark.slow
def test_without_redis_a_page_says_so_and_it_heals(
    at_two: list[Browser], proxy: RedisProxy
) -> None:
    """503, never logged in, nothing lost."""
    user_id, visit = str(at_two[0].user_id), at_two[0].get
    proxy.where, proxy.fault = b"", "freeze"
    for path in ("/", "/login", "/callback?code=x&state=y", "/now-playing"):
        answer = visit(path)
        seen = f"{answer.headers}{answer.text}"
        assert answer.status_code == 503
        assert not re.search(f"{user_id}|Set-Cookie|Location", seen)
    probes = [visit(path).status_code for path in ("/readyz", "/healthz")]
    assert (probes, at_two[0].json()["error"]) == ([503, 200], "unavailable")
    proxy.heal()
    assert visit("/readyz").status_code == 200
    assert at_two[0].user_id == user_id
