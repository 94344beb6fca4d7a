"""Logins that a file keeps: over restarts, kills and full disks."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from config import ConfigError
from player import User
from spotify import Token
from spotify.client import Account
from stand_in import StandIn
from store.file import FileStore
from tests.conftest import Browser, Clock, MakeApp

USER = User(Token("access", "refresh", 9e9, 8e9, True), Account("Robin", "robin"))
DAY = 86_400
CHILD = """
import itertools, resource, sys
from tests.test_file_store import USER, Clock, FileStore, User
users = FileStore(sys.argv[1], User, Clock()).users
"""
FOREVER = "for i in itertools.count(): users.put(str(i), USER); print(i, flush=True)"
ON_A_FULL_DISK = """
limit, most = resource.getrlimit(resource.RLIMIT_FSIZE)
for size, key in ((limit, "0"), (0, "1"), (0, "2"), (limit, "3")):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, most))
    users.put(key, USER)
assert all(users.get(key) for key in "0123")
"""

Reopen = Callable[[], FileStore[User]]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "logins.db"


@pytest.fixture
def reopen(path: Path, clock: Clock, request: pytest.FixtureRequest) -> Reopen:
    """Give a function that opens the file, after a restart if it was open."""
    last: list[FileStore[User]] = []

    def reopen() -> FileStore[User]:
        if last:
            last.pop().close()
        last.append(FileStore(str(path), User, clock))
        request.addfinalizer(last[0].close)
        return last[0]

    return reopen


def start(code: str, path: Path) -> subprocess.Popen[str]:
    command, pipe = [sys.executable, "-c", CHILD + code, str(path)], subprocess.PIPE
    return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True)


def test_file_keeps_people_and_its_own_key_for_its_owner_alone(
    reopen: Reopen, path: Path
) -> None:
    usual = os.umask(0)
    key = reopen().secret_key
    users = reopen().users
    os.umask(usual)
    users.put("a", USER)
    users.put("b", USER)
    assert {it.stat().st_mode & 0o777 for it in path.parent.iterdir()} == {0o600}
    assert users.pop("b") == USER
    assert not users.replace("b", USER)
    assert [reopen().users.get(key) for key in "ab"] == [USER, None]
    assert reopen().secret_key == key


def test_thirty_idle_days_hold_over_restarts(reopen: Reopen, clock: Clock) -> None:
    users = reopen().users
    users.put("idle", USER)
    users.put("used", USER)
    for _ in range(29):
        clock.advance(DAY)
        assert users.get("used")
    users = reopen().users
    clock.advance(DAY - 1)
    assert (len(users), len(reopen().users)) == (2, 2)
    clock.advance(1)
    assert (len(users), len(reopen().users)) == (1, 1)
    clock.set_ahead = -5 * DAY  # which brings nobody back
    assert [reopen().users.get(key) for key in ("idle", "used")] == [None, USER]


def test_what_can_not_be_read_is_absent(reopen: Reopen, path: Path) -> None:
    reopen().users.put("a", USER)
    reopen().close()
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE users SET json = replace(json, 'expires_at', 'x')")
    assert reopen().users.get("a") is None


@pytest.mark.slow
@pytest.mark.parametrize("more", [1, 20, 77])
def test_after_a_kill_every_login_is_there_again(
    reopen: Reopen, path: Path, more: int
) -> None:
    with start(FOREVER, path) as child:
        assert child.stdout
        said = [child.stdout.readline() for _ in range(more)]
        with pytest.raises(ConfigError, match="already in use"):
            reopen()
        child.kill()
        said += child.stdout
    users = reopen().users
    assert all(users.get(line.strip()) == USER for line in said)


@pytest.mark.slow
def test_full_disk_is_logged_once_and_people_go_on(reopen: Reopen, path: Path) -> None:
    with start(ON_A_FULL_DISK, path) as child:
        _, log = child.communicate()
    assert log.count("\n") == log.count("LOGINS_FILE can't be written") == 1
    users = reopen().users
    assert [key for key in "0123" if users.get(key)] == ["0", "3"]


def other_program(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("CREATE TABLE users (theirs)")


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (Path.mkdir, "unable to open"),
        (lambda path: path.write_text("Dear diary"), "not a database"),
        (other_program, "another program"),
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


def test_who_is_logged_in_stays_so_over_a_restart(
    make_app: MakeApp, spotify: StandIn, path: Path, clock: Clock
) -> None:
    browser = Browser(make_app(logins_file=str(path)), spotify)
    browser.log_in()
    for _ in range(2):
        clock.advance(3600)  # so that the token is renewed, too
        assert "error" not in browser.json()
        browser.app.extensions["store"].close()
        browser = browser.tab(make_app(logins_file=str(path)))
    assert browser.user_id
    browser.app.extensions["store"].close()
