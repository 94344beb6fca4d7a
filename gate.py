"""One thread at a time computes; those that wait for something step aside."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from problems import Problem

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


class Gate:
    """WSGI middleware that lets one request compute at a time, first come first served.

    Python computes on one thread at a time anyway, and many threads that fight over
    that turn halve the throughput. So they queue here instead, and give their turn
    back while they wait for Spotify, for Redis or for each other.

    most_waiting: how many may wait for Spotify at once. It is less than the server's
    threads, so that a Spotify that hangs never takes the last of them.
    """

    def __init__(self, app: WSGIApplication, most_waiting: int) -> None:
        self._app = app
        self._seats = threading.BoundedSemaphore(most_waiting)
        self._mutex = threading.Lock()
        self._queue: deque[threading.Lock] = deque()
        self._holder: int | None = None

    def __call__(
        self, environ: WSGIEnvironment, start_response: StartResponse
    ) -> Iterable[bytes]:
        self._enter()
        try:
            body = self._app(environ, start_response)
            try:
                return list(body)
            finally:
                getattr(body, "close", lambda: None)()
        finally:
            self._leave()

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Give the turn to others for a wait that is sure to be short."""
        if self._holder != threading.get_ident():
            yield
            return
        self._leave()
        try:
            yield
        finally:
            self._enter()

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Give the turn to others for a wait on Spotify.

        Raises Problem("unreachable") at once when too many are waiting already.
        """
        if not self._seats.acquire(blocking=False):
            raise Problem("unreachable")
        try:
            with self.aside():
                yield
        finally:
            self._seats.release()

    def _enter(self) -> None:
        me = threading.get_ident()
        with self._mutex:
            if self._holder is None:
                self._holder = me
                return
            turn = threading.Lock()
            turn.acquire()
            self._queue.append(turn)
        turn.acquire()
        self._holder = me

    def _leave(self) -> None:
        with self._mutex:
            if self._queue:
                self._holder = 0  # promised to the first in the queue
                self._queue.popleft().release()
            else:
                self._holder = None
