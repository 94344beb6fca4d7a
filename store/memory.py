"""The store of one process: dicts."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import islice
from typing import Generic, TypeVar

from config import Config
from problems import Problem

from . import Clock
from .locks import KeyedLocks

AUTH_SECONDS, MOST_AUTHS = 600, 100_000
USER_SECONDS, MOST_USERS = 30 * 86_400, 100_000
SAFE_AUTH_SECONDS = 60  # a login that was begun is not pushed out before

V = TypeVar("V")


@dataclass(slots=True)
class _Entry(Generic[V]):
    value: V
    used_at: float


class MemoryTable(Generic[V]):
    """An OrderedDict, least recently used first, so that expiry is a look at its start.

    seconds: how long an entry lives unused. most: how many there may be; one more
    pushes out the least recently used, unless that is younger than safe_seconds.
    """

    def __init__(
        self,
        seconds: float,
        most: int,
        locks: KeyedLocks,
        clock: Callable[[], float],
        safe_seconds: float = 0,
    ) -> None:
        self._seconds, self._most, self._safe_seconds = seconds, most, safe_seconds
        self._locks, self.clock = locks, clock
        self._entries: OrderedDict[str, _Entry[V]] = OrderedDict()
        self._mutex = threading.Lock()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: str) -> V | None:
        with self._mutex:
            if entry := self._live(key):
                entry.used_at = self.clock()
                self._entries.move_to_end(key)
                return entry.value
            return None

    def put(self, key: str, value: V) -> None:
        with self._mutex:
            # Two at a time: fast enough to keep up, too few for anyone to notice.
            for oldest in list(islice(self._entries, 2)):
                if self._live(oldest) is None:
                    del self._entries[oldest]
            if len(self._entries) >= self._most:
                oldest = next(iter(self._entries))
                age = self.clock() - self._entries[oldest].used_at
                if age < self._safe_seconds:
                    raise Problem("busy")
                del self._entries[oldest]
            self._entries[key] = _Entry(value, self.clock())

    def update(
        self, key: str, change: Callable[[V], V], known: V | None = None
    ) -> V | None:
        with self._mutex:
            if entry := self._live(key):
                entry.value = change(entry.value)
                return entry.value
            return None

    def pop(self, key: str) -> V | None:
        with self._mutex:
            entry = self._live(key)
            self._entries.pop(key, None)
            return entry.value if entry else None

    def lock(self, key: str, deadline: float) -> AbstractContextManager[bool]:
        return self._locks.hold(key, deadline)

    def _live(self, key: str) -> _Entry[V] | None:
        entry = self._entries.get(key)
        expired = entry and self.clock() - entry.used_at >= self._seconds
        return None if expired else entry


class MemoryStore(Generic[V]):
    """Both tables as dicts. Everything counts by the monotonic clock."""

    def __init__(self, config: Config, clock: Clock = time) -> None:
        self._clock = clock.monotonic
        self._paused_until: dict[str, float] = {}
        locks = KeyedLocks(config.most_waiting)
        self.auths: MemoryTable[str] = MemoryTable(
            AUTH_SECONDS, MOST_AUTHS, locks, self._clock, SAFE_AUTH_SECONDS
        )
        self.users: MemoryTable[V] = MemoryTable(
            USER_SECONDS, MOST_USERS, locks, self._clock
        )

    def paused(self, host: str) -> float:
        return max(0.0, self._paused_until.get(host, 0.0) - self._clock())

    def pause(self, host: str, seconds: float) -> None:
        until = self._clock() + max(seconds, self.paused(host))
        self._paused_until[host] = until

    def ready(self) -> bool:
        return True

    def close(self) -> None:
        pass
