"""Every setting, read once from the environment and .env, and checked."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit

from dotenv import dotenv_values

DOTENV = Path(__file__).with_name(".env")
DASHBOARD = "https://developer.spotify.com/dashboard"
SPOTIFY_ACCOUNTS = "https://accounts.spotify.com"
SPOTIFY_API = "https://api.spotify.com/v1"
DEMO_CLIENT_ID = "00000000000000000000000000000de0"

USUAL_PORTS = {"http": 80, "https": 443}
WEB_ADDRESS = re.compile(
    r"https?://([\w.-]+|\[[\da-f:.]+\])(:[1-9]\d{0,4})?(/[^\s?#]*)?", re.A | re.I
)
OWN_PATHS = r"/(static/.*|login|logout|now-playing|healthz|readyz)"
CALLBACK_PATH = re.compile(rf"(?!{OWN_PATHS}$)(/[\w~-][\w.~-]*)+", re.A)


class ConfigError(ValueError):
    """One or more settings are wrong; the message says all of them, with the fix."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n  - ".join(["These settings need attention:", *problems]))


@dataclass(frozen=True)
class Config:
    """The app's settings; docs/settings.md says what each is for."""

    client_id: str
    client_secret: str | None = field(default=None, repr=False)
    redirect_uri: str = "http://127.0.0.1:5000/callback"
    host: str = "127.0.0.1"
    port: int = 5000
    secret_key: str | None = field(default=None, repr=False)
    accounts_url: str = SPOTIFY_ACCOUNTS
    api_url: str = SPOTIFY_API
    redis_url: str | None = field(default=None, repr=False)
    daily_calls: int | None = None
    workers: int = 1
    threads: int = 96  # calls to Spotify at once
    daily_calls: int | None = None
    logins_file: str | None = None

    @property
    def origin(self) -> str:
        """Where the app lives: scheme, host and port of the redirect URI."""
        return origin_of(self.redirect_uri)

    @property
    def login_url(self) -> str:
        return f"{self.origin}/stand-in" if self.demo else self.accounts_url

    @property
    def callback_path(self) -> str:
        """The path of the redirect URI, which is the route of the callback."""
        return urlsplit(self.redirect_uri).path

    @property
    def secure(self) -> bool:
        """Whether people reach the app over https."""
        return self.origin.startswith("https:")

    @property
    def demo(self) -> bool:
        """Whether this is the demo on the stand-in for Spotify."""
        return self.client_id == DEMO_CLIENT_ID

    @property
    def login_url(self) -> str:
        """Where browsers find the accounts service; in the demo, beside the app."""
        return f"{self.origin}/stand-in" if self.demo else self.accounts_url

    @property
    def art_origin(self) -> str | None:
        """Where a stand-in's pictures are; None at the real Spotify."""
        if self.demo:
            return self.origin
        return None if self.api_url == SPOTIFY_API else origin_of(self.api_url)

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Config:
        """Read and check the settings. Raises ConfigError, naming every problem."""
        problems: list[str] = []

        def read(name: str, check: Callable[[str], Any], default: str = "") -> Any:
            value = environ.get(name, default)
            try:
                if not value.isprintable():  # such as bytes that are not UTF-8
                    raise ValueError("has characters that can't be read: type it again")
                return check(value)
            except ValueError as error:
                problems.append(f"{name} {error}")

        port = read("PORT", partial(_number, 65_535), str(cls.port)) or cls.port
        local = f"http://127.0.0.1:{port}/callback"
        check_uri = partial(_redirect_uri, port, "PORT" in environ)
        redirect_uri = read("SPOTIFY_REDIRECT_URI", check_uri, local)
        uri = urlsplit(redirect_uri or local)
        own_host = uri.hostname if is_local(uri) else None
        accounts_url = read("SPOTIFY_ACCOUNTS_URL", _base_url, SPOTIFY_ACCOUNTS)
        redis_url = read("REDIS_URL", _redis_url)
        own_key = "" if redis_url else "x" * 33
        config = cls(
            client_id=read("SPOTIFY_CLIENT_ID", partial(_client_id, accounts_url)),
            client_secret=read("SPOTIFY_CLIENT_SECRET", str) or None,
            redirect_uri=redirect_uri,
            host=read("HOST", partial(_host, own_host), own_host or cls.host),
            port=port if "PORT" in environ else port_of(uri),
            secret_key=read("SECRET_KEY", _secret_key, own_key),
            accounts_url=accounts_url,
            api_url=read("SPOTIFY_API_URL", _base_url, SPOTIFY_API),
            redis_url=redis_url,
            workers=read("WORKERS", partial(_number, 64 if redis_url else 1), "1"),
            threads=read("THREADS", partial(_number, 512), str(cls.threads)),
        )
        if problems:
            raise ConfigError(problems)
        return config


