"""What `python app.py` says at its start: where it is, why it is the demo."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from config import Config
from tests.conftest import CLIENT_ID
from web.server import greeting, hints

MISTAKES: tuple[tuple[str, dict[str, str], str | None, str], ...] = (
    ("", {}, None, "No SPOTIFY_CLIENT_ID in .env: this is the demo"),
    ("\n# SPOTIFY_CLIENT_ID = abc", {}, None, ".env, line 2 has no effect: remove"),
    ("SPOTIFY_CLIENT_ID: abc", {}, None, ".env, line 1 is not a setting: write NAME="),
    (
        "SPOTIFY_CLIENT_ID=a\nSPOTIFY_CLIENT_ID=",
        {},
        None,
        "SPOTIFY_CLIENT_ID is in .env",
    ),
    (
        "SPOTIFY_CLIENT_ID=a",
        {"SPOTIFY_CLIENT_ID": ""},
        None,
        "An empty environment variable",
    ),
    ("", {}, ".env.txt", ".env.txt is not read: rename it to .env"),
    ("", {}, ".env.example", ".env.example is not read: rename it to .env"),
    ("SPOTIFY_ID=abc", {}, None, "SPOTIFY_ID is not a setting of this app: use"),
)


@pytest.mark.parametrize(("content", "environ", "other", "hint"), MISTAKES)
def test_demo_says_why_it_is_the_demo(
    tmp_path: Path, content: str, environ: dict[str, str], other: str | None, hint: str
) -> None:
    (tmp_path / ".env").write_text(content)
    if other:
        (tmp_path / other).write_text("SPOTIFY_CLIENT_ID=abc")
    said = [it.replace(f"{tmp_path}/", "") for it in hints(environ, tmp_path / ".env")]
    assert sum(line.startswith(hint) for line in said) == 1
    assert len(said) == (1 if hint.startswith("No") else 2)
    assert said[-1] == "No SPOTIFY_CLIENT_ID in .env: this is the demo"


@pytest.mark.parametrize(
    ("name", "right"),
    [
        ("CLIENT_ID", "SPOTIFY_CLIENT_ID"),
        ("spotify_client_id", "SPOTIFY_CLIENT_ID"),
        ("SPOTIPY_CLIENT_SECRET", "SPOTIFY_CLIENT_SECRET"),
        ("SPOTIFY_SECRET", "SPOTIFY_CLIENT_SECRET"),
        ("SPOTIFY_REDIRECTURL", "SPOTIFY_REDIRECT_URI"),
        ("ID", None),
        ("SPOTIFY_CLIENT_SECRET", None),
    ],
)
def test_misspelt_names_are_told_with_the_right_one(
    tmp_path: Path, name: str, right: str | None
) -> None:
    environ = {"SPOTIFY_CLIENT_ID": "abc", name: "x"}
    told = [f"{name} is not a setting of this app: use {right}"] if right else []
    assert list(hints(environ, tmp_path / ".env")) == told


@pytest.mark.parametrize(
    ("uri", "host", "port", "elsewhere"),
    [
        ("http://127.0.0.1:5000", "127.0.0.1", 5000, None),
        ("http://127.0.0.1:5000", "0.0.0.0", 5000, None),
        ("http://[::1]", "::", 80, None),
        ("http://127.0.0.1:8080", "0.0.0.0", 5000, "0.0.0.0:5000"),
        ("http://127.0.0.1:5000", "::1", 5000, "[::1]:5000"),
        ("https://music.example", "127.0.0.1", 443, "127.0.0.1:443"),
    ],
)
def test_it_says_where_it_listens_if_people_open_it_elsewhere(
    uri: str, host: str, port: int, elsewhere: str | None
) -> None:
    said = greeting(Config(CLIENT_ID, None, f"{uri}/callback", host, port))
    assert said.startswith(f"Open {uri}\n")
    listens = re.search(r"listens on (\S+): a proxy or a forwarded port has to", said)
    assert (listens and listens[1]) == elsewhere
