"""Where pending logins (auths) and logged-in users live: dicts, or Redis."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from itertools import islice
from typing import Generic, Protocol, TypeVar

from user import User

AUTH_SECONDS, MOST_AUTHS = 600, 10_000
USER_SECONDS, MOST_USERS = 30 * 86_400, 100_000

V = TypeVar("V")
Wait = Callable[[], AbstractContextManager[None]]


class Table(Protocol[V]):
    """What both stores offer: a dict whose entries expire."""

    def get(self, key: str) -> V | None:
        """Return the value and start its time anew."""

    def put(self, key: str, value: V) -> None:
        """Store the value, old or new."""

    def replace(self, key: str, value: V) -> bool:
        """Store the value if the key is still there, and tell whether it was."""

    def pop(self, key: str) -> V | None:
        """Take the value out; of many callers at once, one gets it."""

    def turn(self, key: str, seconds: float) -> AbstractContextManager[bool]:
        """Give True to one caller at a time, for the length of the block.

        To any other that comes meanwhile it gives False, once the turn is over or
        after that many seconds.
        """


class Store(Protocol):
    """Both tables, and the rate-limit window that all share."""

    @property
    def auths(self) -> Table[str]: ...
    @property
    def users(self) -> Table[User]: ...
    def close(self) -> None: ...
    def paused(self) -> float:
        """Return for how many seconds yet Spotify wants no request, 0 for none."""

    def pause(self, seconds: float) -> None:
        """Let nobody's request out for that long."""

    def ready(self) -> bool:
        """Tell whether the store answers, within 250 ms."""


@dataclass(slots=True)
class _Entry(Generic[V]):
    value: V
    expires_at: float
    turn: threading.Lock = field(default_factory=threading.Lock)


class MemoryTable(Generic[V]):
    """An OrderedDict, least recently used first, so that expiry is a look at its start.

    seconds: how long an entry lives unused. most: how many there may be; one more
    pushes out the least recently used. clock: seconds since 1970.
    """

    def __init__(
        self, seconds: float, most: int, queueing: Wait, clock: Callable[[], float]
    ) -> None:
        self._seconds, self._most = seconds, most
        self._queueing, self._clock = queueing, clock
        self._entries: OrderedDict[str, _Entry[V]] = OrderedDict()
        self._mutex = threading.Lock()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: str) -> V | None:
        with self._mutex:
            if entry := self._live(key):
                entry.expires_at = self._clock() + self._seconds
                self._entries.move_to_end(key)
                return entry.value
            return None

    def put(self, key: str, value: V) -> None:
        with self._mutex:
            self._entries[key] = _Entry(value, self._clock() + self._seconds)
            self._entries.move_to_end(key)
            # Two at a time: fast enough to keep up, too few for anyone to notice.
            for first in list(islice(self._entries, 2)):
                full = len(self._entries) > self._most
                if full or self._live(first) is None:
                    del self._entries[first]

    def replace(self, key: str, value: V) -> bool:
        with self._mutex:
            if entry := self._live(key):
                entry.value = value
            return entry is not None

    def pop(self, key: str) -> V | None:
        with self._mutex:
            entry = self._live(key)
            self._entries.pop(key, None)
            return entry.value if entry else None

    @contextmanager
    def turn(self, key: str, seconds: float) -> Iterator[bool]:
        with self._mutex:
            entry = self._live(key)
        turn = entry.turn if entry else threading.Lock()
        mine = turn.acquire(blocking=False)
        if not mine and seconds > 0:
            # Passed on at once, so that all who wait go on together.
            with self._queueing():
                if turn.acquire(timeout=seconds):
                    turn.release()
        try:
            yield mine
        finally:
            if mine:
                turn.release()

    def _live(self, key: str) -> _Entry[V] | None:
        entry = self._entries.get(key)
        return entry if entry and self._clock() < entry.expires_at else None


class MemoryStore:
    """The store of one process."""

    def __init__(self, queueing: Wait, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._paused_until = 0.0
        self.auths: MemoryTable[str] = MemoryTable(
            AUTH_SECONDS, MOST_AUTHS, queueing, clock
        )
        self.users: MemoryTable[User] = MemoryTable(
            USER_SECONDS, MOST_USERS, queueing, clock
        )

    def paused(self) -> float:
        return max(0.0, self._paused_until - self._clock())

    def pause(self, seconds: float) -> None:
        self._paused_until = max(self._paused_until, self._clock() + seconds)

    def ready(self) -> bool:
        return True

    def close(self) -> None:
        pass
