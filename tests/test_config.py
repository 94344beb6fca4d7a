"""What environment and .env become, and what is said about them."""

import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from config import DEMO_CLIENT_ID, HOME, Config, ConfigError, hints, read_environ
from tests.conftest import CLIENT_ID
from web.server import greeting

ID = "SPOTIFY_CLIENT_ID"
WITH_ID = {ID: CLIENT_ID}
KEY = "sixteen-letters-"
REDIS = "redis://:redis-password@127.0.0.1:6379/0"
HTTPS = "https://music.example/callback"
LOCAL = "http://127.0.0.1:5000/callback"
DEFAULTS = {
    "redirect_uri": LOCAL,
    "login_url": "https://accounts.spotify.com",
    "api_url": "https://api.spotify.com/v1",
    **dict.fromkeys(("art_origin", "daily_calls", "secret_key"), None),
}
IN_THE_DEMO = {
    "demo": True,
    "art_origin": "http://127.0.0.1:7",
    "login_url": "http://127.0.0.1:7/stand-in",
}
NOT_UTF_8 = b"a-key-of-sixteen-\xff".decode(errors="surrogateescape")


def problems(environ: Mapping[str, str]) -> list[str]:
    """Return what the error says about these settings, line by line."""
    with pytest.raises(ConfigError) as caught:
        Config.from_env(environ)
    head, *lines = str(caught.value).split("\n  - ")
    assert head == "These settings need attention:"
    return lines


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ("", {"host": "127.0.0.1", "port": 5000, **DEFAULTS}),
        ("PORT=80", {"port": 80, "redirect_uri": "http://127.0.0.1:80/callback"}),
        ("URI=http://[::1]:7/callback", {"host": "::1", "port": 7}),
        ("URI=http://127.0.0.1:8080/callback PORT=5000", {"port": 5000}),
        (f"URI={HTTPS}", {"host": "127.0.0.1", "port": 5000}),
        ("URI=https://A.Example:8/callback", {"origin": "https://a.example:8"}),
        ("URI=https://a.example:443/callback", {"origin": "https://a.example"}),
        ("SPOTIFY_ACCOUNTS_URL=http://[::1]:8/", {"login_url": "http://[::1]:8"}),
        ("SPOTIFY_API_URL=http://localhost:8//", {"art_origin": "http://localhost:8"}),
        ("SPOTIFY_ACCOUNTS_URL=https://x SPOTIFY_CLIENT_ID=me", {"client_id": "me"}),
        (f"SPOTIFY_CLIENT_ID={DEMO_CLIENT_ID} PORT=7", IN_THE_DEMO),
        ("THREADS=12 WORKERS=1", {"threads": 12, "workers": 1}),
        ("SPOTIFY_DAILY_CALLS=0", {"daily_calls": 0}),
        ("LOGINS_FILE=a.db", {"logins_file": str(HOME / "a.db")}),
        ("LOGINS_FILE=/var/a.db", {"logins_file": "/var/a.db"}),
    ],
)
def test_settings_are_read(environ: str, expected: dict[str, Any]) -> None:
    environ = re.sub("^URI", "SPOTIFY_REDIRECT_URI", environ)
    read = Config.from_env(WITH_ID | dict(it.split("=", 1) for it in environ.split()))
    assert {name: getattr(read, name) for name in expected} == expected


