"""What the documents say, held against what there is."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from flask import request

from problems import KINDS
from stand_in import StandIn
from tests.conftest import Browser, MakeApp

HOME = Path(__file__).parent.parent
README = (HOME / "README.md").read_text("utf-8")


def document(name: str) -> str:
    return (HOME / "docs" / name).read_text("utf-8")


def names(pattern: str, text: str) -> set[str]:
    return set(re.findall(pattern, text, re.M))


def test_settings_are_the_same_everywhere() -> None:
    config = (HOME / "config.py").read_text("utf-8")
    read = names(r'(?:read|environ\.get)\(\s*"([A-Z_]+)"', config)
    assert read == names(r"^([A-Z_]+)=$", (HOME / ".env.example").read_text("utf-8"))
    assert read <= names(r"`([A-Z_]{4,})`", document("settings.md"))


def test_errors_of_the_api_are_all_told() -> None:
    errors = {name for name, kind in KINDS.items() if kind.poll_after}
    assert errors | {"logged_out"} <= names(r"`(\w+)`", document("api.md"))


def test_links_lead_to_files() -> None:
    for path in (HOME / "README.md", *HOME.glob("docs/*.md")):
        for link in names(r"\]\((?!https?:)([^)#]+)", path.read_text("utf-8")):
            assert (path.parent / link).exists(), link


def test_drawing_of_the_modules_is_true() -> None:
    text = document("architecture.md")
    drawing = text.partition("flowchart")[2].partition("```")[0]
    folders = HOME, HOME / "spotify", HOME / "store", HOME / "web"
    modules = [path for folder in folders for path in folder.glob("*.py")]
    drawn, imported = {"stand_in"}, set()
    for path in modules:
        room = path.relative_to(HOME).parts[0].removesuffix(".py")
        drawn.add(room)
        found = names(r"^ *(?:from|import) (\w+)", path.read_text("utf-8"))
        imported |= {(room, it) for it in found}
    assert names(r"<b>(\w+)</b>", drawing) == drawn
    assert set(re.findall(r"(\w+) --> (\w+)", drawing)) <= imported
    assert not [it for it in imported if it[1] in ("app", "stand_in", "tests")]
    there = {str(it.relative_to(HOME)) for it in modules if it.name != "__init__.py"}
    assert names(r"^\| `([\w/]+\.py)` \|", text) == there


def test_messages_in_the_table_of_failures_are_real() -> None:
    table = README.partition("## When something fails")[2].partition("\n## ")[0]
    words = " ".join(kind.message for kind in KINDS.values())
    told = names(r"^\| ([^`|]+?)\.? \|", table)
    others = {"what you see", "Invalid state!", "You’re logged out after each restart"}
    assert {message for message in told if message not in words} == others


def test_both_commands_stand_in_blocks_of_their_own() -> None:
    blocks = re.findall(r"```sh\n(.*?)```", README, re.S)
    assert [block.split()[-1] for block in blocks] == ["app.py", ".venv/bin/pytest"]
    assert all(block.count("\n") == 1 for block in blocks)


def test_diff_that_shows_another_endpoint_applies_and_runs(
    spotify: StandIn, make_app: MakeApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    diff = README.partition("```diff\n")[2].partition("```")[0]
    _, file, *hunks = re.split(r"^\+\+\+ b/|^@@.*\n", diff, flags=re.M)
    source = (HOME / file.strip()).read_text("utf-8")
    for hunk in hunks:
        old, new = ("".join(re.findall(f"^[ {it}](.*\n)", hunk, re.M)) for it in "-+")
        assert source.count(old) == 1
        source = source.replace(old, new)
    client = ModuleType("spotify.client")
    client.__package__ = "spotify"
    monkeypatch.setitem(__import__("sys").modules, "spotify.client", client)
    exec(compile(source, file, "exec"), vars(client))
    monkeypatch.setattr("app.Spotify", vars(client)["Spotify"])
    played = [[{"type": "track", "name": "First"}], []]

    def top_tracks() -> dict[str, Any]:
        assert request.full_path == "/v1/me/top/tracks?limit=1"
        return {"items": played.pop(0)}

    spotify.website.add_url_rule("/v1/me/top/tracks", view_func=top_tracks)
    for state in ("playing", "nothing"):
        browser = Browser(make_app(), spotify)
        assert browser.begin_login()["scope"] == "user-top-read"
        browser.log_in()
        assert browser.json()["state"] == state
