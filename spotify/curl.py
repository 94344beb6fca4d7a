"""Requests over libcurl: bounded in time and size, each from a clean start."""

import json
import os
from collections.abc import Callable
from contextlib import suppress
from typing import Any
from urllib.parse import urlencode

import certifi
import pycurl
import tekore as tk

from problems import Problem, log

LARGEST = 1_000_000  # bytes of an answer's body, unpacked
HTTP2_STREAM = 92  # for which pycurl has no name
# A connection that was kept is gone, and libcurl may not open another one.
GONE = (pycurl.E_COULDNT_CONNECT, pycurl.E_SEND_ERROR, pycurl.E_HTTP2, HTTP2_STREAM)


class Handle:
    """A place for one request to Spotify at a time.

    Over HTTP/1.1, an answer that nobody asked for is taken for the answer to the next
    request on that connection, which may be another person's. So there, a connection
    serves one request. HTTP/2 tells which request an answer belongs to.
    seconds: for a request, all in all. count: called for each that goes out.
    """

    def __init__(self, seconds: float, count: Callable[[], None]) -> None:
        self._seconds, self._count = seconds, count
        self._kept: pycurl.Curl | None = None  # with its connection, over HTTP/2

    def send(self, request: tk.Request, url: str) -> tk.Response:
        """Return the answer; its only header is Retry-After, 0 if there is none.

        A request goes out once, because a code or a refresh token must not be sent
        twice. A GET goes out once more if its connection is gone.
        """
        seconds = self._seconds
        try:
            if request.method == "GET" and self._kept:
                # Not kept while it is in use, because a connection may go silent.
                curl, self._kept = self._kept, None
                curl.setopt(pycurl.OPENSOCKETFUNCTION, lambda *_: pycurl.SOCKET_BAD)
                try:
                    return self._send(curl, request, url, seconds)
                except pycurl.error as error:
                    if error.args[0] not in GONE or curl.getinfo(pycurl.HEADER_SIZE):
                        raise
                    seconds -= curl.getinfo(pycurl.TOTAL_TIME)
            curl, once = pycurl.Curl(), iter([pycurl.PREREQFUNC_OK])
            # libcurl would repeat up to six times what an HTTP/2 server refuses.
            stop = pycurl.PREREQFUNC_ABORT
            curl.setopt(pycurl.PREREQFUNCTION, lambda *_: next(once, stop))
            return self._send(curl, request, url, seconds)
        except pycurl.error as error:
            # By number, because libcurl's own words may hold the password of a proxy.
            what = f"Spotify: {request.method} {url}"
            log.warning("%s: libcurl error %s", what, error.args[0])
            raise Problem("unreachable") from None

    def _send(
        self, curl: pycurl.Curl, request: tk.Request, url: str, seconds: float
    ) -> tk.Response:
        body = bytearray()

        def write(chunk: bytes) -> int:
            body.extend(chunk)
            return len(chunk) if len(body) <= LARGEST else -1

        _describe(curl, request, url)
        curl.setopt(pycurl.TIMEOUT_MS, max(int(1000 * seconds), 1))
        curl.setopt(pycurl.WRITEFUNCTION, write)
        try:
            curl.perform()
        finally:
            if curl.getinfo(pycurl.REQUEST_SIZE):
                self._count()
        if not body and curl.getinfo(pycurl.SIZE_DOWNLOAD_T) > 0:
            # A gzip that is cut short in its header is an empty body to libcurl.
            raise pycurl.error(pycurl.E_BAD_CONTENT_ENCODING)
        # At most six hours. Reading headers one by one costs too much under load.
        wait = curl.getinfo(pycurl.RETRY_AFTER)
        status = curl.getinfo(pycurl.RESPONSE_CODE)
        if curl.getinfo(pycurl.INFO_HTTP_VERSION) == pycurl.CURL_HTTP_VERSION_2:
            curl.reset()  # keeps the connection, and nothing of this request
            self._kept = curl
        return tk.Response(url, {"Retry-After": wait}, status, _content(body))


def _describe(curl: pycurl.Curl, request: tk.Request, url: str) -> None:
    """Tell libcurl what to send."""
    headers = {"Accept": "application/json", **(request.headers or {})}
    if request.data:  # tekore calls it JSON in any request to the API
        headers["Content-Type"] = "application/x-www-form-urlencoded"
    query = f"?{urlencode(request.params)}" if request.params else ""
    curl.setopt(pycurl.NOSIGNAL, 1)
    curl.setopt(pycurl.CAINFO, os.getenv("SSL_CERT_FILE") or certifi.where())
    curl.setopt(pycurl.URL, url + query)
    if url.startswith("http:"):  # to this machine: not by a proxy of the environment
        curl.setopt(pycurl.PROXY, "")
    curl.setopt(pycurl.HTTPHEADER, [f"{it}: {headers[it]}" for it in headers])
    curl.setopt(pycurl.USERAGENT, "now-playing")
    curl.setopt(pycurl.ACCEPT_ENCODING, "gzip")
    if request.method != "GET":
        curl.setopt(pycurl.CUSTOMREQUEST, request.method)
        curl.setopt(pycurl.POSTFIELDS, _body(request))
        curl.setopt(pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_1_1)


def _body(request: tk.Request) -> str | bytes:
    if request.json is not None:
        return json.dumps(request.json)
    return urlencode(request.data) if request.data else (request.content or "").encode()


def _content(body: bytearray) -> Any:
    """Return what a body says: JSON, or else text, or None if it is empty."""
    with suppress(ValueError, RecursionError):
        if (content := json.loads(body)) is not None:
            return content
    return body.decode("utf-8", "replace") or None  # the word null stays text
