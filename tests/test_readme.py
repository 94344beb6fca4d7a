"""What the documents say, held against what there is."""

import re
from graphlib import TopologicalSorter
from pathlib import Path

from config import SETTINGS
from problems import KINDS

HOME = Path(__file__).parent.parent
FOLDERS = HOME, HOME / "spotify", HOME / "store", HOME / "web"
MODULES = [path for folder in FOLDERS for path in folder.glob("*.py")]
IMPORT = r"^ *(?:from (?=\S+ import)|import )(\w+)"
README = (HOME / "README.md").read_text("utf-8")


def document(name: str) -> str:
    return (HOME / "docs" / name).read_text("utf-8")


def names(pattern: str, text: str) -> set[str]:
    return set(re.findall(pattern, text, re.M))


def test_settings_are_the_same_everywhere() -> None:
    example = (HOME / ".env.example").read_text("utf-8")
    assert {*SETTINGS} == names(r"^([A-Z_]+)=$", example)
    assert {*SETTINGS} <= names(r"`([A-Z_]{4,})`", document("settings.md"))


def test_errors_of_the_api_are_all_told() -> None:
    errors = {name for name, kind in KINDS.items() if kind.poll_after}
    assert errors | {"logged_out"} <= names(r"`(\w+)`", document("api.md"))


def test_links_lead_to_files() -> None:
    for path in (HOME / "README.md", *HOME.glob("docs/*.md")):
        for link in names(r"\]\((?!https?:)([^)#]+)", path.read_text("utf-8")):
            assert (path.parent / link).exists(), link


def room(path: Path) -> str:
    return path.relative_to(HOME).parts[0].removesuffix(".py")


def imports() -> set[tuple[str, str]]:
    """Return which room of the app imports which, also inside a function."""
    found = set()
    for path in MODULES:
        used = names(IMPORT, path.read_text("utf-8")) - {room(path)}
        found |= {(room(path), it) for it in used}
    return found


def test_drawing_of_the_modules_is_true() -> None:
    text = document("architecture.md")
    drawing = text.partition("flowchart")[2].partition("```")[0]
    rooms, imported = {room(path) for path in MODULES}, imports()
    assert names(r"<b>(\w+)</b>", drawing) == rooms | {"stand_in"}
    drawn = set(re.findall(r"(\w+) --> (\w+)", drawing))
    assert drawn <= imported
    there = {str(it.relative_to(HOME)) for it in MODULES if it.name != "__init__.py"}
    assert names(r"^\| `([\w/]+\.py)` \|", text) == there


def test_modules_import_each_other_in_no_circle() -> None:
    """And nothing imports the app, the stand-in or the tests."""
    used_by = {room(path): set[str]() for path in MODULES}
    for user, used in imports():
        assert used not in ("app", "stand_in", "tests")
        if used in used_by:
            used_by[used].add(user)
    TopologicalSorter(used_by).prepare()  # raises CycleError


def test_messages_in_the_table_of_failures_are_real() -> None:
    table = README.partition("## When something fails")[2].partition("\n## ")[0]
    words = " ".join(kind.message for kind in KINDS.values())
    told = names(r"^\| ([^`|]+?)\.? \|", table)
    others = {"what you see", "Invalid state!", "You’re logged out after each restart"}
    assert {message for message in told if message not in words} == others
