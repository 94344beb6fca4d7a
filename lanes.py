"""Two lanes for requests: a fast one, and threads for those that have to wait."""

from __future__ import annotations

import asyncio
import io
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

from problems import Problem

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication, WSGIEnvironment

SPARE_THREADS = 8  # to tell those who may not wait that they may not

Message = MutableMapping[str, Any]


class WouldWait(BaseException):
    """A request on the fast lane has come to where it has to wait."""


class Lanes:
    """A WSGI app as an ASGI app that computes on one thread, and waits on many.

    Python computes on one thread at a time, and threads that fight over whose turn it
    is halve the throughput. So a request runs on the event loop's own thread, as long
    as it does not wait. When it would, it starts over on a thread of its own. So what
    a request does before its first wait must bear being done twice, or stand behind
    need_thread().

    threads: how many requests may wait for Spotify at once; as many more may wait for
    another request's turn.
    """

    def __init__(self, app: WSGIApplication, threads: int) -> None:
        self._app = app
        self._calls = threading.BoundedSemaphore(threads)
        self._turns = threading.BoundedSemaphore(threads)
        self._threads = ThreadPoolExecutor(2 * threads + SPARE_THREADS)
        self._fast_thread: int | None = None

    def need_thread(self) -> None:
        """Let the request start over on a thread, if it is not on one."""
        if threading.get_ident() == self._fast_thread:
            raise WouldWait

    def calling(self) -> AbstractContextManager[None]:
        """Go round every wait for Spotify. Raises Problem("unreachable") if too many
        are waiting already, so that a Spotify that hangs never takes the last thread.
        """
        return self._waiting(self._calls)

    def queueing(self) -> AbstractContextManager[None]:
        """Go round every wait for another request's turn; the same holds for these."""
        return self._waiting(self._turns)

    @contextmanager
    def _waiting(self, seats: threading.BoundedSemaphore) -> Iterator[None]:
        self.need_thread()
        if not seats.acquire(blocking=False):
            raise Problem("unreachable")
        try:
            yield
        finally:
            seats.release()

    async def __call__(
        self,
        scope: Message,
        receive: Callable[[], Awaitable[Message]],
        send: Callable[[Message], Awaitable[None]],
    ) -> None:
        """Answer one request (https://asgi.readthedocs.io/en/latest/specs/www.html)."""
        if scope["type"] != "http":
            return
        self._fast_thread = threading.get_ident()
        environ = _environ(scope)
        try:
            start, body = self._run(environ.copy())
        except WouldWait:
            loop = asyncio.get_running_loop()
            start, body = await loop.run_in_executor(self._threads, self._run, environ)
        await send(start)
        await send({"type": "http.response.body", "body": body})

    def _run(self, environ: WSGIEnvironment) -> tuple[Message, bytes]:
        start: Message = {"type": "http.response.start"}

        def start_response(
            status: str, headers: list[tuple[str, str]], exc_info: object = None
        ) -> Callable[[bytes], object]:
            start["status"] = int(status[:3])
            start["headers"] = [
                (name.lower().encode("latin-1"), value.encode("latin-1"))
                for name, value in headers
            ]
            return lambda data: None

        with closing(self._app(environ, start_response)) as body:  # type: ignore[type-var]
            return start, b"".join(body)


def _environ(scope: Message) -> WSGIEnvironment:
    """Return the WSGI form of an ASGI request (PEP 3333), without a body.

    No route reads one, so nobody can keep a thread by sending one slowly.
    """
    host, port = scope.get("server") or ("", None)
    environ: WSGIEnvironment = {
        "REQUEST_METHOD": scope["method"],
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote_to_bytes(scope["raw_path"]).decode("latin-1"),
        "QUERY_STRING": scope["query_string"].decode("latin-1"),
        "SERVER_NAME": host,
        "SERVER_PORT": str(port),
        "SERVER_PROTOCOL": f"HTTP/{scope['http_version']}",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope["scheme"],
        "wsgi.input": io.BytesIO(),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    for raw_name, raw_value in scope["headers"]:
        if b"_" in raw_name:
            continue  # it would pass for the one with a hyphen
        name, value = raw_name.decode("latin-1").upper(), raw_value.decode("latin-1")
        name = name.replace("-", "_")
        key = name if name in ("CONTENT_LENGTH", "CONTENT_TYPE") else f"HTTP_{name}"
        glue = "; " if name == "COOKIE" else ","
        environ[key] = f"{environ[key]}{glue}{value}" if key in environ else value
    return environ
