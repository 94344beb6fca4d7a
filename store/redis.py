"""What lasts, in a Redis that several processes and machines share."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Generic, TypeVar

import redis
from redis.backoff import ConstantBackoff, NoBackoff
from redis.retry import Retry

from config import Config
from problems import Problem

from .memory import AUTH_SECONDS, USER_SECONDS
from .sealing import Seal

SOCKET_SECONDS, PROBE_SECONDS = 0.5, 0.1
# A refreshed token must not get lost: with PKCE the old one is used up. So this is how
# long saving it is tried, in a row of tries or, where Redis says nothing, in one.
SAVE_SECONDS, SAVE_AGAIN_SECONDS = 3.0, 0.25
LOCK_SECONDS = 20  # more than a refresh with all its calls can take
LOCK_WAIT_SECONDS = 8.0
MOST_CONNECTIONS = 10_000  # redis-py's 100 are fewer than the threads that need one
DEAD = (redis.ConnectionError,)  # is tried again; a server that says nothing is not

V = TypeVar("V")

log = logging.getLogger("now_playing")


class RedisTable(Generic[V]):
    """A table of the store; each method is one command."""

    def __init__(
        self, store: RedisStore[Any], table: str, seconds: int, seal: Seal[V]
    ) -> None:
        self._store, self._table, self._seconds = store, table, seconds
        self._seal = seal

    def get(self, key: str) -> V | None:
        name = self._store.name(self._table, key)
        with self._store.problems():
            found = self._store.client.getex(name, ex=self._seconds)
            return self._seal.decrypt(name, found)
        return None

    def put(self, key: str, value: V) -> None:
        name = self._store.name(self._table, key)
        with self._store.problems():
            encrypted = self._seal.encrypt(name, value)
            self._store.client.set(name, encrypted, ex=self._seconds)

    def replace(self, key: str, value: V) -> bool:
        name = self._store.name(self._table, key)
        with self._store.problems():
            encrypted = self._seal.encrypt(name, value)
            save = self._store.patient_client.set
            return bool(save(name, encrypted, xx=True, ex=self._seconds))
        return False

    def pop(self, key: str) -> V | None:
        name = self._store.name(self._table, key)
        with self._store.problems():
            return self._seal.decrypt(name, self._store.client.getdel(name))
        return None


class RedisStore(Generic[V]):
    """The store at config.redis_url."""

    def __init__(self, config: Config, person: type[V]) -> None:
        url = config.redis_url or ""
        self.client = _connect(url, SOCKET_SECONDS, Retry(NoBackoff(), 1, DEAD))
        tries = int(SAVE_SECONDS / SAVE_AGAIN_SECONDS)
        patience = Retry(ConstantBackoff(SAVE_AGAIN_SECONDS), tries, DEAD)
        self.patient_client = _connect(url, SAVE_SECONDS, patience)
        self._probe = _connect(url, PROBE_SECONDS, Retry(NoBackoff(), 0, DEAD))
        if not self.ready():
            log.warning("Redis does not answer yet: see REDIS_URL")
        self.secret_key = secret = config.secret_key or ""
        self.auths = RedisTable(self, "auth", AUTH_SECONDS, Seal(secret, str))
        self.users = RedisTable(self, "user", USER_SECONDS, Seal(secret, person))

    @contextmanager
    def lock(self, key: str) -> Iterator[None]:
        """Let one process in at a time. Raises Problem: busy, or unavailable."""
        name = self.name("lock", key)
        lock = self.client.lock(name, LOCK_SECONDS, blocking_timeout=LOCK_WAIT_SECONDS)
        with self.problems():
            if not lock.acquire():
                raise Problem("busy")
        try:
            yield
        finally:
            with suppress(redis.RedisError):  # if it can't be given back, it expires
                lock.release()

    def ready(self) -> bool:
        """Tell whether Redis answers, within 250 ms."""
        with suppress(redis.RedisError):
            return bool(self._probe.ping())
        return False

    @staticmethod
    def name(table: str, key: str) -> str:
        """Return the name in Redis: an ID is as good as a password, so it is hashed."""
        return f"now_playing:{table}:{hashlib.sha256(key.encode()).hexdigest()}"

    @staticmethod
    @contextmanager
    def problems() -> Iterator[None]:
        """Turn an error of Redis into a Problem."""
        try:
            yield
        except redis.RedisError as error:
            if "WRONGTYPE" in str(error):
                return  # what somebody else stored there counts as absent
            log.warning("Redis: %s", type(error).__name__)
            raise Problem("unavailable") from None


def _connect(url: str, seconds: float, retry: Retry) -> Any:
    return redis.Redis.from_url(
        url,
        socket_timeout=seconds,
        socket_connect_timeout=seconds,
        retry=retry,
        max_connections=MOST_CONNECTIONS,
        # Without these, a new connection asks three times before it is used.
        protocol=2,
        driver_info=None,
    )
