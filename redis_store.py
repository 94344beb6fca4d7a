"""The store that several processes and machines share: Redis, with sealed values."""

from __future__ import annotations

import base64
import hashlib
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from typing import Any, Generic, TypeVar

import redis
from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from redis.backoff import NoBackoff
from redis.retry import Retry

from problems import Problem
from store import AUTH_SECONDS, USER_SECONDS, Wait
from user import User

VERSION = 2  # of the stored form; any other counts as absent
PREFIX = "now_playing"
SOCKET_SECONDS = 0.3
TURN_SECONDS = 30  # longer than everything that one visit may ask of Spotify

V = TypeVar("V")


class RedisTable(Generic[V]):
    """A table in Redis; its entries expire there, seconds after their last use."""

    def __init__(
        self,
        store: RedisStore,
        name: str,
        seconds: int,
        to_json: Callable[[V], Any] = lambda value: value,
        from_json: Callable[[Any], V] = lambda value: value,
    ) -> None:
        self._store, self._name, self._seconds = store, name, seconds
        self._to_json, self._from_json = to_json, from_json

    def get(self, key: str) -> V | None:
        return self._read("getex", key, ex=self._seconds)

    def put(self, key: str, value: V) -> None:
        self._write(key, value, ex=self._seconds)

    def replace(self, key: str, value: V) -> bool:
        return self._write(key, value, xx=True, keepttl=True)

    def pop(self, key: str) -> V | None:
        return self._read("getdel", key)

    @contextmanager
    def turn(self, key: str, seconds: float) -> Iterator[bool]:
        name = f"{self._key(key)}:turn"
        with self._store.reached() as client:
            turn = client.lock(name, TURN_SECONDS, blocking=False)
            mine = turn.acquire()
        if not mine and seconds > 0:
            with self._store.queueing(), self._store.reached():
                give_up = time.monotonic() + seconds
                while client.exists(name) and time.monotonic() < give_up:
                    time.sleep(0.02)
        try:
            yield mine
        finally:
            # If it can't be given back, it ends by itself.
            with suppress(Problem), self._store.reached():
                if mine:
                    turn.release()

    def _key(self, key: str) -> str:
        # An ID is as good as a password, so only its hash leaves this process.
        return f"{PREFIX}:{self._name}:{hashlib.sha256(key.encode()).hexdigest()}"

    def _write(self, key: str, value: V, **how: Any) -> bool:
        """Store the value sealed: unreadable, and useless under any other key."""
        key = self._key(key)
        fields = {"version": VERSION, "key": key, "value": self._to_json(value)}
        sealed = self._store.fernet.encrypt(json.dumps(fields).encode())
        with self._store.reached() as client:
            return bool(client.set(key, sealed, **how))

    def _read(self, command: str, key: str, **how: Any) -> V | None:
        """Return the value, or None if none was sealed here for this key."""
        key = self._key(key)
        with self._store.reached() as client:
            sealed = getattr(client, command)(key, **how)
        with suppress(InvalidToken, ValueError, KeyError, TypeError):
            fields = json.loads(self._store.fernet.decrypt(sealed or b""))
            if (fields["version"], fields["key"]) == (VERSION, key):
                return self._from_json(fields["value"])
        return None


class RedisStore:
    """The store at url. Every method may raise Problem("unavailable")."""

    def __init__(
        self,
        url: str,
        secret_key: str,
        queueing: Wait,
        need_thread: Callable[[], None] = lambda: None,
    ) -> None:
        self.queueing, self._need_thread = queueing, need_thread
        hkdf = HKDF(SHA256(), length=32, salt=None, info=b"now_playing redis values")
        key = hkdf.derive(secret_key.encode())
        self.fernet = Fernet(base64.urlsafe_b64encode(key))
        # A connection that died is replaced at once; a slow server is not asked twice.
        once_more = Retry(NoBackoff(), 1, supported_errors=(redis.ConnectionError,))
        self._client = self._connect(url, SOCKET_SECONDS, once_more)
        self._probe = self._connect(url, 0.1, Retry(NoBackoff(), 0))
        self._paused_until = 0.0
        self.auths: RedisTable[str] = RedisTable(self, "auth", AUTH_SECONDS)
        self.users: RedisTable[User] = RedisTable(
            self, "user", USER_SECONDS, asdict, User.from_json
        )

    @staticmethod
    def _connect(url: str, seconds: float, retry: Retry) -> Any:
        return redis.Redis.from_url(
            url, socket_timeout=seconds, socket_connect_timeout=seconds, retry=retry
        )

    @contextmanager
    def reached(self) -> Iterator[Any]:
        """Give the client for a block that asks Redis."""
        self._need_thread()
        try:
            yield self._client
        except redis.RedisError:
            raise Problem("unavailable") from None

    def paused(self) -> float:
        if (left := self._paused_until - time.monotonic()) > 0:
            return left
        with self.reached() as client:
            left = float(client.pttl(f"{PREFIX}:paused"))  # milliseconds, or negative
        return max(0.0, left / 1000)

    def pause(self, seconds: float) -> None:
        seconds = max(seconds, self.paused())
        self._paused_until = time.monotonic() + seconds
        with self.reached() as client:
            client.set(f"{PREFIX}:paused", 1, px=int(1000 * seconds))

    def close(self) -> None:
        """Close all connections."""
        self._client.close()
        self._probe.close()

    def ready(self) -> bool:
        self._need_thread()
        with suppress(redis.RedisError):
            return bool(self._probe.ping())
        return False
