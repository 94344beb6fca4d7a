"""What environment and .env become, and what is said about settings that are wrong."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from config import DEMO_CLIENT_ID, Config, ConfigError, read_environ
from tests.conftest import CLIENT_ID, needs

DASHBOARD = "https://developer.spotify.com/dashboard"
ID = {"SPOTIFY_CLIENT_ID": CLIENT_ID}
KEY = "sixteen-letters-"
REDIS = "redis://:redis-password@127.0.0.1:6379/0"
HTTPS = "https://music.example/callback"
SET_ID = f"SPOTIFY_CLIENT_ID is not set: copy it from {DASHBOARD} into .env"
MAKE_A_KEY = 'make one with python -c "import secrets; print(secrets.token_urlsafe())"'


def problems(environ: Mapping[str, str]) -> list[str]:
    """Return what the error says about these settings, line by line."""
    with pytest.raises(ConfigError) as caught:
        Config.from_env(environ)
    head, *lines = str(caught.value).split("\n  - ")
    assert head == "These settings need attention:"
    return lines


def test_one_setting_is_enough() -> None:
    read = Config.from_env(ID)
    assert read == Config(CLIENT_ID, secret_key=read.secret_key)
    assert read.client_secret is read.redis_url is None
    assert read.redirect_uri == "http://127.0.0.1:5000/callback"
    assert (read.host, read.port) == ("127.0.0.1", 5000)
    assert (read.origin, read.callback_path) == ("http://127.0.0.1:5000", "/callback")
    assert read.accounts_url == "https://accounts.spotify.com"
    assert read.api_url == "https://api.spotify.com/v1"
    assert (read.workers, read.secure, read.demo) == (1, False, False)
    assert len(read.secret_key) >= 32
    assert read.secret_key != Config.from_env(ID).secret_key


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"SPOTIFY_CLIENT_SECRET": "s"}, {"client_secret": "s"}),
        (
            {"PORT": "8000"},
            {"port": 8000, "redirect_uri": "http://127.0.0.1:8000/callback"},
        ),
        (
            {"SPOTIFY_REDIRECT_URI": "http://127.0.0.1:8888/back"},
            {"host": "127.0.0.1", "port": 8888, "callback_path": "/back"},
        ),
        (
            {"SPOTIFY_REDIRECT_URI": "http://127.0.0.1:8888/back", "PORT": "9000"},
            {"port": 9000, "origin": "http://127.0.0.1:8888"},
        ),
        (
            {"SPOTIFY_REDIRECT_URI": "http://[::1]:7000/callback"},
            {"host": "::1", "port": 7000, "origin": "http://[::1]:7000"},
        ),
        ({"SPOTIFY_REDIRECT_URI": "http://127.0.0.1/callback"}, {"port": 80}),
        (
            {"SPOTIFY_REDIRECT_URI": HTTPS},
            {
                "host": "127.0.0.1",
                "port": 5000,
                "secure": True,
                "origin": "https://music.example",
            },
        ),
        (
            {"SPOTIFY_REDIRECT_URI": HTTPS, "HOST": "0.0.0.0", "PORT": "8080"},
            {"host": "0.0.0.0", "port": 8080, "redirect_uri": HTTPS},
        ),
        (
            {"SPOTIFY_REDIRECT_URI": "https://Music.Example:8443/a/b-c_d.~e"},
            {"origin": "https://music.example:8443", "callback_path": "/a/b-c_d.~e"},
        ),
        ({"SPOTIFY_REDIRECT_URI": "HTTPS://music.example/callback"}, {"secure": True}),
        ({"SPOTIFY_REDIRECT_URI": "https://notlocalhost/callback"}, {"secure": True}),
        ({"HOST": "::"}, {"host": "::", "origin": "http://127.0.0.1:5000"}),
        ({"SECRET_KEY": KEY}, {"secret_key": KEY}),
        (
            {
                "SPOTIFY_ACCOUNTS_URL": "http://127.0.0.1:8888/",
                "SPOTIFY_API_URL": "http://localhost:8888/v1//",
                "SPOTIFY_CLIENT_ID": "stand-in",
            },
            {
                "accounts_url": "http://127.0.0.1:8888",
                "api_url": "http://localhost:8888/v1",
                "client_id": "stand-in",
            },
        ),
        (
            {"SPOTIFY_ACCOUNTS_URL": "https://proxy.example/accounts"},
            {"accounts_url": "https://proxy.example/accounts"},
        ),
        ({"SPOTIFY_CLIENT_ID": DEMO_CLIENT_ID}, {"demo": True}),
        ({"THREADS": "12", "WORKERS": "1"}, {"threads": 12, "workers": 1}),
    ],
    ids=str,
)
def test_settings_are_read(environ: dict[str, str], expected: dict[str, Any]) -> None:
    read = Config.from_env(ID | environ)
    assert {name: getattr(read, name) for name in expected} == expected


def test_redis_lets_workers_share_logins() -> None:
    needs("redis", bool(find_spec("redis") and find_spec("cryptography")))
    for url in (REDIS, "rediss://redis.example:6380", "unix:///run/redis.sock"):
        environ = {"REDIS_URL": url, "WORKERS": "4", "SECRET_KEY": KEY}
        read = Config.from_env(ID | environ)
        assert (read.redis_url, read.workers, read.secret_key) == (url, 4, KEY)


NOT_AN_ADDRESS = (
    "SPOTIFY_REDIRECT_URI is not a web address: write {} here and in the dashboard"
)
LOCALHOST = (
    "SPOTIFY_REDIRECT_URI uses localhost, which Spotify does not allow: write {} here "
    "and in the dashboard"
)
PLAIN = (
    "SPOTIFY_REDIRECT_URI is plain http, which Spotify allows only for 127.0.0.1 and "
    "[::1]: write {} here and in the dashboard"
)
QUERY = (
    "SPOTIFY_REDIRECT_URI has a query or a fragment: write {} here and in the dashboard"
)
PATH = (
    "SPOTIFY_REDIRECT_URI needs a path of its own, of letters, digits, - and /: write "
    "{} here and in the dashboard"
)
LOCAL = "http://127.0.0.1:5000/callback"
REDIRECT_URIS = [
    ("http://localhost:5000/callback", LOCALHOST, LOCAL),
    ("http://LOCALHOST:5000/callback", LOCALHOST, LOCAL),
    ("http://localhost:8888/back", LOCALHOST, "http://127.0.0.1:8888/back"),
    ("http://app.localhost:5000/callback", LOCALHOST, LOCAL),
    ("http://localhost:5000", LOCALHOST, LOCAL),
    ("http://localhost:5000/", LOCALHOST, LOCAL),
    ("http://localhost:5000/login", LOCALHOST, None),
    ("http://localhost:5000/callback?a=b", LOCALHOST, LOCAL),
    ("http://localhost:5000/call back", LOCALHOST, None),
    ("http://music.example/callback", PLAIN, HTTPS),
    ("HTTP://music.example/callback", PLAIN, HTTPS),
    ("http://music.example", PLAIN, None),
    ("http://music.example/callback?a=b", PLAIN, None),
    ("http://192.168.0.7:5000/callback", PLAIN, "https://192.168.0.7:5000/callback"),
    ("http://127.0.0.1.evil.example/callback", PLAIN, None),
    (f"{LOCAL}#top", QUERY, LOCAL),
    (f"{LOCAL}#", QUERY, LOCAL),
    (f"{LOCAL}?a=b", QUERY, LOCAL),
    (f"{HTTPS}?", QUERY, HTTPS),
    ("http://127.0.0.1:5000?a=b", QUERY, None),
    ("http://127.0.0.1:5000", PATH, LOCAL),
    ("http://127.0.0.1:5000/", PATH, LOCAL),
    ("https://music.example", PATH, HTTPS),
    ("https://music.example/login", PATH, HTTPS),
    ("http://127.0.0.1:5000/now-playing", PATH, LOCAL),
    ("http://127.0.0.1:5000/healthz", PATH, LOCAL),
    ("http://127.0.0.1:5000/static/callback", PATH, LOCAL),
    ("http://127.0.0.1:5000/call back", PATH, LOCAL),
    ("http://127.0.0.1:5000/<path:x>", PATH, LOCAL),
    ("http://127.0.0.1:5000//callback", PATH, LOCAL),
    ("http://127.0.0.1:5000/r\u00fcckruf", PATH, LOCAL),
    ("127.0.0.1:5000/callback", NOT_AN_ADDRESS, None),
    ("localhost:5000/callback", NOT_AN_ADDRESS, None),
    ("callback", NOT_AN_ADDRESS, None),
    ("ftp://127.0.0.1:5000/callback", NOT_AN_ADDRESS, LOCAL),
    ("https://robin@music.example/callback", NOT_AN_ADDRESS, None),
    ("http://127.0.0.1:99999/callback", NOT_AN_ADDRESS, LOCAL),
    ("http://127.0.0.1:0/callback", NOT_AN_ADDRESS, LOCAL),
    ("http://[::1/callback", NOT_AN_ADDRESS, LOCAL),
    ("http:///callback", NOT_AN_ADDRESS, None),
    ("https://music.example:/callback", NOT_AN_ADDRESS, HTTPS),
    ("http://127.0.0.1:05000/callback", NOT_AN_ADDRESS, LOCAL),
    ("http://[::1%lo]:5000/callback", NOT_AN_ADDRESS, LOCAL),
    ("https://mu sic.example/callback", NOT_AN_ADDRESS, LOCAL),
    ("https://m\u00fcsic.example/callback", NOT_AN_ADDRESS, None),
    ("http://[0:0:0:0:0:0:0:1]:5000/callback", PLAIN, LOCAL),
    ("http://127.1:5000/callback", PLAIN, LOCAL),
    ("https://localhost./callback", LOCALHOST, LOCAL),
]


@pytest.mark.parametrize(
    ("uri", "sentence", "instead"), REDIRECT_URIS, ids=[row[0] for row in REDIRECT_URIS]
)
def test_redirect_uri_that_spotify_refuses_is_refused_with_one_that_works(
    uri: str, sentence: str, instead: str | None
) -> None:
    [told] = problems(ID | {"SPOTIFY_REDIRECT_URI": uri})
    suggested = told.partition(": write ")[2].split(" ")[0]
    assert told == sentence.format(suggested)
    assert instead in (suggested, None)
    repaired = Config.from_env(ID | {"SPOTIFY_REDIRECT_URI": suggested})
    assert repaired.redirect_uri == suggested


NUMBER = "{} is {!r}: write a number from 1 to {}"
LOOKS_WRONG = (
    "SPOTIFY_CLIENT_ID does not look like a client ID (32 letters and digits): copy it "
    f"from {DASHBOARD}"
)
BASE = "{} is not an https address (or http on this machine): write one like {}"
BASES = {
    "SPOTIFY_ACCOUNTS_URL": "https://accounts.spotify.com",
    "SPOTIFY_API_URL": "https://api.spotify.com/v1",
}
NOT_BASES = [
    "http://accounts.example",
    "accounts.spotify.com",
    "ftp://accounts.spotify.com",
    "https://",
    "https://robin@accounts.spotify.com",
    "https://accounts.spotify.com?a=b",
    "https://accounts.spotify.com/#x",
    "https://accounts.spotify.com:x",
    "https://accounts. spotify.com",
    "https://[",
]
WRONG: list[tuple[dict[str, str], str]] = [
    ({"SPOTIFY_CLIENT_ID": ""}, SET_ID),
    *(
        ({"SPOTIFY_CLIENT_ID": value}, LOOKS_WRONG)
        for value in ("abc", CLIENT_ID + "0", CLIENT_ID[1:] + "-", "\u0660" * 32)
    ),
    *(
        ({name: value}, NUMBER.format(name, value, most))
        for name, most in (("PORT", 65535), ("WORKERS", 64), ("THREADS", 512))
        for value in ("0", "-1", "1.5", "many", "1e3", str(most + 1), "9" * 5_000)
    ),
    ({"PORT": "\u0665\u0660"}, NUMBER.format("PORT", "\u0665\u0660", 65535)),
    *(
        ({name: value}, BASE.format(name, default))
        for name, default in BASES.items()
        for value in NOT_BASES
    ),
    (
        {"SECRET_KEY": "15-characters--"},
        f"SECRET_KEY is shorter than 16 characters: {MAKE_A_KEY}",
    ),
    ({"HOST": "localhost"}, "HOST is 'localhost': write an address like 127.0.0.1"),
    ({"HOST": "127.1"}, "HOST is '127.1': write an address like 127.0.0.1"),
    ({"REDIS_URL": REDIS}, f"SECRET_KEY is required with REDIS_URL: {MAKE_A_KEY}"),
    (
        {"REDIS_URL": "127.0.0.1:6379", "SECRET_KEY": KEY},
        "REDIS_URL is not the address of a Redis: write one like "
        "redis://127.0.0.1:6379/0",
    ),
    (
        {"WORKERS": "2"},
        "WORKERS is above 1 without REDIS_URL, which they need to share logins: set "
        "REDIS_URL, or WORKERS to 1",
    ),
]


@pytest.mark.parametrize(("environ", "sentence"), WRONG)
def test_wrong_setting_is_told_with_its_fix(
    environ: dict[str, str], sentence: str
) -> None:
    if environ.get("REDIS_URL") == REDIS:
        needs("redis", bool(find_spec("redis") and find_spec("cryptography")))
    assert problems(ID | environ) == [sentence]


def test_all_problems_are_told_at_once() -> None:
    environ = {
        "SPOTIFY_REDIRECT_URI": "http://localhost:5000/callback",
        "PORT": "five",
        "WORKERS": "2",
        "THREADS": "0",
        "SECRET_KEY": "short",
        "SPOTIFY_API_URL": "ftp://x",
    }
    told = problems(environ)
    names = {re.split(r"[ :]", problem)[0] for problem in told}
    assert names == environ.keys() | {"SPOTIFY_CLIENT_ID"}
    assert len(told) == len(names)


def test_secrets_are_neither_in_the_repr_nor_in_the_error() -> None:
    secrets = {"client_secret": "s3cr3t-value", "secret_key": KEY, "redis_url": REDIS}
    shown = repr(Config(CLIENT_ID, **secrets))  # type: ignore[arg-type]
    told = problems(
        {
            "SPOTIFY_CLIENT_SECRET": "s3cr3t-value",
            "SECRET_KEY": "short-key",
            "REDIS_URL": "redis-password@127.0.0.1",
        }
    )
    for secret in (*secrets.values(), "redis-password", "short-key"):
        assert secret not in shown
        assert secret not in str(told)
    assert CLIENT_ID in shown


# ---- .env
@pytest.mark.parametrize(
    ("file", "environ", "expected"),
    [
        (None, {"PORT": "1"}, {"PORT": "1"}),
        (b"PORT=1\n", {}, {"PORT": "1"}),
        (b"PORT=1\n", {"HOST": "::1"}, {"PORT": "1", "HOST": "::1"}),
        (b"PORT=1\n", {"PORT": "2"}, {"PORT": "2"}),
        (b"PORT=\n", {}, {}),
        (b"PORT\n", {}, {}),
        (b"PORT='  '\n", {}, {}),
        (b"PORT=1\n", {"PORT": ""}, {}),
        (b"", {"PORT": "", "HOST": " "}, {}),
        (b"", {"PORT": " 1\n"}, {"PORT": "1"}),
        (b"\xef\xbb\xbfPORT=1\n", {}, {"PORT": "1"}),
        (b"PORT=1\r\nHOST=::1\r\n", {}, {"PORT": "1", "HOST": "::1"}),
        (b"# PORT=1\nexport HOST='::1' # here\n", {}, {"HOST": "::1"}),
        (b"SECRET_KEY=a${PORT}b$PORT\n", {}, {"SECRET_KEY": "a${PORT}b$PORT"}),
        (b'SECRET_KEY="a#b c"\n', {}, {"SECRET_KEY": "a#b c"}),
        ("SECRET_KEY=schl\u00fcssel\n".encode(), {}, {"SECRET_KEY": "schl\u00fcssel"}),
    ],
)
def test_dotenv_is_read_beneath_the_environment(
    file: bytes | None,
    environ: dict[str, str],
    expected: dict[str, str],
    tmp_path: Path,
) -> None:
    if file is not None:
        (tmp_path / ".env").write_bytes(file)
    assert read_environ(environ, tmp_path / ".env") == expected


@pytest.mark.parametrize(
    "file",
    [
        "SPOTIFY_CLIENT_ID=schl\u00fcssel\n".encode("latin-1"),
        "SPOTIFY_CLIENT_ID=abc\n".encode("utf-16"),
        b"\x89PNG\r\n\x1a\n\xff\xd8",
    ],
)
def test_dotenv_that_is_no_utf8_is_refused_with_the_fix(
    file: bytes, tmp_path: Path
) -> None:
    (tmp_path / ".env").write_bytes(file)
    with pytest.raises(ValueError, match=r"\.env can't be read: save it as UTF-8"):
        read_environ({}, tmp_path / ".env")
