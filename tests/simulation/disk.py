"""One real SQLite file that all simulated processes share, and the ways in which a transaction on it may go wrong."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import apsw

from taskyard.store.engine import Row, Value
from taskyard.store.sqlite import SqliteDatabase
from taskyard.store.sqlite.engine import SqliteConnection

START: Final = datetime(2026, 1, 1, tzinfo=UTC)


class Crash(BaseException):
    """The process died here: what was not committed is gone, and nobody was answered. Nothing may catch it on its way."""


class Disk:
    """
    One database that many histories use in turn: making a schema costs more than a history's first moves.

    Nothing is synced, as a simulated crash is an exception between two statements or after a commit; what a power cut does to the
    file has tests of its own. One connection serves every process, since SQLite lets one at a time write anyway.
    """

    def __init__(self, path: Path) -> None:
        self.now: datetime = START
        self.begins: Callable[[], tuple[int, BaseException] | None] = lambda: None
        self.committed: Callable[[], None] = lambda: None
        self.tell: Callable[[frozenset[str]], None] = lambda _: None
        self.changed: set[int] = set()
        self.told: set[int] = set()
        self.url = "simulated"
        database = SqliteDatabase(path, lambda: self.now)
        database.migrate()
        self.raw = apsw.Connection(str(path), statementcachesize=400)
        self.raw.config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, 1)
        for pragma in (
            "locking_mode = EXCLUSIVE",
            "journal_mode = MEMORY",
            "synchronous = OFF",
            "foreign_keys = ON",
            "temp_store = MEMORY",
            "cache_size = -16384",
        ):
            self.raw.execute(f"PRAGMA {pragma}").fetchall()
        self.raw.set_update_hook(self._hear)
        self.connection = SqliteConnection(self.raw, lambda: self.now, lambda topics: self.tell(topics))
        tables = self.raw.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
        ).fetchall()
        self._wiping = "; ".join(f"DELETE FROM {name}" for (name,) in tables)

    def wipe(self) -> None:
        """Make the file as if it were new, which takes a tenth of the time."""
        self.raw.execute("PRAGMA foreign_keys = OFF")
        self.raw.execute(f"BEGIN; {self._wiping}; DELETE FROM sqlite_sequence; COMMIT").fetchall()
        self.raw.execute("PRAGMA foreign_keys = ON")
        self.begins, self.committed, self.tell = lambda: None, lambda: None, lambda _: None
        self.now = START

    def _hear(self, _kind: int, _database: str, table: str, row: int) -> None:
        if table == "tasks":
            self.changed.add(row)
        elif table == "events":
            self.told.add(row)

    # -- what a store asks of a database -----------------------------------------------------------------------------------------

    def connect(self, *, writes: bool) -> "FailingConnection":
        return FailingConnection(self)

    def maintain(self) -> None:
        """A checkpoint changes nothing that anybody could see."""

    def close(self) -> None: ...


class FailingConnection:
    """A connection whose transactions fail before their n-th statement, or after their commit, when the world says so."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self._inner = disk.connection
        self._left = -1
        self._trouble: BaseException | None = None

    def _count(self) -> None:
        if self._trouble is not None:
            if self._left == 0:
                raise self._trouble
            self._left -= 1

    def rows(self, statement: str, /, *conditions: str, **values: Value) -> list[Row]:
        self._count()
        return self._inner.rows(statement, *conditions, **values)

    def row(self, statement: str, /, *conditions: str, **values: Value) -> Row | None:
        self._count()
        return self._inner.row(statement, *conditions, **values)

    def run(self, statement: str, /, **values: Value) -> int:
        self._count()
        return self._inner.run(statement, **values)

    def rows_for_each(self, statement: str, given: Sequence[Mapping[str, Value]], /) -> list[Row]:
        self._count()
        return self._inner.rows_for_each(statement, given)

    def rows_to_come(
        self, statement: str, given: Sequence[Mapping[str, Value]], /
    ) -> Callable[[], list[Row]]:
        self._count()
        return self._inner.rows_to_come(statement, given)

    @property
    def time_known(self) -> datetime | None:
        return self._disk.now

    def prove(self) -> None:
        self._inner.prove()

    def now(self) -> datetime:
        return self._disk.now

    def announce(self, topics: frozenset[str]) -> None:
        self._inner.announce(topics)

    def savepoint(self) -> Any:
        return self._inner.savepoint()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        disk = self._disk
        disk.changed.clear()
        disk.told.clear()
        trouble = disk.begins()
        if trouble is not None:
            self._left, self._trouble = trouble
        try:
            with self._inner.transaction():
                yield
        finally:
            self._trouble = None
        disk.committed()

    def snapshot(self) -> Any:
        return self._inner.snapshot()

    def close(self) -> None: ...
