"""Every setting, read once from the environment and .env, and checked."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
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
USUAL_CALLBACK = "http://127.0.0.1:5000/callback"
DEMO_CLIENT_ID = "00000000000000000000000000000de0"
COPY_ID = f"copy it from {DASHBOARD} into .env, without quotes"
AN_ID = re.compile(r"\w{32}", re.ASCII)
MAKE_KEY = 'make one with python -c "import secrets; print(secrets.token_urlsafe())"'
CLIENT_ID = "SPOTIFY_CLIENT_ID"
# No file and no Redis: logins would outlive the tokens, which the stand-in forgets.
DEMO_SETTINGS = ("HOST", "PORT", "SECRET_KEY", "SPOTIFY_REDIRECT_URI", "THREADS")
FROM_DASHBOARD = (CLIENT_ID, "SPOTIFY_CLIENT_SECRET", "SPOTIFY_REDIRECT_URI")
LISTED = "a name from docs/settings.md"
COMMENTED_ID = re.compile(r"\s*#\s*(export\s+)?SPOTIFY_CLIENT_ID\s*=\s*\S")

Check = Callable[[str], Any]  # raises ValueError with what is wrong and the fix


class ConfigError(ValueError):
    """One or more settings are wrong; the message says all of them, with the fix."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n  - ".join(["These settings need attention:", *problems]))


def _number(least: int, most: int, value: str) -> int:
    if re.fullmatch(r"[0-9]{1,8}", value) and least <= int(value) <= most:
        return int(value)
    raise ValueError(f"is {value!r}: write a number from {least} to {most}")


def _secret_key(value: str) -> str:
    if len(value) < 16:
        raise ValueError(f"is shorter than 16 characters: {MAKE_KEY}")
    return value


def _host(value: str) -> str:
    with suppress(ValueError):
        return str(ip_address(value))
    raise ValueError(f"is {value!r}: write 127.0.0.1, or 0.0.0.0 for all addresses")


def setting(name: str, check: Check = str, default: Any = None, **more: Any) -> Any:
    """Return the field of a setting: its name in the environment, and its check."""
    return field(default=default, metadata={"name": name, "check": check}, **more)


@dataclass(frozen=True)
class Config:
    """The app's settings; docs/settings.md says what each is for.

    secret_key: None for the store's own. daily_calls: None for a limit by the number of
    people, 0 for none.
    """

    client_id: str = setting("SPOTIFY_CLIENT_ID")
    client_secret: str | None = setting("SPOTIFY_CLIENT_SECRET", repr=False)
    redirect_uri: str = setting("SPOTIFY_REDIRECT_URI", callback_url, USUAL_CALLBACK)
    host: str = setting("HOST", _host, "127.0.0.1")
    port: int = setting("PORT", partial(_number, 1, 65_535), 5000)
    secret_key: str | None = setting("SECRET_KEY", _secret_key, repr=False)
    accounts_url: str = setting("SPOTIFY_ACCOUNTS_URL", base_url, SPOTIFY_ACCOUNTS)
    api_url: str = setting("SPOTIFY_API_URL", base_url, SPOTIFY_API)
    redis_url: str | None = setting("REDIS_URL", redis_url, repr=False)
    logins_file: str | None = setting("LOGINS_FILE", partial(os.path.join, HOME))
    daily_calls: int | None = setting("SPOTIFY_DAILY_CALLS", partial(_number, 0, 10**7))
    workers: int = setting("WORKERS", partial(_number, 1, 64), 1)
    threads: int = setting("THREADS", partial(_number, 1, 512), 96)

    @property
    def origin(self) -> str:
        """Where people open the app: scheme, host and port of the redirect URI."""
        return origin_of(self.redirect_uri)

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
        given: dict[str, Any] = {}
        problems = []
        for it in fields(cls):
            name, check = it.metadata["name"], it.metadata["check"]
            value = environ.get(name, "")
            try:
                if not value.isprintable():  # such as bytes that are not UTF-8
                    raise ValueError("has characters that can't be read: type it again")
                if value:
                    given[it.name] = check(value)
            except ValueError as error:
                problems.append(f"{name} {error}")
        client_id, redis = environ.get(CLIENT_ID), environ.get("REDIS_URL")
        if not client_id:
            problems.append(f"{CLIENT_ID} is not set: {COPY_ID}")
        elif not (environ.get("SPOTIFY_ACCOUNTS_URL") or AN_ID.fullmatch(client_id)):
            problems.append(f"{CLIENT_ID} is not 32 letters and digits: {COPY_ID}")
        if redis and not environ.get("SECRET_KEY"):
            problems.append(f"SECRET_KEY is required with REDIS_URL: {MAKE_KEY}")
        if redis and environ.get("LOGINS_FILE"):
            problems.append("LOGINS_FILE and REDIS_URL both keep logins: remove one")
        if given.get("workers", 1) > 1 and not redis:
            problems.append("WORKERS is above 1: write 1, or set REDIS_URL")
        if problems:
            raise ConfigError(problems)
        here = f"http://127.0.0.1:{given.get('port', cls.port)}/callback"
        uri = urlsplit(given.setdefault("redirect_uri", here))
        if uri.scheme == "http":  # Spotify allows that for this machine only
            given = {"host": uri.hostname, "port": port_of(uri)} | given
        return cls(**given)


