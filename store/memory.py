"""What lasts, in dicts that forget. It ends with the process."""

import secrets
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import Generic, TypeVar

from cachetools import TTLCache

AUTH_SECONDS, USER_SECONDS = 600, 30 * 86_400  # that an entry lives unused
MOST_ENTRIES = 100_000  # one more pushes out the least recently used

V = TypeVar("V")


class MemoryTable(Generic[V]):
    """A dict of at most 100,000 entries, each of which expires when it goes unused.

    seconds: how long an entry lives. clock: tells seconds, such as time.monotonic.
    """

    def __init__(self, seconds: float, clock: Callable[[], float]) -> None:
        self._entries: TTLCache[str, V] = TTLCache(MOST_ENTRIES, seconds, clock)
        self._mutex = threading.Lock()  # TTLCache is not safe for threads

    def get(self, key: str) -> V | None:
        """Return the value and renew it, or return None if it is not there."""
        with self._mutex, suppress(KeyError):
            self._entries[key] = value = self._entries[key]
            return value
        return None

    def put(self, key: str, value: V) -> None:
        """Store the value."""
        with self._mutex:
            self._entries[key] = value
            self._keep(key)

    def replace(self, key: str, value: V) -> bool:
        """Store the value only if the key is still there, and tell whether it was."""
        with self._mutex:
            if there := key in self._entries:
                self._entries[key] = value
                self._keep(key)
            return there

    def pop(self, key: str) -> V | None:
        """Take the value out; of many callers at once, one gets it."""
        with self._mutex:
            value = self._entries.pop(key, None)
            self._keep(key)
            return value

    def _keep(self, key: str) -> None:
        """Do nothing. Called with the mutex whenever an entry has changed."""


class MemoryStore(Generic[V]):
    """Both tables as dicts."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.secret_key = secrets.token_urlsafe()
        self.auths: MemoryTable[str] = MemoryTable(AUTH_SECONDS, clock)
        self.users: MemoryTable[V] = MemoryTable(USER_SECONDS, clock)

    def lock(self, key: str) -> AbstractContextManager[object]:
        """Do nothing: no other process has this store."""
        return nullcontext()

    def ready(self) -> bool:
        """Tell whether the store answers, within 250 ms."""
        return True
