"""Requests over libcurl: bounded in time and size, each from a clean start."""

import json
import os
from typing import NamedTuple
from urllib.parse import urlencode

import certifi
import pycurl
import tekore as tk

LARGEST = 1_000_000  # bytes of an answer's body, unpacked
MOST_TRIES = 2  # for a GET that the server did not look at; libcurl's own is six
# libcurl's own words may hold the password of a proxy.
ERRORS = {
    code: name
    for name, code in vars(pycurl).items()
    if name.startswith("E_") and not name.startswith("E_MULTI_")
}


class NoAnswer(Exception):
    """A request without an answer; the text is libcurl's name for the reason."""


class Answer(NamedTuple):
    """What came back. retry_after: seconds, at most six hours; 0 if there is none."""

    status: int
    body: bytes
    retry_after: float


class Handle:
    """A libcurl handle, for one request at a time.

    seconds: for a request, all in all. proxy: whether one of the environment is used.
    was_sent: whether the last request went out. After NoAnswer, take a new handle: the
    connection may have gone silent.
    """

    def __init__(self, seconds: float, proxy: bool) -> None:
        self._curl, self._seconds, self._proxy = pycurl.Curl(), seconds, proxy
        self._http2 = self.was_sent = False

    def send(self, request: tk.Request, url: str) -> Answer:
        """Send the request. Raises NoAnswer.

        Over HTTP/1.1, an answer that nobody asked for passes for the answer to the next
        request on that connection, which may be another person's: so there it serves
        one request. HTTP/2 tells which request an answer belongs to. libcurl repeats
        what fails on a used connection or over HTTP/2, but neither a code nor a refresh
        token may be sent twice: so all but GET goes over HTTP/1.1.
        """
        curl, body = self._curl, bytearray()
        is_get = request.method == "GET"
        keep = is_get and self._http2
        tries = iter([pycurl.PREREQFUNC_OK] * MOST_TRIES)

        def go_out(*_: object) -> int:
            return next(tries, pycurl.PREREQFUNC_ABORT)

        def write(chunk: bytes) -> int:
            body.extend(chunk)
            return len(chunk) if len(body) <= LARGEST else -1

        headers = {"Accept": "application/json", **(request.headers or {})}
        if request.data:  # tekore says JSON of any request to the API
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        query = f"?{urlencode(request.params)}" if request.params else ""
        try:
            curl.setopt(pycurl.URL, url + query)
            curl.setopt(pycurl.HTTPHEADER, [f"{it}: {headers[it]}" for it in headers])
            if not is_get:
                curl.setopt(pycurl.CUSTOMREQUEST, request.method)
                curl.setopt(pycurl.POSTFIELDS, _body(request))
                curl.setopt(pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_1_1)
            curl.setopt(pycurl.NOSIGNAL, 1)
            curl.setopt(pycurl.USERAGENT, "now-playing")
            curl.setopt(pycurl.ACCEPT_ENCODING, "gzip")
            curl.setopt(pycurl.CAINFO, os.getenv("SSL_CERT_FILE") or certifi.where())
            if not self._proxy:
                curl.setopt(pycurl.PROXY, "")
            curl.setopt(pycurl.PREREQFUNCTION, go_out)
            curl.setopt(pycurl.FRESH_CONNECT, not keep)
            curl.setopt(pycurl.FORBID_REUSE, not keep)
            curl.setopt(pycurl.TIMEOUT_MS, int(1000 * self._seconds))
            curl.setopt(pycurl.MAXFILESIZE, LARGEST)
            curl.setopt(pycurl.WRITEFUNCTION, write)
            try:
                curl.perform()
            except pycurl.error as error:
                if not (keep and error.args[0] == pycurl.E_SEND_ERROR):
                    raise
                # The server has hung up meanwhile, which libcurl 8.23 can overlook.
                body.clear()
                curl.setopt(pycurl.FRESH_CONNECT, True)
                curl.perform()
            if not body and curl.getinfo(pycurl.SIZE_DOWNLOAD_T) > 0:
                raise NoAnswer("gzip cut short")  # to libcurl, an empty body
            http2 = curl.getinfo(pycurl.INFO_HTTP_VERSION) == pycurl.CURL_HTTP_VERSION_2
            if keep and not http2:  # it may have kept HTTP/1.1
                self._curl = pycurl.Curl()
            self._http2 = http2
            status = curl.getinfo(pycurl.RESPONSE_CODE)
            return Answer(status, bytes(body), curl.getinfo(pycurl.RETRY_AFTER))
        except (pycurl.error, ValueError) as error:
            why = ERRORS.get(error.args[0], type(error).__name__)
            raise NoAnswer(why) from None
        finally:
            self.was_sent = curl.getinfo(pycurl.REQUEST_SIZE) > 0
            curl.reset()  # keeps the connections, and nothing of this request


def _body(request: tk.Request) -> str | bytes:
    if request.json is not None:
        return json.dumps(request.json)
    return urlencode(request.data) if request.data else (request.content or "").encode()
