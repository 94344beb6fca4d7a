"""Requests over libcurl: bounded in time and size, each from a clean start."""

import json
import logging
import os
from collections.abc import Callable
from contextlib import suppress
from typing import Any
from urllib.parse import urlencode

import certifi
import pycurl
import tekore as tk

from problems import Problem

LARGEST = 1_000_000  # bytes of an answer's body, unpacked
MOST_TRIES = 2  # of a GET that the server did not process; libcurl makes up to six

log = logging.getLogger("now_playing")


class Handle:
    """A place for one request to Spotify at a time.

    Over HTTP/1.1, an answer that nobody asked for is taken for the answer to the next
    request on that connection, which may be another person's. So there, a connection
    serves one request. HTTP/2 tells which request an answer belongs to.
    seconds: for a request, all in all. count: called when a request goes out.
    """

    def __init__(self, seconds: float, count: Callable[[], None]) -> None:
        self._seconds, self._count = seconds, count
        self._kept: pycurl.Curl | None = None  # with its connection, over HTTP/2

    def send(self, request: tk.Request, url: str) -> tk.Response:
        """Return the answer; its only header is Retry-After, 0 if there is none.

        libcurl repeats what fails on a used connection or over HTTP/2, but a code or a
        refresh token must not be sent twice. So all but GET goes over HTTP/1.1.
        """
        kept = self._kept if request.method == "GET" else None
        # Not kept while it is in use, because a connection may go silent.
        curl, self._kept = kept or pycurl.Curl(), None
        body, tries = bytearray(), iter([pycurl.PREREQFUNC_OK] * MOST_TRIES)

        def go_out(*_: object) -> int:
            self._count()
            return next(tries, pycurl.PREREQFUNC_ABORT)

        def write(chunk: bytes) -> int:
            body.extend(chunk)
            return len(chunk) if len(body) <= LARGEST else -1

        try:
            _describe(curl, request, url)
            curl.setopt(pycurl.TIMEOUT_MS, int(1000 * self._seconds))
            curl.setopt(pycurl.PREREQFUNCTION, go_out)
            curl.setopt(pycurl.WRITEFUNCTION, write)
            _perform(curl, on_used_connection=kept is not None)
            if not body and curl.getinfo(pycurl.SIZE_DOWNLOAD_T) > 0:
                # A gzip that is cut short in its header is an empty body to libcurl.
                raise pycurl.error(pycurl.E_BAD_CONTENT_ENCODING)
            # At most six hours. To read the header itself costs 8 % of the rate.
            wait = curl.getinfo(pycurl.RETRY_AFTER)
            status = curl.getinfo(pycurl.RESPONSE_CODE)
            if curl.getinfo(pycurl.INFO_HTTP_VERSION) == pycurl.CURL_HTTP_VERSION_2:
                curl.reset()  # keeps the connection, and nothing of this request
                self._kept = curl
            return tk.Response(url, {"Retry-After": wait}, status, _content(body))
        except pycurl.error as error:
            # By number, because libcurl's own words may hold the password of a proxy.
            what = f"Spotify: {request.method} {url}"
            log.warning("%s: libcurl error %s", what, error.args[0])
            raise Problem("unreachable") from None


def _perform(curl: pycurl.Curl, on_used_connection: bool) -> None:
    try:
        curl.perform()
    except pycurl.error as error:
        hung_up = error.args[0] in (pycurl.E_SEND_ERROR, pycurl.E_HTTP2)
        if not (on_used_connection and hung_up) or curl.getinfo(pycurl.HEADER_SIZE):
            raise
        # The server has ended the connection meanwhile, which libcurl can overlook.
        curl.setopt(pycurl.FRESH_CONNECT, True)
        curl.perform()


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
