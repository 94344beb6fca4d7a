"""docs/extending.md, followed to its end in a copy of the project."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

HOME = Path(__file__).parent.parent
PAGE = (HOME / "docs" / "extending.md").read_text("utf-8")
ROW = r"^\| `(.+?)` \| `(.+?)` \|"
STEP = (
    r"^(In|New file) `([^`]+)`(?:, (above|instead of) `([^`]+)`)?:\n\n```\w+\n(.*?)^```"
)


def project_files(home: Path) -> Iterator[Path]:
    for kind in ("*.py", "*.html", "*.js", "*.webmanifest", "*.json", "*.toml"):
        yield from home.rglob(kind)


@pytest.fixture(scope="module")
def followed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the app that the page makes."""
    home = tmp_path_factory.mktemp("top") / "five"
    hidden = shutil.ignore_patterns(".*", "__pycache__", "docs")
    shutil.copytree(HOME, home, ignore=hidden)
    for old, new in re.findall(ROW, PAGE, re.M):
        files = [it for it in project_files(home) if old in it.read_text("utf-8")]
        assert files, f"nobody says {old}"
        for file in files:
            file.write_text(file.read_text("utf-8").replace(old, new), "utf-8")
    steps = re.findall(STEP, PAGE, re.M | re.S)
    assert len(steps) == PAGE.count("```") // 2 - 1  # the last block is the command
    for _, name, where, anchor, block in steps:
        file = home / name
        if not where:
            file.write_text(block, "utf-8")
            continue
        lines = file.read_text("utf-8").splitlines(keepends=True)
        (at,) = [it for it, line in enumerate(lines) if line.strip() == anchor]
        lines[at : at + (where == "instead of")] = [block]
        file.write_text("".join(lines), "utf-8")
    return home


def run(home: Path, *command: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=home, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_new_app_passes_its_own_tests_and_those_that_stay(followed: Path) -> None:
    command = re.findall(r"^```sh\n\.venv/bin/(.+)\n```", PAGE, re.M)[-1].split()
    assert " passed" in run(followed, *command, "-n", "0", "-m", "not slow")
