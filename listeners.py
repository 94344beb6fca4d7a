"""Logged-in people: in by a code, out at any time, and what they play in between."""

from __future__ import annotations

import hashlib
import logging
import secrets
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

from playback import NowPlaying
from problems import Problem
from spotify import Spotify, Unauthorised
from store import Store
from user import Account, Answer, Token, User

ENDED = Token("", None, 0)  # in place of a token that Spotify has ended
FRESH_SECONDS = 2.0  # however many tabs ask, Spotify is asked once in this time
RECENT_SECONDS = 4.0  # good enough for the rest of a flood while one of it asks

LOGIN_PROBLEMS = {"rate_limited": "login_later", "unreachable": "login_failed"}
POLL_MS = {"playing": 5_000, "paused": 15_000, "nothing": 30_000}  # ad, unknown: 5 s

log = logging.getLogger("now_playing")


class Look(NamedTuple):
    """One look at a person: exactly one of playing and problem is there.

    account: who that is at Spotify, if known. poll_after_ms: when to look again, in
    milliseconds; 0 means never.
    """

    account: Account | None
    playing: NowPlaying | None
    problem: Problem | None
    poll_after_ms: int


class Listeners:
    """The people who are logged in, by their generated user ID."""

    def __init__(
        self,
        spotify: Spotify,
        store: Store,
        deadline: float,
        clock: Callable[[], float],
    ) -> None:
        self._spotify = spotify
        self._store = store
        self._users = store.users
        self._deadline = deadline
        self._clock = clock

    def log_in(self, code: str, verifier: str) -> str:
        """Exchange the code and return a fresh user ID. Raises Problem."""
        try:
            with self._spotify.one_deadline():
                token = self._spotify.exchange(code, verifier)
                user = User(token, self._account(token))
        except Problem as problem:
            log.warning("login failed: %s", problem.name)
            words = LOGIN_PROBLEMS.get(problem.name, problem.name)
            raise Problem(words, problem.retry_after) from None
        user_id = secrets.token_urlsafe(24)
        self._users.put(user_id, user)
        log.info("login of user %s", _tag(user_id))
        return user_id

    def log_out(self, user_id: str) -> None:
        """Forget the person."""
        user = self._users.pop(user_id)
        if user and user.token != ENDED:
            log.info("logout of user %s", _tag(user_id))

    def knows(self, user_id: str | None) -> bool:
        """Tell whether somebody is logged in under this ID."""
        user = self._users.get(user_id) if user_id else None
        return user is not None and user.token != ENDED

    def look(self, user_id: str | None, *, with_account: bool = False) -> Look:
        """Return the person, and an answer that is not older than FRESH_SECONDS.

        Concurrent looks at one person wait for the one call under way, or make do with
        an answer of the last RECENT_SECONDS. with_account: also try again to learn the
        Spotify account, if that failed at login. Raises Problem with status 401 when
        the person is not, or no longer, logged in.
        """
        if not user_id:
            raise Problem("logged_out")
        user = self._known(user_id)
        try:
            if seconds := self._store.paused():
                raise Problem("rate_limited", seconds)
            while not self._is_younger(user.answer, FRESH_SECONDS):
                recent = self._is_younger(user.answer, RECENT_SECONDS)
                wait = 0 if recent else self._deadline
                with self._users.turn(user_id, wait) as mine:
                    user = self._known(user_id)  # another may have asked meanwhile
                    if mine and not self._is_younger(user.answer, FRESH_SECONDS):
                        with self._spotify.one_deadline():
                            user = self._ask(user_id, user, with_account)
                if recent:
                    break
            assert user.answer
            return self._told(user.account, user.answer)
        except Problem as problem:
            if problem.status == 401:
                raise
            return Look(user.account, None, problem, problem.poll_after_ms)

    def _ask(self, user_id: str, user: User, with_account: bool) -> User:
        """Ask Spotify, with a fresh token if need be, and keep what it says."""
        playing = problem = None
        try:
            if self._spotify.expires_soon(user.token):
                user = self._refresh(user_id, user)
            try:
                playing = self._spotify.now_playing(user.token)
            except Unauthorised:
                user = self._refresh(user_id, user)
                playing = self._spotify.now_playing(user.token)
            if with_account and user.account is None:
                user = replace(user, account=self._account(user.token))
        except Problem as error:
            if error.name == "session_ended":
                log.warning("Spotify ended the login of user %s", _tag(user_id))
                self._keep(user_id, User(ENDED))  # so that each tab hears the reason
            if error.name == "rate_limited" or error.status == 401:
                raise
            problem = error.name
        user = replace(user, answer=Answer(self._clock(), playing, problem))
        self._keep(user_id, user)
        return user

    def _refresh(self, user_id: str, user: User) -> User:
        # Kept at once: with PKCE the old refresh token is used up from here on.
        user = replace(user, token=self._spotify.refresh(user.token))
        self._keep(user_id, user)
        return user

    def _keep(self, user_id: str, user: User) -> None:
        if not self._users.replace(user_id, user):
            raise Problem("logged_out")  # meanwhile, and so it stays

    def _known(self, user_id: str) -> User:
        user = self._users.get(user_id)
        if user is None:
            raise Problem("session_unknown")
        if user.token == ENDED:
            raise Problem("session_ended")
        return user

    def _account(self, token: Token) -> Account | None:
        try:
            return self._spotify.account(token)
        except Problem as problem:
            log.warning("no profile: %s", problem.name)
            return None

    def _is_younger(self, answer: Answer | None, seconds: float) -> bool:
        return answer is not None and abs(self._clock() - answer.at) < seconds

    def _told(self, account: Account | None, answer: Answer) -> Look:
        if answer.problem:
            raise Problem(answer.problem)
        assert answer.playing
        age = 1000 * (self._clock() - answer.at)
        playing = answer.playing.after(age)
        wait = POLL_MS.get(playing.state, POLL_MS["playing"]) - age
        if playing.state == "playing" and playing.duration_ms:
            left = playing.duration_ms - (playing.progress_ms or 0)
            wait = min(wait, left + 1000)
        # Before the answer has aged, asking again brings the same one.
        wait = max(wait, 1000 * FRESH_SECONDS - age, 1)
        return Look(account, playing, None, int(wait))


def _tag(user_id: str) -> str:
    """Return a name for the log that does not let its reader in."""
    return hashlib.sha256(user_id.encode()).hexdigest()[:8]
