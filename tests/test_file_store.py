"""Logins that a file keeps: over restarts, kills and full disks."""

import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from config import Config, ConfigError
from store import open_store
from store.file import FileStore
from tests.conftest import Clock

CHILD = """
import itertools, resource, sys, types
from store.file import FileStore
clock = types.SimpleNamespace(time=lambda: 1_800_000_000.0, monotonic=lambda: 0.0)
users = FileStore(sys.argv[1], str, clock).users
"""
FOREVER = "for i in itertools.count(): users.put(str(i), str(i)); print(i, flush=True)"
ON_A_FULL_DISK = """
limit, most = resource.getrlimit(resource.RLIMIT_FSIZE)
for size, key in ((limit, "0"), (0, "1"), (0, "2"), (limit, "3")):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, most))
    users.put(key, key)
assert all(users.get(key) for key in "0123")
"""

Reopen = Callable[[], FileStore[str]]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "logins.db"


@pytest.fixture
def reopen(path: Path, clock: Clock) -> Iterator[Reopen]:
    """Give a function that opens the file, as after a restart."""
    with ExitStack() as opened:

        def reopen() -> FileStore[str]:
            opened.close()
            store = open_store(Config("x", logins_file=str(path)), str, clock)
            assert isinstance(store, FileStore)
            opened.callback(store.close)
            return store

        yield reopen


def change(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path)) as db, db:
        db.execute(statement)


def start(code: str, path: Path) -> subprocess.Popen[str]:
    command, pipe = [sys.executable, "-c", CHILD + code, str(path)], subprocess.PIPE
    return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True)


def test_file_keeps_people_and_its_own_key_for_its_owner_alone(
    reopen: Reopen, path: Path
) -> None:
    usual = os.umask(0)
    store = reopen()
    os.umask(usual)
    for key in "abc":
        store.users.put(key, key)
    assert {it.stat().st_mode & 0o777 for it in path.parent.iterdir()} == {0o600}
    assert store.users.pop("b") == "b"
    assert not store.users.replace("b", "again")
    assert store.users.replace("a", "renewed")
    store.close()
    change(path, "UPDATE users SET json = 'unreadable' WHERE id = 'c'")
    assert [reopen().users.get(key) for key in "abc"] == ["renewed", None, None]
    again = reopen()
    assert again.secret_key == store.secret_key
    again.close()
    change(path, "DELETE FROM secret")  # by hand: then it makes a new one
    assert reopen().secret_key != store.secret_key


def test_thirty_idle_days_hold_over_restarts(reopen: Reopen, clock: Clock) -> None:
    users = reopen().users
    users.put("idle", "Robin")
    users.put("used", "Mika")
    for _ in range(29):
        clock.advance(86_400)
        assert users.replace("used", "Mika")  # as when a token is renewed
    users = reopen().users
    clock.advance(86_399)
    assert (len(users._entries), len(reopen().users._entries)) == (2, 2)
    clock.advance(1)
    assert (len(users._entries), len(reopen().users._entries)) == (1, 1)
    clock.set_ahead = -864_000  # which brings nobody back
    assert [reopen().users.get(key) for key in ("idle", "used")] == [None, "Mika"]


@pytest.mark.slow
def test_after_a_kill_every_login_is_there(reopen: Reopen, path: Path) -> None:
    with start(FOREVER, path) as child:
        assert child.stdout
        said = [child.stdout.readline() for _ in range(77)]
        with pytest.raises(ConfigError, match="already in use"):
            reopen()
        child.kill()
        said += child.stdout
    users = reopen().users
    assert all(users.get(line.strip()) == line.strip() for line in said)


@pytest.mark.slow
def test_full_disk_is_logged_and_people_go_on(reopen: Reopen, path: Path) -> None:
    with start(ON_A_FULL_DISK, path) as child:
        _, log = child.communicate()
    assert log.count("\n") == log.count("LOGINS_FILE can't be written") == 2
    users = reopen().users
    assert [key for key in "0123" if users.get(key)] == ["0", "3"]


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (Path.mkdir, "Is a directory"),
        (lambda path: path.write_text("Dear diary"), "not a database"),
        (lambda path: change(path, "CREATE TABLE users (theirs)"), "another program"),
        (lambda path: path.parent.rmdir(), "No such file"),
    ],
)
def test_what_is_no_file_of_this_app_is_refused_and_left_alone(
    path: Path, reopen: Reopen, spoil: Callable[[Path], object], why: str
) -> None:
    spoil(path)
    before = path.is_file() and path.read_bytes()
    with pytest.raises(ConfigError, match=rf"LOGINS_FILE .*{why}.*: name another"):
        reopen()
    assert before == (path.is_file() and path.read_bytes())
