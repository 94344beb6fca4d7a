"""Every setting, read once from the environment and .env, and checked."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from io import StringIO
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from dotenv.parser import Binding, parse_stream

from addresses import base_url, callback_url, origin_of, port_of, redis_url

HOME = Path(__file__).parent
DOTENV = HOME / ".env"
DASHBOARD = "https://developer.spotify.com/dashboard"
SPOTIFY_ACCOUNTS = "https://accounts.spotify.com"
SPOTIFY_API = "https://api.spotify.com/v1"
DEMO_CLIENT_ID = "00000000000000000000000000000de0"
COPY_ID = f"copy it from {DASHBOARD} into .env, without quotes"
MAKE_KEY = 'make one with python -c "import secrets; print(secrets.token_urlsafe())"'

Check = Callable[[str], Any]  # raises ValueError with what is wrong and the fix


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
    secret_key: str | None = field(default=None, repr=False)  # None: the store's own
    accounts_url: str = SPOTIFY_ACCOUNTS
    api_url: str = SPOTIFY_API
    redis_url: str | None = field(default=None, repr=False)
    logins_file: str | None = None
    daily_calls: int | None = None  # None: by the number of people; 0: no limit
    workers: int = 1
    threads: int = 96  # calls to Spotify at once

    @property
    def origin(self) -> str:
        """Where people open the app: scheme, host and port of the redirect URI."""
        return origin_of(self.redirect_uri)

    @property
    def secure(self) -> bool:
        return self.origin.startswith("https:")

    @property
    def demo(self) -> bool:
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

        def read(name: str, check: Check, default: Any = None, unset: str = "") -> Any:
            """unset: what to say if it has to be set, but isn't."""
            value = environ.get(name, "")
            try:
                if not value.isprintable():  # such as bytes that are not UTF-8
                    raise ValueError("has characters that can't be read: type it again")
                if unset and not value:
                    raise ValueError(unset)
                return check(value) if value else default
            except ValueError as error:
                problems.append(f"{name} {error}")
            return default

        port = read("PORT", partial(_number, 1, 65_535))
        here = f"http://127.0.0.1:{port or cls.port}/callback"
        redirect_uri = read("SPOTIFY_REDIRECT_URI", callback_url, here)
        uri = urlsplit(redirect_uri)
        local = uri.scheme == "http"  # Spotify allows that for this machine only
        accounts_url = read("SPOTIFY_ACCOUNTS_URL", base_url, SPOTIFY_ACCOUNTS)
        check_id = _client_id if accounts_url == SPOTIFY_ACCOUNTS else str
        redis, file = environ.get("REDIS_URL"), read("LOGINS_FILE", str)
        no_key = f"is required with REDIS_URL: {MAKE_KEY}" if redis else ""
        config = cls(
            client_id=read("SPOTIFY_CLIENT_ID", check_id, "", f"is not set: {COPY_ID}"),
            client_secret=read("SPOTIFY_CLIENT_SECRET", str),
            redirect_uri=redirect_uri,
            host=read("HOST", _host, uri.hostname if local else cls.host),
            port=port or (port_of(uri) if local else cls.port),
            secret_key=read("SECRET_KEY", _secret_key, unset=no_key),
            accounts_url=accounts_url,
            api_url=read("SPOTIFY_API_URL", base_url, SPOTIFY_API),
            redis_url=read("REDIS_URL", redis_url),
            logins_file=file and str(HOME / os.path.expanduser(file)),
            daily_calls=read("SPOTIFY_DAILY_CALLS", partial(_number, 0, 10_000_000)),
            workers=read("WORKERS", partial(_number, 1, 64), cls.workers),
            threads=read("THREADS", partial(_number, 1, 512), cls.threads),
        )
        if redis and file:
            problems.append("LOGINS_FILE and REDIS_URL both keep logins: remove one")
        if config.workers > 1 and not redis:
            problems.append("WORKERS is above 1: write 1, or set REDIS_URL")
        if problems:
            raise ConfigError(problems)
        return config


def read_environ(environ: Mapping[str, str], path: Path = DOTENV) -> dict[str, str]:
    """Return what is not empty in .env and environ, which wins. Raises ConfigError."""
    from_file = {it.key: it.value or "" for it in read_dotenv(path) if it.key}
    stripped = {name: value.strip() for name, value in {**from_file, **environ}.items()}
    return {name: value for name, value in stripped.items() if value}


def read_dotenv(path: Path) -> list[Binding]:
    """Return what stands in a file like .env, in its order. Raises ConfigError."""
    try:
        text = path.read_text("utf-8-sig") if path.exists() else ""
    except (OSError, UnicodeError):
        raise ConfigError([f"{path} can't be read: save it as UTF-8 text"]) from None
    return list(parse_stream(StringIO(text)))


def _number(least: int, most: int, value: str) -> int:
    if re.fullmatch(r"[0-9]{1,8}", value) and least <= int(value) <= most:
        return int(value)
    raise ValueError(f"is {value!r}: write a number from {least} to {most}")


def _client_id(value: str) -> str:
    if re.fullmatch(r"\w{32}", value, re.ASCII):
        return value
    raise ValueError(f"is not 32 letters and digits: {COPY_ID}")


def _secret_key(value: str) -> str:
    if len(value) < 16:
        raise ValueError(f"is shorter than 16 characters: {MAKE_KEY}")
    return value


def _host(value: str) -> str:
    with suppress(ValueError):
        return str(ip_address(value))
    raise ValueError(f"is {value!r}: write 127.0.0.1, or 0.0.0.0 for all addresses")
