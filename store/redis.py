"""What lasts, in a Redis that several processes and machines share."""

import hmac
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from typing import Any, Generic, TypeVar

from cryptography.fernet import Fernet, InvalidToken
from pydantic import TypeAdapter
from redis import ConnectionError, Redis, RedisError
from redis.backoff import ConstantBackoff
from redis.retry import Retry

from config import Config
from problems import Problem, log

from .memory import AUTH_SECONDS, USER_SECONDS

SOCKET_SECONDS, PROBE_SECONDS = 0.5, 0.1
# A refreshed token must not get lost: with PKCE the old one is used up. So saving it
# is tried for this long: again and again, or once if Redis does not answer.
SAVE_SECONDS, SAVE_AGAIN_SECONDS = 3.0, 0.25
LOCK_SECONDS = 20  # more than a refresh with all its calls can take
LOCK_WAIT_SECONDS = 8.0
MOST_CONNECTIONS = 10_000  # redis-py's 100 are fewer than the threads that need one

V = TypeVar("V")


class RedisTable(Generic[V]):
    """A table of the store; each method is one command.

    Values are encrypted, and can be read under their own name only.
    """

    def __init__(
        self, clients: tuple[Any, Any], name: str, seconds: int, key: str, kind: type[V]
    ) -> None:
        self._client, self._patient_client = clients
        self._name, self._seconds, self._json = name, seconds, TypeAdapter(kind)
        digest = hmac.digest(key.encode(), b"now_playing redis values", "sha256")
        self._fernet = Fernet(urlsafe_b64encode(digest))

    def get(self, key: str) -> V | None:
        return self._read(self._client.getex, key, ex=self._seconds)

    def put(self, key: str, value: V) -> None:
        self._write(self._client, key, value)

    def replace(self, key: str, value: V) -> bool:
        return self._write(self._patient_client, key, value, xx=True)

    def pop(self, key: str) -> V | None:
        return self._read(self._client.getdel, key)

    def _read(self, command: Any, key: str, **options: Any) -> V | None:
        """Return the value, or None if none was encrypted here under this name."""
        name = name_of(self._name, key)
        encrypted = _run(command, name, **options)
        with suppress(InvalidToken, ValueError):
            plain = self._fernet.decrypt(encrypted or b"")
            if plain.startswith(name.encode()):
                return self._json.validate_json(plain[len(name) :])
        return None

    def _write(self, client: Any, key: str, value: V, xx: bool = False) -> bool:
        name = name_of(self._name, key)
        encrypted = self._fernet.encrypt(name.encode() + self._json.dump_json(value))
        return bool(_run(client.set, name, encrypted, xx=xx, ex=self._seconds))


class RedisStore(Generic[V]):
    """The store at config.redis_url."""

    def __init__(self, config: Config, person: type[V]) -> None:
        url, self.secret_key = config.redis_url or "", config.secret_key or ""
        tries = int(SAVE_SECONDS / SAVE_AGAIN_SECONDS)
        patient_client = _connect(url, SAVE_SECONDS, tries, SAVE_AGAIN_SECONDS)
        self._client = _connect(url, SOCKET_SECONDS, 1)
        clients, key = (self._client, patient_client), self.secret_key
        self.auths = RedisTable(clients, "auth", AUTH_SECONDS, key, str)
        self.users = RedisTable(clients, "user", USER_SECONDS, key, person)
        self._probe = _connect(url, PROBE_SECONDS, 0)
        if not self.ready():
            log.warning("Redis does not answer yet: see REDIS_URL")

    @contextmanager
    def lock(self, key: str) -> Iterator[None]:
        """Let one process in at a time. Raises Problem: busy, or unavailable."""
        name = name_of("lock", key)
        lock = self._client.lock(name, LOCK_SECONDS, blocking_timeout=LOCK_WAIT_SECONDS)
        if not _run(lock.acquire):
            raise Problem("busy")
        try:
            yield
        finally:
            with suppress(RedisError):  # if it can't be given back, it expires
                lock.release()

    def ready(self) -> bool:
        """Tell whether Redis answers, within 250 ms."""
        with suppress(RedisError):
            return bool(self._probe.ping())
        return False


def name_of(table: str, key: str) -> str:
    """Return the name in Redis: an ID is as good as a password, so it is hashed."""
    return f"now_playing:{table}:{sha256(key.encode()).hexdigest()}"


def _run(command: Callable[..., Any], *args: Any, **options: Any) -> Any:
    """Return what Redis answers, None where it has a value of another type."""
    try:
        return command(*args, **options)
    except RedisError as error:
        if "WRONGTYPE" in str(error):
            return None
        log.warning("Redis: %s", type(error).__name__)
        raise Problem("unavailable") from None


def _connect(url: str, seconds: float, tries: int, again: float = 0.0) -> Any:
    """Return a client that tries again if Redis is gone, but not if it is silent."""
    return Redis.from_url(
        url,
        socket_timeout=seconds,
        socket_connect_timeout=seconds,
        retry=Retry(ConstantBackoff(again), tries, (ConnectionError,)),
        max_connections=MOST_CONNECTIONS,
        # Without these, a new connection asks three times before it is used.
        protocol=2,
        driver_info=None,
    )
