"""What environment and .env become, and what is said about settings that are wrong."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from config import DEMO_CLIENT_ID, Config, ConfigError, read_environ
from tests.conftest import CLIENT_ID, needs

ID = {"SPOTIFY_CLIENT_ID": CLIENT_ID}
KEY = "sixteen-letters-"
REDIS = "redis://:redis-password@127.0.0.1:6379/0"
HTTPS = "https://music.example/callback"
LOCAL = "http://127.0.0.1:5000/callback"
NOT_UTF_8 = b"a-key-of-sixteen-\xff".decode(errors="surrogateescape")


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
    assert (read.redirect_uri, read.host, read.port) == (LOCAL, "127.0.0.1", 5000)
    assert read.accounts_url == "https://accounts.spotify.com"
    assert read.api_url == "https://api.spotify.com/v1"
    assert len(read.secret_key) >= 32
    assert read.secret_key != Config.from_env(ID).secret_key


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ("SPOTIFY_CLIENT_SECRET=s", {"client_secret": "s"}),
        ("PORT=80", {"port": 80, "redirect_uri": "http://127.0.0.1:80/callback"}),
        ("URI=http://[::1]:7/a PORT=7", {"host": "::1", "origin": "http://[::1]:7"}),
        ("URI=http://127.0.0.1/callback", {"port": 80}),
        (f"URI={HTTPS} HOST=0.0.0.0 PORT=8080", {"host": "0.0.0.0", "port": 8080}),
        (f"URI={HTTPS}", {"host": "127.0.0.1", "port": 5000, "secure": True}),
        ("URI=https://A.Example:8443/a", {"origin": "https://a.example:8443"}),
        ("URI=HTTPS://notlocalhost/a/b-c_d.~e", {"callback_path": "/a/b-c_d.~e"}),
        ("HOST=::", {"host": "::", "origin": "http://127.0.0.1:5000"}),
        ("SPOTIFY_ACCOUNTS_URL=http://[::1]:8/", {"accounts_url": "http://[::1]:8"}),
        ("SPOTIFY_API_URL=http://localhost:8//", {"art_origin": "http://localhost:8"}),
        ("SPOTIFY_ACCOUNTS_URL=https://x SPOTIFY_CLIENT_ID=me", {"client_id": "me"}),
        (f"SPOTIFY_CLIENT_ID={DEMO_CLIENT_ID}", {"demo": True, "art_origin": None}),
        ("THREADS=12 WORKERS=1", {"threads": 12, "workers": 1}),
    ],
)
def test_settings_are_read(environ: str, expected: dict[str, Any]) -> None:
    environ = re.sub("^URI", "SPOTIFY_REDIRECT_URI", environ)
    read = Config.from_env(ID | dict(it.split("=", 1) for it in environ.split()))
    assert {name: getattr(read, name) for name in expected} == expected


LOCALHOST = "uses localhost, which Spotify does not allow"
PLAIN = "is plain http, which Spotify allows only for 127.0.0.1 and [::1]; "
PATH = "needs a path of its own"
REDIRECT_URIS = {  # what is said, with the fix, and about which
    f"{LOCALHOST}: {LOCAL}": """
        http://LOCALHOST:5000/callback http://app.localhost:5000/callback
        https://localhost./callback http://localhost:5000/login
    """,
    f"{LOCALHOST}: http://127.0.0.1:8888/back": "http://localhost:8888/back",
    f"{PLAIN}: {HTTPS}": "HTTP://music.example/callback http://music.example",
    f"{PLAIN}: https://10.0.0.7:5000/callback": "http://10.0.0.7:5000/callback",
    f"{PLAIN}: https://127.0.0.1.example/callback": "http://127.0.0.1.example",
    f"{PLAIN}: https://[0:0:0:0:0:0:0:1]/callback": "http://[0:0:0:0:0:0:0:1]",
    f"is not a web address, or has a query or a fragment: {LOCAL}": f"""
        {LOCAL}#top {LOCAL}# {LOCAL}?a=b {HTTPS}? callback http:///callback
        127.0.0.1:5000/callback ftp://127.0.0.1:5000/callback http://[::1/callback
        https://robin@music.example/callback https://m\u00fcsic.example/callback
        http://127.0.0.1:99999/callback http://127.0.0.1:0/callback
        https://music.example:/callback http://[::1%lo]:5000/callback
    """,
    f"{PATH}: {LOCAL}": """
        http://127.0.0.1:5000 http://127.0.0.1:5000/ http://127.0.0.1:5000/now-playing
        http://127.0.0.1:5000/static/callback http://127.0.0.1:5000//callback
        http://127.0.0.1:5000/r\u00fcckruf http://127.0.0.1:5000/<path:x>
    """,
    f"{PATH}: {HTTPS}": "https://music.example https://music.example/login",
}


@pytest.mark.parametrize("told", REDIRECT_URIS)
def test_redirect_uri_that_spotify_refuses_is_told_with_one_it_takes(told: str) -> None:
    what, _, instead = told.partition(": ")
    for value in REDIRECT_URIS[told].split():
        [problem] = problems(ID | {"SPOTIFY_REDIRECT_URI": value})
        assert problem.startswith(f"SPOTIFY_REDIRECT_URI {what.rstrip('; ')}")
        suggested = problem.partition(": write ")[2].split(" ")[0]
        assert suggested == instead, value
        fixed = Config.from_env(ID | {"SPOTIFY_REDIRECT_URI": suggested})
        assert fixed.redirect_uri == suggested


NO_NUMBERS = f"0 -1 1.5 many 1e3 70000 {'9' * 5_000} \u0665"
NO_BASES = "http://x.example x.example ftp://x https:// https://robin@x https://x?a ["
NO_IDS = f'abc {CLIENT_ID}0 "{CLIENT_ID}" {CLIENT_ID[1:]}\u0660'
NOT_HTTPS = "is not https (or http on this machine): write https://"

WRONG = {  # the values, and what is said about each
    "SPOTIFY_CLIENT_ID": (NO_IDS, "is not 32 letters and digits (without quotes): "),
    "PORT": (NO_NUMBERS, "is {!r}: write a number from 1 to 65535"),
    "THREADS": (NO_NUMBERS, "is {!r}: write a number from 1 to 512"),
    "WORKERS": ("0 2 x", "is {!r}: write 1, or set REDIS_URL"),
    "SPOTIFY_ACCOUNTS_URL": (NO_BASES, NOT_HTTPS),
    "SPOTIFY_API_URL": (NO_BASES, NOT_HTTPS),
    "SECRET_KEY": ("15-characters--", "is shorter than 16 characters: make one"),
    "SPOTIFY_CLIENT_SECRET": (NOT_UTF_8, "has characters that can't be read: "),
    "HOST": ("localhost 127.1 10.0.0.7 ::1", "is {!r}: write 127.0.0.1, or"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_setting_is_told_with_its_fix(name: str) -> None:
    values, what = WRONG[name]
    for value in values.split():
        [told] = problems(ID | {name: value})
        assert told.startswith(f"{name} {what.format(value)}")
        assert told.isprintable()


def test_port_and_the_loopback_redirect_uri_have_to_agree() -> None:
    environ = {"SPOTIFY_REDIRECT_URI": "http://127.0.0.1:8888/back", "PORT": "9000"}
    [told] = problems(ID | environ)
    assert "has port 8888, but PORT is 9000: set PORT to the same, or" in told
    assert "or write http://127.0.0.1:9000/back here and in the dashboard" in told


NO_REDIS = """
    127.0.0.1:6379 redis://:pass/word@127.0.0.1:6379 redis://x:port
    redis://127.0.0.1/0?socket_timeout=soon redis://127.0.0.1/0?no_such=1
    redis://127.0.0.1/0?encoding=zzz redis://127.0.0.1/0?retry=1
    redis://a..b/0
