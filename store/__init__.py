"""Where pending logins (auths) and logged-in people (users) are kept: dicts, or Redis.

Knows neither Spotify nor people: what a person is comes as a type.
"""

from typing import TYPE_CHECKING, Protocol, TypeVar, Union

from config import Config

from .memory import MemoryStore, MemoryTable

if TYPE_CHECKING:
    from .redis import RedisStore, RedisTable

V = TypeVar("V")
Store = Union[MemoryStore[V], "RedisStore[V]"]
Table = Union[MemoryTable[V], "RedisTable[V]"]


class Clock(Protocol):
    """The part of the time module that this app reads; tests bring their own."""

    def time(self) -> float: ...
    def monotonic(self) -> float: ...


def open_store(config: Config, person: type[V], clock: Clock) -> Store[V]:
    """Return the store that the settings ask for."""
    if config.redis_url is None:
        return MemoryStore(config, clock.monotonic)
    from .redis import RedisStore  # with packages that only it needs

    return RedisStore(config, person, clock.time)
