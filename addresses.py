"""Web addresses: what they lead to, and whether a setting may have them."""

from __future__ import annotations

import re
from contextlib import suppress
from importlib.util import find_spec
from ipaddress import ip_address
from urllib.parse import SplitResult, urlsplit

USUAL_PORTS = {"http": 80, "https": 443}
HOST = r"([\w-]{1,63}(\.[\w-]{1,63})*\.?|\[[\da-fA-F:.]+\])"
WEB_ADDRESS = re.compile(rf"https?://{HOST}(:[1-9]\d*)?(/[^\s?#]*)?", re.A | re.I)
REDIS_OPTION = (
    r"(db=\d+|ssl_cert_reqs=(none|optional|required)|ssl_check_hostname=(true|false)"
    "|ssl_(ca_certs|ca_path|certfile|keyfile)=[^&]+)"
)
REDIS_ADDRESS = re.compile(
    rf"(rediss?://([^/?#@]*@)?{HOST}(:\d+)?(/\d*)?|unix://([^/?#@]*@)?/[^?#]+)"
    rf"(\?{REDIS_OPTION}(&{REDIS_OPTION})*)?",
    re.A,
)


def origin_of(url: str) -> str:
    """Return scheme, host and port of a URL, in lower case."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}".lower()


def port_of(uri: SplitResult) -> int:
    """Return the port that is written, or the scheme's usual one."""
    return USUAL_PORTS.get(uri.scheme, 80) if uri.port is None else uri.port


def is_local(uri: SplitResult) -> bool:
    """Tell whether a URI leads to this machine: localhost, or a loopback address."""
    host = uri.hostname or ""
    with suppress(ValueError):
        address = ip_address(host)
        return address.is_loopback and str(address) == host  # as browsers write it
    return host == "localhost"


# ---- Checks of settings: each raises ValueError with what is wrong and the fix


def check_base_url(value: str) -> str:
    """Return an address to which paths can be added; https, or on this machine."""
    value = value.rstrip("/")
    uri = _parts(value)
    if uri.scheme == "https" or is_local(uri):
        return value
    raise ValueError("is not https (or http on this machine): write https://… instead")


def check_redirect_uri(default: str, value: str) -> str:
    """Return a redirect URI that Spotify takes and this app serves.

    https://developer.spotify.com/documentation/web-api/concepts/redirect_uri
    """
    address = re.split("[?#]", value)[0]
    bare = "://" not in address
    uri = _parts(f"http://{address}" if bare else address)
    host = uri.hostname or ""
    here = _is_alias_of_127_0_0_1(host)
    plain = uri.scheme == "http" and not is_local(uri)
    faults = {
        "is not a web address": not host,
        "does not begin with http:// or https://": bare,
        "has a query or a fragment": address != value,
        "has to say 127.0.0.1, because Spotify does not allow localhost": here,
        "is plain http, which Spotify allows only for 127.0.0.1 and [::1]; run the app "
        "behind a proxy that speaks https (docs/deploying.md)": plain,
        "has a trailing slash": uri.path == "/callback/",
        "has another path than /callback": uri.path != "/callback",
    }
    if not any(faults.values()):
        return value
    origin = f"{uri.scheme}://{uri.netloc}" if host else origin_of(default)
    if here:
        origin = f"http://127.0.0.1:{uri.port or urlsplit(default).port}"
    elif plain:
        origin = f"https://{uri.netloc.removesuffix(f':{uri.port}')}"
    what = next(what for what, is_so in faults.items() if is_so)
    raise ValueError(f"{what}: write {origin}/callback here and in the dashboard")


def check_redis_url(value: str) -> str:
    """Return the address of a Redis with nothing in it that redis-py would refuse."""
    if not (find_spec("redis") and find_spec("cryptography")):
        raise ValueError("needs packages: pip install -r requirements-redis.txt")
    with suppress(ValueError):  # a port above 65,535
        uri = urlsplit(value)
        tls = uri.scheme == "rediss" or "ssl_" not in uri.query
        if REDIS_ADDRESS.fullmatch(value) and uri.port != 0 and tls:
            return value
    raise ValueError(
        "is not the address of a Redis: write one like redis://127.0.0.1:6379/0, "
        "with / and @ in a password as %2F and %40"
    )


def _parts(value: str) -> SplitResult:
    """Return the parts of a web address, all of them empty if it is none."""
    with suppress(ValueError):
        if WEB_ADDRESS.fullmatch(value) and port_of(urlsplit(value)):
            return urlsplit(value)
    return urlsplit("")


def _is_alias_of_127_0_0_1(host: str) -> bool:
    with suppress(ValueError):
        address = ip_address(host)  # whose usual form browsers send
        return address.is_unspecified or (address.is_loopback and str(address) != host)
    return f".{host}".rstrip(".").endswith(".localhost")
