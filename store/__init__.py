"""What lasts: pending logins (auths) and logged-in people (users).

Knows neither Spotify nor people: the type of a person is passed in.
"""

from typing import TYPE_CHECKING, Protocol, TypeVar, Union

from config import Config
from problems import log

from .memory import MemoryStore

if TYPE_CHECKING:
    from .redis import RedisStore

V = TypeVar("V")
Store = Union[MemoryStore[V], "RedisStore[V]"]


class Clock(Protocol):
    """The part of the time module that this app reads; tests bring their own."""

    def time(self) -> float: ...
    def monotonic(self) -> float: ...


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
    if not config.demo:
        log.info("logins end with this process: to keep them, set LOGINS_FILE")
    return MemoryStore(clock.monotonic)
