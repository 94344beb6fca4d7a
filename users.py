"""People who are logged in: in by a code, what they play now, out at any time."""

from __future__ import annotations

import hashlib
import logging
import secrets
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple

from problems import Problem, spread_out
from spotify import Spotify
from spotify.client import Account, Token, Unauthorised
from spotify.playback import NowPlaying
from store import Table

ENDED = Token("", None, 0)  # in place of a token that Spotify has ended
FRESH_SECONDS = 2.0  # however many tabs ask, Spotify is asked once in this time
POLL_MS = {"playing": 5_000, "paused": 15_000, "nothing": 30_000}  # ad, unknown: 5 s

LOGIN_PROBLEMS = {"rate_limited": "login_later", "unreachable": "login_failed"}

log = logging.getLogger("now_playing")


@dataclass(frozen=True, slots=True)
class Answer:
    """What Spotify said last: a NowPlaying or a problem's name, and when.

    at: seconds by the clock of the table that keeps it.
    """

    at: float
    playing: NowPlaying | None = None
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class User:
    """A logged-in person: token, Spotify account if known, last answer if any."""

    token: Token
    account: Account | None = None
    answer: Answer | None = None

    def to_json(self) -> dict[str, Any]:
        """Return all of it in the form that JSON can hold."""
        return asdict(self)

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> User:
        """Return the user whose to_json went through JSON."""
        account, answer = fields["account"], fields["answer"]
        if answer and answer["playing"]:
            answer["playing"] = NowPlaying.from_json(answer["playing"])
        return cls(
            Token(**fields["token"]),
            Account(*account) if account else None,
            Answer(**answer) if answer else None,
        )


class Current(NamedTuple):
    """A person and what they play: exactly one of playing and problem is there.

    poll_after_ms: when to ask again, in milliseconds; 0 means never.
    """

    account: Account | None
    playing: NowPlaying | None
    problem: Problem | None
    poll_after_ms: int


