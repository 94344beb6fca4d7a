"""Web addresses: where they lead, and which ones may be set."""

import re
from contextlib import suppress
from urllib.parse import SplitResult, urlsplit

USUAL_PORTS = {"http": 80, "https": 443}
HOST = r"([\w.-]{1,253}|\[[\da-f:.]+\])"
WEB_ADDRESS = re.compile(rf"https?://{HOST}(:[1-9]\d*)?(/[^\s?#]*)?", re.A | re.I)
OTHER_NAMES = re.compile(r"(.+\.)?localhost\.?|0\.0\.0\.0|::")  # for 127.0.0.1


def parts_of(value: str) -> SplitResult:
    """Return the parts of a web address, all of them empty if it is none."""
    with suppress(ValueError):
        if WEB_ADDRESS.fullmatch(value) and port_of(urlsplit(value)):
            return urlsplit(value)
    return urlsplit("")


def origin_of(url: str) -> str:
    """Return scheme, host and port of a URL, as browsers write them."""
    uri = urlsplit(url.lower())
    return f"{uri.scheme}://{uri.netloc}".removesuffix(f":{USUAL_PORTS[uri.scheme]}")


def port_of(uri: SplitResult) -> int:
    """Return the port that is written, or the scheme's usual one."""
    return uri.port or USUAL_PORTS[uri.scheme]


def is_local(uri: SplitResult) -> bool:
    """Tell whether a URI leads to this machine."""
    return uri.hostname in ("127.0.0.1", "::1", "localhost")


# ---- Checks of settings: each raises ValueError with what is wrong and the fix


def base_url(value: str) -> str:
    """Return an address to which paths can be added."""
    value = value.rstrip("/")
    if (uri := parts_of(value)).scheme == "https" or is_local(uri):
        return value
    raise ValueError("is not https (or http on this machine): write https://… instead")


def callback_url(value: str) -> str:
    """Return a redirect URI that Spotify accepts and this app serves.

    https://developer.spotify.com/documentation/web-api/concepts/redirect_uri
    """
    address = re.split("[?#]", value)[0]
    uri = parts_of(address if "://" in address else f"http://{address}")
    right = f"{uri.scheme}://{uri.netloc}/callback"
    what = "has to be a whole address that ends in /callback"
    if address.endswith("/callback/"):
        what = "has a trailing slash"
    elif not uri.netloc:
        right, what = "http://127.0.0.1:5000/callback", "is not a web address"
    elif OTHER_NAMES.fullmatch(uri.hostname or ""):
        right = f"http://127.0.0.1:{uri.port or 5000}/callback"
        what = "has to say 127.0.0.1, because Spotify does not allow localhost"
    elif uri.scheme == "http" and not is_local(uri):
        right = f"https://{uri.netloc.removesuffix(f':{uri.port}')}/callback"
        what = "is not https, which only 127.0.0.1 and [::1] may do without; run the "
        what += "app behind a proxy that speaks https (docs/deploying.md)"
    if value != right:
        raise ValueError(f"{what}: write {right} here and in the dashboard")
    return value


def redis_url(value: str) -> str:
    """Return the address of a Redis, if redis-py accepts it, too."""
    try:
        import cryptography  # noqa: F401
        import redis

        (urlsplit(value).hostname or "").encode("idna")  # as its look-up will
        redis.ConnectionPool.from_url(value).make_connection()  # connects to nothing
    except ImportError:
        raise ValueError("needs: pip install -r requirements-redis.txt") from None
    except (ValueError, TypeError, redis.RedisError):  # TypeError: an unknown option
        raise ValueError(
            "is not the address of a Redis: write one like redis://127.0.0.1:6379/0, "
            "with / and @ in a password as %2F and %40"
        ) from None
    return value
