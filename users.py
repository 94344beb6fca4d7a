"""People who are logged in: in by a code, what they play now, out at any time."""

import hashlib
import logging
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

from problems import Problem, spread_out
from spotify.client import Account, Spotify, Token, Unauthorised
from spotify.playback import NowPlaying
from store import Table

ENDED = Token("", None, 0)  # in place of a token that Spotify has ended
FRESH_SECONDS = 2.0  # however many tabs ask, Spotify is asked once in this time
LOGIN_PROBLEMS = {"rate_limited": "login_later", "unreachable": "login_failed"}

log = logging.getLogger("now_playing")


@dataclass(frozen=True, slots=True)
class User:
    """A logged-in person: token, Spotify account if known, last answer if any.

    The answer is what plays, or a problem's name. answered_at: by the table's clock.
    """

    token: Token
    account: Account | None = None
    playing: NowPlaying | None = None
    problem: str | None = None
    answered_at: float = 0.0


class Current(NamedTuple):
    """A person right now: what they play, or the problem with that."""

    account: Account | None
    playing: NowPlaying | None
    problem: Problem | None
    poll_after_ms: int = 0


class Users:
    """The people who are logged in, by their generated user ID.

    people: the table that keeps them. seconds: how long one visit may take.
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
        """Forget the person, if there is one."""
        user = self._people.pop(user_id) if user_id else None
        if user_id and user and user.token != ENDED:
            log.info("logout of user %s", _log_id(user_id))

    def is_logged_in(self, user_id: str | None) -> bool:
        """Tell whether somebody is logged in under this ID."""
        user = self._people.get(user_id) if user_id else None
        return user is not None and user.token != ENDED

    def now_playing(
        self, user_id: str | None, with_account: bool = False, look: bool = False
    ) -> Current:
        """Return the person, and what they play by an answer of the last seconds.

        with_account: also ask for the Spotify account again, if that failed at login.
        Raises Problem with status 401 when the person is not, or no longer, logged in.
        """
        if not user_id:
            raise Problem("logged_out")
        deadline = time.monotonic() + self._seconds
        user = self._get(user_id)
        try:
            if not self._is_fresh(user):
                with self._people.lock(user_id, deadline):
                    user = self._get(user_id)  # another request may have asked
                    if not self._is_fresh(user):
                        user = self._ask(user_id, user, with_account, deadline)
        except Problem as problem:
            if problem.status == 401:
                raise
            return Current(user.account, None, problem, problem.poll_after_ms)
        age = self._people.clock() - user.answered_at
        playing = user.playing and user.playing.after(1000 * age)
        trouble = None if playing else Problem(user.problem or "unreachable")
        wait = trouble.poll_after_ms if trouble else 0
        wait = spread_out(playing.poll_after_ms) if playing else wait
        return Current(user.account, playing, trouble, wait)

    def _get(self, user_id: str) -> User:
        user = self._people.get(user_id)
        if user is None:
            raise Problem("session_unknown")
        if user.token == ENDED:
            raise Problem("session_ended")
        return user

    def _is_fresh(self, user: User) -> bool:
        age = self._people.clock() - user.answered_at
        answered = user.playing or user.problem
        return answered is not None and abs(age) < FRESH_SECONDS  # a clock may be set

    def _ask(
        self, user_id: str, user: User, with_account: bool, deadline: float
    ) -> User:
        """Ask Spotify what plays, and keep what it says."""
        account, playing, trouble = user.account, None, None
        try:
            user, playing = self._ask_with_token(user_id, user, deadline)
            if with_account and account is None:
                account = self._account(user.token, deadline)
        except Problem as problem:
            if problem.status in (401, 503):  # logged out, or a matter of the moment
                raise
            trouble = problem.name
        now = self._people.clock()
        return self._change(
            user_id, lambda kept: User(kept.token, account, playing, trouble, now)
        )

    def _ask_with_token(
        self, user_id: str, user: User, deadline: float
    ) -> tuple[User, NowPlaying]:
        """Return the user with a token that works, and what plays."""
        try:
            if self._spotify.expires_soon(user.token):
                raise Unauthorised("session_ended")
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
        self._people.keep_lock(user_id)
        try:
            fresh = self._spotify.refresh(user.token, deadline)
        except Problem as problem:
            if problem.name == "code_refused":
                return self._store_token(user_id, user, ENDED)
            # A token that was refused is not sent again while its refresh has to wait.
            if problem.status == 503 and not self._spotify.expires_soon(user.token):
                self._store_token(user_id, user, replace(user.token, expires_at=0))
            if problem.name == "client_refused":  # whoever runs the app can mend that
                raise Problem("unreachable") from None
            raise
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


def _log_id(user_id: str) -> str:
    """Return a name for the log that does not let its reader in."""
    return hashlib.sha256(user_id.encode()).hexdigest()[:8]
