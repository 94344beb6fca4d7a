"""What a logged-in person plays: Spotify is asked when there may be something new."""

import hashlib
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import NamedTuple, TypeVar

import tekore as tk
from cachetools import TTLCache

from problems import Problem, log
from schedule import Answer, Said
from spotify import Spotify
from spotify.client import Account, Unauthorised
from spotify.playback import NowPlaying
from spotify.tokens import Token, refresh_token
from store import Clock, Store

WAIT_SECONDS = 9.0  # for another visit of the same person
MOST_WAITING = 200  # visits at once, because each of them keeps one of the threads
MOST_PEOPLE, KEPT_SECONDS = 100_000, 3_600  # whose last answer is kept, and how long

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class User:
    """A logged-in person: token, and Spotify account if known."""

    token: Token
    account: Account | None = None


class Current(NamedTuple):
    """A person right now: what they play, or the problem with that."""

    account: Account | None
    playing: NowPlaying | None
    problem: Problem | None
    poll_after_ms: int


@dataclass(slots=True, eq=False)
class Person:
    """What passes: the last answer for a person. lock: held by the visit that asks."""

    answer: Answer = field(default_factory=Answer)
    account: Account | None = None  # where Spotify did not say it at login
    refused: Token | None = None  # by the API, so it is not sent again
    # Name and retry_after of the problem that the last visit met, if that will pass.
    trouble: tuple[str, float | None] = "busy", None
    lock: threading.RLock = field(default_factory=threading.RLock)


class Player:
    """What people play, each with their own token."""

    def __init__(
        self, cred: tk.Credentials, spotify: Spotify, store: Store[User], clock: Clock
    ) -> None:
        self._cred, self._spotify = cred, spotify
        self._store, self._clock = store, clock
        self._people = TTLCache[str, Person](MOST_PEOPLE, KEPT_SECONDS, clock.monotonic)
        self._mutex = threading.Lock()
        self._waiting = threading.BoundedSemaphore(MOST_WAITING)

    def now_playing(self, user_id: str, look: bool = False) -> Current:
        """Return what the person plays, by the last answer until its time has come.

        user_id: empty for nobody. look: somebody is looking, so ask again unless the
        answer is a moment old. Raises Problem with status 401 when the person is not
        logged in, or no longer.
        """
        user, person = self._user(user_id), self._person(user_id)
        try:
            if not person.answer.serves(self._clock.monotonic(), look):
                with self._one_at_a_time(person) as waited:
                    user = self._user(user_id) if waited else user
                    if not person.answer.serves(self._clock.monotonic(), look):
                        if waited:  # in vain
                            raise Problem(*person.trouble)
                        self._ask_again(user_id, user, person, look)
            shown = person.answer.at_time(self._clock.monotonic())
        except Problem as error:
            if error.status == 401:
                raise
            # Its traceback would hold Spotify's whole answer.
            shown = None, error.with_traceback(None), error.poll_after_ms
        return Current(user.account or person.account, *shown)

    def ask(self, user_id: str, call: Callable[[Token], T]) -> T:
        """Return call(token) with the person's token, which is renewed if need be.

        Raises what the call raises, and Problem with status 401 when the person is not,
        or no longer, logged in.
        """
        return self._ask(user_id, self._user(user_id), self._person(user_id), call)

    def _ask(
        self, user_id: str, user: User, person: Person, call: Callable[[Token], T]
    ) -> T:
        token = user.token
        while True:
            if token == person.refused or token.is_expiring(self._clock.time()):
                token = self._renew(user_id, token, person)
            try:
                return call(token)
            except Unauthorised:
                if token.is_young(self._clock.time()):  # the trouble is Spotify's
                    raise Problem("unreachable") from None
                person.refused = token

    def _user(self, user_id: str) -> User:
        if not user_id:
            raise Problem("logged_out")
        if user := self._store.users.get(user_id):
            return user
        raise Problem("session_unknown")

    def _person(self, user_id: str) -> Person:
        with self._mutex:
            person = self._people.get(user_id) or Person()
            self._people[user_id] = person  # keeps it for another hour
            return person

    @contextmanager
    def _one_at_a_time(self, person: Person) -> Iterator[bool]:
        """Let one visit in, and tell whether it had to wait. Raises Problem("busy")."""
        waited = not person.lock.acquire(blocking=False)
        if waited:
            if not self._waiting.acquire(blocking=False):
                raise Problem("busy")
            entered = person.lock.acquire(timeout=WAIT_SECONDS)
            self._waiting.release()
            if not entered:
                raise Problem("busy")
        try:
            yield waited
        finally:
            person.lock.release()

    def _ask_again(self, user_id: str, user: User, person: Person, look: bool) -> None:
        """Ask Spotify, and remember what it says. Raises what will pass in a moment."""
        try:
            said: Said = self._ask(user_id, user, person, self._spotify.now_playing)
            if look and not (user.account or person.account):
                person.account = self.ask(user_id, self._spotify.account)
        except Problem as error:
            if error.status in (401, 503):
                person.trouble = error.name, error.retry_after
                raise
            said = error.name
        account, calls = user.account or person.account, self._spotify.calls
        calls.seen((account and account.id) or user_id)
        person.answer = person.answer.next(said, self._clock.monotonic(), calls.pace)

    def _renew(self, user_id: str, old: Token, person: Person) -> Token:
        """Renew the token, once for each person at a time, over all processes."""
        with self._one_at_a_time(person), self._store.lock(user_id):
            user = self._user(user_id)
            if user.token != old:
                return user.token  # somebody else has renewed it
            try:
                fresh = refresh_token(self._cred, old, self._clock.time())
            except Problem as problem:
                if problem.status == 401:
                    self._store.users.pop(user_id)
                    log_user("Spotify ended the login", user_id)
                raise
            if not self._store.users.replace(user_id, replace(user, token=fresh)):
                raise Problem("logged_out")  # meanwhile, and that stands
            return fresh


def log_user(what: str, user_id: str) -> None:
    """Log what happened to whom, by a hash: an ID is as good as a password."""
    name = hashlib.sha256(user_id.encode()).hexdigest()[:8]
    log.info("%s of user %s", what, name)
