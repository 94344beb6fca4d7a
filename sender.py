"""How tekore's requests reach Spotify: what goes out, and what may come back."""

from __future__ import annotations

import json
import logging
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any
from urllib.parse import urlencode

import httpcore
import tekore as tk

from config import SPOTIFY_ACCOUNTS, SPOTIFY_API, Config
from connections import Call, open_pool
from problems import Problem
from store import Store

LARGEST = 1_000_000  # bytes of an answer's body, after decompression
LONGEST_WAIT = 86_400.0  # seconds; the longest Retry-After that was ever seen
USUAL_WAIT = 5.0  # seconds to wait after a 429 that does not say how long

NO_ANSWER = (
    httpcore.TimeoutException,
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.ProxyError,
    httpcore.UnsupportedProtocol,
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
        self._call = Call()
        # At DEBUG it would log headers, which are not ours to show.
        logging.getLogger("httpcore").setLevel(logging.INFO)
        # A code or a refresh token is never sent twice, so it never goes out on an
        # idle connection, which may have died.
        accounts = open_pool(config.accounts_url, 0, self._call)
        api = open_pool(config.api_url, None, self._call)
        self._bases = {
            SPOTIFY_ACCOUNTS: (config.accounts_url, accounts),
            SPOTIFY_API: (config.api_url, api),
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