def read_environ(environ: Mapping[str, str], path: Path = DOTENV) -> dict[str, str]:
    """Return the settings in .env and environ, without empty ones; environ wins.

    Raises ConfigError if .env is not a text file.
    """
    try:
        from_file = dotenv_values(path, encoding="utf-8-sig", interpolate=False)
    except (OSError, UnicodeDecodeError):
        raise ConfigError([f"{path} can't be read: save it as UTF-8 text"]) from None
    merged = {**from_file, **environ}
    stripped = {name: (value or "").strip() for name, value in merged.items()}
    return {name: value for name, value in stripped.items() if value}


def origin_of(url: str) -> str:
    """Return scheme, host and port of a URL, in lower case."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}".lower()


def is_local(uri: SplitResult) -> bool:
    """Tell whether a URI leads to this machine: localhost, or a loopback address."""
    host = uri.hostname or ""
    with suppress(ValueError):
        address = ip_address(host)
        return address.is_loopback and str(address) == host  # as browsers write it
    return host == "localhost"


def port_of(uri: SplitResult) -> int:
    """Return the port that is written, or the scheme's usual one."""
    return USUAL_PORTS.get(uri.scheme, 80) if uri.port is None else uri.port


# ---- Checks of single settings: each raises ValueError with what is wrong and the fix


def _number(most: int, value: str) -> int:
    if re.fullmatch(r"[0-9]{1,6}", value) and 1 <= int(value) <= most:
        return int(value)
    if most == 1:  # WORKERS without Redis
        raise ValueError(f"is {value!r}: write 1, or set REDIS_URL to share logins")
    raise ValueError(f"is {value!r}: write a number from 1 to {most}")


def _host(loopback: str | None, value: str) -> str:
    with suppress(ValueError):
        address = ip_address(value)
        if address:
            return value
    own = loopback or "an IP address like 127.0.0.1"
    raise ValueError(f"is {value!r}: write {own}, or 0.0.0.0 for all addresses")


def _client_id(accounts_url: str, value: str) -> str:
    form = r"\w{32}" if accounts_url == SPOTIFY_ACCOUNTS else r"[\w.-]{1,128}"
    if re.fullmatch(form, value, re.ASCII):
        return value
    wrong = "is not 32 letters and digits (without quotes)" if value else "is not set"
    raise ValueError(f"{wrong}: copy it from {DASHBOARD} into .env")


def _secret_key(value: str) -> str:
    if len(value.encode()) >= 16:
        return value
    wrong = "is shorter than 16 characters" if value else "is required with REDIS_URL"
    make = 'python -c "import secrets; print(secrets.token_urlsafe())"'
    raise ValueError(f"{wrong}: make one with {make}")


def _redis_url(value: str) -> str | None:
    if not value:
        return None
    return value


def _web_address(value: str) -> SplitResult:
    """Return the parts of a web address, all of them empty if it is none."""
    with suppress(ValueError):
        if WEB_ADDRESS.fullmatch(value) and port_of(urlsplit(value)):
            return urlsplit(value)
    return urlsplit("")


def _base_url(value: str) -> str:
    value = value.rstrip("/")
    uri = _web_address(value)
    if uri.scheme == "https" or is_local(uri):
        return value
    raise ValueError("is not https (or http on this machine): write https://… instead")


def _redirect_uri(port: int, port_is_set: bool, value: str) -> str:
    """Hold Spotify's rules, and keep the callback's path free for it.

    https://developer.spotify.com/documentation/web-api/concepts/redirect_uri
    """
    uri = _web_address(value)
    path = uri.path if CALLBACK_PATH.fullmatch(uri.path) else "/callback"
    host, origin = uri.hostname or "", f"http://127.0.0.1:{uri.port or port}"
    if not host:
        what = "is not a web address, or has a query or a fragment:"
    elif f".{host}".rstrip(".").endswith(".localhost"):
        what = "uses localhost, which Spotify does not allow:"
    elif uri.scheme == "http" and not is_local(uri):
        what = "is plain http, which Spotify allows only for 127.0.0.1 and [::1]"
        what += "; for other machines use https (see docs/deploying.md):"
        origin = f"https://{uri.netloc}"
    elif path != uri.path:
        what = "needs a path of its own, of letters, digits, - and /:"
        origin = f"{uri.scheme}://{uri.netloc}"
    else:
        return value
    raise ValueError(f"{what} write {origin}{path} here and in the dashboard")
