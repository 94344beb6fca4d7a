"""The store that several processes and machines share: Redis, with sealed values."""

from __future__ import annotations

import hashlib
import logging
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Generic, TypeVar
from urllib.parse import urlsplit

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from config import Config
from problems import Problem

from .memory import AUTH_SECONDS, USER_SECONDS, KeyedLocks
from .sealing import Seal

SOCKET_SECONDS, PROBE_SECONDS, SAVE_AGAIN_SECONDS = 0.5, 0.1, 0.5
KEPT_SECONDS = 120  # an outage that a lock outlasts while a token is refreshed

# Redis runs this in one step; names and values reach it as arguments only.
SWAP = """
if redis.call('get', KEYS[1]) == ARGV[1] then
    return redis.call('set', KEYS[1], ARGV[2], 'EX', ARGV[3])
end
"""

V = TypeVar("V")
Change = Callable[[V], V]

log = logging.getLogger("now_playing")


def check_url(url: str) -> None:
    """Raise ValueError, with the fix, unless url is the address of a Redis."""
    try:
        if not re.fullmatch(r"[^?]*([?&](db|ssl_\w+)=[^&]*)*", url):
            raise ValueError("an option that could be anything")
        (urlsplit(url).hostname or "").encode("idna")
        redis.ConnectionPool.from_url(url).make_connection()
    except (redis.RedisError, ValueError, TypeError, AttributeError):
        raise ValueError(
            "is not the address of a Redis: write one like redis://127.0.0.1:6379/0, "
            "with / and @ in a password as %2F and %40"
        ) from None


class RedisTable(Generic[V]):
    """What MemoryTable does, in Redis. Any method may raise Problem("unavailable")."""

    def __init__(
        self, store: RedisStore[Any], name: str, seconds: int, seal: Seal[V]
    ) -> None:
        self._store, self._table, self._seconds = store, name, seconds
        self._seal, self.clock = seal, store.clock
        self._unsaved: dict[str, list[Change[V]]] = {}

    def get(self, key: str) -> V | None:
        return self._read(key, "getex", ex=self._seconds)

    def pop(self, key: str) -> V | None:
        return self._read(key, "getdel")

    def put(self, key: str, value: V) -> None:
        name = self._name(key)
        with self._store.reached() as client:
            client.set(name, self._seal.close(name, value), ex=self._seconds)

    def update(self, key: str, change: Change[V], known: V | None = None) -> V | None:
        try:
            return self._swap(key, change)
        except Problem:
            if known is None:
                raise
        unsaved = self._unsaved.setdefault(key, [])
        unsaved.append(change)
        if len(unsaved) == 1:
            threading.Thread(target=self._save, args=(key,), daemon=True).start()
        return change(known)

    @contextmanager
    def lock(self, key: str, deadline: float) -> Iterator[None]:
        # Within this process first, so that Redis is asked for one caller at a time.
        with self._store.locks.hold(key, deadline):
            with self._store.reached() as client:
                lock = client.lock(self._name(key, ":lock"), self._store.lock_seconds)
                if not lock.acquire(blocking=False):
                    left = max(deadline - time.monotonic(), 0.0)
                    with self._store.locks.waiting():
                        if not lock.acquire(blocking_timeout=left, sleep=0.02):
                            raise Problem("busy")
            try:
                yield
            finally:
                # If it can't be given back, or is not ours any more, it just ends.
                with suppress(redis.RedisError):
                    if key not in self._unsaved:
                        lock.release()

    def keep_lock(self, key: str) -> None:
        with self._store.reached() as client:
            if not client.expire(self._name(key, ":lock"), KEPT_SECONDS):
                raise Problem("busy")  # it has ended already

    def _read(self, key: str, command: str, **how: Any) -> V | None:
        with self._store.reached() as client:
            return self._open(key, getattr(client, command)(self._name(key), **how))
        return None

    def _swap(self, key: str, change: Change[V]) -> V | None:
        """Compare and set, because a lock may have expired under its holder."""
        name = self._name(key)
        with self._store.reached() as client:
            while (value := self._open(key, sealed := client.get(name))) is not None:
                value = change(value)
                swap = (name, sealed, self._seal.close(name, value), self._seconds)
                if client.eval(SWAP, 1, *swap):
                    return value
        return None

    def _save(self, key: str) -> None:
        """Store unsaved changes, sooner or later; nobody else may act before that."""
        unsaved, lock = self._unsaved[key], self._name(key, ":lock")
        while unsaved:
            time.sleep(SAVE_AGAIN_SECONDS)
            with suppress(Problem), self._store.reached() as client:
                client.expire(lock, KEPT_SECONDS)
                count = len(unsaved)
                self._swap(key, lambda value: value)
                del unsaved[:count]
        del self._unsaved[key]
        with suppress(Problem), self._store.reached() as client:
            client.delete(lock)

    def _name(self, key: str, suffix: str = "") -> str:
        # An ID is as good as a password, so only its hash leaves this process.
        hashed = hashlib.sha256(key.encode()).hexdigest()
        return f"now_playing:{self._table}:{hashed}{suffix}"

    def _open(self, key: str, sealed: bytes | None) -> V | None:
        """Return what was sealed, with the changes that are still unsaved."""
        value = self._seal.open(self._name(key), sealed)
        if value is not None:
            for change in self._unsaved.get(key, ()):
                value = change(value)
        return value


class RedisStore(Generic[V]):
    """The store at config.redis_url."""

    def __init__(
        self, config: Config, person: type[V], clock: Callable[[], float]
    ) -> None:
        self.clock = clock  # the one that machines share
        self.locks = KeyedLocks(2 * config.threads)
        self.lock_seconds = 7 + 3  # longer than any visit

        def connect(seconds: float, retries: int) -> Any:
            # A dead connection is replaced at once; a slow server is not asked again.
            retry = Retry(NoBackoff(), retries, (redis.ConnectionError,))
            return redis.Redis.from_url(
                config.redis_url or "",
                socket_timeout=seconds,
                socket_connect_timeout=seconds,
                retry=retry,
                # Without these, a new connection asks three times before it is used.
                protocol=2,
                driver_info=None,
            )

        self._client = connect(SOCKET_SECONDS, 1)
        self._probe = connect(PROBE_SECONDS, 0)
        if not self.ready():
            log.warning("Redis does not answer yet: see REDIS_URL")
        secret = config.secret_key or ""
        self.auths = RedisTable(self, "auth", AUTH_SECONDS, Seal(secret, str))
        self.users = RedisTable(self, "user", USER_SECONDS, Seal(secret, person))

    @contextmanager
    def reached(self) -> Iterator[Any]:
        """Give the client for a block that asks Redis, and end it if that fails."""
        try:
            yield self._client
        except redis.RedisError as error:
            if "WRONGTYPE" in str(error):
                return  # what somebody else stored there counts as absent
            log.warning("Redis: %s", type(error).__name__)
            raise Problem("unavailable") from None

    def paused(self, host: str) -> float:
        with self.reached() as client:
            # In milliseconds; negative if there is no such entry.
            return max(0.0, float(client.pttl(f"now_playing:paused:{host}")) / 1000)

    def pause(self, host: str, seconds: float) -> None:
        milliseconds = int(1000 * max(seconds, self.paused(host)))
        with self.reached() as client:
            client.set(f"now_playing:paused:{host}", 1, px=milliseconds)

    def ready(self) -> bool:
        with suppress(redis.RedisError):
            return bool(self._probe.ping())
        return False
