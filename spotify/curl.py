"""One request over libcurl: bounded in time and size, and nobody else's."""

import json
import os
from urllib.parse import urlencode, urlsplit

import certifi
import pycurl
import tekore as tk

from config import is_local

LARGEST = 1_000_000  # bytes of an answer's body, unpacked
HTTP_2 = pycurl.CURL_HTTP_VERSION_2_0
# libcurl's own words may hold the password of a proxy.
ERRORS = {
    code: name
    for name, code in vars(pycurl).items()
    if name.startswith("E_") and not name.startswith("E_MULTI_")
}


class CurlError(Exception):
    """No answer. Its text is libcurl's name for the reason."""


def fetch(curl: pycurl.Curl, request: tk.Request, url: str, seconds: float) -> bytes:
    """Return the body of the answer; the handle tells the rest. Raises CurlError.

    Over HTTP/1.1, an answer that nobody asked for passes for the answer to the next
    request on that connection, which may be another person's: so there it serves one
    request. HTTP/2 tells which request an answer belongs to. libcurl repeats what fails
    on a used connection or over HTTP/2, but neither a code nor a refresh token may be
    sent twice: so all but GET goes over HTTP/1.1.
    """
    reuse = request.method == "GET" and curl.getinfo(pycurl.INFO_HTTP_VERSION) == HTTP_2
    body = bytearray()

    def write(chunk: bytes) -> int:
        body.extend(chunk)
        return len(chunk) if len(body) <= LARGEST else -1

    curl.reset()  # keeps the connections, and nothing of the last request
    _set_request(curl, request, url)
    curl.setopt(pycurl.WRITEFUNCTION, write)
    curl.setopt(pycurl.MAXFILESIZE, LARGEST)
    curl.setopt(pycurl.TIMEOUT_MS, int(1000 * seconds))
    curl.setopt(pycurl.FRESH_CONNECT, not reuse)
    curl.setopt(pycurl.FORBID_REUSE, not reuse)
    try:
        curl.perform()
    except (pycurl.error, ValueError) as error:
        raise CurlError(ERRORS.get(error.args[0], type(error).__name__)) from None
    if not body and curl.getinfo(pycurl.SIZE_DOWNLOAD_T) > 0:
        raise CurlError("gzip cut short")  # to libcurl, an empty body
    return bytes(body)


def _set_request(curl: pycurl.Curl, request: tk.Request, url: str) -> None:
    headers = {"Accept": "application/json", **(request.headers or {})}
    query = f"?{urlencode(request.params)}" if request.params else ""
    curl.setopt(pycurl.URL, url + query)
    curl.setopt(pycurl.HTTPHEADER, [f"{name}: {headers[name]}" for name in headers])
    if request.method != "GET":
        curl.setopt(pycurl.CUSTOMREQUEST, request.method)
        curl.setopt(pycurl.POSTFIELDS, _body(request))
        curl.setopt(pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_1_1)
    curl.setopt(pycurl.NOSIGNAL, 1)
    curl.setopt(pycurl.USERAGENT, "now-playing")
    curl.setopt(pycurl.ACCEPT_ENCODING, "gzip")
    curl.setopt(pycurl.CAINFO, os.environ.get("SSL_CERT_FILE") or certifi.where())
    if is_local(urlsplit(url)):
        curl.setopt(pycurl.PROXY, "")  # whatever the environment says


def _body(request: tk.Request) -> str:
    if request.json is not None:
        return json.dumps(request.json)
    return urlencode(request.data) if request.data else request.content or ""