THIS_MACHINE = "has to say 127.0.0.1, because Spotify does not allow localhost"
NO_HTTPS = "is not https, which only 127.0.0.1 and [::1] may do without; run the app "
NO_HTTPS += "behind a proxy that speaks https (docs/deploying.md)"
PART = "has to be a whole address that ends in /callback"
REDIRECT_URIS = {  # what is said, with the fix, and about which
    (THIS_MACHINE, LOCAL): "http://LOCALHOST:5000/callback http://0.0.0.0/",
    (THIS_MACHINE, "http://127.0.0.1:8888/callback"): "app.localhost:8888/back",
    (NO_HTTPS, HTTPS): "HTTP://music.example/callback music.example:5000",
    (NO_HTTPS, "https://[fd00::7]/callback"): "http://[fd00::7]:5000/callback",
    ("is not a web address", LOCAL): """
        ftp://127.0.0.1:5000/callback http:///callback /callback http://[::1/callback
        https://robin@music.example/callback https://m\u00fcsic.example/callback
        http://127.0.0.1:99999/callback http://127.0.0.1:0/callback
        https://music.example:/callback http://[::1%lo]:5000/callback
    """,
    (PART, LOCAL): f"{LOCAL}#top {LOCAL}?a=b 127.0.0.1:5000 http://127.0.0.1:5000/back",
    ("has a trailing slash", LOCAL): f"{LOCAL}/ 127.0.0.1:5000/callback/",
    (PART, HTTPS): f"{HTTPS}? https://music.example HTTPS://music.example/callback",
}


@pytest.mark.parametrize("told", REDIRECT_URIS)
def test_wrong_redirect_uri_is_told_with_a_right_one(told: tuple[str, str]) -> None:
    what, right = told
    for value in REDIRECT_URIS[told].split():
        [problem] = problems(WITH_ID | {"SPOTIFY_REDIRECT_URI": value})
        fix = f"{what}: write {right} here and in the dashboard"
        assert problem == f"SPOTIFY_REDIRECT_URI {fix}", value
    read = Config.from_env(WITH_ID | {"SPOTIFY_REDIRECT_URI": right})
    assert read.redirect_uri == right


NO_BASES = "http://x.example x.example ftp://x https:// https://robin@x https://x?a ["
NO_IDS = f'abc {CLIENT_ID}0 "{CLIENT_ID}" {CLIENT_ID[1:]}\u0660'
NO_PORTS = f"-1 1e3 70000 {'9' * 5_000} \u0665"
NO_REDIS = """
    127.0.0.1:6379 redis://:pass/word@127.0.0.1:6379 redis://x:port redis://a..b/0
    redis://127.0.0.1?db=zero redis://127.0.0.1?ssl_cert_reqs=none
"""
WRONG = {  # the values, and what is said about each
    "SPOTIFY_CLIENT_ID": (NO_IDS, "is not 32 letters and digits: copy it from "),
    "PORT": (NO_PORTS, "is {!r}: write a number from 1 to 65535"),
    "THREADS": ("0", "is {!r}: write a number from 1 to 512"),
    "SPOTIFY_DAILY_CALLS": ("10000001", "is {!r}: write a number from 0 to "),
    "WORKERS": ("2", "is above 1: write 1, or set REDIS_URL"),
    "SPOTIFY_API_URL": (NO_BASES, "is not https (or http on this machine): write "),
    "SECRET_KEY": ("15-characters--", "is shorter than 16 characters: make one"),
    "SPOTIFY_CLIENT_SECRET": (NOT_UTF_8, "has characters that can't be read: "),
    "HOST": ("localhost 127.1 [::1]", "is {!r}: write 127.0.0.1, or 0.0.0.0 for"),
    "REDIS_URL": (NO_REDIS, "is not the address of a Redis: write one like redis://"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_setting_is_told_with_its_fix(name: str) -> None:
    values, what = WRONG[name]
    for value in values.split():
        [told] = problems({"SECRET_KEY": KEY} | WITH_ID | {name: value})
        assert told.startswith(f"{name} {what.format(value)}")
        assert told.isprintable()
        assert "word" not in told.partition("password as")[0]


def test_redis_shares_logins_and_needs_a_key() -> None:
    for url in (REDIS, "rediss://x?ssl_cert_reqs=none", "unix://:word@/run/redis.sock"):
        environ = WITH_ID | {"REDIS_URL": url, "WORKERS": "4"}
        read = Config.from_env(environ | {"SECRET_KEY": KEY})
        assert (read.redis_url, read.workers, read.secret_key) == (url, 4, KEY)
    key, file = problems(environ | {"LOGINS_FILE": "a.db"})
    assert key.startswith("SECRET_KEY is required with REDIS_URL: make one with")
    assert file.startswith("LOGINS_FILE and REDIS_URL both keep logins: remove one")


def test_redis_without_its_packages_says_which_command_brings_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "redis", None)
    [told] = problems(WITH_ID | {"REDIS_URL": REDIS, "SECRET_KEY": KEY})
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
        ("PORT=1\n", {"HOST": "::1", "PORT": "2"}, {"PORT": "2", "HOST": "::1"}),
        ("PORT=1\nHOST\nWORKERS='  '\n", {"PORT": ""}, {}),
        ("PORT=1\nPORT=\n", {}, {"PORT": "1"}),
        ("\ufeffPORT=1\r\nHOST=::1\r\n", {}, {"PORT": "1", "HOST": "::1"}),
        ('KEY="a#${A}$A \u00fc"\n', {}, {"KEY": "a#${A}$A \u00fc"}),
    ):
        path.write_bytes(file.encode())
        assert read_environ(environ, path) == expected, file
    path.write_bytes("ID=schl\u00fcssel\n".encode("utf-16"))  # as PowerShell does
    with pytest.raises(ConfigError, match=r"\.env can't be read: save it as UTF-8"):
        read_environ({}, path)