SETTINGS = [it.metadata["name"] for it in fields(Config)]


def read_environ(environ: Mapping[str, str], path: Path = DOTENV) -> dict[str, str]:
    """Return what is not empty in .env and environ, which wins. Raises ConfigError."""
    from_file = {it.key: it.value for it in read_dotenv(path) if it.key and it.value}
    stripped = {name: value.strip() for name, value in {**from_file, **environ}.items()}
    return {name: value for name, value in stripped.items() if value}


def demo_settings(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the settings that the demo reads, with its client ID."""
    read = {name: environ[name] for name in DEMO_SETTINGS if name in environ}
    return read | {CLIENT_ID: DEMO_CLIENT_ID}


def read_dotenv(path: Path) -> list[Binding]:
    """Return what stands in a file like .env, in its order. Raises ConfigError."""
    try:
        text = path.read_text("utf-8-sig") if path.exists() else ""
    except (OSError, UnicodeError):
        raise ConfigError([f"{path} can't be read: save it as UTF-8 text"]) from None
    return list(parse_stream(StringIO(text)))


def hints(environ: Mapping[str, str], path: Path = DOTENV) -> Iterator[str]:
    """Say what looks like a setting, but has no effect; and why this is the demo."""
    parts = read_dotenv(path)
    names = {part.key for part in parts if part.key and part.value is not None}
    names |= {name for name in environ if name.startswith("SPOTI")}
    for name in sorted(names.difference(SETTINGS)):
        right = get_close_matches(name.upper(), FROM_DASHBOARD) or [LISTED]
        yield f"{name} is not a setting of this app: use {right[0]}"
    demo = CLIENT_ID not in read_environ(environ, path)
    for part in parts:
        text = part.original.string
        line = part.original.line + text.removesuffix(text.lstrip()).count("\n")
        if part.error or (part.key and part.value is None):  # maybe half a secret
            yield f"{path}, line {line} is not a setting: write NAME=value"
        elif demo and COMMENTED_ID.match(text):
            yield f"{path}, line {line} has no effect: remove the # at its beginning"
    if demo:
        for other in (path.with_name(".env.txt"), path.with_name(".env.example")):
            if CLIENT_ID in read_environ({}, other):
                yield f"{other} is not read: rename it to .env"
        if CLIENT_ID in environ and CLIENT_ID in read_environ({}, path):
            yield f"An empty environment variable {CLIENT_ID} wins over {path}"
        yield f"No {CLIENT_ID} in {path}: this is the demo"
