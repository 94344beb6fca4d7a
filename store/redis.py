"""The store that several processes and machines share: Redis, with sealed values."""

from __future__ import annotations

import base64
import hashlib
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Generic, TypeVar

import redis
from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from redis.backoff import NoBackoff
from redis.retry import Retry

from config import Config
from problems import Problem

from . import Clock
from .locks import KeyedLocks
from .memory import AUTH_SECONDS, USER_SECONDS
from .pending import PendingChanges

VERSION = 3  # of the stored form; any other counts as absent
PREFIX = "now_playing"
SOCKET_SECONDS = 0.3
LOCK_MARGIN = 2  # seconds that a lock outlives the visit which holds it
SWAPS = 5  # attempts to change a value that others are changing too

SWAP = """
if redis.call('get', KEYS[1]) == ARGV[1] then
    return redis.call('set', KEYS[1], ARGV[2], 'KEEPTTL')
end
"""

V = TypeVar("V")


def check_url(url: str) -> None:
    """Raise ValueError unless url is the address of a Redis."""
    try:
        redis.ConnectionPool.from_url(url).make_connection()
    except (redis.RedisError, ValueError, TypeError, AttributeError):
        raise ValueError(
            "is not the address of a Redis: write one like redis://127.0.0.1:6379/0, "
            "with / and @ in a password as %2F and %40"
        ) from None


class RedisTable(Generic[V]):
    """A table in Redis; its entries expire there, seconds after their last use."""

    def __init__(
        self,
        store: RedisStore[Any],
        name: str,
        seconds: int,
        to_json: Callable[[V], Any] = lambda value: value,
        from_json: Callable[[Any], V] = lambda value: value,
    ) -> None:
        self._store, self._name, self._seconds = store, name, seconds
        self._to_json, self._from_json = to_json, from_json
        self.clock = store.clock.time  # the only one that machines share
        self._pending = PendingChanges(self._swap)

    def get(self, key: str) -> V | None:
        value = self._read("getex", key, ex=self._seconds)
        return None if value is None else self._pending.applied(self._key(key), value)

    def put(self, key: str, value: V) -> None:
        key = self._key(key)
        with self._store.reached() as client:
            client.set(key, self._seal(key, value), ex=self._seconds)

    def update(
        self, key: str, change: Callable[[V], V], known: V | None = None
    ) -> V | None:
        key = self._key(key)
        try:
            return self._swap(key, change)
        except Problem:
            if known is None:
                raise
        self._pending.add(key, change)
        return change(known)

    def _swap(self, key: str, change: Callable[[V], V]) -> V | None:
        """Compare and set, because the lock may have expired under its holder."""
        with self._store.reached() as client:
            for _ in range(SWAPS):
                sealed = client.get(key)
                value = self._open(key, sealed)
                if value is None:
                    return None
                value = change(value)
                if client.eval(SWAP, 1, key, sealed, self._seal(key, value)):
                    return value
        raise Problem("unavailable")

    def pop(self, key: str) -> V | None:
        return self._read("getdel", key)

    @contextmanager
    def lock(self, key: str, deadline: float) -> Iterator[bool]:
        # Within this process first, so that Redis is asked for one caller at a time.
        with self._store.locks.hold(key, deadline) as first:
            with self._store.reached() as client:
                lock = client.lock(f"{self._key(key)}:lock", self._store.lock_seconds)
                left = max(deadline - time.monotonic(), 0.0)
                locked = first and lock.acquire(blocking_timeout=left, sleep=0.05)
            try:
                yield locked
            finally:
                # If it can't be given back, or is not ours any more, it just ends.
                with suppress(redis.RedisError):
                    if locked:
                        lock.release()

    def _key(self, key: str) -> str:
        # An ID is as good as a password, so only its hash leaves this process.
        return f"{PREFIX}:{self._name}:{hashlib.sha256(key.encode()).hexdigest()}"

    def _read(self, command: str, key: str, **how: Any) -> V | None:
        key = self._key(key)
        with self._store.reached() as client:
            try:
                return self._open(key, getattr(client, command)(key, **how))
            except redis.ResponseError as error:
                if "WRONGTYPE" not in str(error):
                    raise
                return None

    def _seal(self, key: str, value: V) -> bytes:
        """Return the value unreadable, and useless under any other key."""
        fields = {"version": VERSION, "key": key, "value": self._to_json(value)}
        return self._store.fernet.encrypt(json.dumps(fields).encode())

    def _open(self, key: str, sealed: bytes | None) -> V | None:
        """Return the value, or None if none was sealed here for this key."""
        with suppress(InvalidToken, ValueError, LookupError, TypeError):
            fields = json.loads(self._store.fernet.decrypt(sealed or b""))
            if (fields["version"], fields["key"]) == (VERSION, key):
                return self._from_json(fields["value"])
        return None


class RedisStore(Generic[V]):
    """The store at config.redis_url."""

    def __init__(
        self,
        config: Config,
        to_json: Callable[[V], Any],
        from_json: Callable[[Any], V],
        clock: Clock = time,
    ) -> None:
        hkdf = HKDF(SHA256(), length=32, salt=None, info=b"now_playing redis values")
        key = hkdf.derive(config.secret_key.encode())
        url = config.redis_url or ""
        self.fernet = Fernet(base64.urlsafe_b64encode(key))
        self.clock = clock
        self.locks = KeyedLocks(config.most_waiting)
        self.lock_seconds = config.deadline + LOCK_MARGIN
        # A connection that died is replaced at once; a slow server is not asked twice.
        once_more = Retry(NoBackoff(), 1, supported_errors=(redis.ConnectionError,))
        self._client = _connect(url, SOCKET_SECONDS, once_more)
        self._probe = _connect(url, 0.1, Retry(NoBackoff(), 0))
        self._paused_until: dict[str, float] = {}
        self.auths: RedisTable[str] = RedisTable(self, "auth", AUTH_SECONDS)
        self.users: RedisTable[V] = RedisTable(
            self, "user", USER_SECONDS, to_json, from_json
        )

    @contextmanager
    def reached(self) -> Iterator[Any]:
        """Give the client for a block that asks Redis."""
        try:
            yield self._client
        except redis.RedisError:
            raise Problem("unavailable") from None

    def paused(self, host: str) -> float:
        left = self._paused_until.get(host, 0.0) - self.clock.monotonic()
        if left > 0:
            return left
        with self.reached() as client:
            left = float(client.pttl(f"{PREFIX}:paused:{host}"))
        return max(0.0, left / 1000)  # milliseconds, or negative for no pause

    def pause(self, host: str, seconds: float) -> None:
        seconds = max(seconds, self.paused(host))
        self._paused_until[host] = self.clock.monotonic() + seconds
        with self.reached() as client:
            client.set(f"{PREFIX}:paused:{host}", 1, px=int(1000 * seconds))

    def ready(self) -> bool:
        with suppress(redis.RedisError):
            return bool(self._probe.ping())
        return False

    def close(self) -> None:
        self._client.close()
        self._probe.close()


def _connect(url: str, seconds: float, retry: Retry) -> Any:
    return redis.Redis.from_url(
        url, socket_timeout=seconds, socket_connect_timeout=seconds, retry=retry
    )
