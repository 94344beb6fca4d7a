"""How bytes reach Spotify and come back: bounded in time, in size and in place."""

from __future__ import annotations

import json
import logging
import socket
import ssl
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotInTime
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from typing import Any
from urllib.parse import urlencode, urlsplit
from urllib.request import getproxies, proxy_bypass

import httpcore
import tekore as tk

from config import SPOTIFY_ACCOUNTS, SPOTIFY_API, Config, is_local
from problems import Problem
from store import Store

RESOLVERS = 8  # names that are looked up at once
CONNECT_SECONDS = 2.0  # for one address, before the next one of the host is tried
LARGEST = 1_000_000  # bytes of an answer's body, after decompression
LONGEST_WAIT = 86_400.0  # seconds; the longest Retry-After that was ever seen
USUAL_WAIT = 5.0  # seconds to wait after a 429 that does not say how long

NO_ANSWER = (
    httpcore.TimeoutException,
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.ProxyError,
    httpcore.UnsupportedProtocol,
    NotInTime,
    OSError,
    ValueError,
    zlib.error,
)
DIED_IDLE = (httpcore.ReadError, httpcore.WriteError, httpcore.RemoteProtocolError)

log = logging.getLogger("now_playing")


class Sender(tk.Sender):
    """tekore's way to Spotify, in place of its own, which bounds neither time nor size.

    send returns answers with status 200, 204, 400, 401 or 403, the content decoded
    from JSON, or as text where it is not JSON, or None where it is empty. Every other
    outcome is a Problem: rate_limited or unreachable.
    """

    is_async = False

    def __init__(
        self,
        config: Config,
        store: Store,
        calling: Callable[[], AbstractContextManager[None]],
    ) -> None:
        self._seconds = config.deadline
        self._store = store
        self._calling = calling
        self._call = _Call()
        # At DEBUG it would log headers, which are not ours to show.
        logging.getLogger("httpcore").setLevel(logging.INFO)
        # A code or a refresh token is never sent twice, so it never goes out on an
        # idle connection, which may have died.
        self._bases = {
            SPOTIFY_ACCOUNTS: (config.accounts_url, self._pool(config.accounts_url, 0)),
            SPOTIFY_API: (config.api_url, self._pool(config.api_url, None)),
        }

    def close(self) -> None:
        """Close all connections."""
        for _, pool in self._bases.values():
            pool.close()

    @contextmanager
    def one_deadline(self) -> Iterator[None]:
        """Let all calls in the block share one deadline instead of one each."""
        self._call.shared_deadline = time.monotonic() + self._seconds
        try:
            yield
        finally:
            self._call.shared_deadline = None

    def send(self, request: tk.Request) -> tk.Response:
        """Send what tekore wants sent, to the base that the settings name."""
        if seconds := self._store.paused():
            raise Problem("rate_limited", seconds)
        spotify = next(base for base in self._bases if request.url.startswith(base))
        base, pool = self._bases[spotify]
        url = base + request.url.removeprefix(spotify)
        try:
            with self._calling():
                status, headers, body = self._exchange(pool, url, request)
        except NO_ANSWER as error:
            log.warning("Spotify: %s %s: %s", request.method, url, type(error).__name__)
            raise Problem("unreachable") from None
        if status == 429:
            seconds = _retry_after(headers.get("retry-after", ""))
            log.warning("Spotify: rate limit, no request for %d s", seconds)
            self._store.pause(seconds)
            raise Problem("rate_limited", seconds)
        if status not in (200, 204):
            log.warning("Spotify: %s %s: status %d", request.method, url, status)
        if status not in (200, 204, 400, 401, 403):
            raise Problem("unreachable")
        if status == 401 and spotify == SPOTIFY_ACCOUNTS:
            status = 400  # the same to us; tekore 6.2 fails on a 401 to a token request
        return tk.Response(url, headers, status, _content(body))

    def _exchange(
        self, pool: httpcore.ConnectionPool, url: str, request: tk.Request
    ) -> tuple[int, dict[str, str], bytes]:
        call = self._call
        call.deadline = call.shared_deadline or time.monotonic() + self._seconds
        target = f"{url}?{urlencode(request.params)}" if request.params else url
        headers: dict[bytes | str, bytes | str] = {
            "Accept": "application/json",
            "Accept-Encoding": "gzip",
            **(request.headers or {}),
        }
        content = None
        if request.data is not None:
            content = urlencode(request.data).encode()
            headers["Content-Type"] = "application/x-www-form-urlencoded"

        def once() -> tuple[int, dict[str, str], bytes]:
            call.connected = call.answered = False
            with pool.stream(
                request.method, target, headers=headers, content=content
            ) as response:
                call.answered = True
                fields = {
                    name.decode("latin-1").lower(): value.decode("latin-1")
                    for name, value in response.headers
                }
                return response.status, fields, _read(response, fields)

        try:
            return once()
        except DIED_IDLE:
            # The server may close an idle connection just as we use it: try once more,
            # if it was one, and only what can be asked twice.
            if call.connected or call.answered or request.method != "GET":
                raise
        return once()

    def _pool(self, base: str, most_idle: int | None) -> httpcore.ConnectionPool:
        return httpcore.ConnectionPool(
            ssl_context=_ssl_context(),
            proxy=_proxy(base),
            max_connections=None,  # the lanes' seats are the bound
            max_keepalive_connections=most_idle,
            keepalive_expiry=30,
            network_backend=_Backend(self._call),
        )


