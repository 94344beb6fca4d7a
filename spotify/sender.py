"""How requests reach Spotify: over libcurl, bounded in number, time and size."""

from __future__ import annotations

import json
import logging
import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from queue import Empty, SimpleQueue
from threading import Lock
from typing import Any
from urllib.parse import urlencode, urlsplit

import certifi
import pycurl
import tekore as tk

from addresses import is_local
from config import SPOTIFY_ACCOUNTS, SPOTIFY_API
from problems import Problem

QUEUE_PER_CALL = 3  # calls that may wait, for each one that may be under way
QUEUE_SECONDS = 2.5  # that a call may wait for one of these to end
LARGEST = 1_000_000  # bytes of an answer's body, unpacked
USUAL_WAIT = 5.0  # seconds to wait after a 429 that does not say how long

HTTP_VERSION, HTTP_2 = pycurl.INFO_HTTP_VERSION, pycurl.CURL_HTTP_VERSION_2_0
# libcurl's own words may hold the password of a proxy.
ERRORS = {
    code: name
    for name, code in vars(pycurl).items()
    if name.startswith("E_") and not name.startswith("E_MULTI_")
}

log = logging.getLogger("now_playing")


class Sender(tk.Sender):
    """tekore's way to Spotify during one visit, in place of its own.

    deadline: when the visit has to be over, in seconds of time.monotonic.
    """

    is_async = False

    def __init__(self, accounts: Host, api: Host, deadline: float) -> None:
        self._hosts = {SPOTIFY_ACCOUNTS: accounts, SPOTIFY_API: api}
        self._deadline = deadline

    def send(self, request: tk.Request) -> tk.Response:
        """Send what tekore wants sent, to the base URL that the settings name."""
        base = next(base for base in self._hosts if request.url.startswith(base))
        path = request.url.removeprefix(base)
        return self._hosts[base].send(request, path, self._deadline)

    def close(self) -> None:
        """Do nothing: the connections outlive the visit."""


