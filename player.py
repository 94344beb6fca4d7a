"""What a logged-in person plays: asked when it may tell something, with their token."""

import hashlib
import logging
import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import NamedTuple, TypeVar

import tekore as tk
from cachetools import TTLCache

from problems import Problem
from schedule import Answer
from spotify import Spotify, Token
from spotify.client import Account, Unauthorised
from spotify.playback import NowPlaying
from spotify.tokens import refresh_token
from store import Clock, Store

WAIT_SECONDS = 9.0  # for another visit of the same person
MOST_WAITING = 200  # visits at once, because each of them keeps one of the threads
MOST_PEOPLE, KEPT_SECONDS = 100_000, 3_600  # whose last answer is kept, and how long

T = TypeVar("T")

log = logging.getLogger("now_playing")


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
    """What passes: the last answer to a person. lock: held by the visit that asks."""

    answer: Answer = field(default_factory=Answer)
    account: Account | None = None  # where Spotify did not say it at login
    refused: Token | None = None  # by the API, so it is not sent again
    # Why the last visit that asked has no answer: a problem's name, and its wait.
    failure: tuple[str, float | None] | None = None
    lock: threading.RLock = field(default_factory=threading.RLock)


class Player:
    """What people play, each with their own token."""

    def __init__(
        self, cred: tk.Credentials, spotify: Spotify, store: Store[User], clock: Clock
    ) -> None:
        self._cred, self._spotify, self._store = cred, spotify, store
        self._calls, self._clock = spotify.calls, clock
        self._people: TTLCache[str, Person] = TTLCache(
            MOST_PEOPLE, KEPT_SECONDS, clock.monotonic
        )
        self._mutex = threading.Lock()
        self._waiting = threading.BoundedSemaphore(MOST_WAITING)

    def now_playing(self, user_id: str, look: bool = False) -> Current:
        """Return what the person plays, by the last answer until its time has come.

        user_id: empty for nobody. look: somebody is looking, so ask again unless the
        answer is a moment old. Raises Problem with status 401 when the person is not,
        or no longer, logged in.
        """
        user, person, failure = self._user(user_id), self._person(user_id), None
        try:
            if not person.answer.serves(self._clock.monotonic(), look):
                with self._one_at_a_time(person) as waited:
                    if waited and person.failure:  # of the visit that was waited for
                        raise Problem(*person.failure)
                    user = self._user(user_id) if waited else user
                    if not person.answer.serves(self._clock.monotonic(), look):
                        self._ask_again(user_id, user, person, look)
        except Problem as problem:
            if problem.status == 401:
                raise
            failure = problem.with_traceback(None)  # that holds Spotify's whole answer
        return self._current(user.account or person.account, person.answer, failure)

    def is_logged_in(self, user_id: str) -> bool:
        """Tell whether somebody is logged in under this ID."""
        return bool(user_id and self._store.users.get(user_id))

    def ask(self, user_id: str, call: Callable[[Token], T]) -> T:
        """Return call(token) with the person's token, which is renewed if need be.

        Raises what the call raises, and Problem with status 401 when the person is not,
        or no longer, logged in.
        """
        return self._ask(user_id, self._user(user_id), call)

    def _ask(self, user_id: str, user: User, call: Callable[[Token], T]) -> T:
        person, token = self._person(user_id), user.token
        if token == person.refused or token.is_expiring(self._clock.time()):
            token = self._renew(user_id, token)
        for _ in range(2):
            try:
                return call(token)
            except Unauthorised:
                if token.is_young(self._clock.time()):
                    break  # the trouble is Spotify's
                person.refused = token
                token = self._renew(user_id, token)
        raise Problem("unreachable")

    def _user(self, user_id: str) -> User:
        if not user_id:
            raise Problem("logged_out")
        if user := self._store.users.get(user_id):
            return user
        raise Problem("session_unknown")

    def _person(self, user_id: str) -> Person:
        with self._mutex:
            person = self._people.get(user_id) or Person()
            self._people[user_id] = person  # its time starts anew
            return person

    @contextmanager
    def _one_at_a_time(self, person: Person) -> Iterator[bool]:
        """Let one visit in, and tell whether it had to wait. Raises Problem("busy")."""
        waited = not person.lock.acquire(blocking=False)
        if waited:
            if not self._waiting.acquire(blocking=False):
                raise Problem("busy")
            try:
                if not person.lock.acquire(timeout=WAIT_SECONDS):
                    raise Problem("busy")
            finally:
                self._waiting.release()
        else:
            person.failure = None
        try:
            yield waited
        finally:
            person.lock.release()

    def _ask_again(self, user_id: str, user: User, person: Person, look: bool) -> None:
        """Ask Spotify, and remember what it says. Raises what will pass in a moment."""
        playing, problem = None, ""
        try:
            playing = self._ask(user_id, user, self._spotify.now_playing)
        except Problem as error:
            if error.status in (401, 503):
                person.failure = error.name, error.retry_after
                raise
            problem = error.name
        account = user.account or person.account
        if playing and look and not account:
            account = person.account = self.ask(user_id, self._spotify.account)
        self._calls.seen((account and account.id) or user_id)
        now, pace = self._clock.monotonic(), self._calls.pace
        person.answer = person.answer.next(playing, problem, now, pace)

    def _current(
        self, account: Account | None, answer: Answer, failure: Problem | None
    ) -> Current:
        if failure:
            return Current(account, None, failure, failure.poll_after_ms)
        now = self._clock.monotonic()
        left = max(math.ceil(1000 * (answer.due - now)), 1)
        if answer.playing:
            playing = answer.playing.after(1000 * (now - answer.at))
            return Current(account, playing, None, left)
        problem = Problem(answer.problem or "unreachable")
        problem.poll_after_ms = left
        return Current(account, None, problem, left)

    def _renew(self, user_id: str, old: Token) -> Token:
        """Renew the token, once for each person at a time, over all processes."""
        with self._one_at_a_time(self._person(user_id)), self._store.lock(user_id):
            user = self._user(user_id)
            if user.token != old:
                return user.token  # somebody else has renewed it
            try:
                fresh = refresh_token(self._cred, old, self._clock.time())
            except Problem as problem:
                if problem.name != "code_refused":
                    raise
                self._store.users.pop(user_id)
                log_user("Spotify ended the login", user_id, logging.WARNING)
                raise Problem("session_ended") from None
            if not self._store.users.replace(user_id, replace(user, token=fresh)):
                raise Problem("logged_out")  # meanwhile, and so it stays
            return fresh


def log_user(what: str, user_id: str, level: int = logging.INFO) -> None:
    """Log what happened to whom, by a name that does not let its reader in."""
    name = hashlib.sha256(user_id.encode()).hexdigest()[:8]
    log.log(level, "%s of user %s", what, name)
