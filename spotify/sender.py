"""How requests reach Spotify: over libcurl, bounded in number, time and size."""

from __future__ import annotations

import json
import logging
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Lock
from typing import Any

import pycurl
import tekore as tk

from config import SPOTIFY_ACCOUNTS, SPOTIFY_API, Config
from problems import Problem

from .curl import CurlError, fetch
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

    Its content is decoded from JSON, or text, or None where it is empty. Statuses other
    than 2xx, 400, 401 and 403 are a Problem: rate_limited, quota_exceeded, unreachable;
    so is what never gets an answer: busy, unreachable.
    """

    is_async = False

    def __init__(self, config: Config, clock: Callable[[], float]) -> None:
        self._bases = {
            SPOTIFY_ACCOUNTS: config.accounts_url,
            SPOTIFY_API: config.api_url,
        }
        self.calls = DailyCalls(config.daily_calls, config.workers, clock)
        # Refreshes have a lane of their own, so that strangers' logins stop nobody.
        self._logins, self._refreshes = (
            Lane(config.threads // 4 + 1, TOKEN_SECONDS, clock) for _ in range(2)
        )
        self._api = Lane(config.threads, CALL_SECONDS, clock)

    def send(self, request: tk.Request) -> tk.Response:
        """Send what tekore wants sent, to the base URL that the settings name."""
        base = next(base for base in self._bases if request.url.startswith(base))
        url = self._bases[base] + request.url.removeprefix(base)
        if base == SPOTIFY_API:
            return self._api.send(request, url, self.calls)
        is_refresh = (request.data or {}).get("grant_type") == "refresh_token"
        lane = self._refreshes if is_refresh else self._logins
        response = lane.send(request, url)
        if response.status_code == 401:
            response.status_code = 400  # the same to us; tekore 6.2 fails on a 401
        if response.status_code == 200 and isinstance(response.content, dict):
            response.content = _complete(response.content)
        return response

    def close(self) -> None:
        """Do nothing: the connections end with the process."""


class Lane:
    """One kind of request, with a limit, connections and rate-limit pauses of its own.

    calls: how many at once; more queue for a moment. seconds: for one call.
    """

    def __init__(self, calls: int, seconds: float, clock: Callable[[], float]) -> None:
        self._seconds, self._clock = seconds, clock
        self._free, self._most_waiting = calls, QUEUE_PER_CALL * calls
        self._waiting: deque[Lock] = deque()  # each is released when it is its turn
        self._mutex = Lock()
        self._handles: list[pycurl.Curl] = []  # with connections to use again
        self._paused_until, self._pause = 0.0, "rate_limited"

    def send(
        self, request: tk.Request, url: str, calls: DailyCalls | None = None
    ) -> tk.Response:
        """Send the request. calls: counts those that went out."""
        if (seconds := self._paused_until - self._clock()) > 0:
            raise Problem(self._pause, seconds)
        with self._turn():
            curl = self._handles.pop() if self._handles else pycurl.Curl()
            try:
                body = fetch(curl, request, url, self._seconds)
            except CurlError as error:
                # The handle goes: its connection may be one that has gone silent.
                log.warning("Spotify: %s %s: %s", request.method, url, error)
                raise Problem("unreachable") from None
            finally:
                if calls and curl.getinfo(pycurl.REQUEST_SIZE):
                    calls.add()
            status = curl.getinfo(pycurl.RESPONSE_CODE)
            # libcurl reads at most six hours; then a call finds out what is left.
            retry_after = curl.getinfo(pycurl.RETRY_AFTER)
            self._handles.append(curl)
        if not 200 <= status < 300:
            log.warning("Spotify: %s %s: status %d", request.method, url, status)
        content = _content(body)
        if status == 429:
            self._begin_pause(content, retry_after or USUAL_WAIT, calls)
        if not (200 <= status < 300 or status in (400, 401, 403)):
            raise Problem("unreachable")
        return tk.Response(url, {}, status, content)

    def _begin_pause(
        self, content: Any, seconds: float, calls: DailyCalls | None
    ) -> None:
        """Let nothing out for that long. Raises Problem."""
        error = content.get("error") if isinstance(content, dict) else None
        reason = error.get("reason") if isinstance(error, dict) else None
        name = "quota_exceeded" if reason == "QUOTA_EXCEEDED" else "rate_limited"
        if name == "quota_exceeded" and calls:
            calls.learn()
        log.warning("Spotify: %s, no request for %d s", name, seconds)
        until = self._clock() + seconds
        if until > self._paused_until:
            self._paused_until, self._pause = until, name
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


def _complete(token: dict[str, Any]) -> dict[str, Any]:
    """Return a token answer with the fields that tekore requires, in its types.

    With PKCE the answer has used up the old refresh token: refusing it loses the login.
    """
    seconds, scope = token.get("expires_in"), token.get("scope")
    try:
        seconds = int(seconds)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        seconds = USUAL_TOKEN_SECONDS
    scope = " ".join(map(str, scope)) if isinstance(scope, list) else scope or ""
    return {"token_type": "Bearer", **token, "expires_in": seconds, "scope": scope}
