"""docs/extending.md, followed to its end in a copy of the project."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HOME = Path(__file__).parent.parent
PAGE = (HOME / "docs" / "extending.md").read_text("utf-8")
ROW = r"^\| `(.+?)` \| `(.+?)` \|"
STEP = (
    r"^(In|New file) `([^`]+)`(?:, (above|instead of) `([^`]+)`)?:\n\n```\w+\n(.*?)^```"
)


@pytest.mark.slow
def test_new_app_passes_its_own_tests_and_those_that_stay(tmp_path: Path) -> None:
    home = tmp_path / "five"
    hidden = shutil.ignore_patterns(".*", "__pycache__", "docs")
    shutil.copytree(HOME, home, ignore=hidden)
    texts = {"py", "html", "js", "webmanifest", "json", "toml"}
    for old, new in re.findall(ROW, PAGE, re.M):
        files = [it for it in home.rglob("*.*") if it.suffix[1:] in texts]
        files = [it for it in files if old in it.read_text("utf-8")]
        assert files, f"nobody says {old}"
        for file in files:
            file.write_text(file.read_text("utf-8").replace(old, new), "utf-8")
    steps = re.findall(STEP, PAGE, re.M | re.S)
    assert len(steps) == PAGE.count("```") // 2 - 1  # the last block is the command
    for _, name, where, anchor, block in steps:
        file, lines = home / name, [block]
        if where:
            lines = file.read_text("utf-8").splitlines(keepends=True)
            (at,) = [it for it, line in enumerate(lines) if line.strip() == anchor]
            lines[at : at + (where == "instead of")] = [block]
        file.write_text("".join(lines), "utf-8")
    command = re.findall(r"^```sh\n\.venv/bin/(.+)\n```", PAGE, re.M)[-1].split()
    command = [sys.executable, "-m", *command, "-n", "0", "-m", "not slow"]
    subprocess.run(command, cwd=home, check=True)