# ---- What `python app.py` says at its start

DEMO = f"No {ID} in .env: this is the demo"
MISTAKES = (  # what stands in which file, and the hint
    ("", ".env", DEMO),
    (f"\n# {ID} = abc", ".env", ".env, line 2 has no effect: remove the #"),
    (f"{ID}: abc", ".env", ".env, line 1 is not a setting: write NAME="),
    ("CANARY", ".env", ".env, line 1 is not a setting: write NAME="),
    (f"{ID}=a", ".env", f"An empty environment variable {ID} wins over .env"),
    (f"{ID}=a", ".env.txt", ".env.txt is not read: rename it to .env"),
    (f"{ID}=a", ".env.example", ".env.example is not read: rename it to .env"),
)
NAMES = {  # as people write them, and what they should write
    "CLIENT_ID": ID,
    "spotify_id": ID,
    "SPOTIPY_CLIENT_SECRET": "SPOTIFY_CLIENT_SECRET",
    "REDIRECT_URL": "SPOTIFY_REDIRECT_URI",
    "HTTPS_PROXY": "a name from docs/settings.md",
    "WORKERS": None,
}


@pytest.mark.parametrize(("content", "file", "hint"), MISTAKES)
def test_demo_says_why_it_is_the_demo(
    tmp_path: Path, content: str, file: str, hint: str
) -> None:
    (tmp_path / file).write_text(content)
    hinted = hints({ID: ""}, tmp_path / ".env")
    first, *others = [it.replace(f"{tmp_path}/", "") for it in hinted]
    assert first.startswith(hint)
    assert others == ([] if hint == DEMO else [DEMO])


@pytest.mark.parametrize("name", NAMES)
def test_misspelt_names_are_told_with_the_right_one(tmp_path: Path, name: str) -> None:
    """In .env; and in the environment, if they look as if they were for this app."""
    told = [f"{name} is not a setting of this app: use {NAMES[name]}"]
    (tmp_path / ".env").write_text(f"{name}=x")
    hinted = list(hints({ID: "abc", "OTHER_CLIENT_ID": "x"}, tmp_path / ".env"))
    assert hinted == (told if NAMES[name] else [])
    hinted = list(hints({ID: "abc", name: "x"}, tmp_path / "none"))
    assert hinted == (told if name.startswith("SPOT") else [])


def test_it_says_where_it_listens_if_people_open_it_elsewhere() -> None:
    for uri, host, port, elsewhere in (
        ("http://[::1]", "::", 80, None),
        ("http://127.0.0.1:8080", "0.0.0.0", 5000, "0.0.0.0:5000"),
        ("http://127.0.0.1:5000", "::1", 5000, "[::1]:5000"),
    ):
        said = greeting(Config(CLIENT_ID, None, f"{uri}/callback", host, port))
        assert said.startswith(f"Open {uri}\n")
        listens = re.search(r"listens on (\S+): a proxy or a forwarded", said)
        assert (listens and listens[1]) == elsewhere