class Host:
    """One of Spotify's hosts for one purpose, with its own limit and connections.

    calls: how many at once; more queue for a moment. paused: tells for how many seconds
    the host of that name wants none. pause: is told so.
    """

    def __init__(
        self,
        name: str,
        base: str,
        calls: int,
        paused: Callable[[str], float],
        pause: Callable[[str, float], None],
    ) -> None:
        self._name, self._base, self._paused, self._pause = name, base, paused, pause
        self._free = [self._new_handle() for _ in range(calls)]  # each for one call
        self._most_waiting = QUEUE_PER_CALL * calls
        self._waiting: deque[SimpleQueue[pycurl.Curl]] = deque()
        self._mutex = Lock()

    def send(self, request: tk.Request, path: str, deadline: float) -> tk.Response:
        """Return an answer with status 200, 204, 400, 401 or 403.

        Its content is decoded from JSON, or text, or None where it is empty. Every
        other outcome is a Problem: rate_limited, busy or unreachable.
        """
        if seconds := self._paused(self._name):
            raise Problem("rate_limited", seconds)
        url = self._base + path
        with self._handle(request.method, deadline) as curl:
            try:
                body = _fetch(curl, request, url, deadline)
            except (pycurl.error, ValueError) as error:
                why = ERRORS.get(error.args[0], error.args[0])
                log.warning("Spotify: %s %s: %s", request.method, url, why)
                raise Problem("unreachable") from None
            status = curl.getinfo(pycurl.RESPONSE_CODE)
            # libcurl reads at most six hours; then a call finds out what is left.
            retry_after = curl.getinfo(pycurl.RETRY_AFTER)
        if status not in (200, 204):
            log.warning("Spotify: %s %s: status %d", request.method, url, status)
        if status == 429:
            seconds = retry_after or USUAL_WAIT
            log.warning("Spotify: rate limit, no request for %d s", seconds)
            self._pause(self._name, seconds)
            raise Problem("rate_limited", seconds)
        if status not in (200, 204, 400, 401, 403):
            raise Problem("unreachable")
        if status == 401 and request.method == "POST":
            status = 400  # the same to us; tekore 6.2 fails on a 401 to a token request
        return tk.Response(url, {}, status, _content(body))

    @contextmanager
    def _handle(self, method: str, deadline: float) -> Iterator[pycurl.Curl]:
        """Lend a handle for one call. Raises Problem("busy") when there are too many.

        Over HTTP/1.1, an answer that nobody asked for passes for the answer to the next
        request on that connection, which may be another person's: so there it serves
        one request. HTTP/2 tells which request an answer belongs to, as long as the
        server keeps to the protocol.
        """
        curl = self._take(deadline)
        # libcurl repeats what fails on a used connection, but neither a code nor a
        # refresh token may be sent twice: so POST never gets one.
        reuse = method == "GET" and curl.getinfo(HTTP_VERSION) == HTTP_2
        curl.setopt(pycurl.FRESH_CONNECT, not reuse)
        curl.setopt(pycurl.FORBID_REUSE, not reuse)
        try:
            yield curl
        finally:
            if reuse and curl.getinfo(HTTP_VERSION) != HTTP_2:
                curl = self._new_handle()  # the old one may have kept HTTP/1.1
            with self._mutex:
                if self._waiting:
                    self._waiting.popleft().put(curl)
                else:
                    self._free.append(curl)

    def _take(self, deadline: float) -> pycurl.Curl:
        """Take a free handle, or wait for one; who came first gets it first."""
        with self._mutex:
            if self._free:
                return self._free.pop()
            if len(self._waiting) == self._most_waiting:
                raise Problem("busy")
            turn: SimpleQueue[pycurl.Curl] = SimpleQueue()
            self._waiting.append(turn)
        wait = min(QUEUE_SECONDS, deadline - time.monotonic())
        with suppress(Empty):
            return turn.get(timeout=max(wait, 0.0))
        with self._mutex:
            if turn in self._waiting:  # else a handle came just now
                self._waiting.remove(turn)
                raise Problem("busy")
        return turn.get()

    def _new_handle(self) -> pycurl.Curl:
        curl = pycurl.Curl()
        curl.setopt(pycurl.NOSIGNAL, 1)
        curl.setopt(pycurl.USERAGENT, "now-playing")
        curl.setopt(pycurl.ACCEPT_ENCODING, "gzip")
        curl.setopt(pycurl.MAXFILESIZE, LARGEST)
        curl.setopt(pycurl.CAINFO, os.environ.get("SSL_CERT_FILE") or certifi.where())
        if is_local(urlsplit(self._base)):
            curl.setopt(pycurl.PROXY, "")  # whatever the environment says
        return curl


def _fetch(curl: pycurl.Curl, request: tk.Request, url: str, deadline: float) -> bytes:
    """Return the body. Raises pycurl.error, or ValueError for one that is cut short."""
    body = bytearray()

    def write(chunk: bytes) -> int:
        body.extend(chunk)
        return len(chunk) if len(body) <= LARGEST else -1

    headers = {"Accept": "application/json", **(request.headers or {})}
    query = f"?{urlencode(request.params)}" if request.params else ""
    curl.setopt(pycurl.URL, url + query)
    curl.setopt(pycurl.HTTPHEADER, [f"{name}: {headers[name]}" for name in headers])
    if request.data is not None:
        curl.setopt(pycurl.POSTFIELDS, urlencode(request.data))
    curl.setopt(pycurl.WRITEFUNCTION, write)
    milliseconds = int(1000 * (deadline - time.monotonic()))
    if milliseconds <= 0:
        raise ValueError("no time left")  # and 0 would be no limit
    curl.setopt(pycurl.TIMEOUT_MS, milliseconds)
    curl.perform()
    if not body and curl.getinfo(pycurl.SIZE_DOWNLOAD_T) > 0:
        raise ValueError("gzip cut short")  # to libcurl, an empty body
    return bytes(body)


def _content(body: bytes) -> Any:
    with suppress(ValueError, RecursionError):
        if (content := json.loads(body)) is not None:
            return content
    return body.decode("utf-8", "replace") or None  # the word null stays text
