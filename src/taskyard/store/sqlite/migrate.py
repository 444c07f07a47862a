"""Bring a file's schema to this program's version: numbered scripts, forwards only, under the write lock."""

import time
from collections.abc import Callable
from importlib.resources import files

import apsw

from taskyard.core.errors import Unavailable


def scripts() -> dict[int, str]:
    folder = files("taskyard.store.sqlite")
    return {
        int(file.name.removeprefix("schema_").removesuffix(".sql")): file.read_text()
        for file in folder.iterdir()
        if file.name.startswith("schema_") and file.name.endswith(".sql")
    }


def migrate(raw: apsw.Connection, progress: Callable[[str], None]) -> int:
    """
    Run what is missing, each script in one transaction with its number, so that a kill leaves a whole version.

    Raises:
        Unavailable: the file was written by a newer Taskyard, or its yard has moved.
    """
    if raw.execute("SELECT 1 FROM sqlite_master WHERE name = 'moved'").fetchall():
        [(target,)] = raw.execute("SELECT target FROM moved").fetchall()
        raise Unavailable(f"this yard has moved to {target}; name that with --database")
    _log_ahead(raw)
    known = scripts()
    newest = max(known)
    present = -1
    while present != newest:
        if raw.pragma("user_version") == newest:
            return newest
        raw.execute("BEGIN IMMEDIATE")
        try:
            present = _step(raw, known, newest, progress)
            raw.execute("COMMIT")
        except BaseException:
            if not raw.get_autocommit():
                raw.execute("ROLLBACK")
            raise
    return newest


def _log_ahead(raw: apsw.Connection) -> None:
    """Turn the file to WAL. Of two that do so at once SQLite tells one that it is busy, whatever the timeout."""
    for _ in range(1_000):
        try:
            if raw.pragma("journal_mode", "wal") == "wal":
                return
        except apsw.BusyError:
            time.sleep(0.01)
    raw.pragma("journal_mode", "wal")


def _step(raw: apsw.Connection, known: dict[int, str], newest: int, progress: Callable[[str], None]) -> int:
    """Run the next script, if another process has not; return the version there is now."""
    present = int(raw.pragma("user_version"))
    if present > newest:
        raise Unavailable(
            f"the database has schema version {present}, this Taskyard knows {newest}; run a newer Taskyard on it"
        )
    if present < newest:
        present += 1
        progress(f"schema version {present} of {newest}")
        raw.execute(known[present])
        raw.execute(f"PRAGMA user_version = {present}")
    return present