class _Call(threading.local):
    """The call that this thread is making: when it has to be over."""

    shared_deadline: float | None = None
    deadline = 0.0
    connected = False  # whether it opened a connection of its own
    answered = False  # whether the head of the answer has come

    def left(self, out_of_time: type[Exception]) -> float:
        """Return the seconds left. Raises out_of_time when there are none."""
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise out_of_time()
        return left


class _Backend(httpcore.SyncBackend):
    """Opens connections whose every read and write ends by the call's deadline.

    httpcore's own timeouts start anew at each read, so that an answer of one byte a
    second never runs into them.
    """

    def __init__(self, call: _Call) -> None:
        self._call = call
        self._resolver = ThreadPoolExecutor(RESOLVERS)

    def connect_tcp(
        self, host: str, port: int, *args: Any, **kwargs: Any
    ) -> httpcore.NetworkStream:
        self._call.connected = True
        failure: Exception = httpcore.ConnectError()
        # On a thread of its own, because the system's resolver knows no deadline.
        left = self._call.left(httpcore.ConnectTimeout)
        look_up = self._resolver.submit(
            socket.getaddrinfo, host, port, type=socket.SOCK_STREAM
        )
        for address in look_up.result(left):
            left = self._call.left(httpcore.ConnectTimeout)
            try:
                stream = super().connect_tcp(
                    str(address[4][0]), port, min(left, CONNECT_SECONDS)
                )
                return _Stream(stream, self._call)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure


class _Stream(httpcore.NetworkStream):
    def __init__(self, stream: httpcore.NetworkStream, call: _Call) -> None:
        self._stream = stream
        self._call = call

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, self._call.left(httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, self._call.left(httpcore.WriteTimeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        left = self._call.left(httpcore.ConnectTimeout)
        stream = self._stream.start_tls(ssl_context, server_hostname, left)
        return _Stream(stream, self._call)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


@cache
def _ssl_context() -> ssl.SSLContext:
    return httpcore.default_ssl_context()  # brings its own list of authorities


def _read(response: httpcore.Response, headers: dict[str, str]) -> bytes:
    """Return the body. Raises ValueError when it is too large or badly packed."""
    encoding = headers.get("content-encoding", "identity").lower()
    if encoding not in ("identity", "gzip"):
        raise ValueError(encoding)
    inflater = zlib.decompressobj(16 + zlib.MAX_WBITS) if encoding == "gzip" else None
    body, received, cut_short = bytearray(), 0, False
    for chunk in response.iter_stream():
        body += inflater.decompress(chunk, LARGEST + 1) if inflater else chunk
        received += len(chunk)
        if max(received, len(body)) > LARGEST:
            raise ValueError("too large")
        cut_short = inflater is not None and not inflater.eof
    if cut_short:
        raise ValueError("cut short")
    return bytes(body)


def _content(body: bytes) -> Any:
    if not body:
        return None
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        content = None
    # The word null is not an empty answer, so it stays text.
    return body.decode("utf-8", "replace") if content is None else content


def _retry_after(value: str) -> float:
    value = value.strip()
    if not (value.isascii() and value.isdigit()):
        return USUAL_WAIT
    return min(max(float(value), 1.0), LONGEST_WAIT)


def _proxy(base: str) -> httpcore.Proxy | None:
    """Return the proxy that the environment names for this base, if any."""
    uri = urlsplit(base)
    address = getproxies().get(uri.scheme)
    if not address or is_local(uri) or proxy_bypass(uri.hostname or ""):
        return None
    proxy = urlsplit(address if "://" in address else f"http://{address}")
    auth = (proxy.username or "", proxy.password or "") if proxy.username else None
    return httpcore.Proxy(f"{proxy.scheme}://{proxy.hostname}:{proxy.port}", auth=auth)
