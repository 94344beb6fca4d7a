"""Every setting, read once from the environment and .env, and checked."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from dotenv import dotenv_values

from addresses import (
    is_local,
    loopback_host,
    nearest_redirect_uri,
    port_of,
    what_is_wrong,
)

DOTENV = Path(__file__).with_name(".env")
DASHBOARD = "https://developer.spotify.com/dashboard"
SPOTIFY_ACCOUNTS = "https://accounts.spotify.com"
SPOTIFY_API = "https://api.spotify.com/v1"
DEMO_CLIENT_ID = "00000000000000000000000000000de0"


class ConfigError(ValueError):
    """One or more settings are wrong; the message says all of them, with the fix."""

    def __init__(self, problems: list[str]) -> None:
        lines = "".join(f"\n  - {problem}" for problem in problems)
        super().__init__(f"These settings need attention:{lines}")


@dataclass(frozen=True)
class Config:
    """The app's settings; the README's table says what each is for."""

    client_id: str
    client_secret: str | None = field(default=None, repr=False)
    redirect_uri: str = "http://127.0.0.1:5000/callback"
    host: str = "127.0.0.1"
    port: int = 5000
    secret_key: str = field(
        default_factory=lambda: secrets.token_urlsafe(32), repr=False
    )
    accounts_url: str = SPOTIFY_ACCOUNTS
    api_url: str = SPOTIFY_API
    redis_url: str | None = field(default=None, repr=False)
    workers: int = 1
    threads: int = 64
    deadline: float = 8.0  # seconds for everything that one visit asks of Spotify

    @property
    def origin(self) -> str:
        """Where the app lives: scheme, host and port of the redirect URI."""
        parts = urlsplit(self.redirect_uri)
        return f"{parts.scheme}://{parts.netloc}".lower()

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

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Config:
        """Read and check the settings. Raises ConfigError, naming every problem."""
        reader = _Reader(environ)
        port = reader.number("PORT", 5000, 65535)
        redirect_uri = environ.get(
            "SPOTIFY_REDIRECT_URI", f"http://127.0.0.1:{port}/callback"
        )
        uri = reader.redirect_uri(redirect_uri, port)
        accounts_url = reader.base_url("SPOTIFY_ACCOUNTS_URL", SPOTIFY_ACCOUNTS)
        workers = reader.number("WORKERS", 1, 64)
        redis_url = reader.redis_url(workers)
        config = cls(
            client_id=reader.client_id(accounts_url == SPOTIFY_ACCOUNTS),
            client_secret=environ.get("SPOTIFY_CLIENT_SECRET"),
            redirect_uri=redirect_uri,
            host=reader.host(loopback_host(uri) or "127.0.0.1"),
            port=port if "PORT" in environ or not loopback_host(uri) else port_of(uri),
            secret_key=reader.secret_key(bool(redis_url)),
            accounts_url=accounts_url,
            api_url=reader.base_url("SPOTIFY_API_URL", SPOTIFY_API),
            redis_url=redis_url,
            workers=workers,
            threads=reader.number("THREADS", cls.threads, 512),
        )
        if reader.problems:
            raise ConfigError(reader.problems)
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


class _Reader:
    """Reads single settings and collects what is wrong with them."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.environ = environ
        self.problems: list[str] = []

    def number(self, name: str, default: int, most: int) -> int:
        value = self.environ.get(name, str(default))
        if re.fullmatch(r"[0-9]{1,6}", value) and 1 <= int(value) <= most:
            return int(value)
        self.problems.append(f"{name} is {value!r}: write a number from 1 to {most}")
        return default

    def host(self, default: str) -> str:
        value = self.environ.get("HOST", default)
        try:
            ip_address(value)
        except ValueError:
            self.problems.append(f"HOST is {value!r}: write an address like {default}")
        return value

    def client_id(self, at_spotify: bool) -> str:
        value = self.environ.get("SPOTIFY_CLIENT_ID", "")
        form = r"[0-9A-Za-z]{32}" if at_spotify else r"[\w.-]{1,128}"
        if not value:
            self.problems.append(
                f"SPOTIFY_CLIENT_ID is not set: copy it from {DASHBOARD} into .env"
            )
        elif not re.fullmatch(form, value, re.ASCII):
            self.problems.append(
                "SPOTIFY_CLIENT_ID does not look like a client ID (32 letters and "
                f"digits): copy it from {DASHBOARD}"
            )
        return value

    def redirect_uri(self, value: str, port: int) -> SplitResult:
        try:
            uri = urlsplit(value if "://" in value else f"http://{value}")
            port = uri.port or port
        except ValueError:
            uri = urlsplit("")
        if wrong := what_is_wrong(value, uri):
            instead = nearest_redirect_uri(uri, port)
            self.problems.append(
                f"SPOTIFY_REDIRECT_URI {wrong}: write {instead} "
                "here and in the dashboard"
            )
        return uri

    def base_url(self, name: str, default: str) -> str:
        value = self.environ.get(name, default).rstrip("/")
        try:
            uri = urlsplit(value)
            safe = uri.scheme == "https" or (uri.scheme == "http" and is_local(uri))
            fine = safe and uri.hostname and port_of(uri)
        except ValueError:
            fine = False
        if not fine or re.search(r"[?#@\s]", value):
            self.problems.append(
                f"{name} is not an https address (or http on this machine): write one "
                f"like {default}"
            )
        return value

    def secret_key(self, required: bool) -> str:
        value = self.environ.get("SECRET_KEY", "")
        why = "is shorter than 16 characters" if value else "is required with REDIS_URL"
        if len(value) < 16 and (value or required):
            self.problems.append(
                f"SECRET_KEY {why}: make one with "
                'python -c "import secrets; print(secrets.token_urlsafe())"'
            )
        return value or secrets.token_urlsafe(32)

    def redis_url(self, workers: int) -> str | None:
        value = self.environ.get("REDIS_URL")
        if value and not re.match(r"(redis|rediss|unix)://.", value):
            self.problems.append(
                "REDIS_URL is not the address of a Redis: write one like "
                "redis://127.0.0.1:6379/0"
            )
        elif value and not (find_spec("redis") and find_spec("cryptography")):
            self.problems.append(
                "REDIS_URL needs two more packages: "
                "pip install -r requirements-redis.txt"
            )
        if workers > 1 and not value:
            self.problems.append(
                "WORKERS is above 1 without REDIS_URL, which they need to share "
                "logins: set REDIS_URL, or WORKERS to 1"
            )
        return value
