"""What `python app.py` says at its start: where it is, why it is the demo."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from config import Config
from tests.conftest import CLIENT_ID
from web.server import greeting, hints

ID = "SPOTIFY_CLIENT_ID"
DEMO = f"No {ID} in .env: this is the demo"
MISTAKES = (  # what stands in which file, and the hint
    ("", ".env", DEMO),
    (f"\n# {ID} = abc", ".env", ".env, line 2 has no effect: remove the #"),
    (f"{ID}: abc", ".env", ".env, line 1 is not a setting: write NAME="),
    (f"{ID}=a", ".env", f"An empty environment variable {ID} wins over .env"),
    (f"{ID}=a", ".env.txt", ".env.txt is not read: rename it to .env"),
    (f"{ID}=a", ".env.example", ".env.example is not read: rename it to .env"),
)
NAMES = {  # as people write them, and what they should write
    "CLIENT_ID": ID,
    "SPOTIFY_ID": ID,
    "SPOTIPY_CLIENT_SECRET": "SPOTIFY_CLIENT_SECRET",
    "SPOTIFY_REDIRECTURL": "SPOTIFY_REDIRECT_URI",
    "ID": None,
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
    told = [f"{name} is not a setting of this app: use {NAMES[name]}"]
    hinted = list(hints({ID: "abc", name: "x"}, tmp_path / ".env"))
    assert hinted == (told if NAMES[name] else [])


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
