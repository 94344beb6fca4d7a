"""Which web addresses are on this machine, and which can be the redirect URI."""

from __future__ import annotations

import re
from ipaddress import ip_address
from urllib.parse import SplitResult

WEB_ADDRESS = re.compile(
    r"https?://([\w.-]+|\[[0-9a-f:.]+\])(:[1-9]\d{0,4})?(/|$|\?|#)", re.ASCII | re.I
)
PATH = re.compile(r"(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)+", re.ASCII)
USUAL_PORTS = {"http": 80, "https": 443}
TAKEN_PATHS = ("/login", "/logout", "/now-playing", "/healthz", "/readyz")


def what_is_wrong(value: str, uri: SplitResult) -> str | None:
    """Say what is wrong with a redirect URI, if anything is.

    Spotify's rules: https://developer.spotify.com/documentation/web-api/concepts/redirect_uri
    """
    if not WEB_ADDRESS.match(value) or not uri.hostname:
        return "is not a web address"
    if f".{uri.hostname}".rstrip(".").endswith(".localhost"):
        return "uses localhost, which Spotify does not allow"
    if uri.scheme == "http" and not loopback_host(uri):
        return "is plain http, which Spotify allows only for 127.0.0.1 and [::1]"
    if re.search(r"[?#]", value):
        return "has a query or a fragment"
    if not _is_free(uri.path):
        return "needs a path of its own, of letters, digits, - and /"
    return None


def nearest_redirect_uri(uri: SplitResult, port: int) -> str:
    """Return the nearest redirect URI that Spotify and this app would take."""
    host, path = uri.hostname or "", uri.path if _is_free(uri.path) else "/callback"
    named = re.fullmatch(r"([\w-]+\.)+[a-z]{2,}|(\d+\.){3}\d+", host, re.A)
    if not named or loopback_host(uri) or host.endswith(".localhost"):
        return f"http://127.0.0.1:{port}{path}"
    own_port = f":{uri.port}" if uri.port else ""
    return f"https://{host}{own_port}{path}"


def _is_free(path: str) -> bool:
    """Tell whether a path can be the callback's own."""
    taken = path in TAKEN_PATHS or path.startswith("/static/")
    return bool(PATH.fullmatch(path)) and not taken


def loopback_host(uri: SplitResult) -> str | None:
    """Return the host if it is a loopback address as browsers write it, not a name."""
    host = uri.hostname or ""
    try:
        address = ip_address(host)
    except ValueError:
        return None
    return host if address.is_loopback and str(address) == host else None


def is_local(uri: SplitResult) -> bool:
    """Tell whether a URI leads to this machine, by name or by address."""
    return uri.hostname == "localhost" or loopback_host(uri) is not None


def port_of(uri: SplitResult) -> int:
    """Return the port that is written, or the scheme's usual one."""
    return USUAL_PORTS.get(uri.scheme, 80) if uri.port is None else uri.port
