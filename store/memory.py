"""The store of one process: dicts. Everything counts by the monotonic clock."""

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from itertools import islice
from typing import Generic, TypeVar
from weakref import WeakValueDictionary

from config import Config
from problems import Problem

AUTH_SECONDS, MOST_AUTHS = 600, 100_000
USER_SECONDS, MOST_USERS = 30 * 86_400, 100_000
SAFE_SECONDS = 60  # a login that was begun is not pushed out before

V = TypeVar("V")

log = logging.getLogger("now_playing")


class KeyedLocks:
    """A lock for each key that somebody holds or waits for.

    most_waiting: how many callers may wait, for all keys together, because each of them
    keeps one of the server's threads.
    """

    def __init__(self, most_waiting: int) -> None:
        self._locks: WeakValueDictionary[str, threading.Lock] = WeakValueDictionary()
        self._waiting = threading.BoundedSemaphore(most_waiting)
        self._mutex = threading.Lock()

    @contextmanager
    def hold(self, key: str, deadline: float) -> Iterator[None]:
        """Let one caller in at a time. Raises Problem("busy") after the deadline.

        deadline: in seconds of time.monotonic.
        """
        with self._mutex:
            lock = self._locks.setdefault(key, threading.Lock())
        if not lock.acquire(blocking=False):
            with self.waiting():
                locked = lock.acquire(timeout=max(deadline - time.monotonic(), 0.0))
            if not locked:
                raise Problem("busy")
        try:
            yield
        finally:
            lock.release()

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Count as one who waits. Raises Problem("busy") if there are too many."""
        if not self._waiting.acquire(blocking=False):
            raise Problem("busy")
        try:
            yield
        finally:
            self._waiting.release()


class MemoryTable(Generic[V]):
    """An OrderedDict, least recently used first, so that expiry is a look at its start.

    seconds: how long an entry lives unused. most: how many there may be; one more
    pushes out the least recently used, unless that is younger than safe_seconds. clock:
    seconds, the same for everybody who shares the table.
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
        self._entries: OrderedDict[str, tuple[V, float]] = OrderedDict()
        self._mutex = threading.Lock()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: str) -> V | None:
        """Return the value and start its time anew."""
        return self.update(key, lambda value: value)

    def put(self, key: str, value: V) -> None:
        """Store the value. Raises Problem("busy") if there are too many new ones."""
        now = self.clock()
        with self._mutex:
            # Two at a time: fast enough to keep up, too few for anyone to notice.
            for oldest, (_, used_at) in list(islice(self._entries.items(), 2)):
                age = now - used_at
                full = len(self._entries) >= self._most
                if full and age < self._safe_seconds:
                    raise Problem("busy")
                if full or age >= self._seconds:
                    del self._entries[oldest]
            self._entries[key] = value, now

    def update(
        self, key: str, change: Callable[[V], V], known: V | None = None
    ) -> V | None:
        """Change the value in one step and return it, or None if it is not there.

        known: the value as last seen, for a change that must not get lost. A store that
        can fail keeps that change in this process, and repeats it until it is stored.
        """
        with self._mutex:
            value = self._take(key)
            if value is not None:
                value = change(value)
                self._entries[key] = value, self.clock()
            return value

    def pop(self, key: str) -> V | None:
        """Take the value out; of many callers at once, one gets it."""
        with self._mutex:
            return self._take(key)

    def lock(self, key: str, deadline: float) -> AbstractContextManager[None]:
        """Let one caller in at a time; see KeyedLocks.hold."""
        return self._locks.hold(key, deadline)

    def keep_lock(self, key: str) -> None:
        """Keep a lock through an outage, in a store where it would end by itself."""

    def _take(self, key: str) -> V | None:
        value, used_at = self._entries.pop(key, (None, 0.0))
        return value if self.clock() - used_at < self._seconds else None


class MemoryStore(Generic[V]):
    """Both tables as dicts, and the pauses that Spotify's hosts have asked for."""

    def __init__(self, config: Config, clock: Callable[[], float]) -> None:
        log.info("logins live in this process: to have more than one, set REDIS_URL")
        self._clock = clock
        self._paused_until: dict[str, float] = {}
        locks = KeyedLocks(2 * config.threads)
        self.auths: MemoryTable[str] = MemoryTable(
            AUTH_SECONDS, MOST_AUTHS, locks, clock, SAFE_SECONDS
        )
        self.users: MemoryTable[V] = MemoryTable(USER_SECONDS, MOST_USERS, locks, clock)

    def paused(self, host: str) -> float:
        """Return for how many seconds yet the host wants no request, 0 for none."""
        return max(0.0, self._paused_until.get(host, 0.0) - self._clock())

    def pause(self, host: str, seconds: float) -> None:
        """Let nobody's request out to the host for that long."""
        self._paused_until[host] = self._clock() + max(seconds, self.paused(host))

    def ready(self) -> bool:
        """Tell whether the store answers, within 250 ms."""
        return True
