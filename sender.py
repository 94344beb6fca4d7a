"""How requests reach Spotify and answers come back: bounded in time, size and place."""

from __future__ import annotations

import asyncio
import json
import logging
import ssl
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any, Protocol
from urllib.parse import urlsplit

import httpx
import tekore as tk

from config import SPOTIFY_ACCOUNTS, SPOTIFY_API, Config, is_local
from problems import Problem

LARGEST = 1_000_000  # bytes of an answer's body, after decompression
LONGEST_WAIT = 86_400.0  # seconds; the longest Retry-After that was ever seen
USUAL_WAIT = 5.0  # seconds to wait after a 429 that does not say how long

FAILURES = (
    httpx.HTTPError,
    httpx.InvalidURL,
    asyncio.TimeoutError,
    OSError,
    ValueError,
    zlib.error,
)
DIED_IDLE = (httpx.ReadError, httpx.WriteError, httpx.RemoteProtocolError)

log = logging.getLogger("now_playing")


class Window(Protocol):
    """The time during which Spotify wants no requests from this app at all."""

    def paused(self) -> float:
        """Return the seconds left, 0 outside the window."""

    def pause(self, seconds: float) -> None:
        """Let nobody's request out for that long."""


class Sender(tk.Sender):
    """tekore's way to Spotify, in place of its own, which bounds neither time nor size.

    send returns answers with status 200, 204, 400, 401 or 403, the content decoded
    from JSON, or as text where it is not JSON, or None where it is empty. Every other
    outcome is a Problem: rate_limited or unreachable.
    """

    def __init__(
        self,
        config: Config,
        window: Window,
        calling: Callable[[], AbstractContextManager[None]],
    ) -> None:
        self._seconds = config.deadline
        self._window = window
        self._calling = calling
        self._visit = _Visit()
        # At DEBUG it would log headers, which are not ours to show.
        logging.getLogger("httpcore").setLevel(logging.INFO)
        # A code or a refresh token is never sent twice, so it never goes out on an
        # idle connection, which may have died.
        self._bases = {
            SPOTIFY_ACCOUNTS: (config.accounts_url, _client(config.accounts_url, 0)),
            SPOTIFY_API: (config.api_url, _client(config.api_url, None)),
        }

    @property
    def is_async(self) -> bool:
        """Always False."""
        return False

    def close(self) -> None:
        """Close all connections."""
        for _, client in self._bases.values():
            asyncio.run_coroutine_threadsafe(client.aclose(), _loop()).result()

    @contextmanager
    def one_deadline(self) -> Iterator[None]:
        """Let all calls in the block share one deadline instead of one each."""
        self._visit.ends = time.monotonic() + self._seconds
        try:
            yield
        finally:
            self._visit.ends = None

    def send(self, request: tk.Request) -> tk.Response:
        """Send what tekore wants sent, to the base that the settings name."""
        if seconds := self._window.paused():
            raise Problem("rate_limited", seconds)
        spotify = next(base for base in self._bases if request.url.startswith(base))
        base, client = self._bases[spotify]
        url = base + request.url[len(spotify) :]
        try:
            with self._calling():
                now = time.monotonic()
                left = (self._visit.ends or now + self._seconds) - now
                call = asyncio.wait_for(_exchange(client, url, request), left)
                response = asyncio.run_coroutine_threadsafe(call, _loop()).result()
        except FAILURES as error:
            log.warning("Spotify: %s %s: %s", request.method, url, type(error).__name__)
            raise Problem("unreachable") from None
        status, headers, body = response
        if status == 429:
            seconds = _retry_after(headers.get("Retry-After", ""))
            log.warning("Spotify: rate limit, no request for %d s", seconds)
            self._window.pause(seconds)
            raise Problem("rate_limited", seconds)
        if status not in (200, 204):
            log.warning("Spotify: %s %s: status %d", request.method, url, status)
        if status not in (200, 204, 400, 401, 403):
            raise Problem("unreachable")
        if status == 401 and spotify == SPOTIFY_ACCOUNTS:
            status = 400  # the same to us; tekore 6.2 fails on a 401 to a token request
        return tk.Response(url, headers, status, _content(body))


class _Visit(threading.local):
    """What this thread's calls are for. ends: by when all of them have to be over."""

    ends: float | None = None


def _client(base: str, most_idle: int | None) -> httpx.AsyncClient:
    """Return a client that keeps no cookies, as it serves many people."""
    no_cookies = CookieJar(DefaultCookiePolicy(allowed_domains=[]))
    return httpx.AsyncClient(
        cookies=no_cookies,
        headers={"Accept": "application/json", "Accept-Encoding": "gzip"},
        limits=httpx.Limits(max_keepalive_connections=most_idle, keepalive_expiry=30),
        timeout=None,  # there is a deadline for all of it
        trust_env=not is_local(urlsplit(base)),  # a proxy is for what is far
        verify=_ssl_context(),
    )


@cache
def _ssl_context() -> ssl.SSLContext:
    return httpx.create_ssl_context()


_starting = threading.Lock()


def _loop() -> asyncio.AbstractEventLoop:
    """Return the loop that all calls run on: only asyncio can end one in its middle.

    A read's own timeout starts anew with each byte, and a name's resolution has none.
    """
    with _starting:
        return _running_loop()


@cache
def _running_loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="spotify", daemon=True).start()
    return loop


async def _exchange(
    client: httpx.AsyncClient, url: str, request: tk.Request
) -> tuple[int, httpx.Headers, bytes]:
    """Return status, headers and body of Spotify's answer. Raises one of FAILURES."""
    events = []

    async def trace(event: str, info: object) -> None:
        events.append(event)

    async def send() -> httpx.Response:
        asked = client.build_request(
            request.method,
            url,
            params=request.params,
            data=request.data,
            headers=request.headers,
            extensions={"trace": trace},
        )
        return await client.send(asked, stream=True)

    try:
        response = await send()
    except DIED_IDLE:
        # The server may close an idle connection just as we use it: try once more, if
        # it was one, and only what can be asked twice.
        if request.method != "GET" or "connection.connect_tcp.started" in events:
            raise
        response = await send()
    try:
        return response.status_code, response.headers, await _read(response)
    finally:
        await response.aclose()


async def _read(response: httpx.Response) -> bytes:
    """Return the body. Raises ValueError when it is too large or badly packed."""
    encoding = response.headers.get("Content-Encoding", "identity").lower()
    if encoding not in ("identity", "gzip"):
        raise ValueError(encoding)
    inflater = zlib.decompressobj(16 + zlib.MAX_WBITS) if encoding == "gzip" else None
    body, cut_short = bytearray(), False
    async for chunk in response.aiter_raw():
        body += inflater.decompress(chunk, LARGEST + 1) if inflater else chunk
        if len(body) > LARGEST:
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
    return min(max(float(value[:9]), 1.0), LONGEST_WAIT)
