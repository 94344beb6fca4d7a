"""Locks within this process, one for each key."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from weakref import WeakValueDictionary

from problems import Problem


class KeyedLocks:
    """A lock for each key that somebody holds or waits for.

    most_waiting: how many callers may wait, for all keys together, because each of them
    keeps one of the server's threads.
    """

    def __init__(self, most_waiting: int) -> None:
        self._waiting = threading.BoundedSemaphore(most_waiting)
        self._locks: WeakValueDictionary[str, threading.Lock] = WeakValueDictionary()
        self._mutex = threading.Lock()

    @contextmanager
    def hold(self, key: str, deadline: float) -> Iterator[bool]:
        """Let one caller in at a time; give False to one who waited until the deadline.

        deadline: in seconds of time.monotonic. Raises Problem("busy") if too many wait.
        """
        with self._mutex:
            lock = self._locks.setdefault(key, threading.Lock())
        locked = lock.acquire(blocking=False) or self._wait(lock, deadline)
        try:
            yield locked
        finally:
            if locked:
                lock.release()

    def _wait(self, lock: threading.Lock, deadline: float) -> bool:
        if not self._waiting.acquire(blocking=False):
            raise Problem("busy")
        try:
            return lock.acquire(timeout=max(deadline - time.monotonic(), 0.0))
        finally:
            self._waiting.release()
