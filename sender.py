"""How requests reach Spotify and answers come back: bounded in time, size and place."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import ssl
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from functools import cache, cached_property
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
import certifi
import tekore as tk

from config import SPOTIFY_ACCOUNTS, SPOTIFY_API, Config, is_local
from problems import Problem
from store import Store

LARGEST = 1_000_000  # bytes of an answer's body, after decompression
LONGEST_WAIT = 86_400.0  # seconds; the longest Retry-After that was ever seen
USUAL_WAIT = 5.0  # seconds to wait after a 429 that does not say how long

NO_ANSWER = (aiohttp.ClientError, asyncio.TimeoutError, OSError, ValueError, zlib.error)

# By when all calls of this thread's visit have to be over.
_visit_ends: ContextVar[float | None] = ContextVar("visit_ends", default=None)

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
        self._bases = {
            SPOTIFY_ACCOUNTS: _Base(config.accounts_url, kept=False),
            SPOTIFY_API: _Base(config.api_url, kept=True),
        }

    def close(self) -> None:
        """Close all connections."""
        for base in self._bases.values():
            asyncio.run_coroutine_threadsafe(base.close(), _loop()).result()

    @contextmanager
    def one_deadline(self) -> Iterator[None]:
        """Let all calls in the block share one deadline instead of one each."""
        before = _visit_ends.set(time.monotonic() + self._seconds)
        try:
            yield
        finally:
            _visit_ends.reset(before)

    def send(self, request: tk.Request) -> tk.Response:
        """Send what tekore wants sent, to the base that the settings name."""
        if seconds := self._store.paused():
            raise Problem("rate_limited", seconds)
        spotify = next(url for url in self._bases if request.url.startswith(url))
        base = self._bases[spotify]
        url = base.url + request.url.removeprefix(spotify)
        try:
            with self._calling():
                now = time.monotonic()
                left = (_visit_ends.get() or now + self._seconds) - now
                call = asyncio.wait_for(base.exchange(request, url), left)
                answer = asyncio.run_coroutine_threadsafe(call, _loop()).result()
        except NO_ANSWER as error:
            log.warning("Spotify: %s %s: %s", request.method, url, type(error).__name__)
            raise Problem("unreachable") from None
        status, headers, body = answer
        if status == 429:
            seconds = _retry_after(headers.get("Retry-After", ""))
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


class _Base:
    """The connections to one of Spotify's bases. Lives on the loop of the calls.

    kept: whether a connection may serve again. A code or a refresh token is never sent
    twice, so it never goes out on an idle connection, which may have died.
    """

    def __init__(self, url: str, kept: bool) -> None:
        self.url = url
        self._kept = kept

    async def exchange(
        self, request: tk.Request, url: str
    ) -> tuple[int, Mapping[str, str], bytes]:
        """Return status, headers and body of the answer. Raises one of NO_ANSWER."""
        async with self._session.request(
            request.method,
            url,
            params=request.params,
            data=request.data,
            headers=request.headers,
            allow_redirects=False,
        ) as response:
            return response.status, response.headers, await _read(response)

    async def close(self) -> None:
        if "_session" in vars(self):
            await self._session.close()

    @cached_property  # and not in __init__, for aiohttp wants it made on the loop
    def _session(self) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(
            limit=0,  # the lanes' seats are the bound
            force_close=not self._kept,
            ssl=_ssl_context(),
        )
        return aiohttp.ClientSession(
            connector=connector,
            headers={"Accept": "application/json", "Accept-Encoding": "gzip"},
            cookie_jar=aiohttp.DummyCookieJar(),  # it serves many people
            auto_decompress=False,
            proxy=_proxy(self.url),
        )


@cache
def _ssl_context() -> ssl.SSLContext:
    # Not every system's Python finds the system's authorities.
    return ssl.create_default_context(
        cafile=os.environ.get("SSL_CERT_FILE") or certifi.where()
    )


def _proxy(base: str) -> str | None:
    """Return the proxy that the environment names for this base, if any."""
    uri = urlsplit(base)
    near = is_local(uri) or proxy_bypass(uri.hostname or "")
    return None if near else getproxies().get(uri.scheme)


_starting = threading.Lock()


def _loop() -> asyncio.AbstractEventLoop:
    """Return the loop that all calls run on: there, wait_for can end any of them.

    A socket's timeout starts anew with each byte, and a name's resolution has none.
    """
    with _starting:
        return _running_loop()


@cache
def _running_loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="spotify", daemon=True).start()
    return loop


async def _read(response: aiohttp.ClientResponse) -> bytes:
    """Return the body. Raises ValueError when it is too large or badly packed."""
    encoding = response.headers.get("Content-Encoding", "identity").lower()
    if encoding not in ("identity", "gzip"):
        raise ValueError(encoding)
    inflater = zlib.decompressobj(16 + zlib.MAX_WBITS) if encoding == "gzip" else None
    body, cut_short = bytearray(), False
    async for chunk in response.content.iter_any():
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
