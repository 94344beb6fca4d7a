"""Where pending logins (auths) and logged-in people (users) are kept: dicts, or Redis.

Knows neither Spotify nor people: their form as JSON is handed in.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeVar

from config import Config

V = TypeVar("V")


class Clock(Protocol):
    """The part of the time module that this app reads; tests bring their own."""

    def time(self) -> float:
        """Return the seconds since 1970; it jumps when somebody sets the clock."""

    def monotonic(self) -> float:
        """Return seconds that only ever go forward, by themselves."""


class Table(Protocol[V]):
    """A dict whose entries expire. Any method may raise Problem("unavailable").

    clock: the seconds by which everybody who shares this table tells an entry's age.
    """

    def clock(self) -> float: ...
    def get(self, key: str) -> V | None:
        """Return the value and start its time anew."""

    def put(self, key: str, value: V) -> None:
        """Store the value. Raises Problem("busy") if there are too many new ones."""

    def update(
        self, key: str, change: Callable[[V], V], known: V | None = None
    ) -> V | None:
        """Change the value in one step and return it, or None if it is not there.

        known: the value as last seen, for a change that must not get lost. If the store
        fails, this process keeps that change, and repeats it until it is stored.
        """

    def pop(self, key: str) -> V | None:
        """Take the value out; of many callers at once, one gets it."""

    def lock(self, key: str, deadline: float) -> AbstractContextManager[bool]:
        """Let one caller in at a time; give False to one who waited in vain.

        deadline: in seconds of time.monotonic. Raises Problem("busy") if too many wait.
        """


class Store(Protocol[V]):
    """Both tables, and the pauses that Spotify's hosts have asked for."""

    @property
    def auths(self) -> Table[str]: ...
    @property
    def users(self) -> Table[V]: ...

    def paused(self, host: str) -> float:
        """Return for how many seconds yet the host wants no request, 0 for none."""

    def pause(self, host: str, seconds: float) -> None:
        """Let nobody's request out to the host for that long."""

    def ready(self) -> bool:
        """Tell whether the store answers, within 250 ms."""

    def close(self) -> None:
        """Close all connections."""


def open_store(
    config: Config,
    to_json: Callable[[V], Any],
    from_json: Callable[[Any], V],
    clock: Clock = time,
) -> Store[V]:
    """Return the store that the settings ask for."""
    if config.redis_url:
        from .redis import RedisStore  # with packages that only it needs

        return RedisStore(config, to_json, from_json, clock)
    from .memory import MemoryStore

    memory: MemoryStore[V] = MemoryStore(config, clock)
    return memory