"""


def test_redis_needs_a_key_and_an_address_that_is_one() -> None:
    needs("redis", bool(find_spec("redis") and find_spec("cryptography")))
    for url in (REDIS, "rediss://redis.example:6380", "unix:///run/redis.sock"):
        environ = ID | {"REDIS_URL": url, "WORKERS": "4"}
        read = Config.from_env(environ | {"SECRET_KEY": KEY})
        assert (read.redis_url, read.workers, read.secret_key) == (url, 4, KEY)
        [told] = problems(environ)
        assert told.startswith("SECRET_KEY is required with REDIS_URL: make one with")
    for url in NO_REDIS.split():
        [told] = problems(ID | {"REDIS_URL": url, "SECRET_KEY": KEY})
        assert told.startswith("REDIS_URL is not the address of a Redis: write one")
        assert "word" not in told.partition("password as")[0]


def test_redis_without_its_packages_says_which_command_brings_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "store.redis", None)
    [told] = problems(ID | {"REDIS_URL": REDIS, "SECRET_KEY": KEY})
    assert told.endswith(": pip install -r requirements-redis.txt")


def test_all_problems_are_told_at_once_and_no_secrets() -> None:
    environ = {
        "SPOTIFY_REDIRECT_URI": "http://localhost:5000/callback",
        "PORT": "five",
        "SECRET_KEY": "short-key",
        "REDIS_URL": "redis-password@127.0.0.1",
        "SPOTIFY_CLIENT_SECRET": NOT_UTF_8,
    }
    told = problems(environ)
    names = [re.split(r"[ :]", problem)[0] for problem in told]
    assert sorted(names) == sorted([*environ, "SPOTIFY_CLIENT_ID"])
    assert not re.search("short-key|redis-password|sixteen", str(told))
    read = Config(CLIENT_ID, "app-secret", secret_key=KEY, redis_url=REDIS)
    assert CLIENT_ID in repr(read)
    assert not re.search(f"app-secret|{KEY}|redis-password", repr(read))


def test_dotenv_is_read_beneath_the_environment(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    assert read_environ({"PORT": " 1\n", "HOST": " "}, path) == {"PORT": "1"}
    for file, environ, expected in (
        ("PORT=1\n", {"HOST": "::1"}, {"PORT": "1", "HOST": "::1"}),
        ("PORT=1\n", {"PORT": "2"}, {"PORT": "2"}),
        ("PORT=1\nHOST\nWORKERS='  '\n", {"PORT": ""}, {}),
        ("\ufeffPORT=1\r\nHOST=::1\r\n", {}, {"PORT": "1", "HOST": "::1"}),
        ("# PORT=1\nexport HOST='::1' # here\n", {}, {"HOST": "::1"}),
        ('KEY="a#${A}$A \u00fc"\n', {}, {"KEY": "a#${A}$A \u00fc"}),
    ):
        path.write_bytes(file.encode())
        assert read_environ(environ, path) == expected, file
    path.write_bytes("ID=schl\u00fcssel\n".encode("latin-1"))
    with pytest.raises(ConfigError, match=r"\.env can't be read: save it as UTF-8"):
        read_environ({}, path)
