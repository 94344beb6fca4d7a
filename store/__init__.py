"""What lasts: pending logins (auths) and logged-in people (users).

Knows neither Spotify nor people: what a person is comes as a type.
"""

import logging
from contextlib import AbstractContextManager
from typing import Protocol, TypeVar

from config import Config

from .memory import MemoryStore

V = TypeVar("V")

log = logging.getLogger("now_playing")


class Clock(Protocol):
    """The part of the time module that this app reads; tests bring their own."""

    def time(self) -> float: ...
    def monotonic(self) -> float: ...


class Table(Protocol[V]):
    """A dict whose entries expire when they go unused.

    Any method may raise Problem("unavailable").
    """

    def get(self, key: str) -> V | None:
        """Return the value and renew it, or return None if it is not there."""

    def put(self, key: str, value: V) -> None:
        """Store the value."""

    def replace(self, key: str, value: V) -> bool:
        """Store the value only if the key is still there, and tell whether it was."""

    def pop(self, key: str) -> V | None:
        """Take the value out; of many callers at once, one gets it."""


class Store(Protocol[V]):
    """The two tables. secret_key: what signs the cookie, if the settings have none."""

    secret_key: str

    @property
    def auths(self) -> Table[str]: ...
    @property
    def users(self) -> Table[V]: ...

    def lock(self, key: str) -> AbstractContextManager[object]:
        """Let one process in at a time. Raises Problem("busy") after a while."""

    def ready(self) -> bool:
        """Tell whether the store answers, within 250 ms."""


def open_store(config: Config, person: type[V], clock: Clock) -> Store[V]:
    """Return the store that the settings ask for.

    person: the type of a value of users. Raises ConfigError if a file can't be used.
    """
    if config.redis_url:
        from .redis import RedisStore  # with packages that only it needs

        return RedisStore(config, person)
    if config.logins_file:
        from .file import FileStore

        return FileStore(config.logins_file, person, clock)
    log.info("logins end with this process: to keep them, set LOGINS_FILE or REDIS_URL")
    return MemoryStore(clock.monotonic)