class Users:
    """The people who are logged in, by their generated user ID.

    seconds: how long one visit may take.
    """

    def __init__(self, spotify: Spotify, people: Table[User], seconds: float) -> None:
        self._spotify, self._people, self._seconds = spotify, people, seconds

    def log_in(self, code: str, verifier: str) -> str:
        """Exchange the code and return a fresh user ID. Raises Problem."""
        deadline = time.monotonic() + self._seconds
        try:
            token = self._spotify.exchange(code, verifier, deadline)
        except Problem as problem:
            log.warning("login failed: %s", problem.name)
            name = LOGIN_PROBLEMS.get(problem.name, problem.name)
            raise Problem(name, problem.retry_after) from None
        user_id = secrets.token_urlsafe(24)
        self._people.put(user_id, User(token, self._account(token, deadline)))
        log.info("login of user %s", _log_id(user_id))
        return user_id

    def log_out(self, user_id: str | None) -> None:
        """Forget the person."""
        user = self._people.pop(user_id) if user_id else None
        if user_id and user and user.token != ENDED:
            log.info("logout of user %s", _log_id(user_id))

    def is_logged_in(self, user_id: str | None) -> bool:
        """Tell whether somebody is logged in under this ID."""
        user = self._people.get(user_id) if user_id else None
        return user is not None and user.token != ENDED

    def now_playing(
        self, user_id: str | None, *, with_account: bool = False
    ) -> Current:
        """Return the person, and an answer that is not older than FRESH_SECONDS.

        with_account: also ask for the Spotify account again, if that failed at login.
        Raises Problem with status 401 when the person is not, or no longer, logged in.
        """
        if not user_id:
            raise Problem("logged_out")
        user = self._get(user_id)
        account, answer = user.account, self._fresh_answer(user)
        try:
            if answer is None:
                account, answer = self._ask_once(user_id, with_account)
            return self._current(account, answer)
        except Problem as problem:
            if problem.status == 401:
                raise
            return Current(account, None, problem, problem.poll_after_ms)

    def _get(self, user_id: str) -> User:
        user = self._people.get(user_id)
        if user is None:
            raise Problem("session_unknown")
        if user.token == ENDED:
            raise Problem("session_ended")
        return user

    def _fresh_answer(self, user: User) -> Answer | None:
        answer = user.answer
        fresh = answer and abs(self._people.clock() - answer.at) < FRESH_SECONDS
        return answer if fresh else None

    def _ask_once(
        self, user_id: str, with_account: bool
    ) -> tuple[Account | None, Answer]:
        """Ask Spotify, unless another request did so while this one waited."""
        deadline = time.monotonic() + self._seconds
        with self._people.lock(user_id, deadline) as locked:
            user = self._get(user_id)
            if answer := self._fresh_answer(user):
                return user.account, answer
            if not locked:
                raise Problem("busy")
            return self._ask(user_id, user, with_account, deadline)

    def _ask(
        self, user_id: str, user: User, with_account: bool, deadline: float
    ) -> tuple[Account | None, Answer]:
        """Ask Spotify, with a fresh token if need be, and keep what it says."""
        account, playing, trouble = user.account, None, None
        try:
            user, playing = self._ask_spotify(user_id, user, deadline)
            if with_account and account is None:
                account = self._account(user.token, deadline)
        except Problem as problem:
            if problem.status in (401, 503):  # logged out, or a matter of the moment
                raise
            trouble = problem.name
        answer = Answer(self._people.clock(), playing, trouble)
        self._change(user_id, lambda now: replace(now, account=account, answer=answer))
        return account, answer

    def _ask_spotify(
        self, user_id: str, user: User, deadline: float
    ) -> tuple[User, NowPlaying]:
        """Return the user with a token that works, and what plays."""
        if self._spotify.expires_soon(user.token):
            user = self._refresh(user_id, user, deadline)
        try:
            return user, self._spotify.now_playing(user.token, deadline)
        except Unauthorised:
            user = self._refresh(user_id, user, deadline)
        try:
            return user, self._spotify.now_playing(user.token, deadline)
        except Unauthorised:  # even with a new token
            self._store_token(user_id, user, ENDED)
            raise Problem("busy") from None  # another process just got one

    def _account(self, token: Token, deadline: float) -> Account | None:
        try:
            return self._spotify.account(token, deadline)
        except Problem as problem:
            log.warning("no profile: %s", problem.name)
            return None

    def _refresh(self, user_id: str, user: User, deadline: float) -> User:
        try:
            fresh = self._spotify.refresh(user.token, deadline)
        except Problem as problem:
            if problem.name != "session_ended":
                raise
            fresh = ENDED
        return self._store_token(user_id, user, fresh)

    def _store_token(self, user_id: str, user: User, fresh: Token) -> User:
        """Store a token in place of the user's, unless another process did so.

        Returns what is stored. Raises Problem session_ended if that is ENDED.
        """

        def change(now: User) -> User:
            return replace(now, token=fresh) if now.token == user.token else now

        # With PKCE the old refresh token is used up, so this must not get lost.
        stored = self._change(user_id, change, known=user)
        if stored.token == ENDED:
            log.warning("Spotify ended the login of user %s", _log_id(user_id))
            raise Problem("session_ended")
        return stored

    def _change(
        self, user_id: str, change: Callable[[User], User], known: User | None = None
    ) -> User:
        user = self._people.update(user_id, change, known)
        if user is None:
            raise Problem("logged_out")  # meanwhile, and so it stays
        return user

    def _current(self, account: Account | None, answer: Answer) -> Current:
        """Return what plays now, going by an answer that has aged a little."""
        if answer.playing is None:
            raise Problem(answer.problem or "unreachable")
        age = 1000 * max(self._people.clock() - answer.at, 0.0)
        playing = answer.playing.after(age)
        wait = POLL_MS.get(playing.state, POLL_MS["playing"]) - age
        if playing.state == "playing" and playing.duration_ms:
            left = playing.duration_ms - (playing.progress_ms or 0)
            wait = min(wait, left + 1000)
        # Before the answer has aged, asking again brings the same one.
        wait = max(wait, 1000 * FRESH_SECONDS - age, 1)
        return Current(account, playing, None, spread_out(wait))


def _log_id(user_id: str) -> str:
    """Return a name for the log that does not let its reader in."""
    return hashlib.sha256(user_id.encode()).hexdigest()[:8]
