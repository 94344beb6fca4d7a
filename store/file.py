"""What lasts, in dicts that a file keeps over restarts. One process has the file."""

import os
import sqlite3
from contextlib import ExitStack, suppress

from pydantic import TypeAdapter

from config import ConfigError
from problems import log

from . import Clock
from .memory import USER_SECONDS, MemoryStore, MemoryTable, V

# What is saved outlasts a power cut: with FULL, SQLite syncs each step to the disk, and
# with EXCLUSIVE, which is also the lock, the end of a transaction is such a step.
OPEN = "PRAGMA locking_mode=EXCLUSIVE; PRAGMA synchronous=FULL; BEGIN EXCLUSIVE"
OURS = 0x4E500001  # marks the file: "NP", and the version of its tables and their JSON
MAKE = f"""BEGIN; CREATE TABLE users (id PRIMARY KEY, used, json);
CREATE TABLE secret AS SELECT '%s' AS key; PRAGMA application_id={OURS}; COMMIT"""


class FileTable(MemoryTable[V]):
    """A table that is also in a file, with the time of each entry's last use.

    A use is written only where it renews the token, as it does each hour.
    """

    def __init__(self, db: sqlite3.Connection, person: type[V], clock: Clock) -> None:
        age = 0.0  # of the entry that is read from the file; later, of a new one
        super().__init__(USER_SECONDS, lambda: clock.monotonic() - age)
        self._db, self._time, self._json = db, clock.time, TypeAdapter(person)
        for key, used, json in db.execute("SELECT * FROM users ORDER BY used"):
            age = max(clock.time() - used, 0.0)
            with suppress(ValueError):  # what can't be read counts as absent
                self._entries[key] = self._json.validate_json(json)
        age = 0.0
        self._keep("")  # drops what has expired

    def _keep(self, key: str) -> None:
        """Write an entry to the file as it is now."""
        value, now = self._entries.get(key), self._time()
        json = None if value is None else self._json.dump_json(value)
        gone = "DELETE FROM users WHERE json IS NULL OR used <= ?"
        try:
            with self._db as db:
                db.execute("REPLACE INTO users VALUES (?, ?, ?)", [key, now, json])
                db.execute(gone, [now - USER_SECONDS])
        except sqlite3.Error as error:
            lost = "LOGINS_FILE can't be written (%s): logins now end with this process"
            log.error(lost, error)


class FileStore(MemoryStore[V]):
    """Pending logins in a dict, and people in a file. Raises ConfigError."""

    def __init__(self, path: str, person: type[V], clock: Clock) -> None:
        super().__init__(clock.monotonic)
        with ExitStack() as on_error:
            try:
                # For its owner alone: SQLite would let others read it.
                os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
                db = sqlite3.connect(path, timeout=1, check_same_thread=False)
                on_error.callback(db.close)
                db.executescript(OPEN)
                if db.execute("PRAGMA schema_version").fetchone() == (0,):
                    db.executescript(MAKE % self.secret_key)
                if db.execute("PRAGMA application_id").fetchone() != (OURS,):
                    raise OSError("another program or version has made it")
                for (key,) in db.execute("SELECT key FROM secret"):
                    self.secret_key = key
                self.users, self.close = FileTable(db, person, clock), db.close
            except (OSError, sqlite3.Error) as error:
                why = "already in use" if "locked" in str(error) else error.args[-1]
                problem = f"LOGINS_FILE {path} can't be used ({why}): name another file"
                raise ConfigError([problem]) from None
            on_error.pop_all()
