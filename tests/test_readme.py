"""What the documents say, held against what there is."""

from __future__ import annotations

import re
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from addresses import TAKEN_PATHS
from flask import request
from sender import Sender
from user import Token

import spotify as spotify_module
from config import Config
from problems import KINDS
from stand_in import StandIn
from store import MemoryStore
from tests.conftest import CLIENT_ID

HOME = Path(__file__).parent.parent
README = (HOME / "README.md").read_text("utf-8")


def names(pattern: str, text: str) -> set[str]:
    return set(re.findall(pattern, text, re.M))


def test_settings_are_the_same_everywhere() -> None:
    table = README.partition("## Settings")[2].partition("\n## ")[0]
    documented = names(r"`([A-Z_]{4,})`", table)
    example = (HOME / ".env.example").read_text("utf-8")
    assert documented == names(r"^([A-Z_]+)=$", example)
    config = (HOME / "config.py").read_text("utf-8")
    assert documented == names(
        r'(?:environ\.get|number|base_url)\(\s*"([A-Z_]+)"', config
    )


def test_routes_and_errors_are_all_told() -> None:
    for path in (*TAKEN_PATHS, "/callback"):
        assert f" {path}`" in README
    errors = [name for name, kind in KINDS.items() if kind.poll_after]
    for name in (*errors, "logged_out"):
        assert f"`{name}`" in README


def test_drawing_of_the_modules_is_true() -> None:
    drawing = README.partition("flowchart")[2].partition("```")[0]
    drawn = names(r"<b>(\w+)</b>", drawing)
    assert drawn == {path.stem for path in HOME.glob("*.py")} | {"stand_in"}
    for user, used in re.findall(r"(\w+) --> (\w+)", drawing):
        code = (HOME / f"{user}.py").read_text("utf-8")
        assert re.search(rf"^(from {used} import|import {used}$)", code, re.M)


def test_messages_in_the_table_of_failures_are_real() -> None:
    words = " ".join(kind.message for kind in KINDS.values())
    for message in (
        "This Spotify account is not on the app’s list of users.",
        "Spotify answers only while the app’s owner has Premium.",
        "Spotify does not accept this app’s client ID or secret.",
        "Invalid state!",
        "Spotify has ended this login",
        "Spotify has asked this app to wait",
    ):
        assert f"| {message} |" in README
        assert message in words


def test_both_commands_stand_in_blocks_of_their_own() -> None:
    blocks = re.findall(r"```sh\n(.*?)```", README, re.S)
    assert [block.split()[-1] for block in blocks] == ["app.py", ".venv/bin/pytest"]
    assert all(block.count("\n") == 1 for block in blocks)


def test_example_of_another_endpoint_runs(spotify: StandIn) -> None:
    """Whatever Spotify answers: the names that are there."""
    names = dict(vars(spotify_module))
    exec(README.partition("```python\n")[2].partition("```")[0], names)
    answers: list[Any] = [
        {"items": [{"name": "First"}, {"name": ""}, None, {"name": "Second"}]},
        [],
    ]
    asked: list[str] = []

    def top_tracks() -> Any:
        asked.append(f"{request.full_path} {request.headers['Authorization']}")
        return answers.pop(0)

    spotify.website.add_url_rule("/v1/me/top/tracks", view_func=top_tracks)
    config = Config(
        CLIENT_ID, accounts_url=spotify.accounts_url, api_url=spotify.api_url
    )
    sender = Sender(config, MemoryStore(nullcontext), nullcontext)
    client, token = spotify_module.Spotify(config, sender), Token("own", None, 0)
    assert names["top_tracks"](client, token) == ["First", "Second"]
    assert names["top_tracks"](client, token) == []
    assert asked == ["/v1/me/top/tracks?limit=10 Bearer own"] * 2
    sender.close()
