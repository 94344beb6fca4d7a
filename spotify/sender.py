"""How requests reach Spotify: so many at once, and none while it asks us to wait."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Condition

import tekore as tk

from config import SPOTIFY_ACCOUNTS, SPOTIFY_API, Config
from problems import Problem, log

from .curl import Handle
from .quota import DailyCalls
from .tokens import token_answer

CALL_SECONDS = 4.0  # for a call to the API, all in all
TOKEN_SECONDS = 10.0  # for a token; it is lost if the answer comes too late
QUEUE_SECONDS = 2.5  # that a call may wait for others to end
QUEUE_PER_CALL = 3  # calls that may wait, for each one that may be under way
USUAL_WAIT = 5.0  # seconds to wait after a 429 that does not say how long
USUAL_QUOTA_WAIT = 600.0  # the same, where the daily limit is used up


class Sender(tk.Sender):
    """tekore's way to Spotify, in place of its own; one serves the whole app.

    Answers with status 2xx, 400, 401 and 403 are returned, with their content decoded
    from JSON, or as text, or None where it is empty. All else is a Problem:
    rate_limited, quota_exceeded, busy or unreachable; and what token_answer raises.
    """

    is_async = False

    def __init__(self, config: Config, clock: Callable[[], float]) -> None:
        most, few = config.threads, config.threads // 4 + 1
        self.calls = DailyCalls(config.daily_calls, config.workers, clock)
        self._api = Lane(config.api_url, most, CALL_SECONDS, clock, self.calls)
        # Refreshes have a lane of their own, so that strangers' logins stop nobody.
        self._refreshes = Lane(config.accounts_url, few, TOKEN_SECONDS, clock)
        self._logins = Lane(config.accounts_url, few, TOKEN_SECONDS, clock)

    def send(self, request: tk.Request) -> tk.Response:
        """Send what tekore wants sent, to the base URL that the settings name."""
        if request.url.startswith(SPOTIFY_API):
            return self._api.send(request)
        kind = request.data["grant_type"]
        lane = self._refreshes if kind == "refresh_token" else self._logins
        return token_answer(lane.send(request), kind)

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
        self._base, self._clock, self._calls = base, clock, calls
        count = calls.add if calls else lambda: None
        self._handles = [Handle(seconds, count) for _ in range(most)]
        self._waiting, self._most_waiting = 0, QUEUE_PER_CALL * most
        self._freed = Condition()  # wakes those who wait in the order they came
        self._pause, self._paused_until = "", 0.0

    def send(self, request: tk.Request) -> tk.Response:
        """Return the answer. Raises Problem."""
        if (seconds := self._paused_until - self._clock()) > 0:
            raise Problem(self._pause, seconds)
        path = request.url.removeprefix(SPOTIFY_API).removeprefix(SPOTIFY_ACCOUNTS)
        url = self._base + path
        with self._handle() as handle:
            response = handle.send(request, url)
        status = response.status_code
        if not 200 <= status < 300:
            log.warning("Spotify: %s %s: status %d", request.method, url, status)
            if status == 429:
                raise self._begin_pause(response)
            if status not in (400, 401, 403):
                raise Problem("unreachable")
        return response

    @contextmanager
    def _handle(self) -> Iterator[Handle]:
        """Lend a handle: first come, first served.

        Raises Problem("busy") when too many wait, or after 2.5 s.
        """
        with self._freed:
            # A handle that was just given back is for somebody who waits. If whoever
            # comes could take it, some would wait for seconds.
            in_front = self._waiting - len(self._handles)
            if in_front >= 0:
                if in_front == self._most_waiting:
                    raise Problem("busy")
                self._waiting += 1
                self._freed.wait(QUEUE_SECONDS)
                self._waiting -= 1
                if not self._handles:
                    raise Problem("busy")
            handle = self._handles.pop()
        try:
            yield handle
        finally:
            with self._freed:
                self._handles.append(handle)
                self._freed.notify()

    def _begin_pause(self, refusal: tk.Response) -> Problem:
        """Send nothing for as long as Spotify says, and return the problem."""
        name, seconds = "rate_limited", USUAL_WAIT
        if self._calls and "QUOTA_EXCEEDED" in str(refusal.content):
            name, seconds = "quota_exceeded", USUAL_QUOTA_WAIT
            self._calls.learn()
        seconds = refusal.headers["Retry-After"] or seconds
        log.warning("Spotify: %s, no request for %d s", name, seconds)
        until = self._clock() + seconds
        if until > self._paused_until:
            self._pause, self._paused_until = name, until
        return Problem(name, seconds)
