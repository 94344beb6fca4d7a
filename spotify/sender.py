"""How requests reach Spotify: over libcurl, bounded in number, time and size."""

from __future__ import annotations

import json
import logging
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from threading import Lock
from typing import Any

import tekore as tk

from config import SPOTIFY_ACCOUNTS, SPOTIFY_API, Config
from problems import Problem

from .curl import Answer, Handle, NoAnswer
from .quota import DailyCalls

CALL_SECONDS = 4.0  # for a call to the API, all in all
TOKEN_SECONDS = 10.0  # for a token, which is lost if its answer comes too late
QUEUE_SECONDS = 2.5  # that a call may wait for others to end
QUEUE_PER_CALL = 3  # calls that may wait, for each one that may be under way
USUAL_WAIT = 5.0  # seconds to wait after a 429 that does not say how long
USUAL_TOKEN_SECONDS = 3600  # that an access token lives

log = logging.getLogger("now_playing")


class Sender(tk.Sender):
    """tekore's way to Spotify, in place of its own; one serves the whole app.

    Answers with status 2xx, 400, 401 and 403 are returned, with their content decoded
    from JSON, or as text, or None where it is empty. All else is a Problem:
    rate_limited, quota_exceeded, busy or unreachable.
    """

    is_async = False

    def __init__(self, config: Config, clock: Callable[[], float]) -> None:
        self._bases = {
            SPOTIFY_ACCOUNTS: config.accounts_url,
            SPOTIFY_API: config.api_url,
        }
        self.calls = DailyCalls(config.daily_calls, config.workers, clock)
        api, accounts, most = config.api_url, config.accounts_url, config.threads
        self._api = Lane(api, most, CALL_SECONDS, clock, self.calls)
        # Refreshes have a lane of their own, so that strangers' logins stop nobody.
        self._refreshes = Lane(accounts, most // 4 + 1, TOKEN_SECONDS, clock)
        self._logins = Lane(accounts, most // 4 + 1, TOKEN_SECONDS, clock)

    def send(self, request: tk.Request) -> tk.Response:
        """Send what tekore wants sent, to the base URL that the settings name."""
        base = next(base for base in self._bases if request.url.startswith(base))
        url = self._bases[base] + request.url.removeprefix(base)
        if base == SPOTIFY_API:
            return self._api.send(request, url)
        is_refresh = (request.data or {}).get("grant_type") == "refresh_token"
        lane = self._refreshes if is_refresh else self._logins
        return _as_tekore_expects(lane.send(request, url))

    def close(self) -> None:
        """Do nothing: the connections end with the process."""


class Lane:
    """One kind of request, with a limit, connections and rate-limit pauses of its own.

    most: how many at once; more queue for a moment. seconds: for one request. calls:
    counts those that go out.
    """

    def __init__(
        self,
        base: str,
        most: int,
        seconds: float,
        clock: Callable[[], float],
        calls: DailyCalls | None = None,
    ) -> None:
        self._clock, self._calls = clock, calls
        # Plain http leads to this machine: directly, whatever the environment says.
        self._new_handle = partial(Handle, seconds, base.startswith("https:"))
        self._handles: list[Handle] = []  # with connections to use again
        self._free, self._most_waiting = most, QUEUE_PER_CALL * most
        self._waiting: deque[Lock] = deque()  # each is released when it is its turn
        self._mutex = Lock()
        self._pause, self._paused_until = "", 0.0

    def send(self, request: tk.Request, url: str) -> tk.Response:
        """Return the answer. Raises Problem."""
        if (seconds := self._paused_until - self._clock()) > 0:
            raise Problem(self._pause, seconds)
        with self._turn():
            status, body, retry_after = self._send(request, url)
        if not 200 <= status < 300:
            log.warning("Spotify: %s %s: status %d", request.method, url, status)
        content = _content(body)
        if status == 429:
            self._begin_pause(content, retry_after or USUAL_WAIT)
        if not (200 <= status < 300 or status in (400, 401, 403)):
            raise Problem("unreachable")
        return tk.Response(url, {}, status, content)

    def _send(self, request: tk.Request, url: str) -> Answer:
        try:
            handle = self._handles.pop()
        except IndexError:  # a look beforehand could be too early
            handle = self._new_handle()
        try:
            answer = handle.send(request, url)
            self._handles.append(handle)
            return answer
        except NoAnswer as error:
            log.warning("Spotify: %s %s: %s", request.method, url, error)
            raise Problem("unreachable") from None
        finally:
            if self._calls and handle.was_sent:
                self._calls.add()

    def _begin_pause(self, content: Any, seconds: float) -> None:
        """Let nothing out for that long. Raises Problem."""
        error = content.get("error") if isinstance(content, dict) else None
        reason = error.get("reason") if isinstance(error, dict) else None
        name = "quota_exceeded" if reason == "QUOTA_EXCEEDED" else "rate_limited"
        if name == "quota_exceeded" and self._calls:
            self._calls.learn()
        log.warning("Spotify: %s, no request for %d s", name, seconds)
        until = self._clock() + seconds
        if until > self._paused_until:
            self._pause, self._paused_until = name, until
        raise Problem(name, seconds)

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """Wait until a call may go out; who came first goes first.

        Raises Problem("busy") when too many wait, or after 2.5 s.
        """
        turn = Lock()
        turn.acquire()
        with self._mutex:
            if self._free:
                self._free -= 1
                turn.release()
            elif len(self._waiting) == self._most_waiting:
                raise Problem("busy")
            else:
                self._waiting.append(turn)
        if not turn.acquire(timeout=QUEUE_SECONDS):
            with self._mutex:
                if turn in self._waiting:  # else its turn has come just now
                    self._waiting.remove(turn)
                    raise Problem("busy")
        try:
            yield
        finally:
            with self._mutex:
                if self._waiting:
                    self._waiting.popleft().release()
                else:
                    self._free += 1


def _content(body: bytes) -> Any:
    with suppress(ValueError, RecursionError):
        if (content := json.loads(body)) is not None:
            return content
    return body.decode("utf-8", "replace") or None  # the word null stays text


def _as_tekore_expects(response: tk.Response) -> tk.Response:
    """Complete an answer to a request for a token, on which tekore 6.2 would fail.

    With PKCE the answer has used up the old refresh token: refusing it loses the login.
    """
    if response.status_code == 401:
        response.status_code = 400  # the same to us
    token = response.content
    if response.status_code != 200 or not isinstance(token, dict):
        return response
    try:
        seconds = int(token.get("expires_in", USUAL_TOKEN_SECONDS))
    except (TypeError, ValueError, OverflowError):
        seconds = USUAL_TOKEN_SECONDS
    scope = token.get("scope")
    scope = scope if isinstance(scope, str) else ""  # which nothing reads
    defaults = {"token_type": "Bearer"}
    response.content = {**defaults, **token, "expires_in": seconds, "scope": scope}
    return response
